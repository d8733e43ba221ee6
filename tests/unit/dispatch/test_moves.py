"""An effect's states and moves: every operation is tried on every state, and the database itself notes what it did.

What is in the table is done by something, and nothing else is done by anything.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

import lifecyclehub
from lifecyclehub.dispatch import plan
from lifecyclehub.dispatch.advance import Left
from lifecyclehub.dispatch.claim import TakeClaims
from lifecyclehub.dispatch.moves import MOVES, NoSuchMove, Stood, allowed, swap, write
from lifecyclehub.dispatch.prepared import Claim, Prepared, request_as_json
from lifecyclehub.dispatch.upkeep import Advance, Answered, Parking, answer, expire, hold, park
from lifecyclehub.errors import LostRace
from lifecyclehub.intake.decide import Decide
from lifecyclehub.messages import Absent, Accepted, CannotTell, Done, Found, Refused, Retry, Unknown
from lifecyclehub.store import tables as t
from tests.support.effects import OTHER, claim, effect, in_flight, put, receive
from tests.support.moves import forget_moves, moves, not_allowed, watch_moves
from tests.support.story import Story

Moves = set[tuple[str, str]]
Operation = Callable[[Story, Prepared], object]
WAITING = ("planned", "held", "ready")
UNCERTAIN = ("in flight", "in doubt")


def to(state: str, *sources: str) -> Moves:
    return {(one, state) for one in sources}


def now(story: Story) -> Any:
    return story.clock.now()


def run(operation: Callable[..., Any]) -> Operation:
    """Run an operation of the store with the effect in its hands."""

    def ran(story: Story, prepared: Prepared) -> object:
        with story.engine.begin() as conn:
            return operation(conn, story, prepared)

    return ran


def told(outcome: Any, **more: Any) -> Operation:
    """Write what came of it. A record has another id each time, so that none belongs to anything yet."""

    def ran(story: Story, prepared: Prepared) -> object:
        came = outcome(effect(story, prepared)["state"]) if callable(outcome) else outcome
        return receive(story, prepared, came, **more)

    return ran


def after_three_days(operation: Operation) -> Operation:
    def ran(story: Story, prepared: Prepared) -> object:
        put(story, prepared, first_failed_at=now(story) - timedelta(hours=73))
        return operation(story, prepared)

    return ran


def done(state: str) -> Done:
    return Done(record_id=f"of {state}")


def advance(conn: Any, story: Story, prepared: Prepared) -> object:
    return Advance(story.rules, story.ids, story.clock)(conn, [prepared.effect])


def advance_paused(conn: Any, story: Story, prepared: Prepared) -> object:
    conn.execute(update(t.connection).values(state="paused", reason="a test"))
    return advance(conn, story, prepared)


def advance_lost(conn: Any, story: Story, prepared: Prepared) -> object:
    conn.execute(update(t.deal).values(status="lost"))
    return advance(conn, story, prepared)


def advance_unmapped(conn: Any, story: Story, prepared: Prepared) -> object:
    conn.execute(update(t.deal).values(title=None))
    return advance(conn, story, prepared)


def advance_nothing_to_do(conn: Any, story: Story, prepared: Prepared) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "prepare", lambda *_: Left("done", "nothing to bill"))
        return advance(conn, story, prepared)


def decide(conn: Any, story: Story, prepared: Prepared) -> object:
    return Decide(story.rules, story.ids, story.clock)(conn, [((str(prepared.engagement),), ())])


def claimed_late(conn: Any, story: Story, prepared: Prepared) -> object:
    """Claim it when the vendor has forgotten the key of a sending that may have done it."""
    action: Any = story.rules.action(prepared.connector, prepared.action)
    request = action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)
    conn.execute(update(t.effect).values(unsure_since=now(story) - timedelta(hours=1), body=request_as_json(request)))
    one = Claim(prepared=prepared, request=request, holder="hub", sending_s=30, key_s=60)
    return TakeClaims(story.ids, story.clock)(conn, [one])


def answered(verdict: str) -> Operation:
    def ran(conn: Any, story: Story, prepared: Prepared) -> object:
        word = Answered(effect=prepared.effect, who="Ines", at=now(story), attempt=story.ids.new("att"), verdict=verdict)
        return answer(conn, [word])

    return run(ran)


def expired(holder: str | None) -> Operation:
    return run(lambda conn, story, _: expire(conn, [(now(story) + timedelta(hours=1), holder)]))


def aside(operation: Any) -> Operation:
    return run(lambda conn, story, prepared: operation(conn, [Parking(prepared.effect, "why", "detail", now(story))]))


def rendered(operation: Operation) -> Operation:
    """Do it with an effect that was rendered before."""

    def ran(story: Story, prepared: Prepared) -> object:
        action: Any = story.rules.action(prepared.connector, prepared.action)
        request = action.render(action.input.model_validate(prepared.input), prepared.body, prepared.key)
        put(story, prepared, body=request_as_json(request), input=prepared.input)
        return operation(story, prepared)

    return ran


PUT_BACK = ("ready", "held", "parked")

# What is done -> every move that it makes, whatever the effect's state.
OPERATIONS: dict[str, tuple[Operation, Moves]] = {
    "claim": (claim, to("in flight", "ready")),
    "claim when the key has ended": (run(claimed_late), to("in doubt", "ready")),
    "done": (told(done), to("done", *UNCERTAIN, *PUT_BACK)),
    "done, of an older sending": (told(done, epoch=0), to("done", *UNCERTAIN)),
    "done, of an older revision": (told(done, revision=0), to("done", *UNCERTAIN)),
    "found": (told(lambda state: Found((done(state),)), what="looked up"), to("done", *UNCERTAIN, *PUT_BACK)),
    "several found": (told(Found((Done(record_id="1"), OTHER)), what="looked up"), to("parked", "in doubt")),
    "absent": (told(Absent(), what="looked up"), to("ready", "in doubt")),
    "absent, after three days": (after_three_days(told(Absent(), what="looked up")), to("parked", "in doubt")),
    "cannot tell": (told(CannotTell("503"), what="looked up"), set()),
    "cannot tell, after three days": (after_three_days(told(CannotTell("503"), what="looked up")), to("parked", "in doubt")),
    "retry": (told(Retry("busy")), to("ready", *UNCERTAIN)),
    "retry, after three days": (after_three_days(told(Retry("busy"))), to("parked", *UNCERTAIN)),
    "retry, of an older sending": (told(Retry("busy"), epoch=0), set()),
    "refused": (told(Refused("no")), to("parked", *UNCERTAIN)),
    "exists already": (told(Refused("it is there", exists=True)), to("in doubt", "in flight")),
    "unknown": (told(Unknown("?")), to("in doubt", "in flight")),
    "unknown, of an older sending": (told(Unknown("?"), epoch=0), set()),
    "accepted": (told(Accepted("job-1")), to("in flight", "in doubt", "ready", "held")),
    "accepted, and overdue": (told(Accepted("job-1"), what="checked", overdue="late"), to("parked", *UNCERTAIN, "ready", "held")),
    "its marker came to light": (told(done, what="came to light"), set()),
    "its marker came to light, and it was rendered": (rendered(told(done, what="came to light")), to("in doubt", *WAITING)),
    "credentials refused": (told(None), to("held", "in flight")),
    "park": (aside(park), to("parked", *WAITING, "in doubt")),
    "hold": (aside(hold), to("held", "planned", "ready")),
    "a person: anew": (answered("anew"), to("planned", "parked")),
    "a person: let it be": (answered("cancel"), to("cancelled", "parked")),
    "a person: this is it": (told(done, what="by a person", epoch=0), to("done", *UNCERTAIN, "parked")),
    "a deadline passes": (expired(None), to("in doubt", "in flight")),
    "another hub starts": (expired("hub_new"), to("in doubt", "in flight")),
    "advance": (run(advance), to("ready", "planned", "held")),
    "advance, connection paused": (run(advance_paused), to("held", "planned", "ready")),
    "advance, deal lost": (run(advance_lost), to("cancelled", *WAITING)),
    "advance, a value is missing": (run(advance_unmapped), to("parked", *WAITING)),
    "advance, nothing to do": (run(advance_nothing_to_do), to("done", *WAITING)),
    "decide": (run(decide), to("ready", "planned", "held") | {("cancelled", "planned")}),
}


@pytest.mark.parametrize("what", OPERATIONS)
def test_whatever_the_state_the_moves_are_those_of(what: str, story: Story) -> None:
    operation, wanted = OPERATIONS[what]
    prepared = in_flight(story)
    fresh = effect(story, prepared)
    watch_moves(story.engine)
    found: Moves = set()
    for state in MOVES:
        body = {} if state in UNCERTAIN else {"body": None, "input": None}
        put(story, prepared, **{**fresh, **body, "state": state})
        forget_moves(story.engine)
        operation(story, prepared if state in UNCERTAIN else _present(prepared))
        found |= {(one.was, one.now) for one in moves(story.engine) if one.effect == prepared.effect and one.was != one.now}
        assert not_allowed(story.engine) == [], state

    assert found == wanted


def _present(prepared: Prepared) -> Prepared:
    """As it would be prepared after its first sending."""
    from dataclasses import replace

    return replace(prepared, epoch=1)


def test_every_move_of_the_table_is_made_by_something() -> None:
    made = {move for _, found in OPERATIONS.values() for move in found}

    assert made == {(was, now) for was, tos in MOVES.items() for now in tos}


def test_every_move_is_told_why() -> None:
    assert all(why and "." not in why for tos in MOVES.values() for why in tos.values())
    assert {now for tos in MOVES.values() for now in tos} <= MOVES.keys()
    assert MOVES["done"] == {}, "done is final; undoing is another effect"


@pytest.mark.parametrize(("was", "now"), [(was, now) for was in MOVES for now in MOVES if not allowed(was, now)])
def test_a_move_that_is_not_in_the_table_is_refused_and_nothing_is_written(story: Story, was: str, now: str) -> None:
    prepared = in_flight(story, state=was)
    row = effect(story, prepared)
    before = dict(row)

    with story.engine.begin() as conn, pytest.raises(NoSuchMove, match=f"from {was} to {now}"):
        write(conn, swap("state"), ("state",), [(row | {"state": now}, Stood.of(row))])

    assert effect(story, prepared) == before


@pytest.mark.parametrize("meanwhile", [{"state": "parked"}, {"epoch": 2}, {"state": "ready", "epoch": 2}])
def test_who_writes_after_another_writes_nothing_and_looks_again(story: Story, meanwhile: dict[str, Any]) -> None:
    prepared = in_flight(story)
    row = effect(story, prepared)
    put(story, prepared, **meanwhile)
    before = effect(story, prepared)

    with story.engine.begin() as conn, pytest.raises(LostRace):
        write(conn, swap("state"), ("state",), [(row | {"state": "done"}, Stood.of(row))])

    assert effect(story, prepared) == before


def test_no_other_statement_writes_a_state() -> None:
    """Three may, each asking for the state itself: a draft that is given back stays where it is, a deadline passes for many
    at once, and what was not begun is cancelled when the records that it was for are merged. Waits are only brought near.
    """
    found = []
    for path in sorted(Path(lifecyclehub.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
                written = {one.arg for one in node.keywords}
                text = ast.unparse(node)
                if ("state" in written or None in written) and ("update(_effect)" in text or "update(tables.effect)" in text):
                    found.append((path.name, ast.unparse(node)[-60:]))

    assert [name for name, _ in found] == ["plan.py", "upkeep.py", "merge.py", "waits.py"], found
