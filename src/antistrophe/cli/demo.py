"""`demo`: a bank whose transfers go on whatever happens. One hangs and is killed, then the supervisor is killed, and at
the end the money is counted. Its home is removed afterwards."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from antistrophe.cli import columns, screen
from antistrophe.cli.course_drawing import drawing
from antistrophe.cli.demo_steps import ACCOUNTS, HANG_LIMIT_S, OPENING_BALANCE, balances, open_bank, transfer
from antistrophe.cli.exit_codes import DONE, SAGA_FAILED
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.journal import JournalPlace, open_journal
from antistrophe.narration import times
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.course import course_of

FIRST, SECOND = range(1, 25), range(25, 37)
HANGS = 7
PAUSE_S = 0.25
"""How long each call of a step takes, so that a person can watch."""

TOTAL = len(ACCOUNTS) * OPENING_BALANCE
INTRODUCTION = (
    f"A bank with {len(ACCOUNTS)} accounts and {TOTAL} coins. Each transfer is a saga of two steps, Debit and Credit."
)
FIRST_ACT = (
    f"{len(FIRST)} transfers. In transfer-{HANGS:02} the money arrives, and then Credit hangs in synchronous code."
    f" After {HANG_LIMIT_S:g} s its process is killed. When the process is seen to be dead, and not before,"
    " the transfer is undone."
)
SECOND_ACT = f"{len(SECOND)} more transfers, and while they run the supervisor is killed with kill -9."


@dataclass(slots=True)
class _Act:
    """A part of the demo: the sagas that belong to it, as they stand."""

    ids: tuple[str, ...]
    sagas: dict[str, SagaMetadata] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether every saga has ended."""
        return len(self.sagas) == len(self.ids) and not any(saga.status.running for saga in self.sagas.values())

    def counts(self) -> Text:
        """How many sagas have which status."""
        found = Counter(saga.status for saga in self.sagas.values())
        line = Text("  ")
        for status in SagaStatus:
            if found[status]:
                line.append_text(screen.status_text(status)).append(f" {found[status]}   ")
        line.rstrip()
        return line


@click.command("demo", short_help="See how the money of a bank survives a hung step and a killed supervisor.")
@everywhere
@pass_invocation
def demo_verb(invocation: Invocation) -> int:
    """Run the transfers of a small bank. One of them hangs and is killed before it is undone; then the supervisor is
    killed. At the end the money is counted. It takes half a minute at most and leaves no files."""
    with tempfile.TemporaryDirectory(prefix="antistrophe-demo-") as folder:
        return _Demo(invocation, Path(folder)).play()


class _Demo:
    """One call of the verb."""

    def __init__(self, invocation: Invocation, folder: Path) -> None:
        self._invocation = invocation
        self._bank = str(folder / "bank.db")
        self._home = folder / "home"
        self._console = screen.output()
        self._silent = invocation.as_json

    def play(self) -> int:
        """Both acts, and the count."""
        open_bank(self._bank)
        self._say(INTRODUCTION)
        with SagaOrchestrator(self._home, settings=self._invocation.settings(), journal="") as orchestrator:
            first = self._act(orchestrator, FIRST_ACT, FIRST)
            self._show_the_hung(f"transfer-{HANGS:02}")
            second = self._act(orchestrator, SECOND_ACT, SECOND, kill=True)
        return self._count(first, second)

    def _act(self, orchestrator: SagaOrchestrator, title: str, numbers: range, *, kill: bool = False) -> _Act:
        act = _Act(tuple(f"transfer-{number:02}" for number in numbers))
        self._say(f"\n{title}\n")
        with orchestrator.subscribe() as changes:
            for number in numbers:
                orchestrator.start(transfer(self._bank, number, pause_s=PAUSE_S, hangs=number == HANGS))
            follow = self._follow(act, (change.saga for change in changes))
            for _ in self._shown(act, follow):
                if kill and any(saga.steps_executed for saga in act.sagas.values()):
                    kill = False
                    act.notes.append(_kill_the_supervisor(orchestrator))
                    self._say(f"  {act.notes[-1]}", pipe_only=True)
        return act

    def _follow(self, act: _Act, changed: Iterable[SagaMetadata]) -> Iterator[SagaMetadata]:
        for saga in changed:
            if saga.id in act.ids:
                act.sagas[saga.id] = saga
                yield saga
            if act.over:
                return

    def _shown(self, act: _Act, follow: Iterator[SagaMetadata]) -> Iterator[SagaMetadata]:
        """Pass the changes on, and show what they make of the act."""
        if self._silent:
            yield from follow
        elif not self._console.is_terminal:
            for saga in follow:
                yield saga
                if not saga.status.running:
                    why = f": {saga.error}" if saga.error else ""
                    self._say(f"  {times.moment(saga.updated_at, date=False)}  {saga.id} {saga.status.value}{why}")
        else:
            with Live(console=self._console, refresh_per_second=20) as live:
                for saga in follow:
                    yield saga
                    live.update(_picture(act), refresh=True)

    def _show_the_hung(self, saga_id: str) -> None:
        if self._silent:
            return
        with closing(open_journal(JournalPlace.of_home(self._home), read_only=True)) as journal:
            saga = journal.metadata(saga_id)
            spans = course_of(journal.load(saga_id))
        assert saga is not None
        self._say(f"\n{saga_id}, drawn from its journal (antistrophe show {saga_id}):\n")
        width = columns.width_of(self._console)
        for line in drawing(saga, spans, saga.updated_at.timestamp(), None if width is None else width - 2):
            self._console.print(Text("  ").append_text(line), soft_wrap=True)

    def _count(self, *acts: _Act) -> int:
        sagas = [saga for act in acts for saga in act.sagas.values()]
        counts = Counter(saga.status for saga in sagas)
        money = balances(self._bank)
        right = sum(money.values()) == TOTAL and all(saga.status.final for saga in sagas)
        if self._silent:
            statuses = {saga.id: saga.status for saga in sagas}
            screen.print_json({"sagas": statuses, "balances": money, "total": sum(money.values()), "expected": TOTAL})
            return DONE if right else SAGA_FAILED
        self._say("\nThe money is counted:\n")
        self._console.print(screen.pairs([*money.items(), ("together", f"{sum(money.values())} of {TOTAL}")]))
        done = f"{counts[SagaStatus.COMPLETED]} transfers completed, {counts[SagaStatus.COMPENSATED]} were undone"
        verdict = "no coin was lost, and none was made" if right else "this does not add up, which is a bug"
        self._console.print(screen.safe(f"\n{done}: {verdict}.", style="bold green" if right else "bold red"))
        return DONE if right else SAGA_FAILED

    def _say(self, text: str, *, pipe_only: bool = False) -> None:
        if not self._silent and not (pipe_only and self._console.is_terminal):
            self._console.print(screen.safe(text))


def _picture(act: _Act) -> Group:
    notes = (Padding(screen.safe(note, style="bold red"), (0, 0, 0, 2)) for note in act.notes)
    lines: list[RenderableType] = [act.counts(), *notes]
    running = [saga for saga in act.sagas.values() if saga.status.running][:8]
    rows = [
        [Text(f"  {saga.id}"), screen.status_text(saga.status), screen.safe_line(", ".join(_busy(saga)))]
        for saga in running
    ]
    if rows:
        lines += columns.rows_as_lines(["", "", ""], rows, None)[1:]
    return Group(*lines)


def _busy(saga: SagaMetadata) -> list[str]:
    quiet = ("pending", "skipped", "succeeded", "compensated")
    return [
        f"{step.name} {step.status.value.replace('_', ' ')}" for step in saga.steps if step.status.value not in quiet
    ]


def _kill_the_supervisor(orchestrator: SagaOrchestrator) -> str:
    pid = next(process.pid for process in orchestrator.processes() if process.role == "supervisor")
    os.kill(pid, signal.SIGKILL)
    return f"kill -9 {pid}: the supervisor is dead, and every step process with it. The system starts again by itself."
