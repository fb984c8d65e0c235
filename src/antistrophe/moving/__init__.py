"""Brings what is in a home's SQLite file into a database of PostgreSQL: whole, checked, and in one place at a time.

::

    file ── renamed, noted ──► tables beside ── one transaction ──► the journal of the hosts
                               (pieces, each committed)              (inserted, compared, marked as done)

- *Never both.* The file is renamed and noted as moving before anything is copied. From then on nobody opens it as a
  journal or event store; its home starts no system until the copy is done, or called off.
- *Nothing before all.* Pieces go into tables of this copy alone, which no host knows. One transaction brings all of it
  to where hosts look, compares it there with the file, and marks the copy as done. So a killed copy has changed
  nothing, and no host can take a saga before the last one is there.
- *It goes on.* What was copied into those tables stays there: the next run goes on behind the last row. Each piece and
  the end lock the mark of the copy, and so does a call-off: two runs never write at once, and none writes after a
  call-off.
- *Positions keep their order.* All of a file's positions grow by the same number, which is 0 in an empty database. They
  are drawn in the transaction that uses them, so that readers by position wait for it, and miss nothing.
- *Nothing there is overwritten.* A saga, stream or key that is there already with the same content is left out; one
  with another content is refused by name, before anything is copied.

``tables`` says which tables there are, ``source`` reads the file, ``beside`` keeps the tables of one copy, ``clashes``
finds what is there already, ``release`` makes the one transaction, ``comparing`` compares in it, ``owning`` says who
owns the sagas then, and ``mark`` keeps the row of the copy. Start reading in ``copying``, which says what comes after
what.
"""
