"""Price updates that are not mined yet, read from the call data of their transactions; one module per kind of feed.

    chainlink_ocr1  `transmit` of off-chain reporting 1
    chainlink_ocr2  `transmit` and `transmitSecondary` of off-chain reporting 2
    forwarder       what Chainlink's AuthorizedForwarder passes on
    settable        a feed that is simply set, as on the dev chain

Each exposes `build()` and is found by its name; `written.Reader` uses all of them. Pure.
"""
