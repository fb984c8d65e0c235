"""The saga actor: it runs one saga, and a host process runs many saga actors.

    message ──> SagaHost ──> HostedSagas ──> SagaActor ──> Execution ──> machine (antistrophe.saga): decide
                (Thespian)   (batches,       (what to do   (journal,
                             alarms)          next)        backlog)
    the supervisor and step processes <── what the actor sends, once the batch is committed

``SagaHost`` is the process: it receives each message and asks whether another one is waiting. ``HostedSagas`` hands the
message to the actor of its saga. The messages that are there at the same time are a batch: they share one journal
commit, and everything that they cause is sent after it (``batch_commit``). Where the journal refuses the batch, it is
undone, and its messages are handled one by one.

``SagaActor`` turns a message into an input of the machine. ``Execution`` has the machine decide on this input, journals
the entries, and only then takes the new state for true. The difference between the two states says what the actor does:
run an attempt, ask for a process, end one, give one back, tell the outcome (``antistrophe.saga.effects``).

The rules:

- Nothing is true that is not in the journal, and nothing is sent before it is true.
- An actor may die at any point. The next one is resumed from the journal and asks for what is missing.
- Any message may be lost, late or doubled. Whatever the actor asks, it asks again (``process_requests``).
- While the journal refuses, only inputs that stay true are kept, and no attempt starts from them later.
- The actor reaches the world through ``ports`` alone, so that the worlds of ``tests/simulation`` and ``run_inline`` run
  this very code.

Start reading with ``SagaActor.receive`` in ``saga.py``, then ``Execution.tell``.
"""
