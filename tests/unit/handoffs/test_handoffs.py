"""Handoffs: what is due, what is planned, and that a wrong file is refused before anything acts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from lifecyclehub.errors import MappingError
from lifecyclehub.handoffs import Due, HandoffSet, NotDue, PlannedEffect, load_handoffs, nested
from lifecyclehub.mapping import Undecided

WON = datetime(2026, 1, 31, 9, tzinfo=UTC)
LIFECYCLE = 'format = 1\n[[stage]]\nis = "intake"\n[[standing]]\nis = "lead"\n'
ROWS = 'format = 1\n[[row]]\nid = "hello"\ntitle = "Say hello"\ndue_days = 2\n[[row]]\nid = "plan"\ntitle = "Plan"\n'
TEXT = """
format = 1
[[handoff]]
id = "won-deal"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"

  [[handoff.effects]]
  name = "note"
  do = "crm.add_note"
  needs = ["project", "extra?"]
    [handoff.effects.with]
    deal = { from = "links.deal", required = true, help = "Link the deal first." }
    text = { from = "concat('See ', made.project.url)", required = true }

  [[handoff.effects]]
  name = "project"
  do = "project.create"
    [handoff.effects.with]
    name = { from = "deal.title", required = true }

  [[handoff.effects]]
  name = "steps"
  do = "project.create_task"
  each = "tables.steps"
  needs = ["project"]
    [handoff.effects.with]
    project = { from = "made.project.record", required = true }
    title = { from = "item.title" }
    due_on = { from = "add_days(deal.won_at, item.due_days)" }

  [[handoff.effects]]
  name = "extra"
  do = "project.create_task"
  when = "deal.value.amount > `1000`"
    [handoff.effects.with]
    project = { from = "links.project" }
    title = { default = "Extra" }
"""


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Note(Input):
    deal: str
    text: str


class Create(Input):
    name: str
    due_on: date | None = None


class CreateTask(Input):
    project: str
    title: str
    due_on: date | None = None


class SetFields(Input):
    record: str
    values: dict[str, Any]


INPUTS: dict[str, type[BaseModel]] = {
    "crm.add_note": Note,
    "crm.set_fields": SetFields,
    "project.create": Create,
    "project.create_task": CreateTask,
}


def load(text: str = TEXT, rows: str = ROWS, lifecycle: str = LIFECYCLE) -> HandoffSet:
    return load_handoffs(text, {"steps": rows}, lifecycle, INPUTS)


def context(**more: Any) -> dict[str, Any]:
    values = {"deal.title": "Site", "deal.status": "won", "deal.won_at": WON, "deal.value.amount": 500, **more}
    built = nested(values)
    built["deal"]["id"] = "deal_1"
    return {**built, "tables": load().tables, "links": {"deal": "77"}, "today": date(2026, 2, 1)}


def plan(ctx: dict[str, Any], **more: Any) -> dict[str, PlannedEffect]:
    return {f"{one.name}/{one.item}": one for one in load().handoffs[0].plan(ctx, **more)}


def test_a_handoff_is_due_when_its_condition_holds_and_its_fact_is_not_before_go_live() -> None:
    handoff = load().handoffs[0]
    assert handoff.due(context(), WON) == Due(WON)
    assert handoff.due(context(**{"deal.won_at": WON.isoformat()}), WON) == Due(WON)


@pytest.mark.parametrize(
    ("at", "go_live", "due"),
    [
        ("09:00:01", "09:00:01.456000", True),
        ("09:00:00", "09:00:01.456000", False),
        ("09:00:00", "09:00:01", False),
        ("09:00:01.123000", "09:00:01.456000", False),
        ("09:00:01.456000", "09:00:01.456000", True),
        ("09:00:02", "09:00:01.456000", True),
    ],
)
def test_a_fact_that_is_told_in_whole_seconds_counts_from_the_second_of_the_go_live_on(at: str, go_live: str, due: bool) -> None:
    handoff, live = load().handoffs[0], datetime.fromisoformat(f"2026-01-31T{go_live}Z")
    answer = handoff.due(context(**{"deal.won_at": f"2026-01-31T{at}Z"}), live)
    assert isinstance(answer, Due) == due
    assert due or getattr(answer, "code", None) == "before-go-live"


@pytest.mark.parametrize(
    ("values", "go_live", "code"),
    [
        ({"deal.status": "open"}, WON, "condition"),
        ({}, WON + timedelta(seconds=1), "before-go-live"),
        ({}, None, "off"),
        ({"deal.won_at": None}, WON, "baseline"),
    ],
)
def test_a_handoff_that_is_not_due_gives_its_reason(values: dict[str, Any], go_live: datetime | None, code: str) -> None:
    answer = load().handoffs[0].due(context(**values), go_live)
    assert isinstance(answer, NotDue)
    assert answer.code == code
    assert answer.reason


def test_a_handoff_whose_condition_cannot_be_answered_is_undecided() -> None:
    answer = load().handoffs[0].due(context(**{"deal.status": None}), WON)
    assert isinstance(answer, Undecided)
    assert 'mappings/handoffs.toml: handoff "won-deal", when: deal.status is null' in answer.reason


def test_a_plan_puts_effects_after_what_they_need() -> None:
    planned = plan(context())
    assert list(planned) == ["project/", "steps/hello", "steps/plan", "note/"]
    assert planned["steps/plan"].after == (planned["project/"].key(),)
    assert planned["note/"].needs == ("project",)


def test_an_optional_need_is_waited_for_only_when_it_is_planned() -> None:
    planned = plan(context(**{"deal.value.amount": 5_000}))
    assert planned["note/"].needs == ("project", "extra")


def test_an_effect_that_has_begun_stays_planned_though_its_condition_no_longer_holds() -> None:
    assert "extra/" in plan(context(), begun={"extra"})
    assert "extra/" not in plan(context())


def test_an_effect_whose_condition_cannot_be_answered_says_so() -> None:
    planned = plan(context(**{"deal.value.amount": None}))
    assert "deal.value.amount is null" in planned["extra/"].undecided


def test_without_its_need_an_effect_is_not_planned() -> None:
    text = TEXT.replace('do = "project.create"\n', 'do = "project.create"\n  when = "deal.title == \'other\'"\n')
    assert load(text).handoffs[0].plan(context()) == []


def test_the_acting_connection_decides_what_links_and_settings_mean() -> None:
    text = TEXT.replace('when = "deal.value.amount > `1000`"', 'when = "present(settings.extra)"')
    handoff = load(text).handoffs[0]
    names = {one.name for one in handoff.plan(context(), lambda do: {"settings": {"extra": do}})}
    assert "extra" in names


def test_keys_tell_siblings_apart() -> None:
    keys = [one.key() for one in load().handoffs[0].plan(context())]
    assert len(set(keys)) == len(keys)
    assert "won-deal/steps/deal/deal_1/hello/1" in keys


def test_an_effect_builds_its_canonical_input() -> None:
    steps = load().handoffs[0].effect("steps")
    assert steps
    ctx = {**context(), "made": {"project": {"record": "9", "url": None}}, "item": steps.row(context(), "hello")}
    assert steps.build(ctx) == CreateTask(project="9", title="Say hello", due_on=date(2026, 2, 2))
    assert steps.input({**ctx, "item": steps.row(context(), "plan")}) == {"project": "9", "title": "Plan"}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"links": {}}, "with.deal is required, but links.deal found nothing. Link the deal first."),
        ({"made": {"project": {"url": None}}}, "with.text is required, but concat('See ', made.project.url) found nothing."),
        ({"links": {"deal": 77}}, "with.deal: input should be a valid string, got 77."),
    ],
)
def test_an_input_that_cannot_be_built_names_file_handoff_effect_and_field(more: dict[str, Any], said: str) -> None:
    note = load().handoffs[0].effect("note")
    assert note
    with pytest.raises(MappingError) as caught:
        note.build({**context(), "made": {"project": {"url": "https://x.example"}}, **more})
    assert str(caught.value).startswith(f'mappings/handoffs.toml: handoff "won-deal", effect "note": {said}')


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("== 'won'", "== won", "If won is meant as text, quote it: 'won'."),
        ("== 'won'", "== 'gewonnen'", "deal.status is never 'gewonnen'"),
        ('at = "deal.won_at"', 'at = "deal.won"', "there is no deal.won here. Did you mean won_at?"),
        ('at = "deal.won_at"', "", "at is missing"),
        ('per = "deal"', 'per = "deel"', "Did you mean deal?"),
        ('per = "deal"', 'per = "deal"\nstate = "on"', "a handoff has no key 'state'"),
        ('id = "won-deal"', 'id = "Won Deal"', "small letters, digits and -"),
        ('"crm.add_note"', '"crm.add_notes"', "no role can do 'crm.add_notes'. Did you mean crm.add_note?"),
        (
            'needs = ["project"]',
            'needs = ["projct"]',
            "needs 'projct', which is no other effect of this handoff. Did you mean project?",
        ),
        ('needs = ["project"]', 'needs = ["steps"]', "which is no other effect"),
        ('do = "project.create"\n', 'do = "project.create"\n  needs = ["note"]\n', "need each other in a circle"),
        ('needs = ["project"]\n', "", "there is no made.project here."),
        ("item.title", "item.titel", "there is no item.titel here. Did you mean title?"),
        ("tables.steps", "tables.step", "Did you mean steps?"),
        ("links.deal", "links.deals", "Did you mean deal?"),
        ('    name = { from = "deal.title", required = true }', "", "with.name is missing. Create cannot do without it."),
        ("    title = { from", "    titel = { from", "the input CreateTask has no key 'titel'. Did you mean title?"),
        ('title = { default = "Extra" }', 'title = { form = "deal.title" }', "an entry has no key 'form'. Did you mean from?"),
        ('name = "steps"', 'name = "project"', "there are two effects 'project'"),
        ('name = "note"', 'name = "A note"', "the name does not fit"),
        ('each = "tables.steps"', 'each = "tables.steps"\n  item = "deal.title"', "both each and item"),
        ('when = "deal.value.amount > `1000`"', 'when = "present(made.project)"', "there is no made here."),
        ('id = "won-deal"', 'id = "won-deal"\nid = "again"', "is not TOML"),
        ("[handoff.effects.with]", "[handoff.effects.wiht]", "an effect has no key 'wiht'. Did you mean with?"),
    ],
)
def test_everything_wrong_in_handoffs_is_found_when_they_are_loaded(old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(MappingError) as caught:
        load(TEXT.replace(old, new, 1))
    assert said in str(caught.value)
    assert str(caught.value).startswith("mappings/handoffs.toml")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (ROWS.replace('"plan"', '"hello"'), "there are two rows 'hello'"),
        (ROWS.replace('id = "plan"\n', ""), "row 2 has the id None"),
        (ROWS.replace("[[row]]", "[row]", 1).split("[[row]]")[0], "Write [[row]]"),
    ],
)
def test_a_wrong_table_is_refused(rows: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        load(rows=rows)
    assert said in str(caught.value)
    assert str(caught.value).startswith("mappings/tables/steps.toml")


def test_rows_that_cannot_be_told_apart_are_refused() -> None:
    steps = load().handoffs[0].effect("steps")
    assert steps
    with pytest.raises(MappingError, match="have the same id"):
        steps.rows({"tables": {"steps": [{"id": "a"}, {"id": "a"}]}})
    with pytest.raises(MappingError, match="has no id"):
        steps.rows({"tables": {"steps": [{"title": "a"}]}})


def test_the_version_follows_handoffs_tables_and_lifecycle() -> None:
    versions = {load().version, load(TEXT.replace("Extra", "More")).version, load(rows=ROWS.replace("Plan", "Plans")).version}
    assert len(versions) == 3
    assert load("# said\n" + TEXT).version == load().version


FIXED = """
format = 1
[[handoff]]
id = "won-deal"
per = "deal"
when = "deal.status == 'won'"
at = "deal.won_at"
  [[handoff.effects]]
  name = "note"
  do = "project.create_task"
  when = "deal.value.amount > `1000`"
  {more}
    [handoff.effects.with]
    project = {{ from = "links.project" }}
    title = {{ default = "Tell them" }}
  [[handoff.effects]]
  name = "steps"
  do = "project.create_task"
  each = "tables.steps"
    [handoff.effects.with]
    project = {{ from = "links.project" }}
    title = {{ from = "item.title" }}
"""


@pytest.mark.parametrize(
    ("more", "foreseen"),
    [
        ("", (("note", ""), ("steps", "hello"), ("steps", "plan"))),
        ('each = "[deal.title]"', ()),
        ('each = "@.deal.title"', ()),
        ("each = \"tables.steps[?id == 'plan']\"", ()),
        ('item = "deal.status"', ()),
        ('per = "client"', ()),
    ],
)
def test_all_effects_there_can_ever_be_are_named_where_no_value_has_a_say(more: str, foreseen: tuple[Any, ...]) -> None:
    found = load(FIXED.format(more=more))
    assert found.handoffs[0].foreseen(found.tables) == foreseen
