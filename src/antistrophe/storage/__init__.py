"""The SQLite file of a home and its schema."""
