"""What an application holds: orchestrators, handles and subscriptions.

How it works: every call goes from a public object to the actor system in one step.

    SagaOrchestrator ─┐
    SagaHandle        ├─► Session ─► Requests ─► Connection, a mailbox to the supervisor
    ChangeSubscription┘      │
                             └─► Attachment (launcher wing): starts the system, keeps it up, finds it again

- ``orchestrator``, ``handle`` and ``subscription`` say what each call means, and turn answers into public records.
- ``opening`` starts the system of a home, or finds it. What is needed only behind that, the session and all below it,
  is loaded while the launcher starts.
- ``session`` is what they share: one home, one attachment, one event store.
- ``request_reply`` sends a request until it is answered. A system that dies in between comes back, and the request goes
  to the new one: requests are idempotent, by request id or by saga id.
- ``connection`` carries the requests of all threads, and hands each answer to the thread that waits for it.
- ``async_orchestrator`` makes the same calls in threads (``call_threads``), so that an event loop never waits.
- ``arguments`` checks the type of what a caller gives, before a message holds it.
- ``deadline`` bounds every wait, and lets another thread (or a cancelled task) end the wait early.

Rules: a session belongs to the process that opened it, and a fork gets SystemStateError. After ``close`` every call
raises SystemStateError, the calls that wait included. Any number of threads may share one session.

Start reading at ``opening`` and ``session``, then ``request_reply``.
"""
