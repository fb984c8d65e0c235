"""The house has the shape that its pages and its contract say: wings, floors, decisions, words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.packages import floors, imports
from tests.house.tree import ACTORS, PACKAGE, ROOT, name_of, product_files, project

DECISIONS = ROOT / "docs" / "decisions"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs" / "reference" / "glossary.md").read_text("utf-8")

SHIPPED_LINES = 450  # the usual limit is in test_files.py and has exceptions; this one has none
ROOT_FILES = 8
FLOORS = 12
# Who may name a variant of a store; everybody else opens the journal by its place. Hosts are in PostgreSQL only.
OF_THE_STORES = {"storage", "journal", "eventstore", "cqrs", "hosts", "moving"}
VARIANTS = re.compile(r"\b(SqliteJournal|PostgresJournal|open_database|open_postgres)\b")
DECISION = ["Context", "Decision", "Why not otherwise", "Consequences"]  # the third where it is asked
# Where Thespian may be imported: the actors, and what starts them and carries their messages.
OF_THESPIAN = {"antistrophe.actors", "antistrophe.launcher", "antistrophe.transport"}


def test_no_shipped_file_is_longer_than_any_may_be() -> None:
    assert not [name_of(path) for path in product_files() if len(path.read_text("utf-8").splitlines()) > SHIPPED_LINES]


def test_few_files_stand_at_the_root_of_the_package() -> None:
    assert len([path for path in PACKAGE.iterdir() if path.is_file()]) <= ROOT_FILES


def test_no_two_neighbours_have_the_same_name() -> None:
    """No two modules of one wing; each folder below actors/ counts as a wing."""
    assert not {stem: paths for stem, paths in _names_of_neighbours().items() if len(paths) > 1}


def test_the_floors_are_few_and_every_package_is_on_one() -> None:
    names = [name for floor in floors() for name in floor]
    assert len(floors()) <= FLOORS
    assert sorted({*imports(), "package root"}) == sorted(names)


def test_thespian_is_for_the_actors_and_what_starts_and_connects_them() -> None:
    contracts = project()["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("protected_modules") == ["thespian"]]
    assert set(contract["allowed_importers"]) == OF_THESPIAN


def test_only_the_stores_name_a_variant_of_them() -> None:
    """Where a journal is, and what is opened there, is decided in one place: ``journal.opening``."""
    others = (path for path in product_files() if not OF_THE_STORES & set(path.relative_to(ROOT).parts))
    assert not [name_of(path) for path in others if VARIANTS.search(path.read_text("utf-8"))]


def test_contributing_lists_the_floors_of_the_contract() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \| .+ \|$", CONTRIBUTING, re.MULTILINE)
    listed = {int(number): re.findall(r"`(\w+)`|(package root)", names) for number, names in rows}
    assert {number: sorted(a or b for a, b in names) for number, names in listed.items()} == {
        number: sorted(names) for number, names in enumerate(floors())
    }


def test_contributing_lists_the_folders_of_the_project() -> None:
    listed = re.findall(r"^\| `([\w/.]+)/` \|", CONTRIBUTING, re.MULTILINE)
    assert all((ROOT / folder).is_dir() for folder in listed)
    (tests,) = re.findall(r"^\| `tests/` \| (.*?) \|$", CONTRIBUTING, re.MULTILINE)
    folders = [path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("*.py"))]
    assert sorted(re.findall(r"`(\w+)`", tests)) == sorted(folders)


def test_every_decision_is_in_the_index_with_its_title() -> None:
    rows = re.findall(r"^\| (\d+) \| \[(.+)\]\((.+)\) \|$", (DECISIONS / "README.md").read_text("utf-8"), re.MULTILINE)
    pages = sorted(DECISIONS.glob("0*.md"))
    assert [(f"# {number}. {title}", file) for number, title, file in rows] == [
        (path.read_text("utf-8").partition("\n")[0], path.name) for path in pages
    ]
    assert [int(path.name[:4]) for path in pages] == list(range(1, len(pages) + 1))


@pytest.mark.parametrize("page", sorted(DECISIONS.glob("0*.md")), ids=lambda page: page.stem[:4])
def test_a_decision_has_a_date_its_context_and_what_follows(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.match(r"# .+\n\nDate: \d{4}-\d\d-\d\d(\n|\. )", text)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings in (DECISION, [*DECISION[:2], DECISION[3]])


def test_a_word_of_the_glossary_has_one_plain_line_and_stands_there_once() -> None:
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", GLOSSARY, re.MULTILINE)
    words = [word for word, _ in rows if word not in ("word", "---")]
    assert len(words) == len(set(words))
    assert not [word for word, meaning in rows if word in words and not meaning.rstrip().endswith((".", ")."))]


def _names_of_neighbours() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in product_files():
        inside = path.relative_to(ACTORS if path.is_relative_to(ACTORS) else PACKAGE)
        if path.stem != "__init__" and len(inside.parts) > 1:
            found.setdefault(f"{inside.parts[0]}:{path.stem}", []).append(path)
    return found
