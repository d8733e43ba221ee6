"""Switching handoffs: the rule stands in a file, whether and since when it acts stands in the store, with who said so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, func, select

from lifecyclehub.admin.stored import changed
from lifecyclehub.errors import ConfigurationError, NotThere, nearest
from lifecyclehub.handoffs import Handoff, HandoffSet
from lifecyclehub.store import tables
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all, put_all
from lifecyclehub.store.writer import as_operation

if TYPE_CHECKING:
    from lifecyclehub.hub import Hub

STATES = ("off", "on")
LATER = ("shadow", "approval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A handoff with its switch. `known`: it stands in handoffs.toml; `go_live`: facts before that are history to it."""

    id: str
    title: str
    per: str
    state: str
    go_live: datetime | None
    who: str | None
    at: datetime | None
    known: bool = True


def _switch(conn: Connection, row: Row) -> None:
    put_switch(conn, row)
    insert_all(conn, tables.handoff_switch, [row])
    changed(conn)


def put_switch(conn: Connection, row: Row) -> None:
    """Let a switch count, without a word of who made it: also for looking what it would do."""
    put_all(conn, tables.handoff, [{"id": row["handoff"], "state": row["state"], "go_live": row["go_live"]}])


_switching = as_operation(_switch)


async def wanted_switch(hub: Hub, handoff_id: str, state: str, who: str, from_: datetime | None = None) -> Row | None:
    """Give a switch as it would be kept, None when it is so already. Raises ConfigurationError."""
    _refuse_state(handoff_id, state)
    rules, now = hub.rules.handoffs, hub.clock.now()
    if rules.handoff(handoff_id) is None and state == "on":
        mend = nearest(handoff_id, [one.id for one in rules.handoffs], none="The set holds none.")
        raise NotThere(f"there is no handoff {handoff_id!r} in the applied mappings/handoffs.toml.", mend=mend)
    before = {one.id: one for one in await hub.store.read(list_handoffs, rules)}
    if handoff_id not in before:
        raise NotThere(f"there is no handoff {handoff_id!r}.", mend=nearest(handoff_id, before))
    if from_ is not None and (state != "on" or from_ > now):
        raise ConfigurationError(
            "a beginning belongs to switching on, and lies in the past.",
            where=f"handoff {handoff_id}",
            mend="Leave it out: then the facts from now on count.",
        )
    if state == "on" and before[handoff_id].state == "on" and from_ is None:
        return None  # it is on: a second yes must not turn what has come since then into history
    go_live = None if state == "off" else from_ or now
    return {"id": hub.ids.new("swi"), "handoff": handoff_id, "state": state, "go_live": go_live, "who": who, "at": now}


def _refuse_state(handoff_id: str, state: str) -> None:
    if state in LATER:
        raise ConfigurationError(
            f"the state {state} comes in a later version.", where=f"handoff {handoff_id}", mend="For now a handoff is on or off."
        )
    if state not in STATES:
        raise ConfigurationError(f"a handoff is never {state!r}.", where=f"handoff {handoff_id}", mend=nearest(state, STATES))


async def keep_switch(hub: Hub, row: Row) -> None:
    """Switch a handoff, as `wanted_switch` gave it. The running hub takes it over within a second and decides anew."""
    await hub.store.run(_switching, row)


async def set_handoff(hub: Hub, handoff_id: str, state: str, who: str, from_: datetime | None = None) -> Switched:
    """Switch a handoff on or off. On: facts from now count, or from `from_` (aware). Raises ConfigurationError.

    A switch is remembered with who made it.
    """
    row = await wanted_switch(hub, handoff_id, state, who, from_)
    if row is not None:
        await keep_switch(hub, row)
    return await switched(hub, handoff_id)


async def switched(hub: Hub, handoff_id: str) -> Switched:
    """Give a handoff with its switch as it is now."""
    return next(one for one in await hub.store.read(list_handoffs, hub.rules.handoffs) if one.id == handoff_id)


def list_handoffs(conn: Connection, rules: HandoffSet) -> list[Switched]:
    """Give the handoffs of the file in its order, then those that were switched once and are not in the file any more."""
    table = tables.handoff_switch
    last = select(func.max(table.c.id)).group_by(table.c.handoff)
    switches = {row["handoff"]: dict(row) for row in conn.execute(select(table).where(table.c.id.in_(last))).mappings()}
    states = {row["id"]: dict(row) for row in conn.execute(select(tables.handoff)).mappings()}
    known = {one.id: one for one in rules.handoffs}
    return [
        _switched(one, known.get(one), states.get(one), switches.get(one)) for one in [*known, *sorted(set(states) - set(known))]
    ]


def _switched(handoff: str, rule: Handoff | None, state: Row | None, last: Row | None) -> Switched:
    return Switched(
        id=handoff,
        title=rule.title or handoff if rule else "not in mappings/handoffs.toml any more",
        per=rule.per if rule else "",
        state=state["state"] if state else "off",
        go_live=state["go_live"] if state else None,
        who=last["who"] if last else None,
        at=last["at"] if last else None,
        known=rule is not None,
    )


async def redecide(hub: Hub, progress: Callable[[int], None] | None = None) -> int:
    """Decide everything anew with the hub's present rules, and perform what is due. Gives how many engagements it was."""
    return await hub.anew.all(hub.rules, progress)
