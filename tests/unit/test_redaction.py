"""What tells a person is found by its keyed hash, however it is written, and nothing else is touched."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from lifecyclehub.redaction import ERASED, NOBODY, Erased, record_mark, value_marks, whole_mark, words_of

KEY = b"a key of this test"
ADA = Erased(
    1,
    KEY,
    {
        *value_marks(KEY, emails=["Ada.King@Acme.example"], phones=["+43 (1) 234-56 78"], names=["Ada King-Noël"]),
        whole_mark(KEY, words_of("Countess")),
        record_mark(KEY, "con_crm", "crm.contact", "17"),
    },
)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("ada.king@acme.example", None),
        ("  ADA.KING@acme.example ", None),
        ("Ada King-Noël writes from <ada.king@acme.example>.", f"{ERASED} writes from <{ERASED}>."),
        ("Write to ada.king@acme.example.", f"Write to {ERASED}."),
        ("KING NOËL, ADA", "KING NOËL, ADA"),  # two words before the one: as no list writes it
        ("Noël, Ada King", ERASED),
        ("Website for ada  king noe\u0308l", "Website for ada  king noe\u0308l"),
        ("Website for ada  king noël!", f"Website for {ERASED}!"),
        ("Call 0043 1 2345678 today", f"Call {ERASED} today"),
        ("the countess", f"the {ERASED}"),
        ("/contacts?email=ada.king%40acme.example", f"/contacts?email={ERASED}"),
        ('{"name": "Ada King No\\u00ebl', f'{{"name": "{ERASED}'),
        ("Ada Smith", "Ada Smith"),
        ("ada.king@acme.example.org", "ada.king@acme.example.org"),
        ("other@acme.example", "other@acme.example"),
        ("order 4312345678901", "order 4312345678901"),
    ],
)
def test_a_text_loses_their_values_and_nothing_else(said: str, left: str | None) -> None:
    assert ADA.text(said) == left


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"first": "Ada", "last": "King"}, {"first": ERASED, "last": ERASED}),
        ({"first": "Ada", "mail": "ada.king@acme.example"}, {"first": ERASED, "mail": None}),
        ({"first": "Ada", "mail": "ada@else.example"}, {"first": "Ada", "mail": "ada@else.example"}),
        ({"amount": Decimal("12.50"), "id": 4312345678, "on": True}, {"amount": Decimal("12.50"), "id": 4312345678, "on": True}),
        ([["ada.king@acme.example"], {"ada.king@acme.example": 1}], [[None], {ERASED: 1}]),
    ],
)
def test_a_document_loses_them_with_what_stands_beside_them_of_their_name(value: Any, left: Any) -> None:
    assert ADA.value(value) == left


def test_a_body_without_them_stays_byte_for_byte() -> None:
    body = b'{ "b": 1.50,  "a": "Ada Smith" }'
    assert ADA.body(body) is body
    assert ADA.body(b"not json: ada.king@acme.example") == f"not json: {ERASED}".encode()


def test_what_stands_beside_the_id_of_their_record_is_about_them() -> None:
    body = b'[{"objectId": 17, "value": "Vienna"}, {"objectId": 18, "value": "Vienna"}]'
    assert ADA.body(body, {"17"}) == b'[{"objectId":17,"value":"[erased]"},{"objectId":18,"value":"Vienna"}]'


def test_only_their_own_records_are_theirs() -> None:
    assert ADA.is_record("con_crm", "crm.contact", "17")
    assert not ADA.is_record("con_crm", "crm.company", "17")
    assert not ADA.is_record("con_desk", "crm.contact", "17")
    assert not NOBODY.is_record("con_crm", "crm.contact", "17")


def test_another_key_tells_nothing() -> None:
    other = Erased(1, b"another key", value_marks(KEY, emails=["ada.king@acme.example"]))
    assert other.text("ada.king@acme.example") == "ada.king@acme.example"


def test_a_part_of_a_name_alone_is_not_held_for_them() -> None:
    assert ADA.held(names=["Ada Smith"]) == []
    assert ADA.held(names=["Ada King-Noël"]) != []
