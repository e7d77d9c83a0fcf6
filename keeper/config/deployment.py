"""A whole deployment, as one value: every table of the file, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, ValidationInfo, field_validator, model_validator

from keeper.config.breakers import Breakers
from keeper.config.chain import Chain, Jobs, Store
from keeper.config.defences import Defences, Heartbeat
from keeper.config.executor import Executor
from keeper.config.margin_calls import MarginCalls
from keeper.config.notices import Digest, Names, Operator
from keeper.config.plugins import FundingTable, NotifierTable, Plugin, ProtocolTable, SubmitterTable, VenueTable
from keeper.config.routing import BOARD, Acknowledgements, check_routes
from keeper.config.solvency import Solvency
from keeper.config.table import Table
from keeper.config.types import Problem, at_least_one
from keeper.config.web import Web
from keeper.core.secret import AbsentSecret, Secret
from keeper.core.units import BPS

RESERVED = ("breakers", "solvency", "keeper", "prices", "digest", "summary")

_OUR_OWN = ("inventory", "keep", "own")
"""What is no place on the chain but a decision about what is ours. Places may be configured before there is a contract:
a rehearsal and the deployment need them, and nothing else uses them."""


class Config(Table):
    """A whole deployment, checked."""

    chain: Chain
    store: Store
    protocols: Annotated[tuple[ProtocolTable, ...], AfterValidator(at_least_one)]
    margin_calls: MarginCalls = MarginCalls.model_validate({})
    notifiers: tuple[NotifierTable, ...] = ()
    executor: Executor = Executor.model_validate({})
    venues: tuple[VenueTable, ...] = Field((), validate_default=True)
    funding: tuple[FundingTable, ...] = Field((), validate_default=True)
    submitters: tuple[SubmitterTable, ...] = ()
    breakers: Breakers = Breakers.model_validate({})
    defences: Defences = Defences.model_validate({})
    heartbeat: Heartbeat = Heartbeat.model_validate({})
    jobs: Jobs = Jobs.model_validate({})
    acknowledgements: Acknowledgements = Acknowledgements.model_validate({})
    names: Names = Names.model_validate({})
    operator: Operator = Operator.model_validate({})
    digest: Digest = Digest.model_validate({})
    solvency: Solvency = Solvency.model_validate({})
    web: Web = Web.model_validate({})

    @field_validator("notifiers")
    @classmethod
    def _named(cls, notifiers: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        unnamed = [one.kind for one in notifiers if not one.name]
        if unnamed:
            kind, count = unnamed[0], unnamed.count(unnamed[0])
            raise Problem(
                f"{count} of kind {kind!r} have no name, under which notices wait for them; give each one that stays, "
                f"such as {kind!r} and '{kind}-2'"
            )
        return notifiers

    @field_validator("protocols", "notifiers", "venues", "funding", "submitters")
    @classmethod
    def _distinct(cls, plugins: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        names = [plugin.name for plugin in plugins]
        for name in names:
            if names.count(name) > 1:
                raise Problem(f"name {name!r} is used {names.count(name)} times; give each its own")
        return plugins

    @model_validator(mode="after")
    def _known_protocols(self) -> Config:
        names = [plugin.name for plugin in self.protocols]
        for name in (name for name in names if name in RESERVED):
            raise Problem(
                f"a protocol is named {name!r}, which prefixes what is told of Keeper itself; name it otherwise"
            )
        for name in (*self.breakers.allow, *self.breakers.deny):
            if name not in names:
                raise Problem(f"breakers names the protocol {name!r}; there are {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _known_operators(self) -> Config:
        names = [plugin.name for plugin in self.notifiers]
        for name in self.operator.channels:
            if name not in names:
                raise Problem(f"operator.channels names {name!r}; the notifiers are {', '.join(names) or 'none'}")
        return self

    @model_validator(mode="after")
    def _routes(self) -> Config:
        protocols = [one.name for one in self.protocols]
        problems = check_routes([one.settings for one in self.notifiers], protocols, self.operator.channels)
        for problem in problems:
            raise Problem(problem)
        return self

    @field_validator("notifiers")
    @classmethod
    def _one_board(cls, notifiers: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        boards = [one.name for one in notifiers if one.kind == BOARD]
        if len(boards) > 1:
            raise Problem(f"there are {len(boards)} boards ({', '.join(boards)}); one key posts to one, keep one")
        return notifiers

    @model_validator(mode="after")
    def _separate_identity(self) -> Config:
        wallet = self.executor.private_key
        for plugin in self.submitters:
            identity = plugin.settings.get("identity")
            if wallet is not None and isinstance(identity, Secret) and _key(identity) == _key(wallet):
                raise Problem(f"submitter {plugin.name!r} has the wallet's key as identity; give it one of its own")
        return self

    @field_validator("venues", "funding")
    @classmethod
    def _for_our_contract(cls, plugins: tuple[Plugin, ...], info: ValidationInfo) -> tuple[Plugin, ...]:
        executor = info.data.get("executor")
        if executor is None or executor.mode == "off":
            return plugins
        if executor.liquidator is None and any(plugin.kind in _OUR_OWN for plugin in plugins):
            raise Problem(
                "only our contract uses these; run `keeper deploy` and add executor.liquidator, or remove them"
            )
        if executor.liquidator is not None and not any(plugin.kind not in ("inventory", "keep") for plugin in plugins):
            what = "venue to sell what it seizes" if info.field_name == "venues" else "funding to borrow from"
            raise Problem(f"executor.liquidator is set, but there is no {what}; add a [[{info.field_name}]] table")
        return plugins

    @model_validator(mode="after")
    def _payable_tips(self) -> Config:
        for plugin in self.submitters:
            share = plugin.settings.get("builder_tip", 0)
            if not 0 <= share < 1:
                raise Problem(f"submitter {plugin.name!r}: builder_tip is {share}; a share is at least 0 and below 1")
            if share and self.executor.liquidator is None:
                raise Problem(
                    f"submitter {plugin.name!r}: our contract pays builder_tip; add executor.liquidator, or remove it"
                )
        return self

    @property
    def builder_tip_bps(self) -> int:
        """The same transactions go all configured ways, so the largest share counts."""
        return int(max((p.settings.get("builder_tip", 0) for p in self.submitters), default=0) * BPS)

    def signing_secrets(self) -> Iterator[Secret]:
        """What signs, or opens what does."""
        identities = (plugin.settings.get("identity") for plugin in self.submitters)
        own = (self.executor.private_key, self.executor.password, *identities)
        yield from (one for one in own if isinstance(one, Secret))

    def secrets(self) -> Iterator[Secret]:
        """Everything in it that must never be printed, wherever it stands: a key that is added later is found too."""
        yield from _secrets_in(self)


def _secrets_in(value: object) -> Iterator[Secret]:
    match value:
        case AbsentSecret():
            return
        case Secret():
            yield value
        case BaseModel():
            yield from _secrets_in([one for _, one in value])
        case Plugin():
            yield from _secrets_in(value.settings)
        case Mapping():
            yield from _secrets_in([*value.values()])
        case list() | tuple():
            for one in value:
                yield from _secrets_in(one)


def _key(secret: Secret) -> str:
    return secret.reveal().strip().removeprefix("0x").lower()
