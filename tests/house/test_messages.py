"""The page of messages: it has every error and every reason to wait, and quotes them as the code says them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache

import pytest

from antistrophe import errors
from tests.house.pages import blocks_of
from tests.house.tree import ACTORS, PACKAGE, ROOT, product_files, tree_of

PAGE = (ROOT / "docs" / "reference" / "messages.md").read_text("utf-8")
ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException) and not name.startswith("_")
}
BASES = {"AntistropheError", "SagaError", "StepSignal"}  # they are caught, and not raised themselves
WITHOUT_WORDS = {  # the user says these, or nobody does
    "RetryableError",
    "FatalError",
    "InDoubtError",
    "ValidationError",
    "CommandRejectedError",
    "AttemptCancelled",
}
# Where reasons to wait come from: what a function returns, and what a call is given.
RETURNED = {
    (PACKAGE / "saga" / "view.py", "obstacle"),
    (PACKAGE / "saga" / "view.py", "_process_for"),
    (PACKAGE / "scheduling" / "admission.py", "full"),
    (PACKAGE / "scheduling" / "placement.py", "why_not_here"),
}
GIVEN = {
    (PACKAGE / "definition" / "code_loading.py", "CodeNotLoadableError"),
    (ACTORS / "step" / "worker_resources.py", "CodeNotLoadableError"),
    (ACTORS / "step" / "user_process.py", "Refused"),
    (ACTORS / "step" / "async_step.py", "Refused"),
    (ACTORS / "supervisor" / "process_keeper.py", "_refuse"),
}


def sections() -> list[tuple[tuple[str, ...], list[str]]]:
    """The errors that a heading names, and the messages below it."""
    parts = [part.partition("\n") for part in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)]
    return [(tuple(re.findall(r"`(\w+)`", title)), quoted(text, "message")) for title, _, text in parts if "`" in title]


def quoted(page: str, word: str) -> list[str]:
    """What stands in the blocks of that word: a message in each paragraph."""
    texts = [block.text for block in blocks_of(page) if word in block.words]
    return [plain(part) for text in texts for part in text.split("\n\n") if part.strip()]


def plain(text: str) -> str:
    """One line, in which neighbouring values are one."""
    return re.sub(r"…(\s*…)+", "…", " ".join(text.split()))


@cache
def texts_by_error() -> dict[str, set[str]]:
    """What each error may say: the texts of all files that name it, with `…` for each value that is put into them.
    Where the errors are defined, those of its own class."""
    found: dict[str, set[str]] = {name: set() for name in ERRORS}
    for path in product_files():
        if path == PACKAGE / "errors.py":
            for node in tree_of(path).body:
                if isinstance(node, ast.ClassDef) and node.name in ERRORS:
                    found[node.name].update(texts_of(ast.walk(node)))
        elif named := ERRORS & set(re.findall(r"\w+", path.read_text("utf-8"))):
            said = set(texts_of(ast.walk(tree_of(path))))
            for name in named:
                found[name] |= said
    return found


def template(node: ast.AST) -> str:
    match node:
        case ast.Constant(str(value)):
            return value
        case ast.JoinedStr(values):
            return "".join(template(value) or "…" for value in values)
        case ast.BinOp(left, ast.Add(), right):
            return (template(left) or "…") + (template(right) or "…")
    return ""


def reasons() -> Iterator[str]:
    """What the code says where a saga has to wait."""
    for path, name in RETURNED:
        (function,) = [node for node in ast.walk(tree_of(path)) if getattr(node, "name", "") == name]
        yield from texts_of(node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    for path, name in GIVEN:
        tree = tree_of(path)
        names = {
            target.id: node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == name:
                yield from texts_of(names.get(each.id) if isinstance(each, ast.Name) else each for each in call.args)


def texts_of(nodes: Iterable[ast.AST | None]) -> Iterator[str]:
    for node in nodes:
        if node is not None and (text := plain(template(node))) and text != "…":
            yield text


def test_every_error_is_on_the_page_once() -> None:
    named = [name for names, _ in sections() for name in names]
    assert sorted(named) == sorted(ERRORS - BASES)


@pytest.mark.parametrize(("names", "messages"), sections(), ids=lambda each: each[0] if each else "")
def test_a_message_is_one_of_the_code(names: tuple[str, ...], messages: list[str]) -> None:
    assert messages or set(names) <= WITHOUT_WORDS
    said = set().union(*(texts_by_error()[name] for name in names))
    assert not [message for message in messages if not any(message in each for each in said)]


def test_every_reason_to_wait_is_on_the_page() -> None:
    said, on_page = set(reasons()), quoted(PAGE, "waits")
    assert len(said) > 15, "they are found"
    assert not [each for each in said if not any(reason in each for reason in on_page)]
    assert not [reason for reason in on_page if not any(reason in each for each in said)]
