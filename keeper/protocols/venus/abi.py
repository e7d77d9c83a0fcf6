"""Selectors and topics. Constants are the hashes of the signatures beside them; the tests recompute them from
`abis/venus`."""

from __future__ import annotations


def _selector(digits: str) -> bytes:
    return bytes.fromhex(digits)


# --- the comptroller --------------------------------------------------------------------------------------------------

GET_ALL_MARKETS = _selector("b0772d0b")  # getAllMarkets()
ORACLE = _selector("7dc0d1d0")  # oracle()
CLOSE_FACTOR = _selector("e8755446")  # closeFactorMantissa()
LIQUIDATION_INCENTIVE = _selector("4ada90af")  # liquidationIncentiveMantissa()
MIN_LIQUIDATABLE_COLLATERAL = _selector("db5c65de")  # minLiquidatableCollateral(), isolated pools
ACCESS_CONTROL_MANAGER = _selector("b4a0bdf3")  # accessControlManager()
MARKETS = _selector("8e8f294b")  # markets(address)
IS_FORCED_LIQUIDATION_ENABLED = _selector("8c1ac18a")  # isForcedLiquidationEnabled(address)
ACTION_PAUSED = _selector("e85a2960")  # actionPaused(address,uint8)
SUPPLY_CAPS = _selector("02c3bcbb")  # supplyCaps(address)
GET_ASSETS_IN = _selector("abfceffc")  # getAssetsIn(address)
GET_ACCOUNT_LIQUIDITY = _selector("5ec88c79")  # getAccountLiquidity(address)
HEAL_ACCOUNT = _selector("92136395")  # healAccount(address)
LIQUIDATE_ACCOUNT = _selector("2bce219c")  # liquidateAccount(address,(address,address,uint256)[])
SET_COLLATERAL_FACTOR = _selector("5cc4fdeb")  # setCollateralFactor(address,uint256,uint256)

# --- a market's token -------------------------------------------------------------------------------------------------

UNDERLYING = _selector("6f307dc3")  # underlying()
ACCRUAL_SLOT = _selector("6c540baf")  # accrualBlockNumber(); seconds where the market counts by time
BORROW_INDEX = _selector("aa5af0fd")  # borrowIndex()
TOTAL_BORROWS = _selector("47bd3718")  # totalBorrows()
TOTAL_RESERVES = _selector("8f840ddd")  # totalReserves()
BAD_DEBT = _selector("bbcac557")  # badDebt()
TOTAL_SUPPLY = _selector("18160ddd")  # totalSupply()
GET_CASH = _selector("3b1d21a2")  # getCash()
BORROW_RATE = _selector("f8f9da28")  # borrowRatePerBlock()
RESERVE_FACTOR = _selector("173b9904")  # reserveFactorMantissa()
PROTOCOL_SEIZE_SHARE = _selector("6752e702")  # protocolSeizeShareMantissa()
EXCHANGE_RATE_STORED = _selector("182df0f5")  # exchangeRateStored()
IS_TIME_BASED = _selector("c7ad0895")  # isTimeBased()
SLOTS_PER_YEAR = _selector("6857249c")  # blocksOrSecondsPerYear()
BALANCE_OF = _selector("70a08231")  # balanceOf(address)
BORROW_BALANCE_STORED = _selector("95dd9193")  # borrowBalanceStored(address)
LIQUIDATE_BORROW = _selector("f5e3c462")  # liquidateBorrow(address,uint256,address)
REDEEM = _selector("db006a75")  # redeem(uint256)
ACCRUE_INTEREST = _selector("a6afed95")  # accrueInterest()

# --- prices and tokens ------------------------------------------------------------------------------------------------

GET_UNDERLYING_PRICE = _selector("fc57d4df")  # getUnderlyingPrice(address)
GET_TOKEN_CONFIG = _selector("cb67e3b1")  # getTokenConfig(address), of the ResilientOracle
TOKEN_CONFIGS = _selector("1b69dc5f")  # tokenConfigs(address), of the ChainlinkOracle
SYMBOL = _selector("95d89b41")  # symbol()
DECIMALS = _selector("313ce567")  # decimals()

# --- events of a market's token ---------------------------------------------------------------------------------------

ACCRUED = "0x4dec04e750ca11537cabcd8a9eab06494de08da3735bc8871cd41250e190bc04"
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
BORROWED = "0x13ed6866d4e1ee6da46f845c46d7e54120883d75c5ea9a2dacc1c4ca8984ab80"
REPAID = "0x1a2a22cb034d26d1854bdc6666a5b91fe25efbbb5dcad3b0355478d6f5c362a1"
HEALED = "0x9fe0294717a8efbc6ace1c151b73a4c89982339b2228a27d1ca21394e348986f"
LIQUIDATED = "0x298637f684da70674f26509b10f07ec2fbc77a335ab1e7d6215a4b2484d8bb52"

STATE_EVENTS = frozenset(
    {  # each changes what a market's token owes or holds
        ACCRUED,
        "0xa91e67c5ea634cd43a12c5a482724b03de01e85ca68702a53d0c2f45cb7c1dc5",  # ReservesAdded
        "0x9cc63bb4ef37ad6a5f5f657dfaf94865531d4234acbc431cc8ac035468f62720",  # SpreadReservesReduced
        "0x90125ffdb441e57c4f6bf69789206424859f206bea5727f2d81ad2470826ef6a",  # BadDebtIncreased
        "0x9e19ec7d2b8f8a94df8cc0072453ace318d221e3cbb2731d0eaa0baac856520f",  # BadDebtRecovered
        "0x56a36ec0a133fa42db4951702e0f2f268ded6733b1ace7e7c90ec2dc45c58d30",  # CashSynced
    }
)

# --- events of the comptroller ----------------------------------------------------------------------------------------

ENTERED = "0x3ab23ab0d51cccc0c3085aec51f99228625aa1a922b3a8ca89a26b0f2027a1a5"
EXITED = "0xe699a64c18b07ac5b7301aa273f36a2287239eb9501d81950672794afba29a0d"

MARKET_EVENTS = frozenset(
    {  # rare, and each has everything read again; the first three are of a market's token
        "0xaaa68312e2ea9d50e16af5068410ab56e1a1fd06037b1a35664812c30f821460",  # NewReserveFactor
        "0xf5815f353a60e815cce7553e4f60c533a59d26b1b5504ea4b6db8d60da3e4da2",  # NewProtocolSeizeShare
        "0xedffc32e068c7c95dfd4bdfd5c4d939a084d6b11c4199eac8436ed234d72f926",  # NewMarketInterestRateModel
        "0x3b9670cf975d26958e754b57098eaa2ac914d8d2a31b83257997b9f346110fd9",  # NewCloseFactor
        "0x70483e6592cd5182d45ac970e05bc62cdcc90e9d8ef2c2dbe686cf383bcd7fc5",  # NewCollateralFactor
        "0x9e92c7d5fef69846094f3ddcadcb9402c6ba469c461368714f1cabd8ef48b591",  # NewLiquidationThreshold
        "0xaeba5a6c40a8ac138134bff1aaa65debf25971188a58804bad717f82f0ec1316",  # NewLiquidationIncentive
        "0xd52b2b9b7e9ee655fcb95d2e5b9e0c9f69e7ef2b8e9d2d0ea78402d576d22e22",  # NewPriceOracle
        "0x35007a986bcd36d2f73fc7f1b73762e12eadb4406dd163194950fd3b5a6a827d",  # ActionPausedMarket
        "0x00b4f4f153ad7f1397564a8830fef092481e8cf6a2cd3ff04f96d10ba51200a5",  # NewMinLiquidatableCollateral
        "0x9e0ad9cee10bdf36b7fbd38910c0bdff0f275ace679b45b922381c2723d676f8",  # NewSupplyCap
        "0xaf16ad15f9e29d5140e8e81a30a92a755aa8edff3d301053c84392b70c0d09a3",  # MarketSupported
        "0x302feb03efd5741df80efe7f97f5d93d74d46a542a3d312d0faae64fa1f3e0e9",  # MarketUnlisted
        "0x03561d5280ebb02280893b1d60978e4a27e7654a149c5d0e7c2cf65389ce1694",  # IsForcedLiquidationEnabledUpdated
    }
)

TOPICS = STATE_EVENTS | MARKET_EVENTS | {TRANSFER, BORROWED, REPAID, HEALED, LIQUIDATED, ENTERED, EXITED}
