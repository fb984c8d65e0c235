"""The step processes: the only place where user code runs."""
