"""Starting, finding, watching and ending the actor system of a home."""
