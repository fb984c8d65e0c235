"""The supervisor: admission, one saga actor for each execution, and the step processes."""
