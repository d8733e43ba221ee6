"""A vendor's own description catches what we invented."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lifecyclehub.messages import Reply, Request
from lifecyclehub.testing.openapi import SpecChecker
from lifecyclehub.testing.vendor_spec import VendorSpec, not_excepted

SPEC = """
openapi: 3.0.0
info: {title: Tiny, version: "1"}
paths:
  /things:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer}}
        - {name: fields, in: query, schema: {type: array, items: {type: string, enum: [id, name]}}}
        - {name: deep, in: query, schema: {type: boolean}}
        - {name: account, in: query, required: true, schema: {type: string}}
      responses:
        "200":
          content:
            application/json: {schema: {type: array, items: {$ref: "#/components/schemas/Thing"}}}
    post:
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Thing"}}
      responses:
        201: {$ref: "#/components/responses/Made"}
        4XX: {content: {application/json: {schema: {type: object, properties: {error: {type: string}}}}}}
  /things/{id}:
    get:
      responses: {"200": {content: {"application/json; charset=utf-8": {schema: {$ref: "#/components/schemas/Thing"}}}}}
  /things/mine:
    get:
      responses: {"204": {description: nothing}}
components:
  responses:
    Made: {content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}}}
  schemas:
    Base:
      type: object
      required: [id, name]
      properties:
        id: {type: string, readOnly: true}
        name: {type: string, nullable: true}
        state: {type: string, enum: [yes, no, "2026-01-01"]}
    Thing:
      allOf:
        - $ref: "#/components/schemas/Base"
        - type: object
          properties:
            price: {type: number, minimum: 0, exclusiveMinimum: true}
            owner:
              allOf:
                - {$ref: "#/components/schemas/Owner"}
                - {nullable: true}
            lines: {type: array, items: {$ref: "#/components/schemas/Line"}}
            labels: {type: object, additionalProperties: {type: string}}
            anything: {type: object}
    Owner: {type: object, properties: {email: {type: string}}}
    Line: {type: object, properties: {text: {type: string}}}
"""


@pytest.fixture(params=["yaml", "json"])
def checker(request: pytest.FixtureRequest, tmp_path: Path) -> SpecChecker:
    path = tmp_path / f"tiny.{request.param}"
    if request.param == "json":
        import yaml

        loaded = yaml.load(SPEC, Loader=yaml.BaseLoader)  # noqa: S506 (a safe one)
        path.write_text(json.dumps(_typed(loaded)))
    else:
        path.write_text(SPEC)
    return SpecChecker(path)


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    return {"true": True, "false": False, "0": 0}.get(value, value)


GOOD = {"name": None, "state": "yes", "price": Decimal("0.10"), "owner": None, "lines": [{"text": "a"}], "labels": {"x": "y"}}


def test_a_request_that_fits_has_no_problems(checker: SpecChecker) -> None:
    assert checker.request("POST", "/things", (), GOOD) == []
    assert checker.request("GET", "/things", [("limit", "5"), ("fields", "id,name"), ("deep", "true"), ("account", "1")]) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "$.colour: the vendor does not know it"),
        ({"lines": [{}, {"txet": "a"}]}, "$.lines[1].txet: the vendor does not know it"),
        ({"owner": {"mail": "a"}}, "$.owner.mail: the vendor does not know it"),
        ({"labels": {"x": 1}}, "$.labels.x: 1 is not of type 'string'"),
        ({"id": "7"}, "$.id: only the vendor fills it in"),
        ({"price": 0}, "$.price: 0 is less than or equal to the minimum"),
        ({"price": "5"}, "$.price: '5' is not of type 'number'"),
        ({"state": "maybe"}, "'maybe' is not one of"),
    ],
)
def test_a_body_that_does_not_fit_is_named(checker: SpecChecker, change: dict[str, Any], named: str) -> None:
    problems = checker.request("POST", "/things", (), {**GOOD, **change})
    assert any(named in problem for problem in problems), problems


def test_what_the_vendor_requires_and_we_could_give_is_named(checker: SpecChecker) -> None:
    assert checker.request("POST", "/things", (), {}) == ["POST /things: the body at $: 'name' is a required property"]
    assert checker.request("POST", "/things") == ["POST /things: a body is required"]


def test_an_object_without_description_takes_anything(checker: SpecChecker) -> None:
    assert checker.request("POST", "/things", (), {**GOOD, "anything": {"deep": {"deeper": 1}}}) == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ([("account", "1"), ("page", "2")], "the parameter page is unknown"),
        ([("account", "1"), ("limit", "many")], "no whole number"),
        ([("account", "1"), ("deep", "1")], "neither true nor false"),
        ([("account", "1"), ("fields", "id,colour")], "'colour', which is not one of its values"),
        ([], "the parameter account is required"),
    ],
)
def test_a_parameter_that_does_not_fit_is_named(checker: SpecChecker, query: list[tuple[str, str]], named: str) -> None:
    problems = checker.request("GET", "/things", query)
    assert len(problems) == 1
    assert named in problems[0]


def test_an_unknown_request_is_named(checker: SpecChecker) -> None:
    assert checker.request("DELETE", "/things/7") == ["DELETE /things/7: there is no such request"]
    assert checker.request("GET", "/thing") == ["GET /thing: there is no such request"]


def test_a_literal_path_goes_before_a_pattern(checker: SpecChecker) -> None:
    assert checker.reply("GET", "/things/mine", 200, {}) == ["GET /things/mine: status 200 is not described, only 204"]


def test_a_reply_is_held_against_its_status(checker: SpecChecker) -> None:
    assert checker.reply("GET", "/things/7", 200, {**GOOD, "id": "7"}) == []
    assert checker.reply("POST", "/things", 201, {**GOOD, "id": "7", "colour": 1}) == [
        "POST /things status 201: the reply at $.colour: the vendor does not know it"
    ]
    assert checker.reply("POST", "/things", 422, {"error": 5}) != []
    assert "'id' is a required property" in checker.reply("GET", "/things/7", 200, GOOD)[0]
    assert checker.reply("GET", "/things/7", 404, {"whatever": 1}) == []
    assert checker.reply("GET", "/things/7", 302, {}) == ["GET /things/7: status 302 is not described, only 200"]


def test_a_file_that_is_no_description_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match="has no paths"):
        SpecChecker(tmp_path / "no.yaml")


def test_another_host_and_a_page_in_place_of_json_are_in_no_file(checker: SpecChecker) -> None:
    spec = VendorSpec("tiny.yaml", prefix="/things")
    assert spec.exchange_problems(checker, Request(method="GET", path="/7"), Reply(status=200, body=b"<html>")) == []
    assert spec.exchange_problems(checker, Request(method="GET", path="/7", host="auth"), None) == []
    assert spec.exchange_problems(checker, Request(method="GET", path="/7/8"), None) != []


def test_an_exception_covers_what_it_names_and_must_cover_something() -> None:
    problems = ["a: the vendor does not know it", "b: wrong"]
    assert list(not_excepted(problems, {"a:": "why", "c:": "why"})) == [
        "b: wrong",
        "the exception 'c:' covers nothing: remove it",
    ]
