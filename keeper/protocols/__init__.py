"""One module or package per protocol: filters, decoding, reads, health, plans. Pure: no I/O, no clock.

Protocols may also live elsewhere: `keeper/protocols/<kind>.py` in any folder of the Python path is found like one of
these, as long as its name is its own (docs/adding-a-protocol.md).
"""

import sys
from pathlib import Path

_HERE = [Path(folder).resolve() for folder in __path__]
_ELSEWHERE = (Path(entry or ".").resolve() / "keeper" / "protocols" for entry in sys.path)
__path__.extend(str(folder) for folder in dict.fromkeys(_ELSEWHERE) if folder.is_dir() and folder not in _HERE)
