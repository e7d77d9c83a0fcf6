# pragma version 0.4.3
# pragma evm-version cancun
"""
@title An operator that runs two plans in one transaction
@license MIT
"""


@external
def run(liquidator: address, first: Bytes[8192], second: Bytes[8192]):
    raw_call(liquidator, first)
    raw_call(liquidator, second)
