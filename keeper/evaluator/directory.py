"""How people know accounts, contracts and pages: labels, links, and what is ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from keeper.evaluator.page import Code, Link, Phrase, one_line

_LONGEST_LABEL = 64


def nameless(account: bytes) -> None:
    """Nobody has a name."""


@dataclass(frozen=True, slots=True)
class Directory:
    """show: bytes of an address as checksummed text. label: what an account is called, if anything.

    pages: by protocol name, the address of its page, in which {account}, {market} and {chain_id} are filled in.
    explorer: of the chain, without a slash at its end; empty: none. ours: our wallet and contracts.
    """

    show: Callable[[bytes], str]
    label: Callable[[bytes], str | None] = nameless
    pages: Mapping[str, str] = field(default_factory=dict)
    explorer: str = ""
    chain_id: int = 0
    ours: frozenset[bytes] = frozenset()

    def name(self, account: bytes) -> str | None:
        """The label on one line, of a length that a line can take."""
        label = one_line(self.label(account) or "").strip()[:_LONGEST_LABEL]
        return label or None

    def in_full(self, account: bytes) -> Phrase:
        name = self.name(account)
        return (Code(self.show(account)),) + ((" (", Code(name), ")") if name else ())

    def in_short(self, account: bytes) -> Phrase:
        """For a title: the name with enough of the address to tell two of that name apart, else the address."""
        name, address = self.name(account), self.show(account)
        return (Code(name), " ", Code(f"({address[:6]}…{address[-4:]})")) if name else (Code(address),)

    def page_of(self, protocol: str, position: str) -> str | None:
        template = self.pages.get(protocol)
        if not template:
            return None
        _, account, *market = position.split(":")
        return template.format(account=account, market=market[0] if market else "", chain_id=self.chain_id)

    def links(self, protocol: str, position: str) -> tuple[Link, ...]:
        found = []
        if (page := self.page_of(protocol, position)) is not None:
            found.append(Link(protocol, page))
        if self.explorer:
            found.append(Link("account", f"{self.explorer}/address/{position.split(':')[1]}"))
        return tuple(found)

    def transaction(self, tx_hash: bytes) -> Link | Code:
        text = f"0x{tx_hash.hex()}"
        return Link(f"transaction {text[:10]}…", f"{self.explorer}/tx/{text}") if self.explorer else Code(text)
