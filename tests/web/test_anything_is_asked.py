"""Whatever is asked of the API, allowed by its OpenAPI document or not: it answers as that document says, and never breaks."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecyclehub.web.app import create_app
from tests.support.anything import JUNK, ODD, allowed
from tests.web.conftest import Api

pytestmark = pytest.mark.anyio

EXAMPLES = 300
_IDS = ("client", "engagement", "deal", "project", "effect", "notice", "delivery", "snapshot", "finding")


class Asked(NamedTuple):
    """One request, and the operation of the document that it is for."""

    method: str
    template: str
    path: dict[str, str]
    query: list[tuple[str, str]]
    body: bytes | None
    token: bool


@cache
def document() -> Any:
    return create_app(lambda: None).openapi()  # type: ignore[arg-type, return-value]


def _operations() -> list[tuple[str, str, Any]]:
    return [(method, path, one) for path, methods in document()["paths"].items() for method, one in methods.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    method, path, operation = draw(st.sampled_from(_operations()))
    places: dict[str, str] = {}
    query: list[tuple[str, str]] = []
    for one in operation.get("parameters", ()):
        value = draw(st.one_of(allowed(one["schema"], document()), ODD, JUNK))
        if one["in"] == "path":
            places[one["name"]] = draw(st.sampled_from([*(f"<{name}>" for name in _IDS), _text(value) or "x"]))
        elif draw(st.booleans()):
            query.append((one["name"], draw(st.sampled_from([_text(value), "<notice>", "<delivery>"]))))
    if draw(st.booleans()):
        query.append((draw(ODD) or "x", draw(ODD)))
    body = None
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        made = st.one_of(allowed(schema, document()), JUNK).map(lambda one: json.dumps(one).encode())
        body = draw(st.one_of(made, st.binary(max_size=60), st.just(b'{"who": "a", "who": "b"}'), st.just(b"[" * 5000)))
    return Asked(method, path, places, query, body, draw(st.integers(0, 9)) > 0)


def _known(api: Api, text: str) -> str:
    """Put ids that there are in the place of their names."""
    for name in _IDS:
        if f"<{name}>" in text:
            rows = api.story.rows(_table(name))
            text = text.replace(f"<{name}>", rows[0]["id"] if rows else "x")
    return text


def _table(name: str) -> Any:
    from lifecyclehub.store import tables

    return getattr(tables, name)


def _encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(asked=requests())
async def test_every_answer_is_one_that_the_document_names(api: Api, asked: Asked) -> None:
    path = asked.template
    for name, value in asked.path.items():
        path = path.replace(f"{{{name}}}", _encoded(_known(api, value)))
    query = "&".join(f"{_encoded(name)}={_encoded(_known(api, value))}" for name, value in asked.query)
    headers = {"content-type": "application/json"} if asked.body is not None else {}
    if not asked.token:
        headers["authorization"] = "Bearer lch_nobody"
    url = f"{path}?{query}" if query else path

    answer = await api.http.request(asked.method, url, content=asked.body, headers=headers)

    assert answer.status_code < 500, answer.text
    _is_as_the_document_says(asked, answer)


def _is_as_the_document_says(asked: Asked, answer: httpx.Response) -> None:
    said = document()["paths"][asked.template][asked.method]["responses"]
    if not asked.token:
        assert answer.status_code in (401, 404, 405)
        return
    if answer.status_code in (404, 405) and answer.request.url.path.count("/") != asked.template.count("/"):
        return  # a slash in a value leads elsewhere
    assert str(answer.status_code) in said, f"{asked.method} {answer.request.url}: {answer.status_code} {answer.text}"
    content = said[str(answer.status_code)].get("content", {})
    media = answer.headers["content-type"].partition(";")[0]
    assert media in content, f"{answer.status_code}: {media}"
    schema = {**content[media]["schema"], "components": document()["components"]}
    jsonschema.validate(answer.json(), schema, cls=jsonschema.Draft202012Validator)
