"""Unsigned, badly signed, stale and replayed deliveries; deliveries of a stranger's account; handshakes nobody asked for."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest

from lifecyclehub.store import tables as t
from tests.support.bad_input import ACCOUNTS, PUBLIC, SIGNATURES, Hall, a_deal, deal_entry

pytestmark = pytest.mark.anyio

BODIES: dict[str, Any] = {
    "hubspot": [deal_entry("1", 1)],
    "asana": {"events": [{"action": "changed", "resource": {"gid": "1209", "resource_type": "project"}}]},
    "xero": {"events": [], "firstEventSequence": 1, "lastEventSequence": 1, "entropy": "QWHZTLKPVX"},
    "zendesk": {"type": "zen:event-type:ticket.created", "id": "0f2b", "subject": "zen:ticket:1", "detail": {"id": "1"}},
}
TOOLS = sorted(BODIES)


def body_of(connector: str) -> bytes:
    return json.dumps(BODIES[connector]).encode()


def the_refusal(h: Hall, connector: str) -> dict[str, Any]:
    (refusal,) = h.refusals(connector)
    return refusal


@pytest.mark.parametrize("connector", TOOLS)
async def test_an_unsigned_delivery_is_refused_and_only_facts_about_it_are_kept(h: Hall, connector: str) -> None:
    body = body_of(connector)
    async with h.undisturbed("refusal"):
        answer = await h.knock(connector, body, signature=None, headers={"x-private": "do not keep me"})

    assert (answer.status_code, answer.content) == (401, b""), "vendors check for a 401 without a body"
    refusal = the_refusal(h, connector)
    assert refusal["reason"] == "unsigned"
    assert f"the header {SIGNATURES[connector]} is missing" in refusal["detail"]
    assert f"verified against {PUBLIC}/hooks/end_{connector}" in refusal["detail"]
    assert refusal["size"] == len(body)
    assert refusal["body_hash"] == hashlib.sha256(body).hexdigest()
    assert "x-private" in refusal["header_names"]
    assert "do not keep me" not in repr(refusal)


@pytest.mark.parametrize("connector", TOOLS)
@pytest.mark.parametrize(
    "signature", ["", "AAAA", "ünïcode".encode().decode("latin-1"), "0" * 5000], ids=["none", "short", "odd", "long"]
)
async def test_a_badly_signed_delivery_is_refused(h: Hall, connector: str, signature: str) -> None:
    wrong = {"secret": "somebody else's"} if signature == "" else {"signature": signature}
    async with h.undisturbed("refusal"):
        answer = await h.knock(connector, body_of(connector), **wrong)  # type: ignore[arg-type]

    assert answer.status_code == 401
    assert the_refusal(h, connector)["reason"] == "bad-signature"
    assert "does not match the body, the URL or the secret" in the_refusal(h, connector)["detail"]


@pytest.mark.parametrize("connector", TOOLS)
async def test_one_changed_byte_breaks_the_signature(h: Hall, connector: str) -> None:
    async with h.undisturbed("refusal"):
        right = await h.knock(connector, body_of(connector) + b" ", headers=dict(_signatures_of(h, connector)))

    assert right.status_code == 401


def _signatures_of(h: Hall, connector: str) -> dict[str, str]:
    from tests.support.bad_input import signed

    return signed(connector, f"{PUBLIC}/hooks/end_{connector}", body_of(connector), h.clock.now())


@pytest.mark.parametrize("connector", ["hubspot", "zendesk"])
@pytest.mark.parametrize(("off", "words"), [(-301, "s old"), (302, "s in the future")])
async def test_a_stale_delivery_is_refused_and_says_by_how_much(h: Hall, connector: str, off: float, words: str) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock(connector, body_of(connector), at=h.clock.now() + timedelta(seconds=off))

    assert answer.status_code == 401
    refusal = the_refusal(h, connector)
    assert refusal["reason"] == "stale"
    assert words in refusal["detail"]
    assert "300 s are allowed" in refusal["detail"]


@pytest.mark.parametrize(
    ("connector", "header"),
    [("hubspot", "X-HubSpot-Request-Timestamp"), ("zendesk", "X-Zendesk-Webhook-Signature-Timestamp")],
)
@pytest.mark.parametrize("stamp", [None, "yesterday", "-1", "9" * 40])
async def test_a_delivery_without_a_readable_time_is_refused(h: Hall, connector: str, header: str, stamp: str | None) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock(connector, body_of(connector), headers={header: stamp})

    assert answer.status_code == 401
    assert the_refusal(h, connector)["reason"] == "no-timestamp"
    assert header in the_refusal(h, connector)["detail"]


async def test_a_delivery_replayed_before_it_was_split_is_folded_into_the_first(h: Hall) -> None:
    h.vendors.deals["1"] = a_deal("1")
    body, at = h.deal_changed("1"), h.clock.now()
    async with h.undisturbed("delivery", "notice", "deal", "engagement", "link", "mirror", "snapshot", "event"):
        first = await h.knock("hubspot", body, at=at)
        again = await h.knock("hubspot", body, at=at)

    assert first.is_success
    assert again.is_success
    assert [row["state"] for row in h.rows(t.notice, record_id="1")] == ["processed"]
    assert len(h.rows(t.link, record_id="1")) == 1


async def test_a_delivery_replayed_later_acts_no_second_time(h: Hall) -> None:
    """Thin hooks repeat byte for byte, so it is kept; its entry has the vendor's key, so it is no news."""
    await h.switch_on()
    h.vendors.deals["1"] = a_deal("1", stage="closedwon")
    body, at = h.deal_changed("1"), h.clock.now()
    await h.knock("hubspot", body, at=at)
    await h.hub.settled()
    done = list(h.vendors.made)
    assert [path for path, _ in done].count("/api/1.0/projects") == 1

    async with h.undisturbed("delivery", "notice"):
        answer = await h.knock("hubspot", body, at=at)

    assert answer.is_success
    assert [row["reason"] for row in h.rows(t.notice, record_id="1")] == [None, "same as another"]
    assert h.vendors.made == done


async def test_zendesks_repeated_attempt_is_the_same_delivery(h: Hall) -> None:
    body = body_of("zendesk")
    key: dict[str, str | None] = {"x-zendesk-webhook-invocation-id": "8350205501"}
    await h.knock("zendesk", body, headers=key)
    await h.hub.settled()
    async with h.undisturbed():
        answer = await h.knock("zendesk", body, headers=key)

    assert answer.is_success


async def test_an_account_that_nobody_connected_is_kept_and_ignored_with_that_reason(h: Hall) -> None:
    async with h.undisturbed("delivery", "notice"):
        answer = await h.knock("hubspot", h.deal_changed("1", portalId=5550001))

    assert answer.is_success, "vendors disable a hook that answers 4xx to what we merely do not know"
    strangers = h.rows(t.notice, account="5550001")
    assert [(row["state"], row["reason"], row["connection"]) for row in strangers] == [("ignored", "unknown account", None)]


async def test_one_strangers_entry_does_not_spoil_its_neighbours(h: Hall) -> None:
    h.vendors.deals["7"] = a_deal("7")
    batch = [deal_entry("6", 1, portalId=5550001), deal_entry("7", 2)]
    await h.knock("hubspot", json.dumps(batch).encode())
    await h.hub.settled()

    assert h.notices(h.delivery()["id"]) == [
        ("hubspot.deal", "ignored", "unknown account"),
        ("hubspot.deal", "processed", None),
    ]


async def test_xeros_other_organisation_is_ignored_too(h: Hall) -> None:
    entry = {"resourceId": "0f6c1f0e-7f4b-4f0e-9a65-2c1d9f3b7a10", "eventCategory": "INVOICE", "eventType": "UPDATE"}
    body = {"events": [entry | {"tenantId": "another", "eventDateUtc": "2026-05-04T09:29:58.412"}]}
    async with h.undisturbed("delivery", "notice"):
        answer = await h.knock("xero", json.dumps(body).encode())

    assert answer.is_success
    assert [row["reason"] for row in h.rows(t.notice, account="another")] == ["unknown account"]


# --- handshakes ---------------------------------------------------------------------------------------------------------

SHAKE: dict[str, str | None] = {"X-Hook-Secret": "b537207f20cbfa02invented", "content-type": None}


async def test_a_handshake_that_nobody_waits_for_is_refused_and_leaves_no_secret(h: Hall) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock("asana", b"", signature=None, headers=SHAKE)

    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert "only while a subscription is being made" in answer.json()["detail"]
    assert "x-hook-secret" not in answer.headers
    assert the_refusal(h, "asana")["reason"] == "not-registering"


async def test_a_handshake_after_its_time_is_refused(h: Hall) -> None:
    h.change(t.endpoint, "end_asana", state="registering", registering_until=h.clock.now() - timedelta(seconds=1))
    async with h.undisturbed("refusal"):
        answer = await h.knock("asana", b"", signature=None, headers=SHAKE)

    assert answer.status_code == 403


@pytest.mark.parametrize("offered", ["short", "x" * 513, "with\ttab-in-it"])
async def test_an_offered_secret_that_is_none_is_refused(h: Hall, offered: str) -> None:
    h.change(t.endpoint, "end_asana", state="registering", registering_until=h.clock.now() + timedelta(minutes=1))
    async with h.undisturbed("refusal"):
        answer = await h.knock("asana", b"", signature=None, headers={**SHAKE, "X-Hook-Secret": offered})

    assert answer.status_code == 400
    assert the_refusal(h, "asana")["reason"] == "bad-handshake"
    assert "8 to 512 characters" in answer.json()["detail"]


async def test_a_handshake_in_time_makes_a_candidate_that_signs_nothing_yet(h: Hall) -> None:
    """The one unsigned change there is; and what it brings counts for nothing before the vendor's own reply confirms it."""
    h.change(t.endpoint, "end_asana", state="registering", registering_until=h.clock.now() + timedelta(minutes=1))
    async with h.undisturbed("secret", "refusal"):
        answer = await h.knock("asana", b"", signature=None, headers=SHAKE)
        forged = await h.knock("asana", body_of("asana"), secret=str(SHAKE["X-Hook-Secret"]))

    assert answer.status_code == 200
    assert answer.headers["x-hook-secret"] == SHAKE["X-Hook-Secret"]
    assert forged.status_code == 401
    assert [row["state"] for row in h.rows(t.secret, owner="end_asana")] in (["active", "candidate"], ["candidate", "active"])


# --- where to -----------------------------------------------------------------------------------------------------------


async def test_an_unknown_endpoint_is_not_found_and_nothing_is_kept(h: Hall) -> None:
    async with h.undisturbed():
        answer = await h.http.post("/hooks/end_nobody", content=b"{}", headers={"content-type": "application/json"})

    assert answer.status_code == 404
    assert answer.json()["detail"] == "there is no such endpoint"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_a_wrong_method_is_told_the_right_one(h: Hall, method: str) -> None:
    async with h.undisturbed():
        answer = await h.knock("hubspot", body_of("hubspot"), method=method)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_only_the_last_twenty_refusals_are_kept(h: Hall) -> None:
    for n in range(23):
        await h.knock("hubspot", b"x" * n, signature=None)
        h.clock.ahead_s += 1

    assert [row["size"] for row in h.refusals("hubspot")] == list(range(3, 23))


def test_the_accounts_are_the_fixtures() -> None:
    assert set(ACCOUNTS) == set(BODIES)
