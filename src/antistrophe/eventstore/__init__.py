"""The event store: streams of events, in one order.

An ``EventStore`` takes ``@event`` objects and appends them to a stream. An event gets a version in its stream and a
position over all streams; both count from 1 without a gap, in the order of the commits. Readers get ``RecordedEvent``
objects, by stream or by position, and a ``Subscription`` waits for new ones.

The rules:

- A backend stores bytes and knows no classes. ``SqliteEvents`` is the backend for a file and for memory, and
  ``PostgresEvents`` for a database of several hosts; another one keeps the contract of ``EventBackend``, which
  ``antistrophe.testing.store_contract`` checks.
- What a transaction has not committed is not seen, not even by the thread that writes it. An application that gives its
  own ``connection`` sees what its transaction has appended.
- The events of sagas go into the same table, through ``sqlite.insert_events`` or ``postgres_functions``, in the
  transaction of the journal.
- In PostgreSQL positions have gaps, and reading by position waits for transactions before it
  (``storage.postgres_feed``). Nothing here imports psycopg before it is given a URL.
- Bytes are decoded when a reader asks for the event. Old versions are brought up to date by ``versions``; a version
  that is newer than the program is an error and never passed over.
- An event is never changed, but where a saga is erased with its events: ``erasing`` takes its data, its place stays.

Start reading in ``store`` (the public face), then ``backend`` (the contract) and ``sqlite`` or ``postgres``.
``store_transaction`` is what writers get, ``callers_events`` is what works in a transaction of the application's own,
``recorded`` what readers get, ``subscription`` is how they wait, ``versions`` and ``auto_upcaster`` are how old events
are read.
"""
