"""What users test their sagas with; each name is loaded when it is asked for.

Step processes import from this package (the steps that misbehave on purpose), and must not load an orchestrator for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from antistrophe.testing.inline import Outcome, run_inline
    from antistrophe.testing.report import Finding, Kind, Report
    from antistrophe.testing.trial import Bounds
    from antistrophe.testing.verify import verify_compensable

__all__ = ["Bounds", "Finding", "Kind", "Outcome", "Report", "run_inline", "verify_compensable"]

_HOMES = {
    "Bounds": "trial",
    "Finding": "report",
    "Kind": "report",
    "Outcome": "inline",
    "Report": "report",
    "run_inline": "inline",
    "verify_compensable": "verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
