"""Steps 6 and 7 meet here: which effects are to exist, and what keeps one from being performed now.

Everything is a plain function of the rows of some engagements; the same check runs when an effect is planned and
again before it is claimed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from lifecyclehub.connector.roles import Owner
from lifecyclehub.dispatch.brake import quarrel, stopped_before
from lifecyclehub.dispatch.prepared import Prepared, request_from_json
from lifecyclehub.errors import ConfigurationError, MappingError
from lifecyclehub.handoffs import Due, Effect, Handoff, idempotency_key
from lifecyclehub.insight.findings import BRAKE
from lifecyclehub.insight.teammates import assigns
from lifecyclehub.insight.view import Subject, View
from lifecyclehub.insight.world import World
from lifecyclehub.mapping import Undecided
from lifecyclehub.messages import Key
from lifecyclehub.rules import Rules
from lifecyclehub.store.state import State
from lifecyclehub.store.things import Row

WAITING = ("planned", "held", "ready")
OVER = ("done", "cancelled")
BY_A_PERSON = "by a person"
"""Why an effect was cancelled that stays so, also while its condition holds."""


@dataclass(frozen=True, slots=True)
class Left:
    """An effect that waits or ended: its new state and why. `detail` says how to mend it."""

    state: str
    reason: str | None = None
    detail: str | None = None


def prepare(rules: Rules, world: World, view: View, row: Row) -> Prepared | Left:
    """Check everything that may keep an effect from being performed, and make its input and body from present values."""
    if row["record_id"] is not None:
        made = row["address"] or row["record_id"]
        return Left("parked", "late answer", f"an earlier sending made {made} after all: a person must say whether it is the one")
    try:
        return _prepare(rules, world, view, row)
    except ConfigurationError as error:  # such as charges in two currencies
        return Left("held", "undecided", str(error))


def _prepare(rules: Rules, world: World, view: View, row: Row) -> Prepared | Left:
    handoff = rules.handoffs.handoff(row["handoff"])
    rule = handoff.effect(row["name"]) if handoff else None
    if handoff is None or rule is None:
        return Left("held", "stopped", f"the handoff {row['handoff']} is not in handoffs.toml any more")
    stopped = _condition(world, handoff, rule, view, row)
    if stopped is not None:
        return stopped
    connection = world.connections.get(row["connection"]) if row["connection"] else world.playing(row["role"])
    if connection is None:
        return Left(
            "held", "connection", f"no connection plays the role {row['role']}; add one with `lifecyclehub connections add`"
        )
    row["connection"] = connection["id"]
    closed = _closed(rules, connection)
    if closed is not None:
        return Left("held", "connection", closed)
    needs = _open_needs(view.subject.state, row, rule.optional_needs)
    if needs:
        return Left("held", "needs", f"waits for {', '.join(needs)}")
    action = rules.action(connection["connector"], row["action"])
    if action is None:
        return Left("parked", "unsupported", f"{connection['connector']} cannot {row['action']}")
    row["creates"] = action.creates
    key = Key(idempotency_key(row["marker"], row["revision"], rules.installation), row["marker"])
    if row["body"] is not None:
        return _prepared(row, connection, view.subject, key, row["input"], None)
    return _rendered(rules, world, rule, view, row, connection, key)


def _closed(rules: Rules, connection: Row) -> str | None:
    """Say why nothing can be sent through a connection now, None when something can."""
    if connection["state"] != "active":
        return f"the connection {connection['name']} is {connection['state']}: {connection['reason']}"
    if connection["connector"] not in rules.abouts:
        return f"the connector {connection['connector']} is not installed, or was refused at the start"
    return None


def _condition(world: World, handoff: Handoff, rule: Effect, view: View, row: Row) -> Left | None:
    """Check the handoff's switch and condition and the effect's own `when` again."""
    go_live = world.go_live(handoff.id)
    if go_live is None:
        return Left("held", "stopped", f"the handoff {handoff.id} is switched off")
    verdict = view.due(handoff, go_live)
    if isinstance(verdict, Undecided):
        return Left("held", "undecided", verdict.reason)
    if not isinstance(verdict, Due):
        return Left("cancelled", verdict.code, verdict.reason)
    connection = world.connections.get(row["connection"] or "") or world.playing(row["role"])
    if row["body"] is not None:
        return None
    context = view.base | view.acting(connection)
    decision = rule.holds(context)
    if isinstance(decision, Undecided):
        return Left("held", "undecided", decision.reason)
    if decision and rule.each is not None and rule.row(context, row["item"]) is None:
        return Left("cancelled", "condition", f"the row {row['item']!r} is not in its table any more")
    return None if decision else Left("cancelled", "condition", f"{rule.when.text if rule.when else ''} is false")


def _open_needs(state: State, row: Row, optional: Collection[str]) -> list[str]:
    """Name the effects that must be done first. Only an optional one (`needs = ["customer?"]`) may be cancelled instead."""
    needed = [one for one in map(state.effect, row["needed"]) if one is not None]
    waiting = [one for one in needed if one["state"] != "done" and not (one["state"] == "cancelled" and one["name"] in optional)]
    return [f"{one['name']} {one['item']}".strip() + f" ({one['state']})" for one in waiting]


def _made(state: State, row: Row) -> dict[str, Any]:
    """Give what the needed effects made, by their names."""
    needed = [one for one in map(state.effect, row["needed"]) if one and not one["item"]]
    return {one["name"]: {"record": one["record_id"], "url": one["address"]} for one in needed}


def _assigned(rules: Rules, world: World, connection: Row, value: BaseModel) -> BaseModel:
    """Name the owner as the acting tool does; one whom it does not know stays an address, which the mapping writes down."""
    owner = getattr(value, "owner", None)
    if not isinstance(owner, Owner) or owner.record is not None or not assigns(rules.abouts.get(connection["connector"])):
        return value
    record = world.teammates.record(owner.email, connection["id"])
    return value.model_copy(update={"owner": owner.model_copy(update={"record": record})})


def _rendered(rules: Rules, world: World, rule: Effect, view: View, row: Row, connection: Row, key: Key) -> Prepared | Left:
    """Render with the set that planned it: an edit may hold or cancel it, and changes only what is planned from then on."""
    context = view.base | view.acting(connection) | {"made": _made(view.subject.state, row)}
    if row["action"] == "create_draft_invoice" and not context["charges"]:
        return Left("done", "nothing to bill", "every due charge is on an invoice already")
    planned = rules.planned_with(row["applied_set"])
    if planned is None:
        return Left(row["state"], row["reason"], row["detail"])  # another hub planned it with a set that is taken over here next
    if isinstance(planned, str):
        return Left("parked", "mapping", f"the set {row['applied_set']} that planned it cannot be used any more: {planned}")
    try:
        if planned is not rules:
            rule, context["tables"] = _as_planned(planned, rule, row), planned.handoffs.tables
        connector = connection["connector"]
        mapping = planned.mappings.get(connector, rules.mappings[connector]).outbound(row["action"])
        if mapping is None:
            return Left("parked", "mapping", f"{connector} has no mapping for {row['action']}")
        if rule.each is not None:
            context["item"] = rule.row(context, row["item"])
        value = rule.build(context)
        if "at" in type(value).model_fields and "at" not in value.model_fields_set:
            value = value.model_copy(update={"at": view.now})
        value = _assigned(rules, world, connection, value)
        body = mapping.body(value, context["settings"], context["account"])
    except MappingError as error:
        return Left("parked", "mapping", str(error))
    braked = _braked(view, row, value) if row["action"] == "set_fields" else None
    return braked or _prepared(row, connection, view.subject, key, value.model_dump(mode="json"), body)


def _braked(view: View, row: Row, value: BaseModel) -> Left | None:
    effects = view.subject.state.effects.values()
    before = stopped_before(effects, row)
    if before is not None:
        return Left("held", BRAKE, f"the brake stopped {before['id']}, which does the same; it goes on when that is answered")
    given = value.model_dump()
    why = quarrel(effects, row, given["values"], given["record"], view.now)
    return Left("parked", BRAKE, f"{why}: something seems to answer each of our writes") if why else None


def _as_planned(planned: Rules, rule: Effect, row: Row) -> Effect:
    handoff = planned.handoffs.handoff(row["handoff"])
    return (handoff.effect(row["name"]) if handoff else None) or rule


def _prepared(row: Row, connection: Row, subject: Subject, key: Key, value: dict[str, Any], body: Any) -> Prepared:
    return Prepared(
        effect=row["id"],
        epoch=row["epoch"],
        revision=row["revision"],
        connection=connection["id"],
        connector=connection["connector"],
        action=row["action"],
        target=row["target"],
        engagement=subject.state.engagement["id"],
        engagement_version=subject.state.engagement["version"] or 0,
        input=value,
        body=body,
        key=key,
        frozen=request_from_json(row["body"]) if row["body"] is not None else None,
    )
