"""Starting, finding, watching and ending the actor system of a home.

How it works: each home has at most one launcher, a small process that belongs to no application.

    application ── Attachment ──(control socket)── Launcher ── Incarnation: Admin, logger, supervisor
    application ── Attachment ──────────┘

An application's ``attachment`` connects to the launcher of its home. Where none runs, it starts one (``spawn`` runs
``boot`` in a new process). The ``launcher`` takes the ``home_lock``, kills what an earlier system left, and starts an
``incarnation``: Thespian's Admin and logger and our supervisor. It tells its state over the control socket
(``control_protocol``) to every application (``connections``). ``probe`` asks for that state without attaching.
``launch`` is the life of the launcher's process; ``printed_output`` logs what steps print, ``socket_watch`` notices
that the sockets are gone, ``first_look`` checks the journal.

Rules:
- The connection is the attachment: when an application dies, the kernel closes it, and the launcher knows.
- When one process of an incarnation dies, the launcher kills the rest and starts the next one. It gives up after
  ``max_restarts`` deaths within ``restart_window_s`` seconds.
- When the last application has left, the launcher drains the supervisor, ends every process of the home, and then ends
  itself. Only then does the last application's connection end. An application that attaches during the drain calls it
  off (``drain``): the system goes on, with the attempts that run.
- A fork keeps no descriptor of the launcher, or of an attachment.

Start reading at ``launcher``, then ``attachment``.
"""
