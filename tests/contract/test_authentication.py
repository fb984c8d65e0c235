"""Who belongs to a system and who is an outsider there: the code that opens a connection says it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import messages
from antistrophe.transport import authentication
from antistrophe.transport.address import path_of
from antistrophe.transport.drop_counters import FROM_OUTSIDERS
from antistrophe.transport.transport import UnixTransport
from tests.contract.ends import ends_in, receive, send, settle
from tests.waiting import until


@pytest.fixture
def _founded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(authentication, "_secret", None)
    authentication.found_system()
    yield
    monkeypatch.undo()


def test_outside_of_a_system_nobody_is_an_outsider() -> None:
    assert authentication.authentication_code("/a", "/b") == b""
    assert not authentication.is_outsider("/a", "/b", b"anything")


@pytest.mark.usefixtures("_founded")
def test_a_code_is_good_for_its_sender_and_its_receiver_alone(tmp_path: Path) -> None:
    shown = authentication.authentication_code("/a", "/b")
    assert not authentication.is_outsider("/a", "/b", shown)
    for sender, receiver, other in (("/c", "/b", shown), ("/a", "/c", shown), ("/b", "/a", shown), ("/a", "/b", b"")):
        assert authentication.is_outsider(sender, receiver, other)
    (tmp_path / "real").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    by_link = authentication.authentication_code(str(tmp_path / "link"), "/b")
    assert not authentication.is_outsider(str(tmp_path / "real"), "/b", by_link), "a path may go through a link"
    authentication.found_system()
    assert authentication.is_outsider("/a", "/b", shown), "of another system"


@pytest.mark.usefixtures("_founded")
def test_an_outsider_may_ask_and_say_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ends_in(tmp_path) as make:
        receiver, member, outsider = make(), make(), make()
        send(member, receiver, messages.DrainSagas())
        assert receive(receiver) == messages.DrainSagas()
        with monkeypatch.context() as outside:
            outside.setattr(authentication, "_secret", None)  # while it connects
            send(outsider, receiver, messages.DrainSagas())
            settle(outsider)
        send(outsider, receiver, messages.ListProcesses("question"))
        assert receive(receiver) == messages.ListProcesses("question")
        until(lambda: counted(receiver) == {FROM_OUTSIDERS: 1}, "the refusal")
        assert path_of(receiver.myAddress) is not None


def counted(end: UnixTransport) -> dict[str, int]:
    return dict(end.counts)
