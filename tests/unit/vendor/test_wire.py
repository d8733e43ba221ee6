"""The production transport against real sockets: what left, what was cut, where it connected."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lifecyclehub.connector import Host
from lifecyclehub.errors import TryAgain
from lifecyclehub.messages import Request
from lifecyclehub.ports import SystemClock
from lifecyclehub.vendor.client import Client
from lifecyclehub.vendor.exchange import on_the_wire
from lifecyclehub.vendor.guard import AddressRefused, SsrfGuard
from lifecyclehub.vendor.target import Target
from lifecyclehub.vendor.transport import Limits, aiohttp_transport
from tests.support.reach import BEARER, about, client, raw_server, read_request

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
POST = Request(method="POST", path="/deals", json={"a": 1})


def here(base: str, *, timeout_s: float = 5.0, size_cap: int = 1_000_000) -> Target:
    return Target.of(
        connection="con_1",
        about=about(size_cap=size_cap),
        auth=BEARER,
        grant="gra_1",
        settings={"base_url.api": base},
        self_hosted=True,
        timeout_s=timeout_s,
    )


@pytest.fixture
async def sender() -> AsyncIterator[Client]:
    made = client(clock=SystemClock())
    yield made
    await made.aclose()


async def test_a_request_arrives_as_it_was_rendered(sender: Client) -> None:
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    async with raw_server(talk) as base:
        request = Request(method="GET", path="/a%2Fb", query=(("q", "a+b c&d=é/%"), ("page[size]", "5")))
        reply = await sender.send(here(base + "/base"), request)
    first, headers, _ = seen[0]
    path, _, query = first.split()[1].partition("?")
    assert path == "/base/a%2Fb"
    assert parse_qsl(query) == list(request.query)
    assert headers["authorization"] == "Bearer canary-token-1"
    assert headers["user-agent"].startswith("lifecyclehub/")
    assert reply.json() == {}


async def test_a_refused_connection_sent_nothing(sender: Client) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told: list[int] = []
    with pytest.raises(TryAgain) as caught:
        await sender.send(here(f"http://127.0.0.1:{port}"), POST, on_sent=lambda: told.append(1))
    assert (caught.value.sent, told) == (False, [])
    assert caught.value.reason == "127.0.0.1 refused the connection"


async def test_a_certificate_that_is_not_valid_is_called_so_and_nothing_is_sent(sender: Client, tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=self_made(tmp_path))
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(TryAgain) as caught:
            await sender.send(here(f"https://127.0.0.1:{port}"), POST)
    assert caught.value.sent is False
    assert caught.value.reason == "127.0.0.1 has a certificate that is not valid (self-signed certificate)"


def self_made(folder: Path) -> ssl.SSLContext:
    """Make a certificate that nobody vouches for."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = SystemClock().now()
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(pem + key.private_bytes(*plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


async def test_a_server_that_hangs_up_after_reading_may_have_done_it(sender: Client) -> None:
    told: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with raw_server(talk) as base:
        with pytest.raises(TryAgain) as caught:
            await sender.send(here(base), POST, on_sent=lambda: told.append(1))
    assert (caught.value.sent, told) == (True, [1])
    assert caught.value.reason == "127.0.0.1 hung up without an answer"


async def test_a_reply_broken_off_in_its_body_may_have_been_done(sender: Client) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await writer.drain()

    async with raw_server(talk) as base:
        with pytest.raises(TryAgain) as caught:
            await sender.send(here(base), POST)
    assert caught.value.sent is True


async def test_what_is_no_http_is_a_passing_fault(sender: Client) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"SSH-2.0-hello\r\n\r\n")
        await writer.drain()

    async with raw_server(talk) as base:
        with pytest.raises(TryAgain) as caught:
            await sender.send(here(base), POST)
    assert caught.value.sent is True


@pytest.mark.parametrize("method", ["PUT", "DELETE", "GET", "POST"])
async def test_nothing_is_sent_twice_when_a_kept_connection_breaks(sender: Client, method: str) -> None:
    arrived: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first, _, _ = await read_request(reader)
            arrived.append(first.split()[0])
            if arrived.count(method) > 1:
                return  # hang up on the second one
            writer.write(OK)
            await writer.drain()

    request = Request(method=method, path="/x")  # type: ignore[arg-type]
    async with raw_server(talk) as base:
        await sender.send(here(base), request)
        with pytest.raises(TryAgain) as caught:
            await sender.send(here(base), request)
    assert (arrived, caught.value.sent) == ([method, method], True)


async def test_a_dripping_reply_is_cut_at_the_total_deadline(sender: Client) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(talk) as base:
        with pytest.raises(TryAgain, match="did not answer within") as caught:
            await sender.send(here(base, timeout_s=1.0), POST)
    assert caught.value.sent is True


async def test_waiting_for_a_free_connection_until_the_deadline_sent_nothing() -> None:
    made = client(clock=SystemClock(), limits=Limits(connections=1, per_host=1))
    busy = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        busy.set()
        await reader.read()

    async with raw_server(talk) as base:
        first = asyncio.ensure_future(made.send(here(base, timeout_s=1.0), POST))
        await busy.wait()
        with pytest.raises(TryAgain) as caught:
            await made.send(here(base, timeout_s=0.2), POST)
        assert caught.value.sent is False
        with pytest.raises(TryAgain) as lost:
            await first
        assert lost.value.sent is True
    await made.aclose()


async def test_tools_that_do_not_answer_leave_connections_for_the_others(sender: Client) -> None:
    asked, all_taken = 0, asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await read_request(reader)
        asked += 1
        if asked == 2 * Limits().per_host:
            all_taken.set()
        await reader.read()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()

    async with raw_server(silent) as one, raw_server(silent) as two, raw_server(talk) as third:
        waiting = [asyncio.ensure_future(sender.send(here(base, timeout_s=9), POST)) for base in (one, two) for _ in range(80)]
        async with asyncio.timeout(6):
            await all_taken.wait()
        async with asyncio.timeout(3):
            assert (await sender.send(here(third), POST)).status == 200
        for call in waiting:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_small_reply_that_unpacks_to_a_huge_one_is_cut_off(sender: Client) -> None:
    packed = gzip.compress(bytes(20_000_000))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)
        await writer.drain()

    async with raw_server(talk) as base:
        with pytest.raises(TryAgain, match="more than 1000000 bytes"):
            await sender.send(here(base), POST)


async def test_cookies_are_not_kept_by_the_transport(sender: Client) -> None:
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, _ = await read_request(reader)
            seen.append(headers.get("cookie"))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()

    async with raw_server(talk) as base:
        named = base.replace("127.0.0.1", "localhost")
        await sender.send(here(named), POST)
        await sender.send(here(named), POST)
    assert seen == [None, None]


async def test_a_public_name_that_leads_home_is_refused_without_connecting() -> None:
    connected: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(1)

    async def rebinding(host: str, port: int) -> list[str]:
        return ["93.184.215.14", "127.0.0.1"]

    async with raw_server(talk) as base:
        guard = SsrfGuard(private=False, lookup=rebinding)
        made = client(clock=SystemClock(), transport=lambda _private: aiohttp_transport(Limits(), guard))
        port = base.rpartition(":")[2]
        tool = Target.of(
            connection="con_1",
            about=about(hosts=(Host(name="api", base=f"https://api.papaya.example:{port}"),)),
            auth=BEARER,
            grant="gra_1",
            settings={},
        )
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1.*not public"):
            await made.send(tool, POST)
        await made.aclose()
    assert connected == []


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    asked: list[str] = []
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    async def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with raw_server(talk) as base:
        guard = SsrfGuard(private=True, lookup=lookup)
        made = client(clock=SystemClock(), transport=lambda _private: aiohttp_transport(Limits(), guard))
        port = base.rpartition(":")[2]
        await made.send(here(f"http://tool.internal:{port}"), POST)
        await made.aclose()
    assert asked == ["tool.internal"]
    assert seen[0][1]["host"] == f"tool.internal:{port}"


async def test_a_name_without_address_sent_nothing() -> None:
    async def nobody(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    guard = SsrfGuard(private=False, lookup=nobody)
    made = client(clock=SystemClock(), transport=lambda _private: aiohttp_transport(Limits(), guard))
    with pytest.raises(TryAgain) as caught:
        await made.send(Target.of(connection="c", about=about(), auth=BEARER, grant="gra_1", settings={}), POST)
    assert (caught.value.sent, caught.value.reason) == (False, "api.papaya.example has no address")
    await made.aclose()


async def test_the_environment_cannot_send_requests_through_a_proxy(sender: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await writer.drain()

    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with raw_server(talk) as base:
        assert (await sender.send(here(base), POST)).status == 200


async def test_headers_that_come_twice_are_one_list(sender: Client) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Part: a\r\nx-part: b\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()

    async with raw_server(talk) as base:
        reply = await sender.send(here(base), POST)
    assert reply.headers["x-part"] == "a, b"


def test_a_rendered_request_shows_neither_credentials_nor_content() -> None:
    shown = repr(on_the_wire("https://api.example", POST, {"authorization": "Bearer canary-token-1"}))
    assert "api.example" in shown
    assert "canary" not in shown
    assert "authorization" not in shown
