"""The fingerprint of a healthy step process: what a call has changed is put back, or else the process is ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antistrophe.actors.step.interpreter_state import (
    Environment,
    Functions,
    Streams,
    looks_at_mask,
    looks_at_messages,
    looks_at_signals,
    looks_at_switches,
    looks_at_tracing,
    looks_at_wakeup,
    put_back_mask,
    put_back_messages,
    put_back_signals,
    put_back_switches,
    put_back_tracing,
)
from antistrophe.linux.own_state import (
    Folder,
    Look,
    Looks,
    looks_at_bonds,
    looks_at_priority,
    looks_at_root,
    looks_at_umask,
    looks_at_user,
    put_back_limits,
    put_back_priority,
    put_back_umask,
    read_limits,
    read_standard_files,
)

_type, _list = type, list  # user code may have replaced these, too


@dataclass(frozen=True, slots=True)
class Trait:
    """One thing that all attempts of a process share. ``belong`` is called while it is healthy, and answers with the
    looks at it. ``put_back`` gets what they saw then, and answers whether the process is as good as before; None where
    nothing can be put back. ``is_healthy`` is asked where a look sees something else, which may mean nothing; None
    where it always means something."""

    subject: str
    belong: Callable[[], Looks]
    put_back: Callable[[Sequence[Any]], bool] | None
    is_healthy: Callable[[], bool] | None = None


def _never_wrong(put_back: Callable[[Any], None]) -> Callable[[Any], bool]:
    def put_back_and_say(healthy: Any) -> bool:
        put_back(healthy)
        return True

    return put_back_and_say


def _of_the_system() -> list[Trait]:
    """What ties the process to the machine and the system. Nobody changes it for a while only, so it is put back at
    once, beside calls that still run. Limits come first: they could keep others from being put back."""
    return [
        Trait("the limits", lambda: (read_limits,), _never_wrong(put_back_limits)),
        Trait("the root folder", looks_at_root, None),
        Trait("the bonds to the system", looks_at_bonds, None),
        Trait("the standard files", lambda: (read_standard_files,), None),
        *_of_a_thread(),
    ]


def _of_a_thread() -> list[Trait]:
    """What the kernel and the interpreter keep for each thread, and new threads inherit."""
    return [
        Trait("the user, groups or rights", looks_at_user, None),
        Trait("the priority", looks_at_priority, _never_wrong(put_back_priority)),
        Trait("the signals that are held back", looks_at_mask, _never_wrong(put_back_mask)),
        Trait("tracing", looks_at_tracing, put_back_tracing),
    ]


def _of_all_code() -> list[Trait]:
    """What a call may change for a while: it is put back when no call runs. The time zone is made of the environment,
    so that comes first."""
    folder, environment, streams, functions = Folder(), Environment(), Streams(), Functions()
    return [
        Trait("the environment", environment.belong, environment.put_back, environment.is_healthy),
        Trait("the streams", streams.belong, streams.put_back),
        Trait("functions of the standard library", functions.belong, functions.put_back, functions.is_healthy),
        Trait("the working folder", folder.belong, _never_wrong(folder.put_back)),
        Trait("the umask", looks_at_umask, _never_wrong(put_back_umask)),
        Trait("the signals", looks_at_signals, _never_wrong(put_back_signals)),
        Trait("the signals' descriptor", looks_at_wakeup, None),
        Trait("switches of the interpreter", looks_at_switches, put_back_switches),
        Trait("warnings or logging", looks_at_messages, put_back_messages),
    ]


class _Belonging:
    """A trait that was healthy, and what the looks at it saw then."""

    def __init__(self, trait: Trait) -> None:
        self._trait = trait
        self.subject = trait.subject
        self.looks = trait.belong()
        self.healthy = seen_by(self.looks)

    def is_healthy(self) -> bool:
        """Whether it is healthy now."""
        try:
            return seen_by(self.looks) == self.healthy if self._trait.is_healthy is None else self._trait.is_healthy()
        except BaseException:  # something is gone, or a value of the user's can't be compared
            return False

    def mend(self) -> bool:
        """Whether it is healthy, or is so again."""
        if self.is_healthy():
            return True
        put_back = self._trait.put_back
        try:
            return put_back is not None and put_back(self.healthy) and self.is_healthy()
        except BaseException:
            return False


def seen_by(looks: Sequence[Look]) -> list[Any]:
    """What these looks see now. Lists are copied, because user code may change them."""
    return [[*each] if _type(each) is _list else each for each in [look() for look in looks]]


class Fingerprint:
    """Compares a process with what it was before user code was called in it. Nearly always nothing has changed, and all
    that is done is to call each look once. Only for the main thread; with ``thread`` for the traits of any one thread,
    in that thread."""

    def __init__(self, *, thread: bool = False) -> None:
        self._at_once = _of_a_thread() if thread else _of_the_system()
        self._all = self._at_once if thread else [*self._at_once, *_of_all_code()]
        self._belonging: list[_Belonging] = []
        self._belonging_at_once: list[_Belonging] = []
        self._looks: list[Look] = []
        self._seen: list[Any] = []
        self._seen_at_once = 0
        self.mended = False

    def belong(self) -> None:
        """What is so now is healthy."""
        self._belonging = [_Belonging(trait) for trait in self._all]
        self._belonging_at_once = self._belonging[: len(self._at_once)]
        self._looks = [look for each in self._belonging for look in each.looks]
        self._seen = [value for each in self._belonging for value in each.healthy]
        self._seen_at_once = sum(len(each.healthy) for each in self._belonging_at_once)

    def look(self, *, alone: bool = True) -> str | None:
        """Put back what has changed; answers with what can't be, in words, or None. ``alone``: no call runs. Beside one
        that runs, nothing is looked at that calls may change for a while. ``mended`` says afterwards whether anything
        had to be put back, besides what a look itself puts back."""
        self.mended = False
        belonging, count = (self._belonging, None) if alone else (self._belonging_at_once, self._seen_at_once)
        try:
            if [look() for look in self._looks[:count]] == self._seen[:count]:
                return None
        except BaseException:  # something is gone, or a value of the user's can't be compared
            pass
        if self._is_healthy_all_the_same(belonging, count):
            return None
        self.mended = True
        return " and ".join(each.subject for each in belonging if not each.mend()) or None

    def _is_healthy_all_the_same(self, belonging: list[_Belonging], count: int | None) -> bool:
        """Whether everything is as it was, or is so again: only numbers of versions differ, or a look has put back what
        it saw. The new numbers count from now on. They are read before anything is compared: what another thread
        replaces meanwhile has a number that is newer still."""
        try:
            seen = seen_by(self._looks[:count])
        except BaseException:
            return False
        healthy = False not in [each.is_healthy() for each in belonging]
        if healthy:
            self._seen[:count] = seen
        return healthy
