"""Holds requests and replies against a vendor's OpenAPI description (3.0 or 3.1, YAML or JSON)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from lifecyclehub.testing.fake import compact

BASE: Final = "urn:vendor"
MOST_SHOWN = 200
UNDESCRIBED: Final = frozenset((400, 401, 403, 404, 408, 409, 429))
"""Statuses that any vendor may answer without describing each."""

_JSON = re.compile(r"application/(.+\+)?json\b")
_COMBINED = ("allOf", "anyOf", "oneOf")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as OpenAPI means it: only true and false are flags, and dates are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp")]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


@functools.lru_cache(maxsize=8)
def _loaded(path: Path, _changed: int) -> dict[str, Any]:
    text = path.read_text("utf-8")
    document = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_Loader)  # noqa: S506 (a safe loader)
    if not isinstance(document, dict) or not isinstance(document.get("paths"), dict):
        raise ValueError(f"{path} is no OpenAPI document: it has no paths")  # noqa: TRY004 (its content is wrong)
    modern = str(document.get("openapi", "")).startswith("3.1")
    return document if modern else _modernized(document)


def _modernized(value: Any) -> Any:
    """Write OpenAPI 3.0 schemas as JSON Schema 2020-12: nullable, exclusive bounds, what stands beside $ref."""
    if isinstance(value, list):
        return [_modernized(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str):
        made: dict[str, Any] = {"$ref": value["$ref"]}
        # 3.0 ignores what stands beside $ref; readOnly is meant all the same.
        if value.get("readOnly") is True:
            made["readOnly"] = True
    else:
        made = {name: _modernized(inner) for name, inner in value.items()}
        for bound, plain in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(bound), bool):
                strict = made.pop(bound)
                if strict and plain in made:
                    made[bound] = made.pop(plain)
    return _nullable(made) if _may_be_null(value) else made


def _may_be_null(schema: Mapping[str, Any]) -> bool:
    """Tell whether null is meant: said here or, as vendors write it for a reference, in a part of allOf."""
    parts = schema.get("allOf")
    said = [part.get("nullable") is True for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return schema.get("nullable") is True or any(said)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: inner for name, inner in schema.items() if name != "nullable"}
    if isinstance(kept.get("type"), str) and not any(name in kept for name in (*_COMBINED, "$ref")):
        kept["type"] = [kept["type"], "null"]
        if "enum" in kept:
            kept["enum"] = [*kept["enum"], None]
        return kept
    return {"anyOf": [kept, {"type": "null"}]}


def _pointer(*steps: str) -> str:
    return BASE + "#/" + "/".join(step.replace("~", "~0").replace("/", "~1").replace("%", "%25") for step in steps)


class SpecChecker:
    """Says where requests and replies depart from an OpenAPI file. Unknown properties count, in replies too."""

    def __init__(self, path: str | Path) -> None:
        file = Path(path)
        self._document = _loaded(file, file.stat().st_mtime_ns)
        resource = Resource.from_contents(self._document, default_specification=DRAFT202012)
        self._registry: Any = Registry().with_resource(BASE, resource)
        self._paths = sorted(self._document["paths"], key=lambda path: (path.count("{"), path))

    def request(self, method: str, path: str, query: Iterable[tuple[str, str]] = (), body: Any = None) -> list[str]:
        """Say what is wrong with a request: `path` below the server's address, `body` its JSON or form as a mapping."""
        template = self._template(method, path)
        if template is None:
            return [f"{method} {path}: there is no such request"]
        operation = self._operation(template, method)
        problems = list(self._query_problems(template, operation, list(query)))
        return [f"{method} {path}: {problem}" for problem in problems + self._body_problems(template, method, operation, body)]

    def reply(self, method: str, path: str, status: int, body: Any = None) -> list[str]:
        """Say what is wrong with the JSON of a reply."""
        template = self._template(method, path)
        if template is None:
            return [f"{method} {path}: there is no such request"]
        responses = self._operation(template, method).get("responses", {})
        key = next((name for name in (str(status), f"{status // 100}XX", "default") if name in _texts(responses)), None)
        if key is None:
            known = ", ".join(sorted(_texts(responses)))
            silent = status in UNDESCRIBED or status >= 500
            return [] if silent else [f"{method} {path}: status {status} is not described, only {known}"]
        response = self._resolved(_texts(responses)[key])
        schema = _json_schema(response)
        if schema is None or body is None:
            return []
        problems = self._schema_problems(schema, body, "the reply", writing=False)
        return [f"{method} {path} status {status}: {problem}" for problem in problems]

    # --- finding ---------------------------------------------------------------------------------------------------

    def _template(self, method: str, path: str) -> str | None:
        wanted = path.split("/")
        for template in self._paths:
            steps = template.split("/")
            if len(steps) == len(wanted) and method.lower() in self._document["paths"][template]:
                pairs = zip(steps, wanted, strict=True)
                if all(_fits(step, given) for step, given in pairs):
                    return str(template)
        return None

    def _operation(self, template: str, method: str) -> dict[str, Any]:
        found: dict[str, Any] = self._document["paths"][template][method.lower()]
        return found

    def _resolved(self, value: Any) -> Any:
        seen = 0
        while isinstance(value, Mapping) and isinstance(value.get("$ref"), str) and seen < 50:
            value = self._registry.resolver(BASE).lookup(value["$ref"]).contents
            seen += 1
        return value

    # --- requests --------------------------------------------------------------------------------------------------

    def _query_problems(self, template: str, operation: Mapping[str, Any], query: Sequence[tuple[str, str]]) -> Iterator[str]:
        declared = [*self._document["paths"][template].get("parameters", []), *operation.get("parameters", [])]
        known = {one["name"]: one for one in map(self._resolved, declared) if one.get("in") == "query"}
        given = dict(query)
        for name, parameter in known.items():
            if parameter.get("required") and name not in given:
                yield f"the parameter {name} is required"
        for name, text in query:
            if name not in known:
                yield f"the parameter {name} is unknown"
            else:
                yield from self._text_problems(self._resolved(known[name].get("schema", {})), text, name)

    def _text_problems(self, schema: Mapping[str, Any], text: str, name: str) -> Iterator[str]:
        types = schema.get("type")
        types = types if isinstance(types, list) else [types]
        if "array" in types:
            for part in text.split(","):
                yield from self._text_problems(self._resolved(schema.get("items", {})), part, name)
        elif "integer" in types and not re.fullmatch(r"-?\d+", text):
            yield f"the parameter {name} is {text!r}, which is no whole number"
        elif "boolean" in types and text.lower() not in ("true", "false"):
            yield f"the parameter {name} is {text!r}, which is neither true nor false"
        elif "enum" in schema and text not in map(str, schema["enum"]):
            yield f"the parameter {name} is {text!r}, which is not one of its values"

    def _body_problems(self, template: str, method: str, operation: Mapping[str, Any], body: Any) -> list[str]:
        declared = self._resolved(operation.get("requestBody"))
        if body is None:
            return ["a body is required"] if declared and declared.get("required") else []
        if not declared:
            return ["it takes no body"]
        schema = _json_schema(declared) or _form_schema(declared)
        return self._schema_problems(schema, body, "the body", writing=True) if schema else []

    # --- schemas ---------------------------------------------------------------------------------------------------

    def _schema_problems(self, schema: Any, value: Any, what: str, *, writing: bool) -> list[str]:
        # Written through JSON, so that decimals and tuples are what the vendor sees.
        plain = _plain(value)
        rebased = _rebased(schema)
        errors = Draft202012Validator(rebased, registry=self._registry).iter_errors(plain)
        problems = [
            f"{what} at {error.json_path}: {_shown(error.message)}"
            for error in errors
            if not (writing and error.validator == "required" and self._left_to_the_vendor(error))
        ]
        return problems + [f"{what} {problem}" for problem in self._unknown(schema, plain, "$", writing=writing)]

    def _left_to_the_vendor(self, error: Any) -> bool:
        """Tell whether what is missing from a request is what the vendor itself fills in (3.0, readOnly)."""
        named = self._properties(error.schema)[0]
        missing = [name for name in error.validator_value if error.message.startswith(repr(name))]
        return all(name in named and self._read_only(named[name]) for name in missing)

    def _properties(self, schema: Any) -> tuple[dict[str, list[Any]], list[Any], bool]:
        """Give all properties that a schema knows, the schemas of further ones, and whether anything goes."""
        schema = self._resolved(schema)
        if not isinstance(schema, Mapping):
            return {}, [], True
        named: dict[str, list[Any]] = {name: [inner] for name, inner in schema.get("properties", {}).items()}
        further = [schema["additionalProperties"]] if isinstance(schema.get("additionalProperties"), Mapping) else []
        parts = [part for name in _COMBINED for part in schema.get(name, []) if self._resolved(part) != {"type": "null"}]
        anything = schema.get("additionalProperties") is True or not (named or further or parts)
        open_parts = []
        for part in parts:
            inner, more, loose = self._properties(part)
            for name, schemas in inner.items():
                named.setdefault(name, []).extend(schemas)
            further += more
            open_parts.append(loose)
        # A part that says nothing of properties (only a description, or required) does not open the whole.
        return named, further, anything or (bool(open_parts) and all(open_parts) and not named)

    def _read_only(self, schemas: Sequence[Any]) -> bool:
        return all(
            isinstance(one, Mapping) and (one.get("readOnly") is True or self._resolved(one).get("readOnly") is True)
            for one in schemas
        )

    def _unknown(self, schema: Any, value: Any, where: str, *, writing: bool) -> Iterator[str]:
        if isinstance(value, list):
            for items in self._items(schema):
                for at, inner in enumerate(value):
                    yield from self._unknown(items, inner, f"{where}[{at}]", writing=writing)
                break
        if not isinstance(value, dict):
            return
        named, further, anything = self._properties(schema)
        for name, inner in value.items():
            here = f"{where}.{name}"
            if name not in named:
                if not further and not anything:
                    yield f"at {here}: the vendor does not know it"
                elif further:
                    yield from self._unknown(further[0], inner, here, writing=writing)
                continue
            if writing and self._read_only(named[name]):
                yield f"at {here}: only the vendor fills it in"
            combined = named[name][0] if len(named[name]) == 1 else {"allOf": named[name]}
            yield from self._unknown(combined, inner, here, writing=writing)

    def _items(self, schema: Any) -> Iterator[Any]:
        schema = self._resolved(schema)
        if isinstance(schema, Mapping):
            if "items" in schema:
                yield schema["items"]
            for name in _COMBINED:
                for part in schema.get(name, []):
                    yield from self._items(part)


def _fits(step: str, given: str) -> bool:
    return bool(given) if step.startswith("{") else step == given


def _texts(responses: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(status): response for status, response in responses.items()}


def _json_schema(holder: Mapping[str, Any]) -> Any:
    content = holder.get("content", {})
    return next((one.get("schema") for media, one in content.items() if _JSON.match(media) or media == "*/*"), None)


def _form_schema(holder: Mapping[str, Any]) -> Any:
    return next((one.get("schema") for media, one in holder.get("content", {}).items() if "form" in media), None)


def _rebased(schema: Any) -> Any:
    """Let references inside a piece of the document point into the whole."""
    if isinstance(schema, list):
        return [_rebased(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: BASE + inner if name == "$ref" and isinstance(inner, str) and inner.startswith("#") else _rebased(inner)
        for name, inner in schema.items()
    }


def _plain(value: Any) -> Any:
    return json.loads(compact(value))


def _shown(message: str) -> str:
    return message if len(message) <= MOST_SHOWN else f"{message[: MOST_SHOWN // 2]} … {message[-MOST_SHOWN // 2 :]}"
