// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

interface Feed {
    function decimals() external view returns (uint8);
    function latestAnswer() external view returns (int256);
}

/// Price of one asset in another for a Morpho market, from the two assets' dollar feeds.
contract FeedOracle {
    Feed public immutable collateralFeed;
    Feed public immutable loanFeed;
    uint256 private immutable scale;

    constructor(Feed collateral, uint256 collateralDecimals, Feed loan, uint256 loanDecimals) {
        (collateralFeed, loanFeed) = (collateral, loan);
        scale = 10 ** (36 + loanDecimals + loan.decimals() - collateralDecimals - collateral.decimals());
    }

    /// Raw loan units per raw collateral unit, scaled by 1e36, rounded down.
    function price() external view returns (uint256) {
        int256 collateral = collateralFeed.latestAnswer();
        int256 loan = loanFeed.latestAnswer();
        require(collateral > 0 && loan > 0, "no price");
        return scale * uint256(collateral) / uint256(loan);
    }
}

/// Interest for a Morpho market: as many percent a year as percent of the supply are borrowed.
contract UtilizationRate {
    struct MarketParams { address loan; address collateral; address oracle; address irm; uint256 lltv; }

    struct Market {
        uint128 supplyAssets;
        uint128 supplyShares;
        uint128 borrowAssets;
        uint128 borrowShares;
        uint128 lastUpdate;
        uint128 fee;
    }

    /// Per second, scaled by 1e18.
    function borrowRateView(MarketParams memory, Market memory market) public pure returns (uint256) {
        if (market.supplyAssets == 0) return 0;
        return uint256(market.borrowAssets) * 1e18 / market.supplyAssets / 365 days;
    }

    function borrowRate(MarketParams memory params, Market memory market) external pure returns (uint256) {
        return borrowRateView(params, market);
    }
}
