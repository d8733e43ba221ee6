"""A vendor's words are kept for people: short, in one line, and such that every database takes them."""

from __future__ import annotations

import pytest

from lifecyclehub.connector import said_by, usual_judgement, wished_by
from lifecyclehub.dispatch.perform import _text
from lifecyclehub.messages import Document, Done, Refused, Reply, Retry, Unknown


@pytest.mark.parametrize("body", [b"no\x00 such\x00\n\tfield\x00", b'"no\x00 such field"', b"\x00no such field"])
def test_nul_is_taken_out_of_what_a_vendor_said(body: bytes) -> None:
    said = said_by(Reply(status=400, body=body))

    assert "\x00" not in said
    assert said.strip('"') == "no such field"


def test_a_refusal_can_be_stored_whatever_the_vendor_wrote() -> None:
    outcome = usual_judgement(Reply(status=422, body=b"name\x00: \xff taken"), creates=True)

    assert isinstance(outcome, Refused)
    assert "\x00" not in outcome.reason
    assert outcome.reason.startswith("status 422: name:")


def test_a_kept_reply_holds_no_nul_and_no_more_than_fits() -> None:
    kept = _text(Reply(status=500, body=b"\x00oh\x00" + b"x" * 10_000))

    assert kept is not None
    assert kept.startswith("ohx")
    assert len(kept) < 2_001


def test_what_is_long_is_cut() -> None:
    assert len(said_by(Reply(status=500, body=b"x" * 10_000), 60)) == 60


@pytest.mark.parametrize("status", [301, 302, 303, 307])
def test_a_redirect_after_a_create_proves_neither_that_it_was_done_nor_that_it_was_not(status: int) -> None:
    reply = Reply(status=status, headers={"location": "https://elsewhere.example/made/7"})
    assert isinstance(usual_judgement(reply, creates=True), Unknown)  # 303 even says: done, look there
    assert isinstance(usual_judgement(reply, creates=False), Refused)  # which a person sees at once: the address is wrong


NOW = "Wed, 04 Mar 2026 09:30:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wished"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "Wed, 04 Mar 2026 09:32:30 GMT", "date": NOW}, 150.0),
        ({"retry-after": "Wed, 04 Mar 2026 09:00:00 GMT", "date": NOW}, 0.0),
        ({"retry-after": "Wed, 04 Mar 2026 09:32:30 GMT"}, None),
        ({"retry-after": "soon", "date": NOW}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "9" * 400}, None),
        ({}, None),
    ],
)
def test_a_vendors_wish_is_read_in_both_forms(headers: dict[str, str], wished: float | None) -> None:
    assert wished_by(Reply(status=503, headers=headers)) == wished


def test_what_may_be_sent_again_waits_as_long_as_the_vendor_wishes() -> None:
    busy = Reply(status=503, headers={"retry-after": "90"}, body=b"busy")
    assert usual_judgement(busy, creates=False) == Retry("status 503: busy", 90.0)


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", " https://x.example", "https://x/\x1b[2J", "//x", ""],
)
def test_only_what_opens_a_page_is_taken_for_a_records_address(address: str) -> None:
    assert Document(kind="asana.project", id="1", url=address).url is None
    assert Done(record_id="1", url=address).url is None


def test_an_address_of_a_page_is_kept() -> None:
    for address in ("https://app.asana.com/0/1", "http://127.0.0.1:8470/a?b=c#d"):
        assert Document(kind="asana.project", id="1", url=address).url == Done(url=address).url == address
