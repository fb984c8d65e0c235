"""What Linux says of processes, and how they are ended."""
