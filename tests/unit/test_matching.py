"""Who is who by keys that identify, and which project a ticket means."""

from __future__ import annotations

import pytest

from lifecyclehub.matching import Joins, LiveProject, Several, Waiting, identity_keys, ticket_project

SITE = LiveProject("prj_1", "Site", ("1201",), ("https://app.oak.example/0/1201/list",))
SHOP = LiveProject("prj_2", "Shop", ("1202",), ("https://app.oak.example/0/1202",))


@pytest.mark.parametrize(
    ("thing", "values", "keys"),
    [
        ("contact", {"contact.email": "Ada@Acme.Example"}, (("email", "ada@acme.example"), ("domain", "acme.example"))),
        ("contact", {"contact.email": "ada@gmail.com"}, (("email", "ada@gmail.com"),)),
        ("contact", {"contact.email": "ada+shop@acme.example"}, (("email", "ada+shop@acme.example"), ("domain", "acme.example"))),
        ("client", {"client.domain": "https://www.Acme.example/"}, (("domain", "acme.example"),)),
        ("client", {"client.domain": "gmail.com"}, ()),
        ("client", {"client.tax_id": "DE 123.456-789"}, (("tax_id", "DE123456789"),)),
        (
            "client",
            {"client.domain": "acme.example", "client.email": "office@acme.example", "client.tax_id": "x1"},
            (("email", "office@acme.example"), ("tax_id", "X1"), ("domain", "acme.example")),
        ),
        ("client", {"client.name": "Acme", "client.email": None}, ()),
        ("contact", {"contact.email": "nobody"}, ()),
        ("deal", {"deal.title": "Acme"}, ()),
    ],
)
def test_identity_keys_are_normalised_and_never_a_name(
    thing: str, values: dict[str, str | None], keys: tuple[tuple[str, str], ...]
) -> None:
    assert identity_keys(thing, values) == keys


@pytest.mark.parametrize(
    "ref", ["1201", "prj_1", "https://app.oak.example/0/1201/list", "http://www.app.oak.example/0/1201/list/?view=1#top"]
)
def test_a_ticket_joins_the_project_that_it_names(ref: str) -> None:
    assert ticket_project(ref, [SITE, SHOP], [SHOP]) == Joins("prj_1")


def test_an_address_that_only_begins_alike_names_another_project() -> None:
    assert isinstance(ticket_project("https://app.oak.example/0/12021", [SITE, SHOP], [SITE, SHOP]), Waiting)


def test_a_reference_that_names_nothing_waits_and_never_guesses() -> None:
    answer = ticket_project("9999", [SITE], [SITE])
    assert isinstance(answer, Waiting)
    assert "'9999' names no project" in answer.reason


def test_a_ticket_without_a_reference_joins_the_only_live_project() -> None:
    assert ticket_project(None, [], [SITE]) == Joins("prj_1")
    assert ticket_project("  ", [SITE, SHOP], [SHOP]) == Joins("prj_2")


def test_a_ticket_waits_while_there_is_no_live_project() -> None:
    assert isinstance(ticket_project(None, [SITE], []), Waiting)


def test_several_live_projects_are_a_persons_choice() -> None:
    answer = ticket_project(None, [], [SITE, SHOP])
    assert isinstance(answer, Several)
    assert answer.choices == (SITE, SHOP)
