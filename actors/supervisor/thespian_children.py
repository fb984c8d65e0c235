"""The processes of an actor's children: Thespian has them and shows them to nobody, so this looks inside it."""

from __future__ import annotations

from multiprocessing.process import BaseProcess
from typing import Any

from antistrophe.messages import Address


def child_process(parent: Any, address: Address) -> BaseProcess | None:
    """The process behind an address that ``createActor`` of ``parent`` has just answered; None if its fork failed.

    Ask in the handler that created the child, and keep it: Thespian lets go of it before it reports the death. ``pid``
    is there at once; ``exitcode`` once it has ended (negative: the signal's number). It holds two descriptors: drop it
    then, but never ``close()`` it, for Thespian may still ask whether it lives, and would end the parent.
    """
    children: list[Any] = getattr(parent._myRef, "_child_procs", [])
    for child in reversed(children):
        if child.childAddr == address or getattr(child, "childRealAddr", None) == address:
            process: BaseProcess = child.childProc
            return process
    return None
