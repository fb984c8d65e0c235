"""How much of the tests a run takes: which of them are slow, and of which a run of everything takes a sample.

``pytest -m "not slow"`` leaves the slow ones out and still looks at every wing. They were chosen by measured durations.
A table and not a mark in each file, so that one look shows what the fast tier leaves out.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

SLOW, FAST = True, False

# The start of a test's id, and its tier: of two that fit the longer one counts. What fits none is fast.
TIERS = {
    "tests/acceptance/": SLOW,
    "tests/acceptance/test_doctor.py": FAST,
    "tests/acceptance/test_inline_like_system.py": FAST,
    "tests/acceptance/test_words.py": FAST,
    "tests/actors/": SLOW,
    "tests/actors/test_async_steps.py": FAST,
    "tests/actors/test_attempts_back.py": FAST,
    "tests/actors/test_cancel_and_deadline.py": FAST,
    "tests/actors/test_context.py": FAST,
    "tests/actors/test_ids.py": FAST,
    "tests/actors/test_orchestrator.py": FAST,
    "tests/actors/test_wrong_questions.py": FAST,
    "tests/chaos/": SLOW,
    "tests/chaos/test_oracle.py": FAST,
    "tests/contract/test_base_failures.py": SLOW,
    "tests/contract/test_base_load.py": SLOW,
    "tests/contract/test_base_start.py": SLOW,
    "tests/contract/test_copying.py::test_a_copy_that_is_killed_anywhere_goes_on": SLOW,
    "tests/contract/test_copying_servers.py::test_a_copy_whose_server_dies_goes_on": SLOW,
    "tests/contract/test_event_store_processes.py": SLOW,
    "tests/contract/test_failover.py": SLOW,
    "tests/contract/test_host_frozen.py": SLOW,
    "tests/contract/test_hosts_apart.py": SLOW,
    "tests/contract/test_journal_file.py::test_writers_that_are_killed_leave_whole_appends_only": SLOW,
    "tests/contract/test_list_parts.py::test_a_history_comes_in_parts": SLOW,
    "tests/contract/test_postgres_breaks.py": SLOW,
    "tests/contract/test_postgres_crash.py": SLOW,
    "tests/contract/test_postgres_database.py": SLOW,
    "tests/contract/test_postgres_events.py": SLOW,
    "tests/contract/test_postgres_feed.py": SLOW,
    "tests/contract/test_postgres_journal.py::test_wherever_the_connection_breaks_an_append_is_done_once": SLOW,
    "tests/core/test_code_naming.py": SLOW,
    "tests/core/test_database.py::test_several_processes_may_make_the_file_at_once": SLOW,
    "tests/core/test_postgres_cluster.py::test_the_server_ends_with_the_process_that_started_it": SLOW,
    "tests/core/test_postgres_cluster.py::test_what_was_committed_outlives_a_crash_and_a_kill_of_the_server": SLOW,
    "tests/core/test_program.py": SLOW,
    "tests/cqrs/test_idempotency_crash.py": SLOW,
    "tests/cqrs/test_idempotency_postgres.py": SLOW,
    "tests/cqrs/test_projection_crash.py": SLOW,
    "tests/cqrs/test_projection_postgres.py": SLOW,
    "tests/fuzz/test_files.py": SLOW,
    "tests/fuzz/test_live.py": SLOW,
    "tests/house/test_conftest.py": SLOW,
    "tests/house/test_coverage.py": SLOW,
    "tests/house/test_docs.py::test_what_a_page_shows_runs_and_says_what_the_page_says": SLOW,
    "tests/house/test_packaging.py::test_a_checkout_that_lost_the_symlink_does_not_build": SLOW,
    "tests/house/test_packaging.py::test_the_wheel_has_the_actors_and_the_mark_of_typed_code": SLOW,
    "tests/house/test_packaging.py::test_the_wheel_runs_the_example_of_the_readme_in_a_fresh_environment": SLOW,
    "tests/house/test_packaging.py::test_what_is_uploaded_passes_the_check_of_the_index": SLOW,
    "tests/house/test_pictures.py::test_the_pictures_can_be_made_from_a_run_of_the_demo": SLOW,
    "tests/house/test_site.py": SLOW,
    "tests/house/test_typing.py": SLOW,
    "tests/simulation/mutants/test_mutants.py::test_a_planted_bug_is_caught": SLOW,
    "tests/simulation/test_worlds.py::test_every_world_keeps_every_promise": SLOW,
}

# Of these every case is run: no two pages, examples or bugs of the simulation are alike.
WHOLE = ("tests/house/", "tests/simulation/", "tests/acceptance/test_examples.py")

# What these say of a database they say of SQLite and of PostgreSQL.
TWINS = ("tests/contract/", "tests/cqrs/")


# The files that take longest: several workers begin with them, for a long one that begins last keeps a run waiting.
FIRST = (
    "tests/house/test_docs.py",
    "tests/house/test_coverage.py",
    "tests/acceptance/test_verify.py",
    "tests/house/test_typing.py",
    "tests/acceptance/test_transfers.py",
    "tests/acceptance/test_dashboard_in_a_browser.py",
    "tests/acceptance/test_running.py",
    "tests/acceptance/test_serving.py",
    "tests/house/test_site.py",
    "tests/simulation/test_worlds.py",
    "tests/simulation/mutants/test_mutants.py",
    "tests/acceptance/test_orders.py",
    "tests/acceptance/test_bank_example.py",
    "tests/chaos/test_bank_under_fire.py",
    "tests/chaos/test_every_message.py",
)


def in_order(files: Iterable[str], with_slow: Collection[str]) -> list[str]:
    """The files of a run in the order in which workers take them: the longest, those with a slow test, the others."""

    def rank(file: str) -> tuple[int, bool]:
        return (FIRST.index(file) if file in FIRST else len(FIRST), file not in with_slow)

    return sorted(files, key=rank)


def is_slow(node_id: str) -> bool:
    """True where the fast tier leaves out the test of this id."""
    fitting = [start for start in TIERS if node_id.startswith(start)]
    return bool(fitting) and TIERS[max(fitting, key=len)]


def left_out(node_ids: Iterable[str], seed: int) -> set[str]:
    """What a run of everything leaves out: of a slow test with many cases it takes a quarter, at least one, and of the
    fast tests that try both databases a half on PostgreSQL; other ones with another seed."""
    cases: dict[str, list[str]] = {}
    twins: list[str] = []
    for node_id in node_ids:
        test, bracket, case = node_id.partition("[")
        if bracket and is_slow(node_id) and not test.startswith(WHOLE):
            cases.setdefault(test, []).append(node_id)
        elif test.startswith(TWINS) and "postgres" in case.lower():
            twins.append(node_id)
    chosen = random.Random(seed)
    out: set[str] = set()
    for test in sorted(cases):
        every = sorted(cases[test])
        out.update(chosen.sample(every, max(0, len(every) - _taken(len(every)))))
    out.update(chosen.sample(sorted(twins), len(twins) // 2))
    return out


def _taken(cases: int) -> int:
    return -(-cases // 4)
