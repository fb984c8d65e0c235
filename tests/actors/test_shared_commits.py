"""Messages to several sagas share one journal commit, and what they cause leaves after it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from thespian.actors import ActorAddress, WakeupMessage

from antistrophe.actors import base
from antistrophe.actors.saga import hosted_sagas
from antistrophe.actors.saga.host import SagaHost
from antistrophe.actors.saga.hosted_sagas import HostedSagas
from antistrophe.actors.saga.process_requests import ASK_AGAIN_S
from antistrophe.actors.saga.saga import JOURNAL_AGAIN_S, SagaActor
from antistrophe.errors import JournalError
from antistrophe.journal import GroupCommit, Purgeable, SqliteJournal, journal_path
from antistrophe.messages import (
    Accepted,
    BeginSaga,
    Configuration,
    Done,
    HostConfiguration,
    ProcessGrant,
    Rejected,
    RequestLease,
    ResumeSaga,
    ReturnProcess,
    RunStep,
    SagaActorFailed,
    SagaEnded,
    SagaOrder,
    SagaOutcome,
    StepAnswer,
    Waiter,
)
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import CancelAsked, RetryAsked, Returned
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.settings import Settings
from tests.contract.journal_sagas import accepted

SUPERVISOR, REGISTRY, CLIENT = (ActorAddress(name) for name in ("supervisor", "registry", "client"))


class Post:
    """In the place of Thespian: hands the host its messages, and keeps what it sends with what was durable then."""

    def __init__(self, home: Path) -> None:
        self.transport = self
        self.sent: list[tuple[Any, int]] = []
        self._inbox: list[Any] = []
        self._reader = SqliteJournal(journal_path(home))
        self.host = SagaHost()
        self.host._myRef = self  # type: ignore[attr-defined]
        configuration = Configuration(str(home), Settings(report_s=60.0), 0.0, 1)
        self.deliver(HostConfiguration(configuration, REGISTRY))

    @property
    def sagas(self) -> HostedSagas:
        assert self.host.sagas is not None, "configured"
        return self.host.sagas

    def more_is_waiting(self, kinds: object) -> bool:
        return bool(self._inbox)

    def actor_send(self, to: ActorAddress, message: Any) -> None:
        self.sent.append((message, self._reader.head()))

    def wakeupAfter(self, *_: Any) -> None:  # noqa: N802 - Thespian's name
        """Nothing here comes due."""

    def deliver(self, *messages: Any) -> None:
        """All of it is there at once."""
        self._inbox = list(messages)
        while self._inbox:
            self.host.receiveMessage(self._inbox.pop(0), SUPERVISOR)

    def told(self, kind: type) -> list[Any]:
        return [message for message, _ in self.sent if type(message) is kind]

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def post(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
    # The host lives in this process: it must not take over its signals and its log.
    monkeypatch.setattr(base, "restore_fatal_signals", lambda: None)
    monkeypatch.setattr(base, "log_to", lambda *_: None)
    monkeypatch.setattr(hosted_sagas, "LONGEST_S", 60.0)  # a slow machine commits sooner
    made = Post(tmp_path)
    yield made
    made.close()


def lease(saga_id: str) -> Lease:
    return Lease(f"lease of {saga_id}", 1, 1, "another boot")


def begin(saga_id: str) -> BeginSaga:
    grant = ProcessGrant(saga_id, lease(saga_id), ActorAddress(f"step process of {saga_id}"))
    spec = accepted(saga_id, steps=("Debit",)).spec
    return BeginSaga("request", spec, grant, Waiter(CLIENT, f"start {saga_id}"), (Waiter(CLIENT, f"end {saga_id}"),))


def answer(saga_id: str) -> StepAnswer:
    return StepAnswer(saga_id, 0, Action.EXECUTE, 1, lease(saga_id).name, Returned())


NAMES = ("a", "b", "c", "d")


def test_what_is_there_at_the_same_time_shares_a_commit(post: Post) -> None:
    post.deliver(*map(begin, NAMES))
    assert {at for _, at in post.sent} == {post._reader.head()}, "nothing leaves before all of it is durable"
    assert [each.saga_id for each in post.told(Accepted)] == list(NAMES)
    assert [each.saga_id for each in post.told(RunStep)] == list(NAMES)
    before = post._reader.head()
    post.sent.clear()
    post.deliver(*map(answer, NAMES))
    assert {at for _, at in post.sent} == {post._reader.head()} != {before}
    assert [each.correlation for each in post.told(SagaOutcome)] == [f"end {name}" for name in NAMES]


def test_what_comes_alone_is_committed_alone(post: Post) -> None:
    for name in NAMES:
        before = post._reader.head()
        post.deliver(begin(name))
        assert post._reader.head() > before
        assert post.told(RunStep)[-1].saga_id == name


def test_what_comes_before_its_configuration_waits_for_it(post: Post, tmp_path: Path) -> None:
    """The configuration names the registry, so it is held back where that one reports later than the host."""
    post.host = SagaHost()
    post.host._myRef = post  # type: ignore[attr-defined]
    post.deliver(begin("a"), begin("b"))
    assert post.sent == []
    post.deliver(HostConfiguration(Configuration(str(tmp_path), Settings(report_s=60.0), 0.0, 1), REGISTRY))
    assert [each.saga_id for each in post.told(RunStep)] == ["a", "b"]


def test_one_that_is_in_other_hands_leaves_the_others_alone(post: Post, tmp_path: Path) -> None:
    post.deliver(*map(begin, NAMES))
    other = Post(tmp_path)
    other.deliver(begin("c"))  # in the journal already: resumed, not begun
    other.deliver(begin("e"))
    post.deliver(*map(answer, NAMES))
    other.sent.clear()
    other.deliver(begin("f"), answer("c"), answer("e"))
    other.close()
    assert [each.saga_id for each in other.told(SagaEnded)] == ["e"]
    assert [each.saga_id for each in other.told(RunStep)] == ["f"]
    assert len(post.told(SagaOutcome)) == len(NAMES)


def test_the_word_of_the_end_brings_the_process_back(post: Post) -> None:
    post.deliver(begin("a"))
    post.deliver(answer("a"))
    assert [each.returned for each in post.told(SagaEnded)] == [ReturnProcess("a", lease("a").name, True)]
    assert post.told(ReturnProcess) == []


def test_a_process_that_has_been_asked_for_is_asked_for_again_only_where_it_does_not_come(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.deliver(replace(begin("a"), grant=None), replace(begin("b"), grant=None, asked=True))
    assert [each.saga_id for each in post.told(RequestLease)] == ["a"]
    post.sent.clear()
    now = post.sagas.now() + ASK_AGAIN_S
    monkeypatch.setattr(post.sagas, "now", lambda: now)
    post.deliver(WakeupMessage(timedelta(seconds=ASK_AGAIN_S)))
    assert sorted(each.saga_id for each in post.told(RequestLease)) == ["a", "b"]


def test_who_waits_for_long_asks_ever_less_often(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    post.deliver(replace(begin("a"), grant=None))
    start, asked_at = post.sagas.now(), []
    for second in range(1, 200):
        now = start + second
        monkeypatch.setattr(post.sagas, "now", lambda now=now: now)
        post.sent.clear()
        post.deliver(WakeupMessage(timedelta(seconds=1)))
        asked_at += [second] if post.told(RequestLease) else []
    waits = [after - before for before, after in itertools.pairwise(asked_at)]
    assert waits[:4] == [4, 8, 16, 30]
    assert set(waits[4:]) == {30}


@pytest.mark.parametrize("failing", ["the commit", "an append"])
def test_what_the_journal_refuses_as_a_whole_is_handled_one_by_one(
    post: Post, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    post.deliver(begin("a"), begin("b"))
    post.sent.clear()
    if failing == "the commit":
        real = GroupCommit.commit

        def commit(self: GroupCommit) -> None:
            monkeypatch.setattr(GroupCommit, "commit", real)
            self.roll_back()
            raise JournalError("the disk is full")

        monkeypatch.setattr(GroupCommit, "commit", commit)
    else:
        append = SqliteJournal._update

        def update(self: SqliteJournal, *arguments: Any) -> None:
            append(self, *arguments)
            monkeypatch.setattr(SqliteJournal, "_update", append)
            raise JournalError("the disk is full")

        monkeypatch.setattr(SqliteJournal, "_update", update)
    post.deliver(begin("c"), answer("a"), begin("d"), answer("b"))
    assert [each.saga_id for each in post.told(RunStep)] == ["c", "d"]
    assert [each.correlation for each in post.told(Accepted)] == ["start c", "start d"]
    assert [each.correlation for each in post.told(SagaOutcome)] == ["end a", "end b"]
    assert len({at for _, at in post.sent}) > 2, "what was undone was handled one by one"


def test_an_actor_that_fails_takes_nothing_of_the_others_with_it(
    post: Post, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    post.deliver(*map(begin, NAMES))
    post.sent.clear()
    perform = SagaActor._perform

    def fail(self: SagaActor, effects: Any) -> None:
        if self._id == "b":
            raise ValueError("a bug")
        perform(self, effects)

    monkeypatch.setattr(SagaActor, "_perform", fail)
    with caplog.at_level(logging.CRITICAL + 1, "antistrophe"):
        post.deliver(*map(answer, NAMES))
    assert [each.correlation for each in post.told(SagaOutcome)] == ["end a", "end c", "end d"]
    assert [each.saga_id for each in post.told(SagaActorFailed)] == ["b"]


def test_a_batch_that_is_undone_leaves_no_alarm_and_no_position_behind(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    post.deliver(replace(begin("a"), grant=None))
    head = post._reader.head()
    for _ in range(5):
        with monkeypatch.context() as full:
            full.setattr(GroupCommit, "commit", commit_on_a_full_disk(full))
            post.sent.clear()
            post.deliver(SagaOrder("a", CancelAsked(None, "me"), Waiter(CLIENT, "order")))
            assert [each.error for each in post.told(Rejected)] == ["JournalError"]
    post.deliver(SagaOrder("a", RetryAsked("me"), Waiter(CLIENT, "order")))
    assert [each.position for each in post.told(Done)] == [head], "nobody waits for what was undone"
    wakes: list[str] = []
    wake = SagaActor.wake

    def noted(actor: SagaActor) -> None:
        wakes.append(actor._id)
        wake(actor)

    monkeypatch.setattr(SagaActor, "wake", noted)
    now = post.sagas.now() + JOURNAL_AGAIN_S
    monkeypatch.setattr(post.sagas, "now", lambda: now)
    post.deliver(WakeupMessage(timedelta(seconds=1)))
    assert wakes == ["a"], "one alarm is left, however often it was set"


def commit_on_a_full_disk(patch: pytest.MonkeyPatch) -> Callable[[GroupCommit], None]:
    """A commit that fails, and so does every append after it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise JournalError("the disk is full")

    def commit(self: GroupCommit) -> None:
        self.roll_back()
        patch.setattr(SqliteJournal, "append", refuse)
        refuse()

    return commit


def test_a_purged_saga_begins_in_no_host_and_takes_no_other_with_it(post: Post) -> None:
    """A supervisor that has not heard of its end may ask for it once more."""
    post.deliver(begin("a"))
    post.deliver(answer("a"))
    walk = post._reader.purge(Purgeable(LARGEST_INTEGER))
    while walk.step():
        pass
    assert walk.report.sagas == 1
    for asked in (begin("a"), ResumeSaga("a")):
        post.sent.clear()
        post.deliver(begin("b" if isinstance(asked, BeginSaga) else "c"), asked)
        (ended,) = post.told(SagaEnded)
        assert (ended.saga_id, ended.status, ended.error) == ("a", None, "SagaExistsError")
        assert "purged" in ended.refusal
        assert [each.saga_id for each in post.told(RunStep)] == ["b" if isinstance(asked, BeginSaga) else "c"]
    assert post._reader.load("a") == ()
