"""What came in and what is done, in pages: newest first, with filters and an opaque cursor."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, Literal, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table, func, or_, select, tuple_

from lifecyclehub.errors import ConfigurationError
from lifecyclehub.insight.filters import refuse_unknown
from lifecyclehub.store import tables

T = TypeVar("T")
DeliveryState = Literal["open", "held", "split", "parked"]
NoticeState = Literal["open", "held", "processed", "ignored", "parked"]
EffectState = Literal["planned", "held", "ready", "in flight", "in doubt", "done", "parked", "cancelled"]
Standing = Literal["lead", "contact", "client", "former"]
Stage = Literal["intake", "proposal", "onboarding", "delivery", "billing", "finished", "lost"]
DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200


class UnknownCursor(ConfigurationError):
    """The cursor is not one that this list gave."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page: after a cursor, at most so many items."""

    cursor: str | None = None
    limit: int = DEFAULT_LIMIT


FIRST: Final = Asked()


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One page. `next` is the cursor of the page after it, None on the last one."""

    items: tuple[T, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryItem:
    """One inbound request or one swept page. `size` in bytes; `state` is open, held, split or parked."""

    id: str
    connector: str
    connection: str | None
    endpoint: str | None
    way: str
    door: str
    vendor_key: str | None
    received_at: datetime
    size: int
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeItem:
    """One entry of a delivery: this record may have changed. `state` is open, held, processed, ignored or parked."""

    id: str
    delivery: str
    position: int
    connector: str
    connection: str | None
    account: str | None
    kind: str
    record_id: str
    change: str
    into: str | None
    at: datetime | None
    version: str | None
    actor: str | None
    state: str
    reason: str | None
    detail: str | None
    attempts: int
    not_before: datetime | None
    kept_at: datetime
    done_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectItem:
    """One intended act in a tool. `role` and `action` say what, `subject` for what, `record_id` and `address` what came of it."""

    id: str
    key: str
    handoff: str
    name: str
    item: str
    round: int
    role: str
    action: str
    subject_kind: str
    subject: str
    engagement: str | None
    client: str | None
    connection: str | None
    target: str | None
    state: str
    reason: str | None
    detail: str | None
    revision: int
    attempts: int
    fact_at: datetime | None
    planned_at: datetime
    not_before: datetime | None
    done_at: datetime | None
    record_id: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkItem:
    """Our thing and their record. A link without a thing is a record that we know and that is nobody's."""

    connection: str
    kind: str
    record_id: str
    thing_kind: str | None
    thing: str | None
    address: str | None
    version: str | None
    changed_at: datetime | None
    fetched_at: datetime | None
    deleted_at: datetime | None
    merged_into: str | None


def list_deliveries(
    conn: Connection,
    page: Asked = FIRST,
    *,
    state: str | None = None,
    connection: str | None = None,
    way: str | None = None,
) -> Listed[DeliveryItem]:
    """Give deliveries, newest first. `connection` is an id. Raises UnknownCursor."""
    table = tables.delivery
    statement = _filtered(delivery_columns(), table, state=state, way=way)
    if connection is not None:
        own = select(tables.endpoint.c.id).where(tables.endpoint.c.connection == connection)
        statement = statement.where(or_(table.c.connection == connection, table.c.endpoint.in_(own)))
    return _page(conn, statement, table, DeliveryItem, page)


def delivery_columns() -> Select[Any]:
    """Select what a delivery's item shows."""
    table = tables.delivery
    names = [name for name in DeliveryItem.__slots__ if name != "size"]
    return select(*(table.c[name] for name in names), func.length(table.c.body).label("size"))


def list_notices(
    conn: Connection,
    page: Asked = FIRST,
    *,
    state: str | None = None,
    connection: str | None = None,
    kind: str | None = None,
    record_id: str | None = None,
    delivery: str | None = None,
) -> Listed[NoticeItem]:
    """Give notices, newest first. Raises UnknownCursor, and NotThere for a filter that can match nothing."""
    refuse_unknown(conn, kind=kind, delivery=delivery)
    wanted = {"state": state, "connection": connection, "kind": kind, "record_id": record_id, "delivery": delivery}
    return listed(conn, tables.notice, NoticeItem, page, **wanted)


def list_effects(
    conn: Connection,
    page: Asked = FIRST,
    *,
    state: str | None = None,
    connection: str | None = None,
    handoff: str | None = None,
    action: str | None = None,
    engagement: str | None = None,
    subject: str | None = None,
) -> Listed[EffectItem]:
    """Give effects, newest first. Raises UnknownCursor, and NotThere for a filter that can match nothing."""
    refuse_unknown(conn, handoff=handoff, action=action, engagement=engagement, thing=subject)
    wanted = {"state": state, "connection": connection, "handoff": handoff, "action": action}
    wanted |= {"engagement": engagement, "subject": subject}
    return listed(conn, tables.effect, EffectItem, page, **wanted)


def list_links(
    conn: Connection,
    page: Asked = FIRST,
    *,
    connection: str | None = None,
    kind: str | None = None,
    thing: str | None = None,
    linked: bool | None = None,
) -> Listed[LinkItem]:
    """Give links by connection, kind and record id. `linked` False: records that are nobody's.

    Raises UnknownCursor, and NotThere for a filter that can match nothing.
    """
    refuse_unknown(conn, kind=kind, thing=thing)
    table = tables.link
    statement = _filtered(columns_of(table, LinkItem), table, connection=connection, kind=kind, thing=thing)
    if linked is not None:
        statement = statement.where(table.c.thing.is_not(None) if linked else table.c.thing.is_(None))
    key = (table.c.connection, table.c.kind, table.c.record_id)
    after = _read_cursor(page.cursor, "link", len(key))
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*after))
    found = [LinkItem(**dict(row)) for row in conn.execute(statement.order_by(*key).limit(page.limit + 1)).mappings()]
    last = found[page.limit - 1] if len(found) > page.limit else None
    return Listed(tuple(found[: page.limit]), _cursor("link", last.connection, last.kind, last.record_id) if last else None)


def listed(
    conn: Connection, table: Table, shape: type[T], page: Asked, *where: ColumnElement[Any], **equal: str | None
) -> Listed[T]:
    """Give a page of a table with ids, newest first, filtered by conditions and equal columns. Raises UnknownCursor."""
    return _page(conn, _filtered(columns_of(table, shape), table, **equal).where(*where), table, shape, page)


def columns_of(table: Table, shape: type[Any]) -> Select[Any]:
    """Select a table's columns that a dataclass shows."""
    return select(*(table.c[name] for name in shape.__slots__))


def _filtered(statement: Select[Any], table: Table, **equal: str | None) -> Select[Any]:
    return statement.where(*(table.c[name] == value for name, value in equal.items() if value is not None))


def _page(conn: Connection, statement: Select[Any], table: Table, shape: type[T], page: Asked) -> Listed[T]:
    """Give a page by id, newest first: ids sort by the time they were made."""
    after = _read_cursor(page.cursor, table.name, 1)
    if after is not None:
        statement = statement.where(table.c.id < after[0])
    rows = list(conn.execute(statement.order_by(table.c.id.desc()).limit(page.limit + 1)).mappings())
    more = _cursor(table.name, rows[page.limit - 1]["id"]) if len(rows) > page.limit else None
    return Listed(tuple(shape(**dict(row)) for row in rows[: page.limit]), more)


def _cursor(name: str, *after: str) -> str:
    return urlsafe_b64encode(json.dumps([name, *after]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str | None, name: str, parts: int) -> Sequence[str] | None:
    if cursor is None:
        return None
    try:
        found = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        found = None
    fits = isinstance(found, list) and len(found) == parts + 1 and found[0] == name
    if not fits or not all(isinstance(one, str) for one in found):
        raise UnknownCursor("This list gave no such cursor. Take `next` of its last answer, or begin without a cursor.")
    return [str(one) for one in found[1:]]
