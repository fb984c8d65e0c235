"""What the keeper of a lease and whoever runs it say to each other."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from antistrophe.hosts.ownership import ClaimedSaga

# --- reports: from the keeper ---------------------------------------------------------------------------------------


class Registered(msgspec.Struct, frozen=True, tag=True):
    """The host has a new lease of ``lease_s`` seconds, which began at ``sent_at`` (CLOCK_BOOTTIME)."""

    host: str
    lease_s: float
    sent_at: float


class Confirmed(msgspec.Struct, frozen=True, tag=True):
    """The database has confirmed the renewal that was sent at ``sent_at``. ``draining``: take no more sagas."""

    host: str
    sent_at: float
    draining: bool


class Refused(msgspec.Struct, frozen=True, tag=True):
    """The lease has ended in the database: others may have its sagas by now. End all attempts at once."""

    host: str


class Fenced(msgspec.Struct, frozen=True, tag=True):
    """No renewal was confirmed in time. The keeper renews no more until it hears AllDead."""

    host: str


class Claimed(msgspec.Struct, frozen=True, tag=True):
    """The host owns these sagas now, compensating ones first. One that is known with this token may be told again."""

    host: str
    sagas: tuple[ClaimedSaga, ...]


class Moved(msgspec.Struct, frozen=True, tag=True):
    """Whether a saga that can't go on here was given up for another host. False: keep it, and let it wait."""

    saga_id: str
    moved: bool


class NotClaimed(msgspec.Struct, frozen=True, tag=True):
    """A host holds the saga that was to be claimed, or there is none of that id."""

    saga_id: str


class HostsSeen(msgspec.Struct, frozen=True, tag=True):
    """Other hosts hold leases, or do no more: these do now."""

    hosts: tuple[str, ...]


class Trouble(msgspec.Struct, frozen=True, tag=True):
    """The database does not answer, and why; None: it does again."""

    why: str | None


class HandedOver(msgspec.Struct, frozen=True, tag=True):
    """The lease is ended, and the keeper with it."""

    host: str


# --- orders: to the keeper ------------------------------------------------------------------------------------------


class SetLoad(msgspec.Struct, frozen=True, tag=True):
    """How many attempts run, and how many more sagas the host would take. ``heard``: how many claimed sagas it had been
    told of, all in all (those that were told twice count twice), when it counted: what was claimed since takes of this
    room."""

    attempts: int
    room: int
    heard: int


class Fence(msgspec.Struct, frozen=True, tag=True):
    """The host has fenced itself. Renew no more."""


class AllDead(msgspec.Struct, frozen=True, tag=True):
    """All attempts of the fenced host were seen dead. Register anew."""


class MoveOn(msgspec.Struct, frozen=True, tag=True):
    """The saga can't go on here: its next step ``needs`` labels that the host lacks, or else its code can't be loaded.
    Is there a host for it? Ask again after HostsSeen where there was none."""

    saga_id: str
    token: int
    seq: int
    needs: tuple[str, ...] = ()


class ClaimOne(msgspec.Struct, frozen=True, tag=True):
    """Claim this saga, also a parked one, if no host holds it: there is an order for it."""

    saga_id: str


class HandOver(msgspec.Struct, frozen=True, tag=True):
    """The host stops, and all of its attempts were seen dead. End the lease, so that others take its sagas at once."""


Report: TypeAlias = (
    Registered | Confirmed | Refused | Fenced | Claimed | Moved | NotClaimed | HostsSeen | Trouble | HandedOver
)
Order: TypeAlias = SetLoad | Fence | AllDead | MoveOn | ClaimOne | HandOver
