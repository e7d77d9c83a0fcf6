"""Selectors and topics, beside the shapes of ABI encoding of `keeper.protocols.words`.

Constants are the hashes of the signatures beside them; the tests recompute them from `abis/aave_v3`.
"""

from __future__ import annotations

from keeper.protocols.words import (
    address_list,
    call,
    encode,
    maybe_address,
    maybe_uint,
    text,
    uint,
    words,
)

ZERO = bytes(20)
MULTICALL3 = bytes.fromhex("ca11bde05977b3631167028862be2a173976ca11")


def _selector(digits: str) -> bytes:
    return bytes.fromhex(digits)


# --- functions --------------------------------------------------------------------------------------------------------

GET_POOL = _selector("026b1d5f")  # getPool()
GET_POOL_CONFIGURATOR = _selector("631adfca")  # getPoolConfigurator()
GET_PRICE_ORACLE = _selector("fca513a8")  # getPriceOracle()
GET_PRICE_ORACLE_SENTINEL = _selector("5eb88d3d")  # getPriceOracleSentinel()

GET_RESERVES_LIST = _selector("d1946dbc")  # getReservesList()
GET_RESERVE_DATA = _selector("35ea6a75")  # getReserveData(address)
GET_USER_CONFIGURATION = _selector("4417a583")  # getUserConfiguration(address)
GET_USER_EMODE = _selector("eddf1b79")  # getUserEMode(address)
GET_USER_ACCOUNT_DATA = _selector("bf92857c")  # getUserAccountData(address)
GET_RESERVE_NORMALIZED_INCOME = _selector("d15e0053")  # getReserveNormalizedIncome(address)
GET_RESERVE_NORMALIZED_VARIABLE_DEBT = _selector("386497fd")  # getReserveNormalizedVariableDebt(address)
GET_VIRTUAL_UNDERLYING_BALANCE = _selector("6fb07f96")  # getVirtualUnderlyingBalance(address), v3.1
GET_LIQUIDATION_GRACE_PERIOD = _selector("5c9a8b18")  # getLiquidationGracePeriod(address), v3.1
GET_RESERVE_DEFICIT = _selector("c952485d")  # getReserveDeficit(address), v3.3
RESERVE_INTEREST_RATE_STRATEGY = _selector("1b8feb0e")  # RESERVE_INTEREST_RATE_STRATEGY(), v3.4
GET_EMODE_CATEGORY_DATA = _selector("6c6f6ae1")  # getEModeCategoryData(uint8)
GET_EMODE_CATEGORY_COLLATERAL_CONFIG = _selector("b286f467")  # getEModeCategoryCollateralConfig(uint8), v3.2
GET_EMODE_CATEGORY_COLLATERAL_BITMAP = _selector("b0771dba")  # getEModeCategoryCollateralBitmap(uint8), v3.2
GET_EMODE_CATEGORY_LTVZERO_BITMAP = _selector("fd89dee5")  # getEModeCategoryLtvzeroBitmap(uint8), v3.6
GET_IS_EMODE_CATEGORY_ISOLATED = _selector("05f68acb")  # getIsEModeCategoryIsolated(uint8), v3.7
FLASHLOAN_PREMIUM_TOTAL = _selector("074b2e43")  # FLASHLOAN_PREMIUM_TOTAL()
GET_LIQUIDATION_LOGIC = _selector("911a3413")  # getLiquidationLogic()
LIQUIDATION_CALL = _selector("00a718a9")  # liquidationCall(address,address,address,uint256,bool)

# Of the pool, for its PoolConfigurator: what a rehearsal on a fork does in its name.
SET_CONFIGURATION = _selector("f51e435b")  # setConfiguration(address,(uint256))
CONFIGURE_EMODE = _selector("7b75d7f4")  # configureEModeCategory(uint8,(uint16,uint16,uint16,string)), v3.2
CONFIGURE_EMODE_WITH_SOURCE = _selector("d579ea7d")  # …(uint8,(uint16,uint16,uint16,address,string)), until v3.1

CLOSE_FACTOR_HF_THRESHOLD = _selector("a18964a5")  # CLOSE_FACTOR_HF_THRESHOLD()
MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD = _selector("64e377d0")  # MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD()
MIN_LEFTOVER_BASE = _selector("1a00fd00")  # MIN_LEFTOVER_BASE()

GET_ASSET_PRICE = _selector("b3596f07")  # getAssetPrice(address)
GET_SOURCE_OF_ASSET = _selector("92bf2be0")  # getSourceOfAsset(address)
BASE_CURRENCY_UNIT = _selector("8c89b64f")  # BASE_CURRENCY_UNIT()
IS_LIQUIDATION_ALLOWED = _selector("7a5d20ea")  # isLiquidationAllowed()

SYMBOL = _selector("95d89b41")  # symbol()
BALANCE_OF = _selector("70a08231")  # balanceOf(address)
RESERVE_TREASURY_ADDRESS = _selector("ae167335")  # RESERVE_TREASURY_ADDRESS()
TOTAL_SUPPLY = _selector("18160ddd")  # totalSupply()
SCALED_BALANCE_OF = _selector("1da24f3e")  # scaledBalanceOf(address)
SCALED_TOTAL_SUPPLY = _selector("b1bf962d")  # scaledTotalSupply()
PRINCIPAL_BALANCE_OF = _selector("c634dfaa")  # principalBalanceOf(address), stable debt until v3.1
GET_USER_STABLE_RATE = _selector("e78c9b3b")  # getUserStableRate(address), stable debt until v3.1
GET_USER_LAST_UPDATED = _selector("79ce6b8c")  # getUserLastUpdated(address), stable debt until v3.1
GET_DISCOUNT_TOKEN = _selector("efe3de14")  # getDiscountToken(), GHO's debt token until v3.3

LATEST_ROUND_DATA = _selector("feaf968c")  # latestRoundData()
LATEST_TIMESTAMP = _selector("8205bf6a")  # latestTimestamp()
ASSET_TO_USD_AGGREGATOR = _selector("4ebdc284")  # ASSET_TO_USD_AGGREGATOR(), Aave's capped price adapters
BASE_TO_USD_AGGREGATOR = _selector("d221087c")  # BASE_TO_USD_AGGREGATOR(), the same
GET_CURRENT_BLOCK_TIMESTAMP = _selector("0f28c97d")  # getCurrentBlockTimestamp(), Multicall3

# --- events -----------------------------------------------------------------------------------------------------------

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
RESERVE_DATA_UPDATED = "0x804c9b842b2748a22bb64b345453a3de7ca54a6ca45ce00d415894979e22897a"
COLLATERAL_ENABLED = "0x00058a56ea94653cdf4f152d227ace22d4c00ad99e2a43f58cb7d9e3feb295f2"
COLLATERAL_DISABLED = "0x44c58d81365b66dd4b1a7f36c25aa97b8c71c361ee4937adc1a00000227db5dd"
USER_EMODE_SET = "0xd728da875fc88944cbf17638bcbe4af0eedaef63becd1d1c57cc097eb4608d84"
LIQUIDATION_CALLED = "0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"

EMODE_CATEGORY_ADDED = "0x0acf8b4a3cace10779798a89a206a0ae73a71b63acdd3be2801d39c2ef7ab3cb"
ASSET_COLLATERAL_IN_EMODE_CHANGED = "0x79409190108b26fcb0e4570f8e240f627bf18fd01a55f751010224d5bd486098"
ASSET_LTVZERO_IN_EMODE_CHANGED = "0xc0a450fbad635333e47f3322ec028a8e0b3909f79c721312a356a0fab5fa8b94"

RESERVE_EVENTS = frozenset(
    {  # each names in its first topic the reserve to read again
        "0x3a0ca721fc364424566385a1aa271ed508cc2c0949c2272575fb3013a163a45f",  # ReserveInitialized
        "0xeeec4c06f7adad215cbdb4d2960896c83c26aedce02dde76d36fa28588d62da4",  # ReserveDropped
        "0x637febbda9275aea2e85c0ff690444c8d87eb2e8339bbede9715abcc89cb0995",  # CollateralConfigurationChanged
        "0xc36c7d11ba01a5869d52aa4a3781939dab851cbc9ee6e7fdcedc7d58898a3f1e",  # ReserveActive
        "0x0c4443d258a350d27dc50c378b2ebf165e6469725f786d21b30cab16823f5587",  # ReserveFrozen
        "0xe188d542a5f11925d3a3af33703cdd30a43cb3e8066a3cf68b1b57f61a5a94b5",  # ReservePaused
        "0xb46e2b82b0c2cf3d7d9dece53635e165c53e0eaa7a44f904d61a2b7174826aef",  # ReserveFactorChanged
        "0x0263602682188540a2d633561c0b4453b7d8566285e99f9f6018b8ef2facef49",  # SupplyCapChanged
        "0xb5b0a963825337808b6e3154de8e98027595a5cad4219bb3a9bc55b192f4b391",  # LiquidationProtocolFeeChanged
        "0xdf4f96448786bcd6fecc9f1fa25f1fbbbee6a5c9e76d635a615ac57bb5983d10",  # LiquidationGracePeriodChanged
        "0x1df36dc1651d06d990805068d22811a3a9ca4396190787ef59f9102e61868fff",  # LiquidationGracePeriodDisabled
        "0x1e608c2c753fede2f1f22fca4170277b53ebe5015e488a53414a8921446b7c40",  # ReserveInterestRateDataChanged
        "0xdb8dada53709ce4988154324196790c2e4a60c377e1256790946f83b87db3c33",  # ReserveInterestRateStrategyChanged
        "0xa76f65411ec66a7fb6bc467432eb14767900449ae4469fa295e4441fe5e1cb73",  # ATokenUpgraded
        "0x7a943a5b6c214bf7726c069a878b1e2a8e7371981d516048b84e03743e67bc28",  # StableDebtTokenUpgraded
        "0x9439658a562a5c46b1173589df89cf001483d685bad28aedaff4a88656292d81",  # VariableDebtTokenUpgraded
        "0x5bb69795b6a2ea222d73a5f8939c23471a1f85a99c7ca43c207f1b71f10c6264",  # EModeAssetCategoryChanged (to v3.1)
        "0x22c5b7b2d8561d39f7f210b6b326a1aa69f15311163082308ac4877db6339dc1",  # AssetSourceUpdated
    }
)
MARKET_EVENTS = frozenset(
    {  # rare, and each may concern everything
        "0x90affc163f1a2dfedcd36aa02ed992eeeba8100a4014f0b4cdc20ea265a66627",  # PoolUpdated
        "0x8932892569eba59c8382a089d9b732d1f49272878775235761a2a6b0309cd465",  # PoolConfiguratorUpdated
        "0x56b5f80d8cac1479698aa7d01605fd6111e90b15fc4d2b377417f46034876cbd",  # PriceOracleUpdated
        "0x5326514eeca90494a14bedabcff812a0e683029ee85d1e23824d44fd14cd6ae7",  # PriceOracleSentinelUpdated
        "0x4a465a9bd819d9662563c1e11ae958f8109e437e7f4bf1c6ef0b9a7b3f35d478",  # ProxyCreated
        "0x9ef0e8c8e52743bb38b83b17d9429141d494b8041ca6d616a6c77cebae9cd8b7",  # AddressSet
        "0x3bbd45b5429b385e3fb37ad5cd1cd1435a3c8ec32196c7937597365a3fd3e99c",  # AddressSetAsProxy
        "0x71aba182c9d0529b516de7a78bed74d49c207ef7e152f52f7ea5d8730138f643",  # FlashloanPremiumTotalUpdated
    }
)
TOPICS = (
    frozenset(
        {
            TRANSFER,
            RESERVE_DATA_UPDATED,
            COLLATERAL_ENABLED,
            COLLATERAL_DISABLED,
            USER_EMODE_SET,
            LIQUIDATION_CALLED,
            EMODE_CATEGORY_ADDED,
            ASSET_COLLATERAL_IN_EMODE_CHANGED,
            ASSET_LTVZERO_IN_EMODE_CHANGED,
        }
    )
    | RESERVE_EVENTS
    | MARKET_EVENTS
)

__all__ = [
    "address_list",
    "call",
    "encode",
    "maybe_address",
    "maybe_uint",
    "text",
    "uint",
    "words",
]
