"""An exception is told in words, whatever its class does when it is asked for them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from antistrophe import SagaDefinition, SagaStep
from antistrophe.cli.target import InputError, find_source
from antistrophe.errors import InvalidDefinitionError, InvalidStepError, InvalidUpcasterError, UnreadableEntryError
from antistrophe.eventstore.versions import VersionRegistry
from antistrophe.exception_text import name_and_text
from antistrophe.journal.rows import unpack_entry
from antistrophe.journal.short_entries import STARTED, SUCCEEDED
from antistrophe.serialization.payload import pack_payload
from antistrophe.testing import verify_compensable

ENDLESS = int("7" * 4000) ** 2
"""More digits than Python writes."""


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")


def speechless(*_: object) -> NoReturn:
    raise SpeechlessError


class Speechless(SagaStep):
    timeout_s = property(speechless)

    def execute(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("amount"), "KeyError: 'amount'"),
        (KeyError(), "KeyError"),
        (KeyError(ENDLESS), "KeyError: (no text: str() of the exception raised ValueError)"),
        (SpeechlessError(), "SpeechlessError: (no text: str() of the exception raised LookupError)"),
        (ValueError("\ud800 lost"), "ValueError: ? lost"),
    ],
    ids=["a text", "none", "endless", "speechless", "surrogate"],
)
def test_its_name_and_its_text_are_told(error: BaseException, text: str) -> None:
    assert name_and_text(error) == text


@pytest.mark.parametrize("kind", [STARTED, SUCCEEDED])
def test_an_entry_whose_action_is_a_number_without_end_is_refused(kind: int) -> None:
    values = [kind, 1.5, 0, ENDLESS, 1, *([5, None, "", 1, 1, "", ""] if kind == STARTED else [])]
    with pytest.raises(UnreadableEntryError, match=r"^here can't be read"):
        unpack_entry(pack_payload(values), "here")


def test_a_speechless_upcaster_is_named() -> None:
    versions = VersionRegistry()
    versions.upcaster("versions.speechless", from_version=1)(speechless)
    with pytest.raises(InvalidUpcasterError, match=r"version 1 to 2\) raised SpeechlessError: \(no text"):
        versions.upcast("versions.speechless", 1, {})


def test_a_speechless_option_is_named() -> None:
    with pytest.raises(InvalidStepError, match=r"raises SpeechlessError: \(no text"):
        SagaDefinition("s").add_step(Speechless())


def test_a_speechless_script_is_named(tmp_path: Path) -> None:
    script = tmp_path / "speechless.py"
    script.write_text("from tests.core.test_exception_text import speechless\nspeechless()\n")
    with pytest.raises(InputError, match=r"can't be imported: SpeechlessError: \(no text"):
        find_source(f"{script}:saga")


def test_a_speechless_function_of_a_verification_is_named() -> None:
    with pytest.raises(InvalidDefinitionError, match=r"function raised SpeechlessError: \(no text"):
        verify_compensable(speechless)
