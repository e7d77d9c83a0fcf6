# pragma version 0.4.3
# A price adapter over a feed, as Aave's for stable coins: never more than a cap.

interface Feed:
    def latestAnswer() -> int256: view

ASSET_TO_USD_AGGREGATOR: public(address)
cap: int256

@deploy
def __init__(feed: address, cap: int256):
    self.ASSET_TO_USD_AGGREGATOR = feed
    self.cap = cap

@external
@view
def latestAnswer() -> int256:
    return min(staticcall Feed(self.ASSET_TO_USD_AGGREGATOR).latestAnswer(), self.cap)
