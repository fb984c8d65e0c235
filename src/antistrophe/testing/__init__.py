"""The tools with which users test their sagas.

- ``run_inline`` runs a saga in the calling process, for unit tests: no other process, and no waiting.
- ``verify_compensable`` runs a saga in real processes, once for each point at which something can go wrong, and
  reports whether everything was undone (``verification``).
- ``plugin`` is the pytest plugin, with fixtures for a running orchestrator and for ``verify_compensable``.
- ``store_contract`` holds the checks that any event backend has to pass.

Each name is imported when somebody asks for it: step processes import from this package (the steps that misbehave on
purpose), and must not load an orchestrator for that.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antistrophe.testing.inline import Outcome, run_inline
    from antistrophe.testing.verification.report import Finding, Kind, Report
    from antistrophe.testing.verification.run import Bounds
    from antistrophe.testing.verification.verify import verify_compensable

__all__ = ["Bounds", "Finding", "Kind", "Outcome", "Report", "run_inline", "verify_compensable"]

_MODULES = {
    "Bounds": "verification.run",
    "Finding": "verification.report",
    "Kind": "verification.report",
    "Outcome": "inline",
    "Report": "verification.report",
    "run_inline": "inline",
    "verify_compensable": "verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
