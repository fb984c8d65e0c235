"""What people read of a saga shows no hidden field; its record holds all of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from antistrophe.definition.events import encode_event, event
from antistrophe.definition.outputs import pack_output
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.step import SagaStep
from antistrophe.journal import SagaEvent, SqliteJournal
from antistrophe.records import TimelineEntry
from antistrophe.saga.entries import Action, AttemptSucceeded, SagaAccepted, SagaCompleted
from antistrophe.serialization.masks import MASK
from tests.acceptance.command import Caller
from tests.contract.journal_sagas import START, append, started

TOKEN = "tok-4711"


@event("timeline.paid")
@dataclass(frozen=True)
class Paid:
    amount: int
    card: str = field(repr=False)


@dataclass(frozen=True)
class Pay(SagaStep):
    amount: int
    card: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_digits", self.card[-4:])

    _digits: str = field(init=False, repr=False)

    def execute(self) -> None: ...
    def compensate(self) -> None: ...


class Receipt(BaseModel):
    number: int
    card: str = Field(repr=False)


def given(entry: TimelineEntry) -> object:
    """The input of the first step, as the entry of the acceptance shows it."""
    spec: Any = entry.data["spec"]
    return spec["steps"][0]["input"]


def said(entry: TimelineEntry) -> object:
    events: Any = entry.data["events"]
    return events[0]["data"]


def paid(home: Path) -> SqliteJournal:
    """The journal of a home with a completed saga that has a hidden field in its input, in its event and in
    the model that its step returned."""
    home.mkdir(mode=0o700)
    journal = SqliteJournal(home / "journal.db")
    spec = SagaDefinition("paid").add_step(Pay(7, TOKEN)).spec()
    event_said, returned = encode_event(Paid(7, TOKEN)), pack_output([Receipt(number=1, card=TOKEN)])
    stored = SagaEvent("paid", event_said.type, 1, event_said.data, {}, "00000000-0000-0000-0000-000000000001")
    append(journal, "paid", SagaAccepted(START, "request", spec), started(0))
    done = (AttemptSucceeded(START + 2, 0, Action.EXECUTE, 1, returned, (event_said,)), SagaCompleted(START + 2))
    append(journal, "paid", *done, events=(stored,))
    return journal


def test_a_timeline_masks_inputs_events_and_models_in_outputs(tmp_path: Path) -> None:
    with closing(paid(tmp_path / "home")) as journal:
        shown = journal.timeline("paid")
        assert TOKEN not in repr(shown)
        assert TOKEN[-4:] not in repr(shown), "nor what the step has computed from it"
        assert given(shown[0]) == {"amount": 7, "card": MASK}
        assert said(shown[2]) == {"amount": 7, "card": MASK}
        assert shown[2].data["output"] == [{"number": 1, "card": MASK}]
        whole = journal.timeline("paid", unmasked=True)
        assert given(whole[0]) == {"amount": 7, "card": TOKEN}
        assert said(whole[2]) == {"amount": 7, "card": TOKEN}
        assert whole[2].data["output"] == [{"number": 1, "card": TOKEN}]


def test_entries_that_name_no_hidden_fields_are_shown_as_they_are(tmp_path: Path) -> None:
    with closing(paid(tmp_path / "home")) as journal:
        accepted = journal.accepted("paid")
        assert accepted is not None
        old = replace(accepted.spec, id="old", steps=tuple(replace(each, masked=()) for each in accepted.spec.steps))
        append(journal, "old", SagaAccepted(START, "another", old), started(0))
        assert given(journal.timeline("old")[0]) == {"amount": 7, "card": TOKEN}


def test_the_command_line_shows_no_hidden_field(tmp_path: Path) -> None:
    paid(tmp_path / "home").close()
    home = Caller(tmp_path / "home", tmp_path)
    for verb in (("show", "paid"), ("show", "paid", "--json"), ("export", "paid")):
        answer = home.ask(*verb)
        assert answer.code == 0
        assert TOKEN not in answer.out
    assert home.ask("export", "paid").json()["events"][0]["data"] == {"amount": 7, "card": MASK}
    record = home.ask("export", "paid", "--unmasked").json()
    assert record["events"][0]["data"] == {"amount": 7, "card": TOKEN}
    assert record["timeline"][0]["data"]["spec"]["steps"][0]["input"] == {"amount": 7, "card": TOKEN}
