"""The vault: seals secrets so that a copy of the database without the key tells nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from lifecyclehub.errors import ConfigurationError

Secret: TypeAlias = SecretStr
"""A secret in memory: neither `repr`, `str` nor JSON shows it; `get_secret_value()` gives it."""

KEY_VARIABLE: Final = "LIFECYCLEHUB_KEY"
_KEY_FILE: Final = "key"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_VERSION: Final = 1
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{43}=")


class VaultError(ConfigurationError):
    """The key is missing, wrong or badly kept, or a sealed secret is not what belongs there."""


class Vault:
    """Seals with the first key and unseals with any, so that keys can be changed while the hub runs."""

    def __init__(self, keys: Sequence[str], *, where: str) -> None:
        """`keys` are Fernet keys (32 bytes, URL-safe base64). Raises `VaultError` for none or a malformed one."""
        if not keys:
            raise VaultError("there is no key.", where=where, mend="Give at least one key.")
        self._where, self._file = where, None
        self._take(keys)

    _file: Path | None

    def _take(self, keys: Sequence[str]) -> None:
        single = [_fernet(key, number, self._where) for number, key in enumerate(keys, start=1)]
        self.keys, self._newest, self._fernet = list(keys), single[0], MultiFernet(single)

    @property
    def count(self) -> int:
        """How many keys there are; the first one seals."""
        return len(self.keys)

    def reread(self) -> None:
        """Read the key file again: its keys may have been changed. Keys of the environment stay as they are."""
        if self._file is not None:
            self._take(_split(_read_guarded(self._file)))

    def is_newest(self, token: str) -> bool:
        """Tell whether a secret is sealed with the first key."""
        try:
            self._newest.decrypt(token.encode())
        except (InvalidToken, UnicodeEncodeError):
            return False
        return True

    def __repr__(self) -> str:
        return f"Vault({self._where})"

    @classmethod
    def create(cls, home: Path) -> Vault:
        """Make a new key file, readable by its owner only, in the home folder. Raises `VaultError` if there is one."""
        path = home / _KEY_FILE
        home.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        except FileExistsError:
            raise VaultError(
                "the key file exists already.",
                where=str(path),
                mend="Keep it: secrets sealed with it can be read with no other key.",
            ) from None
        with os.fdopen(handle, "wb") as file:
            file.write(Fernet.generate_key() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return cls.open(home, {})

    @classmethod
    def open(cls, home: Path, env: Mapping[str, str]) -> Vault:
        """Open with the keys of the environment (comma-separated, the first seals), else of the home's key file.

        Raises `VaultError` when there is no key, it is malformed, or others may read its file.
        """
        given = env.get(KEY_VARIABLE, "")
        if given.strip():
            return cls(_split(given), where=f"environment variable {KEY_VARIABLE}")
        path = home / _KEY_FILE
        vault = cls(_split(_read_guarded(path)), where=str(path))
        vault._file = path
        return vault

    def seal(self, table: str, row: str, field: str, secret: Secret | str) -> str:
        """Seal a secret for one field of one row; only `unseal` with the same three names opens it."""
        plain = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
        return self._fernet.encrypt(msgspec.json.encode([_VERSION, table, row, field, plain])).decode()

    def unseal(self, table: str, row: str, field: str, token: str) -> Secret:
        """Open a sealed secret. Raises `VaultError` for a wrong key, a damaged text, or one moved from another place."""
        place = f"{table}.{field} of {row}"
        try:
            plain = self._opened(token)
        except (InvalidToken, UnicodeEncodeError):
            raise VaultError(
                f"the secret in {place} cannot be opened: the key is not the one it was sealed with, or the text is damaged.",
                where=self._where,
                mend=f"Put the key it was sealed with back (as a further one in {KEY_VARIABLE}, or in the key file), "
                "or enter the secret again.",
            ) from None
        version, *rest = msgspec.json.decode(plain, type=list[str | int])
        if version != _VERSION or rest[:3] != [table, row, field]:
            raise VaultError(
                f"the secret in {place} was sealed for another place.",
                where=self._where,
                mend="The database was edited or restored in parts. Enter the secret again.",
            )
        return Secret(str(rest[3]))

    def _opened(self, token: str) -> bytes:
        try:
            return self._fernet.decrypt(token.encode())
        except InvalidToken:
            self.reread()  # it may have been sealed with a new key a moment ago
            return self._fernet.decrypt(token.encode())

    def rotate(self, token: str) -> str:
        """Wrap a sealed secret anew with the first key; its place and content stay. Raises `VaultError`."""
        try:
            return self._fernet.rotate(token.encode()).decode()
        except (InvalidToken, UnicodeEncodeError):
            raise VaultError(
                "a sealed secret cannot be opened with any key given, so it was left as it is.",
                where=self._where,
                mend=f"Give the old key too, after the new one: {KEY_VARIABLE}=new,old.",
            ) from None


def _fernet(key: str, number: int, where: str) -> Fernet:
    if not _KEY.fullmatch(key):  # Fernet itself skips over characters that do not belong
        raise VaultError(
            f"key number {number} is not a key (32 bytes in URL-safe base64).",
            where=where,
            mend="Copy it again, whole, without quotes.",
        )
    return Fernet(key)


def _split(text: str) -> list[str]:
    return [key.strip() for key in text.replace("\n", ",").split(",") if key.strip()]


def _read_guarded(path: Path) -> str:
    """Read the key file through one handle, so that what was checked is what is read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        raise VaultError(
            "there is no key.",
            where=str(path),
            mend=f"Put the key file back from its own backup or set {KEY_VARIABLE}. In a new home `lifecyclehub init` makes one.",
        ) from None
    except OSError as error:
        raise VaultError(
            f"the key file cannot be read ({error.strerror}).",
            where=str(path),
            mend="It must be a plain file, no link, that this user owns and may read.",
        ) from None
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise VaultError("the key file is no plain file.", where=str(path), mend="Put the key into a plain file.")
        if mode & _OTHERS:
            raise VaultError(
                f"other users may read or change the key file (mode {stat.S_IMODE(mode):04o}).",
                where=str(path),
                mend=f"Run: chmod 600 {path}",
            )
        return file.read(65536).decode("ascii", "replace")
