"""What the API does: parks, takes up again, replays."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from lifecyclehub.admin.tokens import make_token
from lifecyclehub.store import tables
from lifecyclehub.web.app import create_app
from tests.support.story import won_deal
from tests.support.world import World, world
from tests.web.conftest import Api, web

pytestmark = pytest.mark.anyio


def parked(api: Api) -> str:
    row = api.only("effect", name="project")
    assert row["state"] == "parked"
    return str(row["id"])


async def test_a_parked_effect_is_rendered_anew(refused: Api) -> None:
    effect = parked(refused)
    answer = await refused.post(f"effects/{effect}/unpark", {"verdict": "anew", "who": "Ada"})
    assert answer.json() == {"effect": effect, "state": "planned"}
    assert refused.only("effect", name="project")["revision"] == 2
    attempts = (await refused.get(f"effects/{effect}")).json()["attempts"]
    assert (attempts[-1]["what"], attempts[-1]["detail"]) == ("by a person", "Ada (token first)")


async def test_a_person_names_the_record_that_is_the_one(refused: Api) -> None:
    effect = parked(refused)
    word = {"verdict": "is", "who": "Ada", "record_id": "5009", "url": "https://app.asana.example/0/5009"}
    assert (await refused.post(f"effects/{effect}/unpark", word)).json()["state"] == "done"
    link = refused.only("link", kind="asana.project")
    assert (link["record_id"], link["thing"]) == ("5009", refused.only("project")["id"])
    await refused.hub.look_for_changes()
    await refused.hub.settled()
    # What waited for the project waits only for its connection now.
    waiting = {row["reason"] for row in refused.story.rows(tables.effect) if row["name"] != "project"}
    assert waiting == {"connection"}


async def test_what_a_person_cancelled_stays_cancelled_while_its_condition_holds(refused: Api) -> None:
    effect = parked(refused)
    assert (await refused.post(f"effects/{effect}/unpark", {"verdict": "cancel", "who": "Ada"})).json()["state"] == "cancelled"
    refused.story.see("hubspot", won_deal())
    assert refused.only("effect", name="project")["state"] == "cancelled"


async def test_an_effect_is_put_aside_and_taken_up_again(refused: Api) -> None:
    note = refused.only("effect", name="note")
    assert note["state"] == "held"
    answer = await refused.post(f"effects/{note['id']}/park", {"who": "Ada", "why": "not yet"})
    assert answer.json()["state"] == "parked"
    assert refused.only("effect", name="note")["detail"] == "Ada (token first): not yet"
    again = await refused.post(f"effects/{note['id']}/unpark", {"verdict": "anew", "who": "Ada"})
    assert again.json()["state"] == "planned"


async def test_an_effect_in_another_state_is_left_as_it_is(refused: Api) -> None:
    note = refused.only("effect", name="note")["id"]
    answer = await refused.post(f"effects/{note}/unpark", {"verdict": "anew", "who": "Ada"})
    assert (answer.status_code, answer.json()["title"]) == (409, "Not in this state")
    assert "is held, not parked" in answer.json()["detail"]
    twice = await refused.post(f"effects/{parked(refused)}/park", {"who": "Ada"})
    assert twice.status_code == 409


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"verdict": "again", "who": "Ada"}, "body.verdict"),
        ({"verdict": "anew"}, "body.who"),
        ({"verdict": "anew", "who": "Ada", "force": True}, "body.force"),
        ({"verdict": "is", "who": "Ada"}, "body"),
        ({"verdict": "is", "who": "Ada", "record_id": "1", "url": "javascript:alert(1)"}, "body.url"),
    ],
)
async def test_a_word_that_cannot_be_taken_names_the_field(api: Api, body: dict, path: str) -> None:
    answer = await api.post("effects/eff_1/unpark", body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [one["path"] for one in answer.json()["errors"]] == [path]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"notices": [], "deliveries": []},
        {"notices": ["ntc_1"], "deliveries": ["dlv_1"]},
        {"connection": "hubspot"},
        {"since": "2026-03-01T00:00:00Z"},
        {"connection": "hubspot", "since": "2026-03-01T00:00:00"},
        {"notices": ["ntc_1"] * 501},
    ],
)
async def test_a_replay_is_of_exactly_one_thing(api: Api, body: dict) -> None:
    assert (await api.post("replay", body)).status_code == 422


async def test_a_replay_of_what_is_not_there_opens_nothing(api: Api) -> None:
    known = api.only("notice")
    answer = await api.post("replay", {"notices": [known["id"], "ntc_none"]})
    assert answer.status_code == 404
    assert api.only("notice")["state"] == "processed"
    assert (await api.post("replay", {"connection": "nobody", "since": "2026-03-01T00:00:00Z"})).status_code == 404


async def test_a_body_that_is_too_large_is_not_read(api: Api) -> None:
    answer = await api.post("replay", {"notices": ["x" * 70_000]})
    assert answer.status_code == 413


async def test_an_error_of_ours_tells_nothing_about_the_inside(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("lifecyclehub.web.api.reading.client_page", broken)
    async with web(api.app, api.story.made.token, raises=False) as client:
        answer = await client.get("/api/v1/clients/cli_1")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "canary" not in answer.text


# --- with tools that answer ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[World, httpx.AsyncClient]]:
    """A world, and the API in front of its hub."""
    async with world(tmp_path_factory.mktemp("world")) as w:
        app = create_app(lambda: w.hub)
        app.state.hub.hub = w.hub
        with w.engine.connect() as conn, conn.begin():
            token = make_token(conn, "tests", w.hub.ids, w.hub.randomness, w.clock.now())
        async with web(app, token) as http:
            yield w, http


async def test_a_replay_sees_what_was_changed_in_silence(live: tuple[World, httpx.AsyncClient]) -> None:
    w, http = live
    w.begin_story()
    began = w.clock.now()
    ids = await w.inquire()
    await w.quiet()
    await w.misbehave("hubspot", hooks={"drop": True})
    await w.act("hubspot", "edit_deal", deal=ids["deal"], dealname="Renamed in silence")
    await w.quiet()
    assert [row["title"] for row in w.rows(tables.deal)] == ["Website relaunch"]
    answer = (await http.post("/api/v1/replay", json={"connection": "hubspot", "since": began.isoformat()})).json()
    assert answer["notices"] > 0
    await w.quiet()
    await w.misbehave("hubspot", hooks={})
    assert [row["title"] for row in w.rows(tables.deal)] == ["Renamed in silence"]


async def test_a_parked_notice_is_taken_up_again_once_the_record_is_mended(live: tuple[World, httpx.AsyncClient]) -> None:
    w, http = live
    w.begin_story()
    ids = await w.inquire(title="Audit")
    await w.quiet()
    await w.act("hubspot", "edit_deal", deal=ids["deal"], dealname="")
    await w.quiet()
    (notice,) = w.rows(tables.notice, state="parked")
    why = (await http.get(f"/api/v1/explain/{notice['id']}")).json()["lines"]
    assert any("deal.title is required" in line for line in why)
    await w.misbehave("hubspot", hooks={"drop": True})
    await w.act("hubspot", "edit_deal", deal=ids["deal"], dealname="Audit, again")
    answer = (await http.post(f"/api/v1/notices/{notice['id']}/unpark")).json()
    assert (answer["notices"], answer["left"]) == (1, [])
    await w.quiet()
    await w.misbehave("hubspot", hooks={})
    assert [row["title"] for row in w.rows(tables.deal)] == ["Audit, again"]
    assert w.rows(tables.notice, state="parked") == []
    twice = (await http.post(f"/api/v1/notices/{notice['id']}/unpark")).json()
    assert (twice["notices"], twice["left"][0]["why"]) == (0, "it is processed, not parked.")


async def test_what_came_before_its_account_was_connected_is_taken_up_by_a_replay(
    live: tuple[World, httpx.AsyncClient],
) -> None:
    w, http = live
    w.begin_story()
    began = w.clock.now()
    account = w.rows(tables.connection, id="con_hubspot")[0]["account_id"]
    await w.set_connection("hubspot", account_id="0")
    await w.inquire()
    await w.quiet()
    assert {row["reason"] for row in w.rows(tables.notice, connector="hubspot")} == {"unknown account"}
    await w.set_connection("hubspot", account_id=account)
    answer = (await http.post("/api/v1/replay", json={"connection": "hubspot", "since": began.isoformat()})).json()
    assert answer["notices"] > 0
    await w.quiet()
    assert [row["title"] for row in w.rows(tables.deal)] == ["Website relaunch"]


async def test_parked_effects_are_sent_anew_and_done(live: tuple[World, httpx.AsyncClient]) -> None:
    w, http = live
    w.begin_story()
    await w.set_connection("asana", {"team": "4711"})  # which Asana does not know
    await w.win()
    await w.quiet()
    assert w.effects()["project"] == ["parked"]
    await w.set_connection("asana", {"team": w.tools["asana"].state.team["gid"]})
    for row in w.rows(tables.effect, name="project"):
        answer = await http.post(f"/api/v1/effects/{row['id']}/unpark", json={"verdict": "anew", "who": "Ada"})
        assert answer.json()["state"] == "planned"
    await w.hub.look_for_changes()
    await w.quiet()
    assert w.effects() == {"project": ["done"], "checklist": ["done"] * 4, "note": ["done"]}
    assert len(await w.projects()) == 1


async def test_a_finding_is_settled_with_a_note_and_told_as_settled(refused: Api) -> None:
    row = {"kind": "drift", "subject_kind": "hubspot.company", "subject": "con_1/7001", "about": "x", "detail": "changed"}
    with refused.story.engine.begin() as conn:
        conn.execute(tables.finding.insert(), [row | {"id": "fin_1", "facts": {}, "at": refused.story.clock.now()}])
    assert [one["id"] for one in (await refused.get("findings", state="open")).json()["items"]] == ["fin_1"]

    assert (await refused.post("findings/fin_1/settle", {"who": "kim"})).status_code == 422
    assert (await refused.post("findings/fin_2/settle", {"who": "kim", "why": "well"})).status_code == 404
    settled = await refused.post("findings/fin_1/settle", {"who": "kim", "why": "as agreed"})
    assert settled.status_code == 200
    assert (settled.json()["settled_by"], settled.json()["settled_why"]) == ("kim (token first)", "as agreed")
    assert (await refused.post("findings/fin_1/settle", {"who": "kim", "why": "again"})).status_code == 409

    assert (await refused.get("findings", state="open")).json()["items"] == []
    assert [one["id"] for one in (await refused.get("findings")).json()["items"]] == ["fin_1"]
    assert (await refused.get("findings", kind="nope")).status_code == 422
