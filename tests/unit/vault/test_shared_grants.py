"""One grant for several processes: one renews at a time, and nobody overwrites what somebody else entered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from lifecyclehub.store.writer import Store
from lifecyclehub.vault import Vault
from lifecyclehub.vault.credentials import StoredGrants
from lifecyclehub.vendor.grants import Tokens
from tests.support.story import Story

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["sqlite", "postgres"])
def story(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Story]:
    """A home on each database."""
    told = Story(tmp_path, request.getfixturevalue("postgres_url") if request.param == "postgres" else None)
    yield told
    told.close()


def secret(text: str) -> Tokens:
    return Tokens(secrets={"refresh_token": SecretStr(text)})


async def test_one_process_renews_at_a_time_and_replaces_only_what_it_came_from(story: Story) -> None:
    store, vault = Store(story.engine), Vault.open(story.settings.home, {})
    one, two = (StoredGrants(store, vault, story.clock, name) for name in ("hub_1", "hub_2"))
    try:
        assert await one.save("gra_1", secret("first"))
        assert [await one.hold("gra_1"), await two.hold("gra_1")] == [True, False]
        assert await one.save("gra_1", secret("second"), secret("first"))
        assert not await two.save("gra_1", secret("late"), secret("first"))
        assert (await two.load("gra_1")).secrets["refresh_token"].get_secret_value() == "second"
        await two.let_go("gra_1")
        assert not await two.hold("gra_1")
        await one.let_go("gra_1")
        assert await two.hold("gra_1")
    finally:
        store.close()
