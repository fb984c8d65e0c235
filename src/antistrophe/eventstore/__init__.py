"""Streams of events in one order: the store, its backends, versions and subscriptions."""
