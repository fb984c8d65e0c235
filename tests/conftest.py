"""What holds for every test: a short temporary root, one seed told at the top, and no process left behind."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import leaks
from tests.compiling import compile_all
from tests.tiers import in_order, is_slow, left_out

# A test's own examples are drawn anew each run; the seed in the header repeats a run.
settings.register_profile(
    "ci",
    deadline=None,  # a slow machine is not a bug; hangs are the business of pytest-timeout
    derandomize=False,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("measured", settings.get_profile("ci"), max_examples=20)  # of tests/house/test_coverage.py
settings.register_profile("deep", settings.get_profile("ci"), max_examples=5_000)
settings.load_profile("ci")  # before the tests are imported; --hypothesis-profile comes later, and wins

pytest_plugins = ["tests.postgres_fixtures"]

_PREFIX = "as-test-"
SHARED = "shared-"  # homes in folders of that name may outlive a test, but not its module
# A process that is being ended gets this long to be gone.
_GRACE_S = float(os.environ.get("ANTISTROPHE_TEST_GRACE_S", "20"))
_EVERY_CASE = "ANTISTROPHE_EVERY_CASE"  # set: a run of everything takes every case of the slow tests, and no sample
_SAMPLED = "ANTISTROPHE_TEST_SAMPLE"  # the seed of a sample: every worker of a run takes the same
_SEED = pytest.StashKey[int]()
_ROOT = pytest.StashKey[Path]()
_KNOWN = pytest.StashKey[set[int]]()
_STATUS = pytest.StashKey[int]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed before hypothesis asks for it, and a root so short that sockets fit below it."""
    given = config.getoption("--hypothesis-seed")
    config.stash[_SEED] = int(given) if given is not None else random.SystemRandom().randrange(2**32)
    config.option.hypothesis_seed = str(config.stash[_SEED])
    if config.option.basetemp is None:
        short = tempfile.gettempdir() if len(tempfile.gettempdir()) <= 24 else "/tmp"
        _remove_old(Path(short))
        config.option.basetemp = tempfile.mkdtemp(prefix=_PREFIX, dir=short)
        config.add_cleanup(lambda: _remove_if_green(config))
    config.stash[_ROOT] = Path(config.option.basetemp).resolve()
    config.stash[_KNOWN] = leaks.all_pids()
    if not hasattr(config, "workerinput"):
        compile_all(config)
        config.option.loadscopereorder = (
            False  # not the files with most tests first, but those that tests/tiers.py says
        )
        everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        os.environ[_SAMPLED] = str(config.stash[_SEED]) if everything and not os.environ.get(_EVERY_CASE) else ""
    for name in ("ANTISTROPHE_HOME", "ANTISTROPHE_SYSTEM"):  # the shell's own home is not for tests
        os.environ.pop(name, None)
    os.environ[leaks.RUN_MARKER] = str(config.stash[_ROOT])


def pytest_report_header(config: pytest.Config) -> list[str]:
    """The seed, so that every run can be repeated, and whether this one takes a sample."""
    seed = config.stash[_SEED]
    header = [f"seed: {seed} (repeat with --hypothesis-seed={seed})"]
    if os.environ[_SAMPLED]:
        header.append(f"of slow tests with many cases: a quarter, by the seed ({_EVERY_CASE}=1 takes all)")
    return header


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what is slow before ``-m`` chooses, draw the sample, and have workers begin with what takes long."""
    for item in items:
        if is_slow(item.nodeid):
            item.add_marker(pytest.mark.slow)
    if os.environ[_SAMPLED]:
        out = left_out((item.nodeid for item in items), int(os.environ[_SAMPLED]))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in out])
        items[:] = [item for item in items if item.nodeid not in out]
    if hasattr(config, "workerinput"):
        files = [item.nodeid.partition("::")[0] for item in items]
        slow = {file for file, item in zip(files, items, strict=True) if is_slow(item.nodeid)}
        places = {file: place for place, file in enumerate(in_order(dict.fromkeys(files), slow))}
        items.sort(key=lambda item: places[item.nodeid.partition("::")[0]])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how the run ended: the files of a failed run are kept."""
    session.config.stash[_STATUS] = int(exitstatus)


def _remove_old(folder: Path) -> None:
    """Remove what failed runs left, after a day."""
    for old in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if old.owner() == Path("/proc/self").owner() and old.stat().st_mtime < time.time() - 86_400:
                shutil.rmtree(old, ignore_errors=True)


def _remove_if_green(config: pytest.Config) -> None:
    if config.stash.get(_STATUS, 1) == 0:
        shutil.rmtree(config.option.basetemp, ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """After the last fixture has ended, no process of this test may run any more."""
    yield
    last_of_module = nextitem is None or nextitem.path != item.path
    root, known = item.config.stash[_ROOT], item.config.stash[_KNOWN]
    left = _wait_until_gone(root, known, keep_shared=not last_of_module)
    if left:
        text = "\n".join(f"  {each}" for each in left)
        stuck = leaks.end_all(root, known, within_s=5.0)
        pytest.fail(f"{len(left)} process(es) left behind, {len(stuck)} of them can't be ended:\n{text}", pytrace=False)


def _wait_until_gone(root: Path, known: set[int], *, keep_shared: bool) -> list[leaks.Leftover]:
    deadline = time.monotonic() + _GRACE_S
    while True:
        left = [each for each in leaks.leftovers(root, known) if not (keep_shared and _is_shared(each, root))]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def _is_shared(process: leaks.Leftover, root: Path) -> bool:
    if process.home is None or not Path(process.home).is_relative_to(root):
        return False
    return Path(process.home).relative_to(root).parts[0].startswith(SHARED)


@pytest.fixture(scope="session")
def run_seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run, for tests that draw at random without hypothesis."""
    return pytestconfig.stash[_SEED]


@pytest.fixture(scope="session")
def lasting_processes(pytestconfig: pytest.Config) -> set[int]:
    """The pids that no test is asked for, because they go on until the session's end: add what a session fixture
    starts and ends."""
    return pytestconfig.stash[_KNOWN]


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the tests of one module may share; its system has to be gone when the module ends."""
    return tmp_path_factory.mktemp(SHARED) / "home"
