"""Step 7, the claim: *in flight* with its frozen body and deadline is committed before anything is sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from lifecyclehub.dispatch.prepared import Claim, Claimed, request_as_json
from lifecyclehub.ports import Clock, Ids
from lifecyclehub.store import tables
from lifecyclehub.store.state import records, rows
from lifecyclehub.store.things import Row, observed
from lifecyclehub.store.upsert import insert_all, put_all

_effect = tables.effect
_CLAIM = (
    update(_effect)
    .where(_effect.c.id == bindparam("which"))
    .values(
        state="in flight",
        reason=None,
        detail=None,
        epoch=bindparam("new_epoch"),
        holder=bindparam("new_holder"),
        claimed_at=bindparam("now"),
        deadline=bindparam("until"),
        not_before=None,
        input=bindparam("new_input"),
        body=bindparam("new_body"),
        thing=bindparam("new_thing"),
    )
)


class TakeClaims:
    """Takes effects, so that nobody else can: the operation of step 7."""

    def __init__(self, ids: Ids, clock: Clock) -> None:
        self._ids, self._clock = ids, clock

    def __call__(self, conn: Connection, claims: Sequence[Claim]) -> list[Claimed]:
        """Take those whose values still hold and whose turn it is on their target record."""
        now = self._clock.now()
        effects = {row["id"]: row for row in rows(conn, _effect, "id", {one.prepared.effect for one in claims}, lock=True)}
        versions = self._versions(conn, {one.prepared.engagement for one in claims if one.prepared.engagement})
        first = self._first_on_target(conn, {one.prepared.target for one in claims if one.prepared.target})
        billed = self._billed(conn, claims)
        self._doubt(conn, claims, effects, now)
        verdicts = [self._verdict(one, effects.get(one.prepared.effect), versions, first, billed) for one in claims]
        going = [(one, effects[one.prepared.effect]) for one, said in zip(claims, verdicts, strict=True) if said.verdict == "go"]
        things = {one.prepared.effect: self._reserve(conn, one, row) for one, row in going}
        if going:
            conn.execute(_CLAIM, [self._values(one, row, now, things[one.prepared.effect]) for one, row in going])
            self._expect(conn, [one for one, _ in going])
        return verdicts

    @staticmethod
    def _doubt(conn: Connection, claims: Sequence[Claim], effects: dict[str, Row], now: datetime) -> None:
        """Look up, instead of sending again, what may have been done under a key that the vendor has forgotten by now."""
        for one in claims:
            row = effects.get(one.prepared.effect)
            if row is None or row["state"] != "ready" or one.key_s is None or row["unsure_since"] is None:
                continue
            if now >= row["unsure_since"] + timedelta(seconds=one.key_s):
                row |= {"state": "in doubt", "reason": "key ended", "not_before": now}
                values = {name: row[name] for name in ("state", "reason", "not_before")}
                conn.execute(update(_effect).where(_effect.c.id == row["id"]).values(**values))

    @staticmethod
    def _versions(conn: Connection, engagements: set[str]) -> dict[str, int]:
        return {row["id"]: row["version"] for row in rows(conn, tables.engagement, "id", engagements)}

    @staticmethod
    def _first_on_target(conn: Connection, targets: set[str]) -> dict[str, str]:
        """Which open effect comes first on each target record: they are performed in the order they were planned."""
        if not targets:
            return {}
        statement = (
            select(_effect.c.target, _effect.c.id)
            .where(tables.ON_TARGET, _effect.c.target.in_(sorted(targets)))
            .order_by(_effect.c.id)
        )
        first: dict[str, str] = {}
        for target, effect in conn.execute(statement):
            first.setdefault(target, effect)
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
        if prepared.engagement and versions.get(prepared.engagement) != prepared.engagement_version:
            return Claimed("again")
        if prepared.target and first.get(prepared.target) != prepared.effect:
            return Claimed("wait")
        if row["thing"] is None:
            if not billed.isdisjoint(_charges(claim)):
                return Claimed("again")
            billed.update(_charges(claim))
        row["state"] = "in flight"  # the same effect may be asked for twice in one batch; only the first one goes
        return Claimed("go", prepared.epoch + 1)

    @staticmethod
    def _values(claim: Claim, row: Row, now: datetime, thing: str | None) -> dict[str, Any]:
        prepared = claim.prepared
        return {
            "which": prepared.effect,
            "new_epoch": row["epoch"] + 1,
            "new_holder": claim.holder,
            "now": now,
            "until": now + timedelta(seconds=claim.sending_s),
            "new_input": prepared.input,
            "new_body": request_as_json(claim.request),
            "new_thing": thing,
        }

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
        sent: dict[tuple[str, str, str, str], str] = {}
        for claim in claims:
            prepared = claim.prepared
            if prepared.action == "set_fields" and prepared.target:
                connection, kind, record = prepared.target.split("/", 2)
                for path, value in prepared.input["values"].items():
                    sent[connection, kind, record, path] = observed(value)
        expect(conn, sent)


def _charges(claim: Claim) -> list[str]:
    """Give the charges that a draft invoice takes up; what it takes off is none."""
    if claim.prepared.action != "create_draft_invoice":
        return []
    return [line["charge"] for line in claim.prepared.input["lines"] if line["charge"] is not None]


def release_charges(conn: Connection, invoice: str) -> None:
    """Free the charges of a draft that was never made."""
    conn.execute(update(tables.invoice_line).where(tables.invoice_line.c.invoice == invoice).values(live=False))
    conn.execute(update(tables.invoice).where(tables.invoice.c.id == invoice).values(status="void"))


def expect(conn: Connection, sent: dict[tuple[str, str, str, str], str]) -> None:
    """Write `mirror.sent` for fields: what is seen next and equals it is our own change coming back."""
    known = {
        (row["connection"], row["kind"], row["record_id"], row["field"]): row["seen"]
        for row in records(conn, tables.mirror, {key[:3] for key in sent})
    }
    put_all(
        conn,
        tables.mirror,
        [
            {"connection": key[0], "kind": key[1], "record_id": key[2], "field": key[3], "seen": known.get(key), "sent": value}
            for key, value in sorted(sent.items())
        ],
    )
