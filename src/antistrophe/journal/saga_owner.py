"""Who may write to the sagas of a journal that several hosts share: the host that owns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from antistrophe.errors import AntistropheError


class SagaOwner(Protocol):
    """A host, as the journal has to know it."""

    @property
    def host(self) -> str:
        """Its id."""

    def token_of(self, saga_id: str) -> int:
        """The token by which it owns that saga: 1 where it has accepted it, and else what the claim gave. A token that
        it does not know is none that any saga has: 0."""

    def last_of(self, saga_id: str) -> bytes | None:
        """The digest of that saga's last entry, as whoever appends to it knows it; None where nobody asks."""

    def appends(self, saga_id: str, last: bytes) -> None:
        """Hear of an append to that saga that ends with the entry of that digest. It is not written yet."""


def host_name(host_id: str) -> str:
    """The name of a host, from its id: a dash and random characters stand behind it there."""
    return host_id.rpartition("-")[0] or host_id


@dataclass(frozen=True, slots=True)
class Ownership:
    """The host that owns a saga, or None where nobody does, and the token, which grows with each owner. ``seq``: of the
    saga's last entry at that time."""

    host: str | None
    token: int
    seq: int


class SagaTakenError(AntistropheError):
    """Another host owns the saga, or the same one by another token. Nothing was written. ``host``: the one that owns it
    now; None: nobody does."""

    def __init__(self, saga_id: str, *, host: str | None, token: int) -> None:
        now = "no host" if host is None else f"host {host!r}"
        super().__init__(f"saga {saga_id!r} now belongs to {now} (token {token}): let go of it, and write nothing more")
        self.saga_id = saga_id
        self.host = host
        self.token = token
