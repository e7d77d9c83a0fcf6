"""`keeper watch`: a few accounts, followed by looking at their state now and then. No history, no key, any node.

    accounts, chain ─▶ deployment (a configuration in memory) ─▶ desk per account: store, pipeline, deliverer
    every minute:  head ─▶ look (one block's state, two round trips for all) ─▶ each desk: judge, store, tell

The procedure is the daemon's own: the same judge, store and outbox, fed with samples of the chain instead of with every
block. So what was told once is not told again after a restart, and what a reorg undid is withdrawn.
"""
