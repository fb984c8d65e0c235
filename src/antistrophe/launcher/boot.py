"""The first lines of a launcher, run as a script: leaves the application that started it, and finds the package."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Called with the home, its settings and the folders of what has to be importable, the latter two as JSON."""
    # A child of nobody's: no application has to reap it, or is told of its end by SIGCHLD.
    if os.fork():
        os._exit(0)
    home, settings, folders = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    try:
        _make_importable(folders)
        from antistrophe.launcher.launcher import launch
    except Exception as error:
        text = f"the launcher of {home} can't be loaded: {error!r}"
        os.write(1, json.dumps({"error": "SystemUnavailableError", "text": text}).encode() + b"\n")
        raise
    launch(home, settings)


def _make_importable(folders: dict[str, str]) -> None:
    """The application may have found a package by a search path of its own. Others of its folders are not wanted here:
    user code runs in step processes only."""
    from importlib.util import find_spec

    for name, folder in folders.items():
        spec = find_spec(name)
        found = None if spec is None or spec.origin is None else Path(spec.origin).parents[1]
        if found is None:
            sys.path.append(folder)
        elif name == "antistrophe" and not found.samefile(folder):
            sys.path.insert(0, folder)


if __name__ == "__main__":
    main()
