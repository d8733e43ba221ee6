"""Step 6, decide: looks at state, not at the difference. Which effects exist now that did not, and which may go on.

A handoff is due when its condition holds now, its fact is not older than its go-live, and no effect with the key exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, update

from lifecyclehub.connector import About
from lifecyclehub.dispatch.advance import BY_A_PERSON, OVER, WAITING, Left, prepare
from lifecyclehub.dispatch.claim import release_charges
from lifecyclehub.dispatch.foreseen import Foreseen
from lifecyclehub.dispatch.moves import Stood, allowed, swap, write
from lifecyclehub.dispatch.prepared import Prepared
from lifecyclehub.dispatch.withheld import forget_withheld, withheld
from lifecyclehub.dispatch.world import Effects, subject_of
from lifecyclehub.errors import ConfigurationError, LostRace
from lifecyclehub.handoffs import Due, Handoff, PlannedEffect, marker
from lifecyclehub.insight.findings import BRAKE, UNASSIGNED, unassigned_detail
from lifecyclehub.insight.teammates import assigns
from lifecyclehub.insight.view import Subject, View
from lifecyclehub.insight.world import World
from lifecyclehub.mapping import Undecided
from lifecyclehub.ports import Ids
from lifecyclehub.rules import Rules
from lifecyclehub.store import tables
from lifecyclehub.store.state import State
from lifecyclehub.store.things import Row
from lifecyclehub.store.upsert import insert_all, insert_new

_effect = tables.effect
_COLUMNS = (
    "state",
    "reason",
    "detail",
    "connection",
    "target",
    "creates",
    "done_at",
    "not_before",
    "cause_kind",
    "cause",
    "applied_set",
)
_MOVE = swap(*_COLUMNS)
_KINDS = ("deal", "project", "ticket")
_INTRODUCTIONS = timedelta(minutes=1)  # a tool that cannot list its people keeps nothing waiting for longer


class Planner:
    """Plans and advances effects within one operation, and writes them set by set."""

    def __init__(self, conn: Connection, rules: Rules, world: World, ids: Ids, now: datetime) -> None:
        self._conn, self._rules, self._world, self._ids, self._now = conn, rules, world, ids, now
        self._new: dict[str, Row] = {}
        self._needs: list[Row] = []
        self._moved: dict[str, tuple[Row, Stood]] = {}
        self._findings: list[Row] = []
        self._views: dict[str, View] = {}
        self._foreseen = Foreseen(rules.handoffs.tables)

    # --- planning -----------------------------------------------------------------------------------------------------

    def decide(self, states: Iterable[State]) -> list[Prepared]:
        """Plan what is due for every subject of some engagements, cancel what no longer is, and advance what waits."""
        states = list(states)
        self.expect_owners(states)
        prepared: list[Prepared] = []
        for state in states:
            for kind in _KINDS:
                for thing in state.things(kind):
                    if not state.gone(kind, thing["id"]):
                        self._subject(Subject(kind, thing, state))
            prepared += self.advance(state, [row for row in state.effects.values() if row["state"] in WAITING])
        return prepared

    def expect_owners(self, states: Iterable[State]) -> None:
        """Note who owns what in these engagements: their records are read at once if one of them is asked for."""
        for state in states:
            self._world.teammates.expect((*state.deals, *state.projects, *state.tickets))

    def decide_clients(self, states: Iterable[State]) -> list[Prepared]:
        """The same for handoffs that are per client."""
        prepared: list[Prepared] = []
        for state in states:
            if state.client is not None:
                self._subject(Subject("client", state.client, state))
                prepared += self.advance(state, [row for row in state.effects.values() if row["state"] in WAITING])
        return prepared

    def _subject(self, subject: Subject) -> None:
        for handoff in self._rules.handoffs.per(subject.kind):
            if self._world.go_live(handoff.id) is None or self._foreseen.all_there(handoff, subject):
                continue
            view = self._view(subject)
            verdict = view.due(handoff, self._world.go_live(handoff.id))
            if isinstance(verdict, Due):
                self._plan(handoff, subject, view, verdict.at)
            elif isinstance(verdict, Undecided):
                self._withhold(handoff, subject, view, "undecided", verdict.reason)
            elif verdict.code in ("before-go-live", "baseline"):
                self._withhold(handoff, subject, view, verdict.code, verdict.reason, verdict.at)

    def _view(self, subject: Subject) -> View:
        view = self._views.get(subject.id)
        if view is None:
            view = self._views[subject.id] = View(self._rules, subject, self._now)
        return view

    def _plan(self, handoff: Handoff, subject: Subject, view: View, at: datetime) -> None:
        try:
            planned = self._planned(handoff, subject, view)
        except ConfigurationError as error:  # what a mapping cannot say, or what does not add up, such as two currencies
            self._withhold(handoff, subject, view, "mapping", str(error), at)
            return
        for one in planned:
            row = subject.state.effects.get(one.key())
            if row is None:
                self._add(one, subject, at)
            elif row["state"] == "cancelled" and row["reason"] != BY_A_PERSON:
                row |= {"cause_kind": subject.kind, "cause": subject.id, "applied_set": self._rules.version}
                self._move(row, Left("planned"))

    def _planned(self, handoff: Handoff, subject: Subject, view: View) -> list[PlannedEffect]:
        begun = {row["name"] for row in _of(handoff, subject) if row["state"] not in (*WAITING, "cancelled")}
        return handoff.plan(view.base, self._acting(view), begun)

    def _acting(self, view: View) -> Any:
        known: dict[str, Mapping[str, Any]] = {}

        def acting(do: str) -> Mapping[str, Any]:
            role = do.partition(".")[0]
            if role not in known:
                known[role] = view.acting(self._world.playing(role))
            return known[role]

        return acting

    def _add(self, planned: PlannedEffect, subject: Subject, at: datetime) -> None:
        state = subject.state
        role, _, action = planned.do.partition(".")
        key = planned.key()
        row: Row = {
            "id": self._ids.new("eff"),
            "key": key,
            "handoff": planned.handoff,
            "name": planned.name,
            "subject_kind": planned.subject_kind,
            "subject": planned.subject_id,
            "item": planned.item,
            "round": 1,
            "round_by": None,
            "cause_kind": subject.kind,
            "cause": subject.id,
            "engagement": state.engagement["id"],
            "client": state.client["id"] if state.client else None,
            "role": role,
            "action": action,
            "connection": None,
            "target": None,
            "creates": None,
            "thing": None,
            "marker": marker(_in_its_tool(state, planned).key(), self._rules.installation),
            "state": "planned",
            "reason": None,
            "detail": None,
            "applied_set": self._rules.version,
            "revision": 1,
            "epoch": 0,
            "attempts": 0,
            "first_failed_at": None,
            "fact_at": at,
            "planned_at": self._now,
            "done_at": None,
            "not_before": None,
        }
        row["needed"] = [state.effects[after]["id"] for after in planned.after if after in state.effects]
        row |= dict.fromkeys(("body", "input", "record_id", "address", "unsure_since"))
        state.effects[key] = row
        self._new[row["id"]] = row
        self._needs += [{"effect": row["id"], "needed": one} for one in row["needed"]]

    def _withhold(
        self, handoff: Handoff, subject: Subject, view: View, code: str, reason: str, at: datetime | None = None
    ) -> None:
        """Nothing is dropped silently: what go-live, baseline or an open question keeps from acting is listed."""
        if self._has_effects(handoff, subject, view, at):
            return
        self._findings.append(withheld(self._ids.new("fin"), handoff, subject, code, reason, self._now))

    def _has_effects(self, handoff: Handoff, subject: Subject, view: View, at: datetime | None) -> bool:
        """Tell whether the very fact of this time has its effects, not only an older one of the same subject.

        Those of a fact that was only dated anew are there under the same keys.
        """
        mine = _of(handoff, subject)
        if not mine or (at is not None and any(row["fact_at"] is not None and row["fact_at"] >= at for row in mine)):
            return bool(mine)
        try:
            return all(one.key() in subject.state.effects for one in self._planned(handoff, subject, view))
        except ConfigurationError:
            return at is None

    # --- advancing ----------------------------------------------------------------------------------------------------

    def advance(self, state: State, effects: Sequence[Row]) -> list[Prepared]:
        """Check waiting effects again, in their order, and prepare those that nothing stands in the way of."""
        prepared = []
        for row in effects:
            if row["state"] not in WAITING or (row["not_before"] is not None and row["not_before"] > self._now):
                continue
            subject = subject_of(state, row)
            ready = (
                prepare(self._rules, self._world, self._view(subject), row)
                if subject is not None
                else Left("cancelled", "gone", "what it was for is not there any more")
            )
            if isinstance(ready, Left):
                row["not_before"] = None  # it was its time: a clock that is put back must not make it wait for that again
                self._brake(row, ready)
                self._move(row, _not_hidden(row, ready))
            elif not self._may_become_known(row, ready):
                prepared.append(self._ready(row, ready))
        return prepared

    def _may_become_known(self, row: Row, ready: Prepared) -> bool:
        """Put off what an owner would not get only because the people of a tool just connected were not listed yet."""
        about, connection = self._nobody_there(ready), self._world.connections[ready.connection]
        if about is None or not timedelta(0) <= self._now - connection["created_at"] < _INTRODUCTIONS:
            return False
        if self._world.teammates.listed(about, ready.connection):
            return False
        row["not_before"] = self._now + timedelta(seconds=1)
        self._move(row, Left("ready", "owner", f"the people of {connection['name']} are just being listed"), also=True)
        return True

    def _nobody_there(self, ready: Prepared) -> About | None:
        """Give the tool that assigns by its own people and does not know the owner, None where nobody is missed."""
        owner = ready.input.get("owner")
        if ready.frozen is not None or owner is None or owner["record"] is not None:
            return None
        about = self._rules.abouts.get(ready.connector)
        return about if about is not None and assigns(about) else None  # else it assigns by address, or not at all

    def _ready(self, row: Row, ready: Prepared) -> Prepared:
        action = self._rules.action(ready.connector, ready.action)
        target = self._target(row, ready, action)
        self._unassigned(row, ready)
        elsewhere = row["target"] != target  # such as a company that was merged into another one while this waited
        if row["state"] != "ready" or elsewhere:
            row["target"] = target
            self._move(row, Left("ready"), also=elsewhere)
        return ready if ready.target == target else _with_target(ready, target)

    def _brake(self, row: Row, left: Left) -> None:
        """Say that the brake stopped something; the finding goes when a person has answered."""
        if left.state != "parked" or left.reason != BRAKE:
            return
        self._findings.append(
            {
                "id": self._ids.new("fin"),
                "kind": BRAKE,
                "subject_kind": row["subject_kind"],
                "subject": row["subject"],
                "about": row["key"],
                "detail": left.detail,
                "facts": {"effect": row["id"], "handoff": row["handoff"]},
                "at": self._now,
            }
        )

    def _unassigned(self, row: Row, ready: Prepared) -> None:
        """Say that an owner is nobody in the acting tool: what is theirs is made without an assignee, not left undone."""
        if self._nobody_there(ready) is None:
            return
        owner = ready.input["owner"]
        tool = self._world.connections[ready.connection]["name"]
        self._findings.append(
            {
                "id": self._ids.new("fin"),
                "kind": UNASSIGNED,
                "subject_kind": "teammate",
                "subject": f"{ready.connection}/{owner['email']}",
                "about": owner["email"],
                "detail": unassigned_detail(owner["email"], tool),
                "facts": {"email": owner["email"], "connection": tool, "effect": row["id"]},
                "at": self._now,
            }
        )

    def _target(self, row: Row, ready: Prepared, action: Any) -> str | None:
        """Name the record in whose order it is sent. Two engagements never make the record of one client at the same time."""
        if action is None:
            return None
        if action.target is not None and action.target_field is not None:
            record = ready.input.get(action.target_field)
            return f"{ready.connection}/{action.target}/{record}" if record else None
        about = self._rules.abouts.get(ready.connector)
        kind = about.kind(action.creates) if about is not None and action.creates is not None else None
        of_client = kind is not None and kind.fills == "client" and row["client"] is not None
        return f"{ready.connection}/{action.creates}/of {row['client']}" if of_client else None

    def _move(self, row: Row, left: Left, *, also: bool = False) -> None:
        """Note where an effect goes; `also`: though it stays there, as something else of it has changed."""
        if not also and (row["state"], row["reason"], row["detail"]) == (left.state, left.reason, left.detail):
            return
        before = self._moved.get(row["id"])
        if before is not None and not allowed(before[1].state, left.state):  # two moves, such as wanted again and held
            write(self._conn, _MOVE, _COLUMNS, [self._moved.pop(row["id"])])
        stood = Stood.of(row)
        row |= {"state": left.state, "reason": left.reason, "detail": left.detail}
        if left.state == "done":
            row["done_at"] = self._now
        if left.state == "cancelled" and row["action"] == "create_draft_invoice" and row["thing"] is not None:
            self._give_back(row)
        if row["id"] not in self._new:
            self._moved.setdefault(row["id"], (row, stood))

    def _give_back(self, row: Row) -> None:
        """Free the charges of a draft that will not be made; if it is wanted again, it is rendered anew."""
        anew = {"thing": None, "body": None, "input": None, "revision": row["revision"] + 1, "applied_set": self._rules.version}
        still_so = (_effect.c.id == row["id"]) & (_effect.c.epoch == row["epoch"]) & _effect.c.state.in_(WAITING)
        if not self._conn.execute(update(_effect).where(still_so).values(**anew)).rowcount:
            raise LostRace("another worker moved an effect at the same moment")
        release_charges(self._conn, row["thing"])
        row |= anew

    def write(self) -> None:
        """Write new and moved effects. Raises LostRace when another worker moved one of them meanwhile."""
        stored = [{name: row[name] for name in _NEW_COLUMNS} for row in self._new.values()]
        insert_all(self._conn, _effect, stored)
        insert_all(self._conn, tables.need, self._needs)
        write(self._conn, _MOVE, _COLUMNS, list(self._moved.values()))
        insert_new(self._conn, tables.finding, self._findings)
        if self._new:
            forget_withheld(self._conn, self._new.values())


_LATER = (  # written by claims and receipts
    "input",
    "body",
    "holder",
    "claimed_at",
    "unsure_since",
    "deadline",
    "handle",
    "record_id",
    "address",
)
_NEW_COLUMNS = [column.name for column in _effect.columns if column.name not in _LATER]


def _of(handoff: Handoff, subject: Subject) -> list[Row]:
    """Give the effects that this handoff has for this subject."""
    return [row for row in subject.state.effects.values() if row["handoff"] == handoff.id and row["cause"] == subject.id]


def _not_hidden(row: Row, left: Left) -> Left:
    """Never end what may have been done already: that is a person's to say."""
    if left.state not in ("cancelled", "done") or row["unsure_since"] is None:
        return left
    return Left("parked", "in doubt", f"it is not wanted any more ({left.detail}), but it may have been done already")


def _with_target(ready: Prepared, target: str | None) -> Prepared:
    return replace(ready, target=target)


def advance_effects(planner: Planner, effects: Effects, ids: Sequence[str]) -> list[list[Prepared]]:
    """Advance effects by id; gives, for each, what may be sent now."""
    planner.expect_owners(effects.states.values())
    return [_advance_on(planner, *found) if (found := effects.row(one)) is not None else [] for one in ids]


def _advance_on(planner: Planner, row: Row, state: State) -> list[Prepared]:
    """Advance one effect, and when that ends it, also those that waited for it: no receipt will wake them."""
    waited = row["state"] in WAITING
    prepared = planner.advance(state, [row])
    if waited and row["state"] in OVER:
        for other in state.effects.values():
            if row["id"] in other["needed"]:
                prepared += _advance_on(planner, other, state)
    return prepared


def _in_its_tool(state: State, planned: PlannedEffect) -> PlannedEffect:
    """Name an effect's subject as its tool does, as we do where no tool knows it: our ids are forgotten with a restore."""
    links = state.links.get((planned.subject_kind, planned.subject_id), ())
    known = min(("/".join((one["connection"], one["kind"], one["record_id"])) for one in links), default=planned.subject_id)
    return replace(planned, subject_id=known)
