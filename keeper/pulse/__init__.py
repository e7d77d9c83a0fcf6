"""The pulse: how everything outside the daemon learns how it fares.

What lives only in the daemon's memory (head lag, round trips, deliveries, endpoints, jobs, …) is written as one small
JSON object beside the store, at most once a second and never awaited by the head path; whoever shows it (`keeper web`,
`keeper status`, `keeper stats`) reads that file and says how old it is. A stale or missing pulse is a fact to show, not
an error.

board     sections by name, each a callable that returns plain values
writer    the one that writes them, as a task of the daemon
file      the file: written by replacement, read whole or not at all
tallies   what the daemon counts for it: heads, jobs
"""

from keeper.pulse.board import Board
from keeper.pulse.file import STALE_S, Pulse, read_pulse
from keeper.pulse.tallies import HeadTally, JobTally
from keeper.pulse.writer import PulseWriter

__all__ = ["STALE_S", "Board", "HeadTally", "JobTally", "Pulse", "PulseWriter", "read_pulse"]
