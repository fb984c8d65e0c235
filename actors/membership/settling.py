"""Settles with the database what the supervisor wants of the limits that hold over all hosts."""

from __future__ import annotations

from collections.abc import Callable

from antistrophe.actors.base import log
from antistrophe.errors import JournalError
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.linux.dead_man import boot_time
from antistrophe.messages import PermitsSettled, SettlePermits


class Settling:
    """Answers one question after the other. ``now``: the moment of the system's clock."""

    def __init__(self, permits: Callable[[], StoredPermits], now: Callable[[], float]) -> None:
        self._permits = permits
        self._now = now
        self._number = self._serial = 0

    def answer(self, message: SettlePermits) -> PermitsSettled | None:
        """The answer to the supervisor; None where it waits for none to this message any more: the database was so slow
        that it has asked again, and to answer this one first would make the next answer late as well."""
        if message.number <= self._number or self._now() >= message.until:
            return None
        self._number = message.number
        self._serial = max(self._serial + 1, int(boot_time() * 1e6))
        try:
            answers = tuple(self._permits().settle(message.registration, self._serial, message.needs))
        except JournalError as error:
            log.debug("limits over all hosts can't be settled: %s", error)
            answers = ()
        return PermitsSettled(message.registration, message.number, self._now(), answers)
