"""Planning liquidations that our contract carries out with borrowed money. Pure: what it reads, it asks as data.

ports      what a route, a swap venue, a loan and a funding source are
words      the few words of ABI that they share
pools      which Uniswap v3 pools exist
search     the most profitable pair, amount, route and loan
sequence   what liquidations in one block leave to each other
keeping    selling only what repays
assemble   the contract's call for it
planner    all of it, for the opportunities of a block
readiness  whether our contract may do what it must
"""
