"""Sagas on supervised processes: the public names."""
