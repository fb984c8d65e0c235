"""Shows that a saga can be undone whatever goes wrong, or where it can not."""
