"""Every error Keeper raises on purpose.

    KeeperError
    ├── RetryableError              the cause can pass: the daemon retries with backoff
    │   ├── RpcUnavailable          no endpoint answered (timeouts, disconnects, 5xx)
    │   ├── RpcRateLimited          429 or -32005; carries how long to wait
    │   ├── RpcMalformed            an answer that cannot be one (truncated hex, no JSON, null block)
    │   │   └── RpcLied             an answer that is well formed and proven not to be true
    │   │       ├── HeaderUnproven  a header that its own hash does not name; a hard fork looks the same
    │   │       └── HeadRefused     a head that no chain can have; carries its hash, by which is known who told of it
    │   ├── LogRangeTooLarge        the node refuses this many blocks or logs in one eth_getLogs
    │   ├── StateUnavailable        the node does not have the state of this block (any more, or yet)
    │   ├── StaleHead               no new head for longer than configured
    │   └── NoticeDelayed           a channel did not take a notice now; carries whether it may have been seen
    │       └── NoticeTooLong       a shorter one might have been taken
    ├── NoticeRefused               a channel will never take this notice
    │   └── NoticeObsolete          it was not told, and is no longer true
    ├── RpcRefused                  the node understood and said no (an execution error, an unknown method)
    ├── OrderFailed                 a transaction that a person ordered was mined and reverted
    ├── ConfigError                 configuration names something that is wrong or missing
    ├── WrongChain                  an endpoint serves another chain id than configured
    ├── SignatureRefused            a transaction outside of what the key may sign; nothing was signed
    ├── DecodeError                 a log or a call result does not have the shape its ABI promises
    ├── StoreError                  the database is corrupt, newer than this program, or not writable
    │   ├── StoreInUse              another process writes it
    │   └── StoreCorrupt            its file is damaged
    └── UnrecoverableReorg          a reorg reaches below finality

A message carries the value, the limit and the remedy. An expected "no" is a `Skip`, not an exception.
"""

from __future__ import annotations


class KeeperError(Exception):
    """Root of every error raised on purpose."""


class RetryableError(KeeperError):
    """The cause can pass by itself; trying again later is right."""


class RpcUnavailable(RetryableError):
    """No answer: refused, disconnected, timed out, or a 5xx."""


class RpcRateLimited(RetryableError):
    """The endpoint asks for fewer requests."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RpcMalformed(RetryableError):
    """An answer that cannot be one; another endpoint, or a later try, may tell better."""


class RpcLied(RpcMalformed):
    """An answer that its own hash, the header's bloom or other sources prove wrong: whoever gave it is not trusted."""


class HeaderUnproven(RpcLied):
    """A header whose fields do not hash to the hash it names. number: the block's."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


class HeadRefused(RpcLied):
    """A head to which no chain leads. head_hash: of the head; found by it is who told of it."""

    def __init__(self, message: str, head_hash: bytes) -> None:
        super().__init__(message)
        self.head_hash = head_hash


class LogRangeTooLarge(RetryableError):
    """The node refuses a log range of this size; a smaller one may pass."""


class StateUnavailable(RetryableError):
    """The node has no state for the asked block: pruned, orphaned, or not imported yet."""


class StaleHead(RetryableError):
    """No new head for longer than configured."""


class NoticeDelayed(RetryableError):
    """A channel did not take a notice, and may later.

    perhaps_seen: whether somebody may have received it all the same (an answer that never came).
    """

    def __init__(self, message: str, *, perhaps_seen: bool, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.perhaps_seen = perhaps_seen
        self.retry_after_s = retry_after_s


class NoticeTooLong(NoticeDelayed):
    """A shorter one might have been taken."""


class NoticeRefused(KeeperError):
    """A channel will never take this notice, however often it is offered."""


class NoticeObsolete(NoticeRefused):
    """Nobody was told, and nobody need be any more: what it says is no longer true."""


class RpcRefused(KeeperError):
    """The node understood the request and refused it.

    `data` is the revert data of a failed execution, if the node gave any.
    """

    def __init__(self, message: str, code: int | None = None, data: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class OrderFailed(KeeperError):
    """What a person ordered was mined and did nothing, or would: the message says what, and why if anybody knows."""


class ConfigError(KeeperError):
    """Configuration names something that is wrong or missing; the message says what and the remedy."""


class WrongChain(KeeperError):
    """An endpoint serves another chain id than configured."""


class SignatureRefused(KeeperError):
    """A transaction is outside of what the key may sign: a defect, or somebody meddles. Nothing was signed."""


class DecodeError(KeeperError):
    """Bytes from the chain do not have the shape their ABI promises."""


class StoreError(KeeperError):
    """The database is corrupt, newer than this program, or not writable."""


class StoreInUse(StoreError):
    """Another process holds the lease of the database; reading beside it is fine."""


class StoreCorrupt(StoreError):
    """The database's file is damaged: `keeper repair` keeps what can be read of the record."""


class UnrecoverableReorg(KeeperError):
    """The canonical chain no longer contains our finalized block."""
