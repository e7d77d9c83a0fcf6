"""`[[notifiers]]`: what each channel wants and when it may be disturbed; `[acknowledgements]`: links that stop one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from keeper.config.table import Table
from keeper.config.types import Address, BandName, EventName, HoursText, Problem, SecretText, ZoneName
from keeper.core.records import NoticeEvent
from keeper.core.secret import Secret
from keeper.core.types import Band
from keeper.notifier.acktoken import check_secret
from keeper.notifier.quiet import QuietHours
from keeper.notifier.routing import Route


class NotifierCommon(Table):
    kind: str = Field(description="Module name under `keeper/notifier`.", examples=["webhook"])
    name: str = Field("", pattern=r"^[a-z0-9_-]{0,32}$", description="Unique; by default the kind, for one of each.")
    min_band: BandName = Field(
        Band.CALL, description="Tell only of episodes this deep: `watch`, `call`, `urgent` or `liquidatable`."
    )
    accounts: tuple[Address, ...] = Field((), description="Tell only of these accounts; empty means every account.")
    protocols: tuple[str, ...] = Field((), description="Tell only of these protocols, by `name`; empty means all.")
    events: tuple[EventName, ...] = Field(
        (), description="Tell only these events (`opened`, `escalated`, `cured`, `liquidated`, …); empty means all."
    )
    digest: bool = Field(False, description="Tell the daily digest; see `[digest]`.")
    quiet_hours: HoursText | None = Field(
        None,
        description="Hold back what is less deep than `quiet_below`, and tell it together afterwards if still true.",
    )
    time_zone: ZoneName = Field(ZoneInfo("UTC"), description="Time zone of `quiet_hours`, by its IANA name.")
    quiet_below: BandName = Field(Band.URGENT, description="What is this deep, or deeper, is told in quiet hours too.")
    max_per_minute: int | None = Field(
        None, ge=1, le=100_000, description="What exceeds this is told together in one message, the deepest first."
    )
    escalates: str | None = Field(
        None, description="Tell only what the notifier of this name told and nobody acknowledged (`keeper ack`)."
    )
    escalate_after_minutes: float = Field(
        15.0, gt=0, le=10_080, description="How long somebody has to acknowledge before this one is told."
    )
    give_up_hours: float = Field(
        72.0, gt=0, description="Stop trying to deliver a notice after this; see `keeper calls --undelivered`."
    )

    @model_validator(mode="after")
    def _meaningful(self) -> NotifierCommon:
        if self.quiet_hours is None and {"time_zone", "quiet_below"} & self.model_fields_set:
            raise Problem('time_zone or quiet_below is given without quiet_hours; add quiet_hours = "22:00-07:00"')
        if self.escalates is None and "escalate_after_minutes" in self.model_fields_set:
            raise Problem("escalate_after_minutes is given without escalates; name the notifier that is told first")
        return self


class Acknowledgements(Table):
    secret: SecretText | None = Field(
        None, description="Key of the HMAC in links by which a call is acknowledged; at least 16 characters."
    )
    link: str | None = Field(
        None,
        description="Address in notices, with `{token}` in it; whatever answers there runs `keeper ack TOKEN`.",
        examples=["https://keeper.example/ack/{token}"],
    )
    valid_hours: float = Field(72.0, gt=0, le=8_760, description="How long a link works.")

    @field_validator("secret")
    @classmethod
    def _strong(cls, secret: Secret | None) -> Secret | None:
        try:
            if secret is not None:
                check_secret(secret)
        except ValueError as error:
            raise Problem(str(error)) from None
        return secret

    @field_validator("link")
    @classmethod
    def _whole(cls, link: str | None) -> str | None:
        if link is None:
            return None
        parts = urlsplit(link)
        if parts.scheme not in ("http", "https") or not parts.netloc or any(char in link for char in " <>\"'()`"):
            raise Problem(f"{link!r} is no web address; write it as https://host/path/{{token}}")
        if link.count("{token}") != 1:
            raise Problem("has no {token} in it, or several; write it as https://host/path/{token}")
        return link

    @model_validator(mode="after")
    def _both(self) -> Acknowledgements:
        if self.link is not None and self.secret is None:
            raise Problem('link needs a secret; add secret = "env:KEEPER_ACK_SECRET"')
        return self


BOARD = "board"
"""The kind of notifier that sends transactions."""

_ON_CHAIN = frozenset(event for event in NoticeEvent if event.of_episode)
"""What it can say."""


def route_of(settings: Mapping[str, Any]) -> Route:
    """The rules in the checked table of a notifier."""
    hours = settings["quiet_hours"]
    events = frozenset(settings["events"])
    if settings["kind"] == BOARD:
        events = (events or _ON_CHAIN) & _ON_CHAIN
    return Route(
        channel=settings["name"],
        min_band=settings["min_band"],
        accounts=frozenset(settings["accounts"]),
        protocols=frozenset(settings["protocols"]),
        events=events,
        quiet=None if hours is None else QuietHours(hours, settings["time_zone"]),
        quiet_below=settings["quiet_below"],
        per_minute=settings["max_per_minute"],
        escalates=settings["escalates"],
        patience_s=settings["escalate_after_minutes"] * 60,
        give_up_s=settings["give_up_hours"] * 3600,
    )


def check_routes(
    notifiers: Sequence[Mapping[str, Any]], protocols: Sequence[str], operators: Sequence[str]
) -> Iterator[str]:
    """What is wrong between notifiers: names that nobody has, and escalations that go in a circle."""
    names = [one["name"] for one in notifiers]
    before = {one["name"]: one["escalates"] for one in notifiers}
    for one in notifiers:
        where = f"notifier {one['name']!r}"
        if one["kind"] == BOARD and (one["quiet_hours"] is not None or one["max_per_minute"] is not None):
            yield f"{where} speaks on chain, where nothing is told together; use max_posts_per_hour to limit it"
        if one["kind"] == BOARD and (one["digest"] or one["name"] in operators):
            yield f"{where} speaks on chain, of margin calls only; leave digests and Keeper's own troubles to others"
        for protocol in one["protocols"]:
            if protocol not in protocols:
                yield f"{where} names the protocol {protocol!r}; {_nearest(protocol, protocols)}"
        if one["escalates"] is not None and one["escalates"] not in names:
            others = [name for name in names if name != one["name"]]
            yield f"{where} escalates {one['escalates']!r}, which is no notifier; {_nearest(one['escalates'], others)}"
        seen, at = {one["name"]}, one["escalates"]
        while at in before and at not in seen:
            seen.add(at)
            at = before[at]
        if at == one["name"]:
            yield f"{where} escalates itself, by way of {one['escalates']!r}; the first of a chain escalates nobody"


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
