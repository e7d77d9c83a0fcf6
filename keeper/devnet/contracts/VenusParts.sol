// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

interface Feed {
    function decimals() external view returns (uint8);
    function latestAnswer() external view returns (int256);
}

interface VToken {
    function underlying() external view returns (address);
}

/// Prices for a Venus pool as its ResilientOracle gives them, from the tokens' dollar feeds.
contract FeedPrices {
    struct Source { Feed feed; uint8 tokenDecimals; }

    mapping(address token => Source) public sources;

    error InvalidPrice(address token);

    function set(address token, Feed feed, uint8 tokenDecimals) external { sources[token] = Source(feed, tokenDecimals); }

    /// Dollars per raw token unit, scaled by 1e36.
    function getPrice(address token) public view returns (uint256) {
        Source memory source = sources[token];
        int256 answer = source.feed.latestAnswer();
        if (answer <= 0) revert InvalidPrice(token);
        return uint256(answer) * 10 ** (36 - source.tokenDecimals - source.feed.decimals());
    }

    function getUnderlyingPrice(address vToken) external view returns (uint256) {
        return getPrice(VToken(vToken).underlying());
    }

    function updatePrice(address) external {}

    function updateAssetPrice(address) external {}
}

/// Where a Venus market sends its share of what is seized; here nobody counts it.
contract SeizedShare {
    function updateAssetsState(address, address, uint8) external {}
}
