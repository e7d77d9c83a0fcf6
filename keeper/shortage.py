"""What the machine ran out of, in words: memory, threads, descriptors, room. It is told as no defect of ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress

_AGAIN = "nothing is half done, a start goes on where this one stopped"


def shortage(error: BaseException) -> str | None:
    """What was missing, its limit and the remedy, when an error came of that; None when it came of anything else."""
    for one in _chain(error):
        if isinstance(one, MemoryError) or _is(one, errno.ENOMEM):
            return f"out of memory ({_limit('RLIMIT_AS', 'address space', 2**20, 'MiB')}): give it more; {_AGAIN}"
        if isinstance(one, RuntimeError) and str(one) == "can't start new thread":
            return (
                f"out of memory or threads ({_limit('RLIMIT_AS', 'address space', 2**20, 'MiB')}, "
                f"{_limit('RLIMIT_NPROC', 'threads', 1, '')}): give it more; {_AGAIN}"
            )
        if _is(one, errno.EMFILE, errno.ENFILE):
            return (
                f"out of file descriptors ({_limit('RLIMIT_NOFILE', 'descriptors', 1, '')}): "
                f"raise the limit (ulimit -n, LimitNOFILE of its unit); {_AGAIN}"
            )
        if _is(one, errno.ENOSPC, errno.EDQUOT):
            return f"no room left on a disk ({one}): free some; {_AGAIN}"
    return None


def _is(error: BaseException, *numbers: int) -> bool:
    return isinstance(error, OSError) and error.errno in numbers


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, and what it holds."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        waiting += (one.__context__, one.__cause__)


def _limit(name: str, what: str, unit: int, label: str) -> str:
    with suppress(ImportError, AttributeError, OSError, ValueError):
        import resource

        soft, _ = resource.getrlimit(getattr(resource, name))
        if soft != resource.RLIM_INFINITY:
            return f"the limit of {what} is {soft // unit} {label}".rstrip()
    return f"no limit of {what} is set, so the machine's own"
