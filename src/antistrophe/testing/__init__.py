"""What users test their sagas with; each name is loaded when it is asked for.

Step processes import from this package (the steps that misbehave on purpose), and must not load an orchestrator for it.
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

_HOMES = {
    "Bounds": "verification.run",
    "Finding": "verification.report",
    "Kind": "verification.report",
    "Outcome": "inline",
    "Report": "verification.report",
    "run_inline": "inline",
    "verify_compensable": "verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
