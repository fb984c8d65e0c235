"""The script that a launcher process begins with: detaches from the application, and makes the package importable."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path


def main() -> None:
    """Start the launcher. Arguments: the home, the folders of the packages to import (JSON). On standard input: the
    settings (JSON)."""
    # The launcher is no child of the application: nobody has to reap it, and no SIGCHLD tells of its end.
    if os.fork():
        os._exit(0)
    home, folders = sys.argv[1], json.loads(sys.argv[2])
    settings = json.loads(sys.stdin.buffer.read())
    _forget_input()
    gc.disable()  # nearly all that the imports make stays, and to look through it again and again takes time
    try:
        _make_importable(folders)
        from antistrophe.launcher.launch import launch
        from antistrophe.linux.own_memory import settle_memory
    except Exception as error:
        text = f"the launcher of {home} can't be loaded: {error!r}"
        os.write(1, json.dumps({"error": "SystemUnavailableError", "text": text}).encode() + b"\n")
        raise
    settle_memory()
    gc.enable()
    launch(home, settings)


def _forget_input() -> None:
    """Have nothing on standard input, here and in all processes that are started from here."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)


def _make_importable(folders: dict[str, str]) -> None:
    """Add the folders of the packages that are not importable as it is: the application may have its own search path.

    No other folder of the application is added, because user code runs in step processes only.
    """
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
