"""Who works on the sagas: the system of a home, or the hosts that share a journal."""

from __future__ import annotations

from dataclasses import dataclass

from antistrophe.client.host_list import HostList
from antistrophe.launcher.control_protocol import Ready, State


@dataclass(frozen=True, slots=True)
class Standing:
    """``says`` it in a few words, and ``level`` is `good`, `warn` or `off`. ``works``: somebody goes on with the sagas.
    ``state``: what the launcher of the home tells; ``hosts``: those of a journal in PostgreSQL, if they are known."""

    says: str
    level: str
    works: bool
    state: State | None = None
    hosts: HostList | None = None


def of_system(state: State | None) -> Standing:
    """Of a journal in a file: that is one system's alone."""
    if isinstance(state, Ready):
        return Standing("system runs", "good", works=True, state=state)
    if state is None:
        return Standing("system stopped", "off", works=False)
    return Standing(f"system {type(state).__name__.lower()}", "warn", works=False, state=state)


def of_hosts(hosts: HostList | None, state: State | None) -> Standing:
    """Of a journal that hosts share; None: the database has not told."""
    if hosts is None:
        return Standing("hosts not known", "warn", works=False, state=state)
    if hosts.put_back_by is not None:
        return Standing("no host works", "off", works=False, state=state, hosts=hosts)
    live = len(hosts.at_work)
    says = "no host" if not live else "1 host" if live == 1 else f"{live} hosts"
    level = "off" if not live else "good" if live == len(hosts.live) else "warn"
    return Standing(says, level, works=live > 0, state=state, hosts=hosts)
