"""Links by which a call is acknowledged: made once, true once, and of no use to anybody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import ConfigError
from keeper.core.records import NoticeEvent
from keeper.core.secret import Secret
from keeper.notifier.acktoken import check_secret, is_token, make_token, read_token
from keeper.notifier.invitation import Invitation
from keeper.notifier.routing import Route, Router
from tests.support.notices import notice

SECRET = Secret("a secret of at least sixteen letters")
EPISODE = "0123456789abcdef0123456789abcdef"
TOKEN = make_token(SECRET, 1, EPISODE, 1_000)


def test_a_token_names_its_episode_until_it_expires():
    assert read_token(TOKEN, SECRET, 1, 999.9) == EPISODE
    with pytest.raises(ConfigError, match="expired"):
        read_token(TOKEN, SECRET, 1, 1_000)


def test_a_token_is_the_same_whenever_it_is_made():
    """A retry of a notice repeats its body byte for byte."""
    assert make_token(SECRET, 1, EPISODE, 1_000) == TOKEN
    assert is_token(TOKEN)
    assert not is_token(EPISODE)


def test_a_token_of_another_chain_or_secret_is_refused():
    for secret, chain in ((SECRET, 2), (Secret("another secret of many letters"), 1)):
        with pytest.raises(ConfigError, match="not made with our secret") as refused:
            read_token(TOKEN, secret, chain, 0)
        assert SECRET.reveal() not in str(refused.value)


@given(at=st.integers(0, len(TOKEN) - 1), letter=st.sampled_from("0aZ_-.9"))
def test_no_letter_of_a_token_can_be_changed(at: int, letter: str):
    forged = TOKEN[:at] + letter + TOKEN[at + 1 :]
    if forged == TOKEN:
        return
    with pytest.raises(ConfigError):
        read_token(forged, SECRET, 1, 0)


@pytest.mark.parametrize("text", ["", "k1.", "k1.a.b.c", f"{TOKEN}x", f"{TOKEN}\n", TOKEN.replace(".", " "), "k1." * 9])
def test_what_is_no_token_is_refused(text: str):
    with pytest.raises(ConfigError):
        read_token(text, SECRET, 1, 0)


def test_a_secret_that_could_be_guessed_is_refused():
    with pytest.raises(ValueError, match="openssl rand"):
        check_secret(Secret("hunter2"))


# --- in notices -------------------------------------------------------------------------------------------------------

ROUTER = Router.of([Route(channel="chat"), Route(channel="phone", escalates="chat")])


def test_a_notice_that_will_be_escalated_says_how_to_acknowledge_it():
    invitation = Invitation(ROUTER, 1, SECRET, "https://keeper.example/ack/{token}?a=1&b=2", 100.0)
    call = notice(1, position="EPISODE")
    told = invitation.on(call, 50.0)
    link = told.body["acknowledge"]["link"]
    token = link.removeprefix("https://keeper.example/ack/").partition("?")[0]
    assert read_token(token, SECRET, 1, 149.0) == call.episode
    assert f"keeper ack {call.episode}" in told.text
    for form in (told.text, told.markdown):
        assert link in form
    assert f'href="{link.replace("&", "&amp;")}"' in told.html
    assert invitation.on(call, 50.0) == told


def test_without_a_link_the_command_is_named():
    told = Invitation(ROUTER, 1).on(notice(1), 0.0)
    assert told.body["acknowledge"] == {"id": notice(1).episode, "link": None}
    assert "keeper ack" in told.html


def test_what_nobody_escalates_is_left_as_it_is():
    """Closings, and deployments with a single channel."""
    cured = notice(1, event=NoticeEvent.CURED)
    assert Invitation(ROUTER, 1, SECRET, "https://x/{token}").on(cured, 0.0) is cured
    alone = Invitation(Router.of([Route(channel="chat")]), 1, SECRET, "https://x/{token}")
    assert alone.on(notice(1), 0.0) == notice(1)
