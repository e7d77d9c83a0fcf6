"""Whatever leaves the house: signatures, transactions, notices."""

from __future__ import annotations

from typing import Protocol

from keeper.core.policy import SigningPolicy
from keeper.core.records import Notice
from keeper.core.types import Band, Posting, UnsignedTransaction


class Signer(Protocol):
    """Holds a key and never shows it."""

    @property
    def address(self) -> bytes: ...
    def sign(self, transaction: UnsignedTransaction, policy: SigningPolicy) -> bytes:
        """The raw bytes to broadcast. Raises WrongChain for a transaction of another chain than the key's, and
        SignatureRefused for one outside the policy."""
        ...

    def has_signed(self, raw: bytes) -> bool:
        """Whether these bytes are a transaction that this key signed."""
        ...


class Submitter(Protocol):
    """Brings one signed transaction toward a block. Exactly one attempt: resending is the journal's decision."""

    async def submit(self, raw: bytes) -> None:
        """Raises RpcRefused when the node definitely refused, RetryableError when nobody can know."""
        ...


class Poster(Protocol):
    """Whoever owns the nonces of our key, as a channel that speaks on chain sees it."""

    async def post(self, posting: Posting) -> None:
        """Return once it is confirmed. Raises NoticeDelayed when it is not yet, NoticeObsolete when it need not be."""
        ...


class Notifier(Protocol):
    """One channel. Sending twice must be harmless to the receiver: the notice carries its idempotency key."""

    name: str
    min_band: Band

    async def send(self, notice: Notice) -> None:
        """Return when the channel accepted it. Raises RetryableError when later may work, KeeperError when not."""
        ...

    async def check(self) -> str:
        """A line for `keeper check`; raises ConfigError when the channel cannot work."""
        ...

    async def close(self) -> None: ...
