"""Step 7, the claim: *in flight* with its frozen body and deadline is committed before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, update

from lifecyclehub.dispatch.behind import hold_behind
from lifecyclehub.dispatch.moves import Stood, swap, write
from lifecyclehub.dispatch.prepared import Claim, Claimed, request_as_json
from lifecyclehub.dispatch.stopwatch import Stopwatch
from lifecyclehub.dispatch.tools import Restored
from lifecyclehub.model.times import told
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.store import tables
from lifecyclehub.store.sql import Query
from lifecyclehub.store.state import records, rows
from lifecyclehub.store.things import Row, observed
from lifecyclehub.store.upsert import insert_all, put_all

Field = tuple[str, str, str, str]  # connection, kind, record id, path
SHOWN_WITHIN = timedelta(minutes=1)
_SKEW = timedelta(hours=1)  # between a vendor's clock and ours after a restore; more is found where the tool could be looked at
_effect = tables.effect
_CLAIMED = (
    "state",
    "reason",
    "detail",
    "epoch",
    "holder",
    "claimed_at",
    "deadline",
    "not_before",
    "input",
    "body",
    "thing",
)
_CLAIM = swap(*_CLAIMED)
# What had its turn keeps it until it is over: ids follow a clock that may be put back.
IN_TURN = (_effect.c.state == "ready", _effect.c.epoch == 0, _effect.c.id)
_TURNS = Query(select(_effect.c.target, _effect.c.id).where(tables.ON_TARGET).order_by(*IN_TURN), _effect.c.target)
_DOUBTED = ("state", "reason", "not_before")
_DOUBT = swap(*_DOUBTED)
_PUT_OFF_COLUMNS = ("reason", "detail", "not_before")
_PUT_OFF = swap(*_PUT_OFF_COLUMNS)
_FORGOTTEN = ("state", "reason", "not_before", "unsure_since")
_FORGOT = swap(*_FORGOTTEN)


class TakeClaims:
    """Takes effects, so that nobody else can: the operation of step 7."""

    def __init__(
        self,
        ids: Ids,
        clock: Clock,
        stopwatch: Stopwatch | None = None,
        restored: Callable[[], Restored | None] = lambda: None,
    ) -> None:
        self._ids, self._clock, self._stopwatch, self._restored = ids, clock, stopwatch or Stopwatch(clock), restored

    def __call__(self, conn: Connection, claims: Sequence[Claim]) -> list[Claimed]:
        """Take those whose values still hold and whose turn it is on their target record."""
        now = self._clock.now()
        targets = {one.prepared.target for one in claims if one.prepared.target}
        effects = self._lock(conn, {one.prepared.effect for one in claims}, targets)
        versions = self._versions(conn, {one.prepared.engagement for one in claims if one.prepared.engagement})
        first = self._first_on_target(conn, targets)
        billed = self._billed(conn, claims)
        self._doubt(conn, claims, effects, now)
        self._let_land(conn, claims, effects, now)
        for held in hold_behind(conn, [one.prepared for one in claims], effects):
            del effects[held]
        verdicts = [self._verdict(one, effects.get(one.prepared.effect), versions, first, billed) for one in claims]
        going = [(one, effects[one.prepared.effect]) for one, said in zip(claims, verdicts, strict=True) if said.verdict == "go"]
        if going:
            forgotten = self._forgotten([row for _, row in going])
            write(conn, _CLAIM, _CLAIMED, [self._taken(one, row, now, self._reserve(conn, one, row)) for one, row in going])
            self._expect(conn, [one for one, _ in going])
            if forgotten:
                self._rather_look(conn, forgotten, now)
                gone = {row["id"] for row in forgotten}
                verdicts = [
                    Claimed("gone") if one.prepared.effect in gone and said.verdict == "go" else said
                    for one, said in zip(claims, verdicts, strict=True)
                ]
        return verdicts

    def _forgotten(self, going: Sequence[Row]) -> list[Row]:
        """Give those that may have been done in the time that a restore made us forget, and were not looked up since.

        So may what was never rendered and is marked all the same: a record came to light that carries its marker.

        That a fact is later than the restore proves nothing: what is won now may have been won, acted on and reopened in
        that time. Only what is about a thing that we met later is new; and what we met later because its tool could not be
        looked at, is new by its fact's time.
        """
        restored = self._restored()

        def forgotten(row: Row) -> bool:
            if restored is None or (row["claimed_at"] is not None and row["claimed_at"] >= restored.at):
                return False
            return row["fact_at"] is None or row["fact_at"] <= restored.over + _SKEW or not restored.met_later(row["subject"])

        return [row for row in going if (row["unsure_since"] is not None and row["body"] is None) or forgotten(row)]

    def _rather_look(self, conn: Connection, forgotten: Sequence[Row], now: datetime) -> None:
        """Put what was just claimed in doubt instead of sending it: its body is frozen, so that it can be looked up."""
        restored = self._restored()
        moves = []
        for row in forgotten:
            stood = Stood.of(row)
            row |= {"state": "in doubt", "reason": "came to light" if restored is None else "restored", "not_before": now}
            if restored is not None:
                row["unsure_since"] = min(row["unsure_since"] or restored.since, restored.since)
            moves.append((row, stood))
        write(conn, _FORGOT, _FORGOTTEN, moves)

    @staticmethod
    def _lock(conn: Connection, ids: set[str], targets: set[str]) -> dict[str, Row]:
        """Read the effects; where there are several writers, also keep others off what is open on the same target records."""
        if targets and conn.dialect.name != "sqlite":
            on_target = select(_effect.c.id).where(tables.ON_TARGET, _effect.c.target.in_(sorted(targets)))
            ids = ids | set(conn.execute(on_target).scalars())
        return {row["id"]: row for row in rows(conn, _effect, "id", ids, lock=True)}

    def _doubt(self, conn: Connection, claims: Sequence[Claim], effects: dict[str, Row], now: datetime) -> None:
        """Look up, instead of sending again, what may have been done under a key that the vendor has forgotten by now."""
        for one in claims:
            row = effects.get(one.prepared.effect)
            if row is None or row["state"] != "ready" or one.key_s is None or row["unsure_since"] is None:
                continue
            if row["body"] is None:  # never sent, as far as a restored store knows: there is nothing yet to look up by
                continue
            if not 0 <= self._stopwatch.since_first(row["id"], row["epoch"], row["unsure_since"]) < one.key_s:
                stood = Stood.of(row)
                row |= {"state": "in doubt", "reason": "key ended", "not_before": now}
                write(conn, _DOUBT, _DOUBTED, [(row, stood)])

    @staticmethod
    def _let_land(conn: Connection, claims: Sequence[Claim], effects: dict[str, Row], now: datetime) -> None:
        """Let another value wait while the tool may still write an older one of ours that it never answered."""
        writes = {one.prepared.effect: fields for one in claims if (fields := _fields(one))}
        if not writes:
            return
        landing = {_field(row): row for row in _mirrors(conn, {field for one in writes.values() for field in one})}
        moves = []
        for effect, fields in writes.items():
            until = max((by for field, value in fields.items() if (by := _landing(landing.get(field), value))), default=now)
            row = effects.get(effect)
            if row is None or row["state"] != "ready" or until <= now:
                continue
            detail = f"what was sent to this record before it got no answer, and may still be done until {told(until)}"
            moves.append((row | {"reason": "unanswered", "detail": detail, "not_before": until}, Stood.of(row)))
            del effects[effect]
        write(conn, _PUT_OFF, _PUT_OFF_COLUMNS, moves)

    @staticmethod
    def _versions(conn: Connection, engagements: set[str]) -> dict[str, int]:
        return {row["id"]: row["version"] for row in rows(conn, tables.engagement, "id", engagements)}

    @staticmethod
    def _first_on_target(conn: Connection, targets: set[str]) -> dict[str, str]:
        """Which open effect has its turn on each target record: one that may be under way there, else the first planned."""
        first: dict[str, str] = {}
        for row in _TURNS.each(conn, targets):
            first.setdefault(row["target"], row["id"])
        return first

    @staticmethod
    def _billed(conn: Connection, claims: Sequence[Claim]) -> set[str]:
        """Which of the charges that are to be drafted are on an invoice already, or on a draft that is just being made."""
        wanted = {charge for one in claims for charge in _charges(one)}
        if not wanted:
            return wanted
        rows(conn, tables.charge, "id", wanted, lock=True)
        line = tables.invoice_line
        return set(conn.execute(select(line.c.charge).where(tables.LIVE_LINE, line.c.charge.in_(sorted(wanted)))).scalars())

    @staticmethod
    def _verdict(claim: Claim, row: Row | None, versions: dict[str, int], first: dict[str, str], billed: set[str]) -> Claimed:
        prepared = claim.prepared
        if row is None or row["state"] != "ready" or row["epoch"] != prepared.epoch:
            return Claimed("gone")
        if row["record_id"] is not None:
            return Claimed("again")  # a late answer told meanwhile that it was done
        if prepared.engagement and versions.get(prepared.engagement) != prepared.engagement_version:
            return Claimed("again")
        if prepared.target and first.get(prepared.target) != prepared.effect:
            return Claimed("wait")
        if row["thing"] is None:
            if not billed.isdisjoint(_charges(claim)):
                return Claimed("again")
            billed.update(_charges(claim))
        if prepared.target:
            first[prepared.target] = prepared.effect
        row["state"] = "in flight"  # the same effect may be asked for twice in one batch; only the first one goes
        return Claimed("go", prepared.epoch + 1)

    def _taken(self, claim: Claim, row: Row, now: datetime, thing: str | None) -> tuple[Row, Stood]:
        stood = Stood("ready", row["epoch"])
        self._stopwatch.start(row["id"], row["epoch"] + 1, first=row["unsure_since"] is None)
        row |= {
            "reason": None,
            "detail": None,
            "epoch": row["epoch"] + 1,
            "holder": claim.holder,
            "claimed_at": now,
            "deadline": now + timedelta(seconds=claim.sending_s),
            "not_before": None,
            "input": claim.prepared.input,
            "body": request_as_json(claim.request),
            "thing": thing,
        }
        return row, stood

    def _reserve(self, conn: Connection, claim: Claim, row: Row) -> str | None:
        """Reserve our own id of what is being made; a draft invoice takes its charges with it, so that none is billed twice."""
        if row["thing"] is not None or claim.prepared.action != "create_draft_invoice":
            return row["thing"]  # type: ignore[no-any-return]
        lines = claim.prepared.input["lines"]
        invoice = self._ids.new("inv")
        total = sum(line["amount"]["minor"] for line in lines)
        columns = {
            "id": invoice,
            "client": row["client"],
            "engagement": row["engagement"],
            "status": "drafting",
            "kind": "invoice",
        }
        columns |= {"total_minor": total, "total_currency": claim.prepared.input["currency"], "fields": {}}
        insert_all(conn, tables.invoice, [columns])
        insert_all(
            conn,
            tables.invoice_line,
            [
                {
                    "invoice": invoice,
                    "charge": line["charge"],
                    "position": position,
                    "description": line["description"],
                    "amount_minor": line["amount"]["minor"],
                    "amount_currency": line["amount"]["currency"],
                    "live": True,
                }
                for position, line in enumerate(lines)
            ],
        )
        return invoice

    @staticmethod
    def _expect(conn: Connection, claims: Sequence[Claim]) -> None:
        """Note in the mirror what is being sent to records that are linked already, before it is sent."""
        expect(conn, {field: value for claim in claims for field, value in _fields(claim).items()})


def _fields(claim: Claim) -> dict[Field, str]:
    """Give what a claim writes in a record that is linked already."""
    prepared = claim.prepared
    if prepared.action != "set_fields" or not prepared.target:
        return {}
    connection, kind, record = prepared.target.split("/", 2)
    return {(connection, kind, record, path): observed(value) for path, value in prepared.input["values"].items()}


def _charges(claim: Claim) -> list[str]:
    """Give the charges that a draft invoice takes up; what it takes off is none."""
    if claim.prepared.action != "create_draft_invoice":
        return []
    return [line["charge"] for line in claim.prepared.input["lines"] if line["charge"] is not None]


def release_charges(conn: Connection, invoice: str) -> None:
    """Free the charges of a draft that was never made."""
    conn.execute(update(tables.invoice_line).where(tables.invoice_line.c.invoice == invoice).values(live=False))
    conn.execute(update(tables.invoice).where(tables.invoice.c.id == invoice).values(status="void"))


def expect(conn: Connection, sent: dict[Field, str]) -> None:
    """Write `mirror.sent` for fields: what is seen next and means the same is our own change coming back."""
    known = {_field(row): row for row in _mirrors(conn, sent)}
    names = ("connection", "kind", "record_id", "field")
    rows_ = [dict(zip(names, key, strict=True)) | _sent(known.get(key), value) for key, value in sorted(sent.items())]
    put_all(conn, tables.mirror, rows_)


def _sent(known: Row | None, value: str) -> Row:
    """What is there already does not come back as a change. What we sent before and did not see yet may still show."""
    seen, before = (known["seen"], known["sent"]) if known is not None else (None, None)
    passed = [one for one in ((known or {}).get("passed") or ()) if one != value] if before is not None else []
    if before not in (None, value):
        passed.append(before)
    return {"seen": seen, "sent": None if seen == value and not passed else value, "shown_by": None, "passed": passed or None}


def _field(row: Row) -> Field:
    return (row["connection"], row["kind"], row["record_id"], row["field"])


def _mirrors(conn: Connection, fields: Collection[Field]) -> list[Row]:
    return records(conn, tables.mirror, {key[:3] for key in fields})


def _landing(row: Row | None, value: str) -> datetime | None:
    """Give until when the tool may still write another value of ours, None when there is none."""
    if row is None or (row["sent"] or row["seen"]) == value:
        return None
    until: datetime | None = row["lands_by"]
    return until


def answered(conn: Connection, fields: Collection[Field], now: datetime) -> None:
    """Note that the tool has taken what was sent: it shows that soon, and whatever else it shows then is somebody's news."""
    mine = [row for row in _mirrors(conn, fields) if row["sent"] is not None and _field(row) in fields]
    put_all(conn, tables.mirror, [row | {"shown_by": now + SHOWN_WITHIN} for row in mine])


def unanswered(conn: Connection, fields: Mapping[Field, datetime]) -> None:
    """Note until when the tool may still do what was sent and got no answer: what is written next to these fields waits."""
    mine = [(row, fields[_field(row)]) for row in _mirrors(conn, fields) if _field(row) in fields]
    put_all(conn, tables.mirror, [row | {"lands_by": max(until, row["lands_by"] or until)} for row, until in mine])
