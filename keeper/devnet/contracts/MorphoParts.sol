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

/// The adaptive curve: the rate at the target utilization drifts with the distance from it, and the rate now is that
/// rate on a curve four times as steep above the target as at it. All divisions toward zero.
contract AdaptiveCurve {
    int256 private constant WAD = 1e18;
    int256 private constant TARGET = 0.9e18;
    int256 private constant STEEPNESS = 4e18;
    int256 private constant SPEED = int256(50e18) / 365 days;
    int256 private constant INITIAL = int256(0.04e18) / 365 days;
    int256 private constant LEAST = int256(0.001e18) / 365 days;
    int256 private constant MOST = int256(2e18) / 365 days;
    int256 private constant LN_2 = 693147180559945309;

    address public immutable MORPHO;
    mapping(bytes32 => int256) public rateAtTarget;

    constructor(address morpho) { MORPHO = morpho; }

    function borrowRateView(UtilizationRate.MarketParams memory params, UtilizationRate.Market memory market)
        external view returns (uint256 average)
    {
        (average, ) = rates(keccak256(abi.encode(params)), market);
    }

    function borrowRate(UtilizationRate.MarketParams memory params, UtilizationRate.Market memory market)
        external returns (uint256 average)
    {
        require(msg.sender == MORPHO, "not Morpho");
        bytes32 id = keccak256(abi.encode(params));
        (average, rateAtTarget[id]) = rates(id, market);
    }

    /// Per second, scaled by 1e18: the average since the market's last update, and the rate at the target now.
    function rates(bytes32 id, UtilizationRate.Market memory market) private view returns (uint256, int256) {
        int256 used = 0;
        if (market.supplyAssets > 0) used = int256(uint256(market.borrowAssets) * 1e18 / market.supplyAssets);
        int256 error = (used - TARGET) * WAD / (used > TARGET ? WAD - TARGET : TARGET);
        int256 start = rateAtTarget[id];
        if (start == 0) return (onCurve(INITIAL, error), INITIAL);
        int256 drift = SPEED * error / WAD * int256(block.timestamp - market.lastUpdate);
        if (drift == 0) return (onCurve(start, error), start);
        int256 end = moved(start, drift);
        return (onCurve((start + end + 2 * moved(start, drift / 2)) / 4, error), end);
    }

    function onCurve(int256 rate, int256 error) private pure returns (uint256) {
        int256 slope = error < 0 ? WAD - WAD * WAD / STEEPNESS : STEEPNESS - WAD;
        return uint256((slope * error / WAD + WAD) * rate / WAD);
    }

    function moved(int256 rate, int256 drift) private pure returns (int256) {
        int256 end = rate * exponential(drift) / WAD;
        return end < LEAST ? LEAST : end > MOST ? MOST : end;
    }

    /// A power of two times a polynomial of the second order.
    function exponential(int256 x) private pure returns (int256) {
        if (x < -41446531673892822312) return 0;
        if (x >= 93859467695000404319) return 57716089161558943949701069502944508345128422502756744429568 * 1e18;
        int256 power = (x + (x < 0 ? -(LN_2 / 2) : LN_2 / 2)) / LN_2;
        int256 rest = x - power * LN_2;
        int256 value = WAD + rest + rest * rest / WAD / 2;
        return power >= 0 ? value << uint256(power) : value >> uint256(-power);
    }
}

/// An oracle that says what it is told, reverts on demand, and can vanish.
contract SettableOracle {
    uint256 public answer;
    bool public broken;

    constructor(uint256 answer_) { answer = answer_; }

    function set(uint256 answer_) external { answer = answer_; }

    function setBroken(bool broken_) external { broken = broken_; }

    function price() external view returns (uint256) {
        require(!broken, "oracle broken");
        return answer;
    }
}
