"""A process that dispatches commands with keys: ``python -m tests.cqrs.dispatcher PLACE LOG HANDLER KEY...``.

Its handler writes lines to LOG, each with one unbuffered write. HANDLER: ``quick`` returns at once, ``gated`` waits for
a line from standard input first, ``hang`` for ever. When a dispatch has answered, ``answered KEY`` follows.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.results import Appends
from antistrophe.eventstore.store import POSTGRES_SCHEMES, EventStore
from tests.cqrs.shop import CreateUser, UserCreated


def main(file: str, log: str, handler: str, keys: list[str]) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def tell(text: str) -> None:
        os.write(descriptor, f"{text} {os.getpid()}\n".encode())

    with EventStore(file if file.startswith(POSTGRES_SCHEMES) else Path(file)) as store:
        bus = CommandBus(store)

        @bus.handles(CreateUser)
        def create(command: CreateUser) -> Appends:
            tell(f"began {command.name}")
            if handler == "gated":
                sys.stdin.readline()
            elif handler == "hang":
                threading.Event().wait()
            tell(f"ended {command.name}")
            return Appends(command.name, [UserCreated(command.name), UserCreated(str(os.getpid()))])

        for key in keys:
            tell(f"asks {key}")
            events = bus.dispatch(CreateUser(key), key)
            tell(f"answered {key} {events[1].name}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
