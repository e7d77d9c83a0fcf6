# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
# pragma nonreentrancy on
"""
@title Liquidator
@license MIT
@notice Liquidates with borrowed money. A plan is a list of steps, each a call: take a flash loan, and when the lender
    calls back liquidate, sell what was seized, and repay. A plan reverts unless it gains what it demands. Gains stay
    here until `skim` sends them to the owner.
@dev Who may do what:
    - The owner configures, and may call anything (`rescue`).
    - An operator, the daemon's hot key, may run plans, and send what is here to the owner. Whoever steals that key can
      let profits slip, but cannot take what the contract owns: steps only call functions that the owner allowed, only
      watched tokens can be approved or paid, and every watched balance must end no lower than it began.
    - A step's target may call back once, during that step, with the very steps that were announced.
    - Everybody else may send ether.
    Nothing stays approved after a step. Every function is locked against reentrancy, except those marked otherwise.
    The lock, and all that is known only while a plan runs, are in transient storage (EIP-1153).
"""

import permissions
from ethereum.ercs import IERC20

initializes: permissions
exports: permissions.__interface__

interface WrappedNative:
    def withdraw(amount: uint256): nonpayable


struct Watch:
    token: address      # the zero address is the native coin
    least_gain: int256  # raw units its balance must grow by; only the owner may run a plan with a negative one


struct Step:
    target: address
    value_wei: uint256     # native coin to send along, gained or unwrapped
    token: address         # what the target takes from us; the zero address: nothing
    amount: uint256        # how much; EVERYTHING: all that the plan has gained of the token so far
    spender: address       # approved for the amount during the call; the zero address: nobody
    callback: bytes32      # hash of the steps and calls with which the target may call back; zero: it may not
    bought: address        # a token of which the call must bring
    least_bought: uint256  # this much; 0: it is not looked at
    optional: bool         # when the call reverts, the plan goes on
    head: uint256          # bytes of the call's data
    inserts: bool          # whether the amount follows as a word
    tail: uint256          # bytes of data after that


struct Owed:
    token: address
    amount: uint256


event Executed:
    token: indexed(address)
    gain: int256  # of the token watched first, after the tip
    tip_wei: uint256

event StepFailed:
    target: indexed(address)
    index: uint256  # in its own list
    reason: Bytes[REASON_SIZE]

event PlanFailed:
    index: uint256  # in its batch
    reason: Bytes[REASON_SIZE]

CALLS_SIZE: constant(uint256) = 4096
PLAN_SIZE: constant(uint256) = 6144
MAX_PLANS: constant(uint256) = 8
REASON_SIZE: constant(uint256) = 256
MAX_STEPS: constant(uint256) = 16
MAX_WATCHES: constant(uint256) = 8
EVERYTHING: constant(uint256) = max_value(uint256)
NATIVE: constant(address) = empty(address)

EXECUTE: constant(bytes4) = method_id(
    "execute((address,int256)[],uint256,(address,uint256,address,uint256,address,bytes32,address,uint256,bool,uint256,bool,uint256)[],bytes)",
    output_type=bytes4,
)
RUN: constant(bytes4) = method_id(
    "run((address,uint256,address,uint256,address,bytes32,address,uint256,bool,uint256,bool,uint256)[],bytes)",
    output_type=bytes4,
)

WRAPPED_NATIVE: public(immutable(address))

# Who may call back, with what, and what it is owed then. The callee is empty but between a call and its callback.
callee: transient(address)
callback: transient(bytes32)
owed: transient(Owed)

# A watched token's balance before the plan, plus one. Zero for every other token, and after the plan.
watched: transient(HashMap[address, uint256])


@deploy
def __init__(owner: address, wrapped_native: address):
    permissions.__init__(owner)
    WRAPPED_NATIVE = wrapped_native


@external
@payable
@reentrant
def __default__():
    """
    @notice Ether is welcome at any time: wrapped coins are unwrapped here while a plan runs.
    """
    assert len(msg.data) == 0, "no such function"


# --- plans ------------------------------------------------------------------------------------------------------------


@external
@payable
def execute(
    watches: DynArray[Watch, MAX_WATCHES], tip_wei: uint256, steps: DynArray[Step, MAX_STEPS], calls: Bytes[CALLS_SIZE]
):
    """
    @notice Run a plan, all of it or nothing. For operators and the owner.
    @param watches Every token that the steps take from us, with the least gain; the first one's gain is announced.
    @param tip_wei To the block's builder, from native coin sent along or gained, then from wrapped coin gained.
    @param calls Data of the steps' calls, one after the other.
    """
    if msg.sender != self:
        permissions._check_operator()
    assert len(watches) > 0, "nothing watched"
    for watch: Watch in watches:
        assert watch.least_gain >= 0 or msg.sender == permissions.owner, "only the owner may spend"
        assert self.watched[watch.token] == 0, "token watched twice"
        balance: uint256 = self._balance(watch.token)
        if watch.token == NATIVE:
            balance -= msg.value
        self.watched[watch.token] = balance + 1
    cursor: uint256 = 0
    for i: uint256 in range(len(steps), bound=MAX_STEPS):
        cursor = self._call(steps[i], i, calls, cursor)
    if tip_wei > 0:
        self._unwrap(tip_wei)
        raw_call(block.coinbase, b"", value=tip_wei)
    log Executed(token=watches[0].token, gain=self._gain(watches[0].token), tip_wei=tip_wei)
    for watch: Watch in watches:
        assert self._gain(watch.token) >= watch.least_gain, "gained too little"
        self.watched[watch.token] = 0


@external
@reentrant
def execute_each(plans: DynArray[Bytes[PLAN_SIZE], MAX_PLANS]):
    """
    @notice Run several plans, each by itself: one that reverts undoes itself alone, and says so. Reverts like the first
        when all of them do. For operators and the owner; who spends what is here must run that plan alone.
    @param plans Arguments of `execute`, encoded.
    @dev Not locked itself, because each plan is: while one runs, it cannot begin another.
    """
    permissions._check_operator()
    reason: Bytes[REASON_SIZE] = b""
    failed: uint256 = 0
    for i: uint256 in range(len(plans), bound=MAX_PLANS):
        success: bool = False
        answer: Bytes[REASON_SIZE] = b""
        success, answer = raw_call(
            self, concat(EXECUTE, plans[i]), max_outsize=REASON_SIZE, revert_on_failure=False
        )
        if not success:
            if failed == 0:
                reason = answer
            failed += 1
            log PlanFailed(index=i, reason=answer)
    if failed == len(plans):
        raw_revert(reason)


@internal
def _call(step: Step, index: uint256, calls: Bytes[CALLS_SIZE], start: uint256) -> uint256:
    """
    @dev The next step's start in the calls.
    """
    assert step.head >= 4, "no selector"
    assert permissions.is_allowed[step.target][convert(slice(calls, start, 4), bytes4)], "call not allowed"
    if step.value_wei > 0:
        self._unwrap(step.value_wei)
    amount: uint256 = step.amount
    if step.token == empty(address):
        assert step.spender == empty(address) and step.callback == empty(bytes32), "no token to pay with"
    else:
        assert self.watched[step.token] != 0, "token not watched"
        if amount == EVERYTHING:
            gained: int256 = self._gain(step.token)
            assert gained > 0, "nothing gained"
            amount = convert(gained, uint256)
    if step.spender != empty(address):
        assert step.spender == step.target or permissions.is_spender[step.spender], "spender not allowed"
        self._approve(step.token, step.spender, amount)
    if step.callback != empty(bytes32):
        self.callee = step.target
        self.callback = step.callback
        self.owed = Owed(token=step.token, amount=amount)
    before: uint256 = 0
    if step.least_bought > 0:
        before = self._balance(step.bought)

    word: Bytes[32] = b""
    if step.inserts:
        word = abi_encode(amount)
    success: bool = False
    answer: Bytes[REASON_SIZE] = b""
    success, answer = raw_call(
        step.target,
        concat(slice(calls, start, step.head), word, slice(calls, start + step.head, step.tail)),
        value=step.value_wei,
        max_outsize=REASON_SIZE,
        revert_on_failure=False,
    )

    if success:
        if step.least_bought > 0:
            assert self._balance(step.bought) >= before + step.least_bought, "bought too little"
    elif step.optional:
        log StepFailed(target=step.target, index=index, reason=answer)
    else:
        raw_revert(answer)
    if step.callback != empty(bytes32):
        self.callee = empty(address)
        self._disapprove(step.token, step.target)
    if step.spender != empty(address):
        self._disapprove(step.token, step.spender)
    return start + step.head + step.tail


@internal
def _unwrap(amount_wei: uint256):
    """
    @dev Afterwards the plan has gained this much native coin, if need be out of wrapped coin that it must watch.
    """
    gained: uint256 = convert(max(self._gain(NATIVE), 0), uint256)
    if gained < amount_wei:
        assert self.watched[WRAPPED_NATIVE] != 0, "wrapped coin not watched"
        extcall WrappedNative(WRAPPED_NATIVE).withdraw(amount_wei - gained)


# --- callbacks --------------------------------------------------------------------------------------------------------
# Each runs the steps that were announced, then pays what is owed in the way its caller takes it.


@external
@reentrant
def executeOperation(
    asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[CALLS_SIZE]
) -> bool:
    """
    @notice Aave v3, in flashLoanSimple.
    """
    assert initiator == self, "not our loan"
    owed: Owed = self._called_back(params)
    self._approve(owed.token, msg.sender, owed.amount + premium)
    return True


@external
@reentrant
def onMorphoFlashLoan(assets: uint256, data: Bytes[CALLS_SIZE]):
    """
    @notice Morpho Blue, in flashLoan.
    """
    owed: Owed = self._called_back(data)
    self._approve(owed.token, msg.sender, assets)


@external
@reentrant
def onMorphoLiquidate(repaid_assets: uint256, data: Bytes[CALLS_SIZE]):
    """
    @notice Morpho Blue, in liquidate: what was seized is here, what was repaid is owed.
    """
    owed: Owed = self._called_back(data)
    self._approve(owed.token, msg.sender, repaid_assets)


@external
@reentrant
def receiveFlashLoan(
    tokens: DynArray[address, 1], amounts: DynArray[uint256, 1], fees: DynArray[uint256, 1], data: Bytes[CALLS_SIZE]
):
    """
    @notice Balancer v2, in flashLoan of one token.
    """
    owed: Owed = self._called_back(data)
    self._pay(owed.token, msg.sender, owed.amount + fees[0])


@external
@reentrant
def uniswapV3FlashCallback(fee0: uint256, fee1: uint256, data: Bytes[CALLS_SIZE]):
    """
    @notice Uniswap v3, in flash of one token: the other token's fee is zero.
    """
    owed: Owed = self._called_back(data)
    self._pay(owed.token, msg.sender, owed.amount + fee0 + fee1)


@external
@reentrant
def uniswapV3SwapCallback(delta0: int256, delta1: int256, data: Bytes[CALLS_SIZE]):
    """
    @notice Uniswap v3, in swap: what was bought is here, what was sold is owed.
    """
    owed: Owed = self._called_back(data)
    self._pay(owed.token, msg.sender, convert(max(delta0, delta1), uint256))


@internal
def _called_back(steps: Bytes[CALLS_SIZE]) -> Owed:
    """
    @dev Runs the steps and tells what their caller is owed. Reverts unless a running step announced this callback,
        which is good for one.
    """
    assert msg.sender == self.callee, "nobody we called"
    assert keccak256(steps) == self.callback, "not our steps"
    self.callee = empty(address)
    owed: Owed = self.owed
    raw_call(self, concat(RUN, steps))
    return owed


@external
@reentrant
def run(steps: DynArray[Step, MAX_STEPS], calls: Bytes[CALLS_SIZE]):
    """
    @notice Only for the contract itself, which so decodes the steps of a callback.
    """
    assert msg.sender == self, "not us"
    cursor: uint256 = 0
    for i: uint256 in range(len(steps), bound=MAX_STEPS):
        cursor = self._call(steps[i], i, calls, cursor)


# --- tokens -----------------------------------------------------------------------------------------------------------


@internal
@view
def _balance(token: address) -> uint256:
    if token == NATIVE:
        return self.balance
    return staticcall IERC20(token).balanceOf(self)


@internal
@view
def _gain(token: address) -> int256:
    """
    @dev Since the plan began. Reverts for a token that is not watched.
    """
    watched: uint256 = self.watched[token]
    assert watched != 0, "token not watched"
    return convert(self._balance(token), int256) - convert(watched - 1, int256)


@internal
def _approve(token: address, spender: address, amount: uint256):
    assert extcall IERC20(token).approve(spender, amount, default_return_value=True), "approval refused"


@internal
def _disapprove(token: address, spender: address):
    if staticcall IERC20(token).allowance(self, spender) != 0:
        self._approve(token, spender, 0)


@internal
def _pay(token: address, to: address, amount: uint256):
    assert extcall IERC20(token).transfer(to, amount, default_return_value=True), "transfer refused"


# --- the way home --------------------------------------------------------------------------------------------------------


@external
def skim(token: address):
    """
    @notice Send all there is of a token, or of the native coin, to the owner. For operators too.
    """
    permissions._check_operator()
    if token == NATIVE:
        raw_call(permissions.owner, b"", value=self.balance)
    else:
        self._pay(token, permissions.owner, self._balance(token))


@external
@payable
def rescue(target: address, data: Bytes[CALLS_SIZE], value_wei: uint256):
    """
    @notice Call anything: for what `skim` cannot send home, like a position or a collectible.
    """
    permissions._check_owner()
    raw_call(target, data, value=value_wei)
