"""The HubSpot objects that we know: where they live, what is fetched of them, and how their answers are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from lifecyclehub.connector import Call, said_by, wished_by
from lifecyclehub.errors import Forbidden, NotOurJson, RecordGone, TryAgain
from lifecyclehub.messages import Document, Json, Reply, Request, marker_in


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSpotObject:
    """One kind of HubSpot object.

    `path` is its name in API addresses, `type_id` HubSpot's own id for it, `word` the one in subscription types.
    `modified` is the property that tells when it last changed (contacts have a name of their own for it).
    `associated` kinds come with it as related documents; `history` lists properties whose past is fetched too.
    `setting` names the connection setting that lists further properties; `text` the property that holds our marker.
    """

    kind: str
    path: str
    type_id: str
    word: str
    properties: tuple[str, ...]
    modified: str = "hs_lastmodifieddate"
    associated: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    setting: str | None = None
    text: str | None = None


# HubSpot's own property: the ids of the records that were merged into this one, separated by semicolons.
MERGED = "hs_merged_object_ids"

DEAL = HubSpotObject(
    kind="hubspot.deal",
    path="deals",
    type_id="0-3",
    word="deal",
    properties=(
        "dealname",
        "dealstage",
        "pipeline",
        "amount",
        "deal_currency_code",
        "description",
        "dealtype",
        "closedate",
        "createdate",
        "hs_lastmodifieddate",
        "hubspot_owner_id",
        MERGED,
    ),
    associated=("hubspot.company", "hubspot.contact"),
    history=("dealstage",),
    setting="deal_properties",
)
COMPANY = HubSpotObject(
    kind="hubspot.company",
    path="companies",
    type_id="0-2",
    word="company",
    properties=(
        "name",
        "domain",
        "phone",
        "country",
        "lifecyclestage",
        "createdate",
        "hs_lastmodifieddate",
        "hubspot_owner_id",
        MERGED,
    ),
    setting="company_properties",
)
CONTACT = HubSpotObject(
    kind="hubspot.contact",
    path="contacts",
    type_id="0-1",
    word="contact",
    properties=(
        "firstname",
        "lastname",
        "email",
        "phone",
        "mobilephone",
        "createdate",
        "lastmodifieddate",
        "hubspot_owner_id",
        MERGED,
    ),
    modified="lastmodifieddate",
    associated=("hubspot.company",),
    setting="contact_properties",
)
NOTE = HubSpotObject(
    kind="hubspot.note",
    path="notes",
    type_id="0-46",
    word="note",
    properties=("hs_note_body", "hs_timestamp", "hs_createdate", "hs_lastmodifieddate"),
    text="hs_note_body",
)
TASK = HubSpotObject(
    kind="hubspot.task",
    path="tasks",
    type_id="0-27",
    word="task",
    properties=("hs_task_subject", "hs_task_body", "hs_task_status", "hs_timestamp", "hs_createdate", "hs_lastmodifieddate"),
    text="hs_task_body",
)

OBJECTS: dict[str, HubSpotObject] = {one.kind: one for one in (DEAL, COMPANY, CONTACT, NOTE, TASK)}

# HubSpot's documented limit for one batch read.
BATCH = 100


def object_path(kind: HubSpotObject, record_id: str = "", tail: str = "") -> str:
    """Give the API path of an object, or of one record of it."""
    record = f"/{quote(record_id, safe='')}" if record_id else ""
    return f"/crm/v3/objects/{kind.path}{record}{tail}"


def wanted_properties(kind: HubSpotObject, settings: Mapping[str, str]) -> tuple[str, ...]:
    """Give the properties to ask for: HubSpot answers with no others, so custom ones must be named in the settings."""
    further = settings.get(kind.setting, "") if kind.setting else ""
    return tuple(dict.fromkeys((*kind.properties, *(name.strip() for name in further.split(",") if name.strip()))))


def record_answer(reply: Reply, about: str) -> Json:
    """Read the answer about one record, as `answer` does. Raises RecordGone when it is not there (404, 410)."""
    if reply.status in (404, 410):
        raise RecordGone(f"HubSpot has no {about} (any more)")
    return answer(reply, about)


def answer(reply: Reply, about: str) -> Json:
    """Read a good answer. Raises Forbidden (403), and TryAgain for all else that is no JSON object."""
    if reply.status == 403:
        raise Forbidden(f"HubSpot refuses {about}: {said_by(reply)}")
    if not 200 <= reply.status < 300:
        raise TryAgain(f"HubSpot answered {reply.status} for {about}: {said_by(reply)}", after=wished_by(reply))
    try:
        value = reply.json()
    except NotOurJson as error:
        raise TryAgain(f"HubSpot answered something that is no JSON for {about}: {error}") from error
    if not isinstance(value, dict):
        raise TryAgain(f"HubSpot answered something that is no object for {about}: {said_by(reply)}")
    return value


def results(page: Json, about: str) -> list[dict[str, Any]]:
    """Give the results of a list. Raises TryAgain when there is no list of objects: half an answer is no answer."""
    found = page.get("results")
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TryAgain(f"HubSpot's list of {about} holds no results")
    return found


def next_after(page: Json) -> str | None:
    """Give the cursor of the next page, None on the last one."""
    paging = page.get("paging")
    following = paging.get("next") if isinstance(paging, dict) else None
    after = following.get("after") if isinstance(following, dict) else None
    return None if after is None else str(after)


def id_of(value: Any) -> str | None:
    """Give an id as text: HubSpot writes them as numbers in webhooks and as text in the API."""
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def instant_of(value: Any) -> datetime | None:
    """Read HubSpot's times: ISO 8601 in the API, milliseconds since 1970 in webhooks and old properties."""
    try:
        if isinstance(value, int) and not isinstance(value, bool):
            return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            return instant_of(int(value))
        if isinstance(value, str):
            moment = datetime.fromisoformat(value.strip())
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def changed_at(kind: HubSpotObject, record: Mapping[str, Any]) -> datetime | None:
    """Give the time of a record's last change, to the millisecond."""
    properties = record.get("properties")
    stated = properties.get(kind.modified) if isinstance(properties, Mapping) else None
    return instant_of(stated) or instant_of(record.get("updatedAt"))


def document(kind: HubSpotObject, record: dict[str, Any], call: Call, related: tuple[Document, ...] = ()) -> Document:
    """Make the document of a record as HubSpot gave it."""
    record_id = id_of(record.get("id"))
    if record_id is None:
        raise TryAgain(f"HubSpot gave a {kind.word} without an id")
    properties = record.get("properties")
    text = properties.get(kind.text) if kind.text and isinstance(properties, dict) else None
    return Document(
        kind=kind.kind,
        id=record_id,
        account=call.account or None,
        changed_at=changed_at(kind, record),
        data=record,
        related=related,
        marker=marker_in(text) if isinstance(text, str) else None,
        url=web_address(kind, record_id, call),
        merged=_merged(properties, record_id),
    )


def _merged(properties: Any, record_id: str) -> tuple[str, ...]:
    said = properties.get(MERGED) if isinstance(properties, dict) else None
    ids = (one.strip() for one in said.split(";")) if isinstance(said, str) else ()
    return tuple(one for one in dict.fromkeys(ids) if one.isdigit() and one != record_id)


def web_address(kind: HubSpotObject, record_id: str, call: Call) -> str | None:
    """Give the address of a record's page; None while the account is not known. Notes and tasks have no page of their own."""
    if not call.account or kind.text:
        return None
    domain = call.settings.get("ui_domain") or "app.hubspot.com"
    return f"https://{domain}/contacts/{quote(call.account, safe='')}/record/{kind.type_id}/{quote(record_id, safe='')}"


async def read_batch(
    call: Call, kind: HubSpotObject, ids: list[str], properties: tuple[str, ...], *, archived: bool = False
) -> list[dict[str, Any]]:
    """Read many records at once, in no order; those that are not there are left out (HubSpot then answers 207)."""
    found: list[dict[str, Any]] = []
    for start in range(0, len(ids), BATCH):
        request = Request(
            method="POST",
            path=object_path(kind, tail="/batch/read"),
            query=(("archived", "true" if archived else "false"),),
            json={
                "properties": list(properties),
                "propertiesWithHistory": [],
                "inputs": [{"id": one} for one in ids[start : start + BATCH]],
            },
        )
        reply = await call.send(request)
        if reply.status != 404:  # then none of them is there
            about = f"{kind.path} {', '.join(ids[start : start + BATCH])}"
            page = answer(reply, about)
            _only_missing(page, about)
            found += results(page, kind.path)
    return found


def _only_missing(page: Json, about: str) -> None:
    """Make sure that what is left out of a batch is not there. Raises TryAgain where HubSpot failed to read some of it."""
    listed = page.get("errors")
    for one in listed if isinstance(listed, list) else ():
        category = one.get("category") if isinstance(one, Mapping) else None
        if "NOT_FOUND" not in str(category):
            said = one.get("message") if isinstance(one, Mapping) else one
            raise TryAgain(f"HubSpot could not read all of {about}: {category}: {said}")
