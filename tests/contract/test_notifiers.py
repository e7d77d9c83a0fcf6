"""Every channel under keeper/notifier, found by its module, keeps these promises."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from eth_abi.abi import decode

import keeper.notifier
from keeper.abis import contract
from keeper.config.table import kinds, plugin
from keeper.core.errors import ConfigError, NoticeDelayed, NoticeRefused
from keeper.core.ports import Notifier
from keeper.core.records import Delivery, DeliveryStatus, NoticeEvent
from keeper.core.secret import Secret
from keeper.core.types import Band, Posting
from keeper.devnet.abi import selector, signature_of, split_signature
from keeper.notifier.summary import summarize
from tests.support.notices import notice
from tests.support.receiver import receiver

TOKEN = "token-nobody-may-see"  # a made-up one, to look for
KINDS = kinds(keeper.notifier.__name__)


@dataclass
class Case:
    """A channel that works, how to read what its receiver was shown, and what that must say.

    prepare: gives the channel what it is connected to when a daemon is wired.
    """

    settings: Mapping[str, Any]
    shown: Callable[[], str]
    words: tuple[str, ...] = ("Health 1.09", "repay 250 USDC")
    prepare: Callable[[Any], None] = lambda channel: None


@asynccontextmanager
async def webhook(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Case]:
    async with receiver() as told:
        settings = {"url": Secret(f"{told.url}?t={TOKEN}"), "secret": None}
        yield Case(settings, lambda: "".join(request.body.decode() for request in told.requests))


@asynccontextmanager
async def apprise(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Case]:
    async with receiver() as told:
        settings = {"url": Secret(told.url.replace("http://", f"json://user:{TOKEN}@"))}
        yield Case(settings, lambda: "".join(request.body.decode("unicode-escape") for request in told.requests))


@asynccontextmanager
async def console(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Case]:
    yield Case({}, lambda: capsys.readouterr().err)


class Chain:
    """Takes every posting at once, and reads it as a wallet would: by the ABI that is shipped."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def post(self, posting: Posting) -> None:
        entry = next(one for one in contract("keeper", "MarginCallBoard")["abi"] if one.get("name") == "post")
        signature = signature_of(entry)
        assert posting.call.data[:4] == selector(signature)
        self.read.append(repr(decode(split_signature(signature)[1], posting.call.data[4:])))


@asynccontextmanager
async def board(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Case]:
    chain = Chain()
    settings = {"address": b"\xbb" * 20, "gas_limit": 400_000}
    words = ("aave:0xA", "1090000000000000000", "0x" + "a0" * 20, "250000000")
    yield Case(settings, lambda: "".join(chain.read), words, lambda channel: channel.connect(chain))


CASES: dict[str, Callable[[pytest.CaptureFixture[str]], AbstractAsyncContextManager[Case]]] = {
    "apprise": apprise,
    "board": board,
    "console": console,
    "webhook": webhook,
}


def test_every_channel_has_a_case_here() -> None:
    """A new channel module must be put to this suite."""
    assert sorted(CASES) == KINDS


@pytest.mark.parametrize("kind", KINDS)
class TestEveryChannel:
    def build(self, kind: str, case: Case, band: Band = Band.CALL) -> Notifier:
        built: Notifier = plugin("keeper.notifier", kind).build({**case.settings, "min_band": band}, f"my-{kind}")
        return built

    def test_describes_its_options(self, kind: str) -> None:
        """The configuration reference is made of these words."""
        for field in dataclasses.fields(plugin("keeper.notifier", kind).Options):
            assert field.metadata["doc"], field.name

    async def test_carries_its_name_and_its_band(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case, Band.URGENT)
            assert (channel.name, channel.min_band) == (f"my-{kind}", Band.URGENT)
            await channel.close()

    async def test_shows_the_notice_to_its_receiver(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            case.prepare(channel)
            await channel.send(notice())
            shown = case.shown()
            for word in case.words:
                assert word in shown
            await channel.close()

    @pytest.mark.parametrize("event", [event for event in NoticeEvent if event.of_episode])
    async def test_tells_every_step_of_an_episode(
        self, kind: str, event: NoticeEvent, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Opening, deepening, and however it ends."""
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            case.prepare(channel)
            await channel.send(notice(event=event, band="liquidatable"))
            assert "aave:0xA" in case.shown()
            await channel.close()

    @pytest.mark.parametrize("event", [event for event in NoticeEvent if not event.of_episode])
    async def test_tells_what_is_of_no_episode_or_says_that_it_never_will(
        self, kind: str, event: NoticeEvent, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A refusal is final, so it must not be a delay."""
        told = summarize(
            "any", [Delivery(notice(n, position=f"aave:{n}"), "any", DeliveryStatus.PENDING) for n in (1, 2)]
        )
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            case.prepare(channel)
            try:
                await channel.send(told if event is NoticeEvent.SUMMARY else notice(event=event, band="watch"))
            except NoticeRefused as refused:
                assert "leave it to other notifiers" in str(refused)
                assert case.shown() == ""
            else:
                assert case.shown()
            await channel.close()

    async def test_shows_the_same_when_it_is_sent_again(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A retry is a repetition: nothing in it may look new."""
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            case.prepare(channel)
            await channel.send(notice())
            once = case.shown()
            await channel.send(notice())
            assert case.shown() in (once, once * 2)
            await channel.close()

    async def test_checks_itself_in_a_line_without_secrets(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            line = await channel.check()
            assert line
            assert "\n" not in line
            assert TOKEN not in line
            assert TOKEN not in repr(channel) + repr(vars(channel))
            await channel.close()

    async def test_can_be_closed_twice_and_unused(self, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
        async with CASES[kind](capsys) as case:
            channel = self.build(kind, case)
            await channel.close()
            await channel.close()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "console"])
async def test_an_absent_receiver_is_worth_another_attempt(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says nothing secret."""
    async with CASES[kind](capsys) as case:
        channel = TestEveryChannel().build(kind, case)
    with pytest.raises(NoticeDelayed) as delayed:
        await channel.send(notice())
    assert TOKEN not in str(delayed.value)
    await channel.close()


async def test_a_notice_longer_than_a_message_arrives_whole_through_apprise() -> None:
    """A storm of nine hundred: the service takes 32768 characters at once, and every position is named."""
    storm = [Delivery(notice(n, position=f"aave:{n:040d}"), "mail", DeliveryStatus.PENDING) for n in range(900)]
    async with receiver() as told:
        settings = {"url": Secret(told.url.replace("http://", "json://")), "min_band": Band.CALL}
        channel = plugin("keeper.notifier", "apprise").build(settings, "mail")
        await channel.send(summarize("mail", storm))
        await channel.close()
        shown = "".join(json.loads(request.body)["message"] for request in told.requests)
    assert len(told.requests) > 1
    assert all(f"{n:040d}" in shown for n in range(900))


@pytest.mark.parametrize(
    ("form", "mark"), [("html", "<b>Health 1.09</b>"), ("markdown", "**Health 1.09**"), ("text", "Health 1.09 of")]
)
async def test_apprise_is_given_the_form_that_the_service_shows(form: str, mark: str) -> None:
    """A mail is HTML, a chat is Markdown, a pager is plain."""
    async with receiver() as told:
        settings = {"url": Secret(told.url.replace("http://", "json://") + f"?format={form}"), "min_band": Band.CALL}
        channel = plugin("keeper.notifier", "apprise").build(settings, "any")
        await channel.send(notice())
        await channel.close()
        (request,) = told.requests
    said = json.loads(request.body)
    assert mark in said["message"]
    assert said["title"] == notice().title


async def test_a_webhook_follows_no_redirect() -> None:
    """Where it leads, whoever answers there chose; a notice goes to the address that is configured."""
    settings = {"secret": None, "min_band": Band.CALL}
    async with receiver(answers=[307]) as told:
        channel = plugin("keeper.notifier", "webhook").build({"url": Secret(told.url), **settings}, "hook")
        with pytest.raises(NoticeDelayed):
            await channel.send(notice())
        await channel.close()
        assert "/elsewhere" not in {request.path for request in told.requests}


async def test_check_refuses_a_webhook_that_nobody_answers() -> None:
    async with receiver() as told:
        url = told.url
    channel = plugin("keeper.notifier", "webhook").build(
        {"url": Secret(url), "secret": None, "min_band": Band.CALL}, "hook"
    )
    with pytest.raises(ConfigError, match="does not answer"):
        await channel.check()


def test_apprise_refuses_a_url_that_no_service_understands() -> None:
    """The message names the scheme and nothing of what follows."""
    settings = {"url": Secret(f"nosuchservice://{TOKEN}"), "min_band": Band.CALL}
    with pytest.raises(ConfigError, match="scheme nosuchservice") as refused:
        plugin("keeper.notifier", "apprise").build(settings, "phone")
    assert TOKEN not in str(refused.value)
