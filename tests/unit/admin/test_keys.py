"""The key is changed while a hub works with it: nothing becomes unreadable, and each step can be done again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from lifecyclehub.admin.hosts import host_fingerprint
from lifecyclehub.admin.keys import READ_WITHIN_S, drop_old_keys, rotate_keys, seal_anew
from lifecyclehub.errors import ConfigurationError
from lifecyclehub.ports import SystemClock
from lifecyclehub.store import tables as t
from lifecyclehub.store.leases import Beat, LetGo, beat, let_go
from lifecyclehub.vault import Vault
from tests.support.story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """A home with some secrets."""
    told = Story(tmp_path)
    for number in range(3):
        keep(told, Vault.open(told.settings.home, {}), f"sec_{number}")
    yield told
    told.close()


def keep(story: Story, vault: Vault, row: str) -> None:
    values = {"id": row, "owner_kind": "endpoint", "owner": "end_asana", "field": "signing"}
    with story.engine.begin() as conn:
        sealed = vault.seal("secret", row, "signing", f"canary of {row}")
        conn.execute(insert(t.secret).values(**values, sealed=sealed, valid_from=story.clock.now()))


def opened(story: Story, vault: Vault) -> list[str]:
    with story.engine.connect().execution_options(write=False) as conn:
        rows = conn.execute(select(t.secret.c.id, t.secret.c.sealed).order_by(t.secret.c.id)).all()
    return [vault.unseal("secret", row.id, "signing", row.sealed).get_secret_value() for row in rows]


def test_a_hub_that_has_the_old_key_reads_what_the_new_one_sealed(story: Story) -> None:
    running = Vault.open(story.settings.home, {})
    assert rotate_keys(story.settings) == 3
    assert opened(story, running) == [f"canary of sec_{number}" for number in range(3)]
    assert (story.settings.home / "key").stat().st_mode & 0o777 == 0o600


def test_a_rotation_that_was_cut_off_goes_on_with_the_same_new_key(story: Story) -> None:
    rotate_keys(story.settings)
    first = (story.settings.home / "key").read_text("ascii")
    assert rotate_keys(story.settings) == 0
    assert (story.settings.home / "key").read_text("ascii") == first


def test_what_a_late_hub_sealed_with_the_old_key_is_sealed_anew_before_that_is_dropped(story: Story) -> None:
    late = Vault.open(story.settings.home, {})
    rotate_keys(story.settings)
    keep(story, late, "sec_9")
    later = SystemClock().now() + timedelta(seconds=READ_WITHIN_S + 1)
    assert drop_old_keys(story.settings, later) == 1
    alone = Vault.open(story.settings.home, {})
    assert alone.count == 1
    assert opened(story, alone)[-1] == "canary of sec_9"


def test_the_old_key_is_not_dropped_before_every_hub_can_have_read_the_new_one(story: Story) -> None:
    rotate_keys(story.settings)
    with pytest.raises(ConfigurationError, match="may still seal with the old key"):
        drop_old_keys(story.settings, SystemClock().now())


def test_a_secret_that_was_replaced_meanwhile_stays_as_it_is(story: Story) -> None:
    new = Vault([*("B" * 43 + "=",), *Vault.open(story.settings.home, {}).keys], where="test")
    assert seal_anew(story.engine, new) == 3
    assert seal_anew(story.engine, new) == 0


def test_no_key_is_made_while_hubs_of_other_homes_run_that_could_not_read_it(tmp_path: Path, postgres_url: str) -> None:
    told = Story(tmp_path, postgres_url)
    before, now = (told.settings.home / "key").read_text("ascii"), SystemClock().now()
    try:
        with told.engine.begin() as conn:
            beat(conn, [Beat("hub_here", host_fingerprint(told.settings), now, alone=False)])
            beat(conn, [Beat("hub_there", "another home", now, alone=False)])
        with pytest.raises(ConfigurationError, match="1 hub of another home") as caught:
            rotate_keys(told.settings)
        assert "Stop" in caught.value.mend
        assert (told.settings.home / "key").read_text("ascii") == before
        with told.engine.begin() as conn:
            let_go(conn, [LetGo("hub_there", "another home", now)])
        rotate_keys(told.settings)
        assert (told.settings.home / "key").read_text("ascii").split()[1:] == before.split()
    finally:
        told.close()
