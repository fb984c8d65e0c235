"""What a host says of itself, and what others are told of it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from antistrophe.errors import InvalidSettingsError
from antistrophe.fast_dataclass import dataclass
from antistrophe.hosts.retained import ALL, Retained
from antistrophe.settings.allowed import MOST_NAMES, Form, short

_ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class HostDescription:
    """One registration of a host. ``id`` is never used again; ``new_description`` draws one."""

    id: str
    name: str
    labels: frozenset[str]
    release: str
    lease_s: float
    retained: Retained = ALL


@dataclass(frozen=True, slots=True)
class HostLoad:
    """How busy a host is: the attempts that run, and whether it can start no more sagas for now."""

    attempts: int = 0
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One host as monitoring shows it.

    ``id``: of this registration; a host that is started again has another one. ``labels``: what it offers to steps.
    ``release``: the version of antistrophe. ``seen_at``: its last renewal, and ``lease_until``: when its lease ends
    without another one, both aware datetimes in UTC by the database's clock. ``draining``: it takes no more sagas.
    ``sagas``: how many unfinished ones it owns. ``attempts``: how many ran at its last renewal. ``ended``: None while
    it holds its lease, else how it ended ("handed over", "lapsed"). ``retain_finished_s``, ``retain_finished``: its
    settings of that name; None: it keeps all finished sagas, and so do all hosts as long as it holds its lease.
    """

    id: str
    name: str
    labels: frozenset[str]
    release: str
    seen_at: datetime
    lease_until: datetime
    draining: bool
    sagas: int
    attempts: int
    ended: str | None = None
    retain_finished_s: float | None = None
    retain_finished: int | None = None

    def state(self, at: datetime) -> str:
        """In a word or a few what it is at that moment of the database's clock."""
        if self.ended is not None:
            return self.ended
        return "lease is over" if self.lease_is_over(at) else "draining" if self.draining else "live"

    def lease_is_over(self, at: datetime) -> bool:
        """Whether its lease has ended at that moment of the database's clock, though nobody has taken it away yet."""
        return self.lease_until < at

    @property
    def retained(self) -> Retained:
        """How much of the finished sagas it keeps."""
        return Retained(self.retain_finished_s, self.retain_finished)

    @property
    def lease_s(self) -> float:
        """How long its lease lasts without a renewal."""
        return (self.lease_until - self.seen_at).total_seconds()


def new_description(
    name: str, labels: Iterable[str], release: str, lease_s: float, retained: Retained = ALL
) -> HostDescription:
    """Describe a host for a new registration. Raises InvalidSettingsError for a name or label that can't be one."""
    _check("host_name", name)
    if isinstance(labels, str):
        raise InvalidSettingsError(f"labels has to be a list of texts, not the text {labels!r}: write [{labels!r}]")
    offered = list(labels)
    if len(offered) > MOST_NAMES:
        raise InvalidSettingsError(f"a host has {MOST_NAMES} labels at most, not {len(offered)}")
    for label in offered:
        _check("a label", label)
    host_id = f"{name}-{os.urandom(_ID_BYTES).hex()}"
    return HostDescription(host_id, name, frozenset(offered), release, float(lease_s), retained)


def _check(what: str, text: Any) -> None:
    if not Form.NAME.admits(text):
        raise InvalidSettingsError(f"{what} has to be {Form.NAME.value}, not {short(text)}")
