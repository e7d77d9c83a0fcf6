"""A key in memory that signs and never shows itself.

coincurve signs at once what `transaction` encodes: about a tenth of the time of the general signer of eth-account, to
the same bytes (both follow RFC 6979).
"""

from __future__ import annotations

import json
from pathlib import Path

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from keeper.core.errors import ConfigError, DecodeError, WrongChain
from keeper.core.policy import SigningPolicy
from keeper.core.secret import Secret
from keeper.core.types import UnsignedTransaction
from keeper.executor.transaction import decode_signature, decode_signed, encode_signed, sign_with, signing_hash

_KEY_BYTES = 32


class LocalSigner:
    """Signs EIP-1559 transactions of one chain with one key."""

    __slots__ = ("_address", "_chain_id", "_key")

    def __init__(self, key: bytes, *, chain_id: int, account: bytes | None = None) -> None:
        """account: the address the key is expected to have. Raises ConfigError when it has another, or is no key."""
        if len(key) != _KEY_BYTES:
            raise ConfigError(f"the private key has {len(key)} bytes; it must have {_KEY_BYTES} (64 hex digits)")
        try:
            self._key = PrivateKey(key)
        except ValueError:
            raise ConfigError("the private key is zero or beyond the order of the curve; give a valid one") from None
        self._chain_id = chain_id
        self._address = _address(self._key.public_key)
        if account is not None and account != self._address:
            raise ConfigError(
                f"the private key belongs to 0x{self._address.hex()}, but the configured account is 0x{account.hex()}; "
                "give the key of that account, or correct the account"
            )

    @classmethod
    def from_hex(cls, text: Secret, *, chain_id: int, account: bytes | None = None) -> LocalSigner:
        try:
            key = bytes.fromhex(text.reveal().strip().removeprefix("0x"))
        except ValueError:
            raise ConfigError("the private key is not hexadecimal; give 64 hex digits, with or without 0x") from None
        return cls(key, chain_id=chain_id, account=account)

    @classmethod
    def from_keystore(cls, path: Path, password: Secret, *, chain_id: int, account: bytes | None = None) -> LocalSigner:
        """From an encrypted key file (web3 secret storage, version 3). Takes a second or so, by its design."""
        from eth_account import Account  # heavy, and only a keystore needs it

        try:
            stored = json.loads(path.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"keystore {path} cannot be read ({error.strerror}); correct the path") from error
        except ValueError:
            raise ConfigError(f"keystore {path} is no JSON key file; give one in web3 secret storage format") from None
        try:
            key = bytes(Account.decrypt(stored, password.reveal()))
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"keystore {path} does not open with the configured password; correct the password or the file"
            ) from None
        return cls(key, chain_id=chain_id, account=account)

    @property
    def address(self) -> bytes:
        return self._address

    def sign(self, transaction: UnsignedTransaction, policy: SigningPolicy) -> bytes:
        if transaction.chain_id != self._chain_id:
            raise WrongChain(
                f"asked to sign for chain {transaction.chain_id}, but this signer is for chain {self._chain_id}"
            )
        policy.require(transaction)
        return sign_with(transaction, self._sign)

    def _sign(self, hashed: bytes) -> bytes:
        return self._key.sign_recoverable(hashed, hasher=None)

    def has_signed(self, raw: bytes) -> bool:
        signed = read_signed(raw)
        return signed is not None and signed[0].chain_id == self._chain_id and signed[1] == self._address

    def __repr__(self) -> str:
        return f"LocalSigner(0x{self._address.hex()})"


def read_signed(raw: bytes) -> tuple[UnsignedTransaction, bytes] | None:
    """A raw transaction and the address that signed it; None for what is none, or not written as ours are."""
    try:
        transaction, (y_parity, r, s) = decode_signed(raw), decode_signature(raw)
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([y_parity])
        signer = PublicKey.from_signature_and_message(signature, signing_hash(transaction), hasher=None)
    except (DecodeError, OverflowError, ValueError):
        return None
    is_canonical = encode_signed(transaction, y_parity, r, s) == raw
    return (transaction, _address(signer)) if is_canonical else None


def _address(key: PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[-20:]
