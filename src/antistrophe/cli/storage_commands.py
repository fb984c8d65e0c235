"""`export`, `purge`, `erase` and `compact`: what the journal holds of a saga, how it leaves it, and how the file gets
smaller. No system has to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from antistrophe.cli import screen
from antistrophe.cli.completion import saga_ids
from antistrophe.cli.exit_codes import DONE
from antistrophe.cli.invocation import Invocation, everywhere, pass_invocation
from antistrophe.client.erasing import erase
from antistrophe.client.purging import purge, purgeable
from antistrophe.client.stored_home import find_saga, stored_journal
from antistrophe.errors import UnreadableDataError
from antistrophe.eventstore.backend import StoredEvent
from antistrophe.eventstore.reading import stored_stream
from antistrophe.journal import open_file, open_store
from antistrophe.launcher.home_lock import without_system
from antistrophe.narration.phrases import mebibytes
from antistrophe.narration.times import timedelta_of
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import AttemptSucceeded, Entry, VerdictGiven
from antistrophe.serialization.masks import masked
from antistrophe.serialization.payload import unpack_payload
from antistrophe.settings import Settings
from antistrophe.storage.compaction import compact, room_needed

FINAL_WORDS = [status.value for status in SagaStatus if status.final]


@click.command("export", short_help="Write the whole record of one saga as JSON.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.option("--unmasked", is_flag=True, help="Write the fields declared repr=False, too.")
@everywhere
@pass_invocation
def export_verb(invocation: Invocation, saga_id: str, unmasked: bool) -> int:
    """Write the whole record of one saga as JSON: how it stands, every entry of its journal with inputs and outputs,
    and its events as the event store has them; the data of an erased one are null. Fields declared repr=False are ***
    in it, if --unmasked is not given.

    What JSON can't hold is written as every --json output writes it: times in ISO 8601, bytes in hexadecimal.
    """
    with stored_journal(invocation.stored_place()) as journal:
        saga = find_saga(journal, saga_id, invocation.shown_place)
        timeline = journal.timeline(saga_id, unmasked=unmasked)
        masks = {} if unmasked else _masks(journal.load(saga_id))
    with closing(open_store(invocation.stored_place(), read_only=True)) as database:
        events = [_event(row, masks) for row in stored_stream(database, saga_id)]
    screen.print_json({"saga": saga, "timeline": timeline, "events": events})
    return DONE


def _masks(entries: Iterable[Entry]) -> dict[tuple[str, int], tuple[str, ...]]:
    """The hidden fields of each type and version of events that a saga has."""
    found = (entry.events for entry in entries if isinstance(entry, AttemptSucceeded | VerdictGiven))
    return {(event.type, event.type_version): event.masked for events in found for event in events}


def _event(row: StoredEvent, masks: Mapping[tuple[str, int], tuple[str, ...]]) -> dict[str, Any]:
    position, stream, version, kind, type_version, data, metadata, recorded_at = row
    return {
        "position": position,
        "stream": stream,
        "version": version,
        "type": kind,
        "type_version": type_version,
        "data": masked(_unpacked(data), masks.get((kind, type_version), ())) if data else None,
        "metadata": None if metadata is None else _unpacked(metadata),
        "recorded_at": datetime.fromtimestamp(recorded_at / 1e6, UTC),
    }


def _unpacked(data: bytes) -> object:
    try:
        return unpack_payload(data)
    except UnreadableDataError:
        return data


class _Duration(click.ParamType[timedelta]):
    """A duration as a person writes it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        try:
            return value if isinstance(value, timedelta) else timedelta_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("purge", short_help="Delete the records of sagas that have finished long ago.")
@click.option(
    "--older-than", required=True, type=_Duration(), metavar="TIME", help="How long ago, as 30d, 12h, 90min or 45s."
)
@click.option("--name", metavar="NAME", help="Only sagas of this name.")
@click.option("--status", type=click.Choice(FINAL_WORDS, case_sensitive=False), help="Only sagas of this status.")
@click.option("--events", is_flag=True, help="Delete their events in the event store, too.")
@click.option("--dry-run", is_flag=True, help="Delete nothing, and say what would be deleted.")
@everywhere
@pass_invocation
def purge_verb(
    invocation: Invocation, older_than: timedelta, name: str | None, status: str | None, events: bool, dry_run: bool
) -> int:
    """Delete the records of sagas that finished long ago, and make the file smaller: completed and compensated sagas,
    never one that runs or is parked. It may be done while the system runs.

    A purged id stays known: nothing runs again under it. `export` writes a saga's record before it goes.
    """
    place = invocation.stored_place()
    which = purgeable(older_than, name, status, events=events)
    before = place.size_bytes()
    settings = invocation.settings() or Settings()
    report = purge(place, which, dry_run=dry_run, synchronous=settings.synchronous)
    after = place.size_bytes()
    if invocation.as_json:
        screen.print_json_line(
            {
                "sagas": report.sagas,
                "bytes": report.bytes,
                "dry_run": dry_run,
                "file_bytes_before": before,
                "file_bytes_after": after,
            }
        )
        return DONE
    word = "would be purged" if dry_run else "purged"
    line = f"{report.sagas:,} sagas {word}, about {mebibytes(report.bytes)}"
    if not dry_run and before is not None and after is not None:
        line += f"; {place.existing_file().name} had {mebibytes(before)}, and has {mebibytes(after)}"
    screen.output().print(line, soft_wrap=True)
    return DONE


@click.command("erase", short_help="Erase what one finished saga was given and returned.")
@click.argument("saga_id", metavar="ID", shell_complete=saga_ids)
@click.option("--events", is_flag=True, help="Blank its events in the event store, too.")
@everywhere
@pass_invocation
def erase_verb(invocation: Invocation, saga_id: str, events: bool) -> int:
    """Erase inputs, outputs, events and errors of one finished saga from its record; its course stays: steps, statuses
    and times. Never of one that runs or is parked. It may be done while the system runs.

    Its events stay in the event store, if --events is not given: then they keep their places and types, and nothing
    else. What the system's own logs say of it stays there.
    """
    settings = invocation.settings() or Settings()
    erased = erase(invocation.stored_place(), saga_id, events=events, synchronous=settings.synchronous)
    if invocation.as_json:
        screen.print_json_line({"saga": saga_id, "erased": erased})
    else:
        screen.output().print(screen.safe(f"{saga_id} {'is erased' if erased else 'was erased before'}"))
    return DONE


@click.command("compact", short_help="Write the journal's file anew, as small as it can be.")
@everywhere
@pass_invocation
def compact_verb(invocation: Invocation) -> int:
    """Write the journal's file anew, so that nothing in it is free. Only while no system runs.

    It is needed once for a file that an older release has made: a purge can't make that smaller before. It takes twice
    the size of what is in the file as free disk while it works. One that is killed leaves the file as it was.
    """
    file = invocation.stored_place().existing_file()
    held = without_system(invocation.home, "nothing can be journaled while the file is written anew")
    with held, closing(open_file(file)) as database:
        before = file.stat().st_size
        room = mebibytes(room_needed(database))
        line = f"{file} has {mebibytes(before)}; this takes up to {room} of free disk while it works"
        screen.errors().print(screen.safe(line), soft_wrap=True)
        compact(database)
        after = file.stat().st_size
    if invocation.as_json:
        screen.print_json_line({"file_bytes_before": before, "file_bytes_after": after})
    else:
        screen.output().print(f"{file.name} had {mebibytes(before)}, and has {mebibytes(after)}")
    return DONE
