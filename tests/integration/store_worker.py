"""A process that works on a store until it is killed: `python -m tests.integration.store_worker URL SEED DONE EFFECTS`.

The script of its work is known from the seed. It appends a byte to DONE after each transaction that was reported
durable, and to EFFECTS what it then does in the world: the hashes of journalled transactions, the ids of notices.
"""

from __future__ import annotations

import os
import sys

from keeper.core.records import DeliveryStatus
from keeper.store import open_store
from tests.support.store_work import Script


def main(url: str, seed: int, done_path: str, effects_path: str) -> None:
    store = open_store(url, chain_id=31337)
    script = Script(seed)
    done = os.open(done_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    effects = os.open(effects_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(int(store.meta("steps") or 0)):
        script.next()
    while True:
        step = script.next()
        with store.transaction() as transaction:
            step(transaction)
            transaction.set_meta("steps", str(script.steps))
        os.write(done, b".")
        sending = [one.notice.id for one in store.outbox(1e9) if one.status is DeliveryStatus.SENDING]
        signed = [attempt.tx_hash.decode() for one in store.intents(unsettled=True) for attempt in one.attempts]
        os.write(effects, "".join(f"{line}\n" for line in (*sending[:3], *signed[-3:])).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
