"""Garbage at the sockets of a system that runs: nobody dies of it, it is counted, and sagas go on."""

from __future__ import annotations

import contextlib
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe import SagaDefinition, SagaOrchestrator, Settings
from antistrophe.launcher import control_protocol
from antistrophe.launcher.probe import probe
from antistrophe.messages import FROM_APPLICATIONS
from antistrophe.transport.codec import MESSAGES, pack_message
from antistrophe.transport.connection import PREAMBLE_MAGIC, framed, preamble
from antistrophe.transport.drop_counters import FROM_OUTSIDERS, MALFORMED
from antistrophe.transport.sockets import existing_socket_folder
from tests.actors.staging import running
from tests.actors.steps_act import Act
from tests.contract.sent import OPEN, frames, thespian_messages
from tests.fuzz.conftest import count, inputs
from tests.fuzz.garbage import spoiled
from tests.fuzz.made_up import made_up
from tests.waiting import until

DOORS = st.integers(0, 999)
OPENINGS = [b"", PREAMBLE_MAGIC, preamble("/x"), b"\xff\xff\xff\xff"]
REQUESTS = sorted(cls.__name__ for cls in FROM_APPLICATIONS)

pytestmark = pytest.mark.timeout(900)  # a tenth of one hundred thousand inputs, when they are asked for


@pytest.fixture(scope="module")
def system(shared_home: Path) -> Iterator[SagaOrchestrator]:
    yield from running(shared_home, Settings(drain_s=0.5, max_step_processes=2))


def lasting(system: SagaOrchestrator) -> dict[str, int]:
    """The processes that a system is made of: role -> pid."""
    return {each.role: each.pid for each in system.processes() if each.role not in ("step", "idle")}


def doors(home: Path) -> list[str]:
    """The sockets of the home's actors; the launcher's door is none of them."""
    folder = existing_socket_folder(home)
    assert folder is not None
    return sorted(
        str(path) for path in folder.iterdir() if path.name != control_protocol.CONTROL_NAME and path.is_socket()
    )


def a_door(home: Path, number: int) -> str:
    """One of them. They come and go while garbage is drawn, so it is not drawn from a list of them."""
    paths = doors(home)
    return paths[number % len(paths)]


def throw(path: str, data: bytes) -> None:
    """Send this to whoever listens there, if anybody does, without waiting for an answer."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as thrown:
        thrown.settimeout(5.0)
        thrown.connect(path)
        thrown.sendall(data)


def check_goes_on(system: SagaOrchestrator, log: Path, before: dict[str, int]) -> None:
    """A saga completes in the processes that were there before."""
    saga = SagaDefinition(f"real-{uuid.uuid4().hex}").add_step(Act(str(log), "real")).add_step(Act(str(log), "too"))
    assert system.execute(saga, timeout_s=30.0)
    assert lasting(system) == before


def told(home: Path) -> str:
    return (home / "log" / "system.log").read_text("utf-8", "replace")


def test_messages_that_are_not_for_others_to_send_are_dropped_and_counted(
    system: SagaOrchestrator, tmp_path: Path
) -> None:
    before = lasting(system)

    @inputs(1.0)
    @given(made_up(MESSAGES), DOORS)
    def check(frame: bytes, door: int) -> None:
        count("messages to a running system")
        throw(a_door(system.home, door), preamble("/nobody") + framed(frame))

    check()
    check_goes_on(system, tmp_path / "effects", before)
    until(lambda: FROM_OUTSIDERS in told(system.home), "what was dropped is counted in the log")


def test_made_up_requests_are_answered_and_do_no_harm(system: SagaOrchestrator, tmp_path: Path) -> None:
    before = lasting(system)
    state = probe(system.home)
    assert isinstance(state, control_protocol.Ready)

    @inputs(1.0)
    @given(made_up(["StartSaga", *REQUESTS]))
    def check(frame: bytes) -> None:
        count("requests to a running system")
        throw(state.supervisor, preamble("/nobody") + framed(frame))

    check()
    check_goes_on(system, tmp_path / "effects", before)
    sys.stdout.write(f"{system.running_count() + system.history_count() - 1} made-up sagas were accepted\n")


def test_spoilt_frames_and_thespian_s_own_are_dropped_and_counted(system: SagaOrchestrator, tmp_path: Path) -> None:
    before = lasting(system)
    valid = [*frames(), *map(pack_message, (*thespian_messages(), *OPEN))]

    @inputs(1.0)
    @given(spoiled(valid), DOORS)
    def check(frame: bytes, door: int) -> None:
        count("frames to a running system")
        throw(a_door(system.home, door), preamble("/nobody") + framed(frame))

    check()
    check_goes_on(system, tmp_path / "effects", before)
    until(lambda: MALFORMED in told(system.home), "what was dropped is counted in the log")


def test_streams_of_anything_are_closed(system: SagaOrchestrator, tmp_path: Path) -> None:
    before = lasting(system)

    @inputs(0.5)
    @given(st.binary(max_size=60), st.sampled_from(OPENINGS), DOORS)
    def check(garbage: bytes, opening: bytes, door: int) -> None:
        count("streams to a running system")
        throw(a_door(system.home, door), opening + garbage)

    check()
    check_goes_on(system, tmp_path / "effects", before)


def test_garbage_at_the_launcher_s_door_ends_that_connection_alone(system: SagaOrchestrator, tmp_path: Path) -> None:
    before = lasting(system)
    folder = existing_socket_folder(system.home)
    assert folder is not None
    hello = control_protocol.encode(control_protocol.Hello("somebody", attach=False))

    @inputs(0.5)
    @given(spoiled([hello[4:]]), st.sampled_from(["framed", "bare", "after hello", "endless"]))
    def check(garbage: bytes, how: str) -> None:
        count("introductions to a launcher")
        openings = {"framed": len(garbage).to_bytes(4, "big"), "after hello": hello, "endless": b"\xff" * 4}
        throw(control_protocol.control_path(folder), openings.get(how, b"") + garbage)

    check()
    check_goes_on(system, tmp_path / "effects", before)
