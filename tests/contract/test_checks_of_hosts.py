"""Each check of the rows of hosts and owners is taken away once, and the test of it notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from antistrophe.hosts import stored_claims, stored_hosts
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.storage.postgres import PostgresDatabase
from tests.contract import test_stored_hosts as checked
from tests.noticing import noticed

Opens = Callable[[], PostgresDatabase]


def _claims_without(monkeypatch: pytest.MonkeyPatch, condition: str, instead: str = "") -> None:
    changed = 0
    for name, text in list(vars(stored_claims).items()):
        if name.startswith("_") and isinstance(text, str) and condition in text:
            monkeypatch.setattr(stored_claims, name, text.replace(condition, instead))
            changed += 1
    assert changed, "there is no such condition"


def test_claims_of_what_a_host_holds_are_noticed(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    _claims_without(monkeypatch, stored_claims._FREE, "true")
    with noticed():
        checked.test_sagas_of_a_host_that_holds_its_lease_are_nobody_elses(database)


def test_a_saga_that_is_given_up_late_is_noticed(database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    _claims_without(monkeypatch, " AND seq = ?", " AND seq >= ?")
    with noticed():
        checked.test_code_that_can_not_be_loaded_moves_on_until_no_host_is_left(database)


def test_claims_that_lock_nothing_are_noticed(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    _claims_without(monkeypatch, "FOR NO KEY UPDATE SKIP LOCKED")
    with noticed():
        checked.test_eight_hosts_claim_each_of_a_thousand_sagas_of_a_dead_host_once(opens)


@pytest.mark.parametrize(
    ("condition", "instead", "noticed_by"),
    [
        (
            " AND counter = ?",
            " AND counter >= ?",
            checked.test_a_lease_that_was_renewed_since_is_not_ended,
        ),
        (
            f" AND {stored_hosts._SERVER} = ?",
            " AND ? <> ''",
            checked.test_a_watch_on_another_server_ends_nothing,
        ),
    ],
    ids=["the counter", "the server"],
)
def test_a_take_over_without_a_look_at_what_was_watched_is_noticed(
    hosts: StoredHosts,
    monkeypatch: pytest.MonkeyPatch,
    condition: str,
    instead: str,
    noticed_by: Callable[[StoredHosts], None],
) -> None:
    assert condition in stored_hosts._END_LAPSED
    monkeypatch.setattr(stored_hosts, "_END_LAPSED", stored_hosts._END_LAPSED.replace(condition, instead))
    with noticed():
        noticed_by(hosts)
