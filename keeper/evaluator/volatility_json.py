"""The state of the volatility as stored: bit for bit, so that a restart draws the same lines."""

from __future__ import annotations

import base64
import json

import numpy as np

from keeper.core.errors import StoreError
from keeper.evaluator.volatility import Floats, Volatility

_FORM = 1
_ARRAYS = ("closes", "moments", "short", "ranges", "data", "blank")


def dump_volatility(volatility: Volatility) -> bytes:
    row = {
        "form": _FORM,
        "memories_s": volatility.memories_s,
        "bar": volatility.bar,
        "assets": [asset.hex() for asset in volatility.assets],
        **{name: _text(getattr(volatility, name)) for name in _ARRAYS},
    }
    return json.dumps(row, sort_keys=True, separators=(",", ":")).encode()


def load_volatility(payload: bytes) -> Volatility:
    """The inverse of `dump_volatility`. Raises StoreError on a payload of another form."""
    row = json.loads(payload)
    if row.get("form") != _FORM:
        raise StoreError(
            f"stored volatility has form {row.get('form')!r}, this program reads {_FORM}; run a newer Keeper"
        )
    return Volatility(
        memories_s=tuple(row["memories_s"]),
        bar=row["bar"],
        assets=tuple(bytes.fromhex(asset) for asset in row["assets"]),
        **{name: _array(row[name]) for name in _ARRAYS},
    )


def _text(array: Floats) -> list[object]:
    whole = np.ascontiguousarray(array, np.dtype("<f8"))
    return [list(whole.shape), base64.b64encode(whole.tobytes()).decode()]


def _array(written: list[object]) -> Floats:
    shape, text = written
    assert isinstance(shape, list)
    found = np.frombuffer(base64.b64decode(str(text)), np.dtype("<f8")).reshape(shape)
    return found.astype(np.float64)
