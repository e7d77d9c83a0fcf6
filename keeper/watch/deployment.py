"""A configuration in memory, from a command line: nothing is written, nothing need be prepared.

Protocols come from what is shipped for the chain that the node serves, or from a configuration file; the file's bands
and notifiers are taken with them, its key and its database are not. Each account has a store of its own, so that what
it was told is known however it is watched the next time, alone or with others.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from keeper import observe
from keeper.config.load import as_tuples, check_tables, read_environment, read_tables
from keeper.config.shipped import shipped_for
from keeper.config.types import Origin
from keeper.core.errors import ConfigError
from keeper.core.secret import Secret
from keeper.protocols.addresses import checksummed
from keeper.upkeep.ens import LONGEST
from keeper.wire import House

RPC_VARIABLE = "KEEPER_RPC_URL"
_HERE = Path("keeper.toml")  # never read: relative paths and .env files are looked for beside it
_ID_BYTES = 32
_LEFT_OUT = ("executor", "venues", "funding", "submitters", "breakers", "jobs")


@dataclass(frozen=True)
class Wishes:
    """What a command line asks for. rpc, notify: URLs or "env:NAME". lines: keys of [margin_calls] that it sets."""

    rpc: Sequence[str] = ()
    notify: Sequence[str] = ()
    config: Path | None = None
    state: Path | None = None
    lines: Mapping[str, str] = field(default_factory=dict)


class Deployment:
    """Raises ConfigError, naming the remedy, for everything that cannot work."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes
        self._file = wishes.config or _HERE
        self._where = "keeper watch" if wishes.config is None else f"keeper watch with {wishes.config}"
        self._tables = {} if wishes.config is None else read_tables(wishes.config)
        self._environment = read_environment(self._file)
        told = [self._notifier(text) for text in wishes.notify]
        self._notifiers = {one["name"]: one for one in told}

    # --- the node

    @property
    def chain_id(self) -> int | None:
        """By the configuration file; None without one: then the node says."""
        given = _table(self._tables, "chain").get("id")
        return given if isinstance(given, int) else None

    def endpoints(self) -> list[str]:
        """URLs, hidden from every output from here on."""
        configured = _table(self._tables, "chain").get("rpc", ())
        texts = list(self._wishes.rpc) or [text for text in configured if isinstance(text, str)]
        if not texts and RPC_VARIABLE in self._environment:
            texts = [f"env:{RPC_VARIABLE}"]
        if not texts:
            raise ConfigError(f"no node to ask; give --rpc URL, or set {RPC_VARIABLE} (a free public endpoint will do)")
        secrets = [self._resolved(text, "--rpc") for text in texts]
        observe.hide(secrets)
        return [secret.reveal() for secret in secrets]

    # --- one account

    def house(self, chain_id: int, account: bytes, name: str = "") -> House:
        """The deployment of one account, alert-only. name: what notices call it."""
        tables = copy.deepcopy(self._tables) or dict(as_tuples(dict(shipped_for(chain_id).tables)))
        for left_out in _LEFT_OUT:
            tables.pop(left_out, None)
        chain = {**_table(tables, "chain"), "id": chain_id}
        if self._wishes.rpc or "rpc" not in chain:
            chain["rpc"] = tuple(self._wishes.rpc) or (f"env:{RPC_VARIABLE}",)
        margin = _fitted(_table(tables, "margin_calls"), self._wishes.lines)
        margin["accounts"] = (checksummed(account),)
        if name:
            names = _table(tables, "names")
            tables["names"] = {**names, "labels": {checksummed(account): name[:LONGEST], **_table(names, "labels")}}
        tables |= {
            "chain": chain,
            "store": {"url": f"sqlite:///{self.file(chain_id, account)}"},
            "margin_calls": margin,
        }
        if self._notifiers:
            tables.pop("operator", None)  # it names the file's notifiers
            tables["notifiers"] = ({"kind": "console"}, *copy.deepcopy([*self._notifiers.values()]))
        elif not tables.get("notifiers"):
            tables["notifiers"] = ({"kind": "console"},)
        origin = Origin(self._file.resolve().parent, self._environment)
        config = check_tables(tables, origin, self._where)
        observe.hide(config.secrets())
        return House(self._file, config, never_transacts=True)

    def file(self, chain_id: int, account: bytes) -> Path:
        """The account's database."""
        folder = self._wishes.state or default_state(self._environment)
        return folder.expanduser().resolve() / f"{chain_id}-0x{account.hex()}.db"

    # --- inside

    def _resolved(self, text: str, flag: str) -> Secret:
        if not text.startswith("env:"):
            return Secret(text)
        name = text.removeprefix("env:")
        if not self._environment.get(name):
            raise ConfigError(
                f"{flag}: environment variable {name} is not set; export it or put it in a .env file here"
            )
        return Secret(self._environment[name])

    def _notifier(self, text: str) -> dict[str, Any]:
        secret = self._resolved(text, "--notify")
        observe.hide([secret])
        kind = notifier_kind(secret.reveal(), "--notify")
        # by its content, so that what waits for it waits for no other URL, in whatever order they are given
        name = f"{kind}-{hashlib.sha256(secret.reveal().encode()).hexdigest()[:8]}"
        return {"kind": kind, "name": name, "url": text}


def notifier_kind(url: str, flag: str) -> str:
    """Apprise where one of its services understands the URL, else a webhook of our own."""
    from keeper.notifier.apprise import understood

    if understood(url) is not None:
        return "apprise"
    scheme = url.partition("://")[0].lower() if "://" in url else "none"
    if scheme in ("http", "https"):
        return "webhook"
    raise ConfigError(
        f"{flag}: no service understands this URL (scheme {scheme}); give an Apprise URL such as "
        "tgram://TOKEN/CHAT, ntfy://TOPIC or mailto://…, or https:// for a webhook"
    )


def _fitted(margin: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The lines with those given on the command line, which then hold by health for every position. The watch line is
    never below a call line that was given alone, and the target leaves a cure room. What is no number is left as it is,
    to be told where it is checked."""
    if not given:
        return dict(margin)
    lines = {**margin, **given, "by": "health"}
    lines.pop("volatility", None)
    if "call" not in given:
        return lines
    try:
        call, watch, target = (Decimal(lines.get(name, "1.25")) for name in ("call", "watch", "target"))
    except (TypeError, InvalidOperation):
        return lines
    lines["watch"] = str(max(watch, call))
    if "target" not in given:
        lines["target"] = str(max(target, call + Decimal("0.15")))
    return lines


def parse_markets(texts: Sequence[str]) -> list[bytes]:
    """Market ids. Raises ConfigError for what is none."""
    found = []
    for text in texts:
        try:
            market_id = bytes.fromhex(text.removeprefix("0x"))
        except ValueError:
            market_id = b""
        if not text.startswith("0x") or len(market_id) != _ID_BYTES:
            raise ConfigError(f"--market: {text!r} is no market id; expected 0x and {2 * _ID_BYTES} hex digits")
        found.append(market_id)
    return found


def _table(tables: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table as it is written; empty when it is missing or none, which is told where it is checked."""
    found = tables.get(name)
    return found if isinstance(found, dict) else {}


def default_state(environment: Mapping[str, str] = os.environ) -> Path:
    """Where what was told is kept (XDG base directories)."""
    base = environment.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "keeper" / "watch"
