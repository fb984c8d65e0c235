"""The actor system of a home: Thespian over Unix sockets, the launcher that starts, watches and ends it, and how
applications attach to it."""
