// Health factors by the protocols' own SDKs, and how long a warm run over all positions takes. JSON in, JSON out.
const aave = require("@aave/math-utils");
const { AccrualPosition, Market, MarketParams } = require("@morpho-org/blue-sdk");
const ADDRESS = "0x" + "11".repeat(20);

function timed(evaluate) {
  for (let round = 0; round < 2; round++) evaluate(); // the compiler of V8 learns
  const begin = process.hrtime.bigint();
  const healths = evaluate();
  return { seconds: Number(process.hrtime.bigint() - begin) / 1e9, healths };
}

function onAave({ reserves, users, now }) {
  const common = { currentTimestamp: now, marketReferenceCurrencyDecimals: 8, marketReferencePriceInUsd: "100000000" };
  return () => {
    const formattedReserves = aave.formatReserves({ reserves, ...common });
    return users.map(
      (userReserves) => aave.formatUserSummary({ ...common, userReserves, formattedReserves, userEmodeCategoryId: 0 }).healthFactor,
    );
  };
}

function onMorpho({ market: told, positions, now }) {
  const params = new MarketParams({
    loanToken: ADDRESS, collateralToken: ADDRESS, oracle: ADDRESS, irm: "0x" + "22".repeat(20), lltv: BigInt(told.lltv),
  });
  const [supply, supplyShares, borrow, borrowShares, lastUpdate, fee] = told.totals.map(BigInt);
  const market = new Market({
    params, totalSupplyAssets: supply, totalSupplyShares: supplyShares, totalBorrowAssets: borrow,
    totalBorrowShares: borrowShares, lastUpdate, fee, price: BigInt(told.price), rateAtTarget: BigInt(told.rateAtTarget),
  });
  return () =>
    positions.map(([shares, collateral]) => {
      const state = { user: ADDRESS, supplyShares: 0n, borrowShares: BigInt(shares), collateral: BigInt(collateral) };
      return new AccrualPosition(state, market).accrueInterest(BigInt(now)).healthFactor.toString();
    });
}

const asked = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify({ aave: timed(onAave(asked.aave)), morpho: timed(onMorpho(asked.morpho)) }));
