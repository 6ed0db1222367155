"""Analysis of a finished search."""
