"""Takes the pictures in docs/screens. Everything on them happened: on a local chain, to accounts of a seeded crowd."""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from keeper.devnet.chain import DevChain  # noqa: E402
from tests.support.browser import find_chromium, open_browser, open_tab  # noqa: E402
from tests.support.daemon import Keeper, deploy  # noqa: E402
from tests.support.inbox import Inbox, open_inbox  # noqa: E402
from tests.support.web import Web, serving  # noqa: E402

CROWD = 60
HOURS = 24
"""Of falling prices, in half hours."""

DESK = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 720}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "screens", help="folder of the pictures")
    args = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        print("screenshots: no Chromium; run scripts/browser", file=sys.stderr)
        return 1
    args.to.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="keeper-screens-") as folder,
        DevChain.start() as chain,
        open_inbox() as inbox,
    ):
        owners = open_positions(chain)
        options = {
            "protocols": ["aave_v3", "morpho_blue", "venus"],
            "executor": {"confirmations": 2},
            "margin_calls": {"watch": "1.25", "call": "1.10", "urgent": "1.03", "target": "1.25"},
            "more": {"names.labels": dict(zip(owners[:3], ("treasury", "market maker", "ops wallet"), strict=True))},
        }
        with deploy(Path(folder), chain, inbox, mode="live", **options) as daemon:
            daemon.start()
            daemon.until_synced()
            with serving(daemon, Path(folder) / "web.log") as web:
                live_through(chain, daemon, inbox)
                take(web, chromium, args.to)
    return 0


def open_positions(chain: DevChain) -> list[str]:
    """A crowd of borrowers, most of them careful. Returns the accounts, the least careful first."""
    draw = random.Random(11)  # noqa: S311
    lender = chain.accounts[-1]
    chain.morpho.supply(lender, Decimal(5_000_000))
    chain.venus.supply(lender, "USDC", Decimal(5_000_000))
    chain.fund_liquidator()
    owners = []
    for number in range(CROWD):
        owner = chain.make_account(100 + number)
        size = Decimal(str(round(draw.lognormvariate(1.6, 1.1) + 1, 3)))
        health = Decimal(str(round(1.33 + number * 0.012 + draw.random() * 0.03, 3)))
        protocol = ("aave", "aave", "morpho", "venus")[number % 4]
        if protocol == "aave":
            symbol, price = (("WETH", 2_000), ("WBTC", 60_000))[number % 3 == 0]
            size = size if symbol == "WETH" else size / 30
            chain.aave.supply(owner, symbol, size.quantize(Decimal("0.0001")))
            chain.aave.borrow(owner, "USDC", (size * price * Decimal("0.8") / health).quantize(Decimal("0.01")))
        else:
            market = chain.morpho if protocol == "morpho" else chain.venus
            debt = (size * 2_000 * Decimal("0.8") / health).quantize(Decimal("0.01"))
            if protocol == "morpho":
                market.supply_collateral(owner, size)
                market.borrow(owner, debt)
            else:
                market.supply(owner, "WETH", size)
                market.borrow(owner, "USDC", debt)
        owners.append(owner)
    return owners


def live_through(chain: DevChain, daemon: Keeper, inbox: Inbox) -> None:
    """Ether falls by a third in a day, with ups and downs; some are called, a few are liquidated."""
    draw = random.Random(5)  # noqa: S311
    price = 2_000.0
    for step in range(HOURS * 2):
        price *= 1 + draw.gauss(-0.0072, 0.007)
        chain.warp(1_800)
        chain.set_price("WETH", Decimal(f"{price:.2f}"))
        chain.set_price("WBTC", Decimal(f"{60_000 * (price / 2_000) ** 0.6:.2f}"))
        daemon.until_synced()
        print(f"\rscreenshots: {step + 1} of {HOURS * 2} half hours, ether at {price:,.0f} ", end="", file=sys.stderr)
        time.sleep(0.6)  # the page keeps what it sees, and looks twice a second
    print(file=sys.stderr)
    daemon.until("every notice to be delivered", daemon.is_quiet)
    chain.mine(3)
    daemon.until_synced()
    assert not inbox.problems


def take(web: Web, chromium: str, folder: Path) -> None:
    calls = web.get("/api/v1/calls?status=open")["items"]
    story = max(calls, key=lambda call: (len(call["steps"]), call["position"]))
    position = f"/positions/{quote(story['position'], safe='')}"
    pictures: dict[str, tuple[str, str, dict[str, int], bool]] = {
        "positions": ("/positions", "light", DESK, False),
        "position": (position, "light", DESK, True),
        "calls": ("/calls", "light", DESK, False),
        "ladder": ("/ladder", "dark", DESK, False),
        "transactions": ("/transactions", "light", DESK, False),
        "system": ("/system", "dark", DESK, True),
        "phone": ("/positions", "dark", PHONE, False),
    }
    with open_browser(chromium) as browser:
        for name, (path, scheme, viewport, whole) in pictures.items():
            with open_tab(browser, web.url, color_scheme=scheme, viewport=viewport) as tab:
                page = tab.settle(path)
                page.wait_for_timeout(700)  # one round of events
                page.screenshot(path=folder / f"{name}.png", full_page=whole)
                shrink(folder / f"{name}.png")
                print(f"screenshots: {folder / name}.png", file=sys.stderr)


def shrink(picture: Path) -> None:
    """To a palette, where pngquant is installed: a third of the size, and nobody sees it."""
    if pngquant := shutil.which("pngquant"):
        subprocess.run([pngquant, "--force", "--skip-if-larger", "--output", picture, "128", picture], check=False)


if __name__ == "__main__":
    sys.exit(main())
