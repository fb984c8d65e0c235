"""Who gets a process and when: pure rules without clock and I/O."""
