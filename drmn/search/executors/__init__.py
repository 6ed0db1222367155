"""Executors, which run the trials."""
