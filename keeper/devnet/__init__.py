"""A local chain with the real contracts: Anvil, Aave v3.6, Uniswap v3 and Multicall3.

Used by `keeper devnet`, the demo and the integration tests; never imported by the daemon.

    errors      what can go wrong here
    cache       where downloads and builds are kept, safe for several processes at once
    npm, solc   pinned packages and their compilation
    abi         calls by signature text
    anvil       the process and the clock of its chain
    client      blocking transactions and calls, with reverts in words
    tokens      ERC-20 tokens and their settable price feeds
    aave        the deployed market, with `users` actions and `governance`
    uniswap     the exchange
    chain       DevChain: all of it together
"""
