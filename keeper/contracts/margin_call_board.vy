# pragma version 0.4.3
# pragma evm-version cancun
# pragma optimize gas
# pragma nonreentrancy on
"""
@title MarginCallBoard
@license MIT
@notice Where a Keeper says on chain which positions are called for margin. Wallets read its events; contracts ask
    `band_of`. It holds nothing, calls nobody and decides nothing: what stands here is what its posters say.
@dev Who may do what:
    - The owner names the posters, and can hand the board over.
    - A poster, the daemon's hot key, posts. Whoever steals that key can post falsehoods until the owner dismisses it.
    - Everybody may read.
    A notice is posted once: its id is the Keeper's idempotency key, and a second posting of it reverts. So a reorg, a
    restart or a second Keeper with the same key never says a thing twice.
"""


struct Demand:
    add_collateral: bool  # else: repay
    asset: address
    amount: uint256       # raw units of the asset
    resulting_health_wad: uint256  # max_value(uint256): no debt would be left


event MarginCall:
    account: indexed(address)
    position: indexed(bytes32)  # keccak256 of its name
    notice: indexed(bytes32)
    what: uint8                 # 1 opened, 2 escalated, 3 cured, 4 liquidated, 5 repaid, 6 withdrawn
    band: uint8                 # 1 watch, 2 call, 3 urgent, 4 liquidatable: the deepest the notice is about
    health_wad: uint256         # at that block; max_value(uint256): nothing is owed, or the position is gone
    block_number: uint256       # at which it was judged
    block_hash: bytes32
    name: String[MAX_NAME]      # "<protocol>:<account>[:<market>]"
    demands: DynArray[Demand, MAX_DEMANDS]  # any one of them cures the call

event PosterAllowed:
    poster: indexed(address)
    allowed: bool

event OwnershipOffered:
    owner: indexed(address)
    heir: indexed(address)

event OwnershipTaken:
    owner: indexed(address)


MAX_NAME: constant(uint256) = 160
MAX_DEMANDS: constant(uint256) = 16
ESCALATED: constant(uint8) = 2
LAST_EVENT: constant(uint8) = 6
DEEPEST: constant(uint8) = 4

owner: public(address)
heir: public(address)
is_poster: public(HashMap[address, bool])
is_posted: public(HashMap[bytes32, bool])

# By position (keccak256 of its name): the band of its open call; 0 when none is open.
band_of: public(HashMap[bytes32, uint8])


@deploy
def __init__(owner: address, poster: address):
    """
    @param poster The first poster; the zero address: none yet.
    """
    assert owner != empty(address), "no owner"
    self.owner = owner
    log OwnershipTaken(owner=owner)
    if poster != empty(address):
        self.is_poster[poster] = True
        log PosterAllowed(poster=poster, allowed=True)


@external
def post(
    notice: bytes32,
    what: uint8,
    account: address,
    name: String[MAX_NAME],
    band: uint8,
    health_wad: uint256,
    block_number: uint256,
    block_hash: bytes32,
    demands: DynArray[Demand, MAX_DEMANDS],
):
    assert self.is_poster[msg.sender], "not a poster"
    assert not self.is_posted[notice], "already posted"
    assert band != 0 and band <= DEEPEST, "no such band"
    assert what != 0 and what <= LAST_EVENT, "no such event"
    self.is_posted[notice] = True
    position: bytes32 = keccak256(name)
    self.band_of[position] = band if what <= ESCALATED else 0
    log MarginCall(
        account=account,
        position=position,
        notice=notice,
        what=what,
        band=band,
        health_wad=health_wad,
        block_number=block_number,
        block_hash=block_hash,
        name=name,
        demands=demands,
    )


@external
def allow_poster(poster: address, allowed: bool):
    self._check_owner()
    self.is_poster[poster] = allowed
    log PosterAllowed(poster=poster, allowed=allowed)


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
