"""What a host tells the others of the sagas that its clients hold."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.holders import Holders
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.request_handler import Elsewhere, RequestHandler
from antistrophe.errors import JournalError
from antistrophe.messages import Address, HeldSagas, HoldSagas
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity


class Rows:
    """The sagas' rows, and the journal that has them. ``held``: by this host; ``elsewhere``: by others."""

    def __init__(self) -> None:
        self.away = False
        self.running = {"here", "there"}
        self.held: set[str] = set()
        self.elsewhere: set[str] = set()
        self.told: list[str] = []

    def holders(self) -> Rows:
        return self

    def knows(self, saga_id: str) -> bool:
        return saga_id in self.running

    def take_over(self, saga_id: str, _host_id: str) -> bool:
        self._reach()
        free = saga_id in self.running and saga_id not in self.elsewhere
        self.held |= {saga_id} if free else set()
        return free

    def hold(self, saga_ids: Sequence[str], host_id: str) -> None:
        self._reach()
        self.told += [f"{host_id} +{each}" for each in saga_ids]
        self.held |= set(saga_ids)

    def let_go(self, saga_ids: Sequence[str], host_id: str) -> None:
        self._reach()
        self.told += [f"{host_id} -{each}" for each in saga_ids]
        self.held -= set(saga_ids)

    def there(self, saga_ids: Sequence[str]) -> set[str]:
        return self.unfinished(saga_ids) | {"over"}.intersection(saga_ids)

    def unfinished(self, saga_ids: Sequence[str]) -> set[str]:
        self._reach()
        return self.running.intersection(saga_ids)

    def _reach(self) -> None:
        if self.away:
            raise JournalError("the database is away")


class Host:
    """A host with the clients "c" and "d", and one live saga, "here", which "c" has started."""

    def __init__(self) -> None:
        self.sagas: dict[str, LiveSaga] = {}
        self.clients = Clients(0.0)
        self.clients.listed(["c", "d"], [])
        self.rows = Rows()
        self.holders = Holders(cast(LiveSagas, self), self.clients, cast(JournalAccess, self.rows))
        self.holders.joined_anew("h1")
        self.here = self.sagas["here"] = LiveSaga("here", {"r"}, "c", AdmissionRank("n"), RestartIntensity(1, 1.0))
        self.here.holders.add("c")

    def get(self, saga_id: str) -> LiveSaga | None:
        return self.sagas.get(saga_id)

    @property
    def all(self) -> Collection[LiveSaga]:
        return self.sagas.values()

    def send(self, _to: Address, message: HeldSagas) -> None:
        self.answer = message

    def leaves(self, client_id: str) -> list[str]:
        """That client leaves; returns what is told then."""
        before = len(self.rows.told)
        self.clients.left(client_id)
        self.holders.client_left(client_id)
        self.holders.look(0.0)
        return self.rows.told[before:]


def test_what_is_accepted_here_is_told_when_its_last_client_leaves_and_when_one_comes_back() -> None:
    host = Host()
    host.holders.holds("here", "d")
    host.here.holders.add("d")
    assert host.rows.told == [], "the row of what is accepted says it already"
    assert host.leaves("c") == []
    assert host.leaves("d") == ["h1 -here"]
    host.clients.listed(["e"], [])
    host.here.holders.add("e")
    host.holders.holds("here", "e")
    assert host.rows.told[-1] == "h1 +here"


def test_a_saga_elsewhere_is_held_from_when_a_client_takes_part_to_when_the_last_one_leaves() -> None:
    host = Host()
    host.holders.holds("there", "c")
    host.holders.holds("there", "c")
    host.holders.holds("there", "d")
    assert host.rows.told == ["h1 +there", "h1 +there"], "once for each client"
    assert host.leaves("d") == []
    assert host.leaves("c") == ["h1 -here", "h1 -there"]


def test_nobody_takes_over_what_a_client_holds_here_or_elsewhere_and_the_same_request_is_the_same() -> None:
    host = Host()
    host.rows.elsewhere = {"there"}
    assert not host.holders.take_over("there", "c", "r1")
    host.rows.elsewhere = set()
    assert host.holders.take_over("there", "c", "r1")
    assert host.holders.take_over("there", "c", "r1"), "its answer was lost"
    assert not host.holders.take_over("there", "d", "r2")
    assert host.leaves("c") == ["h1 -here", "h1 -there"]
    assert host.holders.take_over("there", "d", "r2")
    assert host.holders.take_over("not accepted yet", "d", "r3"), "no other host can know it"


def test_a_saga_that_goes_and_comes_back_keeps_its_clients_and_requests() -> None:
    host = Host()
    live = host.sagas.pop("here")
    host.holders.gone(live)
    assert not host.holders.take_over("here", "d", "r2")
    assert host.holders.take_over("here", "c", "r")
    back = host.sagas["here"] = LiveSaga("here", {"r"}, "", AdmissionRank("n"), RestartIntensity(1, 1.0))
    host.holders.came(back)
    assert back.holders == {"c"}
    host.holders.tell()
    assert host.rows.told[-1] == "h1 +here"
    assert back.held_told


def test_what_is_claimed_without_a_client_is_not_held() -> None:
    host = Host()
    host.here.holders.clear()
    host.holders.came(host.here)
    host.holders.tell()
    assert host.rows.told == ["h1 -here"]
    assert not host.here.held_told


def test_what_could_not_be_told_is_told_later_as_it_is_then() -> None:
    host = Host()
    host.rows.away = True
    host.holders.holds("there", "c")
    host.holders.holds("there", "d")
    assert host.leaves("c") == []
    host.rows.away = False
    host.holders.look(1.9)
    assert host.rows.told == [], "a database that did not answer is not asked at every wakeup"
    host.holders.look(2.0)
    assert host.rows.told == ["h1 +there", "h1 -here"]
    host.holders.look(2.0)
    assert len(host.rows.told) == 2


def test_under_another_lease_everything_is_told_anew() -> None:
    host = Host()
    host.holders.holds("there", "d")
    host.holders.joined_anew("h2")
    host.holders.tell()
    assert host.rows.told[1:] == ["h2 +here", "h2 +there"]


def test_a_client_says_again_what_it_holds_and_what_has_ended_is_forgotten() -> None:
    host = Host()
    assert host.holders.announced(["there", "over"], "d") == ["there"]
    assert host.rows.told == ["h1 +there"]
    host.rows.away = True
    assert host.holders.announced(["there", "over"], "d") == ["over", "there"], "nobody says that it is over"
    host.rows.away = False
    host.rows.running.discard("there")
    host.holders.look(100.0)
    assert host.leaves("d") == [], "it has ended"


def test_what_a_client_accepts_in_its_own_transaction_is_held_from_when_it_is_there() -> None:
    host = Host()
    assert host.holders.expects(["later", "never"], "c") == ["later", "never"]
    host.holders.look(100.0)
    assert host.rows.told == [], "nobody knows when its transaction ends"
    host.holders.look(200.0)
    assert host.holders.announced(["later", "over"], "c") == ["later"], "of another incarnation of this host"
    host.holders.joined_anew("h2")
    host.holders.look(101.0)
    host.rows.told.clear()
    host.rows.running.add("later")
    host.holders.look(300.0)
    assert host.rows.told == ["h2 +later"], "its row names the lease before"
    assert "h2 -later" in host.leaves("c")


def test_what_comes_after_its_client_has_left_is_not_held() -> None:
    host = Host()
    host.holders.expects(["later", "never"], "c")
    host.holders.look(10.0)
    host.leaves("c")
    host.rows.told.clear()
    host.holders.look(20.0)
    assert host.rows.told == []
    host.rows.running.add("later")
    host.holders.look(30.0)
    assert host.rows.told == ["h1 -later"], "its row names this host"
    for more in range(40):
        host.holders.look(100.0 + 2.0 * more)
    host.rows.running.add("never")
    host.holders.look(200.0)
    assert host.rows.told == ["h1 -later"], "it is not looked for any more"


def test_what_a_client_accepts_in_its_own_transaction_may_be_claimed_here_first() -> None:
    host = Host()
    host.holders.expects(["later"], "c")
    live = host.sagas["later"] = LiveSaga("later", {"r"}, "", AdmissionRank("n"), RestartIntensity(1, 1.0))
    host.rows.running.add("later")
    host.holders.came(live)
    assert live.holders == {"c"}
    host.holders.look(10.0)
    assert host.rows.told == ["h1 +later"]
    assert host.holders.announced([], "c") == []


def test_a_client_holds_what_it_says_before_the_launcher_has_listed_it() -> None:
    host = Host()
    requests = RequestHandler(
        cast(SupervisorPort, host),
        cast(LiveSagas, host),
        cast(JournalAccess, host.rows),
        host.clients,
        cast(Elsewhere, host),
    )
    requests.hold(HoldSagas("1", "new", ("here", "there"), last=False), None)
    assert host.answer == HeldSagas("1", ("here", "there"), "h1")
    requests.hold(HoldSagas("2", "new", ("later",), last=False, to_come=True), None)
    assert host.answer == HeldSagas("2", ("later",), "h1")
    assert host.rows.told == ["h1 +there"]
    assert host.leaves("c") == []
    assert host.leaves("new") == ["h1 -here", "h1 -later", "h1 -there"]
