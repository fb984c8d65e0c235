"""What steps log and print is kept with the attempt that said it, whatever becomes of its process."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    AsyncSagaOrchestrator,
    LogRecord,
    RetryPolicy,
    SagaDefinition,
    SagaExistsError,
    SagaNotFoundError,
    SagaOrchestrator,
    Settings,
    StepContext,
    step,
)
from antistrophe.cli import main
from antistrophe.logs.step_log import step_log_path
from tests.actors.staging import outcome, seen
from tests.waiting import until

shop = logging.getLogger("shop.till")


def say_all(ctx: StepContext, word: str) -> None:
    sys.stdout.write(f"{word} out\n")
    sys.stderr.write(f"{word} err\n")
    ctx.log.info("%s ctx", word)
    ctx.log.debug("%s too little", word)
    shop.info("%s shop", word)
    shop.debug("%s debug", word)


@step
def speak(ctx: StepContext, fail: bool = False) -> None:
    say_all(ctx, "do")
    if fail:
        raise ValueError("no")


@speak.compensation
def unspeak(ctx: StepContext) -> None:
    say_all(ctx, "undo")


@step(requires_compensation=False, retry=RetryPolicy(max_attempts=2, initial_s=0.01))
async def speak_twice(ctx: StepContext) -> None:
    sys.stdout.write(f"await {ctx.attempt}\n")
    await asyncio.sleep(0)
    await asyncio.to_thread(sys.stdout.write, f"thread {ctx.attempt}\n")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdout.write, f"job {ctx.attempt}\n")
    asyncio.get_running_loop().call_soon(sys.stdout.write, f"soon {ctx.attempt}\n")
    await asyncio.create_task(asyncio.to_thread(ctx.log.info, "task %d", ctx.attempt))
    if ctx.attempt == 1:
        raise ValueError("again")


@step(requires_compensation=False)
async def meet(ctx: StepContext, others: int, folder: str) -> None:
    """Says something while all others are there too."""
    os.close(os.open(os.path.join(folder, ctx.saga_id), os.O_CREAT))  # noqa: PTH118 - an async function
    while len(os.listdir(folder)) < others:
        sys.stdout.write(f"{ctx.saga_id} waits\n")
        await asyncio.sleep(0.005)
    sys.stdout.write(f"{ctx.saga_id} of {os.getpid()}\n")


@step(requires_compensation=False)
def speak_slowly(ctx: StepContext) -> None:
    ctx.log.info("one")
    ends_at = time.monotonic() + 0.3
    while time.monotonic() < ends_at:
        time.sleep(0.01)
    ctx.log.info("two")


@step(requires_compensation=False)
def die(ctx: StepContext) -> None:
    sys.stdout.write("last words\n")
    print("and half a line", end="", flush=True)  # noqa: T201 - flushes
    os.kill(os.getpid(), signal.SIGKILL)


@step(requires_compensation=False)
def have_others_speak(ctx: StepContext) -> None:
    for other in (threading.Thread, multiprocessing.get_context("fork").Process):
        each: Any = other(target=sys.stdout.write, args=(f"{other.__name__}\n",))
        each.start()
        each.join()


@step(requires_compensation=False)
def leave_a_thread(ctx: StepContext) -> None:
    gone = threading.Event()

    def speak_later() -> None:
        gone.wait(0.005)  # the process is ended as soon as it is clear that the thread stays
        sys.stdout.write("later\n")
        gone.wait(60)

    threading.Thread(target=speak_later).start()


@step(requires_compensation=False, timeout_s=60.0)
def flood(ctx: StepContext, mebibytes: int) -> None:
    for number in range(mebibytes):
        sys.stdout.write(f"{number:09}{'z' * 90}\n" * 10_240)
    ctx.log.info("lost")


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    return Settings(drain_s=0.5, step_log_bytes=4 << 20)


def said(records: list[LogRecord], **wanted: object) -> list[str]:
    return [each.text for each in records if all(getattr(each, name) == value for name, value in wanted.items())]


def test_all_that_a_step_says_is_kept_with_its_attempt(system: SagaOrchestrator) -> None:
    begun = datetime.now(UTC)
    outcome(system, SagaDefinition("says").add_step(speak(), name="first").add_step(speak(True), name="second"))
    records = system.get_logs("says")
    four = {"out": "stdout", "err": "stderr", "ctx": "log", "shop": "logging"}
    for step_name, action, word in (
        ("first", "execute", "do"),
        ("second", "execute", "do"),
        ("first", "compensate", "undo"),
    ):
        mine = [each for each in records if (each.step_name, each.action) == (step_name, action)]
        assert {each.text: each.source for each in mine} == {f"{word} {end}": source for end, source in four.items()}
    assert said(records, level="INFO", logger="shop.till") == ["do shop", "do shop", "undo shop"]
    assert set(said(records, level=None)) == {"do out", "do err", "undo out", "undo err"}
    assert all(begun < each.at < datetime.now(UTC) for each in records)
    assert [each.at for each in records] == sorted(each.at for each in records)
    assert {each.pid for each in records} <= {each.pid for each in seen(system, "says").steps}


def test_so_it_is_in_a_process_with_many_calls(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("async").add_step(speak_twice()))
    records = system.get_logs("async")
    for attempt in (1, 2):
        words = [f"{word} {attempt}" for word in ("await", "thread", "job", "soon", "task")]
        assert sorted(said(records, attempt=attempt, step_name="speak_twice")) == sorted(words)


def test_two_calls_in_one_process_are_told_apart(system: SagaOrchestrator, tmp_path: Path) -> None:
    sagas = [f"meet-{number}" for number in range(3)]
    for saga_id in sagas:
        system.start(SagaDefinition(saga_id).add_step(meet(len(sagas), str(tmp_path))))
    system.wait_idle(30.0)
    for saga_id in sagas:
        words = said(system.get_logs(saga_id))
        assert words[-1].startswith(f"{saga_id} of ")
        assert all(each.startswith(saga_id) for each in words)


def test_a_process_that_is_killed_has_left_all_that_it_said(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("dies").add_step(die()))
    assert said(system.get_logs("dies")) == ["last words", "and half a line"]


def test_threads_and_forks_speak_for_their_attempt(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("others").add_step(have_others_speak()))
    records = system.get_logs("others")
    assert said(records) == ["Thread", "ForkProcess"]
    assert records[0].pid != records[1].pid
    outcome(system, SagaDefinition("left").add_step(leave_a_thread()))
    assert said(system.get_logs("left"), attempt=1) == ["later"]


def test_a_flood_is_bounded_and_says_what_is_missing(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("flood").add_step(flood(200)))
    assert seen(system, "flood").status == "completed"
    assert step_log_path(system.home).stat().st_size < 2 << 20
    records = system.get_logs("flood")
    missing = [each for each in said(records) if "are missing here" in each]
    kept = len(records) - len(missing) - len(said(records, source="log"))
    dropped = sum(int(each.split()[1].replace(",", "")) for each in missing)
    assert kept + dropped in (200 * 10_240, 200 * 10_240 + 1)


def test_a_saga_that_is_not_there_has_no_logs(system: SagaOrchestrator) -> None:
    with pytest.raises(SagaNotFoundError, match="nobody"):
        system.get_logs("nobody")


def test_steps_log_from_the_level_of_their_application_on(
    system: SagaOrchestrator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)  # as setLevel does it: what loggers have cached is forgotten, now and afterwards

    async def run() -> list[LogRecord]:
        async with AsyncSagaOrchestrator(system.home) as other:
            await other.execute(SagaDefinition("debug").add_step(speak()))
            return await other.get_logs("debug")

    records = asyncio.run(run())
    assert said(records, level="DEBUG") == ["do debug"], "ctx.log has the level of the settings"
    assert b"ANTISTROPHE_ROOT_LOG_LEVEL" not in os.environb


def test_the_logs_of_a_purged_saga_are_not_shown(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("purged").add_step(speak()))
    until(lambda: system.purge(timedelta(0)).sagas, "the purge")
    with pytest.raises(SagaExistsError, match="purged"):
        system.get_logs("purged")
    assert b'"purged"' not in step_log_path(system.home).read_bytes()


def test_what_an_erased_saga_has_said_is_erased_too(system: SagaOrchestrator) -> None:
    outcome(system, SagaDefinition("erased").add_step(speak()))
    assert b'"erased"' in step_log_path(system.home).read_bytes()
    assert system.erase("erased")
    assert system.get_logs("erased") == []
    assert b'"erased"' not in step_log_path(system.home).read_bytes()


def test_logs_follows_a_saga_to_its_end(system: SagaOrchestrator, capsys: pytest.CaptureFixture[str]) -> None:
    system.start(SagaDefinition("followed").add_step(speak_slowly()))
    assert main(["--home", str(system.home), "logs", "followed", "--follow"]) == 0
    assert [each.split()[-1] for each in capsys.readouterr().out.splitlines()] == ["one", "two"]
