"""A local chain with the real contracts: Anvil, Aave v3.6, Uniswap v3 and Multicall3.

Used by `keeper devnet`, the demo and the integration tests; never imported by the daemon.

    errors      what can go wrong here
    cache       where downloads and builds are kept, safe for several processes at once
    npm, solc   pinned packages and their compilation
    prepare     both of these ahead of time
    abi, rpc    calls by signature text; blocking JSON-RPC
    anvil       the process and the clock of its chain
    client      transactions and calls, with reverts in words
    contracts   our own Solidity: tokens and settable price feeds
    tokens      ERC-20 tokens and their feeds
    aave        deploys the market
    market      what users and governance do on it
    uniswap     the exchange
    multicall   Multicall3
    chain       DevChain: all of it together; start reading here
    protocols   what of each protocol `keeper devnet` deploys, shows and configures
    cli, serve, configuration    the `keeper devnet` command
"""
