"""What the dashboard brings of others: unchanged, named with version and licence, and part of the wheel."""

from __future__ import annotations

import hashlib
import re
from fnmatch import fnmatch

from tests.house.tree import PACKAGE, ROOT, project

DASHBOARD = PACKAGE / "dashboard"
VENDOR = DASHBOARD / "static" / "vendor"
ROWS = [line.split(" | ") for line in (VENDOR / "VERSIONS.txt").read_text("utf-8").splitlines()[2:]]


def test_each_file_of_others_is_named_and_is_what_its_package_has() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(
        path.name for path in VENDOR.iterdir() if path.name != "VERSIONS.txt"
    )
    for name, package, version, _, digest in ROWS:
        assert re.fullmatch(r"[\w.-]+", package)
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_each_package_of_others_has_its_licence_beside_it() -> None:
    licences = {row[1] for row in ROWS if row[0].endswith(".LICENSE")}
    assert licences == {row[1] for row in ROWS}


def test_no_file_of_the_pages_asks_another_host_for_anything() -> None:
    own = [path for path in DASHBOARD.rglob("*") if path.suffix in (".html", ".css", ".js") and path.parent != VENDOR]
    assert len(own) > 10
    for path in own:
        assert not re.search(r"https?:|//[\w-]+\.\w|@import|url\(", path.read_text("utf-8").replace("// ", "")), path


def test_the_wheel_has_every_template_and_every_static_file() -> None:
    patterns = project()["tool"]["setuptools"]["package-data"]["antistrophe.dashboard"]
    files = [path for path in DASHBOARD.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    left = [path for path in files if not any(fnmatch(str(path.relative_to(DASHBOARD)), each) for each in patterns)]
    assert not left
    assert (ROOT / "src" / "antistrophe" / "dashboard" / "templates" / "layout.html") in files
