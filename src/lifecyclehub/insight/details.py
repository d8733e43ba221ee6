"""One delivery, one effect: everything that is on record about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from lifecyclehub.insight.advice import effect_advice
from lifecyclehub.insight.filters import not_there
from lifecyclehub.insight.lists import DeliveryItem, EffectItem, NoticeItem, columns_of, delivery_columns
from lifecyclehub.store import tables


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryDetail:
    """A delivery as it came. `body` is its text (bytes that are no UTF-8 are replaced); `headers` without credentials."""

    delivery: DeliveryItem
    headers: dict[str, str]
    body: str
    body_hash: str
    notices: tuple[NoticeItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptItem:
    """One sending, look-up, check or a person's word, and what came of it."""

    id: str
    revision: int
    epoch: int
    what: str
    began_at: datetime
    at: datetime
    bytes_sent: bool | None
    handle: str | None
    status: int | None
    reply: str | None
    outcome: str
    detail: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NeededEffect:
    """An effect that must be done first."""

    id: str
    name: str
    item: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDetail:
    """An effect with its attempts. `request` is frozen once it was first claimed, without credentials; `advice` what to do."""

    effect: EffectItem
    advice: str
    cause_kind: str
    cause: str
    marker: str
    applied_set: str
    epoch: int
    claimed_at: datetime | None
    deadline: datetime | None
    input: dict[str, Any] | None
    request: dict[str, Any] | None
    needs: tuple[NeededEffect, ...]
    attempts: tuple[AttemptItem, ...]


def delivery_detail(conn: Connection, delivery: str) -> DeliveryDetail:
    """Give a delivery with its notices. Raises NotThere."""
    table = tables.delivery
    statement = delivery_columns().add_columns(table.c.headers, table.c.body, table.c.body_hash).where(table.c.id == delivery)
    row = conn.execute(statement).mappings().first()
    if row is None:
        raise not_there("delivery", delivery)
    asked = columns_of(tables.notice, NoticeItem).where(tables.notice.c.delivery == delivery)
    notices = conn.execute(asked.order_by(tables.notice.c.position)).mappings()
    return DeliveryDetail(
        delivery=DeliveryItem(**{name: row[name] for name in DeliveryItem.__slots__}),
        headers=row["headers"],
        body=bytes(row["body"]).decode("utf-8", "replace"),
        body_hash=row["body_hash"],
        notices=tuple(NoticeItem(**dict(one)) for one in notices),
    )


def effect_detail(conn: Connection, effect: str) -> EffectDetail:
    """Give an effect with its needs and attempts. Raises NotThere."""
    table = tables.effect
    row = conn.execute(select(table).where(table.c.id == effect)).mappings().first()
    if row is None:
        raise not_there("effect", effect)
    needed = columns_of(table, NeededEffect).join(tables.need, tables.need.c.needed == table.c.id)
    needed = needed.where(tables.need.c.effect == effect).order_by(table.c.id)
    attempts = columns_of(tables.attempt, AttemptItem).where(tables.attempt.c.effect == effect)
    return EffectDetail(
        effect=EffectItem(**{name: row[name] for name in EffectItem.__slots__}),
        advice=effect_advice(row["state"], row["reason"]),
        cause_kind=row["cause_kind"],
        cause=row["cause"],
        marker=row["marker"],
        applied_set=row["applied_set"],
        epoch=row["epoch"],
        claimed_at=row["claimed_at"],
        deadline=row["deadline"],
        input=row["input"],
        request=row["body"],
        needs=tuple(NeededEffect(**dict(one)) for one in conn.execute(needed).mappings()),
        attempts=tuple(AttemptItem(**dict(one)) for one in conn.execute(attempts.order_by(tables.attempt.c.id)).mappings()),
    )
