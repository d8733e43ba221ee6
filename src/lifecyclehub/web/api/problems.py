"""What goes wrong is a problem detail (RFC 9457) that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lifecyclehub.admin.effects import CannotAnswer
from lifecyclehub.errors import NotThere
from lifecyclehub.insight.lists import UnknownCursor
from lifecyclehub.store.writer import StoreBusy, StoreClosed
from lifecyclehub.web.answers import failed, problem
from lifecyclehub.web.api.examples import EXAMPLES

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


class FieldProblem(BaseModel):
    """One field that cannot be taken."""

    path: str = Field(examples=["body.verdict"], description="Where it stands: query or body, then the field.")
    detail: str = Field(examples=["Input should be 'anew', 'is' or 'cancel'"])


class ProblemDetail(BaseModel):
    """What went wrong and what to do (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no effect eff_1. Look it up in the list of effects."])
    errors: list[FieldProblem] | None = None


_STATUSES: Final[Mapping[type[Exception], tuple[int, str]]] = {
    NotThere: (404, "Not found"),
    UnknownCursor: (400, "Unknown cursor"),
    CannotAnswer: (409, "Not in this state"),
}


async def _known(_: Request, error: Exception) -> Response:
    status, title = _STATUSES[type(error)]
    return problem(status, title, str(error))


async def _busy(_: Request, __: Exception) -> Response:
    return problem(503, "Busy", "The database takes no writes now; nothing was changed. Try again.", {"Retry-After": "5"})


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    found = [{"path": ".".join(str(part) for part in one["loc"]), "detail": one["msg"]} for one in error.errors()]
    said = "; ".join(f"{one['path']}: {one['detail']}" for one in found[:3])
    return problem(422, "Cannot be taken", f"{said}. Correct what is named; nothing was changed.", errors=found)


async def _refused(_: Request, error: HTTPException) -> Response:
    return problem(error.status_code, str(error.detail), str(error.detail), dict(error.headers or {}))


async def _failed(_: Request, __: Exception) -> Response:
    return failed()


def handlers() -> dict[int | type[Exception], Handler]:
    """Give the handlers of everything that can be raised."""
    own: dict[int | type[Exception], Handler] = dict.fromkeys(_STATUSES, _known)
    own |= dict.fromkeys((StoreBusy, StoreClosed), _busy)
    return own | {RequestValidationError: _invalid, HTTPException: _refused, Exception: _failed}


def answers(example: str, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe a route's answers for the OpenAPI document: an example by name, and the problems that there may be."""
    titles = {
        400: "Unknown cursor, or no text",
        401: "No valid token",
        404: "Not found",
        409: "Not in this state",
        422: "Cannot be taken",
    }
    schema = {"$ref": "#/components/schemas/ProblemDetail"}
    good: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"example": EXAMPLES[example]}}}}
    return good | {
        status: {"description": titles[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in (401, 422, *statuses)
    }
