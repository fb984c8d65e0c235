"""The fingerprint of a healthy step process: what a call has changed is put back, or else the process is ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antistrophe.actors.step.interpreter_state import (
    Environment,
    Functions,
    Streams,
    WakeupDescriptor,
    keep_messages,
    put_back_mask,
    put_back_messages,
    put_back_signals,
    put_back_switches,
    put_back_tracing,
    read_mask,
    read_messages,
    read_signals,
    read_switches,
    read_tracing,
)
from antistrophe.linux.own_state import (
    Folder,
    Umask,
    put_back_limits,
    put_back_priority,
    read_bonds,
    read_limits,
    read_priority,
    read_root,
    read_standard_files,
    read_user,
)


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that all attempts of a process share. ``belong`` answers with its healthy value, ``read`` with the
    present one. ``put_back`` gets the healthy value, and answers whether the process is as good as before; None where
    nothing can be put back."""

    subject: str
    belong: Callable[[], Any]
    read: Callable[[], Any]
    put_back: Callable[[Any], bool] | None


def _never_wrong(put_back: Callable[[Any], None]) -> Callable[[Any], bool]:
    def put_back_and_say(healthy: Any) -> bool:
        put_back(healthy)
        return True

    return put_back_and_say


def _of_the_system() -> list[Trait]:
    """What ties the process to the machine and the system. Nobody changes it for a while only, so it is put back at
    once, beside calls that still run. Limits come first: they could keep others from being put back."""
    return [
        Trait("the limits", read_limits, read_limits, _never_wrong(put_back_limits)),
        Trait("the root folder", read_root, read_root, None),
        Trait("the bonds to the system", read_bonds, read_bonds, None),
        Trait("the standard files", read_standard_files, read_standard_files, None),
        *_of_a_thread(),
    ]


def _of_a_thread() -> list[Trait]:
    """What the kernel and the interpreter keep for each thread, and new threads inherit."""
    return [
        Trait("the user, groups or rights", read_user, read_user, None),
        Trait("the priority", read_priority, read_priority, _never_wrong(put_back_priority)),
        Trait("the signals that are held back", read_mask, read_mask, _never_wrong(put_back_mask)),
        Trait("tracing", read_tracing, read_tracing, put_back_tracing),
    ]


def _of_all_code() -> list[Trait]:
    """What a call may change for a while: it is put back when no call runs. The time zone is made of the environment,
    so that comes first."""
    folder, umask, wakeup = Folder(), Umask(), WakeupDescriptor()
    environment, streams, functions = Environment(), Streams(), Functions()
    return [
        Trait("the environment", environment.belong, environment.read, environment.put_back),
        Trait("the streams", streams.belong, streams.read, streams.put_back),
        Trait("functions of the standard library", functions.belong, functions.read, functions.put_back),
        Trait("the working folder", folder.belong, folder.read, _never_wrong(folder.put_back)),
        Trait("the umask", umask.belong, umask.read, None),
        Trait("the signals", read_signals, read_signals, _never_wrong(put_back_signals)),
        Trait("the signals' descriptor", wakeup.belong, wakeup.read, None),
        Trait("switches of the interpreter", read_switches, read_switches, put_back_switches),
        Trait("warnings or logging", keep_messages, read_messages, put_back_messages),
    ]


class Fingerprint:
    """Compares a process with what it was before user code was called in it. Where nothing has changed a look costs
    some 30 µs. Only for the main thread; with ``thread`` for the traits of any one thread, in that thread."""

    def __init__(self, *, thread: bool = False) -> None:
        self._at_once = _of_a_thread() if thread else _of_the_system()
        self._all = self._at_once if thread else [*self._at_once, *_of_all_code()]
        self._reads = [trait.read for trait in self._all]
        self._healthy: list[Any] = []
        self.mended = False

    def belong(self) -> None:
        """What is so now is healthy."""
        self._healthy = [trait.belong() for trait in self._all]

    def look(self, *, alone: bool = True) -> str | None:
        """Put back what has changed; answers with what can't be, in words, or None. ``alone``: no call runs. ``mended``
        says afterwards whether anything had changed."""
        self.mended = False
        try:
            if [read() for read in self._reads] == self._healthy:
                return None
        except BaseException:  # something is gone, or a value of the user's can't be compared
            pass
        self.mended = True
        traits = self._all if alone else self._at_once
        lost = [
            trait.subject for trait, healthy in zip(traits, self._healthy, strict=False) if not _mend(trait, healthy)
        ]
        return " and ".join(lost) or None


def _mend(trait: Trait, healthy: Any) -> bool:
    """Whether this trait is healthy, or is so again."""
    try:
        if trait.read() == healthy:
            return True
    except BaseException:  # what can't be read may still be put back
        pass
    try:
        return trait.put_back is not None and trait.put_back(healthy) and bool(trait.read() == healthy)
    except BaseException:
        return False
