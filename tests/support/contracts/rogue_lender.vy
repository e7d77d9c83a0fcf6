# pragma version 0.4.3
# pragma evm-version cancun
"""
@title A lender, and a taker, that the Liquidator's owner should not have allowed
@license MIT
"""

from ethereum.ercs import IERC20

interface Borrower:
    def executeOperation(
        asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[8192]
    ) -> bool: nonpayable
    def onMorphoFlashLoan(assets: uint256, data: Bytes[8192]): nonpayable
    def onMorphoLiquidate(repaid_assets: uint256, data: Bytes[8192]): nonpayable
    def receiveFlashLoan(
        tokens: DynArray[address, 1], amounts: DynArray[uint256, 1], fees: DynArray[uint256, 1], data: Bytes[8192]
    ): nonpayable
    def uniswapV3FlashCallback(fee0: uint256, fee1: uint256, data: Bytes[8192]): nonpayable
    def uniswapV3SwapCallback(delta0: int256, delta1: int256, data: Bytes[8192]): nonpayable

# How it calls back: 0 not at all, then in the order of the interface.
NOT_AT_ALL: constant(uint256) = 0
AAVE: constant(uint256) = 1
MORPHO: constant(uint256) = 2
MORPHO_LIQUIDATION: constant(uint256) = 3
BALANCER: constant(uint256) = 4
UNISWAP: constant(uint256) = 5


@external
def lend(
    kind: uint256, times: uint256, initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[8192]
):
    """
    @notice Send the caller a loan, then call back.
    """
    if amount > 0:
        extcall IERC20(token).transfer(msg.sender, amount)
    for _: uint256 in range(times, bound=4):
        self._call_back(msg.sender, kind, initiator, token, amount, fee, data)


@external
def forge(
    victim: address, kind: uint256, initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[8192]
):
    """
    @notice Call somebody back who has not called.
    """
    self._call_back(victim, kind, initiator, token, amount, fee, data)


@internal
def _call_back(
    victim: address, kind: uint256, initiator: address, token: address, amount: uint256, fee: uint256, data: Bytes[8192]
):
    if kind == NOT_AT_ALL:
        return
    if kind == AAVE:
        assert extcall Borrower(victim).executeOperation(token, amount, fee, initiator, data)
    elif kind == MORPHO:
        extcall Borrower(victim).onMorphoFlashLoan(amount, data)
    elif kind == MORPHO_LIQUIDATION:
        extcall Borrower(victim).onMorphoLiquidate(amount, data)
    elif kind == BALANCER:
        extcall Borrower(victim).receiveFlashLoan([token], [amount], [fee], data)
    elif kind == UNISWAP:
        extcall Borrower(victim).uniswapV3FlashCallback(fee, 0, data)
    else:
        extcall Borrower(victim).uniswapV3SwapCallback(convert(amount, int256), -1, data)


@external
def take(token: address, amount: uint256):
    """
    @notice Take this much of what the caller approved.
    """
    extcall IERC20(token).transferFrom(msg.sender, self, amount, default_return_value=True)


@external
def take_from(victim: address, token: address, amount: uint256):
    extcall IERC20(token).transferFrom(victim, self, amount, default_return_value=True)


@external
def give(token: address, amount: uint256):
    extcall IERC20(token).transfer(msg.sender, amount, default_return_value=True)


@external
@payable
def keep():
    """
    @notice Take native coin and do nothing for it.
    """
    pass


@external
def refuse():
    raise "no"
