"""`keeper web`: the server over this deployment's store."""

from __future__ import annotations

import argparse
import asyncio
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from keeper.config.types import Problem
from keeper.config.web import LEAST_TOKEN, Listen, parse_listen
from keeper.core.errors import ConfigError
from keeper.core.secret import Secret

if TYPE_CHECKING:
    from keeper.config.deployment import Config
    from keeper.wire import House

PARENT = "KEEPER_WEB_PARENT"
"""Names the process whose child this server is, and with which it ends."""

NICENESS = 5


def web(args: argparse.Namespace) -> int:
    from keeper.observe import hide
    from keeper.queries.live.desk import Desk
    from keeper.queries.live.history import History
    from keeper.web.app import Settings, create_app
    from keeper.web.server import serve
    from keeper.wire import open_house

    house = open_house(args)
    config = house.config.web
    token = config.token if args.token is None else token_of(args.token)
    if token is not None:
        hide([token])
    address = listening(house.config, args.listen, token=token)
    with closing(house.open_store(read_only=True)):
        pass  # what is wrong with it is better said before anything listens
    parent = os.environ.get(PARENT)
    if parent is not None:
        os.nice(NICENESS)
    history = History(
        _history_file(house),
        every_s=config.history_minutes * 60,
        keep_s=config.history_days * 86_400,
        positions=config.history_positions,
    )
    app = create_app(Desk(house, history), Settings(token, config.hosts, config.max_clients))
    return asyncio.run(serve(app, address.host, address.port, None if parent is None else int(parent)))


def listening(config: Config, text: str | None, *, token: Secret | None) -> Listen:
    """Where to listen. Raises ConfigError for what is no address, or leaves this machine without a token."""
    try:
        address = config.web.listen if text is None else parse_listen(text)
    except Problem as problem:
        raise ConfigError(str(problem)) from None
    if not address.is_loopback and token is None:
        raise ConfigError(
            f"{address} can be reached from other machines, and anybody there could read all positions; listen at "
            '127.0.0.1, or set token = "env:KEEPER_WEB_TOKEN" in [web]'
        )
    return address


def token_of(text: str) -> Secret:
    """Of "env:NAME". Raises ConfigError; never repeats a token."""
    if not text.startswith("env:"):
        raise ConfigError("a token on a command line is seen by everybody on this machine; give --token env:NAME")
    found = os.environ.get(text.removeprefix("env:"), "")
    if len(found) < LEAST_TOKEN:
        state = "not set" if not found else f"shorter than {LEAST_TOKEN} characters"
        raise ConfigError(f"{text.removeprefix('env:')} is {state}; make a token with `openssl rand -hex 32`")
    return Secret(found)


def _history_file(house: House) -> Path:
    beside = house.files.pulse
    return beside.with_name(beside.name.removesuffix(".pulse.json") + ".history.db")
