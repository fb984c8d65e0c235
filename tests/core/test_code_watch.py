"""Which change of a step module's file is seen, and what becomes of the processes that have loaded it."""

from __future__ import annotations

import os
import py_compile
import sys
from pathlib import Path

from antistrophe.actors.supervisor.code_watch import LOOK_S, CodeWatch
from antistrophe.definition.code_files import FileStamp, forget_stale_bytecode, stamp_of
from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool

HERE = Origin(None, (), "/")
REFS = ("m:Step",)


def test_a_change_is_seen_once_a_second_and_told_once(tmp_path: Path) -> None:
    file, watch = tmp_path / "steps.py", CodeWatch()
    file.write_text("one")
    assert not watch.changed("me", 0.0), "nothing was loaded"
    assert not watch.loaded("me", (stamp_of(str(file)),))
    assert not watch.changed("me", 0.0)
    os.utime(file, ns=(1, 1))
    assert not watch.changed("me", 0.5 * LOOK_S)
    assert watch.changed("me", LOOK_S)
    assert not watch.changed("me", 3 * LOOK_S)


def test_size_and_absence_are_changes_too(tmp_path: Path) -> None:
    file, watch = tmp_path / "steps.py", CodeWatch()
    file.write_text("one")
    watch.loaded("me", (stamp_of(str(file)),))
    file.unlink()
    assert watch.changed("me", 0.0)
    watch.loaded("me", (stamp_of(str(file)),))
    assert not watch.changed("me", 2 * LOOK_S)
    watch.forget("me")
    file.write_text("two")
    assert not watch.changed("me", 4 * LOOK_S)


def test_a_process_that_loads_another_version_outdates_the_others_of_its_client() -> None:
    watch = CodeWatch()
    assert not watch.loaded("me", (FileStamp("steps.py", 1, 1), FileStamp("more.py", 1, 1)))
    assert not watch.loaded("other", (FileStamp("steps.py", 2, 1),))
    assert not watch.loaded("me", (FileStamp("steps.py", 1, 1),))
    assert watch.loaded("me", (FileStamp("steps.py", 2, 1),))
    assert not watch.loaded("me", (FileStamp("steps.py", 2, 1),))


def test_bytecode_of_the_second_of_its_source_is_not_trusted(tmp_path: Path) -> None:
    source = tmp_path / "a_module_with_bytecode.py"
    source.write_text("x = 1")
    cached = Path(py_compile.compile(str(source)) or "")
    sys.path.insert(0, str(tmp_path))
    try:
        second = int(source.stat().st_mtime) * 1_000_000_000
        os.utime(cached, ns=(second + 2_000_000_000, second + 2_000_000_000))
        forget_stale_bytecode(source.stem)
        assert cached.exists()
        os.utime(cached, ns=(second + 999_999_999, second + 999_999_999))
        forget_stale_bytecode(source.stem)
        assert not cached.exists()
        forget_stale_bytecode("no.such.module")
    finally:
        sys.path.remove(str(tmp_path))


# --- in the pool --------------------------------------------------------------------------------------------------


def pool_with(saga_ids: list[str], *, client: str = "me") -> tuple[ProcessPool, dict[str, str]]:
    """A pool in which each of these sagas holds a process that has loaded code."""
    pool, held = ProcessPool(4, "p"), {}
    for saga_id in saga_ids:
        held[saga_id] = lease(pool, saga_id, client)
    return pool, held


def lease(pool: ProcessPool, saga_id: str, client: str = "me") -> str:
    pool.ask(saga_id, client, LeaseRequest(HERE, REFS))
    for _ in range(4):
        for order in pool.plan(0.0):
            match order:
                case StartProcess(name):
                    pool.ready(name, 0.0)
                case LoadInto(name, _, refs):
                    pool.loaded(name, refs, 0.0)
                case GrantTo(name, to):
                    assert to == saga_id
                    return name
    raise AssertionError("no lease was granted")


def test_idle_processes_end_now_and_busy_ones_after_their_calls() -> None:
    pool, held = pool_with(["a", "b"])
    pool.returned(held["b"], "b", 1.0, reusable=True)
    assert pool.processes.outdate("other") == []
    assert pool.processes.outdate("me") == [Retire(held["b"])]
    assert pool.returned(held["a"], "a", 2.0, reusable=True) == [Retire(held["a"])]
    assert lease(pool, "c") not in held.values()


def test_a_process_that_loads_meanwhile_ends_unused() -> None:
    pool, _ = pool_with([])
    pool.ask("a", "me", LeaseRequest(HERE, REFS))
    (first,) = pool.plan(0.0)
    assert isinstance(first, StartProcess)
    assert pool.processes.outdate(None) == [], "it has read nothing yet"
    pool.ready(first.name, 0.0)
    assert isinstance(pool.plan(0.0)[0], LoadInto)
    assert pool.processes.outdate(None) == []
    pool.loaded(first.name, REFS, 0.0)
    (second,) = pool.plan(0.0)
    assert isinstance(second, StartProcess)
    orders: list[PoolOrder] = pool.retire_idle(0.0, 60.0)
    assert orders == [Retire(first.name)]


def test_the_one_that_brought_the_new_version_stays() -> None:
    pool, held = pool_with(["a", "b"])
    for saga_id, name in held.items():
        pool.returned(name, saga_id, 1.0, reusable=True)
    assert pool.processes.outdate("me", but=held["a"]) == [Retire(held["b"])]
