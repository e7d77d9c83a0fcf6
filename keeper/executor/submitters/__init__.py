"""Ways toward a block, one module each, found by the `kind` of a `[[submitters]]` table.

    public      the node's own mempool; what is used when nothing is configured
    rpcs        the mempools of several endpoints at once
    private     a relay that keeps a transaction to itself and the builders (`eth_sendPrivateTransaction`)
    bundle      a builder or relay that takes bundles (`eth_sendBundle`), simulated first (`eth_callBundle`)
    mev_share   a relay that tells of private price updates and takes bundles behind them (`mev_sendBundle`)
    sequencer   a rollup's sequencer, directly

Each exposes `Options` and `build(config, node, chain_id)`. Configured together they are used together (`everywhere`).
"""
