"""What is left of news when somebody was erased: nothing of their own records, and others' without their values.

A person who comes back as a new record is somebody new: their values count again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from lifecyclehub.intake.observation import Observation, Settled
from lifecyclehub.mapping import MappingSet
from lifecyclehub.messages import Document
from lifecyclehub.redaction import Erased

PEOPLE: Final = ("client", "contact", "teammate")
_TELLING: Final = ("email", "phone", "name")


def taken_out(erased: Erased, mappings: MappingSet, connection: str | None, document: Document) -> Document:
    """Give a document without those who were erased.

    A record of another person or client is taken as it is, unless it told of them before.
    """
    if erased.is_record(connection, document.kind, document.id):
        return replace(document, data={}, related=(), url=None)
    inbound = mappings.inbound(document.kind)
    others = inbound is not None and inbound.thing in PEOPLE and not erased.mentions(connection, document.kind, document.id)
    data = document.data if others else erased.value(document.data)
    return replace(document, data=data, related=tuple(taken_out(erased, mappings, connection, one) for one in document.related))


def unless_erased(erased: Erased, seen: Observation) -> Settled | None:
    """Say that a record is of somebody who was erased, or was looked through before it was known who is; None else."""
    if erased.is_record(*seen.key):
        return Settled("ignored", "erased", "it is of a person who was erased")
    if seen.change == "changed" and seen.erasures != erased.version:
        return Settled("look again", "erased", "a person was erased since that look; the record is fetched anew")
    return None


def brought_back(erased: Erased, observations: Sequence[Observation], results: Sequence[Settled]) -> list[str]:
    """Give the marks of values that were just taken in with records of people who were not erased."""
    taken = [seen for seen, result in zip(observations, results, strict=True) if result.state == "processed"]
    people = [one for seen in taken for one in (seen, *seen.related) if one.fills in PEOPLE and not one.erased]
    return sorted({mark for one in people for mark in _held(erased, one)})


def _held(erased: Erased, seen: Observation) -> list[str]:
    email, phone, name = ([said] if isinstance(said := seen.values.get(f"{seen.fills}.{one}"), str) else [] for one in _TELLING)
    return erased.held(emails=email, phones=phone, names=name)
