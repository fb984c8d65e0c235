"""What is built and installed: the actors behind their symlink, the explicit package list, the wheel."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house import wheel
from tests.house.tree import ACTORS, PACKAGE, ROOT, example_files, project

pytestmark = pytest.mark.timeout(180)  # starts many processes, on a machine that may be busy

LINK = PACKAGE / "actors"
TAKES_PART = ("pyproject.toml", "README.md", "LICENSE", "src", "actors")


def test_the_actors_are_reached_through_one_relative_symlink() -> None:
    assert LINK.is_symlink(), f"{LINK} lost its link in this checkout: make it again with `git checkout -- {LINK}`"
    assert str(LINK.readlink()) == "../../actors"
    assert LINK.resolve() == ACTORS


def test_git_keeps_the_symlink_as_one() -> None:
    if not (ROOT / ".git").exists():  # an unpacked archive: the test above is all that can be asked
        return
    listed = subprocess.run(
        ["git", "ls-files", "--stage", "src/antistrophe/actors"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert listed.startswith("120000 ")


def test_every_package_is_listed() -> None:
    packages = {"antistrophe"} | {
        ".".join(("antistrophe", *init.parent.relative_to(PACKAGE).parts))
        for folder in (PACKAGE, LINK)
        for init in folder.rglob("*/__init__.py")
    }
    packages.add("antistrophe.actors")
    assert sorted(project()["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for folder in (PACKAGE, ACTORS) for path in folder.rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_no_example_is_shipped() -> None:
    assert not [path for path in example_files() if path.is_relative_to(PACKAGE)]


def test_what_runs_needs_exactly_six_libraries() -> None:
    names = {re.split(r"[<>=~!\[ ]", line)[0] for line in project()["project"]["dependencies"]}
    assert names == {"thespian", "msgpack", "msgspec", "cattrs", "click", "rich"}


@dataclass(frozen=True, slots=True)
class Distributions:
    """What a release has."""

    sdist: Path
    wheel: Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what a build reads."""
    return copy_to(tmp_path / "checkout")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """The sdist, and the wheel that is made from it and not from the checkout, as `python -m build` does it."""
    folder = tmp_path_factory.mktemp("built")
    build(copy_to(folder / "checkout"), "sdist", folder)
    (sdist,) = folder.glob("antistrophe-*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)
    (wheel,) = folder.glob("antistrophe-*.whl")
    return Distributions(sdist, wheel)


def copy_to(copy: Path) -> Path:
    copy.mkdir()
    for name in TAKES_PART:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, copy / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__")
            )
        else:
            shutil.copy2(source, copy / name)
    return copy


def built_by_backend(source: Path, kind: str, into: Path) -> subprocess.CompletedProcess[str]:
    """Build with the setuptools of this environment: nothing is downloaded."""
    code = f"from setuptools import build_meta; build_meta.build_{kind}({str(into)!r})"
    return subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False)


def build(source: Path, kind: str, into: Path) -> None:
    ran = built_by_backend(source, kind, into)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_wheel_has_the_actors_and_the_mark_of_typed_code(built: Distributions) -> None:
    names = set(zipfile.ZipFile(built.wheel).namelist())
    assert "antistrophe/py.typed" in names
    sources = {
        f"antistrophe/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*.py")
        if LINK not in path.parents
    } | {f"antistrophe/actors/{path.relative_to(ACTORS).as_posix()}" for path in ACTORS.rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


def test_what_is_uploaded_passes_the_check_of_the_index(built: Distributions) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(built.sdist), str(built.wheel)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout.count("PASSED")) == (0, 2), checked.stdout + checked.stderr


def test_the_wheel_runs_the_example_of_the_readme_in_a_fresh_environment(built: Distributions, tmp_path: Path) -> None:
    """What antistrophe needs is that of this environment, so that nothing is downloaded; antistrophe is the wheel's."""
    fresh = tmp_path / "fresh"
    venv.create(fresh, symlinks=True)
    python = fresh / "bin" / "python"
    site = next(fresh.glob("lib/python*/site-packages"))
    site.joinpath("needs.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built.wheel)], check=True)
    (tmp_path / "empty").mkdir()
    wheel.try_out(python, tmp_path / "empty")


@pytest.mark.parametrize("lost", ["nothing there", "a file with the target's path"])
def test_a_checkout_that_lost_the_symlink_does_not_build(checkout: Path, lost: str) -> None:
    link = checkout / "src" / "antistrophe" / "actors"
    link.unlink()
    if lost == "a file with the target's path":  # what is unpacked by tools that know no symlinks
        link.write_text("../../actors", "utf-8")
    built = built_by_backend(checkout, "wheel", checkout)
    assert built.returncode != 0
    assert "src/antistrophe/actors" in built.stdout + built.stderr
    assert not list(checkout.glob("*.whl"))
