"""A notice as a small document, and its three forms: plain text, Markdown and HTML.

What is said is written once, as phrases of plain words, code, emphasis and links. Only the renderers know markup, and
each escapes everything it is given, so that no token, label or name can be more than text wherever it appears.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Code:
    """An address, a hash, a name: shown as it is, never read as a link or a mention."""

    text: str


@dataclass(frozen=True, slots=True)
class Strong:
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """url: http(s), of ours or from the configuration, with nothing in it that others choose but hex digits."""

    text: str
    url: str


Span = str | Code | Strong | Link
Phrase = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Phrases under a heading, as a list; without a heading, as lines that follow one another."""

    heading: str
    items: tuple[Phrase, ...]


@dataclass(frozen=True, slots=True)
class Page:
    title: Phrase
    sections: tuple[Section, ...]


def lines(*items: Phrase | str) -> Section:
    return Section("", _phrases(items))


def listing(heading: str, items: Iterable[Phrase | str]) -> Section:
    return Section(heading, _phrases(items))


def _phrases(items: Iterable[Phrase | str]) -> tuple[Phrase, ...]:
    return tuple((item,) if isinstance(item, str) else item for item in items)


# --- the three forms; a section without items is left out -------------------------------------------------------------


def headline(page: Page) -> str:
    """The title by itself, on one line."""
    return _plain(page.title)


def text(page: Page) -> str:
    shown = [headline(page)]
    for section in _filled(page):
        if section.heading:
            shown.append(f"{section.heading}:")
        mark = "  - " if section.heading else ""
        shown += [mark + _plain(item) for item in section.items]
    return "\n".join(shown)


def markdown(page: Page) -> str:
    """CommonMark, of the part that every chat understands."""
    blocks = [_marked_line(page.title)]
    for section in _filled(page):
        items = [_marked_line(item) for item in section.items]
        if section.heading:
            blocks.append(f"{_escaped(section.heading)}:\n\n" + "\n".join(f"- {item}" for item in items))
        else:
            blocks.append("  \n".join(items))
    return "\n\n".join(blocks)


def html(page: Page) -> str:
    """A fragment to stand in a body: no styles, no scripts, nothing that is fetched."""
    blocks = [f"<h3>{_tagged_all(page.title)}</h3>"]
    for section in _filled(page):
        items = [_tagged_all(item) for item in section.items]
        if section.heading:
            blocks.append(f"<p>{_safe(section.heading)}:</p>")
            blocks.append("<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>")
        else:
            blocks.append("<p>" + "<br>".join(items) + "</p>")
    return "\n".join(blocks)


def _filled(page: Page) -> Sequence[Section]:
    """Without what says nothing."""
    return [
        Section(one_line(section.heading).strip(), items)
        for section in page.sections
        if (items := tuple(item for item in section.items if _plain(item).strip()))
    ]


# --- plain text -------------------------------------------------------------------------------------------------------


def one_line(words: str) -> str:
    """Without what could break a line, hide something or turn its direction."""
    if words.isprintable():
        return words
    kept = ("" if unicodedata.category(char) in _UNSEEN else char for char in words)
    return "".join(" " if char in _BREAKS else char for char in kept)


_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn")
_BREAKS = "\u2028\u2029"


def _plain(phrase: Phrase) -> str:
    return "".join(map(_said, phrase))


def _said(span: Span) -> str:
    if isinstance(span, Link):
        return f"{one_line(span.text)}: {one_line(span.url)}"
    return one_line(span if isinstance(span, str) else span.text)


# --- Markdown ---------------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"([\\`*_\[\]<>~|#!])")


def _escaped(words: str) -> str:
    return _SPECIAL.sub(r"\\\1", one_line(words))


_OPENS_BLOCK = re.compile(r"([-+=]|\d+(?=[.)](\s|$)))")


def _marked_line(phrase: Phrase) -> str:
    """A phrase on a line of its own, which its first characters must not make a list, a heading or code."""
    line = "".join(map(_marked, phrase)).strip()
    opening = _OPENS_BLOCK.match(line)
    if opening is None:
        return line
    end = opening.end() if opening[0].isdigit() else 0
    return f"{line[:end]}\\{line[end:]}"


def _marked(span: Span) -> str:
    match span:
        case str():
            return _escaped(span)
        case Code():
            words = one_line(span.text).replace("`", "").strip()
            return f"`{words}`" if words else ""
        case Strong():
            words = _escaped(span.text).strip()  # the marks may not stand beside a space
            return f"**{words}**" if words else ""
        case Link():
            return f"[{_escaped(span.text)}]({one_line(span.url).replace(')', '%29').replace(' ', '%20')})"


# --- HTML -------------------------------------------------------------------------------------------------------------


def _safe(words: str) -> str:
    return escape(one_line(words), quote=True)


def _tagged_all(phrase: Phrase) -> str:
    return "".join(map(_tagged, phrase))


def _tagged(span: Span) -> str:
    match span:
        case str():
            return _safe(span)
        case Code():
            return f"<code>{_safe(span.text)}</code>"
        case Strong():
            return f"<b>{_safe(span.text)}</b>"
        case Link():
            return f'<a href="{_safe(span.url)}">{_safe(span.text)}</a>'
