"""What a done effect leaves behind: links, things, events, released charges, findings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, update

from lifecyclehub.dispatch.claim import expect
from lifecyclehub.dispatch.prepared import FIELDS_SENT
from lifecyclehub.messages import Done
from lifecyclehub.ports import Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import records, rows
from lifecyclehub.store.things import Row, observed
from lifecyclehub.store.upsert import insert_all, insert_new, put_all

_BUMP = (
    update(tables.engagement).where(tables.engagement.c.id == bindparam("which")).values(version=tables.engagement.c.version + 1)
)
_INVOICE_DRAFTED = update(tables.invoice).where(tables.invoice.c.id == bindparam("which")).values(status="draft")


class Made:
    """Collects what receipts say was made, and writes it set by set."""

    def __init__(self, conn: Connection, rules: Rules, ids: Ids, now: datetime) -> None:
        self._conn, self._rules, self._ids, self._now = conn, rules, ids, now
        self._links: dict[tuple[str, str, str], Row] = {}
        self._projects: list[Row] = []
        self._drafted: list[str] = []
        self._events: list[Row] = []
        self._findings: list[Row] = []
        self._sent: dict[tuple[str, str, str, str], str] = {}
        self._engagements: set[str] = set()

    def note(self, effect: Row, outcome: Done) -> None:
        """Take in one done effect: its record is linked to our thing, which is made if need be."""
        if effect["engagement"]:
            self._engagements.add(effect["engagement"])
        if effect["creates"] is None or outcome.record_id is None:
            return
        about = self._rules.abouts.get(effect["connector"] if "connector" in effect else effect["creates"].partition(".")[0])
        kind = about.kind(effect["creates"]) if about else None
        fills = kind.fills if kind else None
        thing = self._thing(effect, fills)
        effect["thing"] = thing
        key = (effect["connection"], effect["creates"], outcome.record_id)
        self._links[key] = {
            "connection": key[0],
            "kind": key[1],
            "record_id": key[2],
            "thing_kind": fills,
            "thing": thing,
            "address": outcome.url,
            "version": None,
            "changed_at": None,
            "fetched_at": None,
            "deleted_at": None,
            "merged_into": None,
        }
        for path, member in FIELDS_SENT.get(effect["action"], ()):
            value = (effect["input"] or {}).get(member)
            if fills is not None and value is not None and path.startswith(fills):
                self._sent[(*key, path)] = observed(value)

    def _thing(self, effect: Row, fills: str | None) -> str | None:
        match fills:
            case "project":
                return self._project(effect)
            case "client":
                return str(effect["client"])
            case "invoice":
                self._drafted.append(effect["thing"])
                self._event("invoice.drafted", "invoice", effect["thing"], effect)
                return str(effect["thing"])
        return None

    def _project(self, effect: Row) -> str:
        project = effect["thing"] or self._ids.new("pro")
        self._projects.append(
            {
                "id": project,
                "engagement": effect["engagement"],
                "deal": effect["subject"] if effect["subject_kind"] == "deal" else None,
                "title": (effect["input"] or {}).get("name"),
                "status": "open",
                "closed_at": None,
                "fields": {},
            }
        )
        self._event("project.opened", "project", project, effect)
        return str(project)

    def _event(self, kind: str, thing_kind: str, thing: str, effect: Row) -> None:
        self._events.append(
            {
                "id": self._ids.new("evt"),
                "kind": kind,
                "thing_kind": thing_kind,
                "thing": thing,
                "engagement": effect["engagement"],
                "client": effect["client"],
                "at": self._now,
                "seen_at": self._now,
                "notice": None,
                "facts": {"effect": effect["id"], "title": (effect["input"] or {}).get("name")},
            }
        )

    def double(self, effect: Row, outcome: Done) -> None:
        """A late answer tells of a second record: shown, never silent."""
        detail = (
            f"a late answer says that {outcome.record_id} was made too; {effect['record_id'] or 'no record'} was taken for it"
        )
        self._findings.append(
            {
                "id": self._ids.new("fin"),
                "kind": "double",
                "subject_kind": "effect",
                "subject": effect["id"],
                "about": outcome.record_id or "",
                "detail": detail,
                "facts": {"made": effect["record_id"], "found": outcome.record_id, "url": outcome.url},
                "at": self._now,
            }
        )

    def write(self) -> None:
        """Write it all; a link that the sweep made meanwhile is given to our thing."""
        conn = self._conn
        linked = {(row["connection"], row["kind"], row["record_id"]): row for row in records(conn, tables.link, set(self._links))}
        for key, known in linked.items():
            mine = self._links[key]
            kept: dict[str, Any] = {name: known[name] for name in ("version", "changed_at", "fetched_at", "deleted_at")}
            self._links[key] = mine | kept | {"address": mine["address"] or known["address"]}
        known_projects = {row["id"] for row in rows(conn, tables.project, "id", {one["id"] for one in self._projects})}
        insert_all(conn, tables.project, [one for one in self._projects if one["id"] not in known_projects])
        put_all(conn, tables.link, list(self._links.values()))
        if self._drafted:
            conn.execute(_INVOICE_DRAFTED, [{"which": one} for one in sorted(self._drafted)])
        insert_new(conn, tables.event, self._events)
        insert_new(conn, tables.finding, self._findings)
        expect(conn, self._sent)
        if self._engagements:
            conn.execute(_BUMP, [{"which": one} for one in sorted(self._engagements)])
