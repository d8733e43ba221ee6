"""Step 5, what is new: each observed field against the mirror, and what follows for the thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from lifecyclehub.intake.batch import Batch
from lifecyclehub.intake.echo import echoes
from lifecyclehub.intake.forgotten import count_anew, maybe_written_by_us, ours_now
from lifecyclehub.intake.observation import Observation
from lifecyclehub.model import FACT_TIMES
from lifecyclehub.store.things import Row, canonical, observed, put

# Facts that a person reads on a timeline: (field, value) -> event. None as value: whenever it is first known.
EVENTS: dict[tuple[str, str], str] = {
    ("deal.status", "won"): "deal.won",
    ("deal.status", "lost"): "deal.lost",
    ("deal.status", "open"): "deal.opened",
    ("project.status", "open"): "project.opened",
    ("project.status", "closed"): "project.closed",
    ("ticket.status", "open"): "ticket.opened",
    ("ticket.status", "solved"): "ticket.solved",
    ("invoice.status", "draft"): "invoice.drafted",
    ("invoice.status", "approved"): "invoice.approved",
    ("invoice.status", "paid"): "invoice.paid",
    ("invoice.status", "void"): "invoice.voided",
}
_TIME_OF = {"deal.status": "created_at", "project.status": "created_at", "ticket.status": "created_at"}


def genuine(batch: Batch, seen: Observation, *, first: bool, thing: Row | None = None, link: Row | None = None) -> dict[str, Any]:
    """Compare each observed field with the mirror and give what is genuine news, by full path.

    As seen before: nothing. As sent by us, also in the tool's own writing: confirmed, once, and that writing is taken
    over. The old value, or an earlier one of ours, while ours is on its way: nothing, but it is looked at again; once the
    tool must have shown ours: somebody has changed it back. Anything else: news. Of a field whose word is ours nothing is
    taken over; a foreign change becomes a finding. At the first sight of a thing every value is news.

    `thing`: whose record it is; `link`: as it was before this look, by which our own forgotten writing is told.
    """
    mirror, is_echo = batch.mirrors.get(seen.key, {}), echoes(seen.rewrites)
    news: dict[str, Any] = {}
    for path, value in seen.values.items():
        now = observed(value)
        row = mirror.get(path)
        ours = path in seen.hub_owned
        if first and not ours:
            news[path] = value
        sent = row["sent"] if row is not None else None
        if row is not None and sent is None and row["seen"] == now:
            continue
        if row is not None and sent is not None and _is_before_ours(row, now, is_echo) and not _changed_back(row, seen):
            batch.look_later(seen.key)
            continue
        batch.set_mirror(seen.key, path, now, None)
        if not ours:
            news[path] = value
        elif row is not None and not (sent is not None and is_echo(sent, now)):
            _foreign(batch, seen, path, row, thing, link)
    return news


def differs(batch: Batch, seen: Observation) -> bool:
    """Tell whether an observation says anything else than what was seen last."""
    mirror = batch.mirrors.get(seen.key, {})
    return any(path not in mirror or mirror[path]["seen"] != observed(value) for path, value in seen.values.items())


def _is_before_ours(row: Row, now: str, is_echo: Callable[[str, str], bool]) -> bool:
    """Tell whether a value was there, or was sent by us, before what is expected."""
    return bool(row["sent"] != now) and (row["seen"] == now or any(is_echo(one, now) for one in row["passed"] or ()))


def _changed_back(row: Row, seen: Observation) -> bool:
    """Tell whether the old value is no longer one that ours has yet to replace."""
    by: datetime | None = row["shown_by"]
    return by is not None and seen.seen_at >= by


def _foreign(batch: Batch, seen: Observation, path: str, row: Row, thing: Row | None, link: Row | None) -> None:
    """Show that a field of ours has another value; where that may be our own of a forgotten time, let ours be written again."""
    now, ours = observed(seen.values[path]), row["sent"] or row["seen"]
    if not maybe_written_by_us(batch, seen, link):
        _drift(batch, seen, path, now, ours, f"{path} was changed in the tool to {now}; ours is {ours}")
        return
    ours = ours_now(thing, seen, path) or ours
    if now != ours:
        count_anew(batch, thing, path)
        whose = "it was changed there, or by the hub in the time that a restore made it forget"
        _drift(batch, seen, path, now, ours, f"{path} is {now} in the tool: {whose}; ours is {ours}")


def _drift(batch: Batch, seen: Observation, path: str, now: str, ours: str, detail: str) -> None:
    batch.findings.append(
        {
            "id": batch.ids.new("fin"),
            "kind": "drift",
            "subject_kind": seen.kind,
            "subject": f"{seen.connection}/{seen.record_id}",
            "about": f"{path}={now}",
            "detail": detail,
            "facts": {"field": path, "seen": now, "ours": ours},
            "at": batch.now,
        }
    )


def without_later_times(kind: str, thing: Row, news: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out that a fact which holds already became true later: a merged record may only tell when it was merged."""
    before = canonical(kind, thing)
    kept = dict(news)
    for (path, value), time_path in FACT_TIMES.items():
        known = before.get(time_path.partition(".")[2])
        holds = before.get(path.partition(".")[2]) == value and news.get(path, value) == value
        if path.startswith(f"{kind}.") and holds and known is not None and (kept.get(time_path) or known) >= known:
            kept.pop(time_path, None)
    return kept


def take_over(batch: Batch, seen: Observation, kind: str, thing: Row, news: Mapping[str, Any], *, first: bool) -> None:
    """Write news into the thing, with the time of each fact and an event for it.

    Where the vendor gives no time, a change that happened before our eyes is dated by our fetch; what was already so
    at first sight stays without a time.
    """
    own = {path.partition(".")[2]: value for path, value in news.items() if path.partition(".")[0] == kind}
    if kind == "teammate":  # known in several tools: one that hides an address or a name takes nothing away
        own = {name: value for name, value in own.items() if value is not None}
    if not own:
        return
    before = canonical(kind, thing)
    for (path, value), time_path in FACT_TIMES.items():
        name, time_name = path.partition(".")[2], time_path.partition(".")[2]
        became = path.startswith(f"{kind}.") and own.get(name) == value and before.get(name) != value
        if became and not first and own.get(time_name) is None:
            own[time_name] = seen.seen_at
    put(kind, thing, own)
    batch.change(kind, thing)
    _note_events(batch, seen, kind, thing, own, before)


def _note_events(
    batch: Batch, seen: Observation, kind: str, thing: Row, own: Mapping[str, Any], before: Mapping[str, Any]
) -> None:
    for name, value in own.items():
        event = EVENTS.get((f"{kind}.{name}", value)) if isinstance(value, str) else None
        if event is not None and before.get(name) != value:
            note_event(batch, event, kind, thing, _fact_time(kind, name, value, thing) or seen.changed_at or seen.seen_at, seen)


def _fact_time(kind: str, name: str, value: str, thing: Row) -> datetime | None:
    path = FACT_TIMES.get((f"{kind}.{name}", value))
    time_name = path.partition(".")[2] if path else _TIME_OF.get(f"{kind}.{name}") if value == "open" else None
    found = canonical(kind, thing).get(time_name) if time_name else None
    return found if isinstance(found, datetime) else None


def note_event(batch: Batch, event: str, kind: str, thing: Row, at: datetime, seen: Observation | None) -> None:
    """Add a canonical fact to the timeline; the same fact of the same time is noted once."""
    batch.events.append(
        {
            "id": batch.ids.new("evt"),
            "kind": event,
            "thing_kind": kind,
            "thing": thing["id"],
            "engagement": thing.get("engagement"),
            "client": thing.get("client"),
            "at": at,
            "seen_at": seen.seen_at if seen else batch.now,
            "notice": seen.notices[-1] if seen and seen.notices else None,
            "facts": {"title": thing.get("title") or thing.get("subject") or thing.get("number") or thing.get("name")},
        }
    )
