"""Log lines: one event each, in two formats, without secrets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from keeper.core.secret import Secret
from keeper.observe import Redactor, configure, hide, redact

KEY = "0x" + "c0ffee11" * 8  # no key of anybody
log = structlog.get_logger("keeper.test")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    written = capsys.readouterr()
    assert written.out == ""  # stdout belongs to results
    return written.err.splitlines()


def test_json_lines_hold_event_level_time_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes are shown as 0x…, big integers as they are."""
    configure("json")
    log.info("margin_call_sent", account=b"\xab" * 20, health_wad=10**18)
    (line,) = lines(capsys)
    entry = json.loads(line)
    assert (entry["event"], entry["level"]) == ("margin_call_sent", "info")
    assert entry["account"] == "0x" + "ab" * 20
    assert entry["health_wad"] == 10**18
    assert entry["timestamp"].endswith("Z")


def test_console_lines_are_one_per_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure("console")
    log.warning("head_went_stale", age_s=130)
    (line,) = lines(capsys)
    assert "head_went_stale" in line
    assert "age_s=130" in line


def test_details_show_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    configure("json")
    log.debug("round_trip_measured")
    assert lines(capsys) == []
    configure("json", verbose=True)
    log.debug("round_trip_measured")
    assert len(lines(capsys)) == 1


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_secret_is_masked_wherever_it_turns_up(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a value, inside a structure, in a traceback, and in what a library logs."""
    configure("json" if log_format == "json" else "console")
    hide([Secret(KEY)])
    log.info("transaction_signed", key=KEY, bare=KEY[2:].upper(), inside={"deep": [KEY]}, number=int(KEY, 16))
    try:
        raise ValueError(f"cannot parse {KEY}")
    except ValueError:
        log.exception("signing_failed")
    logging.getLogger("some.library").error("sent %s", KEY)
    text = "\n".join(lines(capsys))
    assert "c0ffee11" not in text.lower()
    assert str(int(KEY, 16)) not in text
    assert text.count("***") >= 6
    assert "some.library" in text or "sent ***" in text


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("wss://mainnet.example/v3/0123456789abcdef", "0123456789abcdef"),
        ("https://eth.example/?apikey=0123456789abcdef", "0123456789abcdef"),
        ("https://user:pass%20word@node.example/", "pass word"),
        ("https://user:pass%20word@node.example/", "pass%20word"),
        ("tgram://123456789:abcdefghijkl/4242", "123456789:abcdefghijkl"),
        ("postgresql://keeper:hunter2@db/keeper", "hunter2"),
    ],
)
def test_the_telling_part_of_a_url_is_masked_on_its_own(url: str, token: str) -> None:
    """Libraries quote parts of URLs, decoded or not."""
    redactor = Redactor()
    assert redactor(f"refused {token} of db") == f"refused {token} of db"
    redactor.add([Secret(url)])
    assert redactor(f"refused {token} of db") == "refused *** of db"


def test_credentials_in_any_url_are_masked() -> None:
    """Even in a URL that nobody registered."""
    assert redact("connecting to postgresql://keeper:hunter2@db/keeper") == "connecting to postgresql://***@db/keeper"


def test_words_that_resemble_short_secrets_stay_readable() -> None:
    """A three-letter password would tear holes into every line; such a short one is only guarded by its type."""
    redactor = Redactor()
    redactor.add([Secret("gas")])
    assert redactor("gas price rose") == "gas price rose"


def test_an_endpoint_without_a_token_is_named() -> None:
    """Which of several nodes fails is what an operator must read; a path, a query or a user may be the token."""
    redactor = Redactor()
    redactor.add(map(Secret, ("ws://127.0.0.1:8545", "https://node.example/", "https://other.example/v1/0123456789ab")))
    assert redactor("ws://127.0.0.1:8545 and https://node.example/") == "ws://127.0.0.1:8545 and https://node.example/"
    assert redactor("https://other.example/v1/0123456789ab failed") == "*** failed"
