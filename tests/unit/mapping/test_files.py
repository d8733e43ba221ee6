"""Mapping files: defaults and overrides are merged entry by entry, and everything wrong is found when they are loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lifecyclehub.errors import MappingError
from lifecyclehub.mapping import MappingSet, load_mappings, read_folder
from lifecyclehub.messages import Document

DEAL = """
format = 1
record = "oak.deal"
[fields]
"deal.title"          = { from = "properties.name", required = true }
"deal.status"         = { from = "properties.stage", lookup = "status", required = true }
"deal.won_at"         = { from = "won", convert = "instant" }
"deal.value.amount"   = { from = "properties.amount", convert = "decimal" }
"deal.value.currency" = { from = "properties.currency || account.currency", required = true }
"deal.owner.email"    = { from = "owner.mail" }
"deal.starts_on"      = { from = "properties.start" }
"deal.scope"          = { from = "properties.scope" }
"deal.custom.region"  = { from = "properties.region", convert = ["strip", "lower"] }
"deal.purpose"        = { default = "new" }
[lookup.status]
new = "open"
yes = "won"
"""
BILL = """
format = 1
action = "create_bill"
[body]
"Contact.ContactID" = { from = "customer", required = true, help = "Link the contact first." }
"Date"              = { from = "issued_on", required = true }
"DueDate"           = { from = "due_on" }
"Note"              = { from = "note", keep_null = true }
"Custom.a\\\\.b"      = { from = "account.id" }
[body."Lines"]
each = "lines"
[body."Lines".fields]
"Text"   = { from = "description" }
"Amount" = { from = "amount", convert = "major" }
"Code"   = { from = "settings.code" }
"""


class Amount(BaseModel):
    minor: int
    currency: str
    decimal: Decimal


class Row(BaseModel):
    description: str
    amount: Amount


class Bill(BaseModel):
    customer: str | None = None
    issued_on: date
    due_on: date | None = None
    note: str | None = None
    lines: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Kind:
    id: str
    fills: str | None


@dataclass(frozen=True)
class Act:
    name: str
    input: type[BaseModel]


@dataclass(frozen=True)
class Setting:
    name: str


def shout(value: Any) -> str:
    return str(value).upper() + "!"


@dataclass(frozen=True)
class About:
    id: str = "oak"
    kinds: tuple[Kind, ...] = (Kind("oak.deal", "deal"), Kind("oak.firm", "client"))
    actions: tuple[Act, ...] = (Act("create_bill", Bill),)
    settings: tuple[Setting, ...] = (Setting("code"),)
    converters: tuple[tuple[str, Any], ...] = (("shout", shout), ("broken", lambda value: 1 / 0))


ACCOUNT = {"id": "acc-1", "name": "Oak", "currency": "EUR", "timezone": "Europe/Berlin"}


def load(defaults: dict[str, str], overrides: dict[str, str] | None = None) -> MappingSet:
    return load_mappings(defaults, overrides or {}, About())


def document(**properties: Any) -> Document:
    shared = {"name": "Site", "stage": "yes", "amount": "1250.50", "start": "2026-02-01"}
    data = {"properties": {**shared, **properties}, "won": 1767225600000, "owner": {"mail": "Ada@Acme.example"}}
    return Document(kind="oak.deal", id="7", url="https://oak.example/7", data=data)


def mapped(files: MappingSet, doc: Document) -> dict[str, Any]:
    mapping = files.inbound("oak.deal")
    assert mapping
    return mapping.map(doc, ACCOUNT).values


def test_a_document_becomes_canonical_values() -> None:
    assert mapped(load({"deal.toml": DEAL}), document(region=" North ")) == {
        "deal.title": "Site",
        "deal.status": "won",
        "deal.won_at": datetime(2026, 1, 1, tzinfo=UTC),
        "deal.value.amount": 125050,
        "deal.value.currency": "EUR",
        "deal.owner.email": "ada@acme.example",
        "deal.starts_on": date(2026, 2, 1),
        "deal.scope": None,
        "deal.custom.region": "north",
        "deal.purpose": "new",
    }


def test_an_amount_counts_the_decimals_of_its_currency() -> None:
    files = load({"deal.toml": DEAL})
    assert mapped(files, document(amount="1250", currency="JPY"))["deal.value.amount"] == 1250
    assert mapped(files, document(amount=Decimal("1.234"), currency="BHD"))["deal.value.amount"] == 1234


def test_an_emptied_field_is_seen_as_none() -> None:
    assert mapped(load({"deal.toml": DEAL}), document(scope="", amount=""))["deal.value.amount"] is None


def test_every_value_tells_where_it_came_from() -> None:
    mapping = load({"deal.toml": DEAL}).inbound("oak.deal")
    assert mapping
    origin = mapping.map(document(), ACCOUNT).origins["deal.status"]
    assert (origin.file, origin.expression, origin.raw) == ("mappings/oak/deal.toml (default)", "properties.stage", "yes")
    assert origin.steps == ("lookup status",)
    assert mapping.paths["deal.value.currency"] == ("properties.currency",)


def test_fields_that_the_hub_owns_are_marked() -> None:
    text = 'format = 1\nrecord = "oak.firm"\n[fields]\n"client.name" = { from = "name" }\n'
    text += '"client.standing" = { from = "stage", authority = "hub" }\n'
    mapping = load({"firm.toml": text}).inbound("oak.firm")
    assert mapping
    assert mapping.hub_owned == {"client.standing"}
    assert mapping.thing == "client"


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"amount": "1.234,56"}, "deal.value.amount: '1.234,56' is no decimal number such as 1234.56"),
        ({"amount": "NaN"}, "deal.value.amount: 'NaN' is no decimal number"),
        ({"amount": "1.005"}, "finer than the smallest unit of EUR"),
        ({"amount": "99999999999999999999"}, "out of range"),
        ({"currency": "Euro"}, "deal.value.currency: 'Euro' is no ISO 4217 currency code"),
        (
            {"stage": "presented"},
            "deal.status: 'presented' is not in the lookup status. Add a line under [lookup.status]: presented",
        ),
        ({"stage": "in talks"}, '"in talks" = "open" or "won" or "lost"'),
        ({"stage": ["yes"]}, "no single value to look up"),
        ({"name": ""}, "deal.title is required, but properties.name found nothing."),
        ({"name": {"a": 1}}, "deal.title: {'a': 1} is no text"),
        ({"start": "01.02.2026"}, "deal.starts_on: '01.02.2026' is no date"),
    ],
)
def test_a_value_that_cannot_be_mapped_says_what_where_and_how_to_mend(properties: dict[str, Any], said: str) -> None:
    with pytest.raises(MappingError) as caught:
        mapped(load({"deal.toml": DEAL}), document(**properties))
    assert said in str(caught.value)
    assert str(caught.value).startswith("mappings/oak/deal.toml")


def test_a_value_missing_from_a_lookup_is_named_with_the_tools_own_label() -> None:
    mapping = load({"deal.toml": DEAL}).inbound("oak.deal")
    assert mapping
    with pytest.raises(MappingError, match=r"'s9' \(Contract sent\) is not in the lookup status"):
        mapping.map(document(stage="s9"), ACCOUNT, {"status": {"s9": "Contract sent"}})


def test_a_converter_of_a_plugin_can_be_used_and_its_crash_is_wrapped() -> None:
    files = load({"deal.toml": DEAL.replace('from = "properties.scope"', 'from = "properties.scope", convert = "shout"')})
    assert mapped(files, document(scope="big"))["deal.scope"] == "BIG!"
    files = load({"deal.toml": DEAL.replace('from = "properties.scope"', 'from = "properties.scope", convert = "broken"')})
    with pytest.raises(MappingError, match=r"deal.scope: 'big' division by zero"):
        mapped(files, document(scope="big"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("deal.title", "deal.titel", "there is no field deal.titel. Did you mean deal.title?"),
        ("deal.title", "client.name", "client.name is no field of deal"),
        ('convert = "instant"', 'convert = "instand"', "there is no converter 'instand'. Did you mean instant?"),
        ('lookup = "status"', 'lookup = "stati"', "there is no lookup 'stati'. Did you mean status?"),
        ("required = true", "requierd = true", "an entry has no key 'requierd'. Did you mean required?"),
        ("required = true", 'required = "yes"', "required is 'yes'. It must be true or false."),
        ('from = "properties.name"', 'from = "properties..name"', "is not a JMESPath expression"),
        ("account.currency", "account.curency", "there is no account.curency here. Did you mean currency?"),
        ('yes = "won"', 'yes = "gewonnen"', "[lookup.status] yes = 'gewonnen'. It must be one of: open, won, lost."),
        ('yes = "won"', 'yes = "won"\nyes = "lost"', "is not TOML"),
        ('yes = "won"', "yes = won", "at line"),
        ("format = 1", "format = 2", "has format 2. Write format = 1"),
        ("[fields]", "[felds]", "a mapping file has no key 'felds'. Did you mean fields?"),
        ('"deal.scope" ', "deal.scope ", "Put the whole path in quotes"),
        ('record = "oak.deal"', 'record = "oak.deel"', "no kind of record 'oak.deel'. Did you mean oak.deal?"),
        ('default = "new"', 'default = "newest"', "deal.purpose: 'newest' is none of new, change"),
        ('{ default = "new" }', "{ required = true }", "neither from nor default"),
        ('{ default = "new" }', '"new"', "Write it as an entry"),
        ('"deal.value.currency"', '"deal.custom.currency"', "deal.value.amount has no deal.value.currency beside it"),
        ('required = true }\n"deal.status"', 'authority = "crm" }\n"deal.status"', 'It can only be "hub"'),
    ],
)
def test_everything_wrong_in_a_file_is_found_when_it_is_loaded(old: str, new: str, said: str) -> None:
    assert old in DEAL
    with pytest.raises(MappingError) as caught:
        load({"deal.toml": DEAL.replace(old, new, 1)})
    assert said in str(caught.value)
    assert "mappings/oak/deal.toml" in str(caught.value)


def test_an_override_replaces_single_entries_and_lookup_lines() -> None:
    override = """
    format = 1
    [fields]
    "deal.title" = { from = "properties.name", convert = "upper" }
    "deal.scope" = false
    [lookup.status]
    presented = "open"
    yes = "lost"
    """
    files = load({"deal.toml": DEAL}, {"deal.toml": override})
    values = mapped(files, document(stage="presented", name="site"))
    assert values["deal.title"] == "SITE"
    assert values["deal.status"] == "open"
    assert "deal.scope" not in values
    shown = {(line.section, line.path): line.file for line in files.show()}
    assert shown["oak.deal", "deal.title"] == "mappings/oak/deal.toml"
    assert shown["oak.deal", "deal.status"] == "mappings/oak/deal.toml (default)"
    assert shown["oak.deal lookup status", "presented"] == "mappings/oak/deal.toml"
    assert shown["oak.deal lookup status", "new"] == "mappings/oak/deal.toml (default)"
    assert mapped(files, document(stage="yes"))["deal.status"] == "lost"


@pytest.mark.parametrize("override", ['[fields]\n"deal.scop" = false', "[lookup.status]\nyess = false"])
def test_removing_what_is_not_there_is_a_typo(override: str) -> None:
    with pytest.raises(MappingError, match=r"= false removes nothing. Did you mean"):
        load({"deal.toml": DEAL}, {"deal.toml": "format = 1\n" + override})


def test_the_version_follows_the_content_and_nothing_else() -> None:
    plain = load({"deal.toml": DEAL})
    assert load({"deal.toml": "# a comment\n" + DEAL}).version == plain.version
    assert load({"deal.toml": DEAL.replace('yes = "won"', 'yes = "lost"')}).version != plain.version
    assert load({"deal.toml": DEAL}, {"deal.toml": "format = 1"}).version == plain.version


def test_two_files_for_one_record_are_refused() -> None:
    with pytest.raises(MappingError, match=r"maps oak.deal, as mappings/oak/a.toml \(default\) does"):
        load({"a.toml": DEAL, "b.toml": DEAL})


# --- outbound -----------------------------------------------------------------------------------------------------


def bill(**values: Any) -> Bill:
    row = Row(description="Work", amount=Amount(minor=1250, currency="EUR", decimal=Decimal("12.50")))
    return Bill(**{"customer": "c-1", "issued_on": date(2026, 1, 31), "lines": (row,), **values})


def test_a_canonical_input_becomes_the_vendors_body() -> None:
    mapping = load({"bill.toml": BILL}).outbound("create_bill")
    assert mapping
    assert mapping.body(bill(), {"code": "200"}, ACCOUNT) == {
        "Contact": {"ContactID": "c-1"},
        "Date": "2026-01-31",
        "Note": None,
        "Lines": [{"Text": "Work", "Amount": Decimal("12.50"), "Code": "200"}],
        "Custom": {"a.b": "acc-1"},
    }


def test_a_required_part_of_a_body_that_is_missing_says_how_to_mend() -> None:
    mapping = load({"bill.toml": BILL}, {"bill.toml": "format = 1"}).outbound("create_bill")
    assert mapping
    with pytest.raises(MappingError) as caught:
        mapping.body(bill(customer=None), {}, ACCOUNT)
    said = "mappings/oak/bill.toml (default): Contact.ContactID is required, but customer found nothing. Link the contact first."
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('from = "customer"', 'from = "custommer"', "there is no custommer here."),
        ("settings.code", "settings.kode", "there is no settings.kode here."),
        ('from = "description"', 'from = "descripton"', "Did you mean description?"),
        ('"create_bill"', '"create_bil"', "no action 'create_bil'. Did you mean create_bill?"),
        ('"Date"  ', '"Contact"', "Contact.ContactID lies inside Contact"),
        ('each = "lines"\n', "", "a list has each and fields"),
        ("[body]", "[fields]", "has a table [fields]"),
    ],
)
def test_everything_wrong_in_an_outbound_file_is_found_when_it_is_loaded(old: str, new: str, said: str) -> None:
    assert old in BILL
    with pytest.raises(MappingError) as caught:
        load({"bill.toml": BILL.replace(old, new, 1)})
    assert said in str(caught.value)


def test_a_folder_is_read_by_file_name(tmp_path: Path) -> None:
    (tmp_path / "deal.toml").write_text(DEAL, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no", encoding="utf-8")
    (tmp_path / ".hidden.toml").write_text("no", encoding="utf-8")
    assert read_folder(tmp_path) == {"deal.toml": DEAL}
    assert read_folder(tmp_path / "none") == {}
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(MappingError, match=r"bad.toml: byte 0 is not UTF-8"):
        read_folder(tmp_path)


def test_mapping_a_deal_costs_well_under_two_hundred_microseconds() -> None:
    mapping = load({"deal.toml": DEAL}).inbound("oak.deal")
    assert mapping
    doc, best = document(), 1.0
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            mapping.map(doc, ACCOUNT)
        best = min(best, (time.perf_counter() - started) / 50)
    assert best < 0.0002
