"""What can go wrong on a dev chain.

KeeperError
└── DevnetError                 the dev chain cannot be set up, or was asked for what it cannot do
    ├── PackageRefused          a downloaded package is not the one that was locked
    └── Reverted                a transaction or a call reverted; carries the decoded reason
"""

from __future__ import annotations

from keeper.core.errors import KeeperError


class DevnetError(KeeperError):
    """The dev chain cannot be set up, or was asked for what it cannot do."""


class PackageRefused(DevnetError):
    """A package's content differs from the lock, or it is not locked at all."""


class Reverted(DevnetError):
    """A transaction or call reverted.

    reason: the contract's error in words, like `HealthFactorLowerThanLiquidationThreshold()` or `Error('paused')`.
    data: the raw revert data, empty when the node gave none.
    """

    def __init__(self, what: str, reason: str, data: bytes = b"") -> None:
        super().__init__(f"{what} reverted: {reason}")
        self.reason = reason
        self.data = data
