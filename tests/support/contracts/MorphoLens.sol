// SPDX-License-Identifier: MIT
pragma solidity ^0.8.0;

import {IMorpho, MarketParams, Id, Position} from "src/interfaces/IMorpho.sol";
import {IOracle} from "src/interfaces/IOracle.sol";
import {ORACLE_PRICE_SCALE} from "src/libraries/ConstantsLib.sol";
import {MarketParamsLib} from "src/libraries/MarketParamsLib.sol";
import {MathLib} from "src/libraries/MathLib.sol";
import {MorphoBalancesLib} from "src/libraries/periphery/MorphoBalancesLib.sol";

/// What Morpho's own libraries make of a position, interest included.
contract MorphoLens {
    using MathLib for uint256;
    using MarketParamsLib for MarketParams;

    function owed(IMorpho morpho, MarketParams memory params, address who) public view returns (uint256) {
        return MorphoBalancesLib.expectedBorrowAssets(morpho, params, who);
    }

    function look(IMorpho morpho, MarketParams memory params, address who)
        external view returns (uint256 borrowed, uint256 collateral, uint256 most, bool healthy)
    {
        borrowed = owed(morpho, params, who);
        collateral = morpho.position(params.id(), who).collateral;
        most = collateral.mulDivDown(IOracle(params.oracle).price(), ORACLE_PRICE_SCALE).wMulDown(params.lltv);
        healthy = borrowed == 0 || most >= borrowed;
    }
}
