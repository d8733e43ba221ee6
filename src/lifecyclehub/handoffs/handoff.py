"""Handoffs: per subject, when it holds, do. Everything here is a plain judgement over values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ValidationError

from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs.keys import effect_key
from lifecyclehub.handoffs.lifecycle import Lifecycle
from lifecyclehub.mapping import Condition, Decision, Entry, Expression, Undecided
from lifecyclehub.mapping.entries import shown
from lifecyclehub.mapping.functions import instant_of
from lifecyclehub.mapping.syntax import plain_path
from lifecyclehub.model.times import told

Context: TypeAlias = Mapping[str, Any]
Acting: TypeAlias = Callable[[str], Mapping[str, Any]]
"""Gives `links`, `settings` and `account` of the connection that an action (`crm.add_note`) acts through."""


@dataclass(frozen=True, slots=True)
class Due:
    """The handoff is due; `at` is when its fact became true at the vendor."""

    at: datetime


@dataclass(frozen=True, slots=True)
class NotDue:
    """The handoff is not due. `code` is a stable word, `reason` a sentence for people; `at`: its fact's time, if that is why."""

    code: Literal["condition", "off", "before-go-live", "baseline"]
    reason: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedEffect:
    """One intended act. `item` is "" for an effect without siblings, `row` what `item` stands for in expressions.

    `needs`: names of effects to wait for; `after`: their keys. `undecided`: why its `when` cannot be answered, "" when it can.
    """

    handoff: str
    name: str
    do: str
    subject_kind: str
    subject_id: str
    item: str = ""
    row: Any = None
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    undecided: str = ""

    def key(self, round: int = 1) -> str:  # noqa: A002 (the word of the house)
        """The key that makes it exist once."""
        return effect_key(self.handoff, self.name, self.subject_kind, self.subject_id, self.item, round)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One act of a handoff. `do` is role and action; `needs` are waited for, those in `optional_needs` only if planned."""

    name: str
    do: str
    per: str
    where: str
    model: type[BaseModel]
    entries: tuple[Entry, ...]
    when: Condition | None = None
    each: Expression | None = None
    item: Expression | None = None
    needs: tuple[str, ...] = ()
    optional_needs: frozenset[str] = frozenset()

    @property
    def role(self) -> str:
        """The role that does it."""
        return self.do.partition(".")[0]

    @property
    def action(self) -> str:
        """The role's action."""
        return self.do.partition(".")[2]

    @property
    def foreseen(self) -> bool:
        """Whether its items are known without any value: it has none, or one for each row of a table of ours."""
        table = None if self.each is None else plain_path(self.each.tree)
        return self.item is None and (self.each is None or (table is not None and table[0] == "tables"))

    def holds(self, context: Context) -> Decision:
        """Say whether its own `when` is true now; asked when planning and again before the act."""
        return True if self.when is None else self.when.decide(context)

    def rows(self, context: Context) -> list[tuple[str, Any]]:
        """Give (item, row) for every sibling. Raises MappingError when rows cannot be told apart."""
        if self.item is not None:
            value = self.item.search(context)
            if value is None or isinstance(value, list | dict):
                raise MappingError(
                    f"item: {self.item.text} gave {shown(value)}.", where=self.where, mend="It must be a single value."
                )
            return [(str(value), None)]
        if self.each is None:
            return [("", None)]
        found = self.each.search(context)
        rows = [] if found is None else list(found) if isinstance(found, list | tuple) else [found]
        keyed = [(self._key_of(row), row) for row in rows]
        if len(dict(keyed)) != len(keyed):
            raise MappingError(
                f"each: two rows of {self.each.text} have the same id.", where=self.where, mend="Give each its own id."
            )
        return keyed

    def row(self, context: Context, item: str) -> Any:
        """Give the row of one item as it is now; None when it is gone, or when the effect has no rows."""
        return dict(self.rows(context)).get(item)

    def _key_of(self, row: Any) -> str:
        key = (row.get("id") or row.get("charge")) if isinstance(row, Mapping) else row
        if not isinstance(key, str | int):
            raise MappingError(
                f"each: the row {shown(row)} has no id.", where=self.where, mend="Give every row an id that stays."
            )
        return str(key)

    def input(self, context: Context) -> dict[str, Any]:
        """Evaluate `with`: the action's canonical input by field; what is null is left out.

        `context` holds also `item`, `made`, and the acting connection's `links`, `settings`, `account`.
        Raises MappingError that names the file, handoff, effect and field.
        """
        found = {entry.path.removeprefix("with."): entry.evaluate(context)[1] for entry in self.entries}
        return {name: value for name, value in found.items() if value is not None}

    def build(self, context: Context) -> BaseModel:
        """Give the validated canonical input. Raises MappingError that names the file, handoff, effect and field."""
        try:
            return self.model.model_validate(self.input(context))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise MappingError(
                f"with.{field}: {first['msg'].lower()}, got {shown(first['input'])}.",
                where=self.where,
                mend="Change the entry or the source.",
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """A rule of `handoffs.toml`. Whether it is switched on, and since when, is not in the file."""

    id: str
    title: str
    per: str
    when: Condition
    at: Expression
    effects: tuple[Effect, ...]
    help: str = ""

    def effect(self, name: str) -> Effect | None:
        """Give the effect with this name, None for an unknown one."""
        return next((effect for effect in self.effects if effect.name == name), None)

    def due(self, context: Context, go_live: datetime | None) -> Due | NotDue | Undecided:
        """Say whether the handoff is due for the subject in `context`, looking at its state only. `go_live` None is off."""
        decision = self.when.decide(context)
        if isinstance(decision, Undecided):
            return decision
        if not decision:
            return NotDue("condition", f"{self.when.text} is false.")
        if go_live is None:
            return NotDue("off", f"{self.id} is switched off.")
        try:
            at = _moment(self.at.search(context))
        except (MappingError, ValueError) as error:
            return Undecided(f"{self.at.where}: {error}")
        if at is None:
            return NotDue(
                "baseline", f"{self.at.text} is unknown, so it may have been true before we looked: nothing acts on history."
            )
        if at < _as_finely_told(go_live, at):
            return NotDue("before-go-live", f"it became true {told(at)}, before the go-live {told(go_live)}.", at)
        return Due(at)

    def foreseen(self, tables: Context) -> tuple[tuple[str, str], ...]:
        """Name all effects that a subject can ever have, as (name, item); none where that hangs on its values."""
        if not all(effect.foreseen and effect.per == self.per for effect in self.effects):
            return ()
        try:
            return tuple((effect.name, item) for effect in self.effects for item, _ in effect.rows({"tables": tables}))
        except MappingError:
            return ()

    def plan(self, context: Context, acting: Acting | None = None, begun: Collection[str] = ()) -> list[PlannedEffect]:
        """Give all effects that are to exist for the subject in `context`, in order of their needs.

        `acting` gives what an effect's own connection adds to the context. `begun`: names of effects of this subject
        that are in flight, in doubt, parked or done; they stay planned though their `when` no longer holds.
        Raises MappingError when rows cannot be told apart or the subject has no id.
        """
        planned: dict[str, list[PlannedEffect]] = {}
        for effect in self.effects:
            needs = tuple([need for need in effect.needs if need in planned])
            if not effect.optional_needs.issuperset([need for need in effect.needs if need not in planned]):
                continue
            after = tuple([one.key() for need in needs for one in planned[need]])
            made = self._planned(effect, {**context, **(acting(effect.do) if acting else {})}, begun, needs, after)
            if made is not None:
                planned[effect.name] = made
        return [one for many in planned.values() for one in many]

    def _planned(
        self, effect: Effect, context: Context, begun: Collection[str], needs: tuple[str, ...], after: tuple[str, ...]
    ) -> list[PlannedEffect] | None:
        undecided = ""
        if effect.name not in begun:
            decision = effect.holds(context)
            if isinstance(decision, Undecided):
                undecided = decision.reason
            elif not decision:
                return None
        subject = (context.get(effect.per) or {}).get("id")
        if subject is None:
            raise MappingError(f"there is no {effect.per} to do it for.", where=effect.where, mend="Let its when ask for it.")
        return [
            PlannedEffect(
                handoff=self.id,
                name=effect.name,
                do=effect.do,
                subject_kind=effect.per,
                subject_id=str(subject),
                item=item,
                row=row,
                needs=needs,
                after=after,
                undecided=undecided,
            )
            for item, row in effect.rows(context)
        ]


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = instant_of(value) if len(value) > 10 else date.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError(f"{shown(value)} is no instant")


def _as_finely_told(go_live: datetime, at: datetime) -> datetime:
    """Some tools tell whole seconds only: what they date to the go-live's own second may have come after it, so it counts."""
    return go_live if at.microsecond else go_live.replace(microsecond=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffSet:
    """All handoffs of an installation, its tables and its lifecycle. `version` changes exactly when their content does."""

    handoffs: tuple[Handoff, ...]
    tables: Mapping[str, list[dict[str, Any]]]
    lifecycle: Lifecycle
    version: str

    def per(self, subject_kind: str) -> tuple[Handoff, ...]:
        """Give the handoffs of a kind of subject, in the order of the file."""
        return tuple(handoff for handoff in self.handoffs if handoff.per == subject_kind)

    def handoff(self, handoff_id: str) -> Handoff | None:
        """Give the handoff with this id, None for an unknown one."""
        return next((handoff for handoff in self.handoffs if handoff.id == handoff_id), None)
