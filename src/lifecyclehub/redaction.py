"""What is left of a person who was erased: keyed hashes, by which their records, addresses and names are known again.

The same marks find what is to be taken out of the store and what comes later, so that no value has to be kept for it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from unicodedata import normalize
from urllib.parse import unquote

from lifecyclehub.errors import NotOurJson
from lifecyclehub.jsonio import dumps, parse_strictly
from lifecyclehub.matching import email_key

Sort: TypeAlias = Literal["record", "thing", "mention", "email", "phone", "name", "part"]
VALUES: Final[tuple[Sort, ...]] = ("email", "phone", "name", "part")

ERASED: Final = "[erased]"
"""What stands in a text where a person's value stood. A text that was nothing but an address becomes null."""

FEWEST_DIGITS: Final = 7
_EMAIL: Final = re.compile(r"[^\s\"'<>()\[\]{},;:|=?&/\\@]+@[^\s\"'<>()\[\]{},;:|=?&/\\@]+")
_PHONE: Final = re.compile(r"\+?\(?\d(?:[\s()./-]{0,3}\d){6,}")
_WORD: Final = re.compile(r"[^\W_]+")
_ESCAPED: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_LONG = 400  # of texts that are too long to be met twice nothing is remembered


class Mark(NamedTuple):
    """A keyed hash of one thing that tells a person; `words`: of how many a name is made."""

    sort: Sort
    mark: str
    words: int = 0


def words_of(text: str) -> tuple[str, ...]:
    """Give the words of a text as names are compared: without case, marks between them, and ways to write a letter."""
    return tuple(_folded(one) for one in _WORD.findall(text))


@lru_cache(maxsize=20_000)
def _folded(word: str) -> str:
    return normalize("NFKC", word).casefold()


def digits_of(text: str) -> str | None:
    """Give a telephone number as numbers are compared, None for what is too short to be one."""
    digits = "".join(char for char in text if char.isdigit()).lstrip("0")
    return digits if len(digits) >= FEWEST_DIGITS else None


def record_mark(key: bytes, connection: str, kind: str, record_id: str) -> Mark:
    """Mark one record in a tool."""
    return Mark("record", _hash(key, "record", f"{connection}\0{kind}\0{record_id}"))


def mention_mark(key: bytes, connection: str, kind: str, record_id: str) -> Mark:
    """Mark another one's record that tells of the person, as a business's does whose invoices they received."""
    return Mark("mention", _hash(key, "mention", f"{connection}\0{kind}\0{record_id}"))


def thing_mark(key: bytes, thing: str) -> Mark:
    """Mark one of our things."""
    return Mark("thing", _hash(key, "thing", thing))


def value_marks(key: bytes, *, emails: Iterable[str] = (), phones: Iterable[str] = (), names: Iterable[str] = ()) -> set[Mark]:
    """Mark the values that tell a person. A name of one word is looked for only beside others of their values."""
    marks = {Mark("email", _hash(key, "email", one)) for one in map(email_key, emails) if one}
    marks |= {Mark("phone", _hash(key, "phone", one)) for one in map(digits_of, phones) if one}
    for words in map(words_of, names):
        marks |= {Mark("part", _hash(key, "part", one)) for one in words}
        if len(words) > 1:
            marks |= {whole_mark(key, order) for order in (words, (words[-1], *words[:-1]))}
    return marks


def whole_mark(key: bytes, words: Collection[str]) -> Mark:
    """Mark words that are taken out of every text in which they stand together."""
    return Mark("name", _hash(key, "name", " ".join(words)), len(words))


def _hash(key: bytes, sort: str, value: str) -> str:
    return blake2b(f"{sort}\0{value}".encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


class Erased:
    """Who was erased, as far as it can still be told. False while nobody was.

    `version` rises whenever somebody is erased, or a value counts for somebody else again.
    """

    def __init__(self, version: int, key: bytes, marks: Iterable[Mark]) -> None:
        self.version, self._key = version, key
        found = list(marks)
        self._marks = {one.mark for one in found}
        self._lengths = sorted({one.words for one in found if one.sort == "name"}, reverse=True)
        self._remembered = lru_cache(maxsize=20_000)(self._without)

    def __bool__(self) -> bool:
        return bool(self._marks)

    def holds(self, mark: Mark) -> bool:
        """Tell whether this is a mark of somebody who was erased."""
        return mark.mark in self._marks

    def is_record(self, connection: str | None, kind: str | None, record_id: str | None) -> bool:
        """Tell whether a record is one of somebody who was erased."""
        if not self._marks or connection is None or kind is None or record_id is None:
            return False
        return self.holds(record_mark(self._key, connection, kind, record_id))

    def mentions(self, connection: str | None, kind: str, record_id: str) -> bool:
        """Tell whether another one's record told of somebody when they were erased."""
        return bool(self._marks) and connection is not None and self.holds(mention_mark(self._key, connection, kind, record_id))

    def is_thing(self, thing: str | None) -> bool:
        """Tell whether a contact or client of ours stood for somebody who was erased."""
        return bool(self._marks) and thing is not None and self.holds(thing_mark(self._key, thing))

    def is_key(self, kind: str, value: str) -> bool:
        """Tell whether this is an identity key of somebody who was erased."""
        return kind == "email" and bool(self._marks) and self._is("email", value)

    def held(self, *, emails: Iterable[str] = (), phones: Iterable[str] = (), names: Iterable[str] = ()) -> list[str]:
        """Give the marks that these values share with somebody who was erased; a part of a name alone is nobody's."""
        if not self._marks:
            return []
        found = [one for one in value_marks(self._key, emails=emails, phones=phones, names=names) if self.holds(one)]
        return sorted(one.mark for one in found) if any(one.sort != "part" for one in found) else []

    def _is(self, sort: Sort, value: str) -> bool:
        return _hash(self._key, sort, value) in self._marks

    # --- texts --------------------------------------------------------------------------------------------------------

    def text(self, said: str) -> str | None:
        """Give a text without the values of those who were erased; None for one that is nothing but an address."""
        if not self._marks:
            return said
        return self._remembered(said) if len(said) <= _LONG else self._without(said)

    def _without(self, said: str) -> str | None:
        if "@" in said and _EMAIL.fullmatch(said.strip()) and (address := email_key(said)) is not None:
            return None if self._is("email", address) else said
        for plain in self._otherwise_written(said):
            if (rest := self._without(plain)) != plain:
                return rest
        spans = sorted({*self._addresses(said), *self._numbers(said), *self._names(said)})
        left: list[str] = []
        at = 0
        for start, end in spans:
            if end <= at:
                continue
            if start >= at:
                left += [said[at:start], ERASED]
            at = end
        return "".join([*left, said[at:]]) if spans else said

    @staticmethod
    def _otherwise_written(said: str) -> Iterable[str]:
        """Give the plain text of what may be written in codes, as in an address or in JSON that was cut off."""
        if "%" in said and (plain := unquote(said)) != said:
            yield plain
        if "\\u" in said and (plain := _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), said)) != said:
            yield plain

    def _addresses(self, said: str) -> Iterable[tuple[int, int]]:
        for found in _EMAIL.finditer(said) if "@" in said else ():
            bare = found.group().rstrip(".!-*_~`")
            address = email_key(bare)
            if address is not None and self._is("email", address):
                yield found.start(), found.start() + len(bare)

    def _numbers(self, said: str) -> Iterable[tuple[int, int]]:
        for found in _PHONE.finditer(said):
            digits = digits_of(found.group())
            if digits is not None and self._is("phone", digits):
                yield found.span()

    def _names(self, said: str) -> Iterable[tuple[int, int]]:
        if not self._lengths:
            return
        words = [(found.start(), found.end(), _folded(found.group())) for found in _WORD.finditer(said)]
        for count in self._lengths:
            for first in range(len(words) - count + 1):
                together = words[first : first + count]
                if self._is("name", " ".join(word for _, _, word in together)):
                    yield together[0][0], together[-1][1]

    # --- documents ------------------------------------------------------------------------------------------------------

    def value(self, value: Any) -> Any:
        """Give JSON without the values of those who were erased; amounts and ids stay as they are."""
        if not self._marks:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return self._object(value)
        return [self.value(one) for one in value] if isinstance(value, list | tuple) else value

    def _object(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """What stands beside an erased value may be the rest of that person's name, in parts."""
        after = {(self.text(name) or ERASED): self.value(one) for name, one in before.items()}
        parts = [name for name, one in before.items() if isinstance(one, str) and self._is_part(one)]
        if len(parts) > 1 or (parts and any(isinstance(one, str) and after.get(name) != one for name, one in before.items())):
            after |= dict.fromkeys(parts, ERASED)
        return after

    def _is_part(self, said: str) -> bool:
        words = words_of(said) if len(said) <= _LONG else ()
        return bool(words) and all(self._is("part", one) for one in words)

    def reply(self, said: str | None) -> str | None:
        """Give a tool's answer, which may be JSON, as `body` does."""
        return said if said is None or not self._marks else self.body(said.encode("utf-8", "replace")).decode()

    def body(self, body: bytes, records: Collection[str] = ()) -> bytes:
        """Give a request's body without the values of those who were erased; byte for byte where there are none.

        `records`: ids of their records that it tells of: whatever stands beside one of these is about them.
        """
        if not self._marks or not body:
            return body
        try:
            before = parse_strictly(body)
        except NotOurJson:
            said = body.decode("utf-8", "replace")
            after = self.text(said)
            return body if after == said else (after or ERASED).encode("utf-8", "replace")
        left = self.value(_without_entries(before, records) if records else before)
        return body if left == before else dumps(left).encode()


NOBODY: Final = Erased(0, b"", ())
"""Nobody was erased."""


def _without_entries(value: Any, records: Collection[str]) -> Any:
    if isinstance(value, list):
        return [_without_entries(one, records) for one in value]
    if not isinstance(value, Mapping):
        return value
    if any(isinstance(one, str | int) and str(one) in records for one in value.values()):
        return {name: one if isinstance(one, str) and one in records else blanked(one) for name, one in value.items()}
    return {name: _without_entries(one, records) for name, one in value.items()}


def blanked(value: Any) -> Any:
    """Give JSON of the same shape in which no text says anything."""
    if isinstance(value, Mapping):
        return {name: blanked(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [blanked(one) for one in value]
    return ERASED if isinstance(value, str) else value
