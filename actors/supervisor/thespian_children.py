"""The processes of an actor's children. Thespian has them, but no function to ask for them, so this looks inside it."""

from __future__ import annotations

from multiprocessing.process import BaseProcess
from typing import Any

from antistrophe.messages import Address


def child_process(parent: Any, address: Address) -> BaseProcess | None:
    """The process behind an address that ``createActor`` of ``parent`` has just returned.

    Ask in the handler that creates the child, and keep the process: Thespian drops it before it reports the death. The
    ``pid`` is there at once, the ``exitcode`` once the process has ended (negative: the number of a signal). A process
    holds two descriptors. Drop it when it has ended, but never ``close()`` it: Thespian may still ask whether it lives,
    and would end the parent.
    """
    children: list[Any] = getattr(parent._myRef, "_child_procs", [])
    for child in reversed(children):
        if child.childAddr == address or getattr(child, "childRealAddr", None) == address:
            process: BaseProcess = child.childProc
            return process
    return None
