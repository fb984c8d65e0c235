"""What Linux says about processes, and how processes are ended without hitting a stranger.

The kernel knows a process by its pid, and a pid comes back after its process has died. So this wing never acts on a
pid alone::

    pid -> ProcessIdentity      pid, start time and boot: names one process for ever (`process`)
        -> pidfd                a descriptor that stays with that process (`process.open_pidfd`)
        -> signal               sent through the pidfd, so it reaches that process or nobody

User code may start processes of its own. Three things show to whom a process belongs:

- its process group: a step process leads one. A process leaves its group with ``setsid``;
- its environment: each process of an actor system carries two variables. A process may start another without them;
- an inherited mark: a resource limit that the kernel hands down to every fork and exec (`descendants`).

Rules:

- A process that vanishes while it is looked at is dead. That is an answer (None, False, an empty list), not an error.
- A zombie is dead.
- A function that kills answers with what still lives, or with what it found. An empty list is the proof that nothing
  is left; every other answer means "call again".

A chain of forks is faster than a scan of /proc. `control_groups` ends it where the machine delegates such groups, and
`hunt` where it does not.

Files: `procfs` reads /proc, `process` identifies and signals one process, `descendants` marks and ends what a step
process has started, `own_tasks` lists the threads and children of this process, `own_state` reads its limits, users and
folder and puts them back, `dead_man` has the kernel kill it in time, `descriptor` tells its own open files from others
of the same number, `file_locks` says who holds a lock on a file, `private_files` keeps files from other users,
`log_file` bounds a log, `termination` ends groups and all processes of a home. Start with `process`.
"""
