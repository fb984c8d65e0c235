"""A host whose database was put back to an earlier moment: it refuses to start, and repeats nothing once it may."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from antistrophe import JournalError, RequestError, SagaOrchestrator, SagaStatus
from antistrophe.hosts.home_mark import read_home_mark
from tests.actors.staging import Stage, seen, wait_for_status
from tests.waiting import until

_PUT_BACK = """
    DELETE FROM antistrophe.journal USING (
        SELECT saga_id, min(seq) AS seq FROM antistrophe.journal WHERE kind = 'AttemptSucceeded' GROUP BY saga_id
    ) AS first WHERE journal.saga_id = first.saga_id AND journal.seq > first.seq;
    UPDATE antistrophe.sagas SET status = 'executing', finished = NULL,
        seq = (SELECT max(seq) FROM antistrophe.journal WHERE saga_id = id);
    UPDATE antistrophe.homes SET mark = mark - 1;
"""


def test_what_was_done_since_is_not_done_again(tmp_path: Path, stage: Stage, postgres_store_url: str) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, journal=postgres_store_url) as before:
        before.execute(stage.saga(stage.act("a"), stage.act("b"), saga_id="plain"))
        before.execute(stage.saga(stage.act("a"), stage.act("b", idempotent=True), saga_id="again"))
        until(lambda: read_home_mark(home).mark, "a renewal of the lease")
    with psycopg.connect(postgres_store_url, autocommit=True) as connection:
        connection.execute(_PUT_BACK)
    with pytest.raises(JournalError, match="is behind what this home has seen of it"):
        SagaOrchestrator(home, journal=postgres_store_url)
    with pytest.raises(RequestError, match="in a file of its home"):
        SagaOrchestrator(tmp_path / "other", journal="", after_restore=True)
    with SagaOrchestrator(home, journal=postgres_store_url, after_restore=True) as after:
        plain = wait_for_status(after, "plain", SagaStatus.FAILED)
        wait_for_status(after, "again", SagaStatus.COMPLETED)
        assert "put back to an earlier state" in str(plain.error)
        assert after.get_timeline("plain")[3].kind == "RestoreAcknowledged"
    assert stage.log.story("plain") == ["begin a", "done a", "begin b", "done b"], "nothing ran again, or was undone"
    assert stage.log.story("again") == ["begin a", "done a", "begin b", "done b", "begin b", "done b"]
    with SagaOrchestrator(home, journal=postgres_store_url) as later:
        assert seen(later, "plain").status is SagaStatus.FAILED
