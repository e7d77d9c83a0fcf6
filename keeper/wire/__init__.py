"""Builds everything from configuration: the only place that knows every class.

Each part is imported where it is built: a query of the store loads neither a node client nor an executor.

house     one deployment: `open_house` is the way in, `House` what every command gets; where the halves are joined
telling   channels, their rules, and what a notice says
acting    the key, the breakers, and how transactions are planned, sent, and sent behind a price update
keeping   what runs beside the blocks: the mode, its heartbeat, housekeeping
chain     the node
files     what lies beside the database
kinds     the module that a configured `kind` names
"""

from keeper.wire.house import House, open_house
from keeper.wire.kinds import Adapter

__all__ = ["Adapter", "House", "open_house"]
