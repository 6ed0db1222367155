"""Callbacks, which observe a search."""
