"""Metrics of a home for Prometheus: counters, histograms and gauges of sagas, steps and the system.

Needs the extra ``antistrophe[metrics]``, which brings ``prometheus-client``::

    from prometheus_client import CollectorRegistry, start_http_server

    from antistrophe.metrics import collector

    registry = CollectorRegistry()
    registry.register(collector("shop-home"))
    start_http_server(9464, registry=registry)

Or ``antistrophe serve --metrics 9464``.

Almost everything is read from the journal's file, so a scrape costs the actor system nothing, and is answered where the
system is down. ``antistrophe.saga.statistics`` says what is counted, ``antistrophe.journal.statistics_follower`` from
where on, ``antistrophe.journal.present_numbers`` how the gauges are read. What the system alone knows is asked
(``running_system``), and is absent where it does not answer. The table of all metrics is ``families``; start there.
``home_collector`` puts values into it, and ``server`` serves them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.opening import home_of
from antistrophe.errors import RequestError
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.metrics.home_collector import HomeCollector

__all__ = ["collector"]


def collector(home: str | os.PathLike[str] | None = None, *, journal: str | None = None) -> HomeCollector:
    """A collector for a registry of prometheus_client.

    ``home`` and ``journal`` are those of the actor system; None means what it means for ``SagaOrchestrator``. The home
    may not exist yet, and the system need not run: what can't be read is absent from a scrape. Counters begin with the
    journal where it is young, else with the first scrape. Have one process serve them: each collector counts by itself.
    Raises RequestError where prometheus_client is not installed, and InvalidSettingsError for a ``journal`` that is no
    URL.
    """
    try:
        from antistrophe.metrics.home_collector import HomeCollector
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "prometheus_client":
            raise
        raise RequestError(
            "metrics need prometheus_client, which is not installed: pip install 'antistrophe[metrics]'"
        ) from error
    return HomeCollector(home_of(home), with_chosen_journal(Settings(), journal).journal)
