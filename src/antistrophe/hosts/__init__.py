"""Which host works on which saga, where several hosts share one journal on PostgreSQL.

A host is one actor system with a home of its own. It holds a *lease*: a row in the database whose counter it makes grow
every fifth of ``lease_s``. A saga belongs to one host at a time. When a host's lease lapses, the others take its sagas,
and by then nothing of it may run any more: that is the one promise of this wing.

Nobody can see from afar that an attempt is dead. So both sides go by time alone, each by its own CLOCK_BOOTTIME:

- The holder counts from when it *sent* the last renewal that was *confirmed*, the taker from when it first *saw* that
  renewal. The holder's count is ahead, whatever the delays are, and no two clocks are compared.
- The holder ends its attempts from 0.6 of the lease on. What it can't do itself, because it is stopped or hangs, the
  kernel does for it at 0.85 (``linux.dead_man``). A taker waits for the whole lease.
- The taker looks again in the transaction that takes. A renewal and a take-over exclude each other.

What is left: a paused virtual machine, whose clock may not count the pause, and a process that an attempt has started
and nobody can find. So a take-over means doubt, never "not applied".

Start reading in ``lease``: the rules, without a clock or a database. ``description`` is what hosts say of themselves,
``stored_hosts`` their rows, ``stored_claims`` the owners of sagas. SQL is in the ``stored_`` files only.
"""
