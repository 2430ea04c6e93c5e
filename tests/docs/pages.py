"""The pages of the documentation, taken apart: blocks of code, what a page says that they need, links and headings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
WRITTEN_BY_A_SCRIPT = ROOT / "docs" / "reference.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))

BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>[a-z ]+): (?P<words>.+?) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Block(NamedTuple):
    """A block of code, and the comment above it.

    :param kind: ``needs``, ``file`` or ``not run``, by the comment; empty without one.
    :param words: what the comment says.
    """

    page: Path
    line: int
    language: str
    code: str
    kind: str
    words: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(
            page,
            text.count("\n", 0, found.start("code")) + 1,
            found["language"],
            found["code"],
            found["kind"] or "",
            found["words"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


def links_of(page: Path) -> list[str]:
    """All targets of links and pictures outside of blocks."""
    return [found["target"] for found in LINK.finditer(BLOCK.sub("", page.read_text()))]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of them on GitHub."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
