"""The pure saga: what can become true, what is true, what to do next. No clock, no I/O, no actors."""
