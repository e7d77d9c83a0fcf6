"""Acknowledgements and channels."""

from __future__ import annotations

from scripts.undefendlib.removal import Removal

_GROUP = "Acknowledgements and channels"
_T_ACK = "tests/unit/notifier/test_acktoken.py"

DEFENCES: tuple[Removal, ...] = (
    Removal(
        _GROUP,
        "a clock that is set back delays no escalation",
        "keeper/notifier/outbox.py",
        "        if now < self._latest:",
        "        if False:",
        "tests/integration/test_routing.py"
        "::test_a_clock_that_is_set_back_neither_delays_an_escalation_nor_outlives_an_acknowledgement",
    ),
    Removal(
        _GROUP,
        "what was made later than now can be acknowledged",
        "keeper/notifier/obey.py",
        " or delivery.created_at > now)",
        ")",
        "tests/integration/test_routing.py"
        "::test_an_acknowledgement_covers_what_was_made_by_a_clock_that_was_set_back_since",
    ),
    Removal(
        _GROUP,
        "an acknowledgement is made with our secret, for its episode",
        "keeper/notifier/acktoken.py",
        "    if not hmac.compare_digest(mac, _mac(secret, chain_id, episode, expires)):",
        "    if False:",
        f"{_T_ACK}::test_no_letter_of_a_token_can_be_changed",
    ),
    Removal(
        _GROUP,
        "it is for one chain",
        "keeper/notifier/acktoken.py",
        'f"keeper acknowledge {_VERSION} {chain_id} {episode} {expires}"',
        'f"keeper acknowledge {_VERSION} {episode} {expires}"',
        f"{_T_ACK}::test_a_token_of_another_chain_or_secret_is_refused",
    ),
    Removal(
        _GROUP,
        "it expires",
        "keeper/notifier/acktoken.py",
        "    if now >= expires:",
        "    if False:",
        f"{_T_ACK}::test_a_token_names_its_episode_until_it_expires",
    ),
    Removal(
        _GROUP,
        "a secret that could be guessed is refused",
        "keeper/notifier/acktoken.py",
        "    if len(secret.reveal()) < _LEAST_SECRET:",
        "    if False:",
        f"{_T_ACK}::test_a_secret_that_could_be_guessed_is_refused",
    ),
    Removal(
        _GROUP,
        "what waits is sent to no channel that does not want it any more",
        "keeper/notifier/routing.py",
        "        return not notice.event.of_episode or self.wants(notice)",
        "        return True",
        "tests/unit/notifier/test_rules.py::test_what_waits_is_dropped_where_the_rules_do_not_want_it_any_more",
    ),
    Removal(
        _GROUP,
        "a webhook's redirect is not followed",
        "keeper/notifier/webhook.py",
        "allow_redirects=False",
        "allow_redirects=True",
        "tests/contract/test_notifiers.py::test_a_webhook_follows_no_redirect",
    ),
    Removal(
        _GROUP,
        "a notice is on its way in the store before it leaves",
        "keeper/notifier/queue.py",
        "    claimed = [one for one in singles if tx.claim(one.notice.id, route.channel)]",
        "    claimed = list(singles)",
        "tests/integration/test_delivery.py::test_a_notice_is_on_its_way_in_the_store_before_its_first_byte_leaves",
    ),
    Removal(
        _GROUP,
        "what was on its way when the process died is sent again",
        "keeper/notifier/queue.py",
        "at_once + len(flying)) if one.notice.id not in flying",
        "at_once + len(flying)) if False",
        "tests/integration/test_delivery.py::test_what_a_crash_interrupted_is_sent_again_under_its_id",
    ),
    Removal(
        _GROUP,
        "a summary that is too long takes nothing with it, and holds nothing up",
        "keeper/notifier/outbox.py",
        "            if isinstance(error, NoticeTooLong) and _carries_several(notice):",
        "            if False:",
        "tests/integration/test_routing.py::test_a_summary_that_is_too_long_for_its_receiver_is_told_in_shorter_ones",
    ),
)
