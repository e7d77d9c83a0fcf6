"""A last call of a multicall whose success proves that no call before it was starved of gas.

Within a multicall a call that ran out of gas looks like one that reverted without a reason. But a call gets 63/64 of
what is left, so one that burns all of it leaves a 64th. If a call at the end that takes G gas then still succeeds,
whatever failed before it either did not run out, or had more than 63·G to burn: with the G here, more than six million,
which no view of a protocol needs. So an empty failure can be believed without asking it again alone.

It is a modular exponentiation (precompile 0x05): small to send, and its price is a formula. A chain without it, or one
where it answers anything but the right number, proves nothing, and failures are asked alone as ever.
Sources: EIP-150 (63/64), EIP-2565 (price; later prices are higher and prove more).
"""

from __future__ import annotations

from keeper.core.types import Call

_BYTES = 280
_BASE = 2 ** (8 * _BYTES) - 189
_EXPONENT = 2**256 - 1
_MODULUS = 2 ** (8 * _BYTES) - 1
LEAST_GAS = (_BYTES // 8) ** 2 * 255 // 3
"""What it takes at least, by EIP-2565: the modulus's words squared, times the exponent's bits but the first, over 3."""

PROOF = Call(
    (5).to_bytes(20, "big"),
    b"".join(
        (
            _BYTES.to_bytes(32, "big"),
            (32).to_bytes(32, "big"),
            _BYTES.to_bytes(32, "big"),
            _BASE.to_bytes(_BYTES, "big"),
            _EXPONENT.to_bytes(32, "big"),
            _MODULUS.to_bytes(_BYTES, "big"),
        )
    ),
)
ANSWER = pow(_BASE, _EXPONENT, _MODULUS).to_bytes(_BYTES, "big")
