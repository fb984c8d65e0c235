"""The keeper of a lease: what it reports, what it renews and claims, and what it does while the database is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from antistrophe.errors import CommitUnknownError
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.keeper_messages import (
    AllDead,
    Claimed,
    ClaimOne,
    Confirmed,
    Fence,
    Fenced,
    HandedOver,
    HandOver,
    HostsSeen,
    Moved,
    MoveOn,
    NotClaimed,
    Refused,
    Registered,
    SetLoad,
    Trouble,
)
from antistrophe.hosts.lease import LapsedLease
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.storage.postgres import PostgresDatabase
from tests.contract.hosts_kit import LEASE_S, Clock, Host, add_sagas, closing_all, go_on, terms

Makes = Callable[..., Host]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(empty_postgres: str, clock: Clock) -> Iterator[Makes]:
    """Makes a host that has registered and has room."""
    hosts: list[Host] = []

    def make(name: str = "a", *, room: int = 100, **options: object) -> Host:
        hosts.append(Host(empty_postgres, clock, terms(name, **options)))
        hosts[-1].turn()
        hosts[-1].has_room(room)
        return hosts[-1]

    with closing_all(hosts):
        yield make


# --- its own lease ------------------------------------------------------------------------------------------------


def test_it_registers_and_renews_every_fifth_of_the_lease(make: Makes, clock: Clock) -> None:
    begun = clock.now
    host = make()
    go_on(clock, [host], 10.05)
    assert host.told(Registered) == [Registered(host.id, LEASE_S, begun)]
    sent = [round(each.sent_at - begun, 1) for each in host.told(Confirmed)]
    assert sent[0] == 0.0, "it has got room, and the others learn it at once"
    assert sent[1:] == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert not host.told(Trouble) + host.told(Fenced)


def test_it_is_fenced_where_no_renewal_is_confirmed_and_comes_back_under_another_id(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    host = make()
    add_sagas(database, host.id, ("s", "executing"))
    first, confirmed_at = host.id, host.told(Confirmed)[-1].sent_at
    _take_away(host)
    go_on(clock, [host], 20.0, until=lambda: bool(host.told(Fenced)))
    assert clock.now - confirmed_at == pytest.approx(0.6 * LEASE_S, abs=0.21)
    assert [each.why is not None for each in host.told(Trouble)] == [True]
    _bring_back(host)
    go_on(clock, [host], 30.0)
    assert len(host.told(Registered)) == 1, "nobody has said that all attempts are dead"
    host.say(AllDead())
    go_on(clock, [host], 1.0)
    assert host.id != first
    assert host.sagas == ["s"], "the old registration was ended, and its sagas are free"
    assert host.told(Trouble)[-1] == Trouble(None)


def _take_away(host: Host) -> None:
    host.away = True
    host.keeper.close()
    host.keeper._database = None


def _bring_back(host: Host) -> None:
    host.away = False


def test_a_database_that_is_back_in_time_changes_nothing(make: Makes, clock: Clock) -> None:
    host = make()
    _take_away(host)
    go_on(clock, [host], 5.0)
    _bring_back(host)
    go_on(clock, [host], 10.0)
    assert [each.why is None for each in host.told(Trouble)] == [False, True]
    assert not host.told(Fenced)
    assert len(host.told(Registered)) == 1


def test_a_database_that_is_away_at_the_start_is_waited_for(empty_postgres: str, clock: Clock) -> None:
    host = Host(empty_postgres, clock)
    with closing_all([host]):
        host.away = True
        go_on(clock, [host], 5.0)
        assert host.reports == [Trouble("the database is away")]
        host.away = False
        go_on(clock, [host], 1.0)
        assert host.told(Registered)


def test_a_renewal_that_is_refused_is_told_at_once_and_nothing_is_claimed_any_more(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    host = make()
    StoredHosts(database).hand_over(host.id)
    add_sagas(database, None, ("s", "executing"))
    go_on(clock, [host], 3.0)
    assert host.told(Refused) == [Refused(host.id)]
    assert host.sagas == []
    host.say(AllDead())
    go_on(clock, [host], 1.0)
    assert host.sagas == ["s"]


def test_a_host_that_fenced_itself_is_renewed_no_more(make: Makes, clock: Clock) -> None:
    host = make()
    before = len(host.told(Confirmed))
    host.say(Fence())
    go_on(clock, [host], 5.0)
    assert len(host.told(Confirmed)) == before
    host.say(AllDead())
    go_on(clock, [host], 1.0)
    assert len(host.told(Registered)) == 2


def test_that_all_are_dead_means_nothing_to_a_host_that_is_not_fenced(make: Makes, clock: Clock) -> None:
    host = make()
    host.say(AllDead())
    go_on(clock, [host], 5.0)
    assert len(host.told(Registered)) == 1


def test_a_host_that_is_drained_is_told_with_a_renewal(make: Makes, clock: Clock, database: PostgresDatabase) -> None:
    host = make()
    StoredHosts(database).drain("a")
    add_sagas(database, None, ("s", "executing"))
    go_on(clock, [host], 2.2)
    assert host.told(Confirmed)[-1].draining
    assert host.sagas == []


def test_a_host_that_drains_still_does_when_it_comes_back_and_not_when_it_is_started_again(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    host = make()
    StoredHosts(database).drain("a")
    for _ in range(2):
        host.say(Fence(), AllDead())
        go_on(clock, [host], 2.2)
        assert host.told(Confirmed)[-1] == Confirmed(host.id, host.told(Confirmed)[-1].sent_at, draining=True)
    follows, again = make(ended=(host.id,), follows=host.id), make(ended=(host.id,))
    go_on(clock, [follows, again], 2.2)
    assert [each.told(Confirmed)[-1].draining for each in (follows, again)] == [True, False]


def test_another_keeper_goes_on_with_a_lease_and_tells_what_was_owned(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    host = make()
    held = (new_description("a", [], "1.0", LEASE_S), clock.now)
    StoredHosts(database).register(held[0], host.keeper._load())
    add_sagas(database, held[0].id, ("s-1", "executing"), ("s-2", "compensating"))
    other = make(held=held)
    assert not other.told(Registered)
    assert other.sagas == ["s-2", "s-1"]
    go_on(clock, [other], 2.2)
    assert other.told(Confirmed)[-1].host == held[0].id


# --- the others ---------------------------------------------------------------------------------------------------


def test_the_sagas_of_a_dead_host_are_claimed_one_lease_after_they_were_seen(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    dead, host = make("a", lease_s=4.0), make("b")
    add_sagas(database, dead.id, ("s-1", "executing"), ("s-2", "compensating"))
    go_on(clock, [dead, host], 5.0)
    assert host.told(HostsSeen)[-1] == HostsSeen((dead.id,))
    died_at, dead.runs = clock.now, False
    go_on(clock, [dead, host], 3.0)
    assert host.sagas == []
    go_on(clock, [dead, host], 10.0, until=lambda: bool(host.sagas))
    assert clock.now - died_at <= 4.0 + 0.4 + 0.25
    assert host.sagas == ["s-2", "s-1"]
    go_on(clock, [host], 1.0)
    assert host.told(HostsSeen)[-1] == HostsSeen(())


def test_a_lease_that_is_renewed_at_the_last_moment_is_left_to_its_host(
    make: Makes, clock: Clock, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, host = make("a", lease_s=4.0), make("b")
    add_sagas(database, late.id, ("s", "executing"))
    late.runs = False
    end_lapsed = StoredHosts.end_lapsed
    ends: list[bool] = []

    def renewed_first(self: StoredHosts, lapsed: LapsedLease, by: str) -> bool:
        StoredHosts(database).renew(lapsed.host, HostLoad())
        ends.append(end_lapsed(self, lapsed, by))
        return ends[-1]

    monkeypatch.setattr(StoredHosts, "end_lapsed", renewed_first)
    go_on(clock, [host], 9.0)
    assert ends == [False, False]
    assert host.sagas == []


def test_a_host_with_a_long_lease_is_not_judged_by_the_short_one_of_the_taker(make: Makes, clock: Clock) -> None:
    slow, quick = make("a", lease_s=60.0), make("b", lease_s=2.0)
    slow.runs = False
    go_on(clock, [quick], 50.0)
    assert quick.told(HostsSeen)[-1] == HostsSeen((slow.id,))


def test_a_host_that_stops_hands_over_at_once(make: Makes, clock: Clock, database: PostgresDatabase) -> None:
    stops, host = make("a"), make("b")
    add_sagas(database, stops.id, ("s", "executing"))
    stops.say(HandOver())
    assert stops.told(HandedOver) == [HandedOver(stops.id)]
    assert stops.keeper.done
    go_on(clock, [host], 0.6)
    assert host.sagas == ["s"]


def test_a_host_that_stops_while_the_database_is_away_tries_again(make: Makes, clock: Clock) -> None:
    stops = make()
    _take_away(stops)
    stops.say(HandOver())
    go_on(clock, [stops], 2.0)
    assert not stops.keeper.done
    _bring_back(stops)
    go_on(clock, [stops], 1.0)
    assert stops.told(HandedOver)


def test_a_host_that_is_started_again_takes_its_sagas_back_at_once(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    before = make("a")
    add_sagas(database, before.id, ("s", "executing"))
    again = make("a", ended=(before.id, "never-was"))
    go_on(clock, [again], 0.6)
    assert again.sagas == ["s"]


def test_it_claims_no_more_than_there_is_room_whatever_is_said_late(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    host = make(room=3)
    add_sagas(database, None, *((f"s-{n}", "executing") for n in range(9)))
    go_on(clock, [host], 2.0)
    assert len(host.sagas) == 3
    host.say(SetLoad(attempts=0, room=3, heard=0))
    go_on(clock, [host], 2.0)
    assert len(host.sagas) == 3, "the supervisor had not heard of the three yet"
    host.say(SetLoad(attempts=3, room=2, heard=3))
    go_on(clock, [host], 2.0)
    assert len(host.sagas) == 5


def test_what_waits_at_a_full_host_is_shared(make: Makes, clock: Clock, database: PostgresDatabase) -> None:
    full, host = make("a", room=0), make("b", steal_s=0.0)
    add_sagas(database, full.id, ("s-1", "executing"), ("s-2", "accepted"))
    go_on(clock, [full, host], 1.0)
    assert host.sagas == ["s-2"]
    assert full.sagas == []


def test_a_saga_moves_on_or_has_to_stay(make: Makes, clock: Clock, database: PostgresDatabase) -> None:
    one = make("a")
    add_sagas(database, None, ("s", "accepted"))
    go_on(clock, [one], 1.0)
    ((claimed,),) = (each.sagas for each in one.told(Claimed))
    one.say(MoveOn("s", claimed.token, 1))
    go_on(clock, [one], 0.5)
    two = make("b")
    one.say(MoveOn("s", claimed.token, 1))
    go_on(clock, [one, two], 1.0)
    assert one.told(Moved) == [Moved("s", moved=False), Moved("s", moved=True)]
    assert two.sagas == ["s"]


def test_a_parked_saga_is_claimed_for_an_order_and_what_a_host_holds_is_not(
    make: Makes, clock: Clock, database: PostgresDatabase
) -> None:
    one, two = make("a"), make("b")
    add_sagas(database, None, ("s", "failed"))
    one.say(ClaimOne("s"))
    go_on(clock, [one], 0.5)
    two.say(ClaimOne("s"), ClaimOne("unknown"))
    go_on(clock, [two], 0.5)
    assert one.sagas == ["s"]
    assert two.told(NotClaimed) == [NotClaimed("s"), NotClaimed("unknown")]


def test_a_claim_whose_answer_was_lost_is_looked_for(
    make: Makes, clock: Clock, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make()
    add_sagas(database, None, ("s-1", "executing"))
    claims = StoredClaims.claim

    def lost(self: StoredClaims, *values: object) -> None:
        claims(self, *values)  # type: ignore[arg-type]
        raise CommitUnknownError("the answer was lost")

    monkeypatch.setattr(StoredClaims, "claim", lost)
    go_on(clock, [host], 10.0, until=lambda: bool(host.told(Trouble)))
    assert host.sagas == []
    monkeypatch.undo()
    go_on(clock, [host], 1.0)
    assert host.sagas == ["s-1"]
    assert host.told(Claimed)[-1].sagas[0].token == 2


def test_renewals_come_in_between_however_slow_each_call_is(
    make: Makes, clock: Clock, database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that takes nearly as long as a call may take, with much to do in each look."""
    host, others = make("a", steal_s=0.0), [make(f"b-{n}", lease_s=0.5) for n in range(6)]
    for other in others:
        other.runs = False
        add_sagas(database, other.id, (f"s-{other.id}", "executing"))
    for kind, names in ((StoredHosts, ("look", "renew", "end_lapsed")), (StoredClaims, ("claim", "steal"))):
        for name in names:
            monkeypatch.setattr(kind, name, _slow(getattr(kind, name), clock, 0.19 * LEASE_S))
    for _ in range(40):
        host.turn()
        clock.now = max(clock.now, host.due)
    assert len(host.sagas) == 6
    assert not host.told(Fenced)


def _slow(call: Callable[..., object], clock: Clock, takes_s: float) -> Callable[..., object]:
    def slow(*values: object) -> object:
        clock.now += takes_s
        return call(*values)

    return slow
