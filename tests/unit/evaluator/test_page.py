"""One description, three forms; whatever it quotes stays a quotation."""

from __future__ import annotations

from html import escape

import markdown as python_markdown
import pytest
from hypothesis import example, given
from markdown_it import MarkdownIt

from keeper.evaluator.page import Code, Link, Page, Phrase, Strong, headline, html, lines, listing, markdown, text
from tests.unit.evaluator.test_calls import HOSTILE, Tags

URL = "https://app.example/?user=0xab&chain=1"
ALLOWED = {"h3", "b", "strong", "p", "ul", "li", "br", "code", "a"}


def page(words: str) -> Page:
    """The same words in every place where something can be said."""
    phrase: Phrase = (words, Code(words), Strong(f"Health {words}"), Link(words or "page", URL))
    return Page((Strong("Margin call"), ": ", words), (lines(phrase, words), listing(words or "See", [phrase, words])))


def test_a_page_is_told_in_three_forms() -> None:
    said = Page(
        (Strong("Margin call"), ": ", Code("0xab")),
        (lines("Health 1.05.", ("Block ", Code("0x12"))), listing("See", [(Link("aave", URL),)]), listing("Empty", [])),
    )
    assert headline(said) == "Margin call: 0xab"
    assert text(said) == f"Margin call: 0xab\nHealth 1.05.\nBlock 0x12\nSee:\n  - aave: {URL}"
    assert markdown(said) == f"**Margin call**: `0xab`\n\nHealth 1.05.  \nBlock `0x12`\n\nSee:\n\n- [aave]({URL})"
    assert html(said) == (
        "<h3><b>Margin call</b>: <code>0xab</code></h3>\n"
        "<p>Health 1.05.<br>Block <code>0x12</code></p>\n"
        "<p>See:</p>\n"
        '<ul><li><a href="https://app.example/?user=0xab&amp;chain=1">aave</a></li></ul>'
    )


@given(words=HOSTILE)
@example("![x](https://evil.example/x.png)")
@example("<https://evil.example>")
@example("&lt;script&gt;")
@example("a](https://evil.example)")
@example("``x``")
@example("x\\")
def test_no_words_become_markup_in_any_form(words: str) -> None:
    """As a browser reads the HTML, and as the converter that Apprise uses reads the Markdown."""
    said = page(words)
    for shown in (html(said), python_markdown.markdown(markdown(said))):
        found = Tags(shown)
        assert {tag for tag, _ in found.tags} <= ALLOWED, shown
        assert set(found.urls) <= {URL}, shown
    for form in (text, markdown):
        assert len(form(said).splitlines()) <= len(form(page("x")).splitlines())
    assert "\u202e" not in text(said) and "\x1b" not in text(said)


@pytest.mark.parametrize("words", ["- x", "+ x", "* x", "1. x", "2) x", "# x", "> x", "---", "===", "```", "~~~"])
def test_what_a_line_begins_with_makes_it_nothing_else(words: str) -> None:
    """No list, heading, quote, rule or code, as CommonMark reads it: a paragraph that says just these words."""
    said = Page(("Margin call",), (lines("Health", words), lines(words)))
    for piece in MarkdownIt("commonmark").parse(markdown(said)):
        assert piece.type in ("paragraph_open", "inline", "paragraph_close"), piece
    assert MarkdownIt("commonmark").render(markdown(Page(("x",), (lines(words),)))).count(escape(words)) == 1
