"""Why a handoff acted for a thing, and why not: its switch, its condition, its fact's time, its effects one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import Due, Effect, Handoff
from lifecyclehub.insight.advice import effect_advice
from lifecyclehub.insight.view import Subject, View
from lifecyclehub.insight.world import World
from lifecyclehub.mapping import Undecided
from lifecyclehub.model.times import told
from lifecyclehub.rules import Rules
from lifecyclehub.store.things import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectWhy:
    """One effect of a handoff for a subject. `id` None: it does not exist, and `detail` says why not."""

    id: str | None
    name: str
    item: str
    do: str
    state: str
    reason: str | None
    detail: str | None
    advice: str
    revision: int | None
    attempts: int
    connection: str | None
    record_id: str | None
    address: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffWhy:
    """What a handoff makes of one subject now. `verdict` is due, off, condition, before-go-live, baseline or undecided.

    `reason` is a sentence; `fact_at` when its fact became true at the vendor, None when unknown.
    """

    handoff: str
    title: str
    subject_kind: str
    subject: str
    state: str
    go_live: datetime | None
    when: str
    verdict: str
    reason: str
    fact_at: datetime | None
    effects: tuple[EffectWhy, ...]


def handoffs_for(rules: Rules, world: World, subject: Subject, now: datetime) -> tuple[HandoffWhy, ...]:
    """Say for every handoff of the subject's kind why it acts or not."""
    view = View(rules, subject, now)
    return tuple(_why(world, handoff, subject, view) for handoff in rules.handoffs.per(subject.kind))


def _why(world: World, handoff: Handoff, subject: Subject, view: View) -> HandoffWhy:
    switch = world.switches.get(handoff.id) or {"state": "off", "go_live": None}
    verdict, reason, fact_at = _verdict(world, handoff, view, switch["state"])
    return HandoffWhy(
        handoff=handoff.id,
        title=handoff.title,
        subject_kind=subject.kind,
        subject=subject.id,
        state=switch["state"],
        go_live=switch["go_live"],
        when=handoff.when.text,
        verdict=verdict,
        reason=reason,
        fact_at=fact_at,
        effects=tuple(_effects(world, handoff, subject, view, due=verdict == "due")),
    )


def _verdict(world: World, handoff: Handoff, view: View, state: str) -> tuple[str, str, datetime | None]:
    found = handoff.due(view.base, world.go_live(handoff.id))
    if isinstance(found, Due):
        return "due", f"{handoff.when.text} holds, and became true {told(found.at)}.", found.at
    if isinstance(found, Undecided):
        return "undecided", found.reason, None
    if found.code == "off":
        return "off", f"{handoff.when.text} holds, but the handoff is {state}: it acts only when it is on.", None
    return found.code, found.reason, None


def _effects(world: World, handoff: Handoff, subject: Subject, view: View, *, due: bool) -> Iterator[EffectWhy]:
    mine = [
        row
        for row in subject.state.effects.values()
        if row["handoff"] == handoff.id and subject.id in (row["cause"], row["subject"])
    ]
    for effect in handoff.effects:
        there = sorted((row for row in mine if row["name"] == effect.name), key=lambda row: str(row["id"]))
        for row in there:
            yield effect_why(row)
        if not there and due:
            yield _missing(world, effect, view)
    known = {effect.name for effect in handoff.effects}
    for row in mine:
        if row["name"] not in known:
            yield effect_why(row)


def effect_why(row: Row) -> EffectWhy:
    """Say how an effect stands."""
    return EffectWhy(
        id=row["id"],
        name=row["name"],
        item=row["item"],
        do=f"{row['role']}.{row['action']}",
        state=row["state"],
        reason=row["reason"],
        detail=row["detail"],
        advice=effect_advice(row["state"], row["reason"]),
        revision=row["revision"],
        attempts=row["attempts"],
        connection=row["connection"],
        record_id=row["record_id"],
        address=row["address"],
    )


def _missing(world: World, effect: Effect, view: View) -> EffectWhy:
    """Say why a due handoff has no such effect for this subject."""
    return EffectWhy(
        id=None,
        name=effect.name,
        item="",
        do=effect.do,
        state="not planned",
        reason="condition",
        detail=_why_missing(world, effect, view),
        advice="Nothing to do, if that is as it should be.",
        revision=None,
        attempts=0,
        connection=None,
        record_id=None,
        address=None,
    )


def _why_missing(world: World, effect: Effect, view: View) -> str:
    context = view.base | view.acting(world.playing(effect.role))
    decision = effect.holds(context)
    if isinstance(decision, Undecided):
        return decision.reason
    if not decision:
        return f"{effect.when.text if effect.when else ''} is false."
    try:
        if not effect.rows(context):
            return f"{effect.each.text if effect.each else ''} has no rows."
    except MappingError as error:
        return str(error)
    return f"it needs {', '.join(effect.needs)}, which is not planned." if effect.needs else "it is planned with the next look."
