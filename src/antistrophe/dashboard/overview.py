"""What the first page shows: what needs attention, how many sagas there are, and what failed of late."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

from antistrophe.client.host_words import SHORTEN_THE_WAIT, waited_long
from antistrophe.dashboard.addresses import saga_path
from antistrophe.dashboard.hosts import troubles
from antistrophe.dashboard.limits import Limit, Limits
from antistrophe.dashboard.look import Look
from antistrophe.dashboard.saga_filter import SagaFilter
from antistrophe.dashboard.standing import Standing
from antistrophe.dashboard.step_classes import StepClass
from antistrophe.journal.growth import Growth
from antistrophe.journal.present_numbers import looked_at
from antistrophe.launcher.control_protocol import Failed, Restarting
from antistrophe.narration.phrases import mebibytes
from antistrophe.narration.times import age
from antistrophe.records import SagaMetadata, SagaStatus, StepStatus
from antistrophe.saga.wait_reasons import WaitReason, reason_in

MOST_PARKED = 8
MOST_REASONS = 5
LARGE_LOG_BYTES = 64 << 20
_CRASHES = 3
_NEEDS_A_PERSON = (WaitReason.HOST, WaitReason.CODE)
"""What does not come by itself."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that needs a person. ``level`` is `bad` or `warn`; ``path`` leads to more, below the root."""

    level: str
    title: str
    text: str
    path: str | None = None
    since: datetime | None = None


def attention(
    look: Look,
    counts: dict[SagaStatus, int],
    standing: Standing,
    classes: list[StepClass],
    limits: Limits,
    growth: Growth,
) -> list[Attention]:
    """What needs a person, the worst first."""
    running = sum(number for status, number in counts.items() if status.running)
    shared = look.place.url is not None
    found = list(_of_hosts(standing, running) if shared else _of_system(standing, running))
    found += _parked(look, counts[SagaStatus.FAILED])
    found += _waiting(look)
    found += [_of_limit(each) for each in limits.shown if shared and waited_long(each.oldest, limits.at)]
    found += [_of_class(each) for each in classes if each.crashes >= _CRASHES and each.crashes * 2 >= each.attempts]
    found += _of_file(growth)
    return found


def _of_system(standing: Standing, running: int) -> list[Attention]:
    state = standing.state
    if isinstance(state, Failed):
        return [Attention("bad", "The actor system has given up", f"{state.error}: {state.text}")]
    if isinstance(state, Restarting):
        return [Attention("warn", "The actor system is started again", state.reason)]
    if state is None and running:
        text = f"{_unfinished(running)} when a program opens the home, or with `antistrophe serve`."
        return [Attention("bad", "No actor system runs", text, "/sagas?status=executing")]
    return []


def _of_hosts(standing: Standing, running: int) -> list[Attention]:
    if standing.hosts is None:
        return []
    found = [Attention(each.level, each.title, each.text, "/hosts") for each in troubles(standing.hosts)]
    if not standing.hosts.live and running:
        text = f"{_unfinished(running)} when a host is started, for instance with `antistrophe serve`."
        found.insert(0, Attention("bad", "No host is there", text, "/hosts"))
    return found


def _unfinished(running: int) -> str:
    return "1 unfinished saga goes on" if running == 1 else f"{running:,} unfinished sagas go on"


def _parked(look: Look, number: int) -> list[Attention]:
    if not number:
        return []
    page = look.journal.list(status=SagaStatus.FAILED, limit=MOST_PARKED)
    found = [
        Attention("bad", f"{saga.id} is parked", cause(saga), saga_path(saga.id), saga.updated_at)
        for saga in page.sagas
    ]
    if number > len(found):
        found.append(Attention("bad", f"{number - len(found)} more sagas are parked", "", "/sagas?status=failed"))
    return found


def cause(saga: SagaMetadata) -> str:
    """Why a parked saga is parked: the undo that failed, or its error."""
    failed = [step for step in saga.steps if step.status is StepStatus.COMPENSATION_FAILED]
    return "; ".join(f"the undo of {step.name} failed: {step.error}" for step in failed) or saga.error or ""


def _waiting(look: Look) -> list[Attention]:
    """Sagas that wait for something that does not come by itself, such as their code, one line for each reason. Those
    that were accepted first are looked at: they are at work, and may keep all others waiting."""
    rows = [row for status in SagaStatus if status.running for row in looked_at(look.database, status.value)]
    held_up = [row for row in rows if row[2] is not None and reason_in(row[2]) in _NEEDS_A_PERSON]
    first = {row[2]: row for row in reversed(held_up)}
    found = []
    for reason, number in Counter(row[2] for row in held_up).most_common(MOST_REASONS):
        saga_id, at_us = first[reason][0], first[reason][5]
        title = f"{saga_id} waits" if number == 1 else f"{number} sagas wait"
        path = saga_path(saga_id) if number == 1 else f"/sagas?{SagaFilter(waiting=True, why=reason[:60]).query()}"
        found.append(Attention("warn", title, reason, path, datetime.fromtimestamp(at_us / 1e6, UTC)))
    return found


def _of_limit(limit: Limit) -> Attention:
    title = f"Host {limit.waiters[0].name} waits for the limit of {limit.kind} {limit.name}"
    return Attention("warn", title, SHORTEN_THE_WAIT, "/limits", limit.oldest)


def _of_class(found: StepClass) -> Attention:
    text = f"{found.crashes} of {found.attempts} attempts of late lost their process, or were killed."
    return Attention("warn", f"{found.name} crashes again and again", text, "/steps")


def _of_file(growth: Growth) -> list[Attention]:
    if growth.log_bytes <= LARGE_LOG_BYTES:
        return []
    text = "A program reads for so long that the log can't be used anew: `fuser` names who has the file open."
    return [Attention("warn", f"The journal's log has {mebibytes(growth.log_bytes)}", text)]


def storage(growth: Growth) -> list[tuple[str, str]]:
    """What the journal takes, in pairs of words."""
    said = [("journal", mebibytes(growth.file_bytes)), ("log", mebibytes(growth.log_bytes))]
    said += [("free in it", mebibytes(growth.free_bytes))] if growth.free_bytes > 1 << 20 else []
    if growth.sagas_a_day is not None:
        said.append(("sagas a day", f"{growth.sagas_a_day:,.0f}"))
    if growth.oldest_finished is not None:
        said.append(("oldest finished", f"{age(datetime.now(UTC) - growth.oldest_finished)} ago"))
    return said
