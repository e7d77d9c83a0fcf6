"""Acknowledgements: tokens of links that anybody may send, and what is left in the folder of requests.

No token is taken but those that were made with our secret, and none once it has expired.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from keeper.core.errors import ConfigError
from keeper.core.secret import Secret
from keeper.notifier.acktoken import is_token, make_token, read_token
from keeper.notifier.requests import Requests

ALLOWED = (ConfigError,)
SECRET, CHAIN, NOW = Secret("a-secret-of-enough-characters"), 1, 1_700_000_000.0
EPISODE = "0f" * 16
TOKEN = make_token(SECRET, CHAIN, EPISODE, int(NOW) + 60)
SEEDS = [
    TOKEN.encode(),
    make_token(SECRET, CHAIN, EPISODE, int(NOW) - 1).encode(),
    make_token(SECRET, 2, EPISODE, int(NOW) + 60).encode(),
    make_token(Secret("another-secret-of-somebody"), CHAIN, EPISODE, int(NOW) + 60).encode(),
    b'{"do": "acknowledge", "episode": "0f0f", "by": "me", "at": 1700000000.0}',
    b'{"do": "retry", "notice": "0f0f", "channel": "mail", "at": 1}',
    b'{"do": 1, "at": 1e999}',
]
_REQUESTS = Requests(Path(tempfile.mkdtemp(prefix="keeper-fuzz-")))


def run(data: bytes) -> None:
    file = _REQUESTS.folder / "000000000000001-abcdefabcdef.json"
    file.write_bytes(data)
    for request in _REQUESTS.pending():
        assert request.id == file.stem
        assert 0 <= request.at < 1e12, "a moment that no clock reaches"
        _REQUESTS.done(request)
    for left in _REQUESTS.folder.iterdir():
        left.unlink()
    text = data.decode(errors="replace")
    is_token(text)
    assert read_token(text, SECRET, CHAIN, NOW) == EPISODE
    assert text == TOKEN, "a token that we never made"
