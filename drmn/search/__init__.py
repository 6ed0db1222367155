"""The search: what to try next, when to stop it, who trains it, and its record."""
