"""The project's habits agree with each other: versions, bounds of dependencies, hooks and the workflow."""

from __future__ import annotations

import re

import pytest

from tests.house.tree import ROOT, project

OWN_EXTRAS = "antistrophe["  # what one extra takes from the others
DEPENDENCIES = [
    *project()["build-system"]["requires"],
    *project()["project"]["dependencies"],
    *(line for extra in project()["project"]["optional-dependencies"].values() for line in extra),
]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
RELEASE = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
UNRELEASED_LINES = 260
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")


@pytest.mark.parametrize("dependency", [line for line in DEPENDENCIES if not line.startswith(OWN_EXTRAS)])
def test_a_dependency_has_a_lower_and_an_upper_bound(dependency: str) -> None:
    assert re.fullmatch(r"[\w-]+(\[\w+\])?(>=[\d.]+,<[\d.]+|~=\d+\.\d+(\.\d+)?|==[\d.]+)", dependency)


def test_the_changelog_opens_with_this_version_and_links_each() -> None:
    page = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[([^\]]+)\]", page, re.MULTILINE)
    assert versions[:2] == ["Unreleased", project()["project"]["version"]]
    assert re.findall(r"^\[([^\]]+)\]: ", page, re.MULTILINE) == versions


def test_what_is_unreleased_is_short_enough_to_be_read() -> None:
    """Whoever upgrades reads it. A merge by union may bring back lines that were rewritten."""
    unreleased = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("## [Unreleased]")[2].partition("\n## [")[0]
    lines = len(unreleased.splitlines())
    assert lines <= UNRELEASED_LINES, "take CHANGELOG.md of main as it is, and add your own lines"


def test_the_workflow_runs_every_check_on_every_python_that_is_promised() -> None:
    promised = [
        line.removeprefix(start)
        for line in project()["project"]["classifiers"]
        if line.startswith(start := "Programming Language :: Python :: ")
    ]
    (matrix,) = re.findall(r"python: \[(.*)\]", WORKFLOW)
    assert matrix == ", ".join(f'"{version}"' for version in promised)
    assert re.findall(r"run: (.*)", WORKFLOW) == ["bash .ci/run"]


def test_a_release_is_built_once_and_tried_before_it_is_published() -> None:
    """And nothing but the publishing job may speak for the project."""
    jobs = dict(re.findall(r"^  (\w+):\n((?:(?:    .*)?\n)+)", RELEASE.partition("\njobs:\n")[2], re.MULTILINE))
    assert list(jobs) == ["checks", "build", "try", "publish"]
    assert [name for name, job in jobs.items() if "python -m build && twine check --strict dist/*" in job] == ["build"]
    assert [name for name, job in jobs.items() if "python -m tests.house.wheel fresh/bin/python" in job] == ["try"]
    assert "needs: [checks, build, try]" in jobs["publish"]
    assert [name for name, job in jobs.items() if "id-token: write" in job or "gh-action-pypi" in job] == ["publish"]
    assert "password" not in jobs["publish"]
    assert re.findall(r"python: \[(.*)\]", RELEASE) == re.findall(r"python: \[(.*)\]", WORKFLOW)


@pytest.mark.parametrize("workflow", [WORKFLOW, RELEASE], ids=["ci", "release"])
def test_an_action_of_others_is_held_to_a_version(workflow: str) -> None:
    used = re.findall(r"uses: (.*)", workflow)
    assert len(used) == workflow.count("uses:") > 0
    assert not [each for each in used if not re.fullmatch(r"\./[\w./]+|[\w./-]+@v\d+(\.\d+)*", each)]


def test_the_hooks_are_the_checkers_of_the_dev_extra() -> None:
    """A hook that is fetched from elsewhere would be another version with another verdict."""
    assert re.findall(r"repo: (\w+)", HOOKS) == ["local"]
    run = re.findall(r"entry: \.venv/bin/([\w-]+(?: \w+)?)", HOOKS)
    assert run == ["ruff check", "ruff format", "mypy", "lint-imports"]
    assert len(run) == HOOKS.count("entry:")
