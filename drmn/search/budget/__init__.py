"""Budget: limits, step timing, cost forecast."""
