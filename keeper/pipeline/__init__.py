"""One step of the chain through the whole house.

    step ─▶ read (logs, prices, receipts: one round trip; what they touched: one more)
         ─▶ book ─▶ judge ─┬▶ one store transaction ─┬▶ sign, journal, send ─▶ demands and notices ─▶ outbox
                           └▶ plan, ask to simulate ─┘

pipeline    `Pipeline`: what is done in which order, and what if it fails
reading     a block, in one or two round trips
memory      blocks and books: taken over, judged, and kept with what the store is told
acting      what the executor is to act on, now or with the next block
confirming  whom a block calls, as other endpoints see them
telling     what is due, into the outbox; what blocks did, into the episodes
ports       what is asked of the node
"""

from keeper.pipeline.confirming import Confirming
from keeper.pipeline.pipeline import Pipeline
from keeper.pipeline.ports import Chain, HeadRead, Request

__all__ = ["Chain", "Confirming", "HeadRead", "Pipeline", "Request"]
