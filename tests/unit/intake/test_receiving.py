"""Steps 1 and 2: the checks stand in one order, and the first that fails answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lifecyclehub.connector import Door, Handshake, Signature
from lifecyclehub.errors import DeliveryRejected
from lifecyclehub.intake.directory import Directory, Entrance
from lifecyclehub.intake.keep import Arrival
from lifecyclehub.intake.receive import (
    KEPT_REFUSALS,
    LONGEST_KEY,
    MAX_BODY,
    MOST_CANDIDATES,
    NOTED_WITHIN_S,
    Answer,
    Incoming,
    Reception,
)
from lifecyclehub.signatures import Secret, sign
from lifecyclehub.store import tables as t
from lifecyclehub.store.writer import Store, StoreBusy
from lifecyclehub.vault import Vault
from tests.support.story import Story

pytestmark = pytest.mark.anyio

SIGNATURE = Signature(header="X-Signature")
DOOR = Door(name="door", signature=SIGNATURE, scope="connection", setup="api", handshake=Handshake(header="X-Secret"))
URL = "https://hub.example/hooks/end_zendesk"


class Porch:
    """A reception with one door, and what it offered to be worked on."""

    def __init__(self, story: Story, store: Store) -> None:
        self.story, self.store, self.rereads = story, store, 0
        self.offered: list[Arrival] = []
        self.entrance = Entrance("end_zendesk", "zendesk", DOOR, "con_zendesk", None, (Secret("sec_1", b"secret"),))
        self.fresh: Entrance | None = self.entrance
        self.reception = Reception(
            store=store,
            clock=story.clock,
            ids=story.ids,
            vault=Vault.open(story.settings.home, story.settings.env),
            directory=lambda: Directory({}, {self.entrance.id: self.entrance}),
            reread=self._reread,
            kept=self.offered.append,
        )

    async def _reread(self) -> Directory:
        self.rereads += 1
        return Directory({}, {self.fresh.id: self.fresh} if self.fresh else {})

    async def knock(
        self, body: bytes = b"{}", *, endpoint: str = "end_zendesk", secret: bytes = b"secret", **headers: str
    ) -> Answer:
        value = sign(SIGNATURE, secret, method="POST", url=URL, body=body)
        given = {"content-type": "application/json", "x-signature": value}
        given |= {name.replace("_", "-"): text for name, text in headers.items()}
        incoming = Incoming(endpoint=endpoint, method="POST", url=URL, headers={k: v for k, v in given.items() if v}, body=body)
        return await self.reception.receive(incoming)


@pytest.fixture
def porch(story: Story) -> Iterator[Porch]:
    store = Store(story.engine)
    yield Porch(story, store)
    store.close()


# Everything is wrong at once; what is cured from the left, one after the other, lets the next check speak.
ORDER: list[tuple[str, dict[str, Any], str]] = [
    ("endpoint", {"endpoint": "end_zendesk"}, "unknown-endpoint"),
    ("size", {"body": b"{}"}, "too-large"),
    ("encoding", {"content_encoding": "identity"}, "compressed"),
    ("handshake", {"x_secret": ""}, "not-registering"),
    ("media type", {"content_type": "application/json"}, "wrong-media-type"),
    ("signature", {"secret": b"secret"}, "bad-signature"),
]
ALL_WRONG: dict[str, Any] = {
    "endpoint": "end_nobody",
    "body": b"x" * (MAX_BODY + 1),
    "content_encoding": "gzip",
    "x_secret": "an-offered-secret",
    "content_type": "text/html",
    "secret": b"wrong",
}


@pytest.mark.parametrize("position", range(len(ORDER)), ids=[name for name, _, _ in ORDER])
async def test_the_checks_stand_in_one_order(porch: Porch, position: int) -> None:
    cured: dict[str, Any] = {}
    for _, cure, _ in ORDER[:position]:
        cured |= cure

    with pytest.raises(DeliveryRejected) as refused:
        await porch.knock(**(ALL_WRONG | cured))

    assert refused.value.reason == ORDER[position][2]
    assert porch.offered == []
    assert porch.story.rows(t.delivery) == []


async def test_what_passes_all_checks_is_kept_before_it_is_answered(porch: Porch) -> None:
    answer = await porch.knock(b'{"a": 1}')

    (row,) = porch.story.rows(t.delivery)
    assert (row["body"], row["state"], row["secret"]) == (b'{"a": 1}', "open", "sec_1")
    assert "x-signature" not in row["headers"], "a signature is not kept"
    assert answer.status == DOOR.answer
    assert [one.id for one in porch.offered] == [row["id"]]


async def test_what_cannot_be_kept_is_not_answered_with_2xx(porch: Porch, monkeypatch: pytest.MonkeyPatch) -> None:
    async def busy(*_: Any) -> Any:
        raise StoreBusy("the disk is full")

    monkeypatch.setattr(porch.store, "run", busy)
    with pytest.raises(StoreBusy):
        await porch.knock()
    assert porch.offered == []


async def test_a_secret_that_was_stored_a_moment_ago_counts(porch: Porch) -> None:
    porch.fresh = replace(porch.entrance, secrets=(*porch.entrance.secrets, Secret("sec_2", b"newer")))

    await porch.knock(secret=b"newer")

    assert porch.story.rows(t.delivery)[0]["secret"] == "sec_2"


async def test_an_endpoint_that_was_opened_a_moment_ago_counts(porch: Porch) -> None:
    porch.fresh = replace(porch.entrance, id="end_asana")

    await porch.knock(endpoint="end_asana")

    assert len(porch.offered) == 1


async def test_an_endpoint_that_was_closed_a_moment_ago_takes_no_forgery(porch: Porch) -> None:
    porch.fresh = None
    with pytest.raises(DeliveryRejected, match="bad-signature"):
        await porch.knock(secret=b"wrong")


async def test_a_handshake_is_answered_only_while_the_store_says_registering(porch: Porch) -> None:
    """What memory says is not enough: registering may be over."""
    now = porch.story.clock.now()
    porch.entrance = replace(porch.entrance, registering_until=now + timedelta(minutes=1))
    with pytest.raises(DeliveryRejected, match="not-registering"):
        await porch.knock(b"", x_secret="an-offered-secret")

    porch.fresh = porch.entrance
    answer = await porch.knock(b"", x_secret="an-offered-secret")
    assert answer == Answer(200, {"X-Secret": "an-offered-secret"})
    (candidate,) = [row for row in porch.story.rows(t.secret) if row["owner"] == "end_zendesk"]
    assert candidate["state"] == "candidate"
    assert "an-offered-secret" not in candidate["sealed"]
    assert porch.story.rows(t.delivery) == []


async def test_many_at_once_are_committed_together(porch: Porch) -> None:
    before = porch.store.counts.commits
    await asyncio.gather(*(porch.knock(b"%d" % n) for n in range(40)))

    assert len(porch.offered) == 40
    assert porch.store.counts.commits - before < 40
    assert porch.store.counts.fallbacks == 0


async def test_strangers_make_the_directory_read_anew_only_where_something_changed(porch: Porch) -> None:
    with porch.story.engine.begin() as conn:
        conn.execute(t.installation.update().values(configured=7))
    porch.reception._directory = lambda: Directory({}, {porch.entrance.id: porch.entrance}, 7)
    for _ in range(3):
        with pytest.raises(DeliveryRejected, match="unknown-endpoint"):
            await porch.knock(endpoint="end_nobody")
        with pytest.raises(DeliveryRejected, match="bad-signature"):
            await porch.knock(secret=b"wrong")
    assert porch.rereads == 0
    with porch.story.engine.begin() as conn:
        conn.execute(t.installation.update().values(configured=8))
    with pytest.raises(DeliveryRejected, match="unknown-endpoint"):
        await porch.knock(endpoint="end_nobody")
    assert porch.rereads == 1


async def test_a_crowd_of_strangers_shares_a_look(porch: Porch) -> None:
    answers = await asyncio.gather(*(porch.knock(endpoint="end_nobody") for _ in range(50)), return_exceptions=True)

    assert {str(one).partition(":")[0] for one in answers} == {"404 unknown-endpoint"}
    assert porch.rereads <= 2


async def test_whoever_comes_while_one_looks_gets_a_look_that_began_later(porch: Porch) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    reread = porch.reception._reread

    async def slowly() -> Directory:
        found = await reread()
        begun.set()
        await go_on.wait()
        return found

    porch.reception._reread = slowly
    first = asyncio.ensure_future(porch.knock(endpoint="end_asana"))
    await begun.wait()
    porch.fresh = replace(porch.entrance, id="end_asana")  # opened after the first look was made
    second = asyncio.ensure_future(porch.knock(endpoint="end_asana"))
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(DeliveryRejected, match="unknown-endpoint"):
        await first
    assert (await second).status == DOOR.answer


async def test_a_secret_serves_until_its_time_whatever_memory_holds(porch: Porch) -> None:
    over = porch.story.clock.now() + timedelta(minutes=1)
    porch.entrance = porch.fresh = replace(porch.entrance, secrets=(Secret("sec_1", b"secret", over),))
    await porch.knock()
    porch.story.clock.at += 61
    with pytest.raises(DeliveryRejected, match="no-secret"):
        await porch.knock(b"{} ")


async def test_only_a_few_handshakes_are_kept_while_one_is_waited_for(porch: Porch) -> None:
    porch.entrance = porch.fresh = replace(porch.entrance, registering_until=porch.story.clock.now() + timedelta(minutes=1))
    for number in range(MOST_CANDIDATES):
        assert (await porch.knock(b"", x_secret=f"offered-secret-{number}")).status == 200
    with pytest.raises(DeliveryRejected, match="too-many-handshakes"):
        await porch.knock(b"", x_secret="one-too-many")
    assert len([row for row in porch.story.rows(t.secret) if row["state"] == "candidate"]) == MOST_CANDIDATES


async def test_a_flood_of_refusals_keeps_no_more_facts_than_can_be_read(porch: Porch) -> None:
    for _ in range(3 * KEPT_REFUSALS):
        with pytest.raises(DeliveryRejected):
            await porch.knock(secret=b"wrong")
    first = [row["id"] for row in porch.story.rows(t.refusal)]
    assert len(first) == KEPT_REFUSALS
    porch.story.clock.at += NOTED_WITHIN_S + 1
    with pytest.raises(DeliveryRejected):
        await porch.knock(secret=b"wrong")
    assert [row["id"] for row in porch.story.rows(t.refusal)][:-1] == first[1:]


async def test_a_body_that_came_too_slowly_leaves_its_fact(porch: Porch) -> None:
    half = Incoming(endpoint="end_zendesk", method="POST", url=URL, headers={"content-length": "1000"}, body=b"half")
    await porch.reception.too_slow(half)
    await porch.reception.too_slow(replace(half, endpoint="end_nobody"))

    (fact,) = porch.story.rows(t.refusal)
    assert (fact["reason"], fact["size"], fact["header_names"]) == ("too-slow", 4, ["content-length"])


# --- the name that a vendor gives a delivery --------------------------------------------------------------------------


@pytest.fixture
async def named(tmp_path: Path, database_url: str) -> AsyncIterator[Porch]:
    """A door whose vendor names its deliveries, on each database."""
    story = Story(tmp_path, database_url)
    store = Store(story.engine)
    opened = Porch(story, store)
    opened.entrance = opened.fresh = replace(opened.entrance, door=replace(DOOR, delivery_key="X-Delivery"))
    yield opened
    store.close()
    story.close()


def long_key(seed: int) -> str:
    """Give several kilobytes that cannot be compressed."""
    return Random(seed).randbytes(4000).hex()


async def test_a_delivery_with_a_key_of_kilobytes_is_kept_once_like_any_other(named: Porch) -> None:
    for seed, body in ((1, b'{"a": 1}'), (1, b'{"a": 2}'), (2, b'{"a": 3}')):
        answer = await named.knock(body, x_delivery=long_key(seed))
        assert answer.status == DOOR.answer

    kept = named.story.rows(t.delivery)
    assert [row["body"] for row in kept] == [b'{"a": 1}', b'{"a": 3}']
    assert all(len(row["vendor_key"]) <= LONGEST_KEY for row in kept)


async def test_a_key_of_usual_length_is_kept_as_it_is(named: Porch) -> None:
    await named.knock(x_delivery="k" * LONGEST_KEY)
    assert named.story.rows(t.delivery)[0]["vendor_key"] == "k" * LONGEST_KEY


async def test_a_key_without_a_text_names_nothing(named: Porch) -> None:
    for body in (b'{"a": 1}', b'{"a": 2}'):
        await named.knock(body, x_delivery=" ")
    assert len(named.story.rows(t.delivery)) == 2
