"""What the API tells."""

from __future__ import annotations

import json

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter
from sqlalchemy import update

from lifecyclehub.admin.tokens import PREFIX
from lifecyclehub.store import tables
from lifecyclehub.store.writer import StoreBusy
from lifecyclehub.web.api import act, look
from lifecyclehub.web.api.examples import EXAMPLES
from tests.web.conftest import Api, web

pytestmark = pytest.mark.anyio


async def test_a_client_shows_its_standing_keys_engagements_and_records(api: Api) -> None:
    listed = (await api.get("clients")).json()
    assert [one["name"] for one in listed["items"]] == ["Orchard Tools"]
    page = (await api.get(f"clients/{listed['items'][0]['id']}")).json()
    assert page["client"]["standing"] == "client"
    assert page["identity_keys"] == [{"kind": "domain", "value": "orchard.example"}]
    assert [one["title"] for one in page["engagements"]] == ["Shop rebuild"]
    assert page["links"][0]["address"] == "https://app.hubspot.example/company/7001"


async def test_an_engagement_tells_its_money_and_everything_in_time_order(api: Api) -> None:
    engagement = api.only("engagement")["id"]
    page = (await api.get(f"engagements/{engagement}")).json()
    assert page["client_name"] == "Orchard Tools"
    assert page["money"]["sold"] == [{"minor": 1200000, "currency": "EUR", "text": "12,000.00 EUR"}]
    moments = [(one["what"], one["kind"]) for one in page["timeline"]]
    assert moments[0] == ("event", "deal.won")
    assert ("event", "project.opened") in moments
    assert ("effect", "project.create_project") in moments
    times = [one["at"] for one in page["timeline"]]
    assert times == sorted(times)
    made = next(one for one in page["timeline"] if one["kind"] == "project.create_project")
    assert (made["address"], made["tool"]) == ("https://app.asana.example/0/5001", "asana")


async def test_a_list_goes_on_where_its_page_ended(api: Api) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await api.get("effects", **query)).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted((row["id"] for row in api.story.rows(tables.effect)), reverse=True)


async def test_links_are_listed_in_pages_too(api: Api) -> None:
    first = (await api.get("links", limit=1)).json()
    rest = (await api.get("links", limit=200, cursor=first["next"])).json()
    kinds = [one["kind"] for one in (*first["items"], *rest["items"])]
    assert sorted(kinds) == ["asana.project", "hubspot.company", "hubspot.deal"]


async def test_lists_are_filtered(api: Api) -> None:
    held = (await api.get("effects", state="held", handoff="won-deal-starts-delivery")).json()["items"]
    assert {one["state"] for one in held} == {"held"}
    assert len(held) == 5
    assert (await api.get("effects", state="parked")).json()["items"] == []
    named = (await api.get("notices", connection="hubspot")).json()["items"]
    assert [one["kind"] for one in named] == ["hubspot.deal"]
    assert (await api.get("notices", connection="asana")).json()["items"] == []
    assert len((await api.get("deliveries", connection="con_hubspot")).json()["items"]) == 1


async def test_a_cursor_of_another_list_is_refused_with_what_to_do(api: Api) -> None:
    cursor = (await api.get("effects", limit=1)).json()["next"]
    assert (await api.get("notices", cursor=cursor)).status_code == 400
    for wrong in (cursor, "nonsense", "Wzg3XQ"):
        answer = await api.get("links", cursor=wrong)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert "begin without a cursor" in answer.json()["detail"]


async def test_a_misspelt_filter_is_an_error_and_not_everything(api: Api) -> None:
    answer = await api.get("effects", stat="held")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "query.stat"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("effects?handoff=won-deal-starts-delivry", "Did you mean won-deal-starts-delivery?"),
        ("effects?handoff=nope", "There are: client-standing-to-crm, "),
        ("effects?action=xyz", "There are: add_note, create_project, create_task."),
        ("effects?engagement=eng_1", "the list of engagements"),
        ("effects?subject=dea_1", "there is no thing 'dea_1'"),
        ("effects?connection=nope", "There are: asana, hubspot"),
        ("engagements?client=cli_1", "the list of clients"),
        ("notices?kind=hubspot.dael", "nothing of the kind 'hubspot.dael' ever came"),
        ("notices?delivery=dlv_1", "the list of deliveries"),
        ("links?kind=nope", "nothing of the kind 'nope' ever came"),
        ("links?thing=pro_1", "there is no thing 'pro_1'"),
    ],
)
async def test_a_filter_that_can_match_nothing_is_an_error_that_says_what_there_is(api: Api, asked: str, said: str) -> None:
    reply = await api.http.get(f"/api/v1/{asked}")
    assert reply.status_code == 404
    assert said in reply.json()["detail"]


async def test_a_filter_that_could_match_and_does_not_gives_an_empty_list(api: Api) -> None:
    deal = api.only("deal")
    for asked in ("effects?handoff=ticket-joins-project", f"links?thing={deal['engagement']}", "notices?record_id=4711"):
        reply = await api.http.get(f"/api/v1/{asked}")
        assert (reply.status_code, reply.json()["items"]) == (200, [])
    for asked in (f"links?thing={deal['id']}", "notices?kind=hubspot.deal", "links?kind=hubspot.deal"):
        assert (await api.http.get(f"/api/v1/{asked}")).json()["items"]


async def test_an_effect_shows_its_frozen_request_and_attempts(api: Api) -> None:
    effect = api.only("effect", name="project")["id"]
    detail = (await api.get(f"effects/{effect}")).json()
    assert detail["effect"]["record_id"] == "5001"
    assert detail["request"]["method"] == "POST"
    assert [one["outcome"] for one in detail["attempts"]] == ["Done"]


async def test_a_delivery_shows_what_came_and_what_became_of_it(api: Api) -> None:
    delivery = api.only("delivery")["id"]
    detail = (await api.get(f"deliveries/{delivery}")).json()
    assert detail["body"] == delivery
    assert [one["state"] for one in detail["notices"]] == ["processed"]


async def test_why_a_value_is_what_it_is(api: Api) -> None:
    deal = api.only("deal")["id"]
    answer = (await api.get(f"explain/{deal}:deal.status")).json()
    (value,) = answer["values"]
    assert (value["value"], value["raw"], value["steps"]) == ("won", "closedwon", ["lookup status"])
    assert value["look"]["notice"] == api.only("notice")["id"]


async def test_an_address_can_be_asked_about(api: Api) -> None:
    answer = (await api.get("explain/https://app.asana.example/0/5001/")).json()
    assert answer["id"] == api.only("project")["id"]


async def test_the_status_names_what_is_wrong(api: Api) -> None:
    answer = (await api.get("status")).json()
    paused = [one for one in answer["problems"] if "is paused" in one["what"]]
    assert len(paused) == 4
    assert {one["name"] for one in (await api.get("connections")).json()} == {"asana", "hubspot", "xero", "zendesk"}


@pytest.mark.parametrize("path", ["clients/cli_none", "engagements/eng_none", "deliveries/dlv_none", "effects/eff_none"])
async def test_what_is_not_there_is_not_found(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert (answer.status_code, answer.json()["title"]) == (404, "Not found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_connection_is_named_with_the_nearest(api: Api) -> None:
    answer = await api.get("effects", connection="hubspott")
    assert answer.status_code == 404
    assert "Did you mean hubspot?" in answer.json()["detail"]


@pytest.mark.parametrize("shown", [None, "", "lch_wrong", "x" * 10_000])
async def test_without_a_valid_token_nothing_is_told(api: Api, shown: str | None) -> None:
    async with web(api.app, shown) as stranger:
        for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/replay")):
            answer = await stranger.request(method, path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["title"] == "No valid token"


async def test_every_route_but_its_description_is_behind_the_token(api: Api) -> None:
    async with web(api.app) as stranger:
        document = (await stranger.get("/api/v1/openapi.json")).json()
        for path, methods in document["paths"].items():
            for method in methods:
                answer = await stranger.request(method.upper(), path.replace("{", "").replace("}", ""))
                assert answer.status_code == 401, path


async def test_the_database_does_not_hold_the_token_itself(api: Api) -> None:
    token = api.story.made.token
    assert token is not None
    assert token.startswith(PREFIX)
    stored = api.only("api_token")
    assert token not in json.dumps(stored, default=str)
    assert token.removeprefix(PREFIX).encode() not in b"".join(
        file.read_bytes() for file in api.story.settings.home.glob("hub.sqlite3*")
    )


async def test_the_use_of_a_token_is_noted_by_the_hour(api: Api) -> None:
    await api.get("clients")
    first = api.only("api_token")["last_used"]
    assert first is not None
    api.story.clock.at += 60
    await api.get("clients")
    assert api.only("api_token")["last_used"] == first
    api.story.clock.at += 3600
    await api.get("clients")
    assert api.only("api_token")["last_used"] > first


async def test_what_is_known_is_told_also_while_nothing_can_be_written(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.story.clock.at += 2 * 3600  # the use of the token is worth a note again

    async def full(*_: object) -> None:
        raise StoreBusy("database or disk is full")

    monkeypatch.setattr(api.hub.store, "run", full)
    assert (await api.get("status")).status_code == 200


async def test_no_answer_tells_a_secret(api: Api) -> None:
    with api.story.engine.begin() as conn:
        conn.execute(update(tables.host).values(fingerprint="canary-fingerprint"))
        row = {"id": "sec_1", "owner_kind": "endpoint", "owner": "end_hubspot", "field": "signing", "sealed": "canary-sealed"}
        conn.execute(tables.secret.insert(), [{**row, "valid_from": api.story.clock.now()}])
    paths = ["status", "connections", "clients", "engagements", "deliveries", "notices", "effects", "links"]
    paths += [f"{kind}s/{api.only(kind)['id']}" for kind in ("client", "engagement")]
    paths += [f"explain/{api.only(kind)['id']}" for kind in ("client", "engagement", "deal", "project", "notice", "delivery")]
    for path in paths:
        answer = await api.get(path)
        assert answer.status_code == 200, path
        assert "canary" not in answer.text


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for one in value.values() for found in _references(one)]
    return [found for one in value for found in _references(one)] if isinstance(value, list) else []


def test_every_example_is_an_answer_that_could_be_given() -> None:
    routes = {route.name: route for router in (act, look) for route in router.routes if isinstance(route, APIRoute)}
    assert set(EXAMPLES) == set(routes)
    for name, route in routes.items():
        shape = TypeAdapter(route.response_model)
        given = shape.dump_python(shape.validate_json(json.dumps(EXAMPLES[name])), mode="json")
        assert given == EXAMPLES[name], name


async def test_the_description_is_complete(api: Api) -> None:
    document = (await api.http.get("/api/v1/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert {reference.rpartition("/")[2] for reference in _references(document)} <= set(schemas)
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    assert all(one["summary"] and one["description"] and one["tags"] and "401" in one["responses"] for one in operations)
    assert all("example" in one["responses"]["200"]["content"]["application/json"] for one in operations)
    assert all(schemas[name].get("description") for name in schemas if not name.startswith("Page"))
