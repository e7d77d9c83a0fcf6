"""Notices through any of the services that Apprise knows: mail, Telegram, Slack, Discord, Matrix, a phone …"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from keeper.core.errors import ConfigError, NoticeDelayed
from keeper.core.records import Notice
from keeper.core.secret import Secret
from keeper.core.types import Band

if TYPE_CHECKING:
    from apprise import Apprise

TIMEOUT_S = 30.0
_THREADS = 4


@dataclass(frozen=True)
class Options:
    url: Secret = field(metadata={"doc": "An Apprise URL, such as `tgram://token/chat` or `mailto://…`."})


class AppriseChannel:
    """Apprise blocks, so it runs in threads of its own, which a hanging service cannot take from anybody else."""

    def __init__(self, name: str, url: Secret, min_band: Band) -> None:
        """Raises ConfigError when no service understands the URL."""
        self.name = name
        self.min_band = min_band
        self._service = _service(name, url)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"notifier-{name}")

    async def send(self, notice: Notice) -> None:
        attempt = asyncio.get_running_loop().run_in_executor(self._threads, self._notify, notice)
        try:
            accepted = await asyncio.wait_for(attempt, TIMEOUT_S)
        except TimeoutError:
            raise NoticeDelayed(f"apprise {self.name}: no answer within {TIMEOUT_S:.0f} s", perhaps_seen=True) from None
        if not accepted:
            raise NoticeDelayed(f"apprise {self.name}: the service did not accept the notice", perhaps_seen=True)

    def _notify(self, notice: Notice) -> bool:
        form = _form(self._service[0])
        body = {"html": notice.html, "markdown": notice.markdown, "text": notice.text}[form]
        # Apprise puts the title where the service has a place for it, or before the body.
        below = body.partition("\n")[2].strip("\n")
        return bool(self._service.notify(body=below or body, title=notice.title, body_format=form))

    async def check(self) -> str:
        return f"{self._service[0].service_name} through Apprise (no message is sent to try it)"

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _form(service: Any) -> str:
    """The form of a notice that a service shows best, unless its URL asks for another: HTML where that is first (mail,
    Telegram), else Markdown where it is understood, else plain text."""
    wanted = service.notify_format
    known = [one.value for one in (wanted if isinstance(wanted, tuple) else (wanted,))]
    best = "html" if known[0] == "html" else "markdown" if "markdown" in known else "text"
    return str(service.resolve_format(best).value)


def _service(name: str, url: Secret) -> Apprise:
    service = understood(url.reveal())
    if service is None or len(service) != 1:
        scheme = url.reveal().partition("://")[0] if "://" in url.reveal() else "none"
        raise ConfigError(
            f"notifier {name}: no Apprise service understands this URL (scheme {scheme}); "
            "see the list of services in Apprise's documentation"
        )
    if "overflow=" not in url.reveal():
        from apprise import OverflowMode

        # What a service cannot take in one message comes in several; left alone it would refuse the notice, or cut it.
        service[0].overflow_mode = OverflowMode.SPLIT
    return service


def understood(url: str) -> Apprise | None:
    """The service that a URL names; None where there is none, without a word: Apprise would log parts of the URL, which
    may be a token, and as an error where it is only asked."""
    import apprise  # takes a third of a second, which only those who use it should wait for

    says = logging.getLogger("apprise")
    was, says.disabled = says.disabled, True
    try:
        service = apprise.Apprise()
        return service if service.add(url) else None
    finally:
        says.disabled = was


def build(config: Mapping[str, Any], name: str) -> AppriseChannel:
    return AppriseChannel(name, config["url"], config["min_band"])
