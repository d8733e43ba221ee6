"""What a done effect leaves behind: links, things, events, released charges, findings."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Boolean, Connection, bindparam, delete, exists, func, or_, select, update

from lifecyclehub.dispatch.claim import answered, expect, unanswered
from lifecyclehub.dispatch.prepared import FIELDS_SENT
from lifecyclehub.errors import LostRace
from lifecyclehub.messages import Done
from lifecyclehub.ports import Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query, Write
from lifecyclehub.store.state import records, rows
from lifecyclehub.store.things import TABLES, Row, observed
from lifecyclehub.store.upsert import insert_all, insert_new, put_all

_BUMP = Write(
    update(tables.engagement)
    .where(tables.engagement.c.id == bindparam("which"))
    .values(
        version=tables.engagement.c.version + 1, undecided=or_(tables.engagement.c.undecided, bindparam("due", type_=Boolean))
    )
)
_LOOK_AGAIN = Write(
    update(tables.notice)
    .where(
        tables.notice.c.connection == bindparam("one"),
        tables.notice.c.kind == bindparam("sort"),
        tables.notice.c.record_id == bindparam("record"),
        tables.notice.c.state == "ignored",
        tables.notice.c.reason == "unlinked",
    )
    .values(state="open", holder=None, reason=None, detail=None, document=None, done_at=None, not_before=bindparam("now"))
)
_LAST = tables.notice.alias("last")
_READ_AGAIN = Write(
    update(tables.notice)
    .where(
        tables.notice.c.id
        == select(func.max(_LAST.c.id))
        .where(
            _LAST.c.connection == bindparam("one"),
            _LAST.c.kind == bindparam("sort"),
            _LAST.c.record_id == bindparam("record"),
            _LAST.c.state == "processed",
        )
        .scalar_subquery()
    )
    .values(state="open", holder=None, reason=None, detail=None, document=None, done_at=None, not_before=bindparam("now"))
)
_FORGET = Write(
    delete(tables.mirror).where(
        tables.mirror.c.connection == bindparam("one"),
        tables.mirror.c.kind == bindparam("sort"),
        tables.mirror.c.record_id == bindparam("record"),
    )
)
_SAME_TURN = Query(
    select(tables.effect.c.target, tables.effect.c.engagement).where(tables.ON_TARGET, tables.effect.c.state == "ready"),
    tables.effect.c.target,
)
_TELLS_OF = Write(
    update(tables.event)
    .where(tables.event.c.thing_kind == "invoice", tables.event.c.thing == bindparam("other"))
    .values(thing=bindparam("stays"))
)
_NO_INVOICE = Write(
    delete(tables.invoice).where(
        tables.invoice.c.id == bindparam("other"),
        ~exists().where(tables.link.c.thing == tables.invoice.c.id),
        ~exists().where(tables.invoice_line.c.invoice == tables.invoice.c.id),
        ~exists().where(tables.effect.c.thing == tables.invoice.c.id),
    )
)
_INVOICE_DRAFTED = Write(update(tables.invoice).where(tables.invoice.c.id == bindparam("which")).values(status="draft"))

Record = tuple[str, str, str]


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
        self._taken: set[tuple[str, str, str, str]] = set()  # fields that a tool has taken from us
        self._landing: dict[tuple[str, str, str, str], datetime] = {}  # fields, and until when a tool may still write them
        self._engagements: set[str] = set()
        self._undecided: set[str] = set()
        self._entered: set[str] = set()  # targets under which clients were entered
        self._known: dict[Record, Row] = {}
        self._overlooked: set[Record] = set()  # they were looked at while they were nobody's
        self._moved: dict[Record, tuple[str, str]] = {}  # and these while they were another thing's: that thing, and ours
        self.linked: set[str] = set()  # effects whose record is one of our things now
        self.renewed: dict[str, Row] = {}
        self.gone: list[tuple[str, str]] = []  # connection and record of people whom a tool refused to assign to

    def renew(self, effect: Row) -> None:
        """Note that an effect is to be rendered anew, under a new key: nothing was done under the old one."""
        self.renewed[effect["id"]] = effect

    def meet(self, told: Iterable[tuple[Row, Done]]) -> None:
        """Read the links of the records that answers tell of."""
        keys = {_record(effect, outcome) for effect, outcome in told if effect["creates"] and outcome.record_id}
        self._known = {_key(row): row for row in records(self._conn, tables.link, keys, lock=True)}

    def whose(self, effect: Row, outcome: Done) -> str | None:
        """Say whose record this is when it is linked to another thing of ours already, None when it may be this effect's."""
        key = _record(effect, outcome)
        link = (self._links.get(key) or self._known.get(key)) if effect["creates"] and outcome.record_id else None
        if link is None or link["thing"] is None:
            return None
        fills = self._fills(effect)
        mine = effect["client"] if fills == "client" else effect["thing"]
        if (link["thing_kind"], link["thing"]) == (fills, mine):
            return None
        found = rows(self._conn, TABLES[link["thing_kind"]], "id", {link["thing"]})
        name = next((row.get("name") or row.get("title") or row.get("number") for row in found), None) or link["thing"]
        record = outcome.url or link["address"] or outcome.record_id
        return f"{record} belongs to the {link['thing_kind']} {name} already: a person must say which record is the one"

    def note(self, effect: Row, outcome: Done, *, ours: bool = True) -> None:
        """Take in one done effect: its record is linked to our thing, which is made if need be. `ours`: we wrote its values."""
        if effect["engagement"]:
            self._engagements.add(effect["engagement"])
        self._taken |= _written(effect)
        if effect["creates"] is None or outcome.record_id is None:
            return
        fills = self._fills(effect)
        key = _record(effect, outcome)
        thing = self._thing(effect, fills, self._links.get(key) or self._known.get(key))
        effect["thing"] = thing
        if fills == "client" and effect["target"]:
            self._entered.add(effect["target"])
        if thing is not None:
            self.linked.add(effect["id"])
            if effect["engagement"]:
                self._undecided.add(effect["engagement"])
        known = self._known.get(key) or dict.fromkeys(
            ("address", "version", "changed_at", "fetched_at", "answered_at", "deleted_at")
        )
        if thing is not None and known["fetched_at"] is not None and key in self._known and known["thing"] != thing:
            if known["thing"] is None:
                self._overlooked.add(key)
            else:
                self._moved[key] = known["thing"], thing
            known = {**known, "version": None, "changed_at": None}  # as if it had never been seen: the next look counts
        self._links[key] = {
            "connection": key[0],
            "kind": key[1],
            "record_id": key[2],
            "thing_kind": fills,
            "thing": thing,
            "address": outcome.url or known["address"],
            "merged_into": None,
            **{name: known[name] for name in ("version", "changed_at", "fetched_at", "answered_at", "deleted_at")},
        }
        for path, member in FIELDS_SENT.get(effect["action"], ()) if ours else ():
            value = (effect["input"] or {}).get(member)
            if fills is not None and value is not None and path.startswith(fills):
                self._sent[(*key, path)] = observed(value)

    def unanswered(self, effect: Row, until: datetime) -> None:
        """Note that nobody answered what was sent, and that the tool may still do it until a moment."""
        self._landing |= dict.fromkeys(_written(effect), until)

    def _fills(self, effect: Row) -> str | None:
        about = self._rules.abouts.get(effect["creates"].partition(".")[0])
        kind = about.kind(effect["creates"]) if about else None
        return kind.fills if kind else None

    def _thing(self, effect: Row, fills: str | None, link: Row | None) -> str | None:
        match fills:
            case "project":
                return self._project(effect)
            case "client":
                client: str | None = effect["client"]
                return client
            case "invoice" if effect["thing"] is None:  # a person drafted what was never prepared: it is the invoice that it is
                return link["thing"] if link is not None and link["thing_kind"] == fills else None
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
        """A late answer, or what came to light, tells of a second record: shown, never silent."""
        detail = (
            f"it is known by now that {outcome.record_id} was made too; {effect['record_id'] or 'no record'} was taken for it"
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
        """Write it all; a link that the sweep made meanwhile is given to our thing. Raises LostRace."""
        conn = self._conn
        known_projects = {row["id"] for row in rows(conn, tables.project, "id", {one["id"] for one in self._projects})}
        insert_all(conn, tables.project, [one for one in self._projects if one["id"] not in known_projects])
        self._write_links()
        self._look_again()
        self._leave_none_behind()
        _INVOICE_DRAFTED.run(conn, [{"which": one} for one in sorted(self._drafted)])
        insert_new(conn, tables.event, self._events)
        insert_new(conn, tables.finding, self._findings)
        expect(conn, self._sent)
        answered(conn, self._taken, self._now)
        unanswered(conn, self._landing)
        self._outdate()
        _BUMP.run(conn, [{"which": one, "due": one in self._undecided} for one in sorted(self._engagements)])

    def _outdate(self) -> None:
        """Let what was prepared to enter the same client for another engagement be asked again whether that is still due."""
        self._engagements |= {row["engagement"] for row in _SAME_TURN.each(self._conn, self._entered) if row["engagement"]}

    def _look_again(self) -> None:
        """What was seen of a record while it was nobody's, or another's, is news for the thing that it belongs to now."""
        for records_, again in ((self._overlooked, _LOOK_AGAIN), (self._moved, _READ_AGAIN)):
            named = [{"one": one, "sort": kind, "record": record} for one, kind, record in sorted(records_)]
            _FORGET.run(self._conn, named)
            again.run(self._conn, [{**one, "now": self._now} for one in named])

    def _leave_none_behind(self) -> None:
        """An invoice that was only what had been seen of a record, which is another invoice of ours, is none."""
        for other, stays in sorted(self._moved.values()):
            if _NO_INVOICE.count(self._conn, other=other):
                _TELLS_OF.count(self._conn, other=other, stays=stays)

    def _write_links(self) -> None:
        """Write links; where there are several writers, one that another gave to another thing meanwhile is looked at anew."""
        new = [link for key, link in self._links.items() if key not in self._known]
        if new and self._conn.dialect.name != "sqlite":
            insert_new(self._conn, tables.link, new)
            mine = {_key(link): link["thing"] for link in new}
            for row in records(self._conn, tables.link, set(mine), lock=True):
                if row["thing"] != mine[_key(row)]:
                    raise LostRace("another worker linked this record at the same moment")
        put_all(self._conn, tables.link, list(self._links.values()))


def _record(effect: Row, outcome: Done) -> Record:
    return (effect["connection"], effect["creates"], outcome.record_id or "")


def _written(effect: Row) -> set[tuple[str, str, str, str]]:
    """Give the fields that an effect writes in a record that is there."""
    if effect["action"] != "set_fields" or not effect["target"]:
        return set()
    connection, kind, record = effect["target"].split("/", 2)
    return {(connection, kind, record, path) for path in (effect["input"] or {}).get("values", ())}


def _key(link: Row) -> Record:
    return (link["connection"], link["kind"], link["record_id"])
