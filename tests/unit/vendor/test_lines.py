"""HTTP as we speak it, against servers that speak it well, oddly, and not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lifecyclehub.vendor import lines
from lifecyclehub.vendor.lines import Answered, LineFault, Lines, Place, written
from tests.support.reach import read_request
from tests.unit.vendor.test_wire import self_made

pytestmark = pytest.mark.anyio
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Server:
    """Answers each request with the next of some bytes; None hangs up. `lines`: how many were opened."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.lines, self.seen = list(answers), 0, list[tuple[str, dict[str, str], bytes]]()
        self.place = Place("127.0.0.1", 0, tls=False)
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines += 1
        try:
            while self.answers:
                self.seen.append(await read_request(reader))
                self.asked.set()
                if (answer := self.answers.pop(0)) is None:
                    break
                writer.write(answer)
                await writer.drain()
            if not self.answers:
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.left.set()
            writer.close()


@asynccontextmanager
async def serving(server: Server, tls: ssl.SSLContext | None = None) -> AsyncIterator[Callable[..., asyncio.Task[Answered]]]:
    """Serve, and give what asks it something over lines of ours."""
    started = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
    server.place = Place("127.0.0.1", started.sockets[0].getsockname()[1], tls=tls is not None)

    async def resolve(host: str, port: int) -> list[str]:
        return [host]

    trusting = ssl.create_default_context(cafile=None)
    if tls is not None:
        trusting.check_hostname = False
        trusting.verify_mode = ssl.CERT_NONE
    kept = Lines(resolve, lambda: trusting, 8, 2)

    def ask(
        *, most: int = 100, quiet_s: float | None = None, method: str = "GET", content: bytes | None = None
    ) -> asyncio.Task[Answered]:
        request = written(method, "/deals?q=1", server.place, {"accept": "application/json"}, content)
        asked = kept.ask(server.place, request, most=most, connect_s=5, quiet_s=quiet_s, leave=lambda: None)
        return asyncio.ensure_future(asked)

    async with started:
        try:
            async with asyncio.timeout(8):
                yield ask
        finally:
            await kept.aclose()


async def test_a_line_serves_one_request_after_the_other() -> None:
    server = Server(OK, OK, OK)
    async with serving(server) as ask:
        answers = [await ask() for _ in range(3)]
    assert answers == [(200, {"content-length": "2"}, b"{}")] * 3
    assert server.lines == 1


async def test_a_request_says_where_it_goes_and_how_long_it_is() -> None:
    server = Server(OK, OK, OK)
    async with serving(server) as ask:
        await ask()
        await ask(method="POST", content="{é}".encode())
        await ask(method="DELETE")
    named = f"127.0.0.1:{server.place.port}"
    assert [(first, headers.get("content-length"), body) for first, headers, body in server.seen] == [
        ("GET /deals?q=1 HTTP/1.1", None, b""),
        ("POST /deals?q=1 HTTP/1.1", "4", "{é}".encode()),
        ("DELETE /deals?q=1 HTTP/1.1", "0", b""),
    ]
    assert {headers["host"] for _, headers, _ in server.seen} == {named}


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (Place("api.example", 443, tls=True), "api.example"),
        (Place("api.example", 80, tls=False), "api.example"),
        (Place("api.example", 443, tls=False), "api.example:443"),
        (Place("2001:db8::1", 8443, tls=True), "[2001:db8::1]:8443"),
    ],
)
def test_a_place_is_named_as_servers_know_it(place: Place, named: str) -> None:
    assert b"host: " + named.encode() + b"\r\n" in written("GET", "/", place, {}, None)


@pytest.mark.parametrize("headers", [{"authorization": "canary\r\nx: y"}, {"a\nb": "c"}, {"a": "\x00"}])
def test_no_header_ends_its_line(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="nothing was sent") as caught:
        written("GET", "/", Place("api.example", 443, tls=True), headers, None)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"{}"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK, b"{}"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\nX-Late: 1\r\n\r\n", b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
    ],
    ids=["continue", "hints", "chunks", "no content", "empty"],
)
async def test_an_answer_is_read_however_it_is_framed(answer: bytes, body: bytes) -> None:
    server = Server(answer, OK)
    async with serving(server) as ask:
        first = await ask()
        assert (first.status in (200, 204), first.body) == (True, body)
        assert not {"link", "x-late"} & first.headers.keys()
        assert (await ask()).body == b"{}"
    assert server.lines == 1


async def test_an_answer_of_no_stated_length_ends_with_its_line() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n{")
        await writer.drain()
        writer.write(b"}")
        writer.close()

    server = Server()
    server.talk = talk  # type: ignore[method-assign]
    async with serving(server) as ask:
        assert (await ask()).body == b"{}"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        OK + b"and more",
    ],
    ids=["close", "old", "two answers", "rest"],
)
async def test_what_is_to_be_closed_or_says_more_than_was_asked_is_not_asked_again(answer: bytes) -> None:
    server = Server(answer, OK)
    async with serving(server) as ask:
        assert [(await ask()).body, (await ask()).body] == [b"{}", b"{}"]
    assert server.lines == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "hung up without an answer"),
        (b"SSH-2.0-hello\r\n\r\n", "answered with something that is no HTTP"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "answered with something that is no HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "answered with something that is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "answered with a head that does not end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, "answered with status 200 and more than 100 bytes"),
    ],
    ids=["nothing", "ssh", "upgrade", "two lengths", "long head", "long body"],
)
async def test_what_is_no_answer_is_said_in_words_and_ends_the_line(answer: bytes | None, said: str) -> None:
    server = Server(answer, OK)
    async with serving(server) as ask:
        with pytest.raises(LineFault) as caught:
            await ask()
        assert str(caught.value) == said
        assert (await ask()).body == b"{}"
    assert server.lines == 2


async def test_an_answer_broken_off_is_none() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        await writer.drain()
        writer.close()

    server = Server()
    server.talk = talk  # type: ignore[method-assign]
    async with serving(server) as ask:
        with pytest.raises(LineFault, match="broke its answer off"):
            await ask()


async def test_a_server_that_falls_silent_is_left() -> None:
    server = Server(b"HTTP/1.1 200 OK\r\n")
    async with serving(server) as ask:
        with pytest.raises(LineFault, match="sent nothing for too long"):
            await ask(quiet_s=0.1)


async def test_who_finds_no_line_free_waits_for_its_turn() -> None:
    server = Server(*[OK] * 6)
    async with serving(server) as ask:
        answers = await asyncio.gather(*(ask() for _ in range(6)))
    assert {answer.body for answer in answers} == {b"{}"}
    assert server.lines == 2


async def test_a_line_that_was_not_used_for_long_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "KEPT_S", 0.05)
    server = Server(OK, OK)
    async with serving(server) as ask:
        await ask()
        await server.left.wait()
        assert (await ask()).body == b"{}"
    assert server.lines == 2


async def test_a_request_given_up_leaves_its_place_to_the_next() -> None:
    server = Server(b"", OK, OK)
    async with serving(server) as ask:
        first = ask()
        await server.asked.wait()
        first.cancel()
        await server.left.wait()
        assert (await ask()).body == b"{}"
    assert server.lines == 2


async def test_a_name_is_looked_up_once_for_all_who_ask_together() -> None:
    asked = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.sleep(0)
        return ["127.0.0.1"]

    server = Server(*[OK] * 4)
    async with serving(server):
        kept = Lines(resolve, ssl.create_default_context, 8, 4)
        place = server.place._replace(host="tool.internal")
        request = written("GET", "/", place, {}, None)
        asking = [kept.ask(place, request, most=9, connect_s=5, quiet_s=None, leave=lambda: None) for _ in range(3)]
        await asyncio.gather(*asking)
        await kept.aclose()
    assert asked == ["tool.internal"]


async def test_what_is_said_over_tls_arrives(tmp_path: Path) -> None:
    server = Server(OK, OK)
    async with serving(server, self_made(tmp_path)) as ask:
        assert [(await ask()).body, (await ask()).body] == [b"{}", b"{}"]
    assert server.lines == 1
