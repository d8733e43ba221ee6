"""What the API tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request

from lifecyclehub.admin.presence import ASLEEP
from lifecyclehub.admin.stored import find_connection
from lifecyclehub.hub import Hub
from lifecyclehub.insight.check import Problem as Fault
from lifecyclehub.insight.check import check
from lifecyclehub.insight.clients import (
    ClientItem,
    ClientPage,
    EngagementItem,
    client_page,
    list_clients,
    list_engagements,
)
from lifecyclehub.insight.details import DeliveryDetail, EffectDetail, delivery_detail, effect_detail
from lifecyclehub.insight.engagements import EngagementPage, engagement_page
from lifecyclehub.insight.explain import Explanation, explain
from lifecyclehub.insight.findings import Finding, list_findings
from lifecyclehub.insight.lists import (
    DeliveryItem,
    EffectItem,
    LinkItem,
    NoticeItem,
    list_deliveries,
    list_effects,
    list_links,
    list_notices,
)
from lifecyclehub.insight.status import ConnectionStatus, Status, read_status
from lifecyclehub.web.api.problems import answers
from lifecyclehub.web.api.protect import hub_of, protected
from lifecyclehub.web.api.shapes import (
    ClientListing,
    DeliveryListing,
    EffectListing,
    EngagementListing,
    FindingListing,
    LinkListing,
    NoticeListing,
    Page,
)

P = ParamSpec("P")
R = TypeVar("R")
router = protected("look")


class StatusAnswer(BaseModel):
    """How things are, and what is wrong with them (nothing, if all is well)."""

    status: Status
    problems: tuple[Fault, ...]


async def _ask(request: Request, question: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await hub_of(request).store.read(question, *args, **kwargs)


async def _status(hub: Hub) -> Status:
    status = await hub.store.read(
        read_status,
        abouts=hub.rules.abouts,
        handoffs=hub.rules.handoffs.handoffs,
        now=hub.clock.now(),
        hanging=hub.runner.hanging,
        refused=[(one.name, one.reason, one.mend) for one in hub.registry.refused],
    )
    return replace(status, outbound_allowed=hub.may > ASLEEP)


async def _connection(request: Request, named: str | None) -> str | None:
    """Give the id of a connection by name or id."""
    if named is None:
        return None
    found: str = (await _ask(request, find_connection, named, removed=True))["id"]
    return found


def _filters(asked: BaseModel, *but: str) -> dict[str, Any]:
    return asked.model_dump(exclude={"cursor", "limit", *but})


@router.get("/status", responses=answers("status"), summary="How are things?")
async def status(request: Request) -> StatusAnswer:
    """Say which connections live, what waits and why, what was refused, and what a person must look at."""
    now = await _status(hub_of(request))
    return StatusAnswer(status=now, problems=check(now))


@router.get("/connections", responses=answers("connections"), summary="Which accounts are connected?")
async def connections(request: Request) -> tuple[ConnectionStatus, ...]:
    """Give all connections, when they were last heard, and when they are swept next."""
    return (await _status(hub_of(request))).connections


@router.get("/clients", responses=answers("clients", 400), summary="Which clients are there?")
async def clients(request: Request, asked: Annotated[ClientListing, Query()]) -> Page[ClientItem]:
    """List clients, newest first."""
    return Page.of(await _ask(request, list_clients, asked.page, **_filters(asked)))


@router.get("/clients/{client}", responses=answers("client", 404), summary="What is known of a client?")
async def client(request: Request, client: str) -> ClientPage:
    """Give its standing, contacts with roles, identity keys, engagements, open tickets, unpaid invoices, and records."""
    return await _ask(request, client_page, client)


@router.get("/engagements", responses=answers("engagements", 400, 404), summary="Which engagements are there?")
async def engagements(request: Request, asked: Annotated[EngagementListing, Query()]) -> Page[EngagementItem]:
    """List engagements, newest first."""
    return Page.of(await _ask(request, list_engagements, asked.page, **_filters(asked)))


@router.get("/engagements/{engagement}", responses=answers("engagement", 404), summary="What happened in an engagement?")
async def engagement(request: Request, engagement: str) -> EngagementPage:
    """Give its things, its money, and its timeline: what became true in the tools, what we did, what was found."""
    return await _ask(request, engagement_page, engagement)


@router.get("/deliveries", responses=answers("deliveries", 400, 404), summary="What came in?")
async def deliveries(request: Request, asked: Annotated[DeliveryListing, Query()]) -> Page[DeliveryItem]:
    """List deliveries (webhook requests and swept pages), newest first."""
    named = await _connection(request, asked.connection)
    return Page.of(await _ask(request, list_deliveries, asked.page, connection=named, **_filters(asked, "connection")))


@router.get("/deliveries/{delivery}", responses=answers("delivery", 404), summary="What was in a delivery?")
async def delivery(request: Request, delivery: str) -> DeliveryDetail:
    """Give a delivery as it came, without credentials, with its notices."""
    return await _ask(request, delivery_detail, delivery)


@router.get("/notices", responses=answers("notices", 400, 404), summary="Which records may have changed?")
async def notices(request: Request, asked: Annotated[NoticeListing, Query()]) -> Page[NoticeItem]:
    """List notices, newest first: each says that a record may have changed, and how that ended."""
    named = await _connection(request, asked.connection)
    return Page.of(await _ask(request, list_notices, asked.page, connection=named, **_filters(asked, "connection")))


@router.get("/effects", responses=answers("effects", 400, 404), summary="What is done in the tools?")
async def effects(request: Request, asked: Annotated[EffectListing, Query()]) -> Page[EffectItem]:
    """List effects, newest first: intended, under way, done, waiting for a person."""
    named = await _connection(request, asked.connection)
    return Page.of(await _ask(request, list_effects, asked.page, connection=named, **_filters(asked, "connection")))


@router.get("/effects/{effect}", responses=answers("effect", 404), summary="What came of an effect?")
async def effect(request: Request, effect: str) -> EffectDetail:
    """Give an effect with its input, its frozen request, what it needs, and every attempt with its outcome."""
    return await _ask(request, effect_detail, effect)


@router.get("/findings", responses=answers("findings", 400), summary="What was found that a person should know?")
async def findings(request: Request, asked: Annotated[FindingListing, Query()]) -> Page[Finding]:
    """List doubles, drifts, what webhooks missed and owners nobody knows, newest first, and who has settled them."""
    return Page.of(await _ask(request, list_findings, asked.page, **_filters(asked)))


@router.get("/links", responses=answers("links", 400, 404), summary="Which record is which thing of ours?")
async def links(request: Request, asked: Annotated[LinkListing, Query()]) -> Page[LinkItem]:
    """List links by connection, kind and record id, also records that are known and belong to nobody."""
    named = await _connection(request, asked.connection)
    return Page.of(await _ask(request, list_links, asked.page, connection=named, **_filters(asked, "connection")))


@router.get("/explain/{thing:path}", responses=answers("why", 404), summary="Why?")
async def why(request: Request, thing: str) -> Explanation:
    """Explain an id, one field of a thing (`dea_…:deal.status`), a record's address, or connection/kind/record id.

    Why a value is what it is, why something was done, and why not.
    """
    hub = hub_of(request)
    return await _ask(request, explain, hub.rules, thing, hub.clock.now())
