"""What the kit proves about records: that they are fetched as shown, and mapped to the values they mean."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecyclehub.connector import Connector
from lifecyclehub.errors import CallFailed, Moved
from lifecyclehub.messages import Document, Ref
from lifecyclehub.testing import defaults
from lifecyclehub.testing.fixtures import RECORD_KEYS, BadFixture, Script, call_for, instant, load, raised, same


def load_record(path: Path) -> dict[str, Any]:
    """Read a record fixture. Raises `BadFixture`."""
    found = load(path, RECORD_KEYS, ("kind", "id"))
    if "replies" not in found and "data" not in found.get("document", {}):
        raise BadFixture(f"{path}: give replies for the fetch, or a document with its data")
    if "replies" in found and not ({"document", "raises", "values"} & set(found)):
        raise BadFixture(f"{path}: say what must come of it: document, values or raises")
    return found


async def fetched(connector: Connector, found: Mapping[str, Any], where: str) -> tuple[Document | CallFailed, Script]:
    """Fetch the record of a fixture over its replies; a failure of the call is given as it is."""
    script = Script(found["replies"], where)
    call = call_for(found, script)
    try:
        return await connector.fetch(call, Ref(found["kind"], found["id"])), script
    except CallFailed as error:
        return error, script


async def record_problems(connector: Connector, path: Path) -> list[str]:
    """Say where fetching or mapping differs from what the fixture shows."""
    found = load_record(path)
    if connector.about.kind(found["kind"]) is None:
        return [f"kind {found['kind']} is not among the connector's kinds"]
    if "replies" not in found:
        return mapping_problems(connector, found, _document(found))
    got, script = await fetched(connector, found, path.name)
    problems = script.unused()
    if "raises" in found:
        return problems + _raise_problems(found, got)
    if isinstance(got, CallFailed):
        return [f"fetch raised {type(got).__name__}: {got}"]
    if (got.kind, got.id) != (found["kind"], found["id"]):
        problems.append(f"fetch gave {got.kind} {got.id} instead of {found['kind']} {found['id']}")
    problems += document_problems(found.get("document", {}), got)
    return problems + mapping_problems(connector, found, got)


def _raise_problems(found: Mapping[str, Any], got: Document | CallFailed) -> list[str]:
    wanted = raised(found["raises"], found.get("to", ""))
    if type(got) is not type(wanted):
        return [f"fetch gave {got!r} instead of raising {found['raises']}"]
    if isinstance(got, Moved) and got.to != found.get("to"):
        return [f"fetch says moved to {got.to!r} instead of {found.get('to')!r}"]
    return []


def document_problems(wanted: Mapping[str, Any], got: Document, where: str = "document") -> list[str]:
    """Compare the fields that a fixture lists; related documents by kind and id, all of them when listed."""
    problems = []
    for name, value in wanted.items():
        if not hasattr(got, name):
            problems.append(f"{where}: a document has no {name}")
        elif name == "related":
            problems += _related_problems(value, got, where)
        elif not same(value, getattr(got, name)):
            problems.append(f"{where}.{name} is {getattr(got, name)!r} instead of {value!r}")
    return problems


def _related_problems(wanted: list[dict[str, Any]], got: Document, where: str) -> list[str]:
    have = {(document.kind, document.id): document for document in got.related}
    want = {(document["kind"], document["id"]): document for document in wanted}
    problems = [f"{where}: related {kind} {record} is missing" for kind, record in sorted(want.keys() - have.keys())]
    problems += [f"{where}: related {kind} {record} is not in the fixture" for kind, record in sorted(have.keys() - want.keys())]
    for key in want.keys() & have.keys():
        problems += document_problems(want[key], have[key], f"{where}.related {key[0]}:{key[1]}")
    return problems


def _document(found: Mapping[str, Any]) -> Document:
    given = {"kind": found["kind"], "id": found["id"], **found["document"]}
    return _made(given)


def _made(given: Mapping[str, Any]) -> Document:
    fields = dict(given)
    if isinstance(fields.get("changed_at"), str):
        fields["changed_at"] = instant(fields["changed_at"])
    fields["related"] = tuple(_made(inner) for inner in fields.get("related", ()))
    return Document(**fields)


def mapping_problems(connector: Connector, found: Mapping[str, Any], document: Document) -> list[str]:
    """Say where the default mapping makes something else of a document than the fixture says."""
    problems = []
    if "values" in found:
        problems += _value_problems(connector, found, document, found["values"])
    related = {f"{inner.kind}:{inner.id}": inner for inner in document.related}
    for name, values in found.get("related_values", {}).items():
        if name not in related:
            problems.append(f"related_values {name}: the document has only {sorted(related)}")
        else:
            problems += _value_problems(connector, found, related[name], values)
    return problems


def _value_problems(connector: Connector, found: Mapping[str, Any], document: Document, wanted: Mapping[str, Any]) -> list[str]:
    try:
        values = defaults.map_in(connector, document, found)
    except Exception as error:  # noqa: BLE001 (whatever keeps a record from being mapped is what we report)
        return [f"{document.kind}: mapping failed: {error}"]
    problems = []
    for path in sorted(wanted.keys() | values.keys()):
        if path not in values:
            problems.append(f"{path}: the default mapping does not fill it")
        elif path not in wanted:
            if values[path] is not None:
                problems.append(f"{path}: mapped to {values[path]!r}, which the fixture does not name")
        elif not same(wanted[path], values[path]):
            problems.append(f"{path}: mapped to {values[path]!r} instead of {wanted[path]!r}")
    return problems
