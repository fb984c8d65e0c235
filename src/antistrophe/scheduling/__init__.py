"""Who runs when: pure rules without a clock, I/O or actors.

``Admission`` lets a number of sagas run and keeps the others waiting. A saga that runs asks for a lease for each
attempt, with a ``LeaseRequest``, and ``ProcessPool`` decides which slot of which process it gets::

    pool.ask("saga-1", "client", request)
    pool.plan(now)                      # [StartProcess("p-1")]
    pool.ready("p-1", now)              # the supervisor has started it
    pool.plan(now)                      # [LoadInto("p-1", origin, class_refs)]
    pool.loaded("p-1", class_refs, now)
    pool.plan(now)                      # [GrantTo("p-1", "saga-1")]
    pool.returned("p-1", "saga-1", now, reusable=True)

The supervisor tells what happened and carries out the orders of each plan. The rules:

- An owned process has one slot, an async worker has many. Each kind has its own limit.
- A process serves one client and one origin. A fresh attempt gets a process that no saga has had.
- Compensations go first, then the higher priority. Of equals the names take turns, and in a name whoever came first.
- No name takes the last slot of a kind, and from four slots on one is left to compensations.
- A throttled step class starts no attempt over its limits, and holds up no other class. On several hosts limits hold
  over all of them: ``Permits`` is what this host may use.
- What a call costs does not grow with the number of sagas that wait.

Start reading in ``leases`` (the orders), then ``fair_order`` and ``queue`` (who goes first), ``pooled_process`` and
``process_table`` (what is so), and ``process_pool`` (what is decided). ``throttle`` and ``admission`` ask ``permits``;
``prewarm``, ``restart_intensity`` and ``alarms`` stand alone.
"""
