"""The database below the journal, the event store and the command bus: a SQLite file, or one of PostgreSQL.

A home has one file, ``journal.db``. An event store of its own is a file with the same schema. Everything that the
package stores is in one of these files, so that one transaction can commit a saga's entries, its events and the answer
of a command together. Where several hosts work together all of this is in a PostgreSQL database instead, in a schema
of its own; ``connection`` says what the modules above may ask of either.

The rules of the file:

- One ``Database`` is one connection. Threads share it and wait for each other; a fork opens its own.
- Whoever wants to read without waiting for the writer opens another connection, with ``read_only=True``. Write-ahead
  logging lets such a connection see the last commit at any time.
- A database in memory is one connection and nothing else, so its readers do wait for its writer.
- Every failure is a JournalError that names the file and says what to do. The file itself is never overwritten.
- A process of the system waits for the write lock for a short time only, and never for long again while it is held.
- Nothing is committed to a file that has lost its name since it was opened (removed, moved, replaced).
- A commit that stands in the log and could not be synced is unknown: it does not count, and may be found after a crash.
  No sync makes up for one that has failed. The next commit is written over it; and whoever opens the file first after
  the death of all who had it open moves the log into the file, and begins it anew.
- The schema only grows: ``schema.MIGRATIONS`` is a list of steps from one version to the next.

The rules of PostgreSQL:

- Nothing here imports psycopg but the modules ``postgres*``, and nobody imports those without a URL.
- No call waits for ever: each wait for the server has a deadline, after which its connection is given up.
- A lost connection is made anew outside a transaction; within one nothing was committed. A commit whose answer is lost
  is told by the rows that it wrote, and is unknown where these can't be asked. It is never taken for undone.
- What was only read is confirmed by a later commit before others are told of it: a read waits for no standby.
- No state of a session is used, so that a pooler may stand in between: settings are local to a transaction, tables are
  named with their schema, nothing is prepared, listened to or locked beyond a transaction.
- Whoever reads by position goes no further than the safe head of ``postgres_feed``.
- No password is told: messages name hosts, port and database. The file, its note and its locks have no part there.

Start reading in ``schema`` (what is stored), then ``opening`` (how a file is checked, created and brought up to date)
and ``database`` (statements and transactions). ``write_lock`` says who holds the write lock, and how long the system's
own processes wait for it. For PostgreSQL start in ``postgres`` and ``postgres_schema``; ``postgres_database`` is the
connection, ``postgres_waiting`` its deadlines, ``postgres_commits`` what became of a commit, ``postgres_opening`` whose
schema is taken, ``postgres_functions`` what the server does by itself, ``postgres_address`` and ``postgres_failures``
what people read, ``postgres_feed`` how far one may read by position, and ``portable_sql`` how SQL for both is made into
SQL of PostgreSQL.
"""
