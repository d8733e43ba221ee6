"""Why a value is what it is: the record that told it, the look that brought it, the line of the mapping that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, select

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import Mapped, Origin
from lifecyclehub.model import FACT_TIMES, Money
from lifecyclehub.model.times import told
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.documents import document_from_json
from lifecyclehub.store.state import rows
from lifecyclehub.store.things import Row, canonical, observed

DERIVED: Final = ("client.standing",)
_LOOKS = 25  # how many looks at a record are gone back over for the one that brought a value


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a record: when, through which notice and delivery it came about, and which mapping read it then."""

    snapshot: str
    connection: str
    kind: str
    record_id: str
    address: str | None
    began_at: datetime
    changed_at: datetime | None
    mapping_version: str | None
    mapping_is_present: bool
    notice: str | None
    delivery: str | None
    way: str | None
    received_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueWhy:
    """Why a field has its value, and how people write that value.

    `file`, `expression`, `steps` and `raw` are the mapping's line and what it found.
    """

    path: str
    value: Any
    because: str
    text: str = ""
    look: Look | None = None
    file: str | None = None
    expression: str | None = None
    steps: tuple[str, ...] = ()
    raw: Any = None
    effect: str | None = None


class Values:
    """Explains the values of one thing."""

    def __init__(self, conn: Connection, rules: Rules, kind: str, row: Row) -> None:
        self._conn, self._rules, self._kind, self._row = conn, rules, kind, row
        self._connections = {one["id"]: dict(one) for one in conn.execute(select(tables.connection)).mappings()}
        links = [one for one in rows(conn, tables.link, "thing", {row["id"]}) if one["thing_kind"] == kind]
        self._looks = [(link, [self._read(one) for one in self._snapshots(link)]) for link in links]
        self._maker = self._made_by()

    def explain(self, only: str | None = None) -> tuple[ValueWhy, ...]:
        """Explain every value that there is, or one field (its name within the thing), also where it has none."""
        values = canonical(self._kind, self._row)
        names = [only] if only is not None else [name for name, value in values.items() if value is not None]
        found = [(self._one(f"{self._kind}.{name}", values.get(name)), _currency(name, values)) for name in names]
        return tuple(replace(why, text=_written(why.value, currency)) for why, currency in found)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _snapshots(self, link: Row) -> list[Row]:
        table = tables.snapshot
        statement = (
            select(table)
            .where(table.c.connection == link["connection"], table.c.kind == link["kind"], table.c.record_id == link["record_id"])
            .order_by(table.c.fetch_began.desc(), table.c.id.desc())
            .limit(_LOOKS)
        )
        return [dict(row) for row in self._conn.execute(statement).mappings()]

    def _read(self, snapshot: Row) -> tuple[Row, Mapped | None, str]:
        """Map a kept document with the present mapping; gives also why that was not possible."""
        connection = self._connections.get(snapshot["connection"])
        mappings = self._rules.mappings.get(connection["connector"]) if connection else None
        inbound = mappings.inbound(snapshot["kind"]) if mappings else None
        if connection is None or inbound is None:
            return snapshot, None, "records of this kind have no mapping any more"
        account = {"id": connection["account_id"], **connection["account"]}
        try:
            return snapshot, inbound.map(document_from_json(snapshot["document"]), account), ""
        except MappingError as error:
            return snapshot, None, str(error)

    def _made_by(self) -> Row | None:
        """Give the effect of ours that made this thing."""
        engagement = self._row.get("engagement")
        found = rows(self._conn, tables.effect, "engagement", {engagement}) if engagement else []
        return next((one for one in found if one["creates"] and one["thing"] == self._row["id"]), None)

    # --- one value ----------------------------------------------------------------------------------------------------

    def _one(self, path: str, value: Any) -> ValueWhy:
        if path in DERIVED:
            return ValueWhy(path=path, value=value, because="it is derived by lifecycle.toml, never mapped.")
        by_looks = [found for link, looks in self._looks if (found := self._told(path, value, link, looks)) is not None]
        if by_looks:
            return max(by_looks, key=lambda one: one[0])[1]
        return self._untold(path, value)

    def _told(
        self, path: str, value: Any, link: Row, looks: Sequence[tuple[Row, Mapped | None, str]]
    ) -> tuple[datetime, ValueWhy] | None:
        """Explain a value by a record whose latest look says the same; the first look of that row of looks brought it."""
        wanted = observed(value)
        same = []
        for snapshot, mapped, _ in looks:
            if mapped is None or path not in mapped.values or observed(mapped.values[path]) != wanted:
                break
            same.append((snapshot, mapped))
        if not same:
            return None
        snapshot, mapped = same[-1]
        connector = self._connections[snapshot["connection"]]["connector"]
        look = _look(self._conn, snapshot, link, self._rules.mappings[connector].version)
        said = "the record says so" if value is not None else "the record has nothing there"
        changed = "" if look.mapping_is_present else "; the mapping was changed since, this is how the present one reads it"
        why = ValueWhy(path=path, value=value, because=f"{said}{changed}.", look=look)
        return same[0][0]["fetch_began"], _with_origin(why, mapped.origins[path])

    def _untold(self, path: str, value: Any) -> ValueWhy:
        fact = next((name for name, time_path in FACT_TIMES.items() if time_path == path), None)
        if fact is not None and value is not None:
            because = f"the tool tells no time for it, so it is when we looked and saw {fact[0]} become {fact[1]}."
            return ValueWhy(path=path, value=value, because=because)
        if self._maker is not None and value is not None:
            because = f"our effect {self._maker['id']} ({self._maker['name']}) made it so; no later look said otherwise."
            return ValueWhy(path=path, value=value, because=because, effect=self._maker["id"])
        faults = [fault for _, looks in self._looks for _, mapped, fault in looks[:1] if mapped is None]
        if faults:
            return ValueWhy(path=path, value=value, because=f"the record cannot be read with the present mapping: {faults[0]}")
        if value is None:
            return ValueWhy(path=path, value=value, because="no linked record tells it.")
        if not any(mapped and path in mapped.values for _, looks in self._looks for _, mapped, _ in looks):
            return ValueWhy(path=path, value=value, because=f"no record tells it: a new {self._kind} has this value.")
        return ValueWhy(path=path, value=value, because="an earlier look told it; the kept looks say something else.")


def _currency(name: str, values: Mapping[str, Any]) -> str | None:
    """Give the currency that an amount is in: the one beside it, or the whole's."""
    whole, _, last = name.rpartition(".")
    return values.get(f"{whole}.currency") or values.get("total.currency") if last == "amount" else None


def _written(value: Any, currency: str | None) -> str:
    """Write a value for people: times and amounts are kept as they are counted, not as they are read."""
    if value is None:
        return "empty"
    if isinstance(value, datetime):
        return told(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(Money(value, currency)) if currency is not None and isinstance(value, int) else str(value)


def _with_origin(why: ValueWhy, origin: Origin) -> ValueWhy:
    return replace(why, file=origin.file, expression=origin.expression, steps=origin.steps, raw=origin.raw)


def _look(conn: Connection, snapshot: Row, link: Row, present: str) -> Look:
    notice = _notice_of(conn, snapshot)
    delivery = rows(conn, tables.delivery, "id", {notice["delivery"]})[0] if notice else None
    return Look(
        snapshot=snapshot["id"],
        connection=snapshot["connection"],
        kind=snapshot["kind"],
        record_id=snapshot["record_id"],
        address=link["address"],
        began_at=snapshot["fetch_began"],
        changed_at=snapshot["changed_at"],
        mapping_version=snapshot["mapping_version"],
        mapping_is_present=snapshot["mapping_version"] == present,
        notice=notice["id"] if notice else None,
        delivery=delivery["id"] if delivery else None,
        way=delivery["way"] if delivery else None,
        received_at=delivery["received_at"] if delivery else None,
    )


def _notice_of(conn: Connection, snapshot: Row) -> Row | None:
    """Give the notice that made us look; for a record that came along, the notice of the one that it came with."""
    own = _made_for(conn, snapshot)
    if own is not None:
        return own
    table = tables.snapshot
    together = select(table).where(table.c.id < snapshot["id"]).order_by(table.c.id.desc()).limit(_LOOKS)
    for row in conn.execute(together).mappings():
        same = (row["connection"], row["fetch_began"]) == (snapshot["connection"], snapshot["fetch_began"])
        if same and (found := _made_for(conn, dict(row))) is not None:
            return found
    return _noticed(conn, snapshot)  # one that was replayed names its newest snapshot only


def _made_for(conn: Connection, snapshot: Row) -> Row | None:
    table = tables.notice
    of = [table.c[name] == snapshot[name] for name in ("connection", "kind", "record_id")]
    statement = select(table).where(*of, table.c.snapshot == snapshot["id"]).order_by(table.c.id.desc()).limit(1)
    row = conn.execute(statement).mappings().first()
    return dict(row) if row is not None else None


def _noticed(conn: Connection, snapshot: Row) -> Row | None:
    """Give the last notice that was read before a look began; one of the same instant only where there is no other."""
    table = tables.notice
    statement = (
        select(table)
        .where(*(table.c[name] == snapshot[name] for name in ("connection", "kind", "record_id")))
        .where(table.c.kept_at <= snapshot["fetch_began"], table.c.state != "ignored")
        .order_by((table.c.kept_at == snapshot["fetch_began"]).asc(), table.c.id.desc())
        .limit(1)
    )
    row = conn.execute(statement).mappings().first()
    return dict(row) if row is not None else None
