"""Loaded by a daemon of the campaign before anything else: wall-clock time as a file says, in seconds beside the true.

Only what asks for the time of day is moved, as when somebody sets the clock; what only ever grows is left alone, as the
kernel leaves it.
"""

import mmap
import os
import struct
import time

_path = os.environ.get("KEEPER_CAMPAIGN_CLOCK")
if _path:
    with open(_path, "rb") as _file:  # noqa: PTH123  (nothing is imported here that is not needed)
        _offset = mmap.mmap(_file.fileno(), 8, prot=mmap.PROT_READ)
    _true = time.time

    def _moved() -> float:
        return _true() + struct.unpack_from("d", _offset)[0]

    time.time = _moved
