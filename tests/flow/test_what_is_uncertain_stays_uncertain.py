"""What may have been done is never sent again merely because time passed or credentials changed: it is looked up first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.requests import Request

from lifecyclehub.sandbox.tool import VendorError
from lifecyclehub.store import tables as t
from tests.support.world import World

pytestmark = pytest.mark.anyio


def bar(w: World, tool: str, path: str, once: Callable[[], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tool refuse our credentials for some requests, as soon as something is so."""
    one = w.tools[tool]
    usual = one.check_auth

    def check(request: Request) -> None:
        if path in request.url.path and once():
            raise VendorError(401, {"errors": [{"message": "Not Authorized"}]})
        usual(request)

    monkeypatch.setattr(one, "check_auth", check)


async def test_what_was_in_doubt_when_a_token_was_revoked_is_looked_up_with_the_new_one(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await w.misbehave("hubspot", faults=[{"do": "lose_answer", "path": "/objects/notes$"}])
    with monkeypatch.context() as patch:
        bar(w, "hubspot", "/associations/", lambda: bool(w.history("hubspot", "misbehaved")), patch)
        await w.win()
        await w.until(lambda: "NeedsReauthorization" in {row["outcome"] for row in w.rows(t.attempt)})
    assert w.rows(t.connection, id="con_hubspot")[0]["state"] == "paused"
    assert w.effects()["note"] == ["in doubt"]
    await w.new_credentials("hubspot")
    await w.quiet()
    assert len(w.notes()) == 1
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_an_accepted_project_is_asked_about_again_after_a_token_was_revoked(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = (await w.act("asana", "add_template", name="Website"))["id"]
    await w.set_connection("asana", {"project_template": template})
    try:
        with monkeypatch.context() as patch:
            bar(w, "asana", "/jobs/", lambda: True, patch)
            await w.win()
            await w.until(lambda: "NeedsReauthorization" in {row["outcome"] for row in w.rows(t.attempt)})
        assert w.effects()["project"] == ["in flight"]
        await w.new_credentials("asana")
        await w.quiet()
    finally:
        await w.set_connection("asana", {"project_template": ""})
    assert len(w.history("asana", "queued")) == 1
    assert len(w.made("asana", "project")) == 1
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_an_idempotency_key_that_has_ended_meanwhile_is_not_trusted(w: World) -> None:
    _, project = await w.won_project()
    lost = {"do": "lose_answer", "method": "PUT", "path": "/Invoices$"}
    busy = {"do": "rate_limit", "method": "PUT", "path": "/Invoices$", "seconds": 3600}
    await w.misbehave("xero", faults=[lost, busy], hooks={"drop": True})  # news of the draft would settle it
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    assert len(w.history("xero", "misbehaved")) == 2
    assert len(w.made("xero", "invoice")) == 1
    assert {row["state"] for row in w.rows(t.effect)} == {"done"}


async def test_a_vendor_that_was_only_busy_for_long_is_sent_the_same_again(w: World) -> None:
    _, project = await w.won_project()
    busy = {"do": "rate_limit", "method": "PUT", "path": "/Invoices$", "seconds": 3600}
    await w.misbehave("xero", faults=[busy])
    await w.act("asana", "complete_project", project=project)
    await w.quiet()
    (invoice,) = w.rows(t.effect, name="invoice")
    assert [row["what"] for row in w.rows(t.attempt, effect=invoice["id"])] == ["sent", "sent"]
    assert len(w.made("xero", "invoice")) == 1
