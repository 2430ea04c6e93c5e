"""Texts that hold what is no character: bytes that are not UTF-8, and half of a pair that JSON writes in two escapes.

Servers send both where something cut a text in the middle of an emoji. No file format, database or JSON reader takes
them, so U+FFFD, the sign for what cannot be read, stands in their place before anybody looks at a reply. On the way out
they are refused: a text that somebody wrote is not changed in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_TOLD = 100
"""Leads that are named; where more are broken, something is wrong with all."""
NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"
HALF_OF_A_PAIR = re.compile("[\ud800-\udfff]")
ESCAPES_AND_STRAY_BYTES = re.compile(
    r"""
    (?P<no_character> [\udc80-\udcff]+ )                                         # as "surrogateescape" shows bytes
    | \\u[dD][89abAB][0-9a-fA-F]{2} \\u[dD][c-fC-F][0-9a-fA-F]{2}                # a whole pair
    | (?P<half> \\u[dD][89a-fA-F][0-9a-fA-F]{2} )
    | \\[^\udc80-\udcff]                                                        # so that \\ud83d is no escape
    """,
    re.VERBOSE | re.DOTALL,
)


class Mended(NamedTuple):
    """A JSON text all of whose characters are some.

    :param text: the whole of it.
    :param places: where in it U+FFFD was put.
    """

    text: str
    places: list[int]


def is_utf8(body: bytes) -> bool:
    """Whether bytes are UTF-8."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def first_with_half_a_pair(value: object, name: str = "") -> str | None:
    """Name the first of nested objects' members whose text holds half of a surrogate pair; None if there is none.

    :param name: of the member that is looked at.
    """
    if isinstance(value, str):
        return None if value.isascii() or not HALF_OF_A_PAIR.search(value) else _shown(name or "body")
    if isinstance(value, Mapping):
        members = ((f"{name}.{key}" if name else str(key), each) for key, each in value.items())
        found = (first_with_half_a_pair(key, key) or first_with_half_a_pair(each, key) for key, each in members)
    elif isinstance(value, list | tuple):
        found = (first_with_half_a_pair(each, name) for each in value)
    else:
        return None
    return next(filter(None, found), None)


def _shown(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def mended(body: bytes) -> Mended:
    """Put U+FFFD in the place of all that is no character in a JSON text; no places if there is nothing of the kind."""
    text = body.decode("utf-8", "surrogateescape")
    parts: list[str] = []
    places: list[int] = []
    done = length = 0
    for found in ESCAPES_AND_STRAY_BYTES.finditer(text):
        if found["no_character"] is None and found["half"] is None:
            continue
        parts += [text[done : found.start()], NO_CHARACTER]
        length += found.start() - done
        places.append(length)
        length += len(NO_CHARACTER)
        done = found.end()
    return Mended("".join([*parts, text[done:]]), places)


class ToldOnce:
    """Sentences about what held no characters, once for each lead. Not thread-safe: the caller holds a lock."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def sentences(self, names: Iterable[str]) -> list[str]:
        """Say what is new.

        :param names: such as ``Lead 4d1b0a50-…``.
        """
        sentences = []
        for name in names:
            if name in self._told or len(self._told) > MAX_TOLD:
                continue
            self._told.add(name)
            sentences.append(
                f"{name}: a text holds what is no character (half an emoji, or bytes that are not UTF-8); U+FFFD is"
                " read in its place."
                if len(self._told) <= MAX_TOLD
                else f"More than {MAX_TOLD} texts hold what is no character; the others are not named."
            )
        return sentences
