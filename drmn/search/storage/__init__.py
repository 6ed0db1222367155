"""Storage of studies: SQLite or PostgreSQL."""
