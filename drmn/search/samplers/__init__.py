"""Samplers, which choose the settings of the next trial."""
