"""The pure saga: what becomes true, what is true, and what to do next. It has no clock, no I/O and no actors.

A saga is a list of entries. Everything else follows from them::

    entries --evolve--> state --decide(input)--> new entries --journal--> effects_of(state, new state) --> the world
                          ^                                                                                  |
                          +------------------------- inputs: answers, deaths, time, orders ------------------+

The rules:

- Only an entry makes something true. An entry is journaled before any of its effects is performed.
- ``decide`` is the only place that decides, and ``evolve`` the only way to a new state. Both are functions of their
  arguments: the same journal always gives the same state, and the same input the same decision.
- An input may be lost, doubled or late. An input that no longer fits makes no entry.
- The attempt of a step starts with an intent (``AttemptStarted``) and ends with one outcome. Between the two, nobody
  knows whether the step took effect; after a death without an outcome the step is in doubt.
- Once a saga has turned back, every step that took effect, or may have, is compensated in reverse order.

Start with ``entries``, then ``step_state``, ``state`` and ``machine``. ``inputs`` and ``answers``: what a saga hears,
``effects``: what it asks for, ``retries``: which failed attempts are made again, ``resolving``: what an operator may
settle, ``outcome`` what its callers get, ``view`` what monitoring shows, ``listed`` what the list of sagas says,
``statistics`` and ``durations`` what is counted and measured of many sagas.
"""
