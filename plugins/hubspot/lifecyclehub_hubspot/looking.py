"""Looking whether a note or task of ours is there already: complete, or not at all."""

from __future__ import annotations

from urllib.parse import quote

from lifecyclehub.connector import Call
from lifecyclehub.errors import TryAgain
from lifecyclehub.messages import Request
from lifecyclehub_hubspot.objects import DEAL, HubSpotObject, id_of, next_after, object_path, read_batch, record_answer, results

# HubSpot's documented limit for one page of associations.
PAGE = 500


async def associated_texts(call: Call, deal: str, kind: HubSpotObject) -> dict[str, str | None]:
    """Give the texts of all notes (or tasks) of a deal by their ids, archived ones too.

    Raises RecordGone, Forbidden or TryAgain when anything of it cannot be seen.
    """
    ids = await _associated_ids(call, await _living_id(call, deal), kind)
    texts: dict[str, str | None] = {}
    for archived in (False, True):
        missing = [one for one in ids if one not in texts]
        for record in await read_batch(call, kind, missing, (kind.text or "",), archived=archived):
            record_id, properties = id_of(record.get("id")), record.get("properties")
            if record_id is None or not isinstance(properties, dict):
                raise TryAgain(f"HubSpot gave a {kind.word} that cannot be read")
            text = properties.get(kind.text)
            texts[record_id] = text if isinstance(text, str) else None
    unseen = [one for one in ids if one not in texts]
    if unseen:
        raise TryAgain(f"HubSpot lists the {kind.path} {', '.join(unseen)} on deal {deal} but does not show them")
    return texts


async def _living_id(call: Call, deal: str) -> str:
    """Give the id under which the deal lives now: of a merged one HubSpot keeps the activities with the survivor."""
    request = Request(method="GET", path=object_path(DEAL, deal), query=(("properties", "hs_object_id"), ("archived", "false")))
    record_id = id_of(record_answer(await call.send(request), f"deal {deal}").get("id"))
    if record_id is None:
        raise TryAgain(f"HubSpot gave deal {deal} without an id")
    return record_id


async def _associated_ids(call: Call, deal: str, kind: HubSpotObject) -> list[str]:
    found: dict[str, None] = {}
    after: str | None = None
    while True:
        query = [("limit", str(PAGE)), *((("after", after),) if after else ())]
        path = f"/crm/v4/objects/{DEAL.path}/{quote(deal, safe='')}/associations/{kind.path}"
        page = record_answer(await call.send(Request(method="GET", path=path, query=tuple(query))), f"{kind.path} of deal {deal}")
        for one in results(page, kind.path):
            record_id = id_of(one.get("toObjectId"))
            if record_id is None:
                raise TryAgain(f"HubSpot listed a {kind.word} of deal {deal} without an id")
            found[record_id] = None
        following = next_after(page)
        if following is None:
            return list(found)
        if following == after:
            raise TryAgain(f"HubSpot's list of {kind.path} of deal {deal} does not get on")
        after = following
