"""The text of a configuration file: the shipped one of the chain, with its comments, and what was chosen. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_HEADER = re.compile(r"\[\[?([a-z_]+)[\].]")


@dataclass(frozen=True, slots=True)
class Draft:
    """What was chosen.

    shipped: text of the file it starts from. command: how the new file is named on a command line. rpc, notifiers: as
    the file says, secrets as "env:NAME". accounts: checksummed, each with the name it was given by, if any. wallet: of
    a dry run without a key.
    """

    chain_name: str
    shipped: str
    command: str
    rpc: str
    protocols: frozenset[str]
    accounts: Sequence[tuple[str, str]] = ()
    notifiers: Sequence[dict[str, str]] = ()
    mode: str = "off"
    wallet: str | None = None
    store: str = "sqlite:///var/keeper.db"


def write_draft(draft: Draft) -> str:
    sections = _sections(draft.shipped)
    parts = [_heading(draft)]
    for name, text in sections:
        if name == "chain":
            text = _line(text, "rpc", f"rpc = [{json.dumps(draft.rpc)}]  # more endpoints: failover in this order")
        elif name == "store":
            text = _line(text, "url", f"url = {json.dumps(draft.store)}  # beside this file")
        elif name == "protocols" and _named(text) not in draft.protocols:
            continue
        elif name == "margin_calls":
            text = _line(text, "accounts", _accounts(draft))
        elif name == "notifiers":
            text = _notifiers(draft)
        elif name == "executor":
            text = _executor(draft, text)
        parts.append(text.strip())
    return "\n\n".join(parts) + "\n"


def _heading(draft: Draft) -> str:
    who = "the accounts below" if draft.accounts else "every account"
    does = {"off": "alert-only", "dry_run": "liquidations planned and simulated, not sent", "live": "liquidating"}
    return "\n".join(
        (
            f"# Keeper on {draft.chain_name}: {who}, {does[draft.mode]}.",
            "# Written by `keeper init`; change what you like.",
            "#",
            f"#     keeper check{draft.command}     # verifies everything this file says",
            f"#     keeper run{draft.command}       # the daemon; the first start indexes the protocols' history",
            "#",
            "# Every key: docs/configuration.md. What is secret is in .env beside this file.",
        )
    )


def _sections(text: str) -> list[tuple[str, str]]:
    """Tables with the comments that follow them, in order; a subtable belongs to its table."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header and not (found and line.startswith(f"[{found[-1][0]}.")):
            found.append((header[1], []))
        if found:
            found[-1][1].append(line)
    return [(name, "\n".join(lines)) for name, lines in found]


def _named(section: str) -> str:
    found = re.search(r'^name = "([^"]+)"', section, re.MULTILINE)
    return found[1] if found else ""


def _line(section: str, key: str, line: str) -> str:
    """The section with the line of this key replaced; at its end where there was none."""
    pattern = re.compile(rf"^{key} = .*$", re.MULTILINE)
    return pattern.sub(lambda _: line, section, count=1) if pattern.search(section) else f"{section.rstrip()}\n{line}"


def _accounts(draft: Draft) -> str:
    if not draft.accounts:
        return "accounts = []                           # every account is called; list yours to be told of those alone"
    rows = [f'    "{account}",' + (f"  # {name}" if name else "") for account, name in draft.accounts]
    return "\n".join(("accounts = [", *rows, "]"))


def _notifiers(draft: Draft) -> str:
    tables = ['[[notifiers]]\nkind = "console"                        # the terminal the daemon runs in']
    for notifier in draft.notifiers:
        rows = [f"{key} = {json.dumps(value)}" for key, value in notifier.items()]
        deep = '# min_band = "urgent"                   # only what is this deep'
        tables.append("\n".join(("[[notifiers]]", *rows, deep)))
    return "\n\n".join(tables)


def _executor(draft: Draft, text: str) -> str:
    text = _line(text, "mode", f'mode = "{draft.mode}"'.ljust(40) + "# off: alerts only; dry_run simulates; live sends")
    if draft.wallet is not None:
        text = _without_key(text)
        text = text.replace("mode =", f'account = "{draft.wallet}"\nmode =', 1)
    if draft.mode != "off" and draft.wallet is None:
        text = text.replace('# private_key = "env', 'private_key = "env', 1)
    return text


def _without_key(section: str) -> str:
    """Of a source that has a key: a wallet that was named instead needs none. What is written out is not copied."""
    section = re.sub(r'^(?=(?:private_key|password) = "env:)', "# ", section, flags=re.MULTILINE)
    return re.sub(r"^(?:private_key|keystore|password|account) = .*\n?", "", section, flags=re.MULTILINE)
