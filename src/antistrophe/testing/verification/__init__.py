"""``verify_compensable``: shows that a saga can be undone whatever goes wrong, or where it can't.

A verification runs the user's saga many times, each time with one thing going wrong. Every run ends with a step that
fails on purpose, so that every effect has to be undone, and the world after the run has to equal the world before.

- ``points`` lists the places at which something can go wrong, each a ``Point`` with a name.
- ``run`` makes the definition of one run: each step of the user is wrapped in an ``InjectedStep`` (``injections``) that
  carries out a ``Plan`` in the step process. ``line_tracer`` kills a call before one of its lines.
- ``runner`` starts the sagas in a real actor system, kills the supervisor where the point says so, and returns a
  ``Run``. The calls of a run and the runner talk through files (``run_log``), because files outlive killed processes.
- ``snapshots`` copies and compares the world; ``verdict`` says what is wrong in a run and which step is to blame, with
  further runs as experiments where one run can't tell; ``report`` holds and prints the result.

The rules: a run that was not made, or in which the injection did not happen, never counts as passed. The actor system
under test is the one that ships, with no hook for the verifier. One run at a time changes the world, unless ``world``
shows the part of one saga.

Start with ``verify``: it puts the parts together.
"""
