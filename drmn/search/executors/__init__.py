"""Executors: who trains the trials."""
