"""Words that somebody else chose, in every notice and every form, as what shows notices really reads them.

Markdown by markdown-it (CommonMark, and with what chats add to it), HTML by
html5lib as a browser does, plain text by what a terminal and a mailbox make of characters. Whatever the words are, the
structure of a notice is that of one with innocent words: no tag, link, image, line or emphasis more or less.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import html5lib
from eth_utils.address import to_checksum_address
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token as Piece

from keeper.core.records import Delivery, DeliveryStatus, Notice, NoticeEvent
from keeper.core.secret import Secret
from keeper.core.types import Token
from keeper.evaluator.calls import compose
from keeper.evaluator.daily_digest import Happening
from keeper.evaluator.directory import Directory
from keeper.evaluator.feed_notices import PriceRecovered, StalePrice
from keeper.evaluator.house import BreakerTripped, HouseNotice, KeeperUnhealthy
from keeper.notifier.invitation import Invitation
from keeper.notifier.routing import Router
from keeper.notifier.rules import Route
from keeper.notifier.summary import summarize
from tests.unit.evaluator import test_calls as calls
from tests.unit.evaluator import test_house as house

PARSERS = {
    "CommonMark": MarkdownIt("commonmark"),
    "a chat's": MarkdownIt("commonmark").enable(["strikethrough", "table"]),
}
PIECES = st.sampled_from(
    [
        *"\\`*_[]()<>~|#!:/@&\"'=+-.{}$^ \t\n\r\x00\x07\x1b\x7f\x85\xa0\xad",
        *"\u200b\u200c\u200d\u2028\u2029\u202a\u202e\u2066\u2069\u061c\ufeff\ufff9\U000e0041\u0301\u0338\u3164",
        *(
            "<script>",
            "</p>",
            "</code>",
            "<img src=x onerror=alert(1)>",
            "<!--",
            "]]>",
            "<a href='x'>",
            "&lt;",
            "&#60;",
        ),
        *(
            "](https://evil.example)",
            "![x](https://evil.example/x.png)",
            "[x]: https://evil.example",
            "<https://evil.example>",
        ),
        *(
            "javascript:alert(1)",
            "\n\n",
            "\n# ",
            "\n- ",
            "\n> ",
            "\n```\n",
            "    ",
            "***",
            "---",
            "\n===\n",
            "| a |\n|-|\n",
        ),
        *(
            "1. ",
            "1) ",
            "@everyone",
            "<@123>",
            "<!channel>",
            "\x1b]8;;https://evil.example\x07",
            "\x1b[2J",
            "%0a",
            "ａ",
        ),
    ]
)
WORDS = st.lists(PIECES | st.text(max_size=5), max_size=12).map("".join)
INNOCENT = "Treasury"
INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True)
class Seen:
    """What a reader's program makes of a notice, but for its words."""

    markdown: tuple[tuple[tuple[str, str], ...], ...]
    html: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    lines: int
    title_lines: int


def seen(notice: Notice) -> Seen:
    return Seen(
        tuple(tuple(_structure(parser.parse(notice.markdown))) for parser in PARSERS.values()),
        tuple(_elements(notice.html)),
        len(notice.text.splitlines()),
        len(notice.title.splitlines()),
    )


def _structure(pieces: list[Piece]) -> Iterator[tuple[str, str]]:
    """Kinds of tokens, and where links lead."""
    for piece in pieces:
        if piece.type not in ("text", "text_special", "code_inline"):
            yield piece.type, str(piece.attrGet("href") or piece.attrGet("src") or "")
        yield from _structure(piece.children or [])


def _elements(fragment: str) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every element with its attributes, comments too, but for the spans of code that quote a name or an address."""
    for node in html5lib.parseFragment(fragment, namespaceHTMLElements=False).iter():
        if node.tag not in ("DOCUMENT_FRAGMENT", "code"):
            yield str(node.tag), tuple(sorted(node.attrib.items()))


def assert_harmless(hostile: Notice, innocent: Notice) -> None:
    assert seen(hostile) == seen(innocent)
    for form in (hostile.text, hostile.title, hostile.markdown, hostile.html):
        assert not [char for char in form if char != "\n" and unicodedata.category(char) in INVISIBLE]


# --- of a position ----------------------------------------------------------------------------------------------------

INVITATION = Invitation(
    Router.of([Route(channel="mail"), Route(channel="phone", escalates="mail")]),
    1,
    Secret("s" * 32),
    "https://ack.example/{token}",
)


def of_position(event: NoticeEvent, words: str) -> Notice:
    """The same words as symbol, name, market and currency."""
    found = calls.situation(event)
    dossier, assessment = found.dossier, found.dossier.assessment
    assert assessment is not None
    dossier = replace(
        dossier,
        demands=tuple(replace(demand, symbol=words) for demand in dossier.demands),
        breach_prices=tuple(replace(breach, symbol=words) for breach in dossier.breach_prices),
        tokens=tuple((asset, Token(words, token.decimals)) for asset, token in dossier.tokens),
        assessment=replace(assessment, market_name=words or "-"),
        currency=words or "-",
    )
    directory = replace(calls.DIRECTORY, label=lambda _: f"a{words}")
    due = replace(found.due, position=f"{calls.POSITION}:0x{'ab' * 32}")
    return INVITATION.on(compose(replace(found, dossier=dossier, directory=directory, due=due)), 0.0)


@settings(max_examples=150)
@given(words=WORDS, event=st.sampled_from(calls.OF_POSITIONS))
@example("`", NoticeEvent.OPENED)
@example("1. ", NoticeEvent.LIQUIDATED)
@example("\\", NoticeEvent.OPENED)
def test_no_name_becomes_more_than_a_name(words: str, event: NoticeEvent) -> None:
    assert_harmless(of_position(event, words), of_position(event, INNOCENT))


# --- of no position ---------------------------------------------------------------------------------------------------


def of_the_house(words: str) -> list[Notice]:
    """The same words as names, symbols, and what a node, a contract or a channel answered."""
    directory = Directory(to_checksum_address, lambda _: f"a{words}")
    trouble = replace(house.TROUBLE, summary=f"a{words}", details=(f"a{words}",) * 2, remedy=f"a{words}")
    said: list[HouseNotice] = [
        StalePrice("mail", house.AT, house.NOW, replace(house.FEED, symbol=words), directory, house.AFFECTED),
        PriceRecovered("mail", house.AT, house.NOW, replace(house.FEED, symbol=words), directory),
        KeeperUnhealthy("ops", house.AT, house.NOW, trouble),
        BreakerTripped("", None, house.NOW, "signing_policy", f"a{words}", 123, f"a{words}"),
        replace(
            house.DIGEST,
            directory=directory,
            troubles=(f"a{words}",),
            happened=(Happening("aave", calls.ALICE, "liquidated", 0, f"a{words}"),),
        ),
    ]
    return [one.notice() for one in said]


@settings(max_examples=150)
@given(words=WORDS)
@example("\n# x")
@example("&lt;script&gt;")
def test_nothing_that_was_answered_becomes_more_than_words(words: str) -> None:
    """Errors quote what came over the wire: a node's HTML page, a token's revert reason."""
    for hostile, innocent in zip(of_the_house(words), of_the_house(INNOCENT), strict=True):
        assert_harmless(hostile, innocent)


# --- of many ----------------------------------------------------------------------------------------------------------


def delivery(notice: Notice) -> Delivery:
    return Delivery(notice, "mail", DeliveryStatus.PENDING)


@settings(max_examples=60)
@given(words=WORDS)
def test_a_summary_quotes_and_does_not_render(words: str) -> None:
    """It is made of the plain text of others, a few in full and many in a line each."""
    for event, count in ((NoticeEvent.OPENED, 2), (NoticeEvent.LIQUIDATED, 9)):
        made = [summarize("mail", [delivery(of_position(event, one))] * count) for one in (words, INNOCENT)]
        assert_harmless(*made)


def test_the_parsers_see_what_they_are_asked_about() -> None:
    """What would be found is found: a link, a heading, an image, a tag, a second line."""
    innocent: Any = of_position(NoticeEvent.OPENED, INNOCENT)
    for change in (
        {"markdown": innocent.markdown + "\n\n[x](https://evil.example)"},
        {"markdown": "# " + innocent.markdown},
        {"markdown": innocent.markdown + "![x](https://evil.example)"},
        {"html": innocent.html + "<script>alert(1)</script>"},
        {"html": innocent.html.replace("<p>", "<p onclick=x>", 1)},
        {"text": innocent.text + "\nmore"},
    ):
        assert seen(replace(innocent, **change)) != seen(innocent)
