"""One TOML file describes one deployment. `load_config` reads it, or says everything that is wrong with it at once.

A protocol or a notifier describes its own keys: its module (found by `kind`) exposes `Options`, a frozen dataclass
whose fields have `metadata={"doc": …}`. The plain type of a field says how it is written and checked: bytes is an
address, Secret a text that may be "env:NAME" (with `metadata={"schemes": (…)}`: a URL), Decimal an exact decimal
string. `build` receives these values by key, together with the common ones.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from keeper.config.breakers import Breakers
from keeper.config.defences import Defences, Heartbeat
from keeper.config.notices import Digest, Explorer, Names, Operator, PageTemplate
from keeper.config.routing import BOARD, Acknowledgements, NotifierCommon, check_routes
from keeper.config.solvency import Solvency
from keeper.config.table import InTable, Table, explain, options_table
from keeper.config.types import (
    Address,
    Amount,
    Bps,
    FilePath,
    Finality,
    Gwei,
    NodeUrl,
    Origin,
    Problem,
    SecretText,
    StoreUrl,
    Wad,
    at_least_one,
    describe,
    shown,
)
from keeper.config.web import Web
from keeper.core.errors import ConfigError
from keeper.core.secret import Secret
from keeper.core.units import BPS

WAD_ONE = 10**18
RESERVED = ("breakers", "solvency", "keeper", "prices", "digest", "summary")


class Chain(Table):
    id: int = Field(ge=1, lt=2**63, description="Chain id; every endpoint must serve it.", examples=[1])
    rpc: Annotated[tuple[NodeUrl, ...], AfterValidator(at_least_one)] = Field(
        description="Endpoints: `ws(s)://`, `http(s)://` or an IPC path; several are used for failover in this order.",
        examples=[["env:KEEPER_RPC_URL"]],
    )
    finality: Finality = Field("finalized", description='`"finalized"`, `"safe"`, or a number of confirmations.')
    poll_interval_s: float = Field(
        1.0, gt=0, le=600, description="How often to ask for the head where subscriptions do not work."
    )
    request_timeout_s: float = Field(10.0, gt=0, le=600, description="How long one endpoint may take to answer.")
    stale_after_s: float = Field(120.0, gt=0, description="Without a block taken for this long the watchdog says so.")
    explorer: Explorer | None = Field(
        None, description="Block explorer that notices link to; by default the chain's best known, empty for none."
    )
    wrapped_native: Address | None = Field(
        None, description="Wrapped native coin (WETH): its price values gas. Needed to count gas into profit."
    )


class Store(Table):
    url: StoreUrl = Field(
        description="Database; a relative SQLite path is relative to this file.", examples=["sqlite:///var/keeper.db"]
    )
    keep_days: float | None = Field(
        None,
        ge=1,
        description="Forget closed calls, their notices and audit trail after this many days; absent: never. Open "
        "calls, notices on their way and our own transactions are always kept.",
    )


class VolatilityRule(Table):
    """How lines follow the volatility of a position's own health (docs/volatility.md); of no effect by health alone."""

    probability: float = Field(
        0.08, gt=0, lt=1, description="Call a position that breaches within the horizon more likely than this."
    )
    horizon_hours: float = Field(84.0, gt=0, le=8_760, description="The horizon of that probability.")
    memories_hours: Annotated[tuple[float, ...], AfterValidator(at_least_one)] = Field(
        (48.0, 240.0), description="Half-lives of what was observed; the memory that sees the most counts."
    )
    estimator: Literal["close", "parkinson"] = Field(
        "close", description='Variances from four-hour returns (`"close"`) or from the range of prices (`"parkinson"`).'
    )
    quiet_sigmas: float = Field(
        8.0, gt=0, le=100, description="A line by health is no farther than this many daily standard deviations."
    )
    quiet_year: float = Field(
        0.2, gt=0, le=100, description="Yearly volatility below which it is in proportion fewer of them: a peg."
    )
    widest_wad: Wad = Field(1_284_000_000_000_000_000, alias="widest", description="No line lies above this health.")
    prior_year: float = Field(0.6, gt=0, le=100, description="Yearly volatility presumed before prices are known.")
    prior_pegged_year: float = Field(
        0.05, gt=0, le=100, description="The same for assets presumed to be worth the same, by price or by name."
    )
    prior_hours: float = Field(
        24.0, gt=0, le=8_760, description="What that presumption weighs, as if observed so long."
    )

    @field_validator("memories_hours")
    @classmethod
    def _of_some_length(cls, memories: tuple[float, ...]) -> tuple[float, ...]:
        if not all(1 <= hours <= 8_760 for hours in memories) or list(memories) != sorted(memories):
            raise Problem("memories must rise and lie between 1 and 8760 hours")
        return memories

    @field_validator("widest_wad")
    @classmethod
    def _above_one(cls, widest_wad: int) -> int:
        if not WAD_ONE * 101 // 100 <= widest_wad <= 4 * WAD_ONE:
            raise Problem("widest must be a health from 1.01 to 4")
        return widest_wad


_LINES = ("watch_wad", "call_wad", "urgent_wad", "hysteresis_wad", "target_wad")


class MarginCalls(Table):
    """When owners are called; see docs/volatility.md. Lines that are written hold for every position; without any, the
    call follows the volatility of each, and the other lines follow the call."""

    by: Literal["auto", "health", "probability", "both"] = Field(
        "auto",
        description="Call by `health`, by the `probability` to breach, or by `both`, whichever is deeper. "
        "`auto`: by health if any line is written, else by both.",
    )
    watch_wad: Wad = Field(1_250_000_000_000_000_000, alias="watch", description="Below: judged exactly every block.")
    call_wad: Wad = Field(
        1_100_000_000_000_000_000,
        alias="call",
        description='Below: an episode opens, a notice is sent. By both: `"1.09"` unless written.',
    )
    urgent_wad: Wad = Field(1_030_000_000_000_000_000, alias="urgent", description="Below: one more, urgent notice.")
    hysteresis_wad: Wad = Field(
        20_000_000_000_000_000,
        alias="hysteresis",
        description="How far above a line health must rise to leave its band.",
    )
    target_wad: Wad = Field(1_250_000_000_000_000_000, alias="target", description="The health that a cure restores.")
    volatility: VolatilityRule = VolatilityRule.model_validate({})
    accounts: tuple[Address, ...] = Field((), description="Only these accounts; empty means every account.")

    @model_validator(mode="after")
    def _ordered(self) -> MarginCalls:
        if not WAD_ONE < self.urgent_wad < self.call_wad <= self.watch_wad:
            raise Problem("the lines must be ordered 1 < urgent < call <= watch; change the one that is out of order")
        if self.hysteresis_wad == 0:
            raise Problem("hysteresis is 0: every tremble of a price on a line would be told; set at least 0.01")
        if self.target_wad < self.call_wad + self.hysteresis_wad:
            raise Problem("target is below call + hysteresis: a cure would not end the episode; raise target")
        follows = sorted(self._written - {"call_wad"} if self.by == "both" else self._written)
        if self.by in ("probability", "both") and follows:
            names = ", ".join(name.removesuffix("_wad") for name in follows)
            raise Problem(f'by = "{self.by}" draws {names} from the volatility; remove the key, or set by = "health"')
        if "volatility" in self.model_fields_set and self.by_health:
            raise Problem('lines by health do not follow the volatility; set by = "both", or remove its table')
        return self

    @property
    def _written(self) -> set[str]:
        return self.model_fields_set & set(_LINES)

    @property
    def by_health(self) -> bool:
        return self.by == "health" or (self.by == "auto" and bool(self._written))

    @property
    def call_by_health_wad(self) -> int | None:
        """The call line by health, where volatility has a say as well; None when it alone decides."""
        if self.by == "probability":
            return None
        return self.call_wad if "call_wad" in self.model_fields_set else 1_090_000_000_000_000_000


class Executor(Table):
    mode: str = Field("off", description='`"off"` (alert-only), `"dry_run"` (simulate, send nothing) or `"live"`.')
    private_key: SecretText | None = Field(None, description="The wallet's key, as hex. Or use a keystore.")
    keystore: FilePath | None = Field(None, description="Encrypted key file (web3 secret storage).")
    password: SecretText | None = Field(None, description="Password of the keystore.")
    account: Address | None = Field(
        None, description="The wallet's address. With a key it must match; a dry run can do with the address alone."
    )
    liquidator: Address | None = Field(
        None, description="Our Liquidator contract, which borrows what a liquidation takes; absent: the wallet pays."
    )
    least_gain_bps: Bps = Field(
        5_000, alias="least_gain", description="Share of a plan's expected gain without which our contract reverts."
    )
    min_profit: Amount = Field(Decimal("1.00"), description="Least profit after gas, in the protocol's base currency.")
    realize_bad_debt: Amount | None = Field(
        None,
        description="Most that liquidating a position which is worth less than it owes may lose, after gas, in the "
        "protocol's base currency; absent: nothing is liquidated at a loss. The loss limits of [breakers] count it.",
    )
    confirmations: int = Field(
        3, ge=1, le=10_000, description="Blocks until a transaction of ours counts as confirmed."
    )
    max_fee_wei: Gwei = Field(500 * 10**9, alias="max_fee_gwei", description="Never pay more than this per gas.")
    min_tip_wei: Gwei = Field(10**7, alias="min_tip_gwei", description="Least priority fee offered per gas.")
    max_tip_wei: Gwei = Field(20 * 10**9, alias="max_tip_gwei", description="Largest priority fee offered per gas.")
    tip_share_bps: Bps = Field(
        1_000,
        alias="tip_share",
        description="Share of a liquidation's expected profit offered as priority fee on top of what recent blocks "
        "paid, up to max_tip_gwei.",
    )
    approve_exactly: bool = Field(
        False, description="Approve what a liquidation needs each time, instead of everything once (which is faster)."
    )
    spenders: tuple[Address, ...] = Field(
        (),
        description="The only contracts that the wallet's tokens are ever approved for; empty: those that the "
        "protocols name, which a node that lies could make up. `keeper check` prints them.",
    )
    cooldown_blocks: int = Field(
        5,
        ge=0,
        le=1_000_000,
        description="How long a position is left alone after a transaction for it reverted for a reason that passes: "
        "the price moved back, somebody was first.",
    )
    lasting_cooldown_hours: float = Field(
        6.0,
        ge=0,
        le=720,
        description="The same for a reason that somebody has to remove: a paused market, no liquidity, no allowance.",
    )
    max_pending: int = Field(
        32, ge=1, le=64, description="Most transactions in flight; some nodes queue only 16 of an account."
    )
    pending_prices: str = Field(
        "off",
        description='Price updates that are not mined yet: `"off"`, `"prepare"` (plan what they will open, send when '
        'they are mined) or `"send"` (send right behind them); see docs/submitters.md.',
    )
    armed: int = Field(
        16,
        ge=0,
        le=64,
        description="Of so many positions nearest to liquidation a transaction is kept signed and durable, so that the "
        "block that opens one is answered at once; 0: none. For liquidations on Aave v3 that the wallet pays for.",
    )
    max_batch: int = Field(
        4,
        ge=1,
        le=8,
        description="Most small liquidations of our contract in one transaction, where that pays; 1: none together.",
    )
    replace_after_blocks: int = Field(
        3, ge=1, le=10_000, description="Raise the fee of what was not mined for this many blocks."
    )

    @model_validator(mode="after")
    def _complete(self) -> Executor:
        if self.mode not in ("off", "dry_run", "live"):
            raise Problem(f'mode is {shown(self.mode)}; expected "off", "dry_run" or "live"')
        if self.pending_prices not in ("off", "prepare", "send"):
            raise Problem(f'pending_prices is {shown(self.pending_prices)}; expected "off", "prepare" or "send"')
        if self.least_gain_bps > BPS:
            raise Problem("least_gain is above 1: our contract would never gain enough; lower it")
        if self.tip_share_bps > BPS:
            raise Problem("tip_share is above 1: more than the profit would be given away; lower it")
        if self.private_key is not None and self.keystore is not None:
            raise Problem("both private_key and keystore are given; keep one")
        if self.mode != "off" and self.keystore is not None and self.password is None:
            raise Problem('keystore needs its password; add password = "env:KEEPER_KEYSTORE_PASSWORD"')
        if self.mode == "live" and self.private_key is None and self.keystore is None:
            raise Problem('mode "live" needs a key; add private_key = "env:KEEPER_PRIVATE_KEY" or a keystore')
        if self.mode == "dry_run" and self.private_key is None and self.keystore is None and self.account is None:
            raise Problem('mode "dry_run" needs to know the wallet; add account = "0x…", or a key')
        if self.min_tip_wei > self.max_tip_wei:
            raise Problem("min_tip_gwei is above max_tip_gwei; lower the one or raise the other")
        return self


class Jobs(Table):
    reconcile_minutes: float = Field(
        5.0, gt=0, description="How often a sample of positions is compared with the chain."
    )
    reconcile_sample: int = Field(50, ge=1, le=10_000, description="How many positions are compared each time.")


class ProtocolCommon(Table):
    kind: str = Field(description="Module name under `keeper/protocols`.", examples=["aave_v3"])
    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$", description="Unique; prefixes position ids.", examples=["aave"]
    )
    start_block: int = Field(
        0, ge=0, lt=2**63, description="Where indexing begins: the block of the protocol's deployment."
    )
    page: PageTemplate | None = Field(
        None,
        description="Web page that notices link to, with `{account}`, `{market}` and `{chain_id}` filled in; "
        "by default the protocol's own, empty for none.",
    )


class VenueCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/venues`.", examples=["uniswap_v3"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


class FundingCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/funding`.", examples=["morpho"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


class SubmitterCommon(Table):
    kind: str = Field(description="Module name under `keeper/executor/submitters`.", examples=["bundle"])
    name: str = Field(
        "", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, numbered if repeated."
    )


@dataclass(frozen=True)
class Plugin:
    """A configured protocol, notifier, venue or funding: `settings` is what `build` of its module receives."""

    kind: str
    name: str
    settings: Mapping[str, Any]


def _plugin(package: str, common: type[Table]) -> Callable[[object, ValidationInfo], Plugin]:
    """A validator of one table of `[[protocols]]` and the like, whose keys depend on its `kind`."""

    def parse(value: object, info: ValidationInfo) -> Plugin:
        if not isinstance(value, Mapping):
            raise Problem(f"expected a table, not {describe(value)}")
        model = options_table(package, value["kind"], common) if isinstance(value.get("kind"), str) else common
        try:
            table = model.model_validate(value, context=info.context)
        except ValidationError as error:
            raise InTable(error, model) from None
        settings = {name: getattr(table, name) for name in model.model_fields}
        return Plugin(settings["kind"], settings["name"], MappingProxyType(settings))

    return parse


_named = PlainSerializer(lambda plugin: {"kind": plugin.kind, "name": plugin.name})
ProtocolTable = Annotated[Plugin, PlainValidator(_plugin("keeper.protocols", ProtocolCommon)), _named]
NotifierTable = Annotated[Plugin, PlainValidator(_plugin("keeper.notifier", NotifierCommon)), _named]
VenueTable = Annotated[Plugin, PlainValidator(_plugin("keeper.executor.venues", VenueCommon)), _named]
FundingTable = Annotated[Plugin, PlainValidator(_plugin("keeper.executor.funding", FundingCommon)), _named]

SubmitterTable = Annotated[Plugin, PlainValidator(_plugin("keeper.executor.submitters", SubmitterCommon)), _named]


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
        if executor.liquidator is None and plugins:
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


def load_margin_calls(path: Path | str) -> MarginCalls:
    """`[margin_calls]` of a file alone, whatever else is in it or missing. Raises ConfigError as `load_config` does."""
    file = Path(path)
    tables = {"margin_calls": read_tables(file).get("margin_calls", {})}
    try:
        return _MarginCallsOnly.model_validate(tables, context=Origin(file.resolve().parent, {})).margin_calls
    except ValidationError as error:
        problems = explain(error, _MarginCallsOnly)
    raise ConfigError("\n".join(f"{file}: {problem}" for problem in problems))


class _MarginCallsOnly(Table):
    margin_calls: MarginCalls


def load_config(path: Path | str, *, mode: str | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """The checked configuration of a file.

    mode: overrides `executor.mode`, for `--alert-only` and `--dry-run`. environment: by default the process's, then
    `.env` beside the file, then `.env` in the working directory.
    Raises ConfigError with one line per problem: `file: path.to.key: problem; remedy`.
    """
    file = Path(path)
    tables = read_tables(file)
    if mode is not None:
        tables["executor"] = {**tables.get("executor", {}), "mode": mode}
    origin = Origin(file.resolve().parent, read_environment(file) if environment is None else environment)
    return check_tables(tables, origin, str(file))


def check_tables(tables: dict[str, Any], origin: Origin, where: str) -> Config:
    """The checked configuration that these tables are, whoever wrote them; lists are tuples. Changes `tables`.

    Raises ConfigError with one line per problem: `where: path.to.key: problem; remedy`.
    """
    _complete(tables, origin)
    try:
        return Config.model_validate(tables, context=origin)
    except ValidationError as error:
        problems = explain(error, Config)
    # Raised outside the handler: the original error repeats inputs, and one of them may be a secret.
    raise ConfigError("\n".join(f"{where}: {problem}" for problem in problems))


def read_tables(file: Path) -> dict[str, Any]:
    """A file's tables as they are written. Raises ConfigError when it cannot be read or is no TOML."""
    try:
        parsed = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: there is no such file; name one with --config, start from one of configs/ (ethereum.toml, …), "
            "or let `keeper devnet` write one for a local chain"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); give the right path with --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: is no valid TOML: {error}") from None
    return {key: as_tuples(value) for key, value in parsed.items()}


def as_tuples(value: Any) -> Any:
    """TOML's lists as tuples: a configuration is immutable."""
    if isinstance(value, list):
        return tuple(as_tuples(item) for item in value)
    return {key: as_tuples(item) for key, item in value.items()} if isinstance(value, dict) else value


def read_environment(file: Path) -> Mapping[str, str]:
    """What "env:NAME" in this file refers to."""
    merged: dict[str, str] = {}
    for source in (dotenv_values(".env"), dotenv_values(file.parent / ".env"), os.environ):
        merged.update({name: value for name, value in source.items() if value is not None})
    return merged


def _complete(tables: dict[str, Any], origin: Origin) -> None:
    """Name plugins that have no name, and forget keys of an executor that is off and has none to use."""
    for where in ("notifiers", "venues", "funding", "submitters"):
        kinds: Counter[str] = Counter()
        for plugin in _tables_in(tables.get(where)):
            kind = str(plugin.get("kind"))
            kinds[kind] += 1
            plugin.setdefault("name", kind if kinds[kind] == 1 else f"{kind}-{kinds[kind]}")
    executor = tables.get("executor")
    if isinstance(executor, dict) and executor.get("mode", "off") == "off":
        for table in (executor, *_tables_in(tables.get("submitters"))):
            _forget_unset(table, ("private_key", "password", "identity"), origin)


def _forget_unset(table: dict[str, Any], keys: Sequence[str], origin: Origin) -> None:
    for key in keys:
        written = table.get(key)
        if isinstance(written, str) and written.startswith("env:") and not origin.environment.get(written[4:]):
            del table[key]


def _tables_in(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, tuple):
        yield from (item for item in value if isinstance(item, dict))
