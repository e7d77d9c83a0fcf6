// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

interface Token {
    function transfer(address to, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

interface Feed { function latestAnswer() external view returns (int256); }

/// The smallest lender: dollars (6 decimals) against one token (18 decimals), without interest.
contract Pawnshop {
    struct Pawn { uint128 collateral; uint128 debt; }

    Token public immutable token;
    Token public immutable dollar;
    Feed public immutable feed;
    mapping(address => Pawn) public pawns;

    event Changed(address indexed owner);
    event Liquidated(address indexed owner, address indexed liquidator, uint256 repaid, uint256 seized);

    error Healthy();

    constructor(Token token_, Token dollar_, Feed feed_) { (token, dollar, feed) = (token_, dollar_, feed_); }

    /// What may be owed, and what is, in dollars with 8 decimals.
    function standing(address owner) public view returns (uint256 limit, uint256 owed) {
        Pawn memory pawn = pawns[owner];
        limit = uint256(pawn.collateral) * uint256(feed.latestAnswer()) / 1e18 * 80 / 100;
        owed = uint256(pawn.debt) * 100;
    }

    function pledge(uint128 collateral, uint128 borrowed) external {
        token.transferFrom(msg.sender, address(this), collateral);
        pawns[msg.sender].collateral += collateral;
        pawns[msg.sender].debt += borrowed;
        (uint256 limit, uint256 owed) = standing(msg.sender);
        require(owed <= limit, "not enough collateral");
        dollar.transfer(msg.sender, borrowed);
        emit Changed(msg.sender);
    }

    function repay(address owner, uint128 repaid) external {
        dollar.transferFrom(msg.sender, address(this), repaid);
        pawns[owner].debt -= repaid;
        emit Changed(owner);
    }

    /// Repay for an owner, and take 5 % more of the collateral than that is worth.
    function liquidate(address owner, uint128 repaid) external {
        (uint256 limit, uint256 owed) = standing(owner);
        if (owed <= limit) revert Healthy();
        uint256 seized = uint256(repaid) * 105e18 / uint256(feed.latestAnswer());
        pawns[owner].debt -= repaid;
        pawns[owner].collateral -= uint128(seized);
        dollar.transferFrom(msg.sender, address(this), repaid);
        token.transfer(msg.sender, seized);
        emit Liquidated(owner, msg.sender, repaid, seized);
    }
}
