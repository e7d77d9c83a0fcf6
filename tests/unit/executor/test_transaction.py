"""Raw transactions are what eth-account would sign, byte for byte, and read back to what was signed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.errors import ConfigError, DecodeError, WrongChain
from keeper.core.secret import Secret
from keeper.core.types import TxCall, UnsignedTransaction
from keeper.executor.signer import LocalSigner
from keeper.executor.transaction import decode_signed, transaction_hash
from tests.support.signing import allowing

KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
OTHER_ACCOUNT = b"\x22" * 20

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**96))
transactions = st.builds(
    UnsignedTransaction,
    chain_id=st.just(8453),
    nonce=st.integers(0, 2**32),
    max_priority_fee_wei=st.integers(0, 300),
    max_fee_wei=st.integers(300, 2**96),
    gas_limit=numbers,
    call=st.builds(TxCall, to=st.binary(min_size=20, max_size=20), data=st.binary(max_size=400), value_wei=numbers),
)


@given(transaction=transactions)
def test_signs_the_same_bytes_as_eth_account(transaction: UnsignedTransaction) -> None:
    raw = LocalSigner(KEY, chain_id=8453).sign(transaction, allowing(transaction))
    expected = Account.from_key(KEY).sign_transaction(
        {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "maxPriorityFeePerGas": transaction.max_priority_fee_wei,
            "maxFeePerGas": transaction.max_fee_wei,
            "gas": transaction.gas_limit,
            "to": transaction.call.to,
            "value": transaction.call.value_wei,
            "data": transaction.call.data,
            "accessList": [],
        }
    )
    assert raw == bytes(expected.raw_transaction)
    assert transaction_hash(raw) == bytes(expected.hash)
    assert decode_signed(raw) == transaction


@given(raw=st.binary(max_size=300), start=st.sampled_from([b"", b"\x02", b"\x02\xf8", b"\x02\xc0"]))
def test_bytes_that_are_no_transaction_are_a_decode_error(raw: bytes, start: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_signed(start + raw)


@given(cut=st.integers(1, 100))
def test_a_truncated_transaction_is_a_decode_error(cut: int) -> None:
    call = TxCall(b"\x11" * 20, b"\x01" * 60)
    transaction = UnsignedTransaction(1, 7, 1, 2, 21_000, call)
    raw = LocalSigner(KEY, chain_id=1).sign(transaction, allowing(transaction))
    with pytest.raises(DecodeError):
        decode_signed(raw[:-cut])


def test_a_transaction_of_another_chain_is_not_signed() -> None:
    transaction = UnsignedTransaction(1, 0, 1, 1, 21_000, TxCall(OTHER_ACCOUNT, b""))
    with pytest.raises(WrongChain, match=r"chain 1.*chain 8453"):
        LocalSigner(KEY, chain_id=8453).sign(transaction, allowing(transaction))


def test_the_signer_never_shows_its_key() -> None:
    signer = LocalSigner(KEY, chain_id=1)
    assert KEY.hex() not in repr(signer)
    assert signer.address.hex() in repr(signer)
    assert not hasattr(signer, "__dict__")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0x1234", "2 bytes"),
        ("zz" * 32, "not hexadecimal"),
        ("00" * 32, "zero or beyond the order"),
        ("ff" * 32, "zero or beyond the order"),
    ],
)
def test_a_bad_key_is_refused_without_being_repeated(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        LocalSigner.from_hex(Secret(text), chain_id=1)
    assert text.removeprefix("0x") not in str(caught.value)


def test_a_key_of_another_account_than_configured_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"belongs to 0xf39fd6e5.*account is 0x2222"):
        LocalSigner(KEY, chain_id=1, account=OTHER_ACCOUNT)


def test_a_keystore_opens_with_its_password_only(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "correct", kdf="pbkdf2", iterations=2)))
    opened = LocalSigner.from_keystore(path, Secret("correct"), chain_id=1)
    assert opened.address == LocalSigner(KEY, chain_id=1).address
    with pytest.raises(ConfigError, match="does not open with the configured password"):
        LocalSigner.from_keystore(path, Secret("wrong"), chain_id=1)
    with pytest.raises(ConfigError, match="cannot be read"):
        LocalSigner.from_keystore(tmp_path / "missing.json", Secret("correct"), chain_id=1)
    path.write_text("not json")
    with pytest.raises(ConfigError, match="no JSON key file"):
        LocalSigner.from_keystore(path, Secret("correct"), chain_id=1)
