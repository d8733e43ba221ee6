"""A connector's default mappings, as the core would apply them to a fixture."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lifecyclehub.connector import Action, Connector
from lifecyclehub.mapping import MappingSet, load_mappings
from lifecyclehub.messages import Document
from lifecyclehub.model import exponent, field_at
from lifecyclehub.registry import default_mappings


class NoMapping(AssertionError):
    """The connector's package has no default mapping for this."""


def mappings_of(connector: Connector, found: Mapping[str, Any] | None = None) -> MappingSet:
    """Load the default mappings, with the lookup lines that a fixture adds. Raises MappingError."""
    texts = default_mappings(connector)
    return load_mappings(texts, _extra_lookups(texts, found or {}), connector.about)


def _extra_lookups(texts: Mapping[str, str], found: Mapping[str, Any]) -> dict[str, str]:
    if not found.get("lookup"):
        return {}
    file = next((name for name, text in texts.items() if tomllib.loads(text).get("record") == found["kind"]), None)
    if file is None:
        raise NoMapping(f"no default mapping of {found['kind']} is in the connector's package")
    lines = ["format = 1", f"record = {json.dumps(found['kind'])}"]
    for name, table in found["lookup"].items():
        lines.append(f"[lookup.{json.dumps(name)}]")
        lines += [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in table.items()]
    return {file: "\n".join(lines)}


def account_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Give a fixture's account with all that a mapping may ask of one."""
    return {"id": "1", "name": "", "currency": None, "timezone": None, **(found.get("account") or {})}


def settings_of(connector: Connector, found: Mapping[str, Any]) -> dict[str, Any]:
    """Give a fixture's settings, defaults filled in."""
    return {**{setting.name: setting.default for setting in connector.about.settings}, **(found.get("settings") or {})}


def map_in(connector: Connector, document: Document, found: Mapping[str, Any]) -> dict[str, Any]:
    """Map a document; amounts as decimals of their currency. Raises `NoMapping`, MappingError."""
    mapping = mappings_of(connector, found).inbound(document.kind)
    if mapping is None:
        raise NoMapping(f"no default mapping of {document.kind} is in the connector's package")
    values = dict(mapping.map(document, account_of(found)).values)
    return {path: _shown(path, value, values) for path, value in values.items()}


def _shown(path: str, value: Any, values: Mapping[str, Any]) -> Any:
    field = field_at(path)
    if value is None or field is None or field.type != "amount":
        return value
    return Decimal(value).scaleb(-exponent(values.get(path.removesuffix("amount") + "currency") or ""))


def map_out(connector: Connector, action: Action[Any], value: Any, found: Mapping[str, Any]) -> Any:
    """Make the body of an action's input. Raises `NoMapping`, MappingError."""
    mapping = mappings_of(connector).outbound(action.name)
    if mapping is None:
        raise NoMapping(f"no default mapping of {action.name} is in the connector's package")
    return mapping.body(value, settings_of(connector, found), account_of(found))


def mapping_coverage_problems(connector: Connector) -> list[str]:
    """Say what has no default mapping: kinds that fill something, and actions."""
    mappings = mappings_of(connector)
    kinds = [kind.id for kind in connector.about.kinds if kind.fills and mappings.inbound(kind.id) is None]
    actions = [action.name for action in connector.about.actions if mappings.outbound(action.name) is None]
    return [f"no default mapping of {name} is in the connector's package" for name in kinds + actions]
