"""`demo`: shows how a saga is undone after its last step hung and was killed. Its home is removed afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from antistrophe.cli import screen, times
from antistrophe.cli.demo_steps import HANG_LIMIT_S, BookFlight, BookHotel, Pay
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.explanation import explain, story_table
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.cli.saga_rows import step_lines
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.records import SagaMetadata

INTRODUCTION = (
    "A trip in three steps: flight, hotel, payment. The payment takes the money and then hangs in synchronous code."
    f" After {HANG_LIMIT_S:g} s its process is killed. When it is proven dead, and not before, the saga is undone.\n"
)


@click.command("demo", short_help="See how a small saga is undone whose last step hangs.")
@everywhere
@pass_invocation
def demo_verb(invocation: Invocation) -> int:
    """Run a small saga whose last step hangs, and show how it is undone. It takes some seconds and leaves no files."""
    settings = invocation.settings()
    with tempfile.TemporaryDirectory(prefix="antistrophe-demo-") as folder:
        world = Path(folder) / "world.txt"
        home = Path(folder) / "home"
        trip = SagaDefinition("trip-to-athens", name="trip")
        for step in (BookFlight(str(world)), BookHotel(str(world)), Pay(str(world))):
            trip = trip.add_step(step)
        with SagaOrchestrator(home, settings=settings) as orchestrator:
            if invocation.as_json:
                for _ in _changes(orchestrator, trip):
                    pass
            else:
                _show(screen.output(), orchestrator, trip, world)
            journal = SqliteJournal(journal_path(home), read_only=True)
            try:
                _finish(invocation, journal, trip.id, world)
            finally:
                journal.close()
    return DONE


def _changes(orchestrator: SagaOrchestrator, trip: SagaDefinition) -> Iterator[SagaMetadata]:
    """Start the saga, and yield its metadata after each change until it has ended."""
    with orchestrator.subscribe(from_position=0) as changes:
        orchestrator.start(trip)
        for change in changes:
            yield change.saga
            if not change.saga.status.running:
                return


def _show(console: Console, orchestrator: SagaOrchestrator, trip: SagaDefinition, world: Path) -> None:
    console.print(INTRODUCTION)
    if not console.is_terminal:
        for saga in _changes(orchestrator, trip):
            steps = ", ".join(f"{step.name} {step.status.value.replace('_', ' ')}" for step in saga.steps)
            console.print(f"{times.moment(saga.updated_at, date=False)}  {saga.status.value}: {steps}")
        return
    with Live(console=console, refresh_per_second=20) as live:
        for saga in _changes(orchestrator, trip):
            live.update(_picture(saga, world), refresh=True)


def _picture(saga: SagaMetadata, world: Path) -> RenderableType:
    head = Text.assemble((f"{saga.id}  ", "bold"), screen.status_text(saga.status))
    return Group(
        head,
        *step_lines(saga.steps, None),
        screen.safe("\nWhat the steps did to the world", style="bold"),
        *_seen(world),
    )


def _seen(world: Path) -> list[Text]:
    lines = world.read_text("utf-8").splitlines() if world.exists() else []
    undone = ("back", "nothing was paid")
    return [screen.safe(f"  {line}", style="magenta" if line.endswith(undone) else "green") for line in lines]


def _finish(invocation: Invocation, journal: SqliteJournal, saga_id: str, world: Path) -> None:
    explanation = explain(journal.load(saga_id), system_runs=True)
    if invocation.as_json:
        saga = journal.metadata(saga_id)
        seen = world.read_text("utf-8").splitlines()
        screen.print_json({"saga": saga, "world": seen, "timeline": journal.timeline(saga_id)})
        return
    console = screen.output()
    if not console.is_terminal:
        screen.section(console, "What the steps did to the world", Group(*_seen(world)))
    screen.section(console, "The same from its journal (antistrophe explain)", story_table(explanation.story))
    console.print(f"\n{explanation.standing}")
