"""Pruners: when to stop a trial."""
