"""Waits that their callers gave up: neither the supervisor nor a host of saga actors keeps anything of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import AsyncSagaOrchestrator, OverloadedError, SagaOrchestrator, SagaStatus, Settings
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.messages import Waiter
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity
from tests.actors.many_waits import Gate
from tests.actors.staging import running
from tests.actors.steps import Noted, notes, one
from tests.waiting import until

POLLS = 12_000
NOISE_KB = 1_500
"""Half of what 12,000 polls took when the supervisor kept each."""


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


@pytest.fixture
def orchestrator(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    yield from running(tmp_path / "home", Settings(drain_s=0.5))


def resident_kb(orchestrator: SagaOrchestrator) -> dict[str, int]:
    """The memory of the processes that know of waits."""
    roles = {each.pid: each.role for each in orchestrator.processes() if each.role in ("supervisor", "saga")}
    return {role: rss_kb(pid) for pid, role in roles.items()}


def rss_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


@pytest.mark.timeout(240)  # 12,000 questions and more, on a machine that may be busy
def test_polls_of_a_result_leave_nothing_behind(orchestrator: SagaOrchestrator, gate: Path) -> None:
    handle = orchestrator.start(one("polled", Gate(str(gate))))
    until(lambda: handle.metadata().steps[0].pid, "it runs")

    def poll(times: int) -> None:
        for _ in range(times):
            with pytest.raises(TimeoutError):
                handle.result(timeout_s=0.0)

    poll(500)  # so that what is made once is there
    before = resident_kb(orchestrator)
    callers = [threading.Thread(target=poll, args=(POLLS // 4,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    orchestrator.running_count()
    after = resident_kb(orchestrator)
    grown = {role: after[role] - before[role] for role in before}
    assert max(grown.values()) < NOISE_KB, grown
    gate.touch()
    assert handle.result(timeout_s=30.0) == []


@pytest.mark.parametrize("how", ["executes", "cancelled tasks"])
def test_other_ways_of_giving_up_leave_nothing_behind(tmp_path: Path, gate: Path, how: str) -> None:
    async def main() -> tuple[dict[str, int], dict[str, int]]:
        async with AsyncSagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
            sync = orchestrator._threads.orchestrator
            handle = await orchestrator.start(one("polled", Gate(str(gate))))

            async def poll() -> None:
                if how == "executes":
                    with contextlib.suppress(TimeoutError):
                        await orchestrator.execute(one("polled", Gate(str(gate))), if_live="join", timeout_s=0.0)
                else:
                    with contextlib.suppress(TimeoutError, OverloadedError):  # a busy machine falls behind
                        await asyncio.wait_for(handle.result(), 0.003)

            for _ in range(50):
                await poll()
            before = resident_kb(sync)
            for _ in range(40):
                await asyncio.gather(*(poll() for _ in range(50)))
            await asyncio.to_thread(until, lambda: sync._session.requests.waiting == 0, "no call waits")
            await orchestrator.running_count()
            after = resident_kb(sync)
            await asyncio.to_thread(gate.touch)
            assert await handle.result(timeout_s=30.0) == []
            return before, after

    before, after = asyncio.run(main())
    grown = {role: after[role] - before[role] for role in before}
    assert max(grown.values()) < NOISE_KB, grown


def saga(saga_id: str = "s") -> LiveSaga:
    return LiveSaga(saga_id, {"r"}, "c", AdmissionRank(saga_id), RestartIntensity(3, 60.0))


def test_a_client_that_is_gone_takes_its_waits_along() -> None:
    live = saga()
    for number in range(4):
        live.wait(Waiter("address", f"{number}", f"client {number % 2}"))
    live.drop_waiters("client 1")
    assert list(live.waiters) == ["0", "2"]
    live.stop_waiting("2")
    live.stop_waiting("never heard of")
    assert list(live.waiters) == ["0"]


PROGRAM = """
import sys
from antistrophe import SagaOrchestrator
from antistrophe.messages import AwaitSaga
orchestrator = SagaOrchestrator(sys.argv[1])
requests, client_id = orchestrator._session.requests, orchestrator._session.attachment.client_id
orchestrator.running_count()
for number in range(8_000):
    requests._connection.send(AwaitSaga(f"{client_id} {number}", "waited-for", client_id))
    if number % 100 == 0:
        orchestrator.processes()  # the supervisor has read what was sent before
orchestrator.processes()
sys.stdout.write("all wait")
sys.stdout.flush()
sys.stdin.read()
"""


def test_waits_of_clients_that_were_killed_are_dropped(orchestrator: SagaOrchestrator, gate: Path) -> None:
    handle = orchestrator.start(one("waited-for", Gate(str(gate))))
    until(lambda: handle.metadata().steps[0].pid, "it runs")
    supervisor = next(each.pid for each in orchestrator.processes() if each.role == "supervisor")
    counts: list[int] = []
    for _ in range(4):
        arguments = [sys.executable, "-c", PROGRAM, str(orchestrator.home)]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
            assert client.stdout is not None
            assert client.stdout.read(8) == b"all wait"
            counts.append(rss_kb(supervisor))
            client.kill()
    gate.touch()
    assert handle.result(timeout_s=30.0) == []
    assert counts[-1] - counts[0] < NOISE_KB


def test_a_poll_says_where_the_saga_stands_and_finds_its_end_even_without_time(
    orchestrator: SagaOrchestrator, gate: Path
) -> None:
    handle = orchestrator.start(one("polled", Gate(str(gate))))
    pid = until(lambda: handle.metadata().steps[0].pid, "it runs")
    with pytest.raises(TimeoutError) as caught:
        handle.result(timeout_s=0.0)
    assert str(caught.value) == f"saga 'polled' has not ended within 0 s: step 0 (Gate) runs, in process {pid}"
    gate.touch()
    until(lambda: handle.status() is SagaStatus.COMPLETED, "its end")
    assert handle.result(timeout_s=0.0) == []
    assert orchestrator.execute(one("polled", Gate(str(gate))), timeout_s=0.0) == []


def test_who_waits_is_told_at_once_whatever_was_given_up(
    orchestrator: SagaOrchestrator, gate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator._session.requests, "_resend_s", 600.0)  # nobody asks again
    handle = orchestrator.start(one("polled", Gate(str(gate))))
    for _ in range(2_000):
        with pytest.raises(TimeoutError):
            handle.result(timeout_s=0.0)
    ends: list[object] = []

    def wait() -> None:
        ends.append(handle.result(timeout_s=30.0))

    waits = [threading.Thread(target=wait) for _ in range(20)]
    for each in waits:
        each.start()
    until(lambda: orchestrator._session.requests.waiting == 20, "all of them wait")
    gate.touch()
    for each in waits:
        each.join(30.0)
    assert ends == [[]] * 20
    assert handle.status() is SagaStatus.COMPLETED
    assert orchestrator.execute(notes("next", "a"), timeout_s=30.0) == [Noted("a")]
    gc.collect()
