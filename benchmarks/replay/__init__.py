"""Policies of a search replayed on tables of learning curves, in virtual time."""
