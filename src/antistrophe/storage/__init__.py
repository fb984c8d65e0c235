"""The SQLite database below the journal, the event store and the command bus.

A home has one file, ``journal.db``. An event store of its own is a file with the same schema. Everything that the
package stores is in one of these files, so that one transaction can commit a saga's entries, its events and the answer
of a command together.

The rules:

- One ``Database`` is one connection. Threads share it and wait for each other; a fork opens its own.
- Whoever wants to read without waiting for the writer opens another connection, with ``read_only=True``. Write-ahead
  logging lets such a connection see the last commit at any time.
- A database in memory is one connection and nothing else, so its readers do wait for its writer.
- Every failure is a JournalError that names the file and says what to do. The file itself is never overwritten.
- A process of the system waits for the write lock for a short time only, and never for long again while it is held.
- Nothing is committed to a file that has lost its name since it was opened (removed, moved, replaced).
- The schema only grows: ``schema.MIGRATIONS`` is a list of steps from one version to the next.

Start reading in ``schema`` (what is stored), then ``opening`` (how a file is checked, created and brought up to date)
and ``database`` (statements and transactions). ``write_lock`` says who holds the write lock, and how long the system's
own processes wait for it.
"""
