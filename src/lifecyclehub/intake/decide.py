"""Step 6, decide, in the same operation as step 5: derive stages and charges, then plan what is due.

Decide looks at state, so it runs after every settle, also when nothing differed, and after a switch, mapping or link
changed. The way by which news arrived never changes the answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from lifecyclehub.dispatch.plan import Planner
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.handoffs import Derived
from lifecyclehub.insight.view import stage_facts, standing_facts
from lifecyclehub.insight.world import read_world
from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.intake.settle import Settle, end_notices
from lifecyclehub.intake.waiting import join_waiting_tickets
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.state import State, load_client_states, load_states, rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new
from lifecyclehub.vault.erased import ErasedPeople

_STAGE = Write(
    update(tables.engagement)
    .where(tables.engagement.c.id == bindparam("which"))
    .values(stage=bindparam("new_stage"), stage_since=bindparam("since"), version=bindparam("new_version"), undecided=False)
)
_STANDING = Write(
    update(tables.client)
    .where(tables.client.c.id == bindparam("which"))
    .values(standing=bindparam("new_standing"), standing_since=bindparam("since"))
)
_STAGES_OF = Query(
    select(tables.engagement.c.client, tables.engagement.c.stage, tables.engagement.c.kind).distinct(),
    tables.engagement.c.client,
)
_FREE = Write(update(tables.invoice_line).where(tables.invoice_line.c.invoice == bindparam("of")).values(live=False))
_NEWEST_FACT = Query(
    select(tables.engagement.c.client, func.max(tables.event.c.at, type_=tables.event.c.at.type).label("at"))
    .join(tables.event, tables.event.c.engagement == tables.engagement.c.id)
    .group_by(tables.engagement.c.client),
    tables.engagement.c.client,
)
_SCOPE = ("engagement", "project", "description", "amount_minor", "amount_currency", "due_at")
_BRING_UP_TO_DATE = Write(
    update(tables.charge)
    .where(tables.charge.c.id == bindparam("which"))
    .values({name: bindparam(f"new_{name}") for name in _SCOPE})
)
_SCOPED = ("fixed",)
_NONE_MET: Mapping[str, State] = {}
_TICK = timedelta(microseconds=1)


class SettleAndDecide:
    """The operation of steps 5 and 6."""

    def __init__(self, rules: Rules, ids: Ids, clock: Clock, people: ErasedPeople | None = None) -> None:
        self._rules, self._ids, self._clock = rules, ids, clock
        self._settle = Settle(ids, clock, people)

    def __call__(self, conn: Connection, observations: Sequence[Observation]) -> list[Settled]:
        """Settle and decide; each result carries the effects that may be sent now."""
        batch, results = self._settle(conn, observations)
        end_notices(conn, self._clock, list(zip((one.notices for one in observations), results, strict=True)))
        ready = decide(conn, self._rules, self._ids, self._clock.now(), batch.touched, batch.touched_clients, batch.met())
        if ready and results:
            last = results[-1]
            results[-1] = replace(last, ready=tuple(ready))
        return results


class Decide:
    """Decides anew for what did not change by news: after a switch or mapping changed, or a receipt linked something."""

    def __init__(self, rules: Rules, ids: Ids, clock: Clock) -> None:
        self._rules, self._ids, self._clock = rules, ids, clock

    def __call__(self, conn: Connection, items: Sequence[tuple[Collection[str], Collection[str]]]) -> list[list[Prepared]]:
        """Take pairs (engagements, clients), all at once; the last result carries the effects that may be sent now."""
        engagements = {one for pair in items for one in pair[0]}
        clients = {one for pair in items for one in pair[1]}
        ready = decide(conn, self._rules, self._ids, self._clock.now(), engagements, clients)
        return [[] for _ in items[1:]] + [ready]


def decide(
    conn: Connection,
    rules: Rules,
    ids: Ids,
    now: datetime,
    engagements: Collection[str],
    clients: Collection[str],
    met: Mapping[str, State] = _NONE_MET,
) -> list[Prepared]:
    """Derive and plan for some engagements and clients. `met`: those that were made in this transaction, with all of theirs."""
    joined = join_waiting_tickets(conn, ids, now, engagements)
    met = {one: state for one, state in met.items() if one not in joined}
    states = load_states(conn, {*engagements, *joined}, lock=True, met=met)
    _free_charges(conn, states.values())
    _scope_charges(conn, ids, states.values())
    _derive_stages(conn, rules, now, states)
    planner = Planner(conn, rules, read_world(conn), ids, now)
    ready = planner.decide(states.values())
    read = {state.client["id"]: state.client for state in states.values() if state.client}
    touched = {*clients, *read}
    changed = _derive_standings(conn, rules, now, touched, read)
    if rules.handoffs.per("client"):
        ready += planner.decide_clients(load_client_states(conn, changed | set(clients)).values())
    planner.write()
    return ready


def _free_charges(conn: Connection, states: Iterable[State]) -> None:
    """What stood on an invoice that is void now may be billed again."""
    freed = []
    for state in states:
        void = {one["id"] for one in state.invoices if one["status"] == "void"}
        for line in state.lines:
            if line["live"] and line["invoice"] in void:
                line["live"] = False
                freed.append({"of": line["invoice"]})
    if freed:
        _FREE.run(conn, freed)


def _scope_charges(conn: Connection, ids: Ids, states: Iterable[State]) -> None:
    """The agreed value of a won deal is one charge; it is due when the deal's project is closed."""
    new: list[Row] = []
    changed: list[Row] = []
    for state in states:
        known = {row["source_id"]: row for row in state.charges if row["source_kind"] == "scope"}
        billed = {line["charge"] for line in state.lines if line["live"]}
        for deal in state.deals:
            charge = known.get(deal["id"])
            wanted = _scope_of(state, deal)
            if charge is None and wanted is not None:
                charge = {"id": ids.new("chg"), "source_kind": "scope", "source_id": deal["id"], "part": "", **wanted}
                state.charges.append(charge)
                new.append(charge)
            elif charge is not None and charge["id"] not in billed:
                # Not won any more, or its value was taken away: what is not billed yet is not due either.
                news = wanted if wanted is not None else {"due_at": None}
                if any(charge[name] != value for name, value in news.items()):
                    charge |= news
                    changed.append(charge)
    insert_new(conn, tables.charge, new)
    _BRING_UP_TO_DATE.run(conn, [{"which": one["id"], **{f"new_{name}": one[name] for name in _SCOPE}} for one in changed])


def _scope_of(state: State, deal: Row) -> Row | None:
    if deal["status"] != "won" or not deal["value_minor"] or state.engagement["billing"] not in _SCOPED:
        return None
    project = next((one for one in state.projects if one["deal"] == deal["id"]), None)
    return {
        "engagement": state.engagement["id"],
        "project": project["id"] if project else None,
        "description": deal["title"] or "Agreed work",
        "amount_minor": deal["value_minor"],
        "amount_currency": deal["value_currency"],
        "due_at": project["closed_at"] if project is not None and project["status"] == "closed" else None,
    }


def _derive_stages(conn: Connection, rules: Rules, now: datetime, states: Mapping[str, State]) -> None:
    """Bring every engagement's stage up to date, and its version: whoever prepared something from it looks again."""
    values = []
    for state in states.values():
        row = state.engagement
        derived = rules.handoffs.lifecycle.stage(stage_facts(rules, state, now))
        stage = derived.value if isinstance(derived, Derived) else row["stage"]
        since = row["stage_since"] if stage == row["stage"] and row["stage_since"] else now
        row |= {"stage": stage, "stage_since": since, "version": row["version"] + 1}
        values.append({"which": row["id"], "new_stage": stage, "since": since, "new_version": row["version"]})
    if values:
        _STAGE.run(conn, values)


def _known_since(conn: Connection, clients: Collection[str]) -> dict[str, datetime]:
    """Date a first standing by the newest fact that it rests on, not by when we looked: nothing acts on history."""
    if not clients:
        return {}
    return {row["client"]: row["at"] for row in _NEWEST_FACT.each(conn, clients)}


def _since(client: Row, known: Mapping[str, datetime], now: datetime) -> datetime:
    """Give the time of a new standing: later than the one before, also when our clock was put back meanwhile."""
    before: datetime | None = client["standing_since"]
    return known.get(client["id"], now) if before is None else max(now, before + _TICK)


def _derive_standings(
    conn: Connection, rules: Rules, now: datetime, clients: Collection[str], read: Mapping[str, Row]
) -> set[str]:
    """Bring the standing of clients up to date; give those whose standing changed. `read`: those that are at hand."""
    engagements: dict[str, list[dict[str, Any]]] = {}
    for row in _STAGES_OF.each(conn, clients):
        engagements.setdefault(row["client"], []).append(row)
    values = []
    others = rows(conn, tables.client, "id", [one for one in clients if one not in read])
    found = [*(read[one] for one in sorted(read)), *others]
    known = _known_since(conn, [client["id"] for client in found if client["standing_since"] is None])
    for client in found:
        derived = rules.handoffs.lifecycle.standing(standing_facts(rules, client, engagements.get(client["id"], []), now))
        if isinstance(derived, Derived) and (derived.value != client["standing"] or client["standing_since"] is None):
            values.append({"which": client["id"], "new_standing": derived.value, "since": _since(client, known, now)})
    if values:
        _STANDING.run(conn, values)
    return {value["which"] for value in values}
