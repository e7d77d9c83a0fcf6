"""`keeper solvency` on the real protocols: what the contracts have lost and hold, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from keeper.devnet.chain import DevChain
from keeper.devnet.protocols import protocol
from tests.support.daemon import deploy
from tests.support.inbox import Inbox, open_inbox


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with open_inbox() as listening:
        yield listening


def test_bad_debt_is_a_deficit_and_is_told_until_it_is_covered(
    dev_chain: DevChain, inbox: Inbox, tmp_path: Path
) -> None:
    """A liquidation that leaves debt without collateral makes Aave's deficit; with no treasury behind it nothing covers
    it, and the channels hear so once."""
    chain = dev_chain
    owner = chain.accounts[0]
    chain.aave.supply(owner, "WETH", Decimal(10))
    chain.aave.borrow(owner, "USDC", Decimal(15_000))
    chain.set_price("WETH", Decimal(1_000))
    tables = {"solvency": {"min_coverage": "1.0", "every_minutes": 0.01}}
    with deploy(tmp_path, chain, inbox, more=tables) as keeper:
        keeper.start()
        keeper.until("the block", lambda: keeper.ask("health"))
        [before] = keeper.ask("solvency", "--move", "-10")
        assert before["deficit_value"] == "0"
        assert before["underwater_positions"] == 1
        assert int(before["shortfall_value"]) == pytest.approx(5_000 * 10**8, rel=1e-4)
        assert [risk["move"] for risk in before["at_risk"]] == ["-0.1"]
        chain.aave.liquidate(chain.accounts[1], owner, "WETH", "USDC", Decimal(20_000))
        chain.mine()
        keeper.until("the deficit", lambda: keeper.ask("solvency")[0]["deficit_value"] != "0")
        [after] = keeper.ask("solvency")
        deficit = chain.call(chain.aave.pool, "getReserveDeficit(address)(uint256)", chain.tokens["USDC"].address)
        assert int(after["deficit_value"]) == deficit * chain.price("USDC") // 10**6
        assert after["underwater_positions"] == 0
        keeper.until("the notice", lambda: [n for n in inbox.notices() if n["event"] == "uncovered"])
        assert keeper.terminate() == 0
    told = [notice for notice in inbox.notices() if notice["event"] == "uncovered"]
    assert len(told) == 1
    assert "aave" in told[0]["text"]


def test_every_protocol_tells_what_stands_behind_it(dev_chain: DevChain, tmp_path: Path) -> None:
    """The insurance fund of the perpetuals to the unit; Morpho has nothing by design; a Venus pool its reserves."""
    chain = dev_chain
    kinds = ["aave_v3", "morpho_blue", "venus", "perp_v2"]
    fund = chain.perp.deployment.insurance_fund
    chain.fund(fund, "USDC", Decimal(12_345))
    for kind in kinds[1:]:
        protocol(kind).open_examples(chain)
    chain.mine(2)
    with deploy(tmp_path, chain, protocols=kinds) as keeper:
        assert keeper.run("run", "--until-block", str(chain.block_number)).returncode == 0
        rows = {row["kind"]: row for row in keeper.ask("solvency")}
    assert set(rows) == set(kinds)
    assert rows["morpho_blue"]["reserve_value"] is None
    capacity = chain.call(fund, "getInsuranceFundCapacity()(int256)")
    assert int(rows["perp_v2"]["reserve_value"]) == capacity * 10**12 >= 12_345 * 10**18
    assert all(row["deficit_value"] == "0" for row in rows.values())
    assert all(len(row["at_risk"]) == 4 for row in rows.values())
    assert rows["venus"]["at_risk"][-1]["positions"] >= 1
