"""The simulated HubSpot calls and shows what it should; its webhooks are checked as a delivery is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from lifecyclehub.connector.roles import AddNote
from lifecyclehub.errors import Moved, RecordGone
from lifecyclehub.messages import Ref
from lifecyclehub.sandbox.hubspot import HubSpotTool
from lifecyclehub.signatures import Secret, verify
from tests.support.hubspot_tool import ACCOUNT, CONNECTOR, DOOR, INQUIRY, MAPPINGS, NOW, HttpCall, Hub, act, perform

pytestmark = pytest.mark.anyio


async def test_what_a_person_cannot_do_is_refused_as_the_tool_does_it(tool: HubSpotTool) -> None:
    async with httpx.AsyncClient(base_url=tool.base_url(), trust_env=False) as client:
        reply = await client.post("/_sandbox/act/win_deal", json={"deal": "404404"})
    assert reply.status_code == 404
    assert reply.json()["status"] == "error"


# --- webhooks ---------------------------------------------------------------------------------------------------------


async def test_its_batches_are_signed_over_method_address_body_and_time(tool: HubSpotTool, hub: Hub) -> None:
    await act(tool, "inquire", **INQUIRY)
    headers, body = await hub.next()

    def verdict(url: str, secret: str | None = tool.signing_secret, raw: bytes = body) -> str:
        secrets = [Secret("s", (secret or "").encode())]
        return verify(DOOR.signature, secrets, method="POST", url=url, headers=headers, body=raw, now=datetime.now(UTC)).reason

    assert verdict(hub.url) == ""
    assert verdict(hub.url + "?x=1") == "bad-signature"
    assert verdict(hub.url, secret="another") == "bad-signature"
    assert verdict(hub.url, raw=body + b" ") == "bad-signature"


async def test_an_inquiry_rings_for_company_contact_and_deal_and_tells_no_values_that_we_would_use(
    tool: HubSpotTool, hub: Hub
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    notices = await hub.notices()
    assert {(one.kind, one.record_id) for one in notices} == {
        ("hubspot.company", made["company"]),
        ("hubspot.contact", made["contact"]),
        ("hubspot.deal", made["deal"]),
    }
    assert {one.account for one in notices} == {tool.account_id}
    assert all(one.document is None and one.actor == "CRM_UI:userId:771" for one in notices)
    keys = [one.key for one in notices]
    assert len(set(keys)) == len(keys)


async def test_our_own_note_rings_too(tool: HubSpotTool, hub: Hub, call: HttpCall) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await hub.next()
    await perform(call, "add_note", AddNote(at=NOW, deal=made["deal"], text="Project: https://projects.example/7"))
    (notice,) = await hub.notices()
    assert (notice.kind, notice.record_id, notice.actor) == ("hubspot.deal", made["deal"], "INTEGRATION:1740025")


async def test_more_than_a_hundred_changes_come_in_several_batches(tool: HubSpotTool, hub: Hub) -> None:
    for place in range(120):
        tool.state.create("contacts", {"email": f"person{place}@brightwater.example"}, ("CRM_UI", "userId:771"))
    tool._flush()
    sizes = [len(json.loads((await hub.next())[1])) for _ in range(3)]
    assert sizes == [100, 100, 40]


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_a_won_deal_is_fetched_and_mapped_with_company_contact_owner_and_the_time_of_winning(
    tool: HubSpotTool, call: HttpCall
) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    before = datetime.now(UTC)
    await act(tool, "win_deal", deal=made["deal"])
    await act(tool, "edit_deal", deal=made["deal"], closedate="2026-01-01T00:00:00.000Z")
    document = await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))
    assert [(one.kind, one.id) for one in document.related] == [
        ("hubspot.company", made["company"]),
        ("hubspot.contact", made["contact"]),
    ]
    inbound = {kind: MAPPINGS.inbound(kind) for kind in MAPPINGS.kinds}
    values: dict[str, Any] = {}
    for one in (document, *document.related):
        mapping = inbound[one.kind]
        assert mapping is not None
        values |= mapping.map(one, ACCOUNT).values
    won_at = values.pop("deal.won_at")
    assert abs((won_at - before).total_seconds()) < 5
    assert values.pop("deal.created_at") < won_at
    assert values == {
        "deal.title": "New website",
        "deal.status": "won",
        "deal.value.amount": 1200050,
        "deal.value.currency": "EUR",
        "deal.owner.email": "astrid@northwind.example",
        "deal.owner.name": "Astrid Holm",
        "deal.scope": None,
        "client.name": "Brightwater Foods",
        "client.kind": "company",
        "client.domain": "brightwater.example",
        "client.phone": None,
        "client.country": None,
        "client.standing": "lead",
        "contact.name": "Ida Brandt",
        "contact.email": "ida@brightwater.example",
        "contact.phone": None,
    }
    assert document.url == f"https://app.hubspot.com/contacts/{tool.account_id}/record/0-3/{made['deal']}"


async def test_a_deleted_deal_is_gone_until_it_is_restored(tool: HubSpotTool, call: HttpCall, hub: Hub) -> None:
    made = await act(tool, "inquire", **INQUIRY)
    await hub.next()
    await act(tool, "delete_deal", deal=made["deal"])
    assert [one.change for one in await hub.notices()] == ["deleted"]
    with pytest.raises(RecordGone):
        await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))
    await act(tool, "restore_deal", deal=made["deal"])
    assert (await CONNECTOR.fetch(call, Ref("hubspot.deal", made["deal"]))).id == made["deal"]


async def test_merged_companies_lead_to_the_new_one_by_both_old_ids(tool: HubSpotTool, call: HttpCall, hub: Hub) -> None:
    one = await act(tool, "inquire", **INQUIRY)
    other = await act(tool, "inquire", **{**INQUIRY, "domain": "brightwater.test", "company": "Brightwater"})
    await hub.next()
    await hub.next()
    merged = (await act(tool, "merge_companies", primary=one["company"], other=other["company"]))["company"]
    told = {(notice.record_id, notice.change, notice.into) for notice in await hub.notices()}
    assert {(one["company"], "merged", merged), (other["company"], "merged", merged), (merged, "changed", None)} <= told
    for old in (one["company"], other["company"]):
        with pytest.raises(Moved) as moved:
            await CONNECTOR.fetch(call, Ref("hubspot.company", old))
        assert moved.value.to == merged
    deal = await CONNECTOR.fetch(call, Ref("hubspot.deal", one["deal"]))
    assert deal.related[0].id == merged
    assert deal.related[0].data["properties"]["name"] == "Brightwater Foods"


async def test_a_sweep_finds_what_changed_and_a_full_one_everything(tool: HubSpotTool, call: HttpCall) -> None:
    made = [(await act(tool, "inquire", **{**INQUIRY, "title": f"Deal {place}"}))["deal"] for place in range(3)]
    (start,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", None, full=False)]
    assert start.notices == ()
    await act(tool, "move_deal", deal=made[1], stage="contractsent")
    (page,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", start.cursor, full=False)]
    assert made[1] in {one.record_id for one in page.notices}
    assert page.notices[-1].record_id == made[1]
    (everything,) = [page async for page in CONNECTOR.sweep(call, "hubspot.deal", None, full=True)]
    assert [one.record_id for one in everything.notices] == made
    assert everything.last
    assert everything.cursor is None


async def test_set_up_sees_the_account_and_every_pipeline_s_stages_by_label(call: HttpCall) -> None:
    (account,) = await CONNECTOR.accounts(call)
    assert (account.id, account.currency, account.timezone) == ("24810377", "EUR", "Europe/Copenhagen")
    fields = {one.path: one for one in await CONNECTOR.fields(call, "hubspot.deal")}
    assert ("167400212", "Retainers: Retainer signed") in fields["properties.dealstage"].options
    assert ("closedwon", "Sales Pipeline: Closed Won") in fields["properties.dealstage"].options
    assert "properties.service_line" in fields
