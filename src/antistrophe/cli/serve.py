"""`serve`: keeps the actor system of a home running, in the foreground, until a signal stops it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import click

from antistrophe.cli import screen
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, after_restore_option, everywhere, pass_invocation
from antistrophe.client.introduction import as_tool
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.errors import SystemStateError

POLL_S = 2.0
"""How often `serve` asks whether the system answers. A system that stays away ends `serve` with an error."""

LOCAL_HOST = "127.0.0.1"


@click.command("serve", short_help="Keep the actor system of the home running.")
@click.option("--metrics", "port", type=click.IntRange(0, 65535), metavar="PORT", help="Serve metrics for Prometheus.")
@click.option("--metrics-host", "host", metavar="HOST", help=f"Where to serve them; by default {LOCAL_HOST}.")
@click.option("--traces", is_flag=True, help="Export the sagas' traces by OTLP, as OTEL_EXPORTER_OTLP_ENDPOINT says.")
@after_restore_option
@everywhere
@pass_invocation
def serve_verb(invocation: Invocation, port: int | None, host: str | None, traces: bool, after_restore: bool) -> int:
    """Keep the actor system of the home running until SIGTERM, SIGINT or SIGHUP.

    `serve` counts as one attached program: the system runs as long as any program is attached. Sagas that an earlier
    run left unfinished go on at once. `--metrics PORT` needs the extra antistrophe[metrics], and serves
    http://127.0.0.1:PORT/metrics. Who can reach the port can read it.
    `--traces` needs the extra antistrophe[otel].
    """
    if host is not None and port is None:
        raise click.UsageError("--metrics-host says where to serve metrics: give --metrics PORT too")
    settings = invocation.settings()
    with (
        as_tool(),
        _stop_signals() as stop,
        _metrics(invocation, port, host) as metrics,
        SagaOrchestrator(
            invocation.home, journal=invocation.journal_option, settings=settings, after_restore=after_restore
        ) as orchestrator,
        _traces(orchestrator.home, invocation.journal_url, wanted=traces),
    ):
        _say_ready(invocation, orchestrator, metrics)
        while not stop.wait(POLL_S):
            orchestrator.running_count()
        _say(invocation, "stopping: running attempts get drain_s to end; unfinished sagas go on at the next start")
    return DONE


def _metrics(invocation: Invocation, port: int | None, host: str | None) -> AbstractContextManager[str | None]:
    """Serve metrics where that is wanted; gives their address."""
    if port is None:
        return nullcontext()
    from antistrophe.metrics.server import serving

    return serving(invocation.home, port, host or LOCAL_HOST, journal=invocation.journal_url or "")


def _traces(home: Path, journal: str | None, *, wanted: bool) -> AbstractContextManager[object]:
    """Export traces where that is wanted."""
    if not wanted:
        return nullcontext()
    try:
        from antistrophe.tracing import TraceExport, otlp_exporter

        return TraceExport(home, otlp_exporter(), journal=journal or "")
    except ModuleNotFoundError as error:
        raise SystemStateError(
            f"--traces needs OpenTelemetry ({error}): install it with `pip install 'antistrophe[otel]'`"
        ) from error


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    stop = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield stop
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _say_ready(invocation: Invocation, orchestrator: SagaOrchestrator, metrics: str | None) -> None:
    running = orchestrator.running_count()
    if invocation.as_json:
        served = {} if metrics is None else {"metrics": metrics}
        screen.print_json_line({"home": orchestrator.home, "pid": os.getpid(), "running_sagas": running, **served})
    else:
        if metrics is not None:
            _say(invocation, f"metrics at {metrics}")
        _say(invocation, f"serving {orchestrator.home} as process {os.getpid()}; {running} unfinished sagas go on")


def _say(invocation: Invocation, text: str) -> None:
    if not invocation.as_json:
        screen.errors().print(screen.safe(text), soft_wrap=True)
