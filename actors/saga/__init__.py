"""The saga actor, and the process that hosts many of them."""
