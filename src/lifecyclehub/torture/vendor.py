"""A simulated vendor: its records are the truth that the hub's work is judged by. It survives every crash of the hub.

It speaks one plain API, sends a webhook for every change, the hub's own too, and keeps a history of who wrote what.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, unquote

from lifecyclehub.jsonio import dumps, loads
from lifecyclehub.torture.said import Refuse, Said
from lifecyclehub.torture.tools import KEY_HEADER, KEY_S, TOKEN_PATH, Character

if TYPE_CHECKING:
    from lifecyclehub.torture.drift import Drift
    from lifecyclehub.torture.grants import Rotating
    from lifecyclehub.torture.loop import Process

PAGE: Final = 2  # records on a page: two already need a second one
CURSOR_OVERLAP: Final = timedelta(seconds=60)
FOLDED_S: Final = 86_400.0


@dataclass(slots=True)
class Record:
    """One record, with our marker as `ref` when the hub made it, or a person copied one that it made."""

    kind: str
    id: str
    data: dict[str, Any]
    by: str  # hub | person
    created_at: datetime
    changed_at: datetime
    visible_at: datetime
    version: int = 1
    ref: str | None = None
    asked_at: datetime | None = None  # when the request that made it was sent
    deleted: bool = False
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One line of a vendor's history."""

    at: datetime
    what: str  # made | changed | deleted | restored | merged
    by: str
    kind: str
    id: str
    ref: str | None = None


class Vendor:
    """One tool. `now` is the vendor's own clock; `changed` is told of every change, so that it can send a webhook."""

    def __init__(self, name: str, character: Character, now: Callable[[], datetime]) -> None:
        self.name, self.character, self.now = name, character, now
        self.records: dict[tuple[str, str], Record] = {}
        self.history: list[Written] = []
        self.lag_s = 0.0
        self.access = True
        self.rotating: Rotating | None = None
        self.drift: Drift | None = None
        self.mend: Callable[[], None] = lambda: None
        self.caller: Process | None = None  # whose request is just being answered
        self.asked_at: datetime | None = None  # when that was sent
        self.duplicates_refused = 0
        self.keys_misused = 0
        self.changed: Callable[[Record, str], None] = lambda _record, _what: None
        self.later: Callable[[float, Callable[[], None]], None] = lambda _s, act: act()
        self._keys: dict[str, tuple[datetime, Said, str]] = {}
        self._jobs: dict[str, dict[str, Any]] = {}
        self._next = 0
        self.does_nothing = False  # the next create is answered 200 and not done
        self.stale_find = 0  # so many look-ups more break off after their first page

    # --- truth ----------------------------------------------------------------------------------------------------------

    def alive(self, kind: str) -> list[Record]:
        """Give the living records of a kind, oldest first."""
        return [one for one in self.records.values() if one.kind == kind and not one.deleted and one.merged_into is None]

    def made_by_hub(self, kind: str | None = None) -> list[Record]:
        """Give the records that the hub made, deleted ones too."""
        return [one for one in self.records.values() if one.by == "hub" and kind in (None, one.kind)]

    def writes(self) -> int:
        """Count what the hub wrote."""
        return sum(line.by == "hub" for line in self.history)

    def was_deleted(self, kind: str, record: str) -> bool:
        """Tell whether somebody ever deleted a record."""
        return any(line.what == "deleted" and (line.kind, line.id) == (kind, record) for line in self.history)

    def get(self, kind: str, record: str) -> Record:
        """Give a record that is known to be there."""
        return self.records[kind, record]

    # --- what persons and the hub do --------------------------------------------------------------------------------------

    def make(self, kind: str, data: dict[str, Any], *, by: str = "person", ref: str | None = None) -> Record:
        """Make a record."""
        self._next += 1
        now = self.now()
        ident = f"{kind.partition('.')[2][:3]}-{self._next}"
        record = Record(kind, ident, data, by, now, now, now + timedelta(seconds=self.lag_s), ref=ref)
        record.asked_at = self.asked_at if by == "hub" else None
        data.setdefault("created_at", now.isoformat())
        self.records[kind, ident] = record
        self._note("made", by, record)
        return record

    def write(self, record: Record, *, by: str = "person", **values: Any) -> None:
        """Change fields of a record."""
        record.data |= values
        self._touch(record)
        self._note("changed", by, record)

    def delete(self, record: Record) -> None:
        """Put a record into the bin."""
        record.deleted = True
        self._touch(record)
        self._note("deleted", "person", record)

    def restore(self, record: Record) -> None:
        """Take a record out of the bin."""
        record.deleted = False
        self._touch(record)
        self._note("restored", "person", record)

    def merge(self, record: Record, into: Record) -> None:
        """Merge a record into another one."""
        record.merged_into = into.id
        self._touch(record)
        self._note("merged", "person", record)

    def _touch(self, record: Record) -> None:
        record.version += 1
        record.changed_at = max(record.changed_at, self.now())

    def _note(self, what: str, by: str, record: Record) -> None:
        self.history.append(Written(self.now(), what, by, record.kind, record.id, record.ref))
        self.changed(record, what)

    # --- the API --------------------------------------------------------------------------------------------------------

    def handle(  # noqa: PLR0911 (one for each address)
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Said:
        """Answer one request."""
        barred = self._barred(path, headers, body)
        if barred is not None:
            return barred
        parts = [unquote(part) for part in path.strip("/").split("/")]
        asked = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        try:
            match method, parts:
                case "GET", ["find", kind]:
                    return self._find(kind, asked)
                case "GET", ["changed", kind]:
                    return self._since(kind, asked)
                case "GET", ["jobs", handle]:
                    return Said(200, self._jobs[handle])
                case "GET", [kind, record]:
                    return Said(200, self._looked_at(self._there(kind, record)))
                case "POST", [kind]:
                    return self._create(kind, headers, loads(body))
                case "PATCH", [kind, record]:
                    return self._patch(self._there(kind, record), loads(body))
        except Refuse as refusal:
            return refusal.said
        return Said(404, {"error": "no such address"})

    def _barred(self, path: str, headers: Mapping[str, str], body: bytes) -> Said | None:
        """Answer whom the tool does not let in, and who wants to be let in again."""
        if not self.access:
            return Said(401, {"error": "who are you?"})
        if self.rotating is None:
            return None
        if path == TOKEN_PATH:
            return self.rotating.exchange(loads(body), self.caller, self.now())
        return None if self.rotating.allows(headers, self.now()) else Said(401, {"error": "this access has ended"})

    def _there(self, kind: str, record: str) -> Record:
        found = self.records.get((kind, record))
        if found is None or found.deleted:
            raise Refuse(404, "there is no such record")
        return found

    def _looked_at(self, record: Record) -> dict[str, Any]:
        if self.drift is not None:
            self.drift.looked_at(record)
        return self.said(record)

    def said(self, record: Record) -> dict[str, Any]:
        """Write a record as the API gives it."""
        changed_at = record.changed_at
        if self.character.order == "time":
            changed_at = changed_at.replace(microsecond=0)
        said: dict[str, Any] = {
            "kind": record.kind,
            "id": record.id,
            "version": record.version,
            "changed_at": changed_at.isoformat(),
            "data": dict(record.data) if self.drift is None else self.drift.bend(record.kind, dict(record.data)),
            "url": self.url(record),
            "ref": record.ref if self.character.once != "never" else None,
            "merged_into": record.merged_into,
        }
        company, contact = record.data.get("company"), self.records.get(("crm.contact", str(record.data.get("contact"))))
        along = [one for one in (self._company(company) if company is not None else None, contact) if one is not None]
        if along:
            said["related"] = [self.said(one) for one in along]
        return said

    def _company(self, ident: str) -> Record | None:
        found = self.records.get(("crm.company", ident))
        while found is not None and found.merged_into is not None:
            found = self.records.get(("crm.company", found.merged_into))
        return None if found is None or found.deleted else found

    def url(self, record: Record) -> str:
        """Give the address that a person opens."""
        return f"https://{self.name}.example/{record.id}"

    def _find(self, kind: str, asked: Mapping[str, str]) -> Said:
        """Answer with what fits on a page of all there is; the next page is the next one on which something fits."""
        now, page = self.now(), int(asked["page"])
        shown = [one for one in self.records.values() if one.kind == kind and one.visible_at <= now]
        if self.character.order == "time":  # such tools list the newest first
            shown.reverse()
        if page > 1 and self.stale_find:
            self.stale_find -= 1
            raise Refuse(500, "the index is being rebuilt")
        fitting: dict[int, list[Record]] = {}
        for number, one in enumerate(shown):
            if self._is(one, asked):
                fitting.setdefault(number // PAGE + 1, []).append(one)
        later = [number for number in fitting if number > page]
        return Said(200, {"records": [self.said(one) for one in fitting.get(page, ())], "next": min(later, default=None)})

    @staticmethod
    def _is(record: Record, asked: Mapping[str, str]) -> bool:
        if "ref" in asked:
            return record.ref == asked["ref"]
        return not record.deleted and record.data.get("name") == asked["twin"]

    def _since(self, kind: str, asked: Mapping[str, str]) -> Said:
        if asked["account"] != "1":
            return Said(200, {"records": [], "next": None, "cursor": self.now().isoformat()})
        since = datetime.fromisoformat(asked["since"]) if asked["since"] else None
        mine = [one for one in self.records.values() if one.kind == kind and (since is None or one.changed_at >= since)]
        ids = [one.id for one in mine]
        start = ids.index(asked["after"]) + 1 if asked["after"] in ids else 0
        some = mine[start : start + PAGE]
        more = start + PAGE < len(mine)
        cursor = (self.now() - CURSOR_OVERLAP).isoformat()
        told = [{"id": one.id, "version": one.version, "change": "deleted" if one.deleted else "changed"} for one in some]
        return Said(200, {"records": told, "next": some[-1].id if more else None, "cursor": cursor})

    def _patch(self, record: Record, values: dict[str, Any]) -> Said:
        self.write(record, by="hub", **values)
        return Said(200, self.said(record), acted=True)

    def _create(self, kind: str, headers: Mapping[str, str], body: dict[str, Any]) -> Said:
        now, key = self.now(), headers.get(KEY_HEADER.lower())
        how = self.character.once
        lasts = KEY_S if how == "key for a while" else FOLDED_S
        digest = hashlib.sha256(dumps(body).encode()).hexdigest()
        if how.startswith("key") and key is not None and key in self._keys:
            since, said, before = self._keys[key]
            if now - since < timedelta(seconds=lasts):
                if before != digest:
                    self.keys_misused += 1
                    raise Refuse(422, "this key was used for another request")
                return said
        said = self._made(kind, dict(body))
        if how.startswith("key") and key is not None:
            self._keys[key] = (now, said, digest)
        return said

    def store_error(self, headers: Mapping[str, str], body: bytes) -> None:
        """Keep an error under a request's key, as vendors do that repeat what they once said."""
        key = headers.get(KEY_HEADER.lower())
        if self.character.once == "key with stored errors" and key is not None and key not in self._keys:
            digest = hashlib.sha256(dumps(loads(body)).encode()).hexdigest()
            self._keys[key] = (self.now(), Said(500, {"error": "it failed, and will always fail"}), digest)

    def _made(self, kind: str, body: dict[str, Any]) -> Said:
        ref = body.pop("ref", None)
        how = self.character.once
        if how == "unique" and any(one.ref == ref and one.kind == kind for one in self.records.values()):
            self.duplicates_refused += 1
            raise Refuse(409, "there is one with this ref already")
        if how == "verified" and self.does_nothing:
            self.does_nothing = False
            return Said(200, {"kind": kind, "id": "none", "version": 1, "url": "https://nowhere.example"})
        if how == "job" and kind in ("projects.project", "crm.note", "desk.comment", "books.invoice"):
            return self._accepted(kind, body, ref)
        return Said(201, self.said(self.make(kind, self._filled(kind, body), by="hub", ref=ref)), acted=True)

    def _accepted(self, kind: str, body: dict[str, Any], ref: str | None) -> Said:
        handle = f"job-{len(self._jobs) + 1}"
        said: dict[str, Any] = {"state": "running"}
        self._jobs[handle] = said
        shown_at, asked_at = self.now() + timedelta(seconds=self.lag_s), self.asked_at

        def finish() -> None:
            record = self.make(kind, self._filled(kind, body), by="hub", ref=ref)
            record.visible_at = max(record.created_at, shown_at)  # the declared lag begins when the job is taken
            record.asked_at = asked_at
            said.update(state="done", record=self.said(record))

        self.later(4.0, finish)
        return Said(202, {"handle": handle}, acted=True)

    def _filled(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Add what the vendor fills in, and write what it was given in its own way (blanks cut off)."""
        data = {name: value.strip() if isinstance(value, str) else value for name, value in body.items()}
        match kind:
            case "projects.project":
                data |= {"status": "open", "closed_at": None}
            case "books.invoice":
                lines: list[dict[str, Any]] = body["lines"]
                total = sum(round(float(line["amount"]) * 100) for line in lines)
                data |= {"status": "draft", "number": f"INV-{self._next + 1}", "total": f"{total / 100:.2f}"}
        return data

    def everything(self) -> Iterator[Record]:
        """Give every record there ever was."""
        yield from self.records.values()
