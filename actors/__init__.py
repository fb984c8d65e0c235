"""The actors of the system: one file each."""
