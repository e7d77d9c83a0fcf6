// What Morpho's own SDK makes of a state. JSON Lines in, JSON Lines out; integers as decimal strings.
const { AccrualPosition, Market, MarketParams } = require("@morpho-org/blue-sdk");
const ADDRESS = "0x" + "11".repeat(20);

function judged(state) {
  const params = new MarketParams({
    loanToken: ADDRESS, collateralToken: ADDRESS, oracle: ADDRESS, irm: "0x" + "22".repeat(20), lltv: BigInt(state.lltv),
  });
  const [supply, supplyShares, borrow, borrowShares, lastUpdate, fee] = state.totals.map(BigInt);
  const market = new Market({
    params, totalSupplyAssets: supply, totalSupplyShares: supplyShares, totalBorrowAssets: borrow,
    totalBorrowShares: borrowShares, lastUpdate, fee, price: BigInt(state.price), rateAtTarget: BigInt(state.rateAtTarget),
  });
  const position = new AccrualPosition(
    { user: ADDRESS, supplyShares: 0n, borrowShares: BigInt(state.borrowShares), collateral: BigInt(state.collateral) },
    market,
  ).accrueInterest(BigInt(state.timestamp));
  return {
    totalBorrowAssets: position.market.totalBorrowAssets, borrowAssets: position.borrowAssets,
    maxBorrowAssets: position.maxBorrowAssets, healthFactor: position.healthFactor, isHealthy: position.isHealthy,
    liquidationIncentiveFactor: params.liquidationIncentiveFactor, seizableCollateral: position.seizableCollateral,
    liquidationPrice: position.liquidationPrice,
  };
}

const lines = require("fs").readFileSync(0, "utf8").split("\n").filter(Boolean);
for (const line of lines)
  console.log(JSON.stringify(judged(JSON.parse(line)), (_, value) => (typeof value === "bigint" ? value.toString() : value)));
