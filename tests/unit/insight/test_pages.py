"""The pages of a client and an engagement, and their money."""

from __future__ import annotations

from typing import Any

from lifecyclehub.insight.clients import client_page, list_clients
from lifecyclehub.insight.engagements import engagement_page
from lifecyclehub.insight.lists import Asked
from lifecyclehub.insight.money import money_line
from lifecyclehub.messages import Done
from lifecyclehub.store import tables
from tests.support.story import Story, won_deal


def invoice(identity: str, status: str, total: int | None, **more: Any) -> dict[str, Any]:
    row = {"id": identity, "status": status, "kind": "invoice", "total_minor": total, "total_currency": "EUR", "paid_minor": None}
    return row | more


def totals(line: Any) -> dict[str, list[tuple[int, str]]]:
    names = ("sold", "invoiced", "paid", "outstanding", "unbilled")
    return {name: [(one.minor, one.currency) for one in getattr(line, name)] for name in names}


def test_an_open_deal_is_not_sold_and_a_void_invoice_is_not_invoiced() -> None:
    deals = [
        {"status": "won", "value_minor": 100_00, "value_currency": "EUR"},
        {"status": "open", "value_minor": 900_00, "value_currency": "EUR"},
        {"status": "won", "value_minor": 5_000, "value_currency": "JPY"},
    ]
    invoices = [invoice("1", "approved", 60_00, paid_minor=20_00), invoice("2", "void", 500_00), invoice("3", "draft", 10_00)]
    assert totals(money_line(deals, [], invoices, [])) == {
        "sold": [(100_00, "EUR"), (5_000, "JPY")],
        "invoiced": [(70_00, "EUR")],
        "paid": [(20_00, "EUR")],
        "outstanding": [(40_00, "EUR")],
        "unbilled": [],
    }


def test_a_credit_note_takes_off_what_it_credits() -> None:
    invoices = [invoice("1", "approved", 60_00), invoice("2", "approved", 15_00, kind="credit")]
    found = totals(money_line([], [], invoices, []))
    assert (found["invoiced"], found["outstanding"]) == ([(45_00, "EUR")], [(45_00, "EUR")])


def test_a_paid_invoice_that_does_not_say_how_much_was_paid_in_full() -> None:
    found = totals(money_line([], [], [invoice("1", "paid", 60_00)], []))
    assert (found["paid"], found["outstanding"]) == ([(60_00, "EUR")], [(0, "EUR")])


def test_a_due_charge_on_no_living_invoice_is_unbilled() -> None:
    due = {"due_at": "now", "amount_minor": 10_00, "amount_currency": "EUR"}
    charges = [{**due, "id": "billed"}, {**due, "id": "voided"}, {**due, "id": "free"}, {**due, "id": "later", "due_at": None}]
    lines = [{"charge": "billed", "live": True}, {"charge": "voided", "live": False}]
    assert totals(money_line([], charges, [], lines))["unbilled"] == [(20_00, "EUR")]


def test_what_has_no_total_yet_counts_for_nothing() -> None:
    assert totals(money_line([], [], [invoice("1", "draft", None, total_currency=None)], []))["invoiced"] == []


def a_client(story: Story) -> str:
    story.see("hubspot", won_deal())
    return str(story.rows(tables.client)[0]["id"])


def insert(story: Story, table: Any, *rows: dict[str, Any]) -> None:
    with story.engine.begin() as conn:
        conn.execute(table.insert(), list(rows))


def test_a_client_shows_the_last_three_open_tickets_and_how_many_there_are(story: Story) -> None:
    client = a_client(story)
    tickets = [{"id": f"tic_{n}", "client": client, "number": str(n), "status": "open", "fields": {}} for n in range(5)]
    insert(story, tables.ticket, *tickets, {"id": "tic_9", "client": client, "number": "9", "status": "solved", "fields": {}})
    page = story.ask(client_page, client)
    assert [one.number for one in page.tickets] == ["4", "3", "2"]
    assert page.open_tickets == 5


def test_a_client_owes_what_is_invoiced_and_not_paid_but_no_draft_that_is_only_reserved(story: Story) -> None:
    client = a_client(story)
    insert(
        story,
        tables.invoice,
        {**invoice("inv_1", "approved", 60_00, paid_minor=10_00), "client": client, "fields": {}},
        {**invoice("inv_2", "paid", 70_00, paid_minor=70_00), "client": client, "fields": {}},
        {**invoice("inv_3", "drafting", 80_00), "client": client, "fields": {}},
    )
    page = story.ask(client_page, client)
    assert [one.id for one in page.invoices] == ["inv_1", "inv_3"]
    assert [(one.minor, one.text) for one in page.outstanding] == [(50_00, "50.00 EUR")]


def test_contacts_show_their_roles_once(story: Story) -> None:
    client = a_client(story)
    engagement = story.rows(tables.engagement)[0]["id"]
    insert(
        story,
        tables.contact,
        {"id": "con_1", "client": client, "name": "Ada Quill", "email": "ada@orchard.example", "fields": {}},
    )
    roles = [{"contact": "con_1", "engagement": one, "role": role} for one, role in ((engagement, "primary"), (None, "billing"))]
    insert(story, tables.role, *roles)
    (contact,) = story.ask(client_page, client).contacts
    assert (contact.name, contact.roles) == ("Ada Quill", ("billing", "primary"))


def test_clients_are_listed_by_standing(story: Story) -> None:
    client = a_client(story)
    assert [one.id for one in story.ask(list_clients, Asked(), standing="client").items] == [client]
    assert story.ask(list_clients, Asked(), standing="former").items == ()


def test_the_timeline_tells_events_effects_and_findings_with_the_way_to_each_tool(story: Story) -> None:
    story.switch("won-deal-starts-delivery")
    (prepared,) = story.see("hubspot", won_deal())
    story.answer(prepared, Done(record_id="5001", url="https://app.asana.example/0/5001"))
    copy = {"id": "fin_1", "kind": "double", "subject_kind": "asana.project", "subject": "con_asana/5001", "about": "copy"}
    facts = {"detail": "a copy was found", "facts": {"url": "https://app.asana.example/0/5002"}, "at": story.clock.now()}
    insert(story, tables.finding, {**copy, **facts})
    page = story.ask(engagement_page, story.rows(tables.engagement)[0]["id"])
    told = {(one.what, one.kind): one for one in page.timeline}
    assert told["event", "deal.won"].address == "https://app.hubspot.example/deal/9001"
    assert told["event", "deal.won"].tool == "hubspot"
    assert told["effect", "project.create_project"].state == "done"
    assert told["effect", "crm.add_note"].detail is not None
    assert told["finding", "double"].address == "https://app.asana.example/0/5002"
    assert sorted(one.kind for one in page.links) == ["asana.project", "hubspot.deal"]
