# pragma version 0.4.3
# What protocols ask for a price: it points to the present aggregator.

interface Aggregator:
    def latestAnswer() -> int256: view
    def latestRoundData() -> (uint80, int256, uint256, uint256, uint80): view

aggregator: public(address)

@deploy
def __init__(aggregator: address):
    self.aggregator = aggregator

@external
@view
def decimals() -> uint8:
    return 8

@external
@view
def latestAnswer() -> int256:
    return staticcall Aggregator(self.aggregator).latestAnswer()

@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    return staticcall Aggregator(self.aggregator).latestRoundData()
