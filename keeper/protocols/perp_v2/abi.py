"""Selectors and topics. Constants are the hashes of the signatures beside them; the tests recompute them from
`abis/perp_v2`."""

from __future__ import annotations


def _selector(digits: str) -> bytes:
    return bytes.fromhex(digits)


# --- the clearing house and its parts ---------------------------------------------------------------------------------

GET_VAULT = _selector("8d928af8")  # getVault()
GET_ACCOUNT_BALANCE = _selector("6896fabf")  # getAccountBalance()
GET_CLEARING_HOUSE_CONFIG = _selector("aa2a8294")  # getClearingHouseConfig()
GET_EXCHANGE = _selector("f807cd22")  # getExchange()
GET_INSURANCE_FUND = _selector("158626f7")  # getInsuranceFund()
GET_SETTLEMENT_TOKEN = _selector("12803c7d")  # getSettlementToken()
GET_COLLATERAL_MANAGER = _selector("dfa441be")  # getCollateralManager()
GET_MM_RATIO = _selector("a8549402")  # getMmRatio()
GET_IM_RATIO = _selector("543ce73a")  # getImRatio()
GET_LIQUIDATION_PENALTY_RATIO = _selector("fedf924b")  # getLiquidationPenaltyRatio()
GET_INSURANCE_FUND_CAPACITY = _selector("213037c4")  # getInsuranceFundCapacity()
LIQUIDATE = _selector("86b9d81f")  # liquidate(address,address)
CANCEL_ALL_EXCESS_ORDERS = _selector("cc3606dc")  # cancelAllExcessOrders(address,address)

# --- what only a rehearsal on a fork sends ----------------------------------------------------------------------------

MODIFY_OWED_REALIZED_PNL = _selector("874044f3")  # modifyOwedRealizedPnl(address,int256)
BALANCE_OF = _selector("70a08231")  # balanceOf(address)
TRANSFER = _selector("a9059cbb")  # transfer(address,uint256)
APPROVE = _selector("095ea7b3")  # approve(address,uint256)
DEPOSIT = _selector("47e7ef24")  # deposit(address,uint256)

# --- accounts ---------------------------------------------------------------------------------------------------------

GET_BASE_TOKENS = _selector("af74e736")  # getBaseTokens(address)
GET_COLLATERAL_TOKENS = _selector("ed903f7a")  # getCollateralTokens(address)
GET_BALANCE = _selector("f8b2cb4f")  # getBalance(address)
GET_BALANCE_BY_TOKEN = _selector("2e40a51b")  # getBalanceByToken(address,address)
GET_PNL_AND_PENDING_FEE = _selector("bba85bcf")  # getPnlAndPendingFee(address)
HAS_ORDER = _selector("cb3c7b8e")  # hasOrder(address)
GET_ACCOUNT_INFO = _selector("6332fef6")  # getAccountInfo(address,address)
GET_ACCOUNT_VALUE = _selector("5ae80951")  # getAccountValue(address)
GET_MARGIN_REQUIREMENT = _selector("f75c266d")  # getMarginRequirementForLiquidation(address)

# --- markets and collateral -------------------------------------------------------------------------------------------

GET_MARK_PRICE = _selector("5d6f9c14")  # getMarkPrice(address)
GET_PENDING_FUNDING = _selector("cb379aa2")  # getPendingFundingPayment(address,address)
IS_OPEN = _selector("47535d7b")  # isOpen()
IS_CLOSED = _selector("c2b6b58c")  # isClosed()
GET_CLOSED_PRICE = _selector("57a48b01")  # getClosedPrice()
GET_PAUSED_INDEX_PRICE = _selector("1c2ab405")  # getPausedIndexPrice()
GET_COLLATERAL_CONFIG = _selector("f6a44b38")  # getCollateralConfig(address)
GET_COLLATERAL_PRICE = _selector("449e815d")  # getPrice(address,uint256)
GET_PRICE_FEED_DECIMALS = _selector("8c8557d9")  # getPriceFeedDecimals(address)
LATEST_ROUND_DATA = _selector("feaf968c")  # latestRoundData(), of a feed
SYMBOL = _selector("95d89b41")  # symbol()
DECIMALS = _selector("313ce567")  # decimals()

# --- events -----------------------------------------------------------------------------------------------------------

POSITION_LIQUIDATED = "0xd9aced30440caca81570436bc942f816cfd95a3f08f700a2aeb6334c7cb5b497"
POSITION_CHANGED = "0x968bc4f738eae0486dc6736c4b427dbafa4acfdf6eaf223337791ddeb3a56247"
POSITION_CLOSED = "0x90195cdfd4796e4ab1175fced26945fa837ef5989e372fcd306856d8ad0ff23b"
LIQUIDITY_CHANGED = "0xcb47d8bf351d355bdd5497973533eada41777b4509f2585a62ae246336ebaa94"
FUNDING_SETTLED = "0x733330d4aad1a878654bf888817b79bc6478013399be29fa3b8845c81305249e"
PNL_REALIZED = "0xebf4e69d81451d269fc4d9551b06d58bea2ed426d2c528919ce45f6070946efb"
DEPOSITED = "0x8752a472e571a816aea92eec8dae9baf628e840f4929fbcc2d155e6233ff68a7"
WITHDRAWN = "0xd1c19fbcd4551a5edfb66d43d2e337c04837afda3482b42bdf569a8fccdae5fb"
COLLATERAL_LIQUIDATED = "0xbd3320c61b99a54ed3537dce8a75020f70b61d6dd124b6aa28738d1bab9bf77d"
BAD_DEBT_SETTLED = "0x73bac9d49ae6f49cdba3f7381211c12a239898097e5dfdfefcbb904f8b669238"

TRADER_TOPIC = {
    POSITION_LIQUIDATED: 1,
    POSITION_CHANGED: 1,
    POSITION_CLOSED: 1,
    LIQUIDITY_CHANGED: 1,
    FUNDING_SETTLED: 1,
    PNL_REALIZED: 1,
    DEPOSITED: 2,
    WITHDRAWN: 2,
    COLLATERAL_LIQUIDATED: 1,
    BAD_DEBT_SETTLED: 1,
}
"""Place of the account among the topics of each event that changes one."""

SHAPES = {
    POSITION_LIQUIDATED: (3, 4),
    POSITION_CHANGED: (3, 6),
    POSITION_CLOSED: (3, 5),
    LIQUIDITY_CHANGED: (4, 6),
    FUNDING_SETTLED: (3, 1),
    PNL_REALIZED: (2, 1),
    DEPOSITED: (3, 1),
    WITHDRAWN: (3, 1),
    COLLATERAL_LIQUIDATED: (4, 4),
    BAD_DEBT_SETTLED: (2, 1),
}
"""Topics and words of data of each."""

MARKET_EVENTS = frozenset(
    {  # rare, and each has the parameters read again; whether a market is open is asked at every block
        "0xf5835a89fb1ddbf664427bb605f15cdab5c8138d96bf5548af663d80c586f86e",  # CollateralRatioChanged
        "0xf95b3e2798060899824a0bebdd89ff5df3d51c51c5d30f5184bd30d7a6b01708",  # LiquidationPenaltyRatioChanged
    }
)

TOPICS = MARKET_EVENTS | SHAPES.keys()
