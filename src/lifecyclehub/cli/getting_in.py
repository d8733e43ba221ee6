"""What `status` tells of looking for changes and of hooks, where there is something to tell."""

from __future__ import annotations

from collections.abc import Iterator

from lifecyclehub.cli.showing import clock
from lifecyclehub.insight.clocks import CHANGES, FULL, IMPORT
from lifecyclehub.insight.status import ConnectionStatus, SubscriptionStatus, SweepStatus

_WAYS = {CHANGES: "changes", FULL: "all of them", IMPORT: "import"}


def told_of(one: ConnectionStatus) -> Iterator[tuple[str, str, str]]:
    """Give lines of (connection, what, how it is)."""
    for sweep in one.sweeps:
        said = _of_sweep(sweep)
        if said:
            yield one.name, f"{sweep.kind}, {_WAYS.get(sweep.way, sweep.way)}", said
    for hook in one.subscriptions:
        said = _of_hook(hook)
        if said:
            yield one.name, "webhook", said
    if one.calls_per_day is not None:
        yield one.name, "calls today", f"{one.calls_today} of {one.calls_per_day}"


def _of_sweep(sweep: SweepStatus) -> str:
    said = []
    if sweep.reason:
        said.append(f"waits until {clock(sweep.not_before)}: {sweep.reason}" if sweep.not_before else sweep.reason)
    elif sweep.began_at is not None:
        said.append(f"since {clock(sweep.began_at)}, {sweep.listed} listed, {sweep.found} new or changed")
    if sweep.missed:
        said.append(f"{sweep.missed} found that no webhook announced")
    return "; ".join(said)


def _of_hook(hook: SubscriptionStatus) -> str:
    if hook.state == "ending":
        return "an older one is still to be ended"
    return "" if hook.state == "active" and not hook.reason else f"{hook.state}: {hook.reason or ''}"
