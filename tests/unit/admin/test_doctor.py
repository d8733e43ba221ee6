"""What the doctor finds: each invariant is broken by hand and named, and a healthy store has nothing wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, delete, event, insert, text, update

from lifecyclehub.admin.doctor import examine
from lifecyclehub.store import tables as t
from lifecyclehub.vault import Vault
from tests.support.effects import in_flight
from tests.support.story import LONG_AGO, Story

Break = Callable[[Story], Any]


@pytest.fixture(params=["sqlite", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Story]:
    """A home with something in it, on each database."""
    told = Story(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else None)
    told.effect = in_flight(told, state="done", handle=None, record_id=None, creates=None).effect  # type: ignore[attr-defined]
    told.arrive("zendesk", ("zendesk.ticket", "1"))
    with told.engine.begin() as conn:
        conn.execute(insert(t.attempt).values(**_attempt(told)))
    yield told
    told.close()


def _attempt(story: Story) -> dict[str, Any]:
    now = story.clock.now()
    row = {"id": "att_1", "effect": story.effect, "revision": 1, "epoch": 1, "what": "sent", "outcome": "Done"}  # type: ignore[attr-defined]
    return {**row, "began_at": now, "at": now}


def found(story: Story) -> dict[str, str]:
    """Give what is wrong by check; a test's PostgreSQL and its clock are known to be."""
    wrong = examine(story.engine, story.settings, story.clock.now())
    return {one.check: f"{one.what} {one.where} {one.mend}" for one in wrong if one.check not in ("durability", "clocks")}


def run(story: Story, *statements: Any) -> None:
    with story.engine.begin() as conn:
        if conn.dialect.name == "sqlite":
            conn.execute(text("PRAGMA ignore_check_constraints = ON"))
        for one in statements:
            conn.execute(one)


def _effect(**values: Any) -> Break:
    return lambda story: run(story, update(t.effect).values(**values))


def _second_effect(story: Story) -> None:
    with story.engine.begin() as conn:
        row = dict(conn.execute(t.effect.select()).mappings().first() or {})
        conn.execute(insert(t.effect).values({**row, "id": "eff_2", "key": "another"}))
        conn.execute(insert(t.attempt).values({**_attempt(story), "id": "att_2", "effect": "eff_2"}))


LINK = {"connection": "con_asana", "kind": "asana.project", "record_id": "1"}
BREAKS: dict[str, tuple[Break, str]] = {
    "effect states": (_effect(state="finished"), "'finished'"),
    "effect keys": (_second_effect, "several effects"),
    "receipts": (lambda story: run(story, delete(t.attempt)), "no receipt"),
    "links of what was made": (
        _effect(creates="asana.project", record_id="4711", connection="con_asana"),
        "asana.project 4711",
    ),
    "notice states": (lambda story: run(story, update(t.notice).values(state="lost")), "'lost'"),
    "ignored notices": (lambda story: run(story, update(t.notice).values(state="ignored", reason="mood")), "'mood'"),
    "delivery states": (lambda story: run(story, update(t.delivery).values(state="gone")), "'gone'"),
    "erasures": (
        lambda story: run(story, insert(t.erasure).values(id="era_1", who="kim", at=LONG_AGO)),
        "lifecyclehub erase",
    ),
    "mirrors": (lambda story: run(story, insert(t.mirror).values(**LINK, field="project.title")), "project.title"),
    "links": (lambda story: run(story, insert(t.link).values(**LINK, thing_kind="project", thing="pro_0")), "pro_0"),
    "home": (lambda story: run(story, delete(t.host)), "lifecyclehub confirm"),
    "schema": (lambda story: run(story, text("UPDATE alembic_version SET version_num = '9999'")), "schema 9999"),
    "key": (lambda story: (story.settings.home / "key").chmod(0o644), "chmod 600"),
    "secrets": (
        lambda story: run(
            story,
            insert(t.secret).values(
                id="sec_1",
                owner_kind="endpoint",
                owner="end_asana",
                field="signing",
                sealed=Vault(["A" * 43 + "="], where="elsewhere").seal("secret", "sec_1", "signing", "x"),
                valid_from=story.clock.now(),
            ),
        ),
        "endpoint end_asana",
    ),
}


def test_in_a_healthy_store_nothing_is_wrong(story: Story) -> None:
    assert found(story) == {}


@pytest.mark.parametrize("check", BREAKS)
def test_what_is_broken_by_hand_is_named(story: Story, check: str) -> None:
    broken, words = BREAKS[check]
    broken(story)
    wrong = found(story)
    assert check in wrong, wrong
    assert words in wrong[check]


def test_a_claim_that_nobody_put_in_doubt_is_named(story: Story) -> None:
    prepared = in_flight(story)
    story.clock.at += 3600
    if story.engine.dialect.name == "sqlite":  # PostgreSQL has a clock of its own, which is far ahead of this story's
        assert prepared.effect in found(story)["claims"]
    else:
        assert "claims" in found(story)


def test_work_in_the_hands_of_a_dead_hub_is_named(story: Story) -> None:
    run(story, update(t.delivery).values(state="open", holder="hub_dead"))
    story.clock.at += 3600
    assert "hub_dead" in found(story)["abandoned work"]


def test_a_database_that_may_lose_what_was_answered_is_named(story: Story) -> None:
    wrong = [one for one in examine(story.engine, story.settings, story.clock.now()) if one.check == "durability"]
    if story.engine.dialect.name == "sqlite":
        assert wrong == []
        careless = create_engine(story.settings.database)
        event.listen(careless, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
        what = [one.what for one in examine(careless, story.settings, story.clock.now()) if one.check == "durability"]
        careless.dispose()
        assert what == ["synchronous is 0, not FULL."]
    else:  # the tests' own server does without
        assert "fsync" in wrong[0].what


def test_clocks_that_differ_are_named(story: Story) -> None:
    wrong = [one.check for one in examine(story.engine, story.settings, story.clock.now())]
    assert ("clocks" in wrong) == (story.engine.dialect.name != "sqlite")
