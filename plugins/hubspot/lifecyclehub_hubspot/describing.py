"""What HubSpot has in this account: properties with their options, pipelines with their stages, and who we are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecyclehub.connector import Account, Call, FieldInfo
from lifecyclehub.errors import Forbidden, TryAgain
from lifecyclehub.messages import Request
from lifecyclehub_hubspot.objects import DEAL, HubSpotObject, answer, id_of, results

# One harmless read for each scope that the connection cannot do without.
SCOPES = {
    "crm.objects.deals.read": "/crm/v3/objects/deals",
    "crm.objects.companies.read": "/crm/v3/objects/companies",
    "crm.objects.contacts.read": "/crm/v3/objects/contacts",
    "crm.objects.owners.read": "/crm/v3/owners",
}


async def the_account(call: Call) -> Account:
    """Give the one account that a private app's token reaches, once every scope is known to be there."""
    details = answer(await call.send(Request(method="GET", path="/account-info/v3/details")), "account")
    portal = id_of(details.get("portalId"))
    if portal is None:
        raise TryAgain("HubSpot's account details hold no portalId")
    for scope, path in SCOPES.items():
        try:
            answer(await call.send(Request(method="GET", path=path, query=(("limit", "1"),))), path)
        except Forbidden as error:
            raise Forbidden(
                f"the private app of HubSpot account {portal} lacks the scope {scope}. Add it on the app's Scopes tab; "
                f"the token stays the same. ({error})"
            ) from error
    return Account(
        id=portal,
        name=_text(details.get("portalName")) or f"HubSpot account {portal}",
        currency=_text(details.get("companyCurrency")),
        timezone=_text(details.get("timeZone")),
    )


async def the_fields(call: Call, kind: HubSpotObject) -> list[FieldInfo]:
    """List the properties of a kind; a deal's stages and pipelines with the labels that people gave them."""
    page = answer(await call.send(Request(method="GET", path=f"/crm/v3/properties/{kind.path}")), f"properties of {kind.path}")
    chosen = await _pipelines(call) if kind is DEAL else {}
    return [
        FieldInfo(
            path=f"properties.{name}",
            label=_text(one.get("label")) or name,
            type=_text(one.get("type")) or "string",
            options=chosen.get(name) or _options(one.get("options")),
        )
        for one in results(page, f"properties of {kind.path}")
        if (name := _text(one.get("name")))
    ]


async def _pipelines(call: Call) -> dict[str, tuple[tuple[str, str], ...]]:
    page = answer(await call.send(Request(method="GET", path="/crm/v3/pipelines/deals")), "deal pipelines")
    pipelines = results(page, "deal pipelines")
    stages = [(pipeline, stage) for pipeline in pipelines for stage in pipeline.get("stages") or ()]
    several = len(pipelines) > 1
    return {
        "pipeline": tuple((str(one.get("id")), str(one.get("label"))) for one in pipelines),
        "dealstage": tuple(
            (str(stage.get("id")), f"{pipeline.get('label')}: {stage.get('label')}" if several else str(stage.get("label")))
            for pipeline, stage in stages
        ),
    }


def _options(listed: Any) -> tuple[tuple[str, str], ...]:
    options = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return tuple((str(one.get("value")), str(one.get("label"))) for one in options)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
