"""Signatures: every way of signing that vendors use, and nothing that was touched on the way."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.connector import Signature, Timestamp
from lifecyclehub.signatures import Secret, Verdict, sign, verify

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = b"canary-signing-key"
URL = "https://hub.example.org/hooks/end_1?x=1"
BODY = '[{"eventId":1,"name":"Brücke",  "b":1,"a":2}]\r\n'.encode()
SECONDS, MILLIS, ISO = "1772442000", "1772442000000", "2026-03-02T09:00:00Z"


def mac(message: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(KEY, message, algorithm).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@dataclass(frozen=True)
class Way:
    """One vendor's way of signing: how we declare it, and the headers that this vendor would send, made here by hand."""

    signature: Signature
    headers: dict[str, str]
    signs_body: bool = True
    signs_url: bool = False
    stamp: str | None = None
    secret: bytes = KEY
    hook_id: str = ""


def stamped(header: str, unit: str, *, member: str | None = None) -> Timestamp:
    return Timestamp(header=header, unit=unit, member=member)  # type: ignore[arg-type]


WAYS = {
    "base64 of the body (Xero, QuickBooks)": Way(
        Signature(header="X-Xero-Signature", encoding="base64"), {"x-xero-signature": b64(mac(BODY))}
    ),
    "hex of the body (Asana, ClickUp)": Way(Signature(header="X-Hook-Signature"), {"x-hook-signature": mac(BODY).hex()}),
    "sha256= and hex (Jira, Redmine)": Way(
        Signature(header="X-Hub-Signature", prefix="sha256="), {"x-hub-signature": "sha256=" + mac(BODY).hex()}
    ),
    "sha1= and hex (Zammad, OpenProject, Intercom)": Way(
        Signature(header="X-Hub-Signature", algorithm="hmac-sha1", prefix="sha1="),
        {"x-hub-signature": "sha1=" + mac(BODY, "sha1").hex()},
    ),
    "time and body, base64 (Zendesk)": Way(
        Signature(
            header="X-Zendesk-Webhook-Signature",
            encoding="base64",
            parts=("timestamp", "body"),
            timestamp=stamped("X-Zendesk-Webhook-Signature-Timestamp", "iso"),
        ),
        {
            "x-zendesk-webhook-signature": b64(mac(ISO.encode() + BODY)),
            "x-zendesk-webhook-signature-timestamp": ISO,
        },
        stamp=ISO,
    ),
    "time, colon and body, hex (Twenty)": Way(
        Signature(
            header="X-Twenty-Webhook-Signature",
            parts=("timestamp", b":", "body"),
            timestamp=stamped("X-Twenty-Webhook-Timestamp", "ms"),
        ),
        {"x-twenty-webhook-signature": mac(MILLIS.encode() + b":" + BODY).hex(), "x-twenty-webhook-timestamp": MILLIS},
        stamp=MILLIS,
    ),
    "time, dot and body in one header (Stripe)": Way(
        Signature(
            header="Stripe-Signature",
            member="v1",
            parts=("timestamp", b".", "body"),
            timestamp=stamped("Stripe-Signature", "s", member="t"),
        ),
        {"stripe-signature": f"t={SECONDS},v1={mac(SECONDS.encode() + b'.' + BODY).hex()}"},
    ),
    "method, address, body and time, base64 (HubSpot)": Way(
        Signature(
            header="X-HubSpot-Signature-v3",
            encoding="base64",
            parts=("method", "url", "body", "timestamp"),
            timestamp=stamped("X-HubSpot-Request-Timestamp", "ms"),
        ),
        {
            "x-hubspot-signature-v3": b64(mac(b"POST" + URL.encode() + BODY + MILLIS.encode())),
            "x-hubspot-request-timestamp": MILLIS,
        },
        signs_url=True,
        stamp=MILLIS,
    ),
    "id, colon and hex, base64 (EspoCRM)": Way(
        Signature(header="Signature", encoding="id-hex-base64"),
        {"signature": b64(b"hook-7:" + mac(BODY).hex().encode())},
        hook_id="hook-7",
    ),
    "user and password (Pipedrive, Freshdesk)": Way(
        Signature(header="Authorization", algorithm="basic"),
        {"authorization": "Basic " + b64(b"hub:canary-password")},
        signs_body=False,
        secret=b"hub:canary-password",
    ),
    "a secret header (Invoice Ninja)": Way(
        Signature(header="X-Hub-Token", algorithm="token"),
        {"x-hub-token": "canary-token"},
        signs_body=False,
        secret=b"canary-token",
    ),
}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


def check(
    way: Way,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = BODY,
    url: str = URL,
    method: str = "POST",
    now: datetime = NOW,
    secrets: list[Secret] | None = None,
) -> Verdict:
    secrets = [Secret("sec_1", way.secret)] if secrets is None else secrets
    headers = way.headers if headers is None else headers
    return verify(way.signature, secrets, method=method, url=url, headers=headers, body=body, now=now)


@ways
def test_what_the_vendor_signed_is_accepted(way: Way) -> None:
    assert check(way) == Verdict(ok=True, secret_id="sec_1")


@ways
def test_we_can_sign_as_the_vendor_does(way: Way) -> None:
    value = way.headers[way.signature.header.lower()]
    stamp = way.stamp or SECONDS
    made = sign(way.signature, way.secret, method="POST", url=URL, body=BODY, stamp=stamp, hook_id=way.hook_id)
    assert value == (f"t={SECONDS},v1={made}" if way.signature.member else made)


@ways
def test_any_flipped_byte_of_the_body_is_refused(way: Way) -> None:
    for position in range(len(BODY)):
        for flip in (0x01, 0x20, 0x80):
            touched = bytes([*BODY[:position], BODY[position] ^ flip, *BODY[position + 1 :]])
            assert check(way, body=touched).ok is not way.signs_body


@ways
def test_a_body_cut_or_prolonged_is_refused(way: Way) -> None:
    if way.signs_body:
        for touched in (b"", BODY[:-1], BODY[1:], BODY + b" ", BODY.strip(), BODY.replace(b"  ", b" ")):
            assert check(way, body=touched).reason == "bad-signature"


@ways
def test_any_flipped_byte_of_a_header_is_refused(way: Way) -> None:
    for name, value in way.headers.items():
        raw = base64.b64decode(value) if way.hook_id else value.encode()
        start = raw.find(b":") + 1 if way.hook_id else 0  # the hook's id is not signed
        for position in range(start, len(raw)):
            for flip in (0x01, 0x02, 0x40, 0x80):
                touched = bytes([*raw[:position], raw[position] ^ flip, *raw[position + 1 :]])
                text = b64(touched) if way.hook_id else touched.decode("latin-1")
                verdict = check(way, headers=way.headers | {name: text})
                assert not verdict.ok, (name, position, text)


@ways
def test_a_missing_or_empty_signature_is_refused(way: Way) -> None:
    name = way.signature.header.lower()
    assert check(way, headers={}).reason == "unsigned"
    for empty in ("", " ", "=", "sha256=", "t=,v1=", "Basic ", "v1="):
        assert not check(way, headers=way.headers | {name: empty}).ok


@ways
def test_another_secret_is_refused_and_no_secret_accepts_nothing(way: Way) -> None:
    assert not check(way, secrets=[Secret("sec_2", way.secret + b"x")]).ok
    assert check(way, secrets=[]).reason == "no-secret"
    assert check(way, secrets=[Secret("sec_2", b"")]).reason == "no-secret"


@ways
def test_while_secrets_change_each_one_counts_and_is_named(way: Way) -> None:
    both = [Secret("old", b"another"), Secret("new", way.secret), Secret("empty", b"")]
    assert check(way, secrets=both).secret_id == "new"


def test_a_signature_made_with_the_empty_secret_is_refused() -> None:
    plain = Signature(header="X-Sig")
    forged = {"x-sig": hmac.new(b"", BODY, hashlib.sha256).hexdigest()}
    verdict = verify(plain, [Secret("s", b"")], method="POST", url=URL, headers=forged, body=BODY, now=NOW)
    assert not verdict.ok


@pytest.mark.parametrize("way", [way for way in WAYS.values() if way.signature.timestamp], ids=lambda way: way.signature.header)
class TestTheSignedTime:
    @pytest.mark.parametrize("off", [-300, -299, 0, 299, 300])
    def test_five_minutes_either_way_are_allowed(self, way: Way, off: int) -> None:
        assert check(way, now=NOW + timedelta(seconds=off)).ok

    @pytest.mark.parametrize(("off", "said"), [(301, "301 s old"), (-301, "301 s in the future"), (86400, "86400 s old")])
    def test_a_stale_delivery_is_refused_and_says_how_far_off_it_is(self, way: Way, off: int, said: str) -> None:
        verdict = check(way, now=NOW + timedelta(seconds=off))
        assert verdict.reason == "stale"
        assert said in verdict.detail

    @pytest.mark.parametrize(
        "stamp", ["", "soon", "-1", "1e9", "\uff19\uff19", "1" * 30, "0x10", "NaN", "999999999999999", "\ud800", " "]
    )
    def test_a_time_that_is_none_is_refused(self, way: Way, stamp: str) -> None:
        assert way.signature.timestamp is not None
        name = way.signature.timestamp.header.lower()
        text = f"t={stamp},v1=00" if way.signature.timestamp.member else stamp
        verdict = check(way, headers=way.headers | {name: text})
        assert not verdict.ok
        assert verdict.reason in ("no-timestamp", "stale")

    def test_a_missing_time_is_refused(self, way: Way) -> None:
        assert way.signature.timestamp is not None
        left = {k: v for k, v in way.headers.items() if k != way.signature.timestamp.header.lower()}
        assert not check(way, headers=left).ok


def test_the_public_address_and_the_method_count_where_they_are_signed() -> None:
    for way in WAYS.values():
        assert check(way, url=URL.replace("https", "http")).ok is not way.signs_url
        assert check(way, method="GET").ok is not way.signs_url


def test_one_header_may_carry_several_signatures_while_a_secret_changes() -> None:
    way = WAYS["time, dot and body in one header (Stripe)"]
    good = way.headers["stripe-signature"]
    assert check(way, headers={"stripe-signature": good.replace("v1=", f"v1={'0' * 64}, v0=11,v1=")}).ok
    assert not check(way, headers={"stripe-signature": good.replace("v1=", "v0=")}).ok


def test_published_vectors_hold() -> None:
    """RFC 4231, test case 2, and RFC 2202, test case 2."""
    said = b"what do ya want for nothing?"
    sha256 = sign(Signature(header="x"), b"Jefe", method="", url="", body=said)
    sha1 = sign(Signature(header="x", algorithm="hmac-sha1"), b"Jefe", method="", url="", body=said)
    assert sha256 == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sha1 == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"


@given(st.sampled_from(list(WAYS.values())), st.binary(max_size=200), st.binary(min_size=1, max_size=64))
def test_what_is_signed_verifies_and_under_another_key_does_not(way: Way, body: bytes, key: bytes) -> None:
    if way.signature.algorithm in ("token", "basic"):
        key = b64(key).encode()  # such secrets are text
    stamp = way.stamp or SECONDS
    made = sign(way.signature, key, method="POST", url=URL, body=body, stamp=stamp, hook_id="h:1")
    name = way.signature.header.lower()
    headers = way.headers | {name: f"t={SECONDS},v1={made}" if way.signature.member else made}
    assert check(way, headers=headers, body=body, secrets=[Secret("s", key)]).ok
    assert not check(way, headers=headers, body=body, secrets=[Secret("s", key + b"=")]).ok


@given(st.sampled_from(list(WAYS.values())), st.text(max_size=120), st.text(max_size=60), st.binary(max_size=60))
def test_a_strangers_headers_are_refused_without_an_error(way: Way, value: str, stamp: str, body: bytes) -> None:
    headers = dict.fromkeys(way.headers, stamp) | {way.signature.header.lower(): value}
    assert not check(way, headers=headers, body=body).ok


def test_a_strangers_odd_characters_are_refused_without_an_error() -> None:
    for way in WAYS.values():
        for odd in ("\ud800", "é", "\x00", "=" * 1000, "v1=\udfff,t=1", "A", "===="):
            assert not check(way, headers=dict.fromkeys(way.headers, odd)).ok


def test_a_signing_secret_does_not_show_itself() -> None:
    verdicts = [check(way, secrets=[Secret("s", b"canary-other")]) for way in WAYS.values()]
    assert "canary" not in f"{Secret('s', KEY)!r} {Secret('s', KEY)} {verdicts}"
