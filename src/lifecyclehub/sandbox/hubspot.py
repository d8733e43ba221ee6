"""A simulated HubSpot: deals, companies, contacts, notes and tasks, and webhooks signed over the address they go to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.sandbox.hubspot_people import People
from lifecyclehub.sandbox.hubspot_shape import (
    ASSOCIATIONS,
    CREATED,
    MODIFIED,
    PROPERTIES,
    TYPES,
    WORDS,
    described_pipelines,
    error,
    millis,
    refuse_unknown,
    stamp,
)
from lifecyclehub.sandbox.hubspot_state import API, Record, State
from lifecyclehub.sandbox.tool import Handler, Hook, Tool

BATCH = 100
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda mine, wanted: bool(mine == wanted),
    "NEQ": lambda mine, wanted: bool(mine != wanted),
    "GT": lambda mine, wanted: bool(mine > wanted),
    "GTE": lambda mine, wanted: bool(mine >= wanted),
    "LT": lambda mine, wanted: bool(mine < wanted),
    "LTE": lambda mine, wanted: bool(mine <= wanted),
}


class HubSpotTool(Tool):
    """One HubSpot account with one private app, whose webhooks a person has set up in HubSpot's pages."""

    name = "hubspot"
    auth: ClassVar[str] = "private_app"
    credentials: ClassVar[dict[str, str]] = {"token": "pat-eu1-sandbox-6f2b1a7c"}
    account_id: ClassVar[str] = "24810377"
    signing_secret: ClassVar[str | None] = "sandbox-hubspot-client-secret"

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.state = State(self.history, int(self.account_id), self.now)
        self.people = People(self.state, self._flush)
        self.target_url = ""

    def settings(self) -> dict[str, str]:
        """Give the connection settings that lead here."""
        return {"base_url.api": self.base_url(), "self_hosted": "yes"}

    # --- the API ----------------------------------------------------------------------------------------------------

    def routes(self) -> list[tuple[str, str, Handler]]:
        records = "/crm/v3/objects/{type}"
        return [
            ("GET", "/account-info/v3/details", self._details),
            ("GET", "/crm/v3/owners", self.people.owners.listed),
            ("GET", "/crm/v3/owners/{id}", self.people.owners.read),
            ("GET", "/crm/v3/properties/{type}", self._properties),
            ("GET", "/crm/v3/pipelines/{type}", self._pipelines),
            ("POST", f"{records}/search", self._search),
            ("POST", f"{records}/batch/read", self._batch_read),
            ("POST", f"{records}/merge", self._merge),
            ("GET", records, self._list),
            ("POST", records, self._create),
            ("GET", f"{records}/{{id}}", self._read),
            ("PATCH", f"{records}/{{id}}", self._update),
            ("DELETE", f"{records}/{{id}}", self._archive),
            ("GET", "/crm/v4/objects/{type}/{id}/associations/{to}", self._associations),
        ]

    def check_auth(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {self.credentials['token']}":
            raise error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0.")

    async def _details(self, _: Request) -> Response:
        return JSONResponse(
            {
                "portalId": int(self.account_id),
                "accountType": "STANDARD",
                "timeZone": "Europe/Copenhagen",
                "companyCurrency": "EUR",
                "additionalCurrencies": ["USD"],
                "utcOffset": "+02:00",
                "utcOffsetMilliseconds": 7_200_000,
                "uiDomain": "app.hubspot.com",
                "dataHostingLocation": "eu1",
            }
        )

    async def _properties(self, request: Request) -> Response:
        return JSONResponse({"results": [one.described() for one in PROPERTIES[_type(request)].values()]})

    async def _pipelines(self, request: Request) -> Response:
        return JSONResponse({"results": described_pipelines() if _type(request) == "deals" else []})

    async def _list(self, request: Request) -> Response:
        path, query = _type(request), request.query_params
        limit = _limit(query.get("limit", "10"), 100)
        archived, after = query.get("archived") == "true", int(query.get("after") or 0)
        listed = [
            one for one in self.state.of(path) if one.archived == archived and not self._hidden(one) and int(one.id) > after
        ]
        page: dict[str, Any] = {"results": [self._shown(one, _names(request)) for one in listed[:limit]]}
        if len(listed) > limit:
            page["paging"] = {"next": {"after": listed[limit - 1].id, "link": str(request.url)}}
        return JSONResponse(page)

    async def _create(self, request: Request) -> Response:
        body = refuse_unknown(await _json(request), {"properties", "associations", "objectWriteTraceId"})
        path = _type(request)
        ties = [self._tie(path, one) for one in body.get("associations") or []]
        on = [f"{WORDS[other.path]} {other.id}" for other, _ in ties]
        self._check_owner(body.get("properties"))
        record = self.state.create(path, body.get("properties"), API, on)
        for other, types in ties:
            self.state.associate(record, other, types, API)
        self._flush()
        return JSONResponse(self._shown(record, tuple(record.properties)), 201)

    def _check_owner(self, properties: Any) -> None:
        owner = properties.get("hubspot_owner_id") if isinstance(properties, dict) else None
        if owner:
            self.people.owners.check(str(owner))

    def _tie(self, path: str, association: Any) -> tuple[Record, set[int]]:
        tie = refuse_unknown(association, {"to", "types"})
        types = [refuse_unknown(one, {"associationCategory", "associationTypeId"}) for one in tie.get("types") or []]
        if any(one.get("associationCategory") != "HUBSPOT_DEFINED" for one in types):
            raise error(400, "VALIDATION_ERROR", "associationCategory must be HUBSPOT_DEFINED for these association types")
        wanted: set[int] = {one.get("associationTypeId", 0) for one in types}
        for (here, there), known in ASSOCIATIONS.items():
            if here == path and wanted and wanted <= known.keys():
                return self.state.get(there, str(refuse_unknown(tie.get("to"), {"id"}).get("id"))), wanted
        raise error(400, "VALIDATION_ERROR", f"One or more association types are invalid for {path}: {wanted}")

    async def _read(self, request: Request) -> Response:
        query = request.query_params
        record = self.state.get(_type(request), request.path_params["id"], archived=query.get("archived") == "true")
        past = [name for name in (query.get("propertiesWithHistory") or "").split(",") if name]
        associated = [name for name in (query.get("associations") or "").split(",") if name]
        return JSONResponse(self._shown(record, _names(request), past, associated))

    async def _update(self, request: Request) -> Response:
        body = refuse_unknown(await _json(request), {"properties", "objectWriteTraceId"})
        record = self.state.get(_type(request), request.path_params["id"])
        self._check_owner(body.get("properties"))
        self.state.update(record, body.get("properties"), API)
        self._flush()
        return JSONResponse(self._shown(record, tuple(body["properties"])))

    async def _archive(self, request: Request) -> Response:
        self.state.archive(self.state.get(_type(request), request.path_params["id"]), API)
        self._flush()
        return Response(status_code=204)

    async def _merge(self, request: Request) -> Response:
        body = refuse_unknown(await _json(request), {"primaryObjectId", "objectIdToMerge"})
        path = _type(request)
        primary, other = (self.state.get(path, str(body.get(name))) for name in ("primaryObjectId", "objectIdToMerge"))
        merged = self.state.merge(primary, other, API)
        self._flush()
        return JSONResponse(self._shown(merged, tuple(merged.properties)))

    async def _batch_read(self, request: Request) -> Response:
        body = refuse_unknown(await _json(request), {"properties", "propertiesWithHistory", "inputs", "idProperty"})
        inputs = body.get("inputs")
        if not isinstance(inputs, list) or not inputs or len(inputs) > BATCH:
            raise error(400, "VALIDATION_ERROR", f"inputs must hold 1 to {BATCH} ids")
        path, archived = _type(request), request.query_params.get("archived") == "true"
        wanted = [str(refuse_unknown(one, {"id"}).get("id")) for one in inputs]
        there = {
            record_id: self.state.records.get((path, self.state.merged.get((path, record_id), record_id))) for record_id in wanted
        }
        found = {record.id: record for record in there.values() if record is not None and record.archived == archived}
        missing = [record_id for record_id, record in there.items() if record is None or record.archived != archived]
        page: dict[str, Any] = {
            "status": "COMPLETE",
            "results": [self._shown(one, tuple(body.get("properties") or ())) for one in found.values()],
            "startedAt": stamp(self.now()),
            "completedAt": stamp(self.now()),
        }
        if missing:
            context = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": "Could not get some objects"}
            page |= {"numErrors": 1, "errors": [{**context, "context": {"ids": missing}}]}
        return JSONResponse(page, 207 if missing else 200)

    async def _search(self, request: Request) -> Response:
        body = refuse_unknown(await _json(request), {"filterGroups", "sorts", "properties", "limit", "after", "query"})
        path = _type(request)
        limit, after = _limit(str(body.get("limit", 10)), 200), int(body.get("after") or 0)
        if after + limit > 10_000:
            raise error(400, "VALIDATION_ERROR", "There are more than 10,000 results; narrow the search")
        listed = [one for one in self.state.of(path) if not one.archived and not self._hidden(one)]
        groups = body.get("filterGroups") or []
        found = [
            one for one in listed if not groups or any(all(_fits(one, each) for each in group["filters"]) for group in groups)
        ]
        for sort in reversed(body.get("sorts") or []):
            name = sort["propertyName"]
            found.sort(key=lambda one: _comparable(one, name), reverse=sort.get("direction") == "DESCENDING")
        page: dict[str, Any] = {
            "total": len(found),
            "results": [self._shown(one, tuple(body.get("properties") or ())) for one in found[after : after + limit]],
        }
        if after + limit < len(found):
            page["paging"] = {"next": {"after": str(after + limit)}}
        return JSONResponse(page)

    async def _associations(self, request: Request) -> Response:
        record = self.state.get(_type(request), request.path_params["id"])
        to = TYPES.get(request.path_params["to"], request.path_params["to"])
        limit = _limit(request.query_params.get("limit", "500"), 500)
        after = int(request.query_params.get("after") or 0)
        pairs = sorted(self.state.associated(record, to), key=lambda pair: int(pair[0].id))
        listed = [(one, types) for one, types in pairs if not self._hidden(one) and int(one.id) > after]
        category = {"category": "HUBSPOT_DEFINED", "label": None}
        page: dict[str, Any] = {
            "results": [
                {"toObjectId": int(one.id), "associationTypes": [{**category, "typeId": kind} for kind in sorted(types)]}
                for one, types in listed[:limit]
            ]
        }
        if len(listed) > limit:
            page["paging"] = {"next": {"after": listed[limit - 1][0].id, "link": str(request.url)}}
        return JSONResponse(page)

    def _hidden(self, record: Record) -> bool:
        return time.monotonic() - record.born < self.misbehaviour.lag_s

    def _shown(
        self, record: Record, names: tuple[str, ...], past: list[str] | None = None, associated: list[str] | None = None
    ) -> dict[str, Any]:
        always = ("hs_object_id", CREATED[record.path], MODIFIED[record.path])
        known = [name for name in dict.fromkeys((*names, *always)) if name in PROPERTIES[record.path]]
        shown: dict[str, Any] = {
            "id": record.id,
            "properties": {name: record.properties.get(name) for name in known},
            "createdAt": stamp(record.created),
            "updatedAt": stamp(record.updated),
            "archived": record.archived,
        }
        if record.archived_at:
            shown["archivedAt"] = stamp(record.archived_at)
        if past:
            shown["propertiesWithHistory"] = {name: record.past[name] for name in past if name in record.past}
        groups = {to: self._old_associations(record, to) for to in associated or ()}
        if any(groups.values()):
            shown["associations"] = {to: {"results": listed} for to, listed in groups.items() if listed}
        return shown

    def _old_associations(self, record: Record, to: str) -> list[dict[str, str]]:
        path = TYPES.get(to, to)
        names = ASSOCIATIONS.get((record.path, path), {})
        return [
            {"id": one.id, "type": names[kind]} for one, kinds in self.state.associated(record, path) for kind in sorted(kinds)
        ]

    # --- webhooks ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what has changed, up to a hundred entries at a time, to the address that was set up."""
        entries, self.state.entries = self.state.entries, []
        if not self.target_url:
            return
        url = self.target_url
        batches = [entries[start : start + BATCH] for start in range(0, len(entries), BATCH)]
        self.ring(
            *(
                Hook(url, json.dumps(batch, separators=(",", ":")).encode(), lambda body: self._signed(url, body), _about(batch))
                for batch in batches
            )
        )

    def _signed(self, url: str, body: bytes) -> dict[str, str]:
        secret = (self.signing_secret or "").encode()
        moment = str(int(self.now().timestamp() * 1000))
        digest = hmac.new(secret, b"POST" + url.encode() + body + moment.encode(), hashlib.sha256).digest()
        return {
            "content-type": "application/json",
            "user-agent": "HubSpot Connect 2.0 (sandbox)",
            "X-HubSpot-Signature-Version": "v1",
            "X-HubSpot-Signature": hashlib.sha256(secret + body).hexdigest(),
            "X-HubSpot-Request-Timestamp": moment,
            "X-HubSpot-Signature-v3": base64.b64encode(digest).decode(),
        }

    @property
    def acts(self) -> dict[str, Callable[..., Awaitable[Any]]]:
        return {"set_webhook": self.set_webhook, **self.people.acts()}

    async def set_webhook(self, url: str) -> dict[str, str]:
        """Enter the app's target URL."""
        self.target_url = url
        return {"url": url}


def _about(batch: list[dict[str, Any]]) -> dict[str, Any]:
    return {"entries": len(batch), "types": sorted({entry["subscriptionType"] for entry in batch})}


def _type(request: Request) -> str:
    given = str(request.path_params["type"])
    path = TYPES.get(given, given)
    if path not in PROPERTIES:
        raise error(400, "VALIDATION_ERROR", f"Unable to infer object type from: {given}")
    return path


def _names(request: Request) -> tuple[str, ...]:
    return tuple(name for name in (request.query_params.get("properties") or "").split(",") if name)


def _limit(text: str, most: int) -> int:
    if not text.isdigit() or not 1 <= int(text) <= most:
        raise error(400, "VALIDATION_ERROR", f"limit must be between 1 and {most}")
    return int(text)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as broken:
        raise error(400, "VALIDATION_ERROR", f"Invalid input JSON: {broken}") from broken


def _comparable(record: Record, name: str) -> Any:
    value = record.properties.get(name, "")
    kind = PROPERTIES[record.path][name].type
    return (millis(value) or 0) if kind == "datetime" else float(value or 0) if kind == "number" else value


def _fits(record: Record, wanted: dict[str, Any]) -> bool:
    name, operator, value = wanted.get("propertyName", ""), wanted.get("operator", ""), str(wanted.get("value", ""))
    if name not in PROPERTIES[record.path] or operator not in _OPERATORS:
        raise error(400, "VALIDATION_ERROR", f"There was a problem with the request: {operator} of {name}")
    kind = PROPERTIES[record.path][name].type
    theirs: Any = (millis(value) or 0) if kind == "datetime" else float(value or 0) if kind == "number" else value
    return _OPERATORS[operator](_comparable(record, name), theirs)
