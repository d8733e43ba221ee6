"""The people of the simulated Asana: their records in the API, and who comes, goes or takes another address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lifecyclehub.sandbox.asana_shape import chosen, listed, unknown
from lifecyclehub.sandbox.asana_state import Record, State
from lifecyclehub.sandbox.tool import Handler


class People:
    """The users of the workspace."""

    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Give the calls about people."""
        return [("GET", "/users/me", self._me), ("GET", "/users", self._list), ("GET", "/users/{gid}", self._read)]

    def acts(self) -> tuple[Callable[..., Awaitable[Any]], ...]:
        """Give what an admin of the workspace can do."""
        return (self.add_person, self.remove_person, self.edit_person)

    async def _me(self, request: Request) -> Response:
        return JSONResponse({"data": chosen(self._state.robot, request)})

    async def _list(self, request: Request) -> Response:
        """List who is in a workspace, sorted by id; those who left it are not."""
        wanted = request.query_params.get("workspace")
        if wanted not in (None, self._state.workspace["gid"]):
            raise unknown("workspace", wanted)
        members = [one for one in self._state.people.values() if one["workspaces"]]
        return JSONResponse(listed(sorted(members, key=lambda one: str(one["gid"])), request))

    async def _read(self, request: Request) -> Response:
        gid = request.path_params["gid"]
        if gid not in self._state.people:
            raise unknown("user", gid)
        return JSONResponse({"data": chosen(self._state.people[gid], request)})

    async def add_person(self, name: str, email: str) -> Record:
        """Invite somebody into the workspace."""
        return {"id": self._state.add_person(name, email)["gid"]}

    async def remove_person(self, person: str) -> Record:
        """Take somebody out of the workspace; Asana still knows the user."""
        self._state.people[person]["workspaces"] = []
        return {"id": person}

    async def edit_person(self, person: str, **news: str) -> Record:
        """Give somebody another name or address."""
        self._state.people[person] |= news
        return {"id": person}
