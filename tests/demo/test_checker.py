"""The proof counts in hand-written histories: what was done twice, not at all, or wrongly must be found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.sandbox.checker import Case, Did, Proof, check, writes

Histories = dict[str, list[dict[str, Any]]]
CHECKLIST = ("Send the welcome message", "Hold the kick-off meeting")
NAME = "Brightwater Foods: Website"
ADDRESS = "https://app.asana.com/1/100/project/900"
CASE = Case(deal="7", client="Brightwater Foods", title="Website", total=Decimal("12500.00"), closed=True, tickets=("41",))


def task(gid: str, name: str, marker: str | None, by: str = "api") -> dict[str, Any]:
    return {"what": "created", "kind": "task", "id": gid, "name": name, "marker": marker, "by": by, "project": "900"}


def note(gid: str, text: str, marker: str) -> dict[str, Any]:
    told = f"{text}\nProject: {ADDRESS}\n{marker}"
    return {"what": "created", "kind": "note", "id": gid, "by": "api", "marker": marker, "text": told, "on": ["deal 7"]}


def sent(status: int = 200, attempt: int = 0) -> dict[str, Any]:
    return {"what": "sent", "status": status, "attempt": attempt, "url": "http://127.0.0.1:1/hooks/x"}


def good() -> Histories:
    """What the four tools note when everything goes well."""
    return {
        "hubspot": [
            {"what": "created", "kind": "deal", "id": "7", "by": "person", "name": "Website", "marker": None},
            {"what": "changed", "kind": "deal", "id": "7", "by": "person", "fields": {"dealstage": "closedwon"}},
            sent(),
            note("60", "Delivery has started.", "lh-0000000001"),
            note("61", "The project is closed and its invoice is drafted.", "lh-0000000002"),
        ],
        "asana": [
            {"what": "created", "kind": "webhook", "id": "5", "by": "api", "name": "http://127.0.0.1:1/hooks/x", "marker": None},
            {"what": "queued", "kind": "job", "id": "8", "by": "api", "marker": "lh-0000000003"},
            {
                "what": "created",
                "kind": "project",
                "id": "900",
                "name": f"{NAME} lh-0000000003",
                "marker": "lh-0000000003",
                "by": "api",
            },
            task("901", "Kick-off", None, by="template"),
            sent(503),
            sent(200, attempt=1),
            {"what": "changed", "kind": "project", "id": "900", "by": "api", "fields": ["name"], "name": NAME},
            task("902", CHECKLIST[0], "lh-0000000004"),
            task("903", CHECKLIST[1], "lh-0000000005"),
            task("904", "Support tickets", "lh-0000000006"),
            {
                "what": "commented",
                "kind": "task",
                "id": "904",
                "by": "api",
                "marker": "lh-0000000007",
                "text": "Ticket 41: Login broken\nhttps://northwind.example/41\n\nlh-0000000007",
            },
            {
                "what": "changed",
                "kind": "project",
                "id": "900",
                "by": "person",
                "fields": ["completed", "completed_at"],
                "name": NAME,
            },
        ],
        "zendesk": [
            {"what": "created", "kind": "ticket", "id": "41", "by": "person", "subject": "Login broken", "marker": None},
            sent(),
            {
                "what": "commented",
                "kind": "ticket",
                "id": "41",
                "by": "api",
                "comment": 77,
                "public": False,
                "marker": "lh-0000000008",
                "text": f"This ticket belongs to the project.\n{ADDRESS}\nlh-0000000008",
            },
        ],
        "xero": [
            {
                "what": "created",
                "kind": "contact",
                "id": "c1",
                "by": "api",
                "name": "Brightwater Foods",
                "marker": "lh-0000000009",
            },
            {
                "what": "created",
                "kind": "invoice",
                "id": "i1",
                "by": "api",
                "name": "Website",
                "contact": "c1",
                "total": "12500.00",
                "marker": "lh-000000000a",
            },
            {"what": "repeated", "kind": "invoice", "key": "0f"},
            sent(),
        ],
    }


def proof(change: Callable[[Histories], object] = lambda _: None) -> Proof:
    told = copy.deepcopy(good())
    change(told)
    return check(told, [CASE], CHECKLIST)


def again(told: Histories, tool: str, place: int, **other: Any) -> None:
    """Let a tool have done one thing twice."""
    told[tool].append(told[tool][place] | other)


def test_what_was_done_once_holds() -> None:
    found = proof()
    assert found.deviations() == []
    assert found.holds
    assert found.sentence() == "4 deliveries, 4 answered; 11 effects were to be done, 11 were: 0 doubles, 0 lost."


@pytest.mark.parametrize(
    ("tool", "place", "other", "what"),
    [
        ("asana", 2, {"id": "950", "marker": "lh-000000000b", "name": f"{NAME} lh-000000000b"}, "project"),
        ("asana", 7, {"id": "951", "marker": "lh-000000000b"}, "checklist task"),
        ("asana", 9, {"id": "952", "marker": "lh-000000000b"}, "task for tickets"),
        ("asana", 10, {"marker": "lh-000000000b"}, "comment on a ticket"),
        ("asana", 6, {}, "final name"),
        ("hubspot", 3, {"id": "62", "marker": "lh-000000000b"}, "note: delivery has started"),
        ("hubspot", 4, {"id": "62", "marker": "lh-000000000b"}, "note: invoice is drafted"),
        ("zendesk", 2, {"comment": 78, "marker": "lh-000000000b"}, "internal comment"),
        ("xero", 0, {"id": "c2", "marker": "lh-000000000b"}, "contact"),
        ("xero", 1, {"id": "i2", "marker": "lh-000000000b"}, "draft invoice"),
    ],
)
def test_what_was_done_twice_is_a_double(tool: str, place: int, other: dict[str, Any], what: str) -> None:
    found = proof(lambda told: again(told, tool, place, **other))
    assert not found.holds
    assert [(one.tool, one.what) for one in found.doubles] == [(tool, what)]
    assert not found.lost


@pytest.mark.parametrize(
    ("tool", "place", "what"),
    [
        ("asana", 7, "checklist task"),
        ("asana", 9, "task for tickets"),
        ("asana", 10, "comment on a ticket"),
        ("asana", 6, "final name"),
        ("hubspot", 3, "note: delivery has started"),
        ("hubspot", 4, "note: invoice is drafted"),
        ("zendesk", 2, "internal comment"),
        ("xero", 1, "draft invoice"),
    ],
)
def test_what_was_not_done_is_lost(tool: str, place: int, what: str) -> None:
    found = proof(lambda told: told[tool].pop(place))
    assert not found.holds
    assert (tool, what) in [(one.tool, one.what) for one in found.lost]


def test_without_its_project_everything_in_it_is_lost() -> None:
    found = proof(lambda told: told["asana"].pop(2))
    assert Did("asana", "project", NAME) in found.lost
    assert len([one for one in found.lost if one.what == "checklist task"]) == 2


def test_two_records_with_one_marker_are_told_even_where_they_look_like_two_things() -> None:
    def other_title(told: Histories) -> None:
        told["asana"][8]["marker"] = told["asana"][7]["marker"]

    assert proof(other_title).faults == ["asana holds 2 records with the marker lh-0000000004"]


def test_an_invoice_over_another_sum_is_not_the_one_that_was_to_be_drafted() -> None:
    found = proof(lambda told: told["xero"][1].update(total="12500.01"))
    assert [one.about for one in found.lost] == ["Brightwater Foods / Website / 12500.00"]
    assert [one.about for one in found.doubles] == ["Brightwater Foods / Website / 12500.01"]


def test_an_invoice_to_another_client_is_told() -> None:
    assert not proof(lambda told: told["xero"][1].update(contact="c9")).holds


def test_a_note_on_another_deal_is_told() -> None:
    assert not proof(lambda told: told["hubspot"][3].update(on=["deal 8"])).holds


def test_a_comment_that_the_client_can_read_is_told() -> None:
    found = proof(lambda told: told["zendesk"][2].update(public=True))
    assert found.faults == ["the comment 77 on ticket 41 is public: the client can read it"]


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("hubspot", {"what": "changed", "kind": "deal", "id": "7", "by": "api", "fields": {"amount": "1"}}),
        ("hubspot", {"what": "created", "kind": "task", "id": "70", "by": "api", "name": "Call", "marker": None, "text": None}),
        ("asana", {"what": "changed", "kind": "project", "id": "900", "by": "api", "fields": ["completed"], "name": NAME}),
        ("asana", {"what": "deleted", "kind": "project", "id": "900", "by": "api"}),
        ("zendesk", {"what": "tagged", "kind": "ticket", "id": "41", "by": "api", "added": ["x"], "removed": []}),
    ],
)
def test_what_nobody_asked_for_counts_as_too_much(tool: str, line: dict[str, Any]) -> None:
    found = proof(lambda told: told[tool].append(line))
    assert not found.holds
    assert found.doubles.total() == 1


def test_a_delivery_that_was_never_answered_is_told() -> None:
    found = proof(lambda told: told["zendesk"].append(sent(503)))
    assert found.deviations() == ["unanswered: zendesk sent 2 deliveries, 1 were answered"]
    assert not found.holds


@pytest.mark.parametrize(
    ("tool", "place", "said"),
    [
        ("hubspot", 1, "nobody won the deal 7"),
        ("zendesk", 0, "nobody opened the ticket 41"),
        ("asana", 11, f"nobody completed the project {NAME}"),
    ],
)
def test_a_case_that_did_not_take_place_proves_nothing(tool: str, place: int, said: str) -> None:
    assert proof(lambda told: told[tool].pop(place)).faults == [said]


def test_for_a_deal_that_is_not_won_nothing_may_be_done() -> None:
    found = check(good(), [Case(deal="7", client="Brightwater Foods", title="Website", total=CASE.total, won=False)], CHECKLIST)
    assert not found.expected
    assert found.doubles.total() == 11


def test_writes_counts_what_came_through_the_apis_and_nothing_else() -> None:
    told = good()
    before = writes(told)
    told["hubspot"].append({"what": "changed", "kind": "deal", "id": "7", "by": "person", "fields": {"amount": "2"}})
    told["asana"].append(sent())
    assert writes(told) == before
    told["asana"].append({"what": "queued", "kind": "job", "id": "9", "by": "api", "marker": "lh-000000000b"})
    assert writes(told) == before + 1
