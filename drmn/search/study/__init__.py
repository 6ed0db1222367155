"""A study: its record, and how it is created, forked, read and replayed."""
