"""The supervisor's side of a lease: it hears the keeper, arms the switch, and goes by its own clock."""

from __future__ import annotations

import math

import pytest

from antistrophe.hosts.holder import LeaseHolder
from antistrophe.hosts.keeper_messages import Confirmed, Fenced, Refused, Registered, Trouble
from antistrophe.hosts.lease import LeasePhase
from tests.noticing import noticed

VALID, FENCED, KILLING, OVER = LeasePhase


class Switch:
    def __init__(self) -> None:
        self.armed: list[float | None] = []

    def arm(self, until: float) -> None:
        self.armed.append(until)

    def disarm(self) -> None:
        self.armed.append(None)


@pytest.fixture
def switch() -> Switch:
    return Switch()


@pytest.fixture
def holder(switch: Switch) -> LeaseHolder:
    holder = LeaseHolder(switch)
    holder.hear(Registered("a-1", 10.0, 100.0), 100.1)
    return holder


def test_before_it_is_registered_nothing_may_start(switch: Switch) -> None:
    holder = LeaseHolder(switch)
    holder.hear(Confirmed("a-1", 1.0, draining=False), 2.0)
    assert holder.host is None
    assert holder.phase(2.0) is OVER
    assert holder.next_moment(2.0) == math.inf
    assert switch.armed == []
    with pytest.raises(ValueError, match="wait for Registered"):
        holder.all_dead(2.0)


def test_each_confirmation_puts_the_switch_off(holder: LeaseHolder, switch: Switch) -> None:
    holder.hear(Confirmed("a-1", 102.0, draining=False), 102.1)
    holder.hear(Confirmed("a-1", 101.0, draining=False), 102.2)
    holder.hear(Trouble("x"), 102.3)
    assert switch.armed == [108.5, 110.5]
    assert holder.phase(107.9) is VALID
    assert holder.next_moment(107.9) == 108.0


@pytest.mark.parametrize("what", ["is not armed", "is not put off"])
def test_a_switch_that_is_not_armed_is_noticed(switch: Switch, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    if what == "is not armed":
        monkeypatch.setattr(LeaseHolder, "_arm", lambda *_: None)
    else:
        monkeypatch.setattr(Switch, "arm", lambda self, until: self.armed or self.armed.append(until))
    holder = LeaseHolder(switch)
    holder.hear(Registered("a-1", 10.0, 100.0), 100.1)
    with noticed():
        test_each_confirmation_puts_the_switch_off(holder, switch)


def test_a_keeper_that_says_nothing_is_not_waited_for(holder: LeaseHolder, switch: Switch) -> None:
    assert holder.phase(105.9) is VALID
    assert holder.phase(106.0) is FENCED
    assert holder.next_moment(106.0) == 107.5
    assert holder.kill_at(1.0) == 107.0
    assert holder.phase(107.5) is KILLING
    assert switch.armed == [108.5], "the switch stays armed until all are dead"
    holder.all_dead(107.6)
    assert switch.armed == [108.5, None]
    assert holder.phase(107.7) is OVER


def test_a_confirmation_that_is_heard_too_late_arms_nothing_and_changes_nothing(
    holder: LeaseHolder, switch: Switch
) -> None:
    holder.hear(Confirmed("a-1", 101.0, draining=False), 107.5)
    assert switch.armed == [108.5]
    assert holder.phase(107.5) is FENCED


def test_a_registration_that_is_heard_too_late_does_not_end_the_supervisor(switch: Switch) -> None:
    holder = LeaseHolder(switch)
    holder.hear(Registered("a-1", 10.0, 100.0), 120.0)
    assert switch.armed == []
    assert holder.phase(120.0) is KILLING
    holder.all_dead(120.0)
    assert (switch.armed, holder.phase(120.0)) == ([None], OVER)


@pytest.mark.parametrize(("report", "phase"), [(Refused("a-1"), KILLING), (Fenced("a-1"), FENCED)])
def test_what_the_keeper_knows_better_counts_at_once(
    holder: LeaseHolder, report: Refused | Fenced, phase: LeasePhase
) -> None:
    holder.hear(type(report)("another"), 101.0)
    assert holder.phase(101.0) is VALID
    holder.hear(report, 101.0)
    assert holder.phase(101.0) is phase


def test_a_new_registration_is_a_new_lease(holder: LeaseHolder, switch: Switch) -> None:
    holder.hear(Refused("a-1"), 103.0)
    holder.all_dead(103.5)
    holder.hear(Registered("a-2", 10.0, 104.0), 104.1)
    holder.hear(Confirmed("a-1", 105.0, draining=False), 105.1)
    assert (holder.host, holder.phase(109.9)) == ("a-2", VALID)
    assert switch.armed == [108.5, None, 112.5]
    assert holder.phase(111.0) is FENCED


def test_a_host_that_has_stopped_has_no_switch(holder: LeaseHolder, switch: Switch) -> None:
    holder.stopped()
    assert switch.armed[-1] is None
    assert holder.phase(101.0) is OVER
