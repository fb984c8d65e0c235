"""The attached applications as the supervisor knows them: which of them live, and which may still claim a saga."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

ANNOUNCE_S = 5.0
"""How long a new incarnation waits for the applications of the one before to say which sagas they hold."""

_REMEMBERED_DEPARTURES = 1_000


class Clients:
    """Every client id that was heard of and has not left.

    The launcher tells when one leaves, and again and again who is attached. Both may get lost, and a list may be older
    than the first request of a client; so a client is gone too when two lists in a row lack it. What a client sent
    before it left may come after that word, and brings it back no more.
    """

    def __init__(self, began_at: float) -> None:
        self._living: set[str] = set()
        self._left: deque[str] = deque(maxlen=_REMEMBERED_DEPARTURES)
        self._unlisted: set[str] = set()
        self._announce_until = began_at + ANNOUNCE_S
        self._expected: set[str] | None = None

    def heard(self, client_id: str) -> None:
        """A request of that client has come."""
        if client_id and client_id not in self._living and client_id not in self._left:
            self._living.add(client_id)

    def left(self, client_id: str) -> None:
        """The launcher says that it is gone."""
        self._living.discard(client_id)
        self._left.append(client_id)
        if self._expected:
            self._expected.discard(client_id)

    def listed(self, attached: Iterable[str], returning: Iterable[str]) -> list[str]:
        """The launcher lists who is attached, and who of them was attached to an earlier incarnation. Returns those who
        turn out to be gone."""
        listed = set(attached)
        for client_id in listed.intersection(self._left):
            self._left.remove(client_id)  # its connection was lost, and it has connected again
        gone = [client_id for client_id in self._unlisted - listed if client_id in self._living]
        for client_id in gone:
            self.left(client_id)
        self._unlisted = self._living - listed
        self._living |= listed
        if self._expected is None:
            self._expected = set(returning)
        return gone

    def announced(self, client_id: str) -> None:
        """That client has said which sagas it holds."""
        self.heard(client_id)
        if self._expected:
            self._expected.discard(client_id)

    def lives(self, client_id: str) -> bool:
        """Whether that client is attached, as far as is known."""
        return client_id in self._living

    def all_announced(self, now: float) -> bool:
        """False while a client of the incarnation before may still say that it holds a saga."""
        return self._expected == set() or now >= self._announce_until
