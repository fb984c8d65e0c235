"""The environments of the applications, and whose environment the step processes of a saga get."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from antistrophe.definition.spec import Origin
from antistrophe.messages import Environment, Introduce
from antistrophe.serialization.struct_dataclass import dataclass

OF_THE_SYSTEM = ""
"""Stands for the environment of whoever started the system."""

INTRODUCE_S = 1.0
"""How long the sagas that a new incarnation has found wait for an application of their origin to introduce itself."""

_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Introduced:
    origin: Origin
    digest: str
    brings_code: bool


class Environments:
    """What applications have said of themselves, in the order in which they said it. An environment is known by its
    digest, and is in memory once, while an application or a saga has it. It is never written anywhere."""

    def __init__(self, began_at: float) -> None:
        self.introduce_until = began_at + INTRODUCE_S
        self._clients: dict[str, _Introduced] = {}
        self._known: dict[str, Environment] = {}

    def introduced(self, message: Introduce) -> None:
        """An application says who it is."""
        digest = _digest(message.environment)
        self._known.setdefault(digest, message.environment)
        self._clients.pop(message.client_id, None)  # the newest stands last
        self._clients[message.client_id] = _Introduced(message.origin, digest, message.brings_code)

    def programs_beside(self, origin: Origin) -> tuple[Origin, ...]:
        """Where the applications find code that look for it elsewhere, the newest first."""
        place = (origin.cwd, origin.sys_path)
        theirs = (each.origin for each in reversed(self._clients.values()) if each.brings_code)
        return tuple(dict.fromkeys(each for each in theirs if (each.cwd, each.sys_path) != place))

    def left(self, client_id: str, still_used: Iterable[str]) -> None:
        """An application is gone. Sagas still use the environments with these digests."""
        if self._clients.pop(client_id, None) is not None:
            used = {*still_used, *(each.digest for each in self._clients.values())}
            self._known = {digest: known for digest, known in self._known.items() if digest in used}

    def get(self, digest: str) -> Environment | None:
        """The environment with that digest; None for the system's own."""
        return self._known.get(digest)

    def of_saga(self, client_id: str, origin: Origin, last: str | None, now: float) -> str | None:
        """The digest of the environment for a saga's next process: that of its application; of the newest one that
        would find the same code; the ``last`` one of the saga; that of the newest tool, such as `serve`; the system's.
        None while an application may still introduce itself to this incarnation.
        """
        client = self._clients.get(client_id)
        if client is not None and client.brings_code:
            return client.digest
        fitting = [each for each in self._clients.values() if each.brings_code and _same_place(each.origin, origin)]
        exact = [each for each in fitting if each.origin.sys_path == origin.sys_path]
        if fitting:
            return (exact or fitting)[-1].digest
        if last is not None or now < self.introduce_until:
            return last
        tools = [each.digest for each in self._clients.values() if not each.brings_code]
        return tools[-1] if tools else OF_THE_SYSTEM


def _same_place(client: Origin, saga: Origin) -> bool:
    return client.cwd == saga.cwd and saga.script in (None, client.script)


def _digest(environment: Environment) -> str:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    for name, value in environment:
        digest.update(b"%d %d " % (len(name), len(value)) + name + value)
    return digest.hexdigest()
