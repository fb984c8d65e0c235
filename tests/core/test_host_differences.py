"""In what hosts differ, as people are told, and what is kept where they do not agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.differences import differences
from antistrophe.hosts.retained import ALL, Retained, mildest

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def host(name: str, *, lease_s: float = 10.0, release: str = "1.0", **retained: Any) -> HostRecord:
    until = NOW + timedelta(seconds=lease_s)
    return HostRecord(f"{name}-0f", name, frozenset(), release, NOW, until, False, 0, 0, **retained)


def test_what_any_host_keeps_is_kept() -> None:
    assert mildest([Retained(5.0, 10), Retained(7.0, 3)]) == Retained(7.0, 10)
    assert mildest([Retained(5.0, 10), ALL]) == ALL
    assert mildest([Retained(5.0, None), Retained(None, 10)]) == ALL, "each keeps what the other would purge"
    assert mildest([Retained(0.0, 0)]) == Retained(0.0, 0), "nothing is a limit, too"
    assert mildest([]) == ALL


def test_hosts_that_agree_differ_in_nothing() -> None:
    assert differences([]) == []
    assert differences([host("a1", retain_finished=3), host("b1", retain_finished=3)]) == []


def test_each_difference_says_who_has_what_and_what_counts() -> None:
    found = differences(
        [
            host("a1", retain_finished_s=60.0, retain_finished=1_000),
            host("b1", lease_s=2.5, release="1.1", retain_finished=2_000),
            host("b1", retain_finished_s=60.0, retain_finished=2_000),
        ]
    )
    assert [each.says for each in found] == [
        "2 live hosts are called b1: b1-0f, b1-0f",
        "release differs: 1.0 (a1, b1), 1.1 (b1)",
        "lease_s differs: 10 s (a1, b1), 2.5 s (b1)",
        "retain_finished_s differs: 60 s (a1, b1), for ever (b1)",
        "retain_finished differs: 1,000 (a1), 2,000 (b1, b1)",
    ]
    assert "which is for ever" in found[3].what_to_do
    assert "which is 2,000" in found[4].what_to_do


def test_many_hosts_are_not_all_named() -> None:
    (found,) = differences([*(host(f"a{number}") for number in range(9)), host("b1", release="1.1")])
    assert found.says == "release differs: 1.0 (a0, a1, a2, a3, a4 and 4 more), 1.1 (b1)"
