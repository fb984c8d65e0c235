"""Writes the pages that are made from the code: ``python -m tests.house.reference`` puts them into docs/."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from antistrophe import errors
from antistrophe.metrics.families import BUCKETS, FAMILIES, VALUES
from antistrophe.saga.entries import ENTRY_TYPES
from antistrophe.saga.statistics import MOST_LABELS, OTHER
from antistrophe.settings import Settings
from tests.house.packages import packages_page
from tests.house.states import states_page
from tests.house.tree import ROOT

DOCS = ROOT / "docs"
MADE = "This page is made from the code by `python -m tests.house.reference`."


def settings_page() -> str:
    """What each setting means, takes and is by default."""
    default = Settings()
    lines = [
        "# Settings",
        "",
        "`Settings` is one frozen record; `Settings.load(path)` reads a TOML profile of",
        f"`name = value` lines. {MADE}",
        "",
        "A wrong name, type or value raises `InvalidSettingsError`, which names the file, the key and what is allowed.",
        "Who starts the actor system of a home decides its settings; who attaches takes them as they are. Profiles to",
        "start from stand in [config/](../../config/default.toml) of the repository: copy one, the installed package",
        "has none of them.",
        "",
        "| setting | default | takes | meaning |",
        "|---|---|---|---|",
    ]
    for name, allowed in Settings.described().items():
        value = getattr(default, name)
        shown = "not set" if value is None else f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
        takes = allowed.text() + (f" ({allowed.unit})" if allowed.unit else "")
        lines.append(f"| `{name}` | {shown} | {takes} | {allowed.says} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """The tree of the exceptions, and what each carries."""
    tree = inspect.getdoc(errors) or ""
    drawn = tree[tree.index("AntistropheError\n") : tree.index("\n\n``AttemptCancelled``")]
    lines = [
        "# Errors",
        "",
        "Everything that antistrophe raises on purpose is below `AntistropheError`.",
        MADE,
        "",
        "```text",
        drawn.rstrip(),
        "```",
        "",
        "`AttemptCancelled` stands outside: a `BaseException`, raised in a step's main thread when its attempt is to",
        "end, so that the step's `except Exception` does not swallow it.",
        "",
        "| error | below | carries | meaning |",
        "|---|---|---|---|",
    ]
    for error in _public_errors():
        carries = ", ".join(f"`{name}`" for name in _fields(error)) or "-"
        below = ", ".join(f"`{base.__name__}`" for base in _public_bases(error))
        lines.append(f"| `{error.__name__}` | {below} | {carries} | {_meaning(error)} |")
    return "\n".join(lines) + "\n"


def file_format_page() -> str:
    """The page as it is, with the table of the kinds of entries made anew."""
    rows = ["| kind | fields | meaning |", "|---|---|---|"]
    for entry in ENTRY_TYPES:
        names = ", ".join(f"`{name}`" for name in inspect.signature(entry).parameters)
        rows.append(f"| `{entry.__name__}` | {names} | {_meaning(entry)} |")
    page = (DOCS / "reference" / "file-format.md").read_text("utf-8")
    before, rest = page.split(f"{rows[0]}\n", 1)
    after = re.sub(r"\A(\|.*\n)+", "", rest)
    return before + "\n".join(rows) + "\n" + after


def metrics_page() -> str:
    """Every metric: its kind, its labels and what it says."""
    lines = [
        "# Metrics",
        "",
        "What `antistrophe serve --metrics PORT` and `antistrophe.metrics.collector(home)` give:",
        f"[how to use them](../how-to/watch-with-prometheus.md). {MADE}",
        "",
        "| metric | kind | labels | meaning |",
        "|---|---|---|---|",
    ]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
        says = family.says + (" Asked of the system, and absent where it does not answer." if family.asked else "")
        lines.append(f"| `{family.name}` | {family.kind.value} | {labels} | {says} |")
    lines += ["", "| label | values |", "|---|---|"]
    lines += [f"| `{label}` | {', '.join(f'`{value}`' for value in values)} |" for label, values in VALUES.items()]
    lines += [
        f"| `name` | names of sagas: the first {MOST_LABELS} that are seen, and `{OTHER}` for the rest |",
        f"| `step_class` | step classes, as `module:Class`: the first {MOST_LABELS} that are seen, and `{OTHER}` |",
        "",
        f"Histograms have these bounds, in seconds: {', '.join(BUCKETS)}.",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    "reference/metrics.md": metrics_page,
    "reference/settings.md": settings_page,
    "reference/errors.md": errors_page,
    "reference/file-format.md": file_format_page,
    "explanation/packages.md": packages_page,
    "explanation/states.md": states_page,
}


def _meaning(documented: type) -> str:
    """The docstring in one line of Markdown."""
    return " ".join((inspect.getdoc(documented) or "").split()).replace("``", "`")


def _public_errors() -> Iterator[type[BaseException]]:
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, BaseException) and not name.startswith("_"):
            yield value


def _public_bases(error: type[BaseException]) -> Iterator[type]:
    for base in error.__bases__:
        if base.__name__.startswith("_"):
            yield from _public_bases(base)
        else:
            yield base


def _fields(error: type[BaseException]) -> list[str]:
    """What every instance keeps of what it was made with, under the same names."""
    if not inspect.isfunction(error.__init__):
        return []
    return [name for name in inspect.signature(error.__init__).parameters if name not in {"self", "message", "detail"}]


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
