"""The reference says what the code says: pages made from it are up to date, and name all of it."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from antistrophe.saga.entries import ENTRY_TYPES
from antistrophe.serialization import msgpack_values
from antistrophe.storage import schema
from tests.house.pages import blocks_of
from tests.house.reference import DOCS, PAGES

MODULES = (
    "antistrophe",
    "antistrophe.cqrs",
    "antistrophe.dashboard",
    "antistrophe.testing",
    "antistrophe.metrics",
    "antistrophe.tracing",
)
FILE_FORMAT = DOCS / "reference" / "file-format.md"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "make it again: python -m tests.house.reference"


def test_the_schema_is_shown_as_it_is() -> None:
    page = FILE_FORMAT.read_text("utf-8")
    (shown,) = [block.text for block in blocks_of(page) if block.language == "sql"]
    statements = [statement for migration in schema.MIGRATIONS for statement in migration]
    assert shown.split() == " ".join(f"{statement};" for statement in statements).split()
    assert f"`PRAGMA application_id` is {schema.APPLICATION_ID} " in page
    assert f"the version of the schema, {len(schema.MIGRATIONS)}\n" in page


def test_every_kind_of_entry_is_shown_with_its_fields_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", FILE_FORMAT.read_text("utf-8"), re.MULTILINE)
    shown = {kind: (re.findall(r"`(\w+)`", fields), meaning) for kind, fields, meaning in rows}
    assert shown == {
        entry.__name__: (
            list(inspect.signature(entry).parameters),
            " ".join((inspect.getdoc(entry) or "").split()).replace("``", "`"),
        )
        for entry in ENTRY_TYPES
    }


def test_every_code_of_a_value_is_shown() -> None:
    page = FILE_FORMAT.read_text("utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert codes == set(range(msgpack_values.TUPLE, msgpack_values.MODEL + 1))


def test_every_public_name_is_in_the_reference() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in sorted((DOCS / "reference" / "api").glob("*.md")))
    shown = set(re.findall(r"^\.\. auto\w+:: (\w+)$", pages, re.MULTILINE))
    public = {name for module in MODULES for name in importlib.import_module(module).__all__}
    assert public == shown, "write each into a page of docs/reference/api/, where a reader looks for it"
