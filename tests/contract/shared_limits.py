"""A journal in PostgreSQL whose hosts use limits and wait for them, for the tests of how people are shown that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cli import main
from antistrophe.cli.exit_codes import DONE
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.journal import StoredJournal, open_journal
from antistrophe.scheduling.permits import PermitNeed, key_of_class, key_of_name
from antistrophe.storage.postgres import PostgresDatabase, open_postgres

NAME, CLASS = key_of_name("import"), key_of_class("tests.no_such_module:Debit")


class Shared:
    """A journal in PostgreSQL, and two live hosts: one uses the limit of a name, the other one waits for it."""

    def __init__(self, url: str, home: Path, database: PostgresDatabase, journal: StoredJournal) -> None:
        self.url = url
        self.home = home
        self.database = database
        self.journal = journal
        self.hosts = {name: self.joined(name) for name in ("a1", "b1")}
        self.settle("a1", NAME, want=1)
        self.settle("b1", NAME, want=1)

    def joined(self, name: str) -> str:
        host = new_description(name, (), "1.0", 60.0)
        assert StoredHosts(self.database).register(host, HostLoad())
        return host.id

    def settle(self, host: str, key: str, want: int = 0, starts: int = 0, rate: float | None = None) -> None:
        most = 1 if key == NAME else None
        need = PermitNeed(key, 0, want, most, starts, rate)
        (serial,) = self.database.row("SELECT count(*) + 1 + coalesce(max(serial), 0) FROM antistrophe.permits")
        StoredPermits(self.database).settle(self.hosts[host], serial, [need])
        self.database.execute("UPDATE antistrophe.permits SET until = until + interval '1 minute'")  # it asks on

    def call(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert main(["--home", str(self.home), "--journal", self.url, *words]) == DONE
        return capsys.readouterr().out

    def ask(self, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
        return json.loads(self.call(capsys, *words, "--json"))


@contextmanager
def shared_limits(url: str, home: Path) -> Iterator[Shared]:
    """That journal, in a database with empty tables."""
    with closing(open_postgres(url)) as database, closing(open_journal(url)) as journal:
        yield Shared(url, home, database, journal)
