"""Typed values to bytes and back."""
