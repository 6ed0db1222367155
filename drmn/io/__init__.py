"""Files: whole-or-absent writing, locks, SQLite caches, digests, remote data roots."""
