"""The checks of `doctor`. None of them writes, locks or starts anything."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from antistrophe.cli.finding import Finding, Health, note, well, wrong
from antistrophe.cli.host_checks import of_hosts
from antistrophe.cli.storage_words import END_IT, open_in_words, size_in_words, what_to_do
from antistrophe.cli.told_sagas import not_told
from antistrophe.client.stored_home import ANSWER_S
from antistrophe.errors import AntistropheError, JournalError, SystemUnavailableError
from antistrophe.journal import JournalPlace, StoredJournal, open_journal
from antistrophe.journal.blocking import blocking
from antistrophe.journal.growth import growth_of
from antistrophe.launcher.control_protocol import Ready, State, unpack_settings
from antistrophe.launcher.home_lock import LOCK_NAME, LOG_FOLDER
from antistrophe.launcher.probe import probe
from antistrophe.linux.control_groups import fence_in_words, group_folder
from antistrophe.linux.descendants import can_mark
from antistrophe.linux.private_files import why_not_private
from antistrophe.linux.termination import processes_of_home
from antistrophe.narration.phrases import places
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.settings import Settings
from antistrophe.transport.sockets import existing_socket_folder

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE_BYTES = 100 << 20
REPLAYED_EACH = 2_000
"""How many of the last sagas of each final status are replayed, besides every saga that is not final."""

PAGE = 500
LONG_OPEN_S = 10.0
_COMPARISONS = 5
_STATUSES = (
    SagaStatus.EXECUTING,
    SagaStatus.COMPENSATING,
    SagaStatus.FAILED,
    SagaStatus.COMPENSATED,
    SagaStatus.COMPLETED,
)
NAMED = 5
SYSTEM_LOGS = 3
SETTLE_S = 3.0


@dataclass(frozen=True, slots=True)
class _System:
    """The actor system from outside: the state its launcher tells, its processes, the holders of the home's lock."""

    state: State | None
    pids: list[int]
    holders: list[str]

    @property
    def is_up(self) -> bool:
        """Whether the system takes requests."""
        return isinstance(self.state, Ready)

    @property
    def is_left(self) -> bool:
        """Whether there are processes without a launcher."""
        return self.state is None and bool(self.pids) and not self.holders


def examine(home: Path, place: JournalPlace, *, all_sagas: bool) -> list[Finding]:
    """All findings about a home that exists, in the order in which to read them."""
    findings = [*_versions(), *_folder(home), *_space(home)]
    try:
        system = _observe(home)
    except SystemUnavailableError as error:
        findings.append(wrong("system", str(error), "see the finding about the sockets"))
        system = _System(None, [], [])
    else:
        findings += _of_system(system)
    return [*findings, _logs(home, system.state), *_journal(place, system, all_sagas=all_sagas)]


def examine_database(place: JournalPlace, *, all_sagas: bool) -> list[Finding]:
    """The findings about a journal in a database, from where there is no home."""
    return [*_versions(), *_journal(place, _System(None, [], []), all_sagas=all_sagas)]


def _observe(home: Path) -> _System:
    """The system at this moment. A launcher that has just started gets some time to take the lock of the home."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        system = _System(probe(home, ANSWER_S), processes_of_home(home), _holders(home))
        if not system.is_left or time.monotonic() > deadline:
            return system
        time.sleep(0.05)


def _holders(home: Path) -> list[str]:
    """The pids that hold the home's lock, from the kernel's list: taking the lock would keep a launcher out."""
    try:
        status = (home / LOCK_NAME).stat()
    except OSError:
        return []
    wanted = f" {os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino} "
    lines = Path("/proc/locks").read_text("utf-8").splitlines()
    return [line.split()[4] for line in lines if " FLOCK " in line and wanted in line and "->" not in line]


def _versions() -> Iterator[Finding]:
    if sys.platform != "linux":
        yield wrong("machine", f"{sys.platform}: only Linux is supported", "run it on Linux")
    if sys.version_info < OLDEST_PYTHON:
        yield wrong("Python", platform.python_version(), "use Python 3.11 or newer")
    else:
        yield well("Python", f"{platform.python_version()} ({sys.executable})")
    yield well("SQLite", sqlite3.sqlite_version)


def _folder(home: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(home.stat().st_mode)
    if (why := why_not_private(home)) is not None:
        yield wrong("home", why, f"until then nothing runs there (for the home itself: chmod 700 {home})")
    elif mode & 0o077:
        yield wrong("home", f"{home} is open to other users (mode {mode:o})", f"chmod 700 {home}")
    elif not os.access(home, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        yield wrong("home", f"{home} can't be written to", f"chmod u+rwx {home}, or choose another home")
    else:
        yield well("home", f"{home}, mode {mode:o}, owned by this user")
    try:
        folder = existing_socket_folder(home)
    except SystemUnavailableError as error:
        yield wrong("sockets", str(error), "make it yours alone (chown, chmod 700), or remove it while no system runs")
    else:
        yield well("sockets", str(folder) if folder is not None else "no folder yet: the next start makes it")


def _space(home: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(home).free
    text = f"{free / (1 << 20):,.0f} MiB free"
    if free < LITTLE_SPACE_BYTES:
        yield note("disk", text, "free some space: on a full disk nothing new is dispatched")
    else:
        yield well("disk", text)


def _logs(home: Path, state: State | None) -> Finding:
    """The folder of the logs, and how much it may hold, by the settings of the system that runs."""
    settings = unpack_settings(state.settings) if isinstance(state, Ready) else Settings()
    most = settings.step_log_bytes + 2 * SYSTEM_LOGS * settings.log_bytes
    there = size = 0
    with suppress(OSError):
        for each in (home / LOG_FOLDER).iterdir():
            there, size = there + 1, size + each.lstat().st_size
    says = f"{home / LOG_FOLDER}: {there} files, {size / (1 << 20):.1f} MiB, and {most / (1 << 20):,.0f} MiB at most"
    return well("logs", says if isinstance(state, Ready) else f"{says}, where no setting says otherwise")


def _of_system(system: _System) -> Iterator[Finding]:
    state, pids = system.state, system.pids
    if isinstance(state, Ready):
        yield well(
            "system", f"runs: {len(pids)} processes, launcher {state.launcher_pid}, incarnation {state.generation}"
        )
    elif system.is_left:
        yield wrong(
            "system",
            f"no launcher answers, but processes of this home are left: pid {', '.join(map(str, pids))}",
            "the next start ends them, or end them by hand (kill -9)",
        )
    elif state is not None or system.holders:
        word = "a launcher holds the home, but does not answer yet" if state is None else type(state).__name__.lower()
        reason = getattr(state, "reason", getattr(state, "text", None))
        says = f"{word}: {reason}" if reason else word
        yield note("system", says, "run doctor again; if nothing has changed, see log/ in the home")
    else:
        yield well("system", "does not run; a program that opens the home starts it")
    yield from _fence(state.supervisor_pid if isinstance(state, Ready) else None)
    yield well("lock", f"held by process {', '.join(system.holders)}" if system.holders else "free")


def _fence(supervisor: int | None) -> Iterator[Finding]:
    """What ends all that attempts start: in the system that runs, or in one that was started from here."""
    folder, marks = group_folder(supervisor), can_mark(supervisor)
    says = f"all that an attempt starts is ended by {fence_in_words(folder, marks=marks)}"
    if folder is None and not marks:
        advice = "raise the hard limit of RLIMIT_LOCKS, or delegate a control group (systemd: Delegate=yes)"
        yield wrong("fence", says, advice)
    else:
        yield well("fence", says)


# --- journal ------------------------------------------------------------------------------------------------------


def _journal(place: JournalPlace, system: _System, *, all_sagas: bool) -> Iterator[Finding]:
    if not place.exists():
        yield well("journal", "there is no journal yet: nothing has run here")
        return
    try:
        journal = open_journal(place, read_only=True)
    except JournalError as error:
        if system.holders and not system.is_up:
            yield note("journal", str(error), "a launcher may be making it: run doctor again")
        else:
            yield wrong("journal", str(error), "do what the message says; doctor has changed nothing")
        return
    try:
        yield from _structure(journal, place)
        yield _size(place)
        for each in blocking(place, LONG_OPEN_S):
            yield note("readers in order", open_in_words(each), END_IT)
        if place.url is not None:
            yield from of_hosts(place)
        yield from _sagas(journal, all_sagas=all_sagas)
        yield from _attention(journal)
    except JournalError as error:
        yield wrong("journal", str(error), "do what the message says; doctor has changed nothing")
    finally:
        journal.close()


def _structure(journal: StoredJournal, place: JournalPlace) -> Iterator[Finding]:
    size = place.size_bytes()
    journal.check()
    what = str(place) if size is None else f"{place.existing_file().name}: {size / (1 << 20):.1f} MiB"
    yield well("journal", f"{what}, last position {journal.head()}, sound")


def _size(place: JournalPlace) -> Finding:
    growth = growth_of(place)
    advice = what_to_do(growth)
    return Finding(Health.WELL if advice is None else Health.NOTE, "size", size_in_words(growth), advice)


def _sagas(journal: StoredJournal, *, all_sagas: bool) -> Iterator[Finding]:
    """Replay the sagas from their entries, and compare the result with what monitoring shows."""
    broken: list[str] = []
    checked = 0
    for status in _STATUSES:
        seen: set[str] = set()
        for saga in _all(journal, status):
            if status.final and len(seen) >= REPLAYED_EACH and not all_sagas:
                break
            checked += 1
            problem = "another saga is listed as this one" if saga.id in seen else _disagreement(journal, saga, status)
            seen.add(saga.id)
            if problem is not None:
                broken.append(f"{saga.id}: {problem}")
    total = max(checked, sum(journal.counts().values()))  # more may have been accepted meanwhile
    if broken:
        some = "; ".join(broken[:NAMED]) + ("; ..." if len(broken) > NAMED else "")
        yield wrong(
            "sagas",
            f"{len(broken)} of {checked} do not agree with their journal entries: {some}",
            "restore journal.db from a backup, or report this with the file; the journal's entries are the truth",
        )
    else:
        yield well("sagas", f"{checked} of {total} replayed: the list shows what their journal entries say")


def _all(journal: StoredJournal, status: SagaStatus) -> Iterator[SagaMetadata]:
    cursor: str | None = None
    while True:
        page = journal.list(status=status, limit=PAGE, cursor=cursor)
        yield from page.sagas
        cursor = page.cursor
        if cursor is None:
            return


def _without_times(saga: SagaMetadata) -> SagaMetadata:
    """What the entries of a saga tell of it: not who owns it; they have the system's times, and people see the
    machine's."""
    never = datetime.fromtimestamp(0, UTC)
    steps = tuple(replace(step, started_at=None, finished_at=None) for step in saga.steps)
    waiting = None if saga.waiting is None else saga.waiting.partition(" comes at ")[0]
    return replace(saga, created_at=never, updated_at=never, waiting=waiting, steps=steps, host=None)


def _disagreement(journal: StoredJournal, listed: SagaMetadata, status: SagaStatus) -> str | None:
    if listed.status is not status:
        return f"listed as {status.value}, but shown as {listed.status.value}"
    for _ in range(_COMPARISONS):
        try:
            shown = journal.metadata(listed.id)
            replayed = metadata_of(replay(journal.load(listed.id)))
        except (AntistropheError, ValueError) as error:
            return None if journal.purged(listed.id) is not None else str(error)
        if shown is not None and _without_times(shown) == _without_times(replayed):
            return None
        if journal.metadata(listed.id) == shown:  # else it has just changed: compare again
            word = "nothing" if shown is None else shown.status.value
            return f"shown as {word}, but its entries say {replayed.status.value}"
    return None


def _attention(journal: StoredJournal) -> Iterator[Finding]:
    parked = journal.counts()[SagaStatus.FAILED]
    if parked:
        says = f"{parked} parked: an undo failed for good"
        yield note("attention", says, "antistrophe list --status failed, then antistrophe explain ID")
    if untold := not_told(journal, NAMED):
        says = f"on_parked has failed for {', '.join(saga.id for saga in untold)}; the last time: {untold[0].error}"
        what_to_do = f"see to it by hand, and mend it: antistrophe explain {places(untold[0].id)}"
        yield note("on_parked", says, what_to_do)
    waiting: Counter[str] = Counter()
    one_of: dict[str, str] = {}
    for status in (SagaStatus.EXECUTING, SagaStatus.COMPENSATING):
        for saga in _all(journal, status):
            if saga.waiting:
                waiting[saga.waiting] += 1
                one_of.setdefault(saga.waiting, saga.id)
    for reason, number in waiting.most_common(NAMED):
        what_to_do = f"antistrophe explain {places(one_of[reason])}"
        yield note("waiting", f"{number} wait: {reason}", what_to_do)
