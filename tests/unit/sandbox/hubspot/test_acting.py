"""The simulated HubSpot does what it is told, and lists its people."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from lifecyclehub.connector.roles import AddNote, CreateCrmTask, SetFields
from lifecyclehub.errors import RecordGone
from lifecyclehub.messages import Absent, CannotTell, Done, Found, Ref, Refused, Request
from lifecyclehub.sandbox.faults import Fault
from lifecyclehub.sandbox.hubspot import HubSpotTool
from tests.support.hubspot_tool import ASTRID, CONNECTOR, INQUIRY, KEY, NOW, HttpCall, act, perform, said

pytestmark = pytest.mark.anyio

# --- acting -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "given"),
    [
        ("add_note", "note", lambda deal: AddNote(at=NOW, deal=deal, text="Project: <new>\nhttps://projects.example/7")),
        (
            "create_task",
            "task",
            lambda deal: CreateCrmTask(at=NOW, deal=deal, title="Call Ida", owner=ASTRID),
        ),
    ],
)
async def test_an_activity_is_made_with_our_marker_and_found_again(
    tool: HubSpotTool, call: HttpCall, name: str, kind: str, given: Any
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await act(tool, "write_note", deal=made["deal"], text="Met at the fair.")
    action, value = CONNECTOR.about.action(name), given(made["deal"])
    assert action is not None
    assert await action.find(call, value, KEY) == Absent()
    done = await perform(call, name, value)
    assert isinstance(done, Done)
    assert await action.find(call, value, KEY) == Found((Done(record_id=done.record_id),))
    created = [line for line in said(tool, "created", kind) if line["by"] == "api"]
    assert [(line["id"], line["marker"]) for line in created] == [(done.record_id, KEY.marker)]


async def test_a_lost_answer_leaves_one_note_that_is_found(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    tool.misbehaviour.faults.append(Fault("lose_answer", path="/crm/v3/objects/notes$"))
    value = AddNote(at=NOW, deal=made["deal"], text="Project: https://projects.example/7")
    with pytest.raises(httpx.HTTPError):
        await perform(call, "add_note", value)
    action = CONNECTOR.about.action("add_note")
    assert action is not None
    assert isinstance(await action.find(call, value, KEY), Found)
    assert len(said(tool, "created", "note")) == 1


async def test_a_look_up_that_fails_is_never_absent(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    value, action = AddNote(at=NOW, deal=made["deal"], text="x"), CONNECTOR.about.action("add_note")
    assert action is not None
    await act(tool, "write_note", deal=made["deal"], text="Met at the fair.")
    for fault in (
        Fault("fail", method="GET", path="/associations/"),
        Fault("html", method="GET", path="/associations/"),
        Fault("garbage", path="/batch/read"),
        Fault("fail", path="/batch/read"),
    ):
        tool.misbehaviour.faults.append(fault)
        assert isinstance(await action.find(call, value, KEY), CannotTell)
    await act(tool, "delete_deal", deal=made["deal"])
    assert isinstance(await action.find(call, value, KEY), CannotTell)


async def test_what_is_new_stays_hidden_from_look_ups_while_the_tool_lags(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    tool.misbehaviour.lag_s = 60
    value, action = AddNote(at=NOW, deal=made["deal"], text="x"), CONNECTOR.about.action("add_note")
    assert action is not None
    await perform(call, "add_note", value)
    assert await action.find(call, value, KEY) == Absent()
    tool.misbehaviour.lag_s = 0
    assert isinstance(await action.find(call, value, KEY), Found)


async def test_the_standing_moves_forward_and_a_move_back_is_refused(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)

    def given(standing: str) -> SetFields:
        return SetFields(record=made["company"], values={"client.standing": standing})

    assert await perform(call, "set_fields", given("client")) == Done(record_id=made["company"])
    refused = await perform(call, "set_fields", given("lead"))
    assert isinstance(refused, Refused)
    assert "forward only" in refused.reason
    assert tool.state.get("companies", made["company"]).properties["lifecyclestage"] == "customer"


async def test_it_refuses_what_hubspot_refuses(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)

    async def status(method: Any, path: str, body: Any) -> int:
        return (await call.send(Request(method=method, path=path, json=body))).status

    deal = f"/crm/v3/objects/deals/{made['deal']}"
    tie = {"to": {"id": made["deal"]}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 214}]}
    note = {"hs_note_body": "x", "hs_timestamp": "2026-05-04T09:30:00Z"}
    assert await status("PATCH", deal, {"properties": {"colour": "red"}}) == 400
    assert await status("PATCH", deal, {"properties": {"dealstage": "nowhere"}}) == 400
    assert await status("PATCH", deal, {"props": {}}) == 400
    assert await status("POST", "/crm/v3/objects/notes", {"properties": {"hs_note_body": "x"}, "associations": [tie]}) == 400
    wrong = {**tie, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}
    assert await status("POST", "/crm/v3/objects/notes", {"properties": note, "associations": [wrong]}) == 400
    assert (
        await status("POST", "/crm/v3/objects/notes", {"properties": note, "associations": [{**tie, "to": {"id": "1"}}]}) == 404
    )
    assert said(tool, "created", "note") == []
    assert await status("POST", "/crm/v3/objects/contacts", {"properties": {"email": "ida@brightwater.example"}}) == 409
    call.token = "wrong"
    assert await status("GET", deal, None) == 401


# --- owners -----------------------------------------------------------------------------------------------------------


async def owners(call: HttpCall, cursor: str | None) -> tuple[set[str], str | None]:
    pages = [page async for page in CONNECTOR.sweep(call, "hubspot.owner", cursor, full=False)]
    return {notice.record_id for page in pages for notice in page.notices}, pages[-1].cursor


async def test_owners_are_listed_once_and_then_only_who_came_changed_or_went(tool: HubSpotTool, call: HttpCall) -> None:
    astrid, jonas = tool.people.owners.all
    found, cursor = await owners(call, None)
    assert found == {astrid, jonas}
    assert await owners(call, cursor) == (set(), cursor)
    await act(tool, "edit_owner", owner=astrid, email="astrid.holm@northwind.example")
    await act(tool, "edit_owner", owner=jonas, archived=True)
    mara = (await act(tool, "add_owner", email="mara@northwind.example"))["owner"]
    found, cursor = await owners(call, cursor)
    assert found == {astrid, jonas, mara}
    assert (await CONNECTOR.fetch(call, Ref("hubspot.owner", astrid))).data["email"] == "astrid.holm@northwind.example"
    with pytest.raises(RecordGone):
        await CONNECTOR.fetch(call, Ref("hubspot.owner", jonas))
    assert (await owners(call, cursor))[0] == set()


async def test_more_owners_than_one_page_are_all_listed(tool: HubSpotTool, call: HttpCall) -> None:
    for number in range(520):
        tool.people.owners.add(f"p{number}@northwind.example", "Person", str(number))
    found, _ = await owners(call, None)
    assert found == set(tool.people.owners.all)


async def test_a_task_is_assigned_to_an_owner_and_refused_for_one_who_left(tool: HubSpotTool, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    value = CreateCrmTask(at=NOW, deal=made["deal"], title="Call Ida", owner=ASTRID)
    done = await perform(call, "create_task", value)
    assert isinstance(done, Done)
    assert tool.state.get("tasks", done.record_id).properties["hubspot_owner_id"] == ASTRID.record
    await act(tool, "edit_owner", owner=ASTRID.record, archived=True)
    refused = await perform(call, "create_task", value)
    assert isinstance(refused, Refused)
    assert refused.owner
