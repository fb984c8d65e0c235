"""Messages between processes, and the base on which Thespian runs here."""
