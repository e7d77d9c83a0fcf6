"""What relays, sequencers and hint streams answer: strangers on the way of our transactions."""

from __future__ import annotations

from typing import Any

from keeper.core.errors import KeeperError
from keeper.core.secret import Secret
from keeper.executor.submitters.hints import read_hint
from keeper.executor.submitters.http import Endpoint
from tests.fuzz.source import Source, bend_json

ALLOWED = (KeeperError,)
_HASH, _ADDRESS = "0x" + "ab" * 32, "0x" + "11" * 20
SEEDS = [
    text.encode()
    for text in (
        f'{{"hash":"{_HASH}","txs":[{{"to":"{_ADDRESS}","callData":"0x1234"}}],"logs":[{{"address":"{_ADDRESS}","topics":["{_HASH}"],"data":"0x"}}]}}',
        '{"jsonrpc":"2.0","id":1,"result":{"bundleHash":"0x1"}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"bundle too late"}}',
        '[{"id":1,"error":"no"},{"id":2}]',
        "[" * 100,
    )
]
_ENDPOINT = Endpoint("relay", Secret("http://127.0.0.1:9/"))


def run(data: bytes) -> None:
    """JSON as it is, or the number of a seed and how it is bent."""
    if data[:1] not in (b"{", b"["):
        source = Source(data)
        data = bend_json(source, source.pick(SEEDS[:4]).decode())
    hint = read_hint(data.decode(errors="replace"))
    if hint is not None:
        assert len(hint.hash) == 32
        assert all(len(to) == 20 for to, _ in hint.calls)
    for status in (200, 400):
        answer: Any = _ENDPOINT._parse(status, "1e9", data)
        for reply in answer if isinstance(answer, list) else [answer]:
            said = _ENDPOINT._read(reply)
            if isinstance(said, KeeperError):
                assert len(str(said)) < 2_000, "a relay fills our log"
