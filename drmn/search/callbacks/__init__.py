"""Callbacks: who watches a search."""
