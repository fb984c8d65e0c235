"""The supervisor: it admits sagas, gives each an actor and its processes, and starts again what dies.

One actor, ``SupervisorActor``, hears everything and hands it to the part that answers for it::

    application --StartSaga, OrderSaga--> RequestHandler --> LiveSagas --> SagaHostPool   (the sagas' actors)
                                                                 |
    saga actor --RequestLease, EndProcess------------------------+-----> ProcessKeeper  (the step processes)
                                                                               |
    step process --StepReady, CodeLoaded, CallEnded----------------------------+--> RunningAttempts

``RegistryKeeper`` has the process of the registry. The parts see the actor through ``SupervisorPort``. What is decided
is in ``antistrophe.scheduling``; here it is carried out. The rules:

- A step never has two live attempts. So the end of an attempt is reported only when it is proven: the process, its
  group and the descendants that left the group are dead, or the event loop of the async worker says that nothing of the
  call is left.
- Nothing is told only once. Each message can be lost, so whoever misses an answer asks again, and each question can be
  answered again.
- Nothing here waits. What takes time is looked at again at the next wakeup.
- A new incarnation begins with the sagas that are open in the journal, and asks of each earlier process whether
  it is dead.

Start reading in ``supervisor`` (what comes in), then ``live_sagas`` (the life of a saga here) and ``process_keeper``.
"""
