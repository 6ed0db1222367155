"""Output for people: terminal, tables and figures."""
