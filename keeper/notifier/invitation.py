"""What is added to a notice that will be escalated unless somebody acknowledges it: how to do that. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

from keeper.core.records import Notice, NoticeEvent
from keeper.core.secret import Secret
from keeper.notifier.acktoken import make_token
from keeper.notifier.routing import Router


@dataclass(frozen=True, slots=True)
class Invitation:
    """link: an address with "{token}" in it; it and the secret are both given or both absent."""

    router: Router
    chain_id: int
    secret: Secret | None = None
    link: str | None = None
    valid_s: float = 72 * 3600.0

    def on(self, notice: Notice, now: float) -> Notice:
        """The notice, with how to acknowledge it where that stops something.

        It is put into the outbox like this, so that a retry repeats it.
        """
        if notice.event not in (NoticeEvent.OPENED, NoticeEvent.ESCALATED):
            return notice
        if not self.router.escalating & frozenset(self.router.channels(notice)):
            return notice
        link = self._link(notice.episode, now)
        command = f"keeper ack {notice.episode}"
        how = command if link is None else f"{link} or {command}"
        marked = f"`{command}`" if link is None else f"[Acknowledge]({link}), or `{command}`"
        anchor = "" if link is None else f'<a href="{escape(link, quote=True)}">Acknowledge</a>, or '
        tagged = f"<p>{anchor}<code>{escape(command)}</code></p>"
        return replace(
            notice,
            body={**notice.body, "acknowledge": {"id": notice.episode, "link": link}},
            text=f"{notice.text}\nAcknowledge, or others are told: {how}",
            markdown=f"{notice.markdown}\n\nAcknowledge, or others are told: {marked}",
            html=f"{notice.html}\n<p>Acknowledge, or others are told:</p>\n{tagged}",
        )

    def _link(self, episode: str, now: float) -> str | None:
        if self.secret is None or self.link is None:
            return None
        return self.link.replace("{token}", make_token(self.secret, self.chain_id, episode, int(now + self.valid_s)))
