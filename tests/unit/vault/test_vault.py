"""Secrets at rest."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from lifecyclehub.vault import KEY_VARIABLE, Secret, Vault, VaultError

NEW, OLD = Fernet.generate_key().decode(), Fernet.generate_key().decode()
PLACE = ("grant", "gra_1", "refresh_token")


def vault(*keys: str) -> Vault:
    return Vault.open(Path("/nowhere"), {KEY_VARIABLE: ",".join(keys)})


@given(st.text(), st.text(), st.text(), st.text())
def test_what_is_sealed_can_be_unsealed_in_its_place(table: str, row: str, field: str, secret: str) -> None:
    try:
        token = vault(NEW).seal(table, row, field, secret)
    except UnicodeEncodeError:  # half of a surrogate pair is no text
        return
    assert vault(NEW).unseal(table, row, field, token).get_secret_value() == secret
    assert token.isascii()


@pytest.mark.parametrize("place", [("connection", *PLACE[1:]), ("grant", "gra_2", "refresh_token"), ("grant", "gra_1", "token")])
def test_a_sealed_secret_moved_to_another_place_is_refused(place: tuple[str, str, str]) -> None:
    token = vault(NEW).seal(*PLACE, "canary-1")
    with pytest.raises(VaultError, match="sealed for another place") as caught:
        vault(NEW).unseal(*place, token)
    assert "canary" not in str(caught.value)


def test_the_names_of_a_place_do_not_run_into_each_other() -> None:
    token = vault(NEW).seal("a", "b|c", "d", "canary-1")
    with pytest.raises(VaultError):
        vault(NEW).unseal("a|b", "c", "d", token)


def test_two_seals_of_one_secret_differ_and_do_not_show_it() -> None:
    tokens = {vault(NEW).seal(*PLACE, "canary-1") for _ in range(3)}
    assert len(tokens) == 3
    assert not any("canary" in token for token in tokens)


def test_a_wrong_key_says_what_and_how_to_mend_it() -> None:
    token = vault(OLD).seal(*PLACE, "canary-1")
    with pytest.raises(VaultError) as caught:
        vault(NEW).unseal(*PLACE, token)
    assert str(caught.value) == (
        "environment variable LIFECYCLEHUB_KEY: the secret in grant.refresh_token of gra_1 cannot be opened: the key is not the "
        "one it was sealed with, or the text is damaged Put the key it was sealed with back (as a further one in "
        "LIFECYCLEHUB_KEY, or in the key file), or enter the secret again."
    ).replace("damaged Put", "damaged. Put")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_text_is_refused(position: int, flip: int) -> None:
    token = bytearray(vault(NEW).seal(*PLACE, "canary-1").encode())
    position %= len(token)
    damaged = bytes([*token[:position], token[position] ^ flip, *token[position + 1 :]]).decode("latin-1")
    if damaged.rstrip("=") == token.decode().rstrip("="):
        return
    try:
        opened = vault(NEW).unseal(*PLACE, damaged)
    except VaultError:
        return
    assert opened.get_secret_value() == "canary-1"  # base64 has unused bits: the same bytes, written otherwise


def test_keys_are_changed_without_losing_anything() -> None:
    old = vault(OLD).seal(*PLACE, "canary-1")
    both = vault(NEW, OLD)
    assert both.unseal(*PLACE, old).get_secret_value() == "canary-1"
    wrapped = both.rotate(old)
    assert vault(NEW).unseal(*PLACE, wrapped).get_secret_value() == "canary-1"
    with pytest.raises(VaultError):
        vault(OLD).unseal(*PLACE, wrapped)
    with pytest.raises(VaultError, match="left as it is"):
        vault(NEW).rotate(old)


def test_the_first_key_seals() -> None:
    token = vault(NEW, OLD).seal(*PLACE, "canary-1")
    assert vault(NEW).unseal(*PLACE, token).get_secret_value() == "canary-1"


def test_a_key_file_is_made_for_its_owner_only(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        made = Vault.create(tmp_path / "home")
    finally:
        os.umask(umask)
    path = tmp_path / "home" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = made.seal(*PLACE, "canary-1")
    assert Vault.open(tmp_path / "home", {}).unseal(*PLACE, token).get_secret_value() == "canary-1"
    assert path.read_text().strip() not in repr(made)


def test_a_second_key_file_never_replaces_the_first(tmp_path: Path) -> None:
    Vault.create(tmp_path)
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(VaultError, match="exists already"):
        Vault.create(tmp_path)
    assert (tmp_path / "key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_key_file_that_others_may_use_is_refused_with_how_to_mend_it(tmp_path: Path, mode: int) -> None:
    Vault.create(tmp_path)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(VaultError, match=rf"mode {mode:04o}.*chmod 600 {tmp_path}/key"):
        Vault.open(tmp_path, {})


def test_a_linked_key_file_is_refused(tmp_path: Path) -> None:
    Vault.create(tmp_path / "a")
    (tmp_path / "key").symlink_to(tmp_path / "a" / "key")
    with pytest.raises(VaultError, match="no link"):
        Vault.open(tmp_path, {})


def test_without_any_key_the_message_says_where_one_may_be(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match=rf"{tmp_path}/key: there is no key.*{KEY_VARIABLE}.*lifecyclehub init"):
        Vault.open(tmp_path, {KEY_VARIABLE: " "})


@pytest.mark.parametrize(
    "keys", ["abc", f"{NEW},abc", "x" * 44, "é" * 44, f'"{NEW}"'], ids=["short", "second", "x", "é", "quoted"]
)
def test_a_malformed_key_is_refused_without_showing_it(keys: str) -> None:
    with pytest.raises(VaultError, match="is not a key") as caught:
        Vault.open(Path("/nowhere"), {KEY_VARIABLE: keys})
    assert NEW not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_only_separators_are_no_key() -> None:
    with pytest.raises(VaultError, match="there is no key"):
        Vault.open(Path("/nowhere"), {KEY_VARIABLE: ",,"})


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    Vault.create(tmp_path)
    token = vault(NEW).seal(*PLACE, "canary-1")
    assert Vault.open(tmp_path, {KEY_VARIABLE: NEW}).unseal(*PLACE, token).get_secret_value() == "canary-1"


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("canary-1")
    assert "canary" not in f"{secret} {secret!r} {[secret]} {secret!s:>40}"
    with pytest.raises(TypeError):
        json.dumps(secret)
    from lifecyclehub.jsonio import dumps

    with pytest.raises(TypeError):
        dumps({"a": secret})


def test_a_secret_object_is_sealed_like_its_text() -> None:
    token = vault(NEW).seal(*PLACE, Secret("canary-1"))
    assert vault(NEW).unseal(*PLACE, token).get_secret_value() == "canary-1"
