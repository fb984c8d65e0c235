"""`cancel`, `retry`, `resolve`, `relocate` and `reload`: the orders that an operator can give."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import click

from antistrophe.cli import screen
from antistrophe.cli.completion import saga_ids
from antistrophe.cli.exit_codes import DONE, SAGA_FAILED
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.introduction import as_tool
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.errors import RequestError, SagaError
from antistrophe.launcher.probe import probe
from antistrophe.records import SagaMetadata, SagaStatus

waits = click.option(
    "--wait/--no-wait",
    default=True,
    help="Wait until the saga has ended or is parked (the default), or leave when the order is journaled. If no other"
    " program keeps the actor system running, it stops when this call leaves, and the saga goes on at the next start.",
)


@click.command("cancel", short_help="Cancel a saga that goes forward.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.option("--reason", metavar="TEXT", help="Why; it is journaled, and the saga's callers get it.")
@waits
@everywhere
@pass_invocation
def cancel_verb(invocation: Invocation, saga_id: str, reason: str | None, wait: bool) -> int:
    """Cancel a saga that goes forward: everything it has done is compensated.

    Exit code: 0 the saga is compensated or being compensated, 1 it is parked, 2 it has completed.
    """

    def cancel(orchestrator: SagaOrchestrator) -> None:
        done = orchestrator.cancel(saga_id, reason)
        if not done and orchestrator.handle(saga_id).status() is SagaStatus.COMPLETED:
            raise RequestError(f"saga {saga_id!r} has completed: it can't be cancelled any more")

    return _order(invocation, saga_id, wait, cancel)


@click.command("retry", short_help="Try the compensations of a parked saga again.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.option("--note", metavar="TEXT", help="What was repaired; it is journaled with your user name.")
@waits
@everywhere
@pass_invocation
def retry_verb(invocation: Invocation, saga_id: str, note: str | None, wait: bool) -> int:
    """Try the compensations of a parked saga again, with their full retry policy.

    Exit code: 0 the saga is compensated (or, with --no-wait, the order is journaled), 1 it is parked again.
    """
    return _order(invocation, saga_id, wait, lambda orchestrator: orchestrator.retry_compensation(saga_id, note=note))


@click.command("resolve", short_help="Say that a step's compensation was settled by hand.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.argument("step_name", metavar="STEP")
@click.option("--note", required=True, metavar="TEXT", help="How it was settled; it is journaled with your user name.")
@waits
@everywhere
@pass_invocation
def resolve_verb(invocation: Invocation, saga_id: str, step_name: str, note: str, wait: bool) -> int:
    """Say that the compensation of STEP was settled by other means: it failed for good, or it comes next and can't be
    made, because its code is gone for example. The saga then compensates the steps before STEP.

    Exit code: 0 the saga is compensated (or, with --no-wait, the order is journaled), 1 it is parked again.
    """
    if not note.strip():
        raise click.BadParameter("say how the step was settled: it is journaled", param_hint="--note")
    return _order(invocation, saga_id, wait, lambda orchestrator: orchestrator.resolve(saga_id, step_name, note))


@click.command("relocate", short_help="Say where the code of sagas is from now on.")
@click.argument("chosen", metavar="ID...", nargs=-1, required=True, shell_complete=saga_ids)
@click.option("--to", "folder", required=True, metavar="DIR", help="The folder that an import finds their modules in.")
@click.option("--note", metavar="TEXT", help="Why; it is journaled with your user name.")
@waits
@everywhere
@pass_invocation
def relocate_verb(invocation: Invocation, chosen: tuple[str, ...], folder: str, note: str | None, wait: bool) -> int:
    """Say that the code of these sagas is in DIR from now on, because its place is gone or was changed. Their next
    attempts find their classes there.

    Exit code: 0 each saga has ended (or, with --no-wait, the order is journaled), 1 one of them is parked.
    """

    def order(saga_id: str) -> Callable[[SagaOrchestrator], object]:
        return lambda orchestrator: orchestrator.relocate(saga_id, folder, note=note)

    return max(_order(invocation, each, wait, order(each)) for each in dict.fromkeys(chosen))


@click.command("reload", short_help="Have steps run in processes that load their code anew.")
@everywhere
@pass_invocation
def reload_verb(invocation: Invocation) -> int:
    """Have the steps of all applications run in processes that load their code anew. Processes that are idle end now,
    those that work after their calls.

    A changed file of a step's own module is noticed without this; a change of a module that it imports is not. Where
    no system runs there is nothing to do: the next one loads the code as it is then.
    """
    invocation.existing_home()
    count = 0
    if probe(invocation.home) is not None:
        with (
            as_tool(),
            SagaOrchestrator(
                invocation.home, journal=invocation.journal_option, settings=invocation.settings()
            ) as orchestrator,
        ):
            count = orchestrator.reload()
    if invocation.as_json:
        screen.print_json_line({"processes": count})
    else:
        screen.output().print(f"{count} step processes end, and others load the code anew")
    return DONE


def _order(invocation: Invocation, saga_id: str, wait: bool, order: Callable[[SagaOrchestrator], object]) -> int:
    """Give an order. Its answer does not count: an order without effect was journaled by an earlier call."""
    invocation.existing_home()  # an order to a saga must not make a home
    invocation.stored_place()
    with (
        as_tool(),
        SagaOrchestrator(
            invocation.home, journal=invocation.journal_option, settings=invocation.settings()
        ) as orchestrator,
    ):
        order(orchestrator)
        if wait:
            with contextlib.suppress(SagaError):
                orchestrator.handle(saga_id).result()
        saga = orchestrator.handle(saga_id).metadata()
    _print(invocation, saga)
    return SAGA_FAILED if saga.status is SagaStatus.FAILED else DONE


def _print(invocation: Invocation, saga: SagaMetadata) -> None:
    if invocation.as_json:
        screen.print_json(saga)
        return
    line = screen.safe(f"{saga.id} is ").append_text(screen.status_text(saga.status))
    if saga.status.running:
        line.append("; it goes on when the home is opened again, or now where another program keeps it open")
    if saga.status is SagaStatus.FAILED:
        line.append_text(screen.safe(f"; this command says what to do: {invocation.command('explain', saga.id)}"))
    screen.output().print(line, soft_wrap=True)
