"""Scrapes a collector as Prometheus does, and reads what it gives."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from antistrophe.metrics import collector

Samples: TypeAlias = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""The value of each sample, by its name and labels."""


def registry_of(home: Path) -> CollectorRegistry:
    """A registry with the collector of that home."""
    registry = CollectorRegistry()
    registry.register(collector(home))
    return registry


def scraped(registry: CollectorRegistry) -> Samples:
    """The samples of one scrape, by name and labels, as a parser of Prometheus' text reads them."""
    text = generate_latest(registry).decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in found, "a sample is given once"
            found[key] = sample.value
    return found


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    """One sample."""
    return samples[metric, frozenset(labels.items())]
