"""Escalation and acknowledgement as people live them: a daemon on the real Aave, two receivers, a command beside it."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

from keeper.devnet.chain import DevChain
from keeper.devnet.configuration import write_config
from tests.integration.test_daemon import CALLED, URGENT, borrow_against_ether
from tests.support.daemon import deploy
from tests.support.inbox import open_inbox

PATIENCE_S = 4.0


def test_a_call_is_acknowledged_by_its_link_and_a_deeper_one_is_escalated(dev_chain: DevChain, tmp_path: Path) -> None:
    """The link's token stops the first escalation, beside the running daemon. The deeper band is escalated, also after
    the daemon was killed while somebody had time to acknowledge; and both receivers hear of the cure."""
    (alice,) = dev_chain.accounts[:1]
    borrow_against_ether(dev_chain, alice)
    with open_inbox() as chat, open_inbox() as phone, deploy(tmp_path, dev_chain, chat) as keeper:
        hook = {"kind": "webhook", "secret": "env:TEST_WEBHOOK_SECRET"}
        escalation = {"escalates": "chat", "escalate_after_minutes": PATIENCE_S / 60}
        write_config(
            keeper.config,
            dev_chain,
            notifiers=[
                {**hook, "name": "chat", "url": chat.url},
                {**hook, "name": "phone", "url": phone.url, **escalation},
            ],
        )
        link = "https://keeper.example/ack/{token}"
        with keeper.config.open("a") as file:
            file.write(f'\n[acknowledgements]\nsecret = "env:TEST_WEBHOOK_SECRET"\nlink = "{link}"\n')
        keeper.start()
        keeper.until_synced()
        dev_chain.set_price("WETH", CALLED)
        keeper.until("the call", lambda: chat.events(alice) == ["opened"])
        told = chat.notices(alice)[0]["acknowledge"]["link"]
        answer = keeper.run("ack", told.removeprefix("https://keeper.example/ack/"))
        assert (answer.returncode, "not told any more: phone" in answer.stdout) == (0, True), answer.stderr
        keeper.until("it to be taken", lambda: keeper.said("margin_call_acknowledged"))
        time.sleep(PATIENCE_S + 0.5)
        assert phone.events(alice) == []

        dev_chain.set_price("WETH", URGENT)
        keeper.until("the deeper band", lambda: chat.events(alice) == ["opened", "escalated"])
        keeper.kill()
        keeper.start()
        keeper.until("the escalation", lambda: phone.events(alice) == ["escalated"])
        dev_chain.aave.repay(alice, "USDC", Decimal(9_000))
        keeper.until("the cure", lambda: chat.events(alice)[-1:] == phone.events(alice)[-1:] == ["cured"])
        statuses = {
            (one["event"], one["channel"]): one["status"] for call in keeper.calls(alice) for one in call["notices"]
        }
        assert statuses["opened", "phone"] == "dropped"
        assert keeper.terminate() == 0
