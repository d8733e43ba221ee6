"""Too large, too slow, compressed, of another media type: what is wrong with the request before anybody reads it."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from lifecyclehub.intake.receive import MAX_BODY
from lifecyclehub.store import tables as t
from lifecyclehub.web import hooks, wire
from lifecyclehub.web.wire import BoundedHttp
from tests.support.bad_input import PUBLIC, Hall, a_deal, signed

pytestmark = pytest.mark.anyio


def deal_of_size(h: Hall, size: int) -> bytes:
    """A good delivery, made as large as wanted with what HubSpot might say besides."""
    body = h.deal_changed("1", propertyValue="")
    return body.replace(b'"propertyValue": ""', b'"propertyValue": "' + b"x" * (size - len(body)) + b'"')


async def test_a_body_of_exactly_one_mebibyte_is_taken(h: Hall) -> None:
    h.vendors.deals["1"] = a_deal("1")
    answer = await h.knock("hubspot", deal_of_size(h, MAX_BODY))
    await h.hub.settled()

    assert answer.is_success
    assert h.notices(h.delivery()["id"]) == [("hubspot.deal", "processed", None)]


async def test_what_a_proxy_adds_to_prove_itself_is_not_kept(h: Hall) -> None:
    h.vendors.deals["1"] = a_deal("1")
    names = [
        "authorization",
        "cookie",
        "x-api-key",
        "x-auth-token",
        "cf-access-jwt-assertion",
        "x-amzn-oidc-data",
        "x-proxy-secret",
    ]
    plain = {"x-request-id": "7", "x-forwarded-for": "192.0.2.7"}
    await h.knock("hubspot", h.deal_changed("1"), headers={**dict.fromkeys(names, "canary"), **plain})
    await h.hub.settled()

    kept = h.delivery()["headers"]
    assert "canary" not in str(kept)
    assert plain.items() <= kept.items()


@pytest.mark.parametrize("size", [MAX_BODY + 1, 3 * MAX_BODY])
async def test_one_byte_more_is_refused_and_says_how_much_is_taken(h: Hall, size: int) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock("hubspot", deal_of_size(h, size))

    assert answer.status_code == 413
    assert f"at most {MAX_BODY} are taken" in answer.json()["detail"]
    (refusal,) = h.refusals("hubspot")
    assert refusal["reason"] == "too-large"
    assert refusal["size"] <= size


async def test_a_large_body_without_a_length_is_refused_as_soon_as_it_is_too_large(h: Hall) -> None:
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while len(sent) < 1000:
            sent.append(1)
            yield b"x" * 65_536

    async with h.undisturbed("refusal"):
        answer = await h.http.post("/hooks/end_hubspot", content=endless(), headers={"content-type": "application/json"})

    assert answer.status_code == 413
    assert [row["reason"] for row in h.refusals("hubspot")] == ["too-large"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "x-unknown"])
async def test_a_compressed_body_is_refused_even_when_it_is_signed(h: Hall, encoding: str) -> None:
    body = gzip.compress(h.deal_changed("1"))
    async with h.undisturbed("refusal"):
        answer = await h.knock("hubspot", body, headers={"content-encoding": encoding})

    assert answer.status_code == 415
    assert answer.json()["detail"] == "a compressed body is not taken; send it as it is"
    assert [row["reason"] for row in h.refusals("hubspot")] == ["compressed"]


async def test_compressed_bytes_that_say_nothing_of_it_are_kept_and_parked(h: Hall) -> None:
    async with h.undisturbed("delivery"):
        answer = await h.knock("hubspot", gzip.compress(h.deal_changed("1")))

    assert answer.is_success, "it is signed"
    parked = [row for row in h.rows(t.delivery) if row["state"] == "parked"]
    assert len(parked) == 1
    assert parked[0]["reason"].startswith("not-utf-8: byte ")


@pytest.mark.parametrize(
    "media",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", "json"],
)
async def test_another_media_type_is_refused_and_told_which_is_taken(h: Hall, media: str | None) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock("hubspot", h.deal_changed("1"), headers={"content-type": media})

    assert answer.status_code == 415
    assert (
        answer.json()["detail"]
        == f"{media.partition(';')[0] if media else 'no content type'} is not taken; send application/json"
    )
    assert [row["reason"] for row in h.refusals("hubspot")] == ["wrong-media-type"]


@pytest.mark.parametrize("charset", ["utf-16", "iso-8859-1", "utf-7"])
async def test_another_charset_is_refused(h: Hall, charset: str) -> None:
    async with h.undisturbed("refusal"):
        answer = await h.knock("hubspot", h.deal_changed("1"), headers={"content-type": f"application/json; charset={charset}"})

    assert answer.status_code == 415
    assert "send UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    "media", ["application/json;charset=UTF-8", 'Application/JSON; charset="utf-8"', "application/json; v=1"]
)
async def test_the_right_media_type_may_be_written_in_any_way(h: Hall, media: str) -> None:
    h.vendors.deals["1"] = a_deal("1")

    answer = await h.knock("hubspot", h.deal_changed("1"), headers={"content-type": media})

    assert answer.is_success


# --- on the wire --------------------------------------------------------------------------------------------------------


class Wire:
    """A hub behind the server that `serve` uses, on a socket."""

    def __init__(self, port: int, hung_up: asyncio.Event) -> None:
        self.port, self.hung_up = port, hung_up

    async def talk(self, *pieces: bytes, pause: Any = None) -> bytes:
        """Send pieces and give all that is answered until the server hangs up or has said enough."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                if pause is not None:
                    await pause()
            return await asyncio.wait_for(reader.read(65_536), 10)
        except ConnectionError:
            return await _rest(reader)
        finally:
            writer.close()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(65_536), 10)
    except ConnectionError:
        return b""


class Announced(uvicorn.Server):
    """Says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@asynccontextmanager
async def on_the_wire(h: Hall) -> AsyncIterator[Wire]:
    hung_up = asyncio.Event()

    class Noted(BoundedHttp):
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            hung_up.set()

    config = uvicorn.Config(h.app, port=0, http=Noted, ws="none", lifespan="off", log_config=None, access_log=False)
    server = Announced(config)
    running = asyncio.ensure_future(server._serve())
    await asyncio.wait_for(server.listens.wait(), 10)
    try:
        yield Wire(server.servers[0].sockets[0].getsockname()[1], hung_up)
    finally:
        server.should_exit = True
        await running


def head(h: Hall, body: bytes, *framing: str) -> bytes:
    path = "/hooks/end_hubspot"
    lines = [f"POST {path} HTTP/1.1", "host: hub.northwind.example", "content-type: application/json", *framing]
    lines += [f"{name}: {value}" for name, value in signed("hubspot", PUBLIC + path, body, h.clock.now()).items()]
    return "\r\n".join([*lines, "", ""]).encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def test_a_chunked_delivery_is_taken(h: Hall) -> None:
    h.vendors.deals["1"] = a_deal("1")
    body = h.deal_changed("1")
    async with on_the_wire(h) as line:
        answer = await line.talk(head(h, body, "transfer-encoding: chunked"), chunk(body[:10]), chunk(body[10:]), b"0\r\n\r\n")
    await h.hub.settled()

    assert status(answer) in (200, 202, 204)
    assert [row["state"] for row in h.rows(t.notice, record_id="1")] == ["processed"]


async def test_an_endless_chunked_body_is_refused_while_it_still_comes(h: Hall) -> None:
    async with h.undisturbed("refusal"), on_the_wire(h) as line:
        pieces = [chunk(b"x" * 65_536)] * 17
        answer = await line.talk(head(h, b"", "transfer-encoding: chunked"), *pieces)

    assert status(answer) == 413
    assert [row["reason"] for row in h.refusals("hubspot")] == ["too-large"]


async def test_a_body_that_goes_on_after_the_answer_is_hung_up_on(h: Hall) -> None:
    async with h.undisturbed("refusal"), on_the_wire(h) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(head(h, b"", "transfer-encoding: chunked"))
        sent = 0
        with pytest.raises(ConnectionError):  # noqa: PT012 (which of the writes meets the closed door is not ours to say)
            while sent < 64 * MAX_BODY:
                writer.write(chunk(b"x" * 65_536))
                sent += 65_536
                await writer.drain()
                await asyncio.sleep(0)
        writer.close()
        del reader

    assert sent < 64 * MAX_BODY


async def test_a_stated_length_beyond_what_is_taken_is_refused(h: Hall) -> None:
    async with h.undisturbed("refusal"), on_the_wire(h) as line:
        answer = await line.talk(head(h, b"", f"content-length: {MAX_BODY + 2}"), b"x" * (MAX_BODY + 2))

    assert status(answer) == 413


async def test_a_body_that_comes_too_slowly_is_refused_and_said_so(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "READ_S", 0.05)
    async with h.undisturbed("refusal"), on_the_wire(h) as line:
        answer = await line.talk(head(h, b"", "content-length: 100"), b"[")

    assert status(answer) == 408
    assert b"did not arrive within 0.05 s" in answer


async def test_a_sender_that_hangs_up_in_the_middle_changes_nothing(h: Hall) -> None:
    async with h.undisturbed(), on_the_wire(h) as line:
        _, writer = await asyncio.open_connection("127.0.0.1", line.port)
        writer.write(head(h, b"", "content-length: 100") + b"[1,")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        await asyncio.wait_for(line.hung_up.wait(), 10)


async def test_endless_headers_are_refused(h: Hall) -> None:
    async with h.undisturbed(), on_the_wire(h) as line:
        lines = [f"x-more-{n}: {'y' * 1000}\r\n".encode() for n in range(wire.MAX_HEAD // 1000 + 2)]
        answer = await line.talk(head(h, b"")[:-2], *lines)

    assert status(answer) == 431
    assert b"at most 64 KiB are taken" in answer


@pytest.mark.parametrize("beginning", [b"POST /hooks/end_hubspot HTTP/1.1\r\nx-one: ", b"POST /hooks/"])
async def test_one_endless_header_or_address_is_refused(h: Hall, beginning: bytes) -> None:
    async with h.undisturbed(), on_the_wire(h) as line:
        answer = await line.talk(beginning, *[b"y" * 8192] * 9)

    assert status(answer) == 431


async def test_a_head_that_never_ends_is_refused_in_time(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_S", 0.05)
    async with h.undisturbed(), on_the_wire(h) as line:
        slow = await line.talk(b"POST /hooks/end_hubspot HTTP/1.1\r\n")
        silent = await line.talk()

    assert status(slow) == 408
    assert status(silent) == 408


async def test_a_patient_sender_may_keep_its_connection(h: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head of each request has its time anew, and its size."""
    monkeypatch.setattr(wire, "MAX_HEAD", 1500)
    async with on_the_wire(h) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        for _ in range(8):
            body = json.dumps([]).encode()
            writer.write(head(h, body, f"content-length: {len(body)}") + body)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert status(answer) in (200, 202, 204)
            length = [int(line.split(b":")[1]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length")]
            await reader.readexactly(length[0] if length else 0)
        writer.close()


@pytest.mark.parametrize(
    "bytes_",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET\r\n\r\n", b"POST /hooks/end_hubspot HTTP/9.9\r\n\r\n", b"\x00" * 64],
    ids=["tls", "half a line", "another version", "zeros"],
)
async def test_what_is_no_http_is_refused(h: Hall, bytes_: bytes) -> None:
    async with h.undisturbed(), on_the_wire(h) as line:
        answer = await line.talk(bytes_)

    assert status(answer) == 400


@pytest.mark.parametrize(
    "framing",
    [("content-length: 2", "transfer-encoding: chunked"), ("content-length: 2", "content-length: 3"), ("content-length: -1",)],
)
async def test_a_frame_that_can_be_read_in_two_ways_is_refused(h: Hall, framing: tuple[str, ...]) -> None:
    async with h.undisturbed(), on_the_wire(h) as line:
        answer = await line.talk(head(h, b"[]", *framing) + b"2\r\n[]\r\n0\r\n\r\n")

    assert status(answer) == 400
