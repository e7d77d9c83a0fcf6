// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

struct MarketParams { address loan; address collateral; address oracle; address irm; uint256 lltv; }

struct Terms {
    uint256 lltv;
    uint256 closeFactor1;
    uint256 closeFactor2;
    uint256 incentive1;
    uint256 incentive2;
    address oracle;
}

interface Lender {
    function accrueInterest(MarketParams memory params) external;
    function market(bytes32 id) external view returns (uint128, uint128, uint128, uint128, uint128, uint128);
    function position(bytes32 id, address who) external view returns (uint256, uint128, uint128);
    function idToMarketParams(bytes32 id) external view returns (address, address, address, address, uint256);
    function repay(MarketParams memory params, uint256 assets, uint256 shares, address owner, bytes memory data)
        external returns (uint256, uint256);
    function withdrawCollateral(MarketParams memory params, uint256 assets, address owner, address receiver) external;
}

interface Priced { function price() external view returns (uint256); }

interface Payable {
    function approve(address spender, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

/// Lets anybody repay a part of a loan, for collateral, before Morpho itself would: of owners who authorized it there.
/// Written after morpho-org/pre-liquidation, with its interface and its arithmetic.
contract PreLiquidation {
    Lender public immutable MORPHO;
    bytes32 public immutable ID;
    MarketParams private params;
    Terms private terms;

    event PreLiquidate(
        bytes32 indexed id, address indexed liquidator, address indexed borrower,
        uint256 repaidAssets, uint256 repaidShares, uint256 seizedAssets
    );

    error LiquidatablePosition();
    error NotPreLiquidatablePosition();
    error PreLiquidationTooLarge(uint256 repaidShares, uint256 repayableShares);

    constructor(Lender morpho, bytes32 id, Terms memory terms_) {
        (MORPHO, ID, terms) = (morpho, id, terms_);
        (params.loan, params.collateral, params.oracle, params.irm, params.lltv) = morpho.idToMarketParams(id);
        require(terms_.lltv < params.lltv, "PreLltvTooHigh");
        Payable(params.loan).approve(address(morpho), type(uint256).max);
    }

    function preLiquidationParams() external view returns (Terms memory) { return terms; }

    function preLiquidate(address borrower, uint256 seized, uint256 repaid, bytes calldata data)
        external returns (uint256, uint256)
    {
        require((seized == 0) != (repaid == 0), "InconsistentInput");
        MORPHO.accrueInterest(params);
        uint256 price = Priced(terms.oracle).price();
        (uint256 quotient, uint256 repayable) = standing(borrower, price);
        (seized, repaid) = sized(seized, repaid, price, terms.incentive1 + quotient * (terms.incentive2 - terms.incentive1) / 1e18);
        if (repaid > repayable) revert PreLiquidationTooLarge(repaid, repayable);
        return (seized, settle(borrower, seized, repaid, abi.encode(seized, borrower, msg.sender, data)));
    }

    function settle(address borrower, uint256 seized, uint256 repaid, bytes memory callback)
        private returns (uint256 assets)
    {
        (assets, ) = MORPHO.repay(params, 0, repaid, borrower, callback);
        emit PreLiquidate(ID, msg.sender, borrower, assets, repaid, seized);
    }

    /// How far between the two thresholds the borrower is, scaled by 1e18, and the shares that may be repaid.
    function standing(address borrower, uint256 price) private view returns (uint256 quotient, uint256 repayable) {
        (, uint128 shares, uint128 collateral) = MORPHO.position(ID, borrower);
        (, , uint128 total, uint128 totalShares, , ) = MORPHO.market(ID);
        uint256 quoted = uint256(collateral) * price / 1e36;
        uint256 owed = up(uint256(shares) * (uint256(total) + 1), uint256(totalShares) + 1e6);
        if (owed > quoted * params.lltv / 1e18) revert LiquidatablePosition();
        if (owed <= quoted * terms.lltv / 1e18) revert NotPreLiquidatablePosition();
        quotient = (up(owed * 1e18, quoted) - terms.lltv) * 1e18 / (params.lltv - terms.lltv);
        uint256 factor = terms.closeFactor1 + quotient * (terms.closeFactor2 - terms.closeFactor1) / 1e18;
        repayable = uint256(shares) * factor / 1e18;
    }

    function sized(uint256 seized, uint256 repaid, uint256 price, uint256 incentive)
        private view returns (uint256, uint256)
    {
        (, , uint128 total, uint128 totalShares, , ) = MORPHO.market(ID);
        (uint256 assets, uint256 all) = (uint256(total) + 1, uint256(totalShares) + 1e6);
        if (seized > 0) return (seized, up(up(up(seized * price, 1e36) * 1e18, incentive) * all, assets));
        return (repaid * assets / all * incentive / 1e18 * 1e36 / price, repaid);
    }

    function onMorphoRepay(uint256 repaidAssets, bytes calldata callback) external {
        require(msg.sender == address(MORPHO), "NotMorpho");
        (uint256 seized, address borrower, address liquidator, ) = abi.decode(callback, (uint256, address, address, bytes));
        MORPHO.withdrawCollateral(params, seized, borrower, liquidator);
        Payable(params.loan).transferFrom(liquidator, address(this), repaidAssets);
    }

    function up(uint256 x, uint256 y) private pure returns (uint256) { return (x + y - 1) / y; }
}

contract PreLiquidationFactory {
    Lender public immutable MORPHO;

    event CreatePreLiquidation(address indexed preLiquidation, bytes32 id, Terms preLiquidationParams);

    constructor(Lender morpho) { MORPHO = morpho; }

    function createPreLiquidation(bytes32 id, Terms calldata terms) external returns (PreLiquidation made) {
        made = new PreLiquidation(MORPHO, id, terms);
        emit CreatePreLiquidation(address(made), id, terms);
    }
}
