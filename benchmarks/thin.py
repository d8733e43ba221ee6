"""The thin case: HubSpot says only that a deal changed; the hub fetches it with its company, contact and owner, then
makes a project in Asana and notes its address on the deal.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from typing import Any

from cases import CLIENTS, SIGNING_SECRET, Connected, now_text, piece_in, post
from ledger import Ledger

PORTAL, WORKSPACE = "8140021", "1200456789"
COMPANY, CONTACT, PERSON, OWNER = 700_000, 800_000, 900_000, 41_629_000
_ID = re.compile(r"/(\d+)(?:\?|$)")
_CREATED = "2026-01-05T09:12:44.120Z"


class Thin:
    """Deals won in HubSpot, projects in Asana, with answers as these two give them."""

    name = "thin"
    wanted = ("project", "note")
    connections = (
        Connected(connector="hubspot", auth="private_app", account=PORTAL, secrets={"token": "benchmark"}, hosts=("api",)),
        Connected(
            connector="asana",
            auth="token",
            account=WORKSPACE,
            secrets={"token": "benchmark"},
            hosts=("api", "auth"),
            listens=False,
        ),
    )

    def delivery(self, piece: int, port: int) -> bytes:
        """Make the request with one entry, signed over method, address, body and time."""
        now = int(time.time() * 1000)
        body = (
            f'[{{"eventId":{piece + 3_000_000_000},"subscriptionId":3914021,"portalId":{PORTAL},"appId":1170377,'
            f'"occurredAt":{now},"subscriptionType":"deal.propertyChange","attemptNumber":0,"objectId":{piece},'
            f'"propertyName":"dealstage","propertyValue":"closedwon","changeSource":"CRM_UI","sourceId":"userId:60134"}}]'
        ).encode()
        path = "/hooks/end_hubspot"
        message = b"POST" + f"http://127.0.0.1:{port}{path}".encode() + body + str(now).encode()
        signature = base64.b64encode(hmac.new(SIGNING_SECRET.encode(), message, hashlib.sha256).digest()).decode()
        return post(path, port, {"x-hubspot-request-timestamp": str(now), "x-hubspot-signature-v3": signature}, body)

    def answer(self, ledger: Ledger, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Answer for HubSpot and Asana."""
        if method == "GET" and path.startswith("/crm/v3/objects/deals/"):
            return 200, _deal(_id_in(path))
        if method == "GET" and path.startswith(("/crm/v3/owners", "/users")):
            return 200, _people(*path.partition("?")[0].rsplit("/", 2)[-2:])
        if path.startswith("/crm/v3/objects/companies/batch/read"):
            return 200, _batch([_company(int(one["id"])) for one in json.loads(body)["inputs"]])
        if path.startswith("/crm/v3/objects/contacts/batch/read"):
            return 200, _batch([_contact(int(one["id"])) for one in json.loads(body)["inputs"]])
        if method == "POST" and path.startswith("/projects"):
            piece = piece_in(body)
            ledger.arrive("project", piece)
            return 201, _project(piece, json.loads(body)["data"])
        if method == "POST" and path == "/crm/v3/objects/notes":
            piece = int(json.loads(body)["associations"][0]["to"]["id"])
            ledger.arrive("note", piece)
            return 201, json.dumps({"id": str(piece + 50_000_000), "properties": {}, "createdAt": now_text()}).encode()
        return 404, b'{"status":"error","message":"not simulated here"}'


def _id_in(path: str) -> int:
    found = _ID.search(path)
    assert found is not None, path
    return int(found.group(1))


def _deal(piece: int) -> bytes:
    now, client = now_text(), piece % CLIENTS
    past = [
        {"value": "closedwon", "timestamp": now, "sourceType": "CRM_UI", "sourceId": "userId:60134"},
        {"value": "appointmentscheduled", "timestamp": _CREATED, "sourceType": "CRM_UI", "sourceId": "userId:60134"},
    ]
    properties = {
        "dealname": f"Deal {piece}",
        "dealstage": "closedwon",
        "pipeline": "default",
        "amount": "12500.00",
        "deal_currency_code": "EUR",
        "description": "Relaunch of the website in two languages, with a shop, moved content, and training for three editors.",
        "dealtype": "newbusiness",
        "closedate": "2026-03-31T00:00:00Z",
        "createdate": _CREATED,
        "hs_lastmodifieddate": now,
        "hubspot_owner_id": str(OWNER + client % 7),
        "hs_object_id": str(piece),
    }
    associations = {
        "companies": {"results": [{"id": str(COMPANY + client), "type": "deal_to_company"}]},
        "contacts": {"results": [{"id": str(CONTACT + client), "type": "deal_to_contact"}]},
    }
    record = {"id": str(piece), "properties": properties, "propertiesWithHistory": {"dealstage": past}, "createdAt": _CREATED}
    return json.dumps(record | {"updatedAt": now, "archived": False, "associations": associations}).encode()


def _owner(owner: str) -> bytes:
    number = int(owner) % 7
    record = {"id": owner, "email": f"owner{number}@northwind.example", "firstName": "Owner", "lastName": str(number)}
    return json.dumps(record | {"userId": 60134, "createdAt": _CREATED, "updatedAt": _CREATED, "archived": False}).encode()


def _people(before: str, last: str) -> bytes:
    """Give HubSpot's owners or Asana's users, the same people; all of them, or the one that is asked for by an id."""
    if last == "owners":
        return json.dumps({"results": [json.loads(_owner(str(OWNER + number))) for number in range(7)]}).encode()
    if before == "owners":
        return _owner(last)
    people = [
        {"gid": str(PERSON + number), "name": f"Owner {number}", "email": f"owner{number}@northwind.example"}
        for number in range(7)
    ]
    if last == "users":
        return json.dumps({"data": people, "next_page": None}).encode()
    person = people[int(last) - PERSON] | {"workspaces": [{"gid": WORKSPACE, "name": "Northwind Atelier"}]}
    return json.dumps({"data": person}).encode()


def _batch(records: list[dict[str, Any]]) -> bytes:
    return json.dumps({"status": "COMPLETE", "results": records, "startedAt": _CREATED, "completedAt": _CREATED}).encode()


def _record(number: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(number), "properties": properties, "createdAt": _CREATED, "updatedAt": _CREATED, "archived": False}


def _company(number: int) -> dict[str, Any]:
    client = number - COMPANY
    properties = {
        "name": f"Client {client}",
        "domain": f"client{client}.example",
        "phone": f"+43 1 5550{client:04d}",
        "country": "Austria",
        "lifecyclestage": "opportunity",
        "createdate": _CREATED,
        "hs_lastmodifieddate": _CREATED,
        "hubspot_owner_id": None,
    }
    return _record(number, properties)


def _contact(number: int) -> dict[str, Any]:
    client = number - CONTACT
    properties = {
        "firstname": "Ada",
        "lastname": f"Quill {client}",
        "email": f"ada{client}@client{client}.example",
        "phone": f"+43 1 5551{client:04d}",
        "mobilephone": None,
        "createdate": _CREATED,
        "lastmodifieddate": _CREATED,
        "hubspot_owner_id": None,
    }
    return _record(number, properties)


def _project(piece: int, sent: dict[str, Any]) -> bytes:
    gid, now = str(piece + 90_000_000), now_text()
    record = {
        "gid": gid,
        "name": sent["name"],
        "notes": sent["notes"],
        "completed": False,
        "completed_at": None,
        "archived": False,
        "created_at": now,
        "modified_at": now,
        "start_on": None,
        "due_on": None,
        "permalink_url": f"https://app.asana.com/0/{gid}/list",
        "owner": None,
        "team": None,
        "workspace": {"gid": WORKSPACE, "name": "Northwind"},
        "custom_fields": [],
    }
    return json.dumps({"data": record}).encode()
