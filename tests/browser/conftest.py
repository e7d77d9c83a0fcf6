"""A browser for each module, and a deployment that has something to show: a real daemon on a real chain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
from playwright.sync_api import Browser

from keeper.devnet.chain import DevChain
from tests.support.browser import find_chromium, open_browser
from tests.support.daemon import Keeper, deploy
from tests.support.inbox import Inbox, open_inbox
from tests.support.web import Web, serving

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while it is open its event loop runs in this thread, and no asynchronous test can."""
    path = find_chromium()
    if path is None:
        missing = "no Chromium: run scripts/browser, which installs Debian's, or set KEEPER_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with open_browser(path) as opened:
        yield opened


@dataclass
class Deployment:
    """ada was called and cured, bela called and liquidated, cleo is called; dov is safe and has a hostile name."""

    chain: DevChain
    daemon: Keeper
    inbox: Inbox
    web: Web
    ada: str
    bela: str
    cleo: str
    dov: str


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("page")
    with DevChain.start() as chain, open_inbox() as inbox:
        owners = chain.accounts[:4]
        names = {"names.labels": {owners[3]: HOSTILE}}
        options = {"executor": {"confirmations": 1}, "margin_calls": FIXED_LINES, "more": names}
        with deploy(folder, chain, inbox, mode="live", **options) as daemon:
            _live_through(chain, inbox, daemon, *owners)
            with serving(daemon, folder / "web.log") as web:
                yield Deployment(chain, daemon, inbox, web, *owners)


FIXED_LINES = {"watch": "1.25", "call": "1.10", "urgent": "1.03", "target": "1.25"}


def _live_through(chain: DevChain, inbox: Inbox, daemon: Keeper, ada: str, bela: str, cleo: str, dov: str) -> None:
    for owner, debt in ((ada, 14_000), (bela, 14_200), (cleo, 13_000), (dov, 5_000)):
        chain.aave.supply(owner, "WETH", Decimal(10))
        chain.aave.borrow(owner, "USDC", Decimal(debt))
    chain.fund_liquidator()
    daemon.start()
    daemon.until_synced()
    chain.set_price("WETH", Decimal(1_840))
    daemon.until_told(inbox, ada, "opened")
    chain.aave.repay(ada, "USDC", Decimal(4_000))
    daemon.until_told(inbox, ada, "opened", "cured")
    chain.set_price("WETH", Decimal(1_700))
    daemon.until("bela's loss", lambda: inbox.events(bela)[-1] == "liquidated" and daemon.is_quiet())
    chain.mine(2)
    daemon.until("confirmation", lambda: [row["status"] for row in daemon.liquidations()] == ["confirmed"])
    daemon.until_synced()
