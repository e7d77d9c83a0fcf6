"""One margin call, from its opening to its closing, as a function of the judgements in between.

    (none) ── below call ──▶ open ──▶ cured        at or above BandRules.closes_wad
       │                      │  ├──▶ liquidated   a liquidation was seen, and it is no longer open to another
       │                      │  └──▶ repaid       nothing is owed any more
       │                      └─ deeper band: escalates, once per band
       └─ fell and was liquidated within one block: liquidated, or open if it is still open to another

    withdrawn: no step leads there. A reorg removes the opening with its block; what was told of it is taken back, and
    the record of that is made by `withdrawn`.

`step` looks at nothing but the stored episode and the judgement, so a store reverted to an ancestor and re-judged
arrives where a daemon that never saw the orphaned branch arrives. Bands outside an episode need no memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum

from keeper.core.records import Told
from keeper.core.types import Band, Block, BlockRef, BreachPrice, Demand, Liquidated, Price
from keeper.evaluator.bands import BandRules
from keeper.evaluator.judgement import Dossier, Judgement


class EpisodeStatus(StrEnum):
    OPEN = "open"
    CURED = "cured"
    LIQUIDATED = "liquidated"
    REPAID = "repaid"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Mark:
    """One step with its evidence. health_wad None: nothing was owed. prices: of the assets it held and owed then."""

    event: str  # opened | escalated | cured | liquidated | repaid | withdrawn
    band: Band
    block: BlockRef
    timestamp: int
    health_wad: int | None
    prices: tuple[tuple[bytes, Price], ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """One liquidation within an episode. Values are base currency units at that block, None while not documented or
    without a price; seized less repaid is the penalty."""

    block: BlockRef
    event: Liquidated
    repaid_value: int | None = None
    seized_value: int | None = None

    @property
    def penalty_value(self) -> int | None:
        if self.repaid_value is None or self.seized_value is None:
            return None
        return self.seized_value - self.repaid_value


@dataclass(frozen=True, slots=True)
class Episode:
    """A margin call and its record.

    band: where it stands, with hysteresis; WATCH when above the call band but not cured. deepest: the deepest it
    reached, which readers were told of; it never rises. marks: opening, each escalation, closing; oldest first.
    liquidations: blocks with a liquidation of it since its opening; losses: each of those liquidations.
    demands, breach_prices: as of the last told step.
    """

    id: str
    protocol: str
    position: str
    key: bytes
    account: bytes
    status: EpisodeStatus
    band: Band
    deepest: Band
    liquidations: int
    marks: tuple[Mark, ...]
    demands: tuple[Demand, ...] = ()
    breach_prices: tuple[BreachPrice, ...] = ()
    losses: tuple[Loss, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.status is EpisodeStatus.OPEN

    @property
    def opened(self) -> Mark:
        return self.marks[0]

    @property
    def last(self) -> Mark:
        """The last step that was told; of a closed episode its closing."""
        return self.marks[-1]


def step(
    episode: Episode | None, judgement: Judgement, block: Block, rules: BandRules, protocol: str
) -> Episode | None:
    """The newest version of a position's episode after one more judgement; the same value when nothing changed.

    episode: the open one, or None. A version with a new last mark is something to tell; `document` attaches the rest.
    """
    if episode is None:
        if judgement.liquidated:
            return _lost_at_once(judgement, block, rules, protocol)
        if judgement.band is None or judgement.band < Band.CALL:
            return None
        return _begun(judgement, judgement.band, block, protocol)
    if judgement.liquidated:
        losses = tuple(Loss(block.ref, event) for event in judgement.liquidations)
        episode = replace(episode, liquidations=episode.liquidations + 1, losses=(*episode.losses, *losses))
    if judgement.unknown:
        return episode
    status = _closing(episode, judgement, rules)
    band = Band.WATCH if judgement.health is None else rules.held(episode.band, judgement.health)
    assert band is not None  # only an unknown health has no band
    if status is not None:
        mark = _mark(status.value, judgement.band or Band.SAFE, judgement, block)
        return replace(episode, status=status, band=band, marks=(*episode.marks, mark), demands=(), breach_prices=())
    if band > episode.deepest:
        mark = _mark("escalated", band, judgement, block)
        return replace(episode, band=band, deepest=band, marks=(*episode.marks, mark))
    return episode if band == episode.band else replace(episode, band=band)


def _begun(judgement: Judgement, band: Band, block: Block, protocol: str) -> Episode:
    return Episode(
        id=episode_id(judgement.position, block.hash),
        protocol=protocol,
        position=judgement.position,
        key=judgement.key,
        account=judgement.account,
        status=EpisodeStatus.OPEN,
        band=band,
        deepest=band,
        liquidations=0,
        marks=(_mark("opened", band, judgement, block),),
    )


def _lost_at_once(judgement: Judgement, block: Block, rules: BandRules, protocol: str) -> Episode | None:
    """Nobody could be called in time. What is judged is what the liquidation left: of an episode that ends with it, the
    closing is the only mark."""
    begun = _begun(judgement, Band.LIQUIDATABLE, block, protocol)
    after = step(begun, judgement, block, rules, protocol)
    return after if after is None or after.is_open else replace(after, marks=after.marks[1:])


def _closing(episode: Episode, judgement: Judgement, rules: BandRules) -> EpisodeStatus | None:
    """How an open episode ends with this judgement, if it does.

    A liquidation ends it even when what remains is still below the call threshold: its owner must hear of it, and the
    next block opens a new call for the remainder. While a further liquidation is possible it is not over.
    """
    health = judgement.health
    nothing_owed = health is None or health.factor_wad is None
    if episode.liquidations and (health is None or not health.liquidatable):
        return EpisodeStatus.LIQUIDATED
    if nothing_owed:
        return EpisodeStatus.REPAID
    assert health is not None and health.factor_wad is not None
    return EpisodeStatus.CURED if not health.liquidatable and health.factor_wad >= rules.closes_wad else None


def document(episode: Episode, dossier: Dossier, at: BlockRef) -> Episode:
    """The episode with what its losses in this block were worth and, if a mark was made in it, with that mark's prices;
    if it is the last, with demands and breach prices. Later versions of the episode may be documented as well."""
    losses = tuple(_valued(loss, dossier) if loss.block == at else loss for loss in episode.losses)
    marks = tuple(replace(mark, prices=dossier.prices) if mark.block == at else mark for mark in episode.marks)
    if episode.last.block != at:
        return replace(episode, losses=losses, marks=marks)
    return replace(
        episode,
        losses=losses,
        marks=marks,
        demands=dossier.demands if episode.is_open else (),
        breach_prices=dossier.breach_prices if episode.is_open else (),
    )


def undocumented(episode: Episode, at: BlockRef) -> bool:
    """Whether this block did something to the episode of which `document` has more to say."""
    valueless = any(loss.block == at and loss.seized_value is None for loss in episode.losses)
    return valueless or any(mark.block == at and not mark.prices for mark in episode.marks)


def undocumented_blocks(episode: Episode) -> frozenset[BlockRef]:
    """The blocks of which that is so."""
    marked = {mark.block for mark in episode.marks} | {loss.block for loss in episode.losses}
    return frozenset(at for at in marked if undocumented(episode, at))


def _valued(loss: Loss, dossier: Dossier) -> Loss:
    event = loss.event
    return replace(
        loss,
        repaid_value=dossier.value(event.debt_asset, event.repaid_assets),
        seized_value=dossier.value(event.collateral_asset, event.seized_assets),
    )


def withdrawn(told: Told, protocol: str, key: bytes, account: bytes, block: Block) -> Episode:
    """The record of an episode that readers were told of and that a reorg undid; `block` is where that was judged."""
    band = Band[told.band.upper()]
    opened = Mark("opened", band, BlockRef(told.block_number, told.block_hash), 0, None)
    return Episode(
        id=told.episode,
        protocol=protocol,
        position=told.position,
        key=key,
        account=account,
        status=EpisodeStatus.WITHDRAWN,
        band=Band.SAFE,
        deepest=band,
        liquidations=0,
        marks=(opened, Mark("withdrawn", Band.SAFE, block.ref, block.timestamp, None)),
    )


def episode_id(position: str, opened_block_hash: bytes) -> str:
    """The same on every machine that judged the same block."""
    return hashlib.sha256(position.encode() + b"|" + opened_block_hash).hexdigest()[:32]


def _mark(event: str, band: Band, judgement: Judgement, block: Block) -> Mark:
    factor = None if judgement.health is None else judgement.health.factor_wad
    return Mark(event, band, block.ref, block.timestamp, factor)
