"""Commits are added up over hosts, whatever becomes of reports and hosts."""

from __future__ import annotations

from antistrophe.actors import reported_commits
from antistrophe.actors.reported_commits import ReportedCommits
from antistrophe.messages import LifecycleReport


def test_each_report_has_all_of_its_host() -> None:
    commits = ReportedCommits()
    assert commits.total == (0, 0.0)
    commits.reported("a", LifecycleReport(10, 2, 0.5))
    commits.reported("b", LifecycleReport(11, 3, 0.25))
    commits.reported("a", LifecycleReport(20, 7, 1.5))  # one in between was lost
    assert commits.total == (10, 1.75)


def test_a_report_that_comes_twice_or_late_counts_nothing() -> None:
    commits = ReportedCommits()
    for report in (LifecycleReport(20, 7, 1.5), LifecycleReport(20, 7, 1.5), LifecycleReport(10, 2, 0.5)):
        commits.reported("a", report)
    commits.reported("a", LifecycleReport(30, 8, 2.0))
    assert commits.total == (8, 2.0)


def test_hosts_that_died_stay_counted_and_take_no_room() -> None:
    commits = ReportedCommits()
    for number in range(1000):
        commits.reported(f"host-{number}", LifecycleReport(number, 1, 0.5))
    assert commits.total == (1000, 500.0)
    assert len(commits._last) == reported_commits._HOSTS_KEPT
