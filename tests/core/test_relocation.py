"""Where the code of a saga is found once its place is gone, and where it is not."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe import RequestError
from antistrophe.definition.relocation import origin_in, other_place, place_is_gone, what_is_missing
from antistrophe.definition.spec import Origin

REFS = ("shopapp.steps:Pay", "shopapp.steps:Ship.Parcel")
ZIP = f"/usr/lib/python{sys.version_info.major}{sys.version_info.minor}.zip"


def release(
    folder: Path, text: str = "class Pay: ...\nclass Ship:\n    class Parcel: ...\n", init: bool = True
) -> Origin:
    package = folder / "shopapp"
    package.mkdir(parents=True)
    (package / "steps.py").write_text(text, "utf-8")
    if init:
        (package / "__init__.py").touch()
    (folder / "app.py").write_text("from shopapp.steps import Pay\n", "utf-8")
    return Origin(None, (str(folder), ZIP), str(folder))


@pytest.fixture
def old(tmp_path: Path) -> Origin:
    origin = release(tmp_path / "r1")
    assert not place_is_gone(origin, REFS)
    return origin


def gone(origin: Origin) -> Origin:
    shutil.rmtree(origin.cwd)
    assert place_is_gone(origin, REFS)
    return origin


def test_a_place_that_is_there_is_not_left(old: Origin, tmp_path: Path) -> None:
    new = release(tmp_path / "r2")
    assert other_place(old, REFS, [new]) is None
    shutil.rmtree(tmp_path / "r1" / "shopapp")  # other code, at the same place
    assert not place_is_gone(old, REFS)
    assert other_place(old, REFS, [new]) is None


@pytest.mark.parametrize("init", [True, False])
def test_the_newest_program_that_has_all_of_the_code_takes_it_over(old: Origin, tmp_path: Path, init: bool) -> None:
    programs = [
        release(tmp_path / "other", "class Pay: ...\n"),  # another application with a module of that name
        Origin(None, (str(tmp_path),), str(tmp_path)),
        release(tmp_path / "r3", init=init),
        release(tmp_path / "r2"),
    ]
    assert other_place(gone(old), REFS, programs) == programs[2]
    assert other_place(old, REFS, programs[:2]) is None
    assert other_place(old, REFS, []) is None
    assert "shopapp" not in sys.modules


def test_the_script_is_known_by_the_name_of_its_file(old: Origin, tmp_path: Path) -> None:
    script = replace(old, script=str(tmp_path / "r1" / "app.py"))
    new = release(tmp_path / "r2")
    gone(old)
    refs = ("__main__:Pay", *REFS)
    same, other = replace(new, script=f"{new.cwd}/app.py"), replace(new, script=f"{new.cwd}/shopapp/steps.py")
    assert other_place(script, refs, [new, other, same]) == same
    assert other_place(old, REFS, [same]) == new, "a saga without a script gets none"
    Path(new.cwd, "app.py").write_text("", "utf-8")
    assert other_place(script, refs, [same]) is None


def test_a_folder_of_the_search_path_is_a_place_too(old: Origin, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    origin = replace(old, cwd=str(tmp_path / "data"), sys_path=(str(tmp_path / "gone"), *old.sys_path))
    assert not place_is_gone(origin, REFS), "nothing of it is missing"
    new = replace(release(tmp_path / "r2"), cwd=origin.cwd)
    gone(old)
    assert place_is_gone(origin, REFS)
    assert other_place(origin, REFS, [new]) == new


def test_by_hand_what_lay_below_the_old_folder_is_found_below_the_new_one(tmp_path: Path) -> None:
    source = release(tmp_path / "r1" / "src").sys_path
    (tmp_path / "r1" / "bin").mkdir()
    script = tmp_path / "r1" / "bin" / "shop.py"
    script.write_text("class Main: ...\n", "utf-8")
    old = Origin(str(script), (str(script.parent), *source, str(tmp_path / "r1" / "left")), str(tmp_path / "r1"))
    shutil.copytree(tmp_path / "r1", tmp_path / "r2")
    new, refs = str(tmp_path / "r2"), ("__main__:Main", *REFS)
    (tmp_path / "current").symlink_to(new)
    paths = (new, f"{new}/bin", f"{new}/src", ZIP, str(tmp_path / "r1" / "left"))
    there = origin_in(new, old, refs)
    assert there == origin_in(tmp_path / "current", old, refs) == Origin(f"{new}/bin/shop.py", paths, new)
    back = origin_in(old.cwd, there, refs)
    assert (back.script, back.cwd, back.sys_path[0]) == (str(script), old.cwd, old.cwd)


def test_by_hand_the_folder_that_steps_run_in_stays_where_no_code_is_below_it(old: Origin, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    new = release(tmp_path / "r2")
    there = origin_in(new.cwd, replace(old, cwd=str(tmp_path / "data")), REFS)
    assert (there.cwd, there.sys_path[0]) == (str(tmp_path / "data"), new.cwd)
    shutil.rmtree(tmp_path / "data")
    assert origin_in(new.cwd, replace(old, cwd=str(tmp_path / "data")), REFS).cwd == new.cwd


def test_by_hand_a_folder_without_the_code_is_refused(old: Origin, tmp_path: Path) -> None:
    gone(old)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=r"there is no folder .*nowhere"):
        origin_in(tmp_path / "nowhere", old, REFS)
    with pytest.raises(RequestError, match=r"empty does not have the code of the saga \(no module shopapp\.steps\)"):
        origin_in(tmp_path / "empty", old, REFS)
    with pytest.raises(RequestError, match=r"no script .*empty/app\.py"):
        origin_in(tmp_path / "empty", replace(old, script=f"{old.cwd}/app.py"), ("__main__:Pay",))
    new = release(tmp_path / "r2", "class Pay: ...\n")
    with pytest.raises(RequestError, match=r"steps\.py has no Ship\.Parcel"):
        origin_in(new.cwd, old, REFS)


def test_only_what_can_be_seen_is_missing(tmp_path: Path) -> None:
    lines = ("from elsewhere import *", "def __getattr__(name): ...", "class Pay: ...\nShip = made()")
    for number, text in enumerate(lines):
        assert what_is_missing(release(tmp_path / str(number), text), REFS) is None
    built_in = Origin(None, tuple(sys.path), str(tmp_path))
    assert what_is_missing(built_in, ("shopapp.steps.more:Pay",)) == "no module shopapp.steps.more"
    assert what_is_missing(release(tmp_path / "flat"), ("shopapp.steps.more:Pay",)) == "no module shopapp.steps.more"
