"""`keeper init`: from answers to files that pass `keeper check`."""

from __future__ import annotations

import argparse
import asyncio
import secrets as random
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from keeper import observe
from keeper.config.load import as_tuples, check_tables, load_config, read_environment, read_tables
from keeper.config.shipped import Shipped, shipped_for
from keeper.config.types import Origin, Problem, parse_address
from keeper.core.errors import ConfigError, KeeperError, StateUnavailable, WrongChain
from keeper.core.secret import Secret
from keeper.core.types import Call, CallResult
from keeper.indexer.rpc.client import RpcClient
from keeper.initialize.ask import Asker
from keeper.initialize.draft import Draft, write_draft
from keeper.initialize.files import check_free, write_files
from keeper.initialize.greeting import Greeting
from keeper.preflight import check
from keeper.protocols.addresses import checksummed
from keeper.watch.accounts import Owner, resolve_accounts
from keeper.watch.deployment import RPC_VARIABLE, notifier_kind
from keeper.wire import House

NOTIFY_VARIABLE = "KEEPER_NOTIFY_URL"
WEBHOOK_VARIABLE = "KEEPER_WEBHOOK_SECRET"
KEY_VARIABLE = "KEEPER_PRIVATE_KEY"
"""As in .env.example."""


def run(args: argparse.Namespace) -> int:
    """Write the files, then look at them as `keeper check` does; its exit code."""
    observe.configure(args.log_format, verbose=bool(args.verbose))
    check_free(args.config, force=args.force)
    asker = Asker(silent=args.yes or not sys.stdin.isatty())
    asyncio.run(_Session(args, asker).run())
    if args.no_check:
        return 0
    config = load_config(args.config)
    observe.hide(config.secrets())
    failed = check(House(args.config, config), sys.stdout)
    asker.say("Something is not as it must be; see above." if failed else f"Next: keeper run{_named(args.config)}")
    return failed


def _named(file: Path) -> str:
    """How a command line names the file."""
    return "" if file == Path("keeper.toml") else f" --config {file}"


@dataclass
class _Secrets:
    """Values for .env, by variable; `put` gives what the configuration says instead."""

    environment: Mapping[str, str]
    values: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, written: str) -> str:
        """ "env:NAME" of a value that was written out, or as it was written when it is a reference already.

        A variable that means something else already is left alone, and the next one taken.
        """
        if written.startswith("env:"):
            return written
        observe.hide([Secret(written)])
        number, free = 1, name
        while (held := self.values.get(free) or self.environment.get(free)) and held != written:
            number += 1
            free = f"{name}_{number}"
        if held != written:
            self.values[free] = written
        return f"env:{free}"

    def reveal(self, written: str, flag: str) -> str:
        if not written.startswith("env:"):
            return written
        name = written.removeprefix("env:")
        found = self.values.get(name) or self.environment.get(name)
        if not found:
            raise ConfigError(f"{flag}: environment variable {name} is not set; export it, or give the value itself")
        observe.hide([Secret(found)])
        return found


class _Session:
    """One run, question after question."""

    def __init__(self, args: argparse.Namespace, asker: Asker) -> None:
        self._args = args
        self._ask = asker
        self._secrets = _Secrets(read_environment(args.config))

    async def run(self) -> None:
        rpc, written = await self._node()
        try:
            shipped = self._source(rpc.chain_id)
            self._ask.say(f"Chain {rpc.chain_id}: {shipped.name}.")
            protocols = self._protocols(shipped)
            owners = await self._accounts(rpc)
        finally:
            await rpc.close()
        notifiers = self._notifiers()
        mode, wallet = self._mode()
        draft = Draft(
            chain_name=shipped.name,
            shipped=shipped.text,
            command=_named(self._args.config),
            rpc=written,
            protocols=frozenset(protocols),
            accounts=[(checksummed(owner.account), owner.name) for owner in owners],
            notifiers=notifiers,
            mode=mode,
            wallet=wallet,
            store=f"sqlite:///var/{shipped.name}.db",
        )
        text = write_draft(draft)
        house = self._house(text)
        if notifiers:
            await self._test(house, shipped)
        write_files(self._args.config, text, self._secrets.values, force=self._args.force)
        self._ask.say(f"Wrote {self._args.config}" + (" and .env beside it." if self._secrets.values else "."))

    # --- questions

    async def _node(self) -> tuple[RpcClient, str]:
        """The node, connected, and what the file says of it."""
        given = self._args.rpc or (f"env:{RPC_VARIABLE}" if self._secrets.environment.get(RPC_VARIABLE) else "")

        async def connect(written: str) -> tuple[RpcClient, str]:
            if not written:
                raise ConfigError(f"no node to ask; give --rpc URL, or set {RPC_VARIABLE}")
            url = self._secrets.reveal(written, "--rpc")
            observe.hide([Secret(url)])
            return await RpcClient.connect([url], None), self._secrets.put(RPC_VARIABLE, written)

        if self._args.rpc:
            return await connect(given)
        return await self._ask.until("Node URL (wss, https or IPC path; a free public one will do)", given, connect)

    def _source(self, chain_id: int) -> Shipped:
        """What the new file starts from."""
        if self._args.source is None:
            return shipped_for(chain_id)
        file, tables = self._args.source, read_tables(self._args.source)
        said = tables.get("chain", {}).get("id")
        if said != chain_id:
            raise WrongChain(f"the node serves chain {chain_id}, and {file} is for chain {said}; use one of both")
        return Shipped(file.stem, chain_id, file.read_text("utf-8"), tables)

    def _protocols(self, shipped: Shipped) -> list[str]:
        names = [table["name"] for table in shipped.protocols]
        chosen = self._args.protocol
        if chosen is None:
            chosen = self._ask.text(f"Protocols, of {', '.join(names)}", " ".join(names)).replace(",", " ").split()
        unknown = [name for name in chosen if name not in names]
        if unknown or not chosen:
            what = f"{unknown[0]!r} is not" if unknown else "nothing is"
            raise ConfigError(f"--protocol: {what} shipped for {shipped.name}; there are {', '.join(names)}")
        return list(chosen)

    async def _accounts(self, rpc: RpcClient) -> list[Owner]:
        async def execute(calls: Sequence[Call]) -> Sequence[CallResult]:
            head = await rpc.block_by_number("latest")
            if head is None:
                raise StateUnavailable("the node has no latest block yet, so names cannot be resolved; give addresses")
            return await rpc.call_many(calls, head.ref)

        async def resolve(written: str) -> list[Owner]:
            return await resolve_accounts(written.replace(",", " ").split(), rpc.chain_id, execute)

        if self._args.account is not None:
            return await resolve(" ".join(self._args.account))
        owners = await self._ask.until("Accounts to watch (0x… or ENS names; empty: every account)", "", resolve)
        for owner in owners:
            if owner.name:
                self._ask.say(f"  {owner.name} is {checksummed(owner.account)}")
        return owners

    def _notifiers(self) -> list[dict[str, str]]:
        written = self._args.notify
        if written is None:
            written = self._ask.text("Where to send notices (Apprise URL or webhook; empty: the terminal)").split()
        found: list[dict[str, str]] = []
        for text in written:
            kind = notifier_kind(self._secrets.reveal(text, "--notify"), "--notify")
            count = 1 + sum(one["kind"] == kind for one in found)
            named = {"name": f"{kind}-{count}"} if count > 1 else {}
            table = {"kind": kind, **named, "url": self._secrets.put(NOTIFY_VARIABLE, text)}
            if kind == "webhook":
                held = self._secrets.environment.get(WEBHOOK_VARIABLE) or random.token_urlsafe(32)
                table["secret"] = self._secrets.put(WEBHOOK_VARIABLE, self._secrets.values.get(WEBHOOK_VARIABLE, held))
            found.append(table)
        return found

    def _mode(self) -> tuple[str, str | None]:
        """The executor's mode, and the wallet of a dry run without a key."""
        mode = self._args.mode or self._ask.choice("Liquidate", ("off", "dry_run", "live"), "off")
        wallet: str | None = self._args.wallet
        if mode == "off" or (wallet is None and self._secrets.environment.get(KEY_VARIABLE)):
            return mode, None
        if mode == "dry_run" and wallet is None:
            wallet = self._ask.text("Wallet whose liquidations to plan (0x…; empty: give its key)") or None
        if wallet is not None and mode == "dry_run":
            try:
                return mode, checksummed(parse_address(wallet))
            except Problem as problem:
                raise ConfigError(f"--wallet: {problem}") from None
        key = self._ask.secret("Private key (goes into .env, shown nowhere)")
        if not key:
            instead = ", or give --wallet" if mode == "dry_run" else ""
            raise ConfigError(f"mode {mode} needs {KEY_VARIABLE}; export it or put it in a .env file{instead}")
        self._secrets.put(KEY_VARIABLE, key)
        return mode, None

    # --- outcome

    def _house(self, text: str) -> House:
        """The deployment as it will be, checked before anything is written."""
        file = self._args.config
        environment = {**self._secrets.environment, **self._secrets.values}
        config = check_tables(
            as_tuples(tomllib.loads(text)), Origin(file.resolve().parent, environment), f"{file}, as it would be"
        )
        observe.hide(config.secrets())
        return House(file, config)

    async def _test(self, house: House, shipped: Shipped) -> None:
        """A message on every channel that is not the terminal, if wanted."""
        wanted = self._args.test or (not self._ask.silent and self._ask.yes("Send a test message now?", default=True))
        channels = [channel for channel in house.telling.notifiers() if channel.name != "console"] if wanted else []
        for channel in channels:
            try:
                await channel.send(Greeting(channel.name, None, time.time(), shipped.name).notice())
                self._ask.say(f"  sent to {channel.name}")
            except KeeperError as error:
                reason = observe.redact(str(error))
                self._ask.say(f"  {channel.name} did not take it: {reason}")
                if self._ask.silent or not self._ask.yes("  Write the configuration all the same?", default=False):
                    raise ConfigError(f"no test message went out by {channel.name}: {reason}") from error
            finally:
                await channel.close()
