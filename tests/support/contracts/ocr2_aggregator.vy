# pragma version 0.4.3
# A Chainlink price aggregator of off-chain reporting 2, as far as a report's way is concerned: who may transmit, which
# reports are stale, and how the answer follows from the observations. It asks for no signatures.

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256

struct Round:
    id: uint256
    answer: int256
    at: uint256

decimals: public(constant(uint8)) = 8
latest: Round
epoch_and_round: uint256
transmitters: DynArray[address, 31]

@deploy
def __init__(transmitters: DynArray[address, 31], answer: int256):
    self.transmitters = transmitters
    self.latest = Round(id=1, answer=answer, at=block.timestamp)

@external
def transmit(context: bytes32[3], report: Bytes[1280], rs: DynArray[bytes32, 31], ss: DynArray[bytes32, 31], vs: bytes32):
    epoch_and_round: uint256 = convert(context[1], uint256)
    assert epoch_and_round > self.epoch_and_round, "stale report"
    assert msg.sender in self.transmitters, "unauthorized transmitter"
    timestamp: uint32 = 0
    observers: bytes32 = empty(bytes32)
    observations: DynArray[int192, 31] = []
    juels: int192 = 0
    timestamp, observers, observations, juels = abi_decode(report, (uint32, bytes32, DynArray[int192, 31], int192))
    median: int256 = convert(observations[len(observations) // 2], int256)
    self.epoch_and_round = epoch_and_round
    self.latest = Round(id=self.latest.id + 1, answer=median, at=block.timestamp)
    log AnswerUpdated(current=median, roundId=self.latest.id, updatedAt=block.timestamp)

@external
@view
def getTransmitters() -> DynArray[address, 31]:
    return self.transmitters

@external
@view
def latestAnswer() -> int256:
    return self.latest.answer

@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    round_id: uint80 = convert(self.latest.id, uint80)
    return round_id, self.latest.answer, self.latest.at, self.latest.at, round_id
