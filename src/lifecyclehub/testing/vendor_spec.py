"""Holds a connector's fixtures against its vendor's own OpenAPI file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lifecyclehub.connector import Connector
from lifecyclehub.errors import CallFailed, NotOurJson
from lifecyclehub.messages import Reply, Request
from lifecyclehub.testing.actions import input_of, load_response, rendered
from lifecyclehub.testing.fake import reply
from lifecyclehub.testing.fixtures import KIT_KEY, Script, call_for
from lifecyclehub.testing.openapi import SpecChecker
from lifecyclehub.testing.records import fetched, load_record

ENVIRONMENT: Final = "LIFECYCLEHUB_VENDOR_SPECS"


@dataclass(frozen=True, slots=True)
class VendorSpec:
    """An OpenAPI file below the folder of `LIFECYCLEHUB_VENDOR_SPECS`.

    `prefix` is put before the path of every request, `host` is the one of `About.hosts` that the file describes.
    """

    file: str
    prefix: str = ""
    host: str = "api"

    def checker(self) -> SpecChecker | None:
        """Give the checker, None where the environment names no folder. Raises OSError when the file is missing."""
        folder = os.environ.get(ENVIRONMENT)
        return SpecChecker(Path(folder) / self.file) if folder else None

    def exchange_problems(self, checker: SpecChecker, request: Request, answer: Reply | None) -> list[str]:
        """Say where a request, and its reply if there is one, depart from the file."""
        if request.host != self.host:
            return []
        path = self.prefix + request.path
        body = request.json if request.form is None else dict(request.form)
        problems = checker.request(request.method, path, request.query, body)
        if answer is not None and answer.body:
            try:
                problems += checker.reply(request.method, path, answer.status, answer.json())
            except NotOurJson:
                return problems  # a page in place of JSON is in no file
        return problems


async def spec_problems(
    spec: VendorSpec, checker: SpecChecker, connector: Connector, records: list[Path], responses: list[Path]
) -> list[str]:
    """Say where the fixtures of records and actions depart from the vendor's file."""
    problems = []
    async for where, request, answer in _exchanges(connector, records, responses):
        problems += [f"{where}: {what}" for what in spec.exchange_problems(checker, request, answer)]
    return problems


async def _exchanges(connector: Connector, records: list[Path], responses: list[Path]) -> Any:
    for path in records:
        found = load_record(path)
        if "replies" in found:
            for request, answer in (await fetched(connector, found, path.name))[1].exchanged:
                yield path.name, request, answer
    for path in responses:
        action, found = load_response(connector, path)
        request = rendered(action, found)
        yield path.name, request, None
        for said in found.get("replies", []):
            yield path.name, request, reply(said["status"], said.get("body"))
        for script in [script async for script in _looked_up(action, found, path.name)]:
            for asked, answer in script.exchanged:
                yield path.name, asked, answer


async def _looked_up(action: Any, found: Mapping[str, Any], where: str) -> Any:
    value = input_of(action, found)
    for said in found.get("find", []):
        script = Script(said["replies"], where)
        with suppress(CallFailed):  # what it could not look up is the look-up test's business
            await action.find(call_for(found, script), value, KIT_KEY)
        yield script
    for said in found.get("check", []):
        script = Script(said["replies"], where)
        await action.check(call_for(found, script), said["handle"])
        yield script


def not_excepted(problems: list[str], exceptions: Mapping[str, str]) -> Iterator[str]:
    """Give the problems that no exception covers, and the exceptions that cover nothing."""
    unused = set(exceptions)
    for problem in problems:
        covering = {text for text in exceptions if text in problem}
        unused -= covering
        if not covering:
            yield problem
    yield from (f"the exception {text!r} covers nothing: remove it" for text in sorted(unused))
