# pragma version 0.4.3
# pragma evm-version cancun
"""
@title An ERC-20 that misbehaves as told
@license MIT
"""

flag Mood:
    FALSE_ON_APPROVE
    FALSE_ON_TRANSFER
    REVERT_ON_TRANSFER
    FEE_ON_TRANSFER     # one percent is burnt
    CALL_ON_TRANSFER    # somebody else, before moving anything

mood: public(Mood)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])

victim: address
weapon: Bytes[8192]
called: public(bool)
succeeded: public(bool)
answer: public(Bytes[512])


@external
@payable
def __default__():
    self._attack()


@external
def set_mood(mood: Mood):
    self.mood = mood


@external
def aim(victim: address, weapon: Bytes[8192]):
    self.victim = victim
    self.weapon = weapon


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount


@external
def approve(spender: address, amount: uint256) -> bool:
    if Mood.FALSE_ON_APPROVE in self.mood:
        return False
    self.allowance[msg.sender][spender] = amount
    return True


@external
def transfer(to: address, amount: uint256) -> bool:
    return self._move(msg.sender, to, amount)


@external
def transferFrom(source: address, to: address, amount: uint256) -> bool:
    self.allowance[source][msg.sender] -= amount
    return self._move(source, to, amount)


@internal
def _move(source: address, to: address, amount: uint256) -> bool:
    if Mood.CALL_ON_TRANSFER in self.mood:
        self._attack()
    assert Mood.REVERT_ON_TRANSFER not in self.mood, "frozen"
    if Mood.FALSE_ON_TRANSFER in self.mood:
        return False
    self.balanceOf[source] -= amount
    if Mood.FEE_ON_TRANSFER in self.mood:
        self.balanceOf[to] += amount - amount // 100
    else:
        self.balanceOf[to] += amount
    return True


@internal
def _attack():
    """
    @dev Once, so that an attack that gets through does not attack itself.
    """
    if self.called:
        return
    self.called = True
    success: bool = False
    answer: Bytes[512] = b""
    success, answer = raw_call(self.victim, self.weapon, max_outsize=512, revert_on_failure=False)
    self.succeeded = success
    self.answer = answer
