"""The owners of the simulated HubSpot: who records can be assigned to, and who was deactivated."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.sandbox.hubspot_shape import error, not_found, stamp

FIRST = 41_629_779
SINCE = "2024-01-15T08:00:00.000Z"


@dataclass(slots=True)
class Owner:
    """One owner. HubSpot keeps a deactivated one as archived, without a user."""

    id: str
    email: str
    first: str
    last: str
    updated: str = SINCE
    archived: bool = False

    def described(self) -> dict[str, Any]:
        """Give what the owners API says."""
        user = int(self.id) % 10_000_000
        said: dict[str, Any] = {"id": self.id, "email": self.email, "type": "PERSON", "userIdIncludingInactive": user}
        if not self.archived:
            said |= {"firstName": self.first, "lastName": self.last, "userId": user}
        return {**said, "createdAt": SINCE, "updatedAt": self.updated, "archived": self.archived}


class Owners:
    """All owners of the account."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.all: dict[str, Owner] = {}
        self.add("astrid@northwind.example", "Astrid", "Holm")
        self.add("jonas@northwind.example", "Jonas", "Weber")

    def add(self, email: str, first: str, last: str) -> Owner:
        """Invite a user, who becomes an owner."""
        owner = Owner(str(FIRST + len(self.all)), email, first, last)
        self.all[owner.id] = owner
        return owner

    def named(self, email: str) -> Owner:
        """Give the owner with this address; one who is not there yet is invited."""
        known = next((one for one in self.all.values() if one.email == email and not one.archived), None)
        first, _, last = email.partition("@")[0].partition(".")
        return known or self.add(email, first.capitalize(), last.capitalize())

    def edit(self, owner: str, **news: Any) -> None:
        """Change an owner, or deactivate one."""
        for name, value in news.items():
            setattr(self.all[owner], name, value)
        self.all[owner].updated = stamp(self._now())

    def check(self, owner: str) -> None:
        """Refuse to assign to somebody who is no owner. Raises HubSpot's error for an invalid property."""
        known = self.all.get(owner)
        if known is None or known.archived:
            wrong = {"isValid": False, "message": f"Owner ID {owner} is not valid", "error": "INVALID_OWNER_ID"}
            said = json.dumps([{**wrong, "name": "hubspot_owner_id"}], separators=(",", ":"))
            raise error(400, "VALIDATION_ERROR", f"Property values were not valid: {said}")

    async def listed(self, request: Request) -> Response:
        """List owners, a page at a time; the archived ones in a list of their own."""
        asked = request.query_params
        limit, after = asked.get("limit", "100"), asked.get("after", "0")
        if set(asked) - {"limit", "after", "archived", "email"} or not limit.isdigit() or not 1 <= int(limit) <= 500:
            raise error(400, "VALIDATION_ERROR", "limit must be between 1 and 500")
        archived = self._flag(asked.get("archived", "false"))
        found = [one for one in self.all.values() if one.archived is archived and asked.get("email") in (None, one.email)]
        found = sorted((one for one in found if int(one.id) > int(after)), key=lambda one: int(one.id))
        page: dict[str, Any] = {"results": [one.described() for one in found[: int(limit)]]}
        if len(found) > int(limit):
            page["paging"] = {"next": {"after": found[int(limit) - 1].id, "link": str(request.url)}}
        return JSONResponse(page)

    async def read(self, request: Request) -> Response:
        """Give one owner; an archived one only to those who ask for archived ones."""
        owner = self.all.get(request.path_params["id"])
        if request.query_params.get("idProperty", "id") != "id":
            raise error(400, "VALIDATION_ERROR", "only owner ids are simulated here")
        if owner is None or owner.archived is not self._flag(request.query_params.get("archived", "false")):
            raise not_found("owner", request.path_params["id"])
        return JSONResponse(owner.described())

    @staticmethod
    def _flag(text: str) -> bool:
        if text not in ("true", "false"):
            raise error(400, "VALIDATION_ERROR", "archived must be true or false")
        return text == "true"
