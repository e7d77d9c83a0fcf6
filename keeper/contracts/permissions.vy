# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
# pragma nonreentrancy on
"""
@title Permissions of the Liquidator
@license MIT
@notice Who owns it, who may run plans, and what plans may call.
"""


event CallAllowed:
    target: indexed(address)
    selector: indexed(bytes4)
    allowed: bool

event SpenderAllowed:
    spender: indexed(address)
    allowed: bool

event OperatorAllowed:
    operator: indexed(address)
    allowed: bool

event OwnershipOffered:
    owner: indexed(address)
    heir: indexed(address)

event OwnershipTaken:
    owner: indexed(address)


# Never allowed: they take what belongs to us, or to whoever approved us, without an approval that we watch.
TRANSFER: constant(bytes4) = method_id("transfer(address,uint256)", output_type=bytes4)
TRANSFER_FROM: constant(bytes4) = method_id("transferFrom(address,address,uint256)", output_type=bytes4)
APPROVE: constant(bytes4) = method_id("approve(address,uint256)", output_type=bytes4)
WITHDRAW: constant(bytes4) = method_id("withdraw(uint256)", output_type=bytes4)

owner: public(address)
heir: public(address)
is_operator: public(HashMap[address, bool])
is_allowed: public(HashMap[address, HashMap[bytes4, bool]])
is_spender: public(HashMap[address, bool])


@deploy
def __init__(owner: address):
    assert owner != empty(address), "no owner"
    self.owner = owner
    log OwnershipTaken(owner=owner)


@external
def allow_call(target: address, selector: bytes4, allowed: bool):
    """
    @notice Let steps call a function of a protocol, a router or a lender. It must only take from us what is approved to
        it, or owed when it calls back: never allow one that gives up a position of ours, like a pool's withdraw.
    """
    self._check_owner()
    assert target != self, "not ourselves"
    assert target.is_contract or not allowed, "no contract there"
    assert selector not in [TRANSFER, TRANSFER_FROM, APPROVE, WITHDRAW], "takes without approval"
    self.is_allowed[target][selector] = allowed
    log CallAllowed(target=target, selector=selector, allowed=allowed)


@external
def allow_spender(spender: address, allowed: bool):
    """
    @notice Let steps approve somebody other than the target they call, like a router's token proxy.
    """
    self._check_owner()
    self.is_spender[spender] = allowed
    log SpenderAllowed(spender=spender, allowed=allowed)


@external
def allow_operator(operator: address, allowed: bool):
    self._check_owner()
    self.is_operator[operator] = allowed
    log OperatorAllowed(operator=operator, allowed=allowed)


@external
def offer_ownership(heir: address):
    """
    @notice Nothing changes until the heir accepts. The zero address withdraws an offer.
    """
    self._check_owner()
    self.heir = heir
    log OwnershipOffered(owner=self.owner, heir=heir)


@external
def accept_ownership():
    assert msg.sender == self.heir, "not the heir"
    self.heir = empty(address)
    self.owner = msg.sender
    log OwnershipTaken(owner=msg.sender)


@internal
@view
def _check_owner():
    assert msg.sender == self.owner, "not the owner"


@internal
@view
def _check_operator():
    assert self.is_operator[msg.sender] or msg.sender == self.owner, "not an operator"
