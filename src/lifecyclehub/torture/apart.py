"""I11, isolation: a tool that is dead keeps nobody else waiting. The same scenario is played with it alive, and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from lifecyclehub.torture.elements import Act
from lifecyclehub.torture.vendor import Vendor
from lifecyclehub.torture.violation import Violation

Made = Mapping[str, tuple[float, ...]]
"""When the hub made what, in seconds from the scenario's beginning: by kind of record, the earliest first."""

# What has nothing to do with the tool that is dead.
_APART: Final = {
    "books": ("projects.project", "projects.task", "projects.comment", "desk.comment"),
    "desk": ("projects.project", "crm.note", "books.customer", "books.invoice"),
}
MAY_DIE: Final = tuple(_APART)
_TIMES: Final = 3.0
_SLACK_S: Final = 1.0  # each step takes a moment, and not always the same


def made_by_hub(vendors: Mapping[str, Vendor], since: float) -> dict[str, tuple[float, ...]]:
    """Tell when the hub made what. `since`: the scenario's beginning, as a time stamp."""
    found: dict[str, list[float]] = {}
    for vendor in vendors.values():
        for one in vendor.made_by_hub():
            found.setdefault(one.kind, []).append(one.created_at.timestamp() - since)
    return {kind: tuple(sorted(times)) for kind, times in found.items()}


def kept_waiting(dead: str, acts: tuple[Act, ...], alive: Made, without: Made, until: float) -> Iterator[Violation]:
    """Give what took more than three times as long, or was not made at all, until the dead tool came back."""
    for kind in _APART[dead]:
        in_time = [at for at in alive.get(kind, ()) if at < until]
        late = without.get(kind, ())
        for number, at in enumerate(in_time):
            begun = max((act.at for act in acts if act.at <= at), default=0.0)
            took = late[number] - begun if number < len(late) else None
            if took is None or took > _TIMES * (at - begun) + _SLACK_S:
                said = "never" if took is None else f"after {took:.1f} s"
                yield Violation("I11", f"{dead} is dead: {kind} number {number + 1} {said}, else after {at - begun:.1f} s")
