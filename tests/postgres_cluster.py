"""Throw-away PostgreSQL clusters for tests: below a temporary folder, on a Unix socket, gone with the process that made
them.

``PostgresCluster`` is one server. Most tests want the fixtures of ``tests.postgres_fixtures`` and no cluster of their
own: one server serves all tests of a pytest process, and each test gets a database of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

USER = "tests"
"""The superuser of every cluster. Whoever reaches the socket is let in without a password."""

SETTINGS: Mapping[str, str] = {
    "fsync": "off",  # a killed server loses nothing; only a power loss would
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "max_prepared_transactions": "4",
    "max_wal_size": "256MB",
    "wal_receiver_status_interval": "1s",
    "autovacuum": "off",
    "jit": "off",
    "lc_messages": "C",
    "log_min_messages": "log",
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
}
"""What the tests want: little memory, no waiting for disks, and no transaction but their own, which readers in order
would wait for. A cluster may set other values."""

DURABLE: Mapping[str, str] = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "autovacuum": "on",
}
"""What a benchmark sets instead: a server that loses nothing."""

END_SESSIONS = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
"""Ends all other sessions of a database, and waits until they are gone."""

_EMPTY = f"""
SET lock_timeout = '5s';
{END_SESSIONS};
DO $$
DECLARE
    named text;
BEGIN
    FOR named IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname = 'antistrophe' AND tablename <> 'schema_version'
    LOOP
        EXECUTE 'DELETE FROM ' || named;
    END LOOP;
    FOR named IN SELECT format('%I.%I', schemaname, sequencename) FROM pg_sequences
        WHERE schemaname = 'antistrophe' AND last_value IS NOT NULL
    LOOP
        PERFORM setval(named, 1, false);
    END LOOP;
    FOR named IN SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
        WHERE schemaname IN ('public', 'antistrophe_projections')
    LOOP
        EXECUTE 'DROP TABLE ' || named || ' CASCADE';
    END LOOP;
END $$
"""

_START_S = 60.0
_STOP_S = 30.0
_LOOK_S = 0.01
_PREFIX = "as-test-pg-"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs, of the newest version that is installed, or None."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name.split(".")[0]))
    on_path = shutil.which("initdb")
    candidates = [*reversed(folders), *([] if on_path is None else [Path(on_path).parent])]
    return next((each for each in candidates if (each / "initdb").exists() and (each / "postgres").exists()), None)


class PostgresCluster:
    """One PostgreSQL server. ``settings`` go over ``SETTINGS``. Use it in a ``with``, or call ``close``.

    ``of``: it is a standby, with the data of that server, which runs. The server runs as an ordinary user also where
    the tests run as root. It ends with the thread that started it, by the kernel's hand where the tests are killed.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, *, of: PostgresCluster | None = None) -> None:
        found = binaries()
        assert found is not None, "PostgreSQL is not installed: ask binaries() first"
        self.binaries = found
        # Not below a test's own folder: root alone may enter that, and the server is not root.
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
        self.data = self.folder / "data"
        self.sockets = self.folder / "s"
        self.log = self.folder / "log"
        self.settings = {**SETTINGS, **(settings or {}), "unix_socket_directories": str(self.sockets)}
        self.pid: int | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._templates: dict[str, str] = {}
        self._databases = 0
        try:
            self._make_folders()
            self._copy(of) if of is not None else self._make()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- the server --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server, and return when it takes connections. A server that runs goes on."""
        if self._server is not None and self._server.poll() is None:
            return
        words = [self.program("postgres"), "-D", str(self.data)]
        for name, value in self.settings.items():
            words += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [*self._as_user(), "--pdeathsig", "QUIT", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                cwd="/",
            )
        self.pid = self._server.pid
        deadline = time.monotonic() + _START_S
        while not self.is_ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")
            time.sleep(_LOOK_S)

    def is_ready(self) -> bool:
        """Whether the server takes connections now."""
        return "ready" in (self._status() or "")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``smart`` waits for clients, ``fast`` ends them, ``immediate`` is a crash of the server."""
        if self._server is None:
            return
        sent = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        self._server.send_signal(sent)
        try:
            self._server.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._server = self.pid = None

    def restart(self, mode: str = "fast") -> None:
        """Stop the server, and start it again with the same data."""
        self.stop(mode)
        self.start()

    def family(self) -> list[int]:
        """The pids of the server and of all its processes."""
        assert self._server is not None, "the server runs"
        return [self._server.pid, *self._children()]

    def kill(self) -> None:
        """Kill the server and all of its processes at once, as where the machine fails."""
        if self._server is None:
            return
        # It stands still first: a process that it makes between the look and its end would keep the next start waiting.
        self._server.send_signal(signal.SIGSTOP)
        with contextlib.suppress(ChildProcessError):  # it had ended before
            os.waitid(os.P_PID, self._server.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        family = self.family()
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait(_STOP_S)
        # Its processes have no parent of ours: they are gone when nobody has the pid any more, or only as a zombie.
        deadline = time.monotonic() + _STOP_S
        while any(lives(pid) for pid in family[1:]) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        self._server = self.pid = None

    def close(self) -> None:
        """Stop the server and remove its files. A second call does nothing."""
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- replication -------------------------------------------------------------------------------------------

    def follow(self, primary: PostgresCluster) -> None:
        """Become a standby of that server, whatever this one has been: its data are thrown away. Start it."""
        assert self._server is None, "stop it first"
        shutil.rmtree(self.data)
        self._make_folder(self.data)
        self._copy(primary)

    def wait_for_standby(self) -> None:
        """From now on a commit waits until one standby has it on disk, also when this server is started again. Returns
        when one is there, and nothing is left of the connection of another one."""
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.sql("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _START_S
        while self.sql("SELECT sync_state FROM pg_stat_replication") != ["sync"]:
            assert time.monotonic() < deadline, "no standby has come"
            time.sleep(_LOOK_S)

    def promote(self) -> None:
        """Make a standby the primary. Returns when it takes writes."""
        assert self.sql("SELECT pg_promote(true, 60)") == ["t"]

    # --- its databases -----------------------------------------------------------------------------------------

    def url(self, database: str = "postgres") -> str:
        """The address of a database of this cluster."""
        return f"postgresql:///{database}?host={self.sockets}&user={USER}"

    def sql(self, text: str, database: str = "postgres") -> list[str]:
        """Run statements with psql, and return the lines of their answers: columns are parted by ``|``."""
        done = self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", text)
        return done.splitlines()

    def run(self, program: str, *words: str, timeout_s: float = 60.0) -> str:
        """Run one of PostgreSQL's programs (``pg_dump``, ``pg_basebackup``) as the server's user, and return what it
        prints. It may write below ``folder / 'out'``."""
        done = subprocess.run(
            [*self._as_user(), self.program(program), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=_environment(),
            cwd="/",
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr.strip()}"
        return done.stdout

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self.binaries / name)

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """The name of a database that ``prepare`` has filled, by its URL, when it was first asked for by this name."""
        if name not in self._templates:
            database = f"template_{name}"
            self.sql(f'CREATE DATABASE "{database}"')
            prepare(self.url(database))
            self._templates[name] = database
        return self._templates[name]

    @contextlib.contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The URL of a new database like ``template``. At the end it is dropped, and its clients are cut off."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            if self.is_ready():
                self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def emptied(self, name: str, prepare: Callable[[str], None]) -> str:
        """The URL of a database that ``prepare`` has filled with tables once, now without clients, and without any row
        but the number of its schema. To empty it takes a small part of what a new one does."""
        if name in self._templates:
            try:
                self.sql(_EMPTY, name)
            except AssertionError:  # a test has left it as nobody can use it
                for gid in self.sql("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()", name):
                    self.sql(f"ROLLBACK PREPARED '{gid}'", name)
                self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
                del self._templates[name]
        if name not in self._templates:
            self.sql(f'CREATE DATABASE "{name}"')
            prepare(self.url(name))
            self._templates[name] = name
        return self.url(name)

    # --- inside ------------------------------------------------------------------------------------------------

    def _make_folders(self) -> None:
        self.folder.chmod(0o711)
        for folder in (self.data, self.sockets, self.folder / "out"):
            self._make_folder(folder)

    def _make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            user = _ordinary_user()
            os.chown(folder, user.pw_uid, user.pw_gid)

    def _copy(self, primary: PostgresCluster) -> None:
        self.run(
            "pg_basebackup",
            *("-D", str(self.data), "-d", primary.url(), "--write-recovery-conf"),
            *("--checkpoint", "fast", "--wal-method", "stream", "--no-sync"),
        )
        # What the primary waits for is its own matter: this one would wait for somebody once it is the primary.
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("synchronous_standby_names = ''\n")

    def _make(self) -> None:
        self.run(
            "initdb",
            *("-D", str(self.data), "-U", USER, "--auth=trust", "--encoding=UTF8", "--locale=C"),
            *("--no-sync", "--no-instructions"),
        )

    def _as_user(self) -> list[str]:
        words = [shutil.which("setpriv") or "setpriv"]
        if os.geteuid() == 0:
            user = _ordinary_user()
            words += ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        return words

    def _status(self) -> str | None:
        """The last line of postmaster.pid: what the server says of itself."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return None
        return lines[7] if len(lines) > 7 and lines[0] == str(self.pid) else None

    def _children(self) -> list[int]:
        tasks = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        with contextlib.suppress(OSError):
            return [int(pid) for pid in tasks.read_text().split()]
        return []


def _environment() -> dict[str, str]:
    """Nothing of the tests' own: their mark would make the server's processes look left behind."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _ordinary_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def lives(pid: int) -> bool:
    """Whether a process of that pid runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
