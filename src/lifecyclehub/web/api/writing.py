"""What the API does: look again, put aside, take up again. Each can be repeated without harm."""

from __future__ import annotations

from starlette.requests import Request

from lifecyclehub.admin.effects import Answer, AnswerEffects, Aside, ParkEffects
from lifecyclehub.admin.findings import SettleFindings, Settling
from lifecyclehub.admin.replay import Replay, Replayed, Wanted
from lifecyclehub.insight.findings import Finding
from lifecyclehub.web.api.problems import answers
from lifecyclehub.web.api.protect import hub_of, protected
from lifecyclehub.web.api.shapes import EffectNow, ParkInput, ReplayInput, SettleInput, UnparkInput

router = protected("act")


def _who(request: Request, who: str) -> str:
    return f"{who} (token {request.state.token})"


async def _replay(request: Request, wanted: Wanted) -> Replayed:
    hub = hub_of(request)
    return await hub.store.run(Replay(hub.rules, hub.clock), wanted)


@router.post("/replay", responses=answers("replay", 400, 404), summary="Look again at what came in")
async def replay(request: Request, body: ReplayInput) -> Replayed:
    """Open notices or deliveries again: their records are fetched afresh within seconds, so what is true now counts."""
    wanted = Wanted(notices=body.notices, deliveries=body.deliveries, connection=body.connection, since=body.since)
    return await _replay(request, wanted)


@router.post("/notices/{notice}/unpark", responses=answers("unpark_notice", 404), summary="Take a parked notice up again")
async def unpark_notice(request: Request, notice: str) -> Replayed:
    """Fetch the record of a parked notice afresh. One that is not parked is left, and `left` says why."""
    return await _replay(request, Wanted(notices=(notice,), only_parked=True))


@router.post(
    "/effects/{effect}/unpark", responses=answers("unpark_effect", 400, 404, 409), summary="Say what becomes of a parked effect"
)
async def unpark_effect(request: Request, effect: str, body: UnparkInput) -> EffectNow:
    """Send it anew, name the record that is the one, or cancel it for good."""
    hub = hub_of(request)
    word = Answer(effect=effect, verdict=body.verdict, who=_who(request, body.who), record_id=body.record_id, url=body.url)
    operation = AnswerEffects(hub.rules, hub.ids, hub.clock, hub.randomness)
    return EffectNow(effect=effect, state=await hub.store.run(operation, word))


@router.post("/effects/{effect}/park", responses=answers("park_effect", 400, 404, 409), summary="Put an effect aside")
async def park_effect(request: Request, effect: str, body: ParkInput) -> EffectNow:
    """Keep an effect that was not sent yet from being sent, until a person unparks it."""
    hub = hub_of(request)
    aside = Aside(effect=effect, who=_who(request, body.who), why=body.why)
    return EffectNow(effect=effect, state=await hub.store.run(ParkEffects(hub.clock), aside))


@router.post(
    "/findings/{finding}/settle",
    responses=answers("settle_finding", 400, 404, 409),
    summary="Say why nothing more is to be done about a finding",
)
async def settle_finding(request: Request, finding: str, body: SettleInput) -> Finding:
    """Settle a finding that was looked at: it is no longer open, and is still told with who, when and why."""
    hub = hub_of(request)
    return await hub.store.run(SettleFindings(hub.clock), Settling(finding=finding, who=_who(request, body.who), why=body.why))
