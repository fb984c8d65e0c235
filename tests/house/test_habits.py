"""The project's habits agree with each other: versions, bounds of dependencies, hooks and the workflow."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, project

OWN_EXTRA = "antistrophe[test,docs,web,examples]"
DEPENDENCIES = [
    *project()["build-system"]["requires"],
    *project()["project"]["dependencies"],
    *(line for extra in project()["project"]["optional-dependencies"].values() for line in extra),
]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")


@pytest.mark.parametrize("dependency", [line for line in DEPENDENCIES if line != OWN_EXTRA])
def test_a_dependency_has_a_lower_and_an_upper_bound(dependency: str) -> None:
    assert re.fullmatch(r"[\w-]+(>=[\d.]+,<[\d.]+|~=\d+\.\d+(\.\d+)?|==[\d.]+)", dependency)


def test_the_changelog_opens_with_this_version_and_links_each() -> None:
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[([^\]]+)\]", page, re.MULTILINE)
    assert versions[:2] == ["Unreleased", project()["project"]["version"]]
    assert re.findall(r"^\[([^\]]+)\]: ", page, re.MULTILINE) == versions


def test_the_workflow_runs_every_check_on_every_python_that_is_promised() -> None:
    promised = [
        line.removeprefix(start)
        for line in project()["project"]["classifiers"]
        if line.startswith(start := "Programming Language :: Python :: ")
    ]
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert matrix == ", ".join(f'"{version}"' for version in promised)
    assert re.findall(r"run: (.*)", WORKFLOW) == ["bash .ci/run"]


def test_the_hooks_are_the_checkers_of_the_dev_extra() -> None:
    """A hook that is fetched from elsewhere would be another version with another verdict."""
    assert re.findall(r"repo: (\w+)", HOOKS) == ["local"]
    run = re.findall(r"entry: \.venv/bin/([\w-]+(?: \w+)?)", HOOKS)
    assert run == ["ruff check", "ruff format", "mypy", "lint-imports"]
    assert len(run) == HOOKS.count("entry:")
