"""The truth, from Anvil and the receiver alone: what was liquidatable, what our key did, what owners had to hear.

Every block of the campaign is judged by the contracts' own views. At the end each run of blocks in which a position was
liquidatable, or below its call line, must have had its consequence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keeper.devnet.abi import checksummed
from keeper.devnet.chain import DevChain
from keeper.protocols.morpho_blue import abi as morpho_abi
from keeper.protocols.perp_v2 import abi as perp_abi
from keeper.protocols.venus import abi as venus_abi
from scripts.campaignlib.crowd import batch
from scripts.campaignlib.inbox import Arrival
from scripts.campaignlib.positions import Position, View
from scripts.campaignlib.world import World

AAVE_LIQUIDATED = "0xe413a321e8681d831f4dbccbca790d2952b56f977908e45be37335533e005286"
PATIENCE_BLOCKS, LATEST_BLOCKS = 5, 20
"""A position that was liquidatable in more fair blocks than the first must have been settled by us, and in no more than
the second."""

CALL_WAD = 1_100_000_000_000_000_000
CURED_WAD = 1_230_000_000_000_000_000
"""From here on a call is cured: the target less the hysteresis (`BandRules.closes_wad`). Until then it stands."""
_MARGIN_WAD = 2 * 10**15
"""Nobody is blamed within so much of the line: seconds of interest and a protocol's rounding lie between two views."""

_DEEPEST = 12
"""Reorganizations of a campaign are no deeper."""

_STANDS = ("opened", "escalated")
_GRACE_S = 45.0

Json = dict[str, Any]


@dataclass
class Beat:
    """One block that came with time to act on it. fair: whether Keeper could act until the next one came: its process
    ran, its machine was whole, and one endpoint was honest. heard: and the receiver was well."""

    number: int
    hash: str
    at: float
    until: float = 0.0
    fair: bool = False
    heard: bool = False


@dataclass
class Loss:
    """Something that must not be. kind: of `KINDS`."""

    kind: str
    what: str


KINDS = (
    "unsettled",
    "doubled",
    "wrong send",
    "unknown send",
    "nonce gap",
    "wrong record",
    "notice missing",
    "notice false",
    "index",
)


@dataclass
class Ledger:
    chain: DevChain
    world: World
    beats: list[Beat] = field(default_factory=list)
    judged: dict[int, tuple[str, dict[str, View]]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    delays: Counter[int] = field(default_factory=Counter)
    late: list[str] = field(default_factory=list)
    """Liquidations of ours by the number of fair blocks that they took."""
    excused: Counter[str] = field(default_factory=Counter)

    _at: dict[tuple[str, str], View] = field(default_factory=dict)  # by position and hash of the block
    _heard: int = 0

    # --- while it runs

    def hear(self, arrivals: Sequence[Arrival]) -> None:
        """Ask the contracts about what new notices tell of, while the node still has the state of their blocks."""
        new, self._heard = arrivals[self._heard :], len(arrivals)
        for one in new:
            known = self.world.positions.get(str(one.notice["position"]))
            if known is not None and one.notice["event"] == "opened":
                number, block = int(one.notice["block_number"]), str(one.notice["block_hash"])
                if self._hash(number) == block:
                    self._at[known.id, block] = self.views([known], number)[known.id]

    def judge(self) -> None:
        """Ask the contracts about every block of the canonical chain that came with a beat and is not judged yet."""
        waiting: list[Beat] = []
        for beat in reversed(self.beats[-4 * _DEEPEST :]):
            known = self.judged.get(beat.number)
            if known is not None and known[0] == beat.hash:
                continue
            if self._hash(beat.number) == beat.hash:
                waiting.append(beat)
        for beat in reversed(waiting):
            positions = list(self.world.open.values())
            self.judged[beat.number] = (beat.hash, self.views(positions, beat.number))
            self.world.views = self.judged[beat.number][1]
        self._retire()

    def views(self, positions: Sequence[Position], number: int) -> dict[str, View]:
        """What each position is at a block, by the contracts."""
        markets = self.world.markets
        asked = [(one, *markets[one.protocol].question(one)) for one in positions]
        requests = [("eth_call", [{"to": target, "data": "0x" + data.hex()}, hex(number)]) for _, target, data in asked]
        answers = batch(self.chain, requests)
        return {
            one.id: markets[one.protocol].view(one, bytes.fromhex(answer[2:]))
            for (one, _, _), answer in zip(asked, answers, strict=True)
        }

    def _retire(self) -> None:
        """Positions without debt for longer than any reorganization reaches need not be asked about."""
        if len(self.beats) < _DEEPEST:
            return
        views = [self.judged[beat.number][1] for beat in self.beats[-_DEEPEST:] if beat.number in self.judged]
        for position in list(self.world.open.values()):
            seen = [view[position.id] for view in views if position.id in view]
            if len(seen) >= _DEEPEST - 2 and all(view.health_wad is None for view in seen):
                self.world.retire(position)

    # --- at the end

    def settle(
        self,
        wallet: str,
        sent: Mapping[str, str],
        transactions: Sequence[Json],
        liquidations: Sequence[Json],
        arrivals: Sequence[Arrival],
    ) -> None:
        """Hold everything against everything. sent: raw by hash, all that ever left. transactions, liquidations: as
        Keeper's own records tell them."""
        mined = self._mined_by(wallet)
        ours = {one["transactionHash"] for one in mined}
        settled = self._liquidated(ours)
        self._judge_transactions(mined, sent, transactions, liquidations)
        self._judge_liquidatable(settled)
        self._judge_notices(arrivals)

    def _judge_transactions(
        self, mined: Sequence[Json], sent: Mapping[str, str], transactions: Sequence[Json], liquidations: Sequence[Json]
    ) -> None:
        journal = {row["tx_hash"]: row for row in transactions}
        for tx_hash in sent:
            if tx_hash not in journal:
                self._lose("unknown send", f"{tx_hash} left without being in the journal")
        nonces = []
        for receipt in mined:
            tx_hash = receipt["transactionHash"]
            if tx_hash not in journal:
                self._lose("unknown send", f"{tx_hash} was mined and is not in the journal")
                continue
            nonces.append(int(journal[tx_hash]["nonce"]))
        if nonces != list(range(len(nonces))):
            self._lose("nonce gap", f"mined nonces are {nonces}")
        acts = Counter(
            journal[receipt["transactionHash"]]["intent"]
            for receipt in mined
            if receipt["transactionHash"] in journal and journal[receipt["transactionHash"]]["purpose"] == "act"
        )
        for intent, count in acts.items():
            if count > 1:
                self._lose("doubled", f"intent {intent} was mined {count} times")
        acting = {attempt["tx_hash"]: row for row in liquidations for attempt in row["attempts"]}
        for receipt in mined:
            row = acting.get(receipt["transactionHash"])
            if row is None:
                if receipt["status"] != "0x1":
                    self._lose("wrong send", f"{receipt['transactionHash']} was mined and reverted")
                continue
            self._judge_liquidation(receipt, row)

    def _judge_liquidation(self, receipt: Json, row: Json) -> None:
        """A liquidation of ours has its reason at the block that it was judged at, or at one since then; and what was
        mined is recorded as that."""
        mined = [one for one in row["attempts"] if one["tx_hash"] == receipt["transactionHash"]]
        expected = ("confirmed", "included") if receipt["status"] == "0x1" else ("failed",)
        if [one.get("purpose") for one in mined] == ["cancel"]:  # it was given up, by just this
            expected = ("abandoned",)
        if row["tx_hash"] == receipt["transactionHash"] and row["status"] not in expected:
            self._lose("wrong record", f"{receipt['transactionHash']} was mined and is recorded as {row['status']}")
        if row["tx_hash"] != receipt["transactionHash"]:
            self._lose("wrong record", f"{receipt['transactionHash']} was mined, {row['tx_hash']} is recorded")
        number, position = int(receipt["blockNumber"], 16), row["position"]
        reasons = [
            views[position].liquidatable
            for height in range(int(row["judged_block"]), number)
            if (views := self.judged.get(height, ("", {}))[1]) and position in views
        ]
        if reasons and not any(reasons):
            self._lose("wrong send", f"{position} was liquidated in block {number} and was not liquidatable before")
        if receipt["status"] != "0x1":
            if reasons and not reasons[-1]:
                self.excused["liquidations that came too late: it was cured or taken in the meantime"] += 1
            elif reasons:
                self.excused["liquidations that reverted: another one came first in their block"] += 1

    def _judge_liquidatable(self, settled: Mapping[int, set[str]]) -> None:
        """Runs of canonical blocks in which a position was liquidatable, and how each ended."""
        fair = {beat.hash: beat.fair for beat in self.beats}
        waited: Counter[str] = Counter()
        since: dict[str, int] = {}
        last = max(self.judged, default=0)
        heights = sorted(height for height, (block, _) in self.judged.items() if self._hash(height) == block)
        for height in heights:
            block, views = self.judged[height]
            for position, view in views.items():
                if view.liquidatable and view.worth_it:
                    since.setdefault(position, height)
                    waited[position] += fair.get(block, False)
                elif position in since:
                    self._ended(position, since.pop(position), height, waited.pop(position, 0), settled)
        for position, began in since.items():
            self._ended(position, began, last, waited[position], settled)

    def _ended(self, position: str, began: int, ended: int, blocks: int, settled: Mapping[int, set[str]]) -> None:
        if any(position in settled.get(height, ()) for height in range(began, ended + 1)):
            self.delays[blocks] += 1
            if blocks > PATIENCE_BLOCKS:
                self.late.append(f"{position} from block {began} to {ended}, in {blocks} fair blocks")
            if blocks > LATEST_BLOCKS:
                self._lose("unsettled", f"{self.late[-1]}: it was settled, but not in time")
        elif blocks > PATIENCE_BLOCKS:
            self._lose(
                "unsettled", f"{position} was liquidatable from block {began} to {ended}, in {blocks} fair blocks"
            )
        else:
            self.excused["liquidatable in five fair blocks or fewer, then not any more"] += 1

    # --- notices

    def _judge_notices(self, arrivals: Sequence[Arrival]) -> None:
        told: dict[str, list[Arrival]] = {}
        for one in arrivals:
            told.setdefault(str(one.notice["position"]), []).append(one)
        self._judge_missing(told)
        self._judge_false(told)
        for position in self.world.crowd:
            heard = [one.notice["event"] for one in told.get(position, ())]
            if heard != ["opened"]:
                self._lose("notice missing" if not heard else "notice false", f"{position} was told {heard}")

    def _judge_missing(self, told: Mapping[str, Sequence[Arrival]]) -> None:
        """Whoever was below the call line in more than five fair blocks was told while, or soon after."""
        beats = {beat.hash: beat for beat in self.beats}
        runs: dict[str, list[Beat]] = {}
        ended: list[tuple[str, list[Beat]]] = []
        for height in sorted(self.judged):
            block, views = self.judged[height]
            if self._hash(height) != block:
                continue
            for position, view in views.items():
                if view.health_wad is not None and view.health_wad < CALL_WAD - _MARGIN_WAD:
                    runs.setdefault(position, []).append(beats[block])
                elif position in runs:
                    ended.append((position, runs.pop(position)))
        ended += runs.items()
        for position, run in ended:
            if sum(beat.heard for beat in run) <= PATIENCE_BLOCKS:
                continue
            if not _stood(told.get(position, ()), run[0].at, run[-1].until + _GRACE_S):
                heard = [f"{one.notice['event']}@{one.notice['block_number']}" for one in told.get(position, ())]
                self._lose(
                    "notice missing",
                    f"{position} was below the call line from block {run[0].number} to {run[-1].number}; told: {heard}",
                )
        for position, view in self._present().items():
            last = told[position][-1].notice["event"] if position in told else None
            stands = last in _STANDS
            if view.health_wad is not None and view.health_wad < CALL_WAD - _MARGIN_WAD and not stands:
                self._lose("notice missing", f"{position} is below the call line and the last it heard is {last}")
            if stands and (view.health_wad is None or view.health_wad > CURED_WAD + _MARGIN_WAD):
                self._lose("notice missing", f"{position} is cured and the last it heard is {last}")

    def _present(self) -> dict[str, View]:
        return self.views(list(self.world.positions.values()), self.chain.block_number)

    def _judge_false(self, told: Mapping[str, Sequence[Arrival]]) -> None:
        """What an opening says of a block that stayed is what the contract says of it. Who was behind tells of the
        present: a call may have opened in a block before it, and stand since then."""
        for position, heard in told.items():
            known = self.world.positions.get(position)
            for one in heard:
                if known is None or one.notice["event"] != "opened":
                    continue
                number = int(one.notice["block_number"])
                if self._hash(number) != one.notice["block_hash"]:
                    continue
                # what was not of the canonical chain when it came is asked now
                view = self._at.get((position, str(one.notice["block_hash"]))) or self.views([known], number)[position]
                health = view.health_wad
                if health is None or not (health < CALL_WAD + _MARGIN_WAD or self._stands_since(position, number)):
                    wrong = f"was called at block {number}"
                elif view.within_wad is not None and abs(health - int(one.notice["health_wad"])) > view.within_wad:
                    wrong = f"was called at block {number} by another health"
                else:
                    continue
                self._lose(
                    "notice false",
                    f"{position} {wrong}: it was told {one.notice['health_wad']}, there it was {health}, one block "
                    f"later {self._next(known, number)}",
                )

    def _stands_since(self, position: str, number: int) -> bool:
        """Whether it was below its call line in a canonical block up to this one, and not cured from there on."""
        for height in sorted((height for height in self.judged if height <= number), reverse=True):
            block, views = self.judged[height]
            if position not in views or self._hash(height) != block:
                continue
            health = views[position].health_wad
            if health is None or health > CURED_WAD + _MARGIN_WAD:
                return False
            if health < CALL_WAD + _MARGIN_WAD:
                return True
        return False

    def _next(self, position: Position, number: int) -> int | None:
        """Its health one block later, which tells where a wrong one comes from: a node that answers for a block too
        new. None also where nobody judged that block."""
        judged = self.judged.get(number + 1)
        view = None if judged is None else judged[1].get(position.id)
        return None if view is None else view.health_wad

    # --- the chain

    def _mined_by(self, wallet: str) -> list[Json]:
        """Receipts of all that our key ever did on the canonical chain, in order."""
        count = int(self.chain.rpc("eth_getTransactionCount", wallet, "latest"), 16)
        found: list[Json] = []
        for number in range(self.chain.block_number, -1, -1):
            if len(found) >= count:
                break
            receipts = self.chain.rpc("eth_getBlockReceipts", hex(number))
            found += [one for one in reversed(receipts) if one["from"].lower() == wallet.lower()]
        return found[::-1]

    def _liquidated(self, ours: set[str]) -> dict[int, set[str]]:
        """Positions that transactions of ours liquidated, by block."""
        morpho_id = self.world.markets["morpho"].id_of if "morpho" in self.world.markets else None
        sources: list[tuple[str, Callable[[Json], str]]] = [
            (AAVE_LIQUIDATED, lambda log: f"aave:{_account(log['topics'][3])}"),
            (venus_abi.LIQUIDATED, lambda log: f"venus:{_account(log['topics'][2])}"),
            (perp_abi.POSITION_LIQUIDATED, lambda log: f"perp:{_account(log['topics'][1])}"),
        ]
        if morpho_id is not None:
            sources.append((morpho_abi.LIQUIDATED, lambda log: morpho_id(_account(log["topics"][3]))))
        found: dict[int, set[str]] = {}
        for topic, name in sources:
            for log in self.chain.rpc("eth_getLogs", {"fromBlock": "0x0", "topics": [topic]}):
                if log["transactionHash"] in ours:
                    found.setdefault(int(log["blockNumber"], 16), set()).add(name(log))
        return found

    def _hash(self, number: int) -> str | None:
        block = self.chain.rpc("eth_getBlockByNumber", hex(number), False)
        return None if block is None else str(block["hash"])

    def _lose(self, kind: str, what: str) -> None:
        self.losses.append(Loss(kind, what))


def _stood(arrivals: Sequence[Arrival], since: float, until: float) -> bool:
    """Whether an owner believed himself called at some moment between these."""
    standing = False
    for one in arrivals:
        if one.at > until:
            break
        if one.at >= since and standing:
            return True
        standing = one.notice["event"] in _STANDS
        if standing and one.at >= since:
            return True
    return standing


def _account(topic: str) -> str:
    return checksummed(bytes.fromhex(topic[-40:]))
