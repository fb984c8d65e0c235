"""The messages between the supervisor and the membership actor, which keeps the lease of this host among several."""

from __future__ import annotations

from antistrophe.messages.message import Configuration, message
from antistrophe.messages.sagas import Waiter
from antistrophe.scheduling.permits import PermitAnswer, PermitNeed


@message
class JoinHosts:
    """The first message to the membership actor: join the hosts that share the journal. ``registration``: the lease
    that this system holds, if any, whose last confirmed renewal was sent at ``confirmed_at``; it is kept on."""

    base: Configuration
    registration: str = ""
    confirmed_at: float = 0.0


@message
class LeaseConfirmed:
    """The database has confirmed a renewal that was sent at ``sent_at`` (seconds of CLOCK_BOOTTIME). ``registration``
    names the lease, and the host as sagas name it: a new one where it was lost. ``draining``: somebody wants this host
    to take no more sagas."""

    registration: str
    sent_at: float
    lease_s: float
    draining: bool = False


@message
class LeaseRefused:
    """This lease is over: nothing of it may run any more. ``refused``: another host has taken it already."""

    registration: str
    refused: bool


@message
class HandOver:
    """The system stops, and every attempt was seen dead: end the lease, so that others take its sagas at once."""


@message
class LeaseEnded:
    """The lease was handed over."""

    registration: str


@message
class AttemptsDead:
    """Every attempt under this lease was seen dead, and none can start: the host may join anew."""

    registration: str


@message
class SagasClaimed:
    """These sagas are this host's from now on: their ids."""

    saga_ids: tuple[str, ...]


@message
class SagaTaken:
    """A saga is another host's by now, and its actor here has left."""

    saga_id: str


@message
class MoveSaga:
    """The code of this saga can't be loaded here, or a step of it needs another host: have one take it that may. Where
    there is none it stays."""

    saga_id: str


@message
class HostLoad:
    """How busy this host is: how many attempts run, and for how many more sagas there is room. ``heard``: of how many
    claimed sagas it had been told when it counted."""

    attempts: int
    room: int
    heard: int


@message
class AwaitElsewhere:
    """Tell this waiter the end of a saga that is another host's."""

    saga_id: str
    waiter: Waiter


@message
class SettlePermits:
    """What this host keeps and wants of limits that hold over all hosts, under this lease. A later ``number`` makes
    earlier ones void. From the moment ``until`` of the system's clock on nobody waits for the answer."""

    registration: str
    number: int
    until: float
    needs: tuple[PermitNeed, ...]


@message
class PermitsSettled:
    """What this host holds, by the answer to the message with that ``number``, which came at the moment ``at`` of the
    system's clock. A limit that is missing is as it was: all are, where the database has not answered."""

    registration: str
    number: int
    at: float
    answers: tuple[PermitAnswer, ...]
