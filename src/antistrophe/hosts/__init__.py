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

    supervisor ── membership actor ── HostKeeper       a process that may wait for the database
        ▲      SetLoad, AllDead, HandOver, ... ──►
        └──── Registered, Confirmed, Claimed, ... ◄──

- The supervisor has a ``LeaseHolder``, and tells it of each report. The holder arms a ``DeadMansSwitch``. It says the
  ``phase``: the supervisor asks whenever ``next_moment`` has come, whether or not the keeper says anything.
- Fenced: the supervisor starts nothing, and ends all attempts (``kill_at``). When all were seen dead it says so
  (``all_dead``), and the keeper registers anew and claims like any other host. Who went on with a saga before finds its
  token refused, and reads the saga again.
- The id of the registration is kept in the home. A system that is started again has seen all attempts of its former
  life dead, and names the old id in ``KeeperTerms.ended``: then nobody has to wait for the lease to lapse.
- At a clean stop: when all attempts are dead, HandOver.

Start reading in ``lease``: the rules, without a clock or a database. ``description`` is what hosts say of themselves,
``ownership`` what they learn of the owners of sagas, ``stored_hosts`` and ``stored_claims`` the rows of both,
``keeper`` the loop, ``keeper_messages`` what it says and hears, ``holder`` the supervisor's side, ``stored_orders``
what hosts ask of each other, ``stored_permits`` what they may use of limits over all hosts, ``limits`` how people are
shown those, ``stored_holders`` whose applications have started or joined a saga, ``earlier_life`` what a home knows of
its last lease, ``retained`` whose word counts where finished sagas are purged, and ``differences`` what people are told
where hosts don't agree. SQL is in the ``stored_`` files only; these and ``keeper`` need psycopg.
"""
