"""A launcher's process from its start to its end: what it reports, where it logs, what its processes print."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from antistrophe.errors import AntistropheError, SystemUnavailableError
from antistrophe.launcher.home_lock import LOG_FOLDER
from antistrophe.launcher.launcher import Launcher
from antistrophe.launcher.printed_output import PrintedOutput
from antistrophe.launcher.spawn import ERROR, HELD, LAUNCHER_LOG, SERVING
from antistrophe.linux.log_file import LogFile
from antistrophe.serialization.log_lines import formatter
from antistrophe.settings import ORIGIN, Settings

log = logging.getLogger("antistrophe.launcher")


def _settings_of(given: dict[str, Any]) -> Settings:
    origin = given.pop(ORIGIN, "{}")
    return Settings(**given).with_origin(origin)


def launch(home: str, settings: dict[str, Any]) -> None:
    """Run a launcher from its start to its end. It reports on standard output, in one line of JSON, and then serves."""
    log_bytes = settings["log_bytes"]
    log_file = LogFile(Path(home, LOG_FOLDER, LAUNCHER_LOG), log_bytes)
    _log_to(log_file, settings["log_format"])
    try:
        launcher = Launcher.open(Path(home), _settings_of(settings))
    except AntistropheError as error:
        _report({ERROR: type(error).__name__, "text": str(error)})
        return
    except Exception as error:
        log.exception("the launcher can't start")
        _report({ERROR: SystemUnavailableError.__name__, "text": f"the launcher can't start: {error!r}"})
        return
    if launcher is None:
        _report({HELD: True})
        return
    _report({SERVING: True})
    # No child keeps the application's pipe open. What steps print goes to the log, line by line.
    printed = PrintedOutput(log_file, log_bytes, settings["log_format"])
    printed.take_over()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    launcher.run()
    printed.give_back()


def _log_to(file: LogFile, form: str) -> None:
    handler = logging.StreamHandler(file)
    handler.setFormatter(formatter(form))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _report(line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the application may have ended
        os.write(1, json.dumps(line).encode() + b"\n")
