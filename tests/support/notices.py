"""Notices that state only what matters to a test."""

from __future__ import annotations

from keeper.core.records import Notice, NoticeEvent


def notice(
    number: int = 1, *, position: str = "aave:0xA", event: NoticeEvent = NoticeEvent.OPENED, band: str = "call"
) -> Notice:
    """The number makes the id, and the block."""
    account = bytes([number % 256]) * 20
    return Notice(
        id=f"notice-{number}",
        position=position,
        account=account,
        protocol="aave",
        episode=f"episode-of-{position}",
        event=event,
        band=band,
        block_number=number,
        block_hash=bytes([number % 256]) * 32,
        body={
            "id": f"notice-{number}",
            "event": event.value,
            "position": position,
            "account": "0x" + account.hex(),
            "protocol": "aave",
            "episode": f"episode-of-{position}",
            "band": band,
            "health_wad": "1090000000000000000",
            "block_number": number,
            "block_hash": "0x" + (bytes([number % 256]) * 32).hex(),
            "demands": [{"action": "repay", "asset": "0x" + "a0" * 20, "amount": "250000000"}],
        },
        text=f"Health 1.09 of {position}: repay 250 USDC – über Nacht.",
        markdown=f"**Health 1.09** of `{position}`: repay 250 USDC.",
        title=f"Margin call of {position}",
        html=f"<p><b>Health 1.09</b> of <code>{position}</code>: repay 250 USDC.</p>",
    )
