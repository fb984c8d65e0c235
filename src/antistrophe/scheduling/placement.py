"""Whether an attempt may run on this host: a step says which labels it needs, and a host which it has."""

from __future__ import annotations

from collections.abc import Collection


def why_not_here(runs_on: Collection[str], labels: Collection[str], host: str) -> str | None:
    """Why an attempt that needs these labels can't run on that host; None where it can."""
    lacking = sorted(set(runs_on).difference(labels))
    if not lacking:
        return None
    has = f"the labels {', '.join(sorted(labels))}" if labels else "no labels"
    return f"a host with {' and '.join(lacking)}, on which its next step runs; {host} has {has} (the setting `labels`)"
