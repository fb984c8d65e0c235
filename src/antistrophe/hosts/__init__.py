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

How a system takes part::

    supervisor ── fork ──► keeper.keep(url, terms, channel)       a process that may wait for the database
        ▲  SetLoad, AllDead, HandOver, ...       │
        └── Registered, Confirmed, Claimed, Refused, ... ──┘

- The supervisor has a ``HostLease`` of its own, made at Registered and told of each Confirmed. It arms a
  ``DeadMansSwitch`` for ``switch_at`` each time. It asks for the ``phase`` before it starts an attempt, and whenever
  the next moment of the lease has come, whether or not the keeper says anything.
- Fenced or Refused, or no longer valid by its own clock: it starts nothing, ends all attempts, disarms the switch when
  all were seen dead, and says AllDead. The keeper registers anew. Until then the supervisor forgets its sagas: those
  that nobody else has taken are told again, by Claimed, with new tokens.
- The id of the registration is kept in the home. A system that is started again has seen all attempts of its former
  life dead, and names the old id in ``KeeperTerms.ended``: then nobody has to wait for the lease to lapse.
- At a clean stop: when all attempts are dead, HandOver.

Start reading in ``lease``: the rules, without a clock or a database. ``description`` is what hosts say of themselves,
``ownership`` what they learn of the owners of sagas, ``stored_hosts`` and ``stored_claims`` the rows of both,
``keeper`` the loop and ``keeper_messages`` the channel. SQL is in the ``stored_`` files only; these and ``keeper`` need
psycopg.
"""
