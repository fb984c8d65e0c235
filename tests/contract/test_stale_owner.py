"""A host whose sagas were taken over writes late: the journal refuses it by the id and the token that claims change."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.lease import LapsedLease
from antistrophe.hosts.ownership import ClaimedSaga
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.saga_owner import Ownership, SagaTakenError
from antistrophe.records import SagaStatus
from antistrophe.storage.postgres import open_postgres
from tests.contract.journal_sagas import FORWARD, TURN_BACK, accepted, append, run
from tests.noticing import functions_without, noticed


class Owner:
    """A host that writes by the tokens that it was told, and its rows."""

    def __init__(self, url: str, name: str) -> None:
        self.description = new_description(name, [], "1", 10.0)
        self.host = self.description.id
        self.tokens: dict[str, int] = {}
        self.database = open_postgres(url)
        self.hosts = StoredHosts(self.database)
        self.claims = StoredClaims(self.database, self.host, ())
        self.hosts.register(self.description, HostLoad())
        self.journal = PostgresJournal(url, owner=self)

    def token_of(self, saga_id: str) -> int:
        return self.tokens.get(saga_id, 1)

    def last_of(self, saga_id: str) -> bytes | None:
        return None

    def appends(self, saga_id: str, last: bytes) -> None:
        """Its seq alone is the condition here."""

    def claim(self) -> list[ClaimedSaga]:
        claimed = self.claims.claim(self.hosts.look().owners, 10)
        self.tokens |= {each.saga_id: each.token for each in claimed}
        return claimed

    def close(self) -> None:
        self.journal.close()
        self.database.close()


@pytest.fixture
def old(empty_postgres: str) -> Iterator[Owner]:
    with contextlib.closing(Owner(empty_postgres, "a")) as owner:
        yield owner


@pytest.fixture
def taker(empty_postgres: str) -> Iterator[Owner]:
    with contextlib.closing(Owner(empty_postgres, "b")) as owner:
        yield owner


def end(lapsed: Owner, by: Owner) -> None:
    """End a lease as a host does that has watched it."""
    look = by.hosts.look()
    (lease,) = [each for each in look.leases if each.host == lapsed.host]
    assert by.hosts.end_lapsed(LapsedLease(lease.host, lease.counter, look.server), by.host)


def test_after_a_claim_the_taker_writes_and_the_old_owner_is_refused(old: Owner, taker: Owner) -> None:
    run(old.journal, "s", FORWARD[0])
    end(old, by=taker)
    assert taker.claim() == [ClaimedSaga("s", 2, SagaStatus.EXECUTING)]
    with pytest.raises(SagaTakenError, match="now belongs to host 'b-"):
        append(old.journal, "s", *FORWARD[1])
    append(taker.journal, "s", *FORWARD[1])
    append(taker.journal, "s", *FORWARD[2])
    assert taker.journal.ownership("s") == Ownership(taker.host, 2, 6)
    assert taker.claims.owned() == [], "it has finished"


def test_before_anybody_claims_what_was_ended_late_writes_still_count(old: Owner, taker: Owner) -> None:
    """What an attempt has done is true, whoever writes it; a taker reads it after the claim."""
    run(old.journal, "s", FORWARD[0])
    end(old, by=taker)
    append(old.journal, "s", *FORWARD[1])
    taker.claim()
    assert len(taker.journal.load("s")) == 4


def test_a_saga_that_is_accepted_late_is_found_by_whoever_claims(old: Owner, taker: Owner) -> None:
    end(old, by=taker)
    append(old.journal, "late", accepted("late"))
    assert [each.saga_id for each in taker.claim()] == ["late"]
    with pytest.raises(SagaTakenError):
        append(old.journal, "late", *FORWARD[0])


def test_a_compensating_saga_is_claimed_first_as_the_journal_has_it(old: Owner, taker: Owner) -> None:
    run(old.journal, "forward", FORWARD[0])
    run(old.journal, "back", *TURN_BACK)
    old.hosts.hand_over(old.host)
    assert [(each.saga_id, each.status) for each in taker.claim()] == [
        ("back", SagaStatus.COMPENSATING),
        ("forward", SagaStatus.EXECUTING),
    ]


def test_a_saga_that_went_away_and_came_back_is_not_written_by_the_token_of_before(old: Owner, taker: Owner) -> None:
    run(old.journal, "s", FORWARD[0])
    taker.claims.claim_one("s")
    assert old.journal.ownership("s") == Ownership(old.host, 1, 2), "its owner holds its lease"
    assert old.claims.move_on("s", 1, 2)
    taker.claim()
    taker.hosts.hand_over(taker.host)
    assert old.claims.claim_one("s") == ClaimedSaga("s", 4, SagaStatus.EXECUTING)
    with pytest.raises(SagaTakenError):
        append(old.journal, "s", *FORWARD[1])
    old.tokens["s"] = 4
    append(old.journal, "s", *FORWARD[1])


def test_another_host_that_knows_the_token_writes_nothing(old: Owner, taker: Owner) -> None:
    run(old.journal, "s", FORWARD[0])
    assert taker.token_of("s") == 1
    with pytest.raises(SagaTakenError, match="now belongs to host 'a-"):
        append(taker.journal, "s", *FORWARD[1])
    append(old.journal, "s", *FORWARD[1])


def test_an_append_that_does_not_ask_for_the_owner_is_noticed(old: Owner, taker: Owner) -> None:
    with functions_without(old.database, "host = own_host AND "), noticed():
        test_another_host_that_knows_the_token_writes_nothing(old, taker)


def test_an_append_that_does_not_ask_for_the_token_is_noticed(old: Owner, taker: Owner) -> None:
    with functions_without(old.database, " AND token = own_token", " AND token = tokens[n]"), noticed():
        test_a_saga_that_went_away_and_came_back_is_not_written_by_the_token_of_before(old, taker)


def test_what_has_not_begun_is_shared_and_what_has_is_not(old: Owner, taker: Owner) -> None:
    append(old.journal, "begun", accepted("begun"))
    append(old.journal, "begun", *FORWARD[0])
    append(old.journal, "waits", accepted("waits"))
    old.hosts.renew(old.host, HostLoad(1, is_full=True))
    owners = taker.hosts.look().owners
    assert [each.saga_id for each in taker.claims.steal(owners, 10, 0.0)] == ["waits"]
    with pytest.raises(SagaTakenError):  # it begins here at the same moment
        append(old.journal, "waits", *FORWARD[0])
    append(old.journal, "begun", *FORWARD[1])


def test_a_saga_of_nobody_is_everybodys(empty_postgres: str, taker: Owner) -> None:
    with contextlib.closing(PostgresJournal(empty_postgres)) as tool:
        append(tool, "s", accepted("s"))
    assert taker.claim() == [ClaimedSaga("s", 1, SagaStatus.EXECUTING)]
    append(taker.journal, "s", *FORWARD[0])
