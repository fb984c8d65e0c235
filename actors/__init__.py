"""The actors: one for each kind of process that an actor system consists of.

::

    application    SagaOrchestrator, attached over a socket (`antistrophe.client`, not an actor)
       |
    launcher       starts the rest, and starts it anew when one of its parts dies (`antistrophe.launcher`)
       |
    supervisor     admits sagas and grants step processes           supervisor/   SupervisorActor
       |-- saga host     saga actors: decide, journal, perform      saga/         SagaHost, SagaActor
       |-- step process  user code, one attempt at a time           step/         StepActor
       |-- async worker  user code, coroutines of many sagas        step/         AsyncStepActor
       `-- registry      answers what monitoring asks, and purges   registry      RegistryActor

One attempt of a step goes through them like this. The saga actor asks the supervisor for a lease (``RequestLease``).
When a process is free, the supervisor answers with one (``ProcessGrant``). The saga actor writes the attempt to the
journal, and then sends ``RunStep`` to the step process, which calls the user's code and answers with ``StepAnswer``.
The saga actor writes the outcome to the journal, and decides what comes next.

Rules:

- An actor has no state that counts. What counts is in the journal: an actor that dies is started again from there.
- An actor that meets an error it did not expect ends its process. It never goes on with a state that may be wrong.
- The supervisor owns every child process and is the only actor that ends one, so an attempt is over when the
  supervisor has proven it.
- User code runs in step processes and async workers alone.
- The rules of sagas and of scheduling are not here. They are pure, in `antistrophe.saga` and `antistrophe.scheduling`;
  actors turn messages into their inputs, and their effects into messages and journal entries.

Start with `base`, which every actor inherits, then `saga.saga` and `step.step`; `supervisor.supervisor` last.
"""
