"""Messages between the processes of one actor system, and the system base on which Thespian runs here.

How it works: each process listens on a Unix socket of its own and keeps one connection to each process it sends to.

    actor ─► ActorManager ─► pack_message ─► Sender ─► OutgoingConnection ─┐
                                                                    (Unix socket)
    actor ◄─ ActorManager ◄─ unpack_message ◄─ Receiver ◄─ IncomingConnection ◄┘

- ``transport`` is what Thespian calls: send, run, wake up, close. ``event_loop`` waits for sockets, signals and deaths.
- ``sender`` and ``receiver`` hold the connections; ``connection`` cuts streams into frames.
- ``codec`` turns messages into frames and back; ``record_structs`` says what a frame may hold; ``thespian_messages``
  lists the messages of Thespian's own that may travel.
- ``actor_manager`` and ``child_processes`` replace what Thespian does for each message and each child; ``forks`` makes
  the children.
- ``mailbox`` is the end of an application: it sends requests to the supervisor and receives the answers.
- ``sockets`` chooses and guards the folder of the sockets; ``endpoint`` follows them through forks; ``authentication``
  tells processes of the system from outsiders; ``drop_counters`` counts what is refused.

Rules: nothing that comes in is unpickled or run, and no class is looked up by a name from outside. A process of another
user is neither heard nor spoken to. An outsider may send requests and nothing else. A receiver that does not read holds
up nobody but itself. A frame that is malformed is dropped, counted and logged. What one message, timer or child costs
does not grow with how many there are.

Start reading at ``transport``, then ``event_loop``.
"""
