"""`explain <thing>`: why it is as it is, why something was done for it, and why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, or_, select

from lifecyclehub.errors import NotThere, nearest
from lifecyclehub.handoffs import Derived
from lifecyclehub.insight.advice import delivery_advice, effect_advice, notice_advice
from lifecyclehub.insight.clients import links_of
from lifecyclehub.insight.decisions import HandoffWhy, handoffs_for
from lifecyclehub.insight.details import DeliveryDetail, EffectDetail, delivery_detail, effect_detail
from lifecyclehub.insight.filters import not_there
from lifecyclehub.insight.findings import INVITE, findings_about, settled_words, unassigned_detail
from lifecyclehub.insight.lists import LinkItem, NoticeItem, columns_of
from lifecyclehub.insight.teammates import assigns
from lifecyclehub.insight.values import Values, ValueWhy
from lifecyclehub.insight.view import Subject, stage_facts, standing_facts
from lifecyclehub.insight.world import read_world
from lifecyclehub.mapping import Undecided
from lifecyclehub.model import THINGS
from lifecyclehub.model.times import told
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import State, load_client_states, load_states, rows
from lifecyclehub.store.things import TABLES, Row

_LAST_NOTICES: Final = 5
_THINGS: Final = {
    "cli": "client",
    "con": "contact",
    "dea": "deal",
    "tea": "teammate",
    "pro": "project",
    "tic": "ticket",
    "inv": "invoice",
}
_SUBJECTS: Final = ("deal", "project", "ticket")
FORMS: Final = (
    "Give an id as the hub shows it (cli_…, eng_…, dea_…, pro_…, tic_…, inv_…, tea_…, eff_…, ntc_…, dlv_…), one field of a thing "
    "(dea_…:deal.status), a record's address in its tool, or connection/kind/record id."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer. `lines` say it in sentences; the rest is what they rest on, where it applies to what was asked."""

    asked: str
    kind: str
    id: str
    title: str | None
    lines: tuple[str, ...]
    values: tuple[ValueWhy, ...] = ()
    links: tuple[LinkItem, ...] = ()
    handoffs: tuple[HandoffWhy, ...] = ()
    effect: EffectDetail | None = None
    delivery: DeliveryDetail | None = None
    notices: tuple[NoticeItem, ...] = ()


def explain(conn: Connection, rules: Rules, asked: str, now: datetime) -> Explanation:
    """Explain a thing, a field of one, an effect, a notice, a delivery, or a vendor's record. Raises NotThere."""
    asked = asked.strip()
    one = _Explainer(conn, rules, asked, now)
    thing, _, field = asked.partition(":")
    prefix = thing.partition("_")[0]
    if asked.startswith(("http://", "https://")):
        return one.record(_links_at(conn, asked))
    if "/" in asked:
        return one.record(_named_link(conn, asked))
    if prefix in _THINGS and "_" in thing:
        return one.thing(_THINGS[prefix], thing, field)
    others: dict[str, Callable[[str], Explanation]] = {
        "eng": one.engagement,
        "eff": one.effect,
        "ntc": one.notice,
        "dlv": one.delivery,
    }
    if prefix not in others:
        raise NotThere(f"nothing is called {asked!r}.", mend=FORMS)
    return others[prefix](thing)


def _quoted(one: ValueWhy) -> str:
    return repr(one.value) if isinstance(one.value, str) else one.text


class _Explainer:
    """Answers one question."""

    def __init__(self, conn: Connection, rules: Rules, asked: str, now: datetime) -> None:
        self._conn, self._rules, self._asked, self._now = conn, rules, asked, now

    # --- things ---------------------------------------------------------------------------------------------------------

    def thing(self, kind: str, thing: str, field: str = "") -> Explanation:
        row = self._row(TABLES[kind], thing, kind)
        name = field.removeprefix(f"{kind}.") if field else None
        if name is not None and name not in THINGS[kind] and not name.startswith("custom."):
            raise NotThere(f"a {kind} has no field {field!r}.", mend=nearest(name, THINGS[kind]))
        title = row.get("title") or row.get("name") or row.get("subject") or row.get("number")
        values = Values(self._conn, self._rules, kind, row).explain(name)
        links = links_of(self._conn, (thing,)).get(thing, ())
        lines = [self._standing_line(row)] if kind == "client" and name in (None, "standing") else []
        if field:
            lines += [f"{one.path} is {_quoted(one)}: {one.because}" for one in values]
            said = tuple(lines)
            return Explanation(asked=self._asked, kind="field", id=thing, title=title, lines=said, values=values, links=links)
        lines += [*self._link_lines(kind, links), *self._finding_lines({(kind, thing)}, links)]
        handoffs, decided = self._handoffs(kind, row)
        return Explanation(
            asked=self._asked,
            kind=kind,
            id=thing,
            title=title,
            lines=(*lines, *decided),
            values=values,
            links=links,
            handoffs=handoffs,
        )

    def engagement(self, engagement: str) -> Explanation:
        state = load_states(self._conn, {engagement}).get(engagement)
        if state is None:
            raise not_there("engagement", engagement)
        row = state.engagement
        derived = self._rules.handoffs.lifecycle.stage(stage_facts(self._rules, state, self._now))
        world = read_world(self._conn)
        handoffs = tuple(
            why
            for kind in _SUBJECTS
            for thing in state.things(kind)
            for why in handoffs_for(self._rules, world, Subject(kind, thing, state), self._now)
        )
        opened = f"It was opened by {state.deals[0]['id']}." if state.deals else "No deal opened it."
        return Explanation(
            asked=self._asked,
            kind="engagement",
            id=engagement,
            title=row["title"],
            lines=(opened, _derived("stage", row["stage"], derived), *map(_handoff_line, handoffs)),
            handoffs=handoffs,
        )

    def _row(self, table: Any, identity: str, kind: str) -> Row:
        found = rows(self._conn, table, "id", {identity})
        if not found:
            raise not_there(kind, identity)
        return found[0]

    def _standing_line(self, row: Row) -> str:
        engagements = rows(self._conn, tables.engagement, "client", {row["id"]})
        derived = self._rules.handoffs.lifecycle.standing(standing_facts(self._rules, row, engagements, self._now))
        return _derived("standing", row["standing"], derived)

    @staticmethod
    def _link_lines(kind: str, links: tuple[LinkItem, ...]) -> list[str]:
        if not links:
            return [f"No record in any tool is linked to this {kind}."]
        ended = [f"{one.kind} {one.record_id} is gone in its tool." for one in links if one.deleted_at is not None]
        return ended + [f"{one.kind} {one.record_id} was merged into {one.merged_into}." for one in links if one.merged_into]

    def _finding_lines(self, subjects: set[tuple[str, str]], links: tuple[LinkItem, ...]) -> list[str]:
        records = {(one.kind, f"{one.connection}/{one.record_id}") for one in links}
        found = findings_about(self._conn, subjects | records)
        return [f"{one['kind'].capitalize()}, {one['about']}: {one['detail']}{settled_words(one)}" for one in found]

    def _handoffs(self, kind: str, row: Row) -> tuple[tuple[HandoffWhy, ...], list[str]]:
        """Explain each handoff for a thing that handoffs are per, and say where there is nothing to decide about."""
        state: State | None
        if kind == "client":
            state = load_client_states(self._conn, {row["id"]}, lock=False).get(row["id"])
        elif kind in _SUBJECTS and row["engagement"]:
            state = load_states(self._conn, {row["engagement"]}).get(row["engagement"])
        else:
            waits = "It has joined no project yet, so no handoff looks at it: it waits for one of its client's."
            return (), [waits] if kind == "ticket" else []
        if state is None:
            return (), []
        thing = next(one for one in state.things(kind) if one["id"] == row["id"])
        found = handoffs_for(self._rules, read_world(self._conn), Subject(kind, thing, state), self._now)
        return found, [_handoff_line(one) for one in found]

    # --- what is done, and what came in ---------------------------------------------------------------------------------

    def effect(self, effect: str) -> Explanation:
        detail = effect_detail(self._conn, effect)
        row = detail.effect
        world = read_world(self._conn)
        handoff = self._rules.handoffs.handoff(row.handoff)
        switch = world.switches.get(row.handoff) or {"state": "off", "go_live": None}
        since = f", acting since {told(switch['go_live'])}" if switch["go_live"] else ""
        rule = f"{handoff.title}: {handoff.when.text}" if handoff else "it is not in handoffs.toml any more"
        lines = [
            f"The handoff {row.handoff} ({switch['state']}{since}) planned it for {detail.cause_kind} {detail.cause}. {rule}.",
            f"Its fact became true {told(row.fact_at) if row.fact_at else 'at an unknown time'}.",
            f"Its key is {row.key}: nothing else with this key is ever done.",
            f"It is {row.state}{_because(row.reason, row.detail)} {effect_advice(row.state, row.reason)}",
        ]
        waits = [one for one in detail.needs if one.state != "done"]
        lines += self._owner_lines(detail)
        lines += [f"It waits for {one.name} {one.item}".rstrip() + f" ({one.id}, {one.state})." for one in waits]
        lines += [_attempt_line(one.at, one.what, one.outcome, one.detail) for one in detail.attempts]
        lines += self._finding_lines({("effect", effect)}, ())
        return Explanation(
            asked=self._asked, kind="effect", id=effect, title=f"{row.role}.{row.action}", lines=tuple(lines), effect=detail
        )

    def _owner_lines(self, detail: EffectDetail) -> list[str]:
        """Say who the owner is in the acting tool, or that they are nobody there."""
        owner = (detail.input or {}).get("owner")
        connection = read_world(self._conn).connections.get(detail.effect.connection or "")
        if not owner or connection is None or not assigns(self._rules.abouts.get(connection["connector"])):
            return []
        if owner.get("record") is None:
            return [f"{unassigned_detail(owner['email'], connection['name'])} {INVITE}"]
        return [f"Its owner {owner['email']} is {owner['record']} in {connection['name']}."]

    def notice(self, notice: str) -> Explanation:
        row = self._conn.execute(columns_of(tables.notice, NoticeItem).where(tables.notice.c.id == notice)).mappings().first()
        if row is None:
            raise not_there("notice", notice)
        one = NoticeItem(**dict(row))
        links = self._links_of_record(one.connection, one.kind, one.record_id)
        said = [f"{one.kind} {one.record_id} may have {one.change}, says the delivery {one.delivery}.", _notice_line(one)]
        said += [f"The record is our {link.thing_kind} {link.thing}." for link in links if link.thing]
        return Explanation(
            asked=self._asked,
            kind="notice",
            id=notice,
            title=f"{one.kind} {one.record_id}",
            lines=tuple(said),
            links=links,
            notices=(one,),
        )

    def delivery(self, delivery: str) -> Explanation:
        detail = delivery_detail(self._conn, delivery)
        row = detail.delivery
        came = f"at {row.endpoint}" if row.endpoint else f"by looking through {row.connection}"
        lines = [
            f"It came from {row.connector} {told(row.received_at)} ({row.way}, {came}), {row.size} bytes.",
            f"It is {row.state}{_because(row.reason, None)} {delivery_advice(row.state)}",
            *(_notice_line(one) for one in detail.notices),
        ]
        return Explanation(
            asked=self._asked,
            kind="delivery",
            id=delivery,
            title=row.connector,
            lines=tuple(lines),
            delivery=detail,
            notices=detail.notices,
        )

    # --- records --------------------------------------------------------------------------------------------------------

    def record(self, found: tuple[str, str, str]) -> Explanation:
        connection, kind, record_id = found
        links = self._links_of_record(connection, kind, record_id)
        table = tables.notice
        asked = columns_of(table, NoticeItem).where(
            table.c.connection == connection, table.c.kind == kind, table.c.record_id == record_id
        )
        last = self._conn.execute(asked.order_by(table.c.id.desc()).limit(_LAST_NOTICES)).mappings()
        notices = tuple(NoticeItem(**dict(one)) for one in last)
        if not links and not notices:
            named = self._conn.execute(select(tables.connection.c.name).where(tables.connection.c.id == connection)).scalar()
            raise NotThere(f"nothing was ever heard of {kind} {record_id} on {named}.", mend="Change it in its tool.")
        owner = next((link for link in links if link.thing and link.thing_kind in TABLES), None)
        if owner is not None and owner.thing_kind is not None and owner.thing is not None:
            whole = self.thing(owner.thing_kind, owner.thing)
            said = f"{kind} {record_id} is our {owner.thing_kind} {owner.thing}."
            lines = (said, *map(_notice_line, notices), *whole.lines)
            return Explanation(
                asked=self._asked,
                kind="record",
                id=owner.thing,
                title=whole.title,
                lines=lines,
                values=whole.values,
                links=links,
                handoffs=whole.handoffs,
                notices=notices,
            )
        said = f"{kind} {record_id} belongs to nobody: nothing links or matches it, so nothing is done for it."
        return Explanation(
            asked=self._asked,
            kind="record",
            id="/".join(found),
            title=None,
            lines=(said, *map(_notice_line, notices), *self._finding_lines(set(), links)),
            links=links,
            notices=notices,
        )

    def _links_of_record(self, connection: str | None, kind: str, record_id: str) -> tuple[LinkItem, ...]:
        table = tables.link
        statement = columns_of(table, LinkItem).where(
            table.c.connection == connection, table.c.kind == kind, table.c.record_id == record_id
        )
        return tuple(LinkItem(**dict(one)) for one in self._conn.execute(statement).mappings())


def _derived(what: str, value: str, derived: Derived | Undecided) -> str:
    """Say which rule of lifecycle.toml gave a value, also when a rule gives another one by now."""
    if isinstance(derived, Undecided):
        return f"Its {what} stays {value}: lifecycle.toml cannot be answered, {derived.reason}."
    if derived.value != value:
        return f"Its {what} is {value}, and becomes {derived.value} with the next look, by lifecycle.toml: {derived.because}."
    return f"Its {what} is {value}, by the first rule of lifecycle.toml that holds: {derived.because}."


def _handoff_line(one: HandoffWhy) -> str:
    done = [f"{effect.name} {effect.item}".rstrip() + f" {effect.state}" for effect in one.effects]
    return f"{one.handoff} for {one.subject}: {one.verdict}. {one.reason}" + (f" Effects: {', '.join(done)}." if done else "")


def _because(reason: str | None, detail: str | None) -> str:
    said = ": ".join(one for one in (reason, detail) if one)
    return f" ({said.removesuffix('.')})." if said else "."


def _notice_line(one: NoticeItem) -> str:
    return f"{one.id} is {one.state}{_because(one.reason, one.detail)} {notice_advice(one.state, one.reason)}"


def _attempt_line(at: datetime, what: str, outcome: str, detail: str | None) -> str:
    return f"{told(at)}: {what}, {outcome}{_because(None, detail)}"


def _links_at(conn: Connection, address: str) -> tuple[str, str, str]:
    """Find the record at an address; a trailing slash or a query more or less does not matter."""
    table = tables.link
    bare = address.partition("?")[0].partition("#")[0].rstrip("/")
    wanted = or_(*(table.c.address == one for one in {address, bare, f"{bare}/"}))
    row = conn.execute(select(table.c.connection, table.c.kind, table.c.record_id).where(wanted)).first()
    if row is None:
        raise NotThere(f"no record at {address} is known.", mend="Give connection/kind/record id, or look it up in the links.")
    return row.connection, row.kind, row.record_id


def _named_link(conn: Connection, asked: str) -> tuple[str, str, str]:
    parts = asked.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise NotThere(f"{asked!r} names no record.", mend=FORMS)
    table = tables.connection
    row = conn.execute(select(table.c.id).where(or_(table.c.id == parts[0], table.c.name == parts[0]))).first()
    if row is None:
        raise NotThere(f"there is no connection {parts[0]!r}.", mend=FORMS)
    return row.id, parts[1], parts[2]
