"""How the simulated Asana answers: errors, checked bodies, chosen fields, pages."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from starlette.requests import Request

from lifecyclehub.sandbox.tool import VendorError

HELP = "For more information on API status codes and how to handle them, read the docs on errors: https://developers.asana.com/docs/errors"
COMPACT = ("gid", "resource_type", "resource_subtype", "name")

Check = Callable[[Any], str | None]
"""Gives what is wrong with a value, None when it is fine."""


def refusal(status: int, *messages: str) -> VendorError:
    """Make an error in Asana's shape."""
    return VendorError(status, {"errors": [{"message": message, "help": HELP} for message in messages]})


def unknown(what: str, gid: str) -> VendorError:
    """Make the error for a record that is not there."""
    return refusal(404, f"{what}: Unknown object: {gid}")


# --- what is asked ------------------------------------------------------------------------------------------------


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) else "Not a string"


def _gid(value: Any) -> str | None:
    return None if isinstance(value, str) and value.isdigit() else f"Not a recognized ID: {value}"


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "Not a boolean"


def _day(value: Any) -> str | None:
    try:
        date.fromisoformat(value)
    except (TypeError, ValueError):
        return f"Not a valid date: {value}"
    return None


def _gids(value: Any) -> str | None:
    return None if isinstance(value, list) and all(_gid(one) is None for one in value) else "Not a list of IDs"


def _texts(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(one, str) for one in value) else "Not a list of strings"


def _things(value: Any) -> str | None:
    return None if isinstance(value, list) and all(isinstance(one, dict) for one in value) else "Not a list of objects"


def _map(value: Any) -> str | None:
    return None if isinstance(value, dict) else "Not an object"


PROJECT_MEMBERS: dict[str, Check] = {
    "name": _text,
    "notes": _text,
    "html_notes": _text,
    "archived": _flag,
    "color": _text,
    "due_on": _day,
    "start_on": _day,
    "owner": _text,
    "team": _gid,
    "workspace": _gid,
    "privacy_setting": _text,
    "public": _flag,
    "default_view": _text,
    "custom_fields": _map,
    "followers": _text,
}
TEMPLATE_MEMBERS: dict[str, Check] = {
    "name": _text,
    "team": _gid,
    "public": _flag,
    "privacy_setting": _text,
    "is_strict": _flag,
    "requested_dates": _things,
    "requested_roles": _things,
}
TASK_MEMBERS: dict[str, Check] = {
    "name": _text,
    "notes": _text,
    "html_notes": _text,
    "assignee": _text,
    "completed": _flag,
    "due_on": _day,
    "start_on": _day,
    "projects": _gids,
    "workspace": _gid,
    "parent": _gid,
    "followers": _texts,
    "tags": _gids,
    "custom_fields": _map,
    "resource_subtype": _text,
}
STORY_MEMBERS: dict[str, Check] = {"text": _text, "html_text": _text, "is_pinned": _flag, "sticker_name": _text}
WEBHOOK_MEMBERS: dict[str, Check] = {"resource": _gid, "target": _text, "filters": _things}
FILTER_MEMBERS: dict[str, Check] = {"resource_type": _text, "resource_subtype": _text, "action": _text, "fields": _texts}


async def body_of(request: Request, members: Mapping[str, Check], required: Sequence[str] = ()) -> dict[str, Any]:
    """Take the data out of a request's envelope; what is unknown, missing or of the wrong type is refused."""
    try:
        envelope = json.loads(await request.body())
    except ValueError:
        raise refusal(400, "Could not parse request data, invalid JSON") from None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("data"), dict):
        raise refusal(400, "data: Missing input")
    return checked(envelope["data"], members, required)


def checked(data: dict[str, Any], members: Mapping[str, Check], required: Sequence[str] = ()) -> dict[str, Any]:
    """Check the members of an object."""
    wrong = [f"{name}: Missing input" for name in required if not data.get(name)]
    for name, value in data.items():
        check = members.get(name)
        if check is None:
            wrong.append(f"{name}: Unrecognized property")
        elif value is not None and (complaint := check(value)) is not None:
            wrong.append(f"{name}: {complaint}")
    if wrong:
        raise refusal(400, *wrong)
    return data


# --- what is answered ---------------------------------------------------------------------------------------------


def chosen(record: Mapping[str, Any], request: Request, *, compact: bool = False) -> dict[str, Any]:
    """Show a record: the fields of `opt_fields`, else the compact or the full one with compact ones inside it."""
    wanted = request.query_params.get("opt_fields")
    if wanted:
        return _picked(record, [field.strip().split(".") for field in wanted.split(",") if field.strip()])
    if compact:
        return _compact(record)
    return {name: _compact_inside(value) for name, value in record.items()}


def _picked(record: Mapping[str, Any], paths: Iterable[list[str]]) -> dict[str, Any]:
    shown: dict[str, Any] = {"gid": record["gid"]} if "gid" in record else {}
    deeper: dict[str, list[list[str]]] = {}
    for head, *rest in paths:
        if head in record:
            deeper.setdefault(head, []).extend([rest] if rest else [])
    for head, rests in deeper.items():
        value = record[head]
        if not rests:
            shown[head] = _compact_inside(value)
        elif isinstance(value, list):
            shown[head] = [_picked(one, rests) for one in value]
        else:
            shown[head] = _picked(value, rests) if isinstance(value, dict) else value
    return shown


def _compact(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in COMPACT if name in record}


def _compact_inside(value: Any) -> Any:
    if isinstance(value, list):
        return [_compact_inside(one) for one in value]
    return _compact(value) if isinstance(value, dict) and "gid" in value else value


def listed(rows: Sequence[Mapping[str, Any]], request: Request) -> dict[str, Any]:
    """Answer a list: one page of it where a limit is asked for, with the way to the next one."""
    shown = [chosen(row, request, compact=True) for row in rows]
    said = request.query_params.get("limit")
    if said is None:
        return {"data": shown}
    if not said.isdigit() or not 1 <= int(said) <= 100:
        raise refusal(400, "limit: Must be between 1 and 100")
    start, limit = _start(request), int(said)
    further = None
    if start + limit < len(shown):
        offset = base64.urlsafe_b64encode(f"{request.url.path}|{start + limit}".encode()).decode()
        uri = request.url.include_query_params(offset=offset)
        further = {"offset": offset, "path": f"{uri.path}?{uri.query}", "uri": str(uri)}
    return {"data": shown[start : start + limit], "next_page": further}


def _start(request: Request) -> int:
    offset = request.query_params.get("offset")
    if offset is None:
        return 0
    try:
        where, _, start = base64.urlsafe_b64decode(offset).decode().partition("|")
        if where == request.url.path:
            return int(start)
    except ValueError:
        pass
    raise refusal(400, "offset: Your pagination token is invalid")


class Gids:
    """Makes ids as Asana has them, long numbers as text, never the same again."""

    def __init__(self) -> None:
        self._last = time.time_ns() // 1000

    def new(self) -> str:
        """Give the next one."""
        self._last += 1
        return str(self._last)
