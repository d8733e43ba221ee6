"""Inbound mapping: a vendor's document becomes values of our own fields, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from lifecyclehub.errors import MappingError, nearest
from lifecyclehub.mapping.converters import BY_TYPE, Converter, Minor, amount_in_minor
from lifecyclehub.mapping.entries import COMMON_KEYS, Entry, Lookup, Origin, read_entry, refuse_shape, shown
from lifecyclehub.mapping.shape import ACCOUNT, OPEN, VALUE, Members, find
from lifecyclehub.messages import Document
from lifecyclehub.model import THINGS, Field, field_at

INBOUND_KEYS = COMMON_KEYS | {"authority"}
_RECORD = Members({"id": VALUE, "url": VALUE, "version": VALUE, "changed_at": VALUE, "data": OPEN})
_ROOT = Members({"account": ACCOUNT, "record": _RECORD})
_NO_LABELS: Mapping[str, Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a document says about its thing. `values`: canonical values by path (None: the vendor has nothing there).

    Text, choices, e-mails, currencies: str; instants: aware UTC; dates: date; amounts: whole minor units; numbers:
    int or Decimal; flags: bool. `hub_owned`: paths whose authority is the hub.
    """

    thing: str
    values: dict[str, Any]
    hub_owned: frozenset[str]
    _entries: tuple[Entry, ...] = field(default=(), repr=False)
    _raws: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def origins(self) -> dict[str, Origin]:
        """Why each value is what it is, by path."""
        return {
            entry.path: Origin(entry.file, entry.text, entry.steps, raw)
            for entry, raw in zip(self._entries, self._raws, strict=True)
        }


@dataclass(frozen=True, slots=True)
class Inbound:
    """The compiled mapping of one kind of record. `thing` is what it fills."""

    record: str
    thing: str
    entries: tuple[Entry, ...]
    hub_owned: frozenset[str]
    _fields: tuple[Field, ...]
    _amounts: tuple[tuple[str, str, Entry], ...]

    @property
    def paths(self) -> dict[str, tuple[str, ...]]:
        """The vendor's paths that each field reads, to be held against the connector's own list of fields."""
        return {
            entry.path: tuple(".".join(path) for path in entry.expression.paths if path[0] not in _ROOT.of)
            for entry in self.entries
            if entry.expression
        }

    def map(
        self,
        document: Document,
        account: Mapping[str, Any],
        labels: Mapping[str, Mapping[str, str]] = _NO_LABELS,
    ) -> Mapped:
        """Map a document. `account`: id, name, currency, timezone. `labels`: per lookup, the tool's label of a value.

        Raises MappingError that names the file, the field, the value and how to mend it.
        """
        root = {**document.data, "account": account, "record": _record(document)}
        values: dict[str, Any] = {}
        raws = []
        for entry, canonical in zip(self.entries, self._fields, strict=True):
            raw, value = entry.evaluate(root, labels.get(entry.lookup.name) if entry.lookup else None)
            raws.append(raw)
            values[entry.path] = None if value is None else typed(entry, canonical, value)
        for amount, currency, entry in self._amounts:
            if values[amount] is not None:
                values[amount] = _minor_units(entry, values[amount], values[currency], currency)
        return Mapped(self.thing, values, self.hub_owned, self.entries, tuple(raws))


def _record(document: Document) -> dict[str, Any]:
    return {
        "id": document.id,
        "url": document.url,
        "version": document.version,
        "changed_at": document.changed_at,
        "data": document.data,
    }


def typed(entry: Entry, canonical: Field, value: Any) -> Any:
    """Give a value as its canonical field holds it. Raises MappingError."""
    kind = canonical.type
    if kind == "choice":
        if value not in canonical.choices:
            raise MappingError(
                f"{entry.path}: {shown(value)} is none of {', '.join(canonical.choices)}.",
                where=entry.file,
                mend="Add a lookup that says which of ours it is.",
            )
        return value
    if kind == "amount" and isinstance(value, Minor):
        return value
    if kind == "instant" and isinstance(value, datetime) and value.tzinfo is UTC:
        return value
    if kind == "date" and type(value) is date:
        return value
    value = entry.converted(kind, BY_TYPE[kind], value)
    if isinstance(value, str) and "\x00" in value:
        raise MappingError(f"{entry.path}: the text holds a NUL character.", where=entry.file)
    return value


def _minor_units(entry: Entry, amount: Any, currency: str | None, currency_path: str) -> int:
    if currency is None:
        raise MappingError(
            f"{entry.path}: {amount} has no currency, {currency_path} found nothing.",
            where=entry.file,
            mend=f"Let {currency_path} fall back to the account's: … || account.currency.",
        )
    try:
        return amount_in_minor(amount, currency)
    except ValueError as error:
        raise MappingError(f"{entry.path}: {error}.", where=entry.file, mend="Correct the amount in the tool.") from error


# --- reading ------------------------------------------------------------------------------------------------------


def read_inbound(
    record: str,
    fields: Mapping[str, tuple[Any, str]],
    lookups: Mapping[str, Lookup],
    converters: Mapping[str, Converter],
    fills: str | None,
    file: str,
) -> Inbound:
    """Compile an inbound mapping from its entries (raw entry, file it stands in). Raises MappingError."""
    entries, canonicals = [], []
    for path, (raw, origin) in fields.items():
        refuse_shape(path, raw, origin, INBOUND_KEYS)
        canonical = _canonical(path, origin, fills)
        entry = read_entry(
            path, raw, origin, allowed=INBOUND_KEYS, converters=converters, lookups=lookups, choices=canonical.choices
        )
        _check(entry, canonical)
        entries.append(entry)
        canonicals.append(canonical)
    things = {entry.path.partition(".")[0] for entry in entries}
    if len(things) != 1:
        raise MappingError(
            f"{record} fills {' and '.join(sorted(things)) or 'nothing'}.",
            where=file,
            mend="A mapping fills the record's own thing, at least one field of it and no other thing.",
        )
    by_path = {entry.path: entry for entry in entries}
    amounts = tuple(_amount(entry, by_path) for entry, one in zip(entries, canonicals, strict=True) if one.type == "amount")
    owned = frozenset(entry.path for entry in entries if entry.authority == "hub")
    return Inbound(record, things.pop(), tuple(entries), owned, tuple(canonicals), amounts)


def _canonical(path: str, file: str, fills: str | None) -> Field:
    canonical = field_at(path)
    thing = path.partition(".")[0]
    if canonical is None:
        known = [f"{name}.{one}" for name, fields in THINGS.items() if fills in (None, name) for one in fields]
        own = f"{fills or thing}.custom.<name>"
        near = nearest(path, known)
        raise MappingError(f"there is no field {path}.", where=file, mend=f"{near} A field of your own is called {own}.".strip())
    if fills is not None and thing != fills:
        raise MappingError(f"{path} is no field of {fills}, which is what this record fills.", where=file)
    if path == "engagement.stage":
        raise MappingError(f"{path} is derived by lifecycle.toml, never mapped.", where=file)
    return canonical


def _check(entry: Entry, canonical: Field) -> None:
    if entry.authority not in ("", "hub"):
        raise MappingError(f"{entry.path}: authority is {entry.authority!r}.", where=entry.file, mend='It can only be "hub".')
    if entry.path == "client.standing" and entry.authority != "hub":
        raise MappingError(
            "client.standing is derived by lifecycle.toml, so our word counts for it.",
            where=entry.file,
            mend='Add authority = "hub": what the tool shows is compared, and not taken over.',
        )
    if entry.expression is not None:
        for path in entry.expression.paths:
            if path[0] in _ROOT.of:
                find(_ROOT, path, f"{entry.file}: {entry.path}")
    if entry.default is not None:
        typed(entry, canonical, entry.default)


def _amount(entry: Entry, by_path: Mapping[str, Entry]) -> tuple[str, str, Entry]:
    currency = entry.path.removesuffix("amount") + "currency"
    if currency not in by_path:
        raise MappingError(
            f"{entry.path} has no {currency} beside it.",
            where=entry.file,
            mend=f'Add "{currency}" = {{ from = "account.currency" }}.',
        )
    return entry.path, currency, entry
