"""Step 5, merged: a tool made one record of several, so what was ours several times becomes one.

The surviving record inherits the links. Where the records were different things of ours, the CRM's word counts for
clients, contacts and deals: one of them stays, and everything of the others becomes its own, so that nothing is made or
billed again. In any other tool a person has to say what is meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, Table, and_, delete, or_, select, update

from lifecyclehub.dispatch.claim import release_charges
from lifecyclehub.dispatch.receipt import held_notices
from lifecyclehub.errors import LostRace
from lifecyclehub.intake.batch import Batch, RecordKey
from lifecyclehub.intake.observation import Observation
from lifecyclehub.store import tables
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_new

_effect = tables.effect
_NOT_BEGUN: Final = or_(
    _effect.c.state.in_(("planned", "held")), and_(_effect.c.state == "ready", _effect.c.unsure_since.is_(None))
)
_OF_CLIENT: Final[tuple[Table, ...]] = (
    tables.contact,
    tables.engagement,
    tables.ticket,
    tables.invoice,
    tables.identity_key,
    tables.effect,
    tables.event,
)
_OF_ENGAGEMENT: Final[tuple[Table, ...]] = (
    tables.deal,
    tables.project,
    tables.ticket,
    tables.change,
    tables.charge,
    tables.invoice,
    tables.effect,
    tables.event,
)
_JOINED: Final = ("client", "contact", "deal")


def merge(batch: Batch, into: RecordKey, olds: Iterable[RecordKey], seen: Observation) -> None:
    """Let a record take over from those that were merged into it, and make one thing of theirs."""
    known = [key for key in dict.fromkeys(olds) if key in batch.links and batch.links[key]["merged_into"] != into[2]]
    if not known:
        return
    linked = [batch.links[key] for key in (into, *known) if key in batch.links and batch.links[key]["thing"] is not None]
    for key in known:
        batch.set_link(key, merged_into=into[2], fetched_at=seen.seen_at, answered_at=seen.answered_at)
    if not linked:
        return
    kind, things = linked[0]["thing_kind"], list(dict.fromkeys(link["thing"] for link in linked))
    stays = things[0]
    if len(things) > 1:
        if kind not in _JOINED or not _has_the_word(batch, into[0]):
            _leave_to_a_person(batch, into, kind, things)
        else:
            stays = _first(batch, kind, things)
            for other in things:
                if other != stays:
                    _join(batch, kind, other, stays, seen)
    batch.set_link(into, thing_kind=kind, thing=stays)
    _touch(batch, kind, batch.thing(kind, stays))


def say_parted(batch: Batch, seen: Observation, link: Row) -> None:
    """Tell a person that a merged record stands for itself again: what was joined here is not taken apart by that."""
    detail = (
        f"{seen.kind} {seen.record_id} was merged into {link['merged_into']} and stands for itself again. Both count for the "
        f"{link['thing_kind']} {link['thing']} from now on, and what was cancelled or not billed because of the merge stays so. "
        "Merge them in the tool again where they are one; else enter what is to be apart as a new record there."
    )
    batch.findings.append(
        {
            "id": batch.ids.new("fin"),
            "kind": "double",
            "subject_kind": seen.kind,
            "subject": f"{seen.connection}/{seen.record_id}",
            "about": f"parted from {link['merged_into']}",
            "detail": detail,
            "facts": {"merged into": link["merged_into"], link["thing_kind"]: link["thing"]},
            "at": batch.now,
        }
    )


def _touch(batch: Batch, kind: str, thing: Row | None) -> None:
    if thing is None:
        return
    if kind == "client":
        batch.touched_clients.add(thing["id"])
    elif thing.get("engagement"):
        batch.touched.add(thing["engagement"])


def _has_the_word(batch: Batch, connection: str) -> bool:
    """Tell whether a tool says who is one client: the CRM does."""
    roles = batch.conn.execute(select(tables.connection.c.roles).where(tables.connection.c.id == connection)).scalar()
    return "crm" in (roles or ())


def _leave_to_a_person(batch: Batch, into: RecordKey, kind: str, things: list[str]) -> None:
    detail = (
        f"{into[1]} {into[2]} took over from others, which are {len(things)} {kind}s of ours: {', '.join(things)}. It counts for "
        f"{things[0]} now. Merge them in the CRM too where they are one, or part them here."
    )
    batch.findings.append(
        {
            "id": batch.ids.new("fin"),
            "kind": "double",
            "subject_kind": into[1],
            "subject": f"{into[0]}/{into[2]}",
            "about": ", ".join(things),
            "detail": detail,
            "facts": {"merged into": into[2], kind: things},
            "at": batch.now,
        }
    )


def _first(batch: Batch, kind: str, things: list[str]) -> str:
    """Choose what stays: the one that we met first; of deals the one that something was done for, else the one that is won."""
    if kind == "deal":
        deals = {one: row for one in things if (row := batch.thing("deal", one))}
        engagements = {row["engagement"] for row in deals.values()}
        begun = {
            row["cause"]
            for row in rows(batch.conn, _effect, "engagement", engagements)
            if row["state"] not in ("planned", "held", "ready", "cancelled")
        }
        begun |= {row["deal"] for row in rows(batch.conn, tables.project, "engagement", engagements)}
        return min(deals, key=lambda one: (one not in begun, deals[one]["status"] != "won", one))
    return min(things)


def _join(batch: Batch, kind: str, other: str, stays: str, seen: Observation) -> None:
    """Make everything of one thing another's."""
    fresh = {row["id"] for row in batch.new.get(kind, ())}
    if fresh & {other, stays}:
        raise LostRace("it was met in this very batch; once it is written, it can be merged")
    gone = batch.thing(kind, other)
    if gone is None or batch.thing(kind, stays) is None:
        return
    {"client": _join_clients, "contact": _join_contacts, "deal": _join_deals}[kind](batch, other, stays)
    _relink(batch, kind, other, stays)
    batch.events.append(
        {
            "id": batch.ids.new("evt"),
            "kind": f"{kind}.merged",
            "thing_kind": kind,
            "thing": stays,
            "engagement": (batch.thing(kind, stays) or {}).get("engagement"),
            "client": stays if kind == "client" else None,
            "at": seen.seen_at,
            "seen_at": seen.seen_at,
            "notice": seen.notices[-1] if seen.notices else None,
            "facts": {"title": gone.get("title") or gone.get("name"), "was": other},
        }
    )
    batch.forget(kind, other)
    table = {"client": tables.client, "contact": tables.contact, "deal": tables.deal}[kind]
    batch.conn.execute(delete(table).where(table.c.id == other))


def _relink(batch: Batch, kind: str, other: str, stays: str) -> None:
    link = tables.link
    batch.conn.execute(update(link).where(link.c.thing == other, link.c.thing_kind == kind).values(thing=stays))
    for row in batch.links.values():
        if (row["thing_kind"], row["thing"]) == (kind, other):
            row["thing"] = stays


def _move(batch: Batch, tables_: Iterable[Table], column: str, other: str, stays: str, *also: ColumnElement[bool]) -> None:
    for table in tables_:
        batch.conn.execute(update(table).where(table.c[column] == other, *also).values({column: stays}))
    batch.rename(column, other, stays)


def _cancel(batch: Batch, *of: ColumnElement[bool]) -> None:
    """What has not begun for a thing that is none any more is not done; the one that stays has its own."""
    ended: dict[str, Any] = {"state": "cancelled", "reason": "merged", "detail": "what it was for was merged into another one"}
    drafts = select(_effect.c.thing).where(
        _NOT_BEGUN, *of, _effect.c.action == "create_draft_invoice", _effect.c.thing.is_not(None)
    )
    for invoice in batch.conn.execute(drafts).scalars().all():
        release_charges(batch.conn, invoice)  # it was tried once, and took its charges then
    waited_for = batch.conn.execute(select(_effect.c.id).where(_NOT_BEGUN, *of)).scalars().all()
    batch.conn.execute(update(_effect).where(_NOT_BEGUN, *of).values(**ended, not_before=None))
    held_notices(batch.conn, waited_for)  # a record that came to light and seemed to be of one of these is looked at again


def _join_clients(batch: Batch, other: str, stays: str) -> None:
    moved = rows(batch.conn, tables.engagement, "client", {other}, lock=True)
    batch.touched |= {row["id"] for row in moved}
    _cancel(batch, _effect.c.subject_kind == "client", _effect.c.subject == other)
    _move(batch, _OF_CLIENT, "client", other, stays)
    _move(batch, (tables.client,), "parent", other, stays)
    batch.identities = {key: stays if whose == other else whose for key, whose in batch.identities.items()}
    batch.touched_clients.discard(other)


def _join_contacts(batch: Batch, other: str, stays: str) -> None:
    role = tables.role
    held = rows(batch.conn, role, "contact", {other})
    insert_new(batch.conn, role, [{**row, "contact": stays} for row in held])
    batch.conn.execute(delete(role).where(role.c.contact == other))
    batch.rename("contact", other, stays)


def _join_deals(batch: Batch, other: str, stays: str) -> None:
    """One deal stays, and its engagement; what it is worth is said once, whatever the other one was to bring."""
    conn, charge, line = batch.conn, tables.charge, tables.invoice_line
    _cancel(batch, or_(and_(_effect.c.subject_kind == "deal", _effect.c.subject == other), _effect.c.cause == other))
    for column in ("subject", "cause"):
        of = (_effect.c[f"{column}_kind"] == "deal", _effect.c[column] == other)
        conn.execute(update(_effect).where(*of).values({column: stays}))
    _move(batch, (tables.project, tables.change), "deal", other, stays)
    billed = select(line.c.charge).where(line.c.charge == charge.c.id, line.c.live).exists()
    scope = (charge.c.source_kind == "scope", charge.c.source_id == other)
    conn.execute(update(charge).where(*scope, ~billed).values(due_at=None))
    before, after = (batch.thing("deal", one) or {} for one in (other, stays))
    if before["engagement"] != after["engagement"]:
        _join_engagements(batch, before["engagement"], after["engagement"], other, stays)
    batch.touched.add(after["engagement"])


def _join_engagements(batch: Batch, before: str, after: str, other: str, stays: str) -> None:
    """The engagement of the deal that is none any more joins that of the one that stays, unless other deals need it."""
    conn, engagement, role, period = batch.conn, tables.engagement, tables.role, tables.period
    batch.load("engagement", (before, after))
    left = [row for row in rows(conn, tables.deal, "engagement", {before}) if row["id"] != other]
    needed = left or rows(conn, period, "engagement", {before})
    if needed:
        own = (tables.project.c.deal == stays,)
        conn.execute(update(tables.project).where(tables.project.c.engagement == before, *own).values(engagement=after))
        of = (_effect.c.engagement == before, _effect.c.cause_kind == "deal", _effect.c.cause == stays)
        conn.execute(update(_effect).where(*of).values(engagement=after))
        batch.touched.add(before)
        return
    client = (batch.thing("engagement", before) or {}).get("client")
    row = batch.thing("engagement", after)
    if row is not None and row["client"] is None and client is not None:
        row["client"] = client
        batch.change("engagement", row)
    _move(batch, _OF_ENGAGEMENT, "engagement", before, after)
    held = rows(conn, role, "engagement", {before})
    insert_new(conn, role, [{**one, "engagement": after} for one in held])
    conn.execute(delete(role).where(role.c.engagement == before))
    _move(batch, (engagement,), "follows", before, after, engagement.c.id != after)
    batch.touched.discard(before)
    batch.forget("engagement", before)
    conn.execute(delete(engagement).where(engagement.c.id == before))
