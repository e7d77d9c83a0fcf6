"""One target under atheris: `python -m tests.fuzz.drive TARGET --seconds N` (see `scripts/fuzz`).

What covers something new is kept under .cache/fuzz/TARGET, where the next run goes on; what breaks a promise is written
there as `crash-…` (or `slow-…`), to be mended and then kept in tests/fuzz/corpus/TARGET.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import logging
import sys
import time
import traceback
from pathlib import Path

import atheris
import structlog

_HERE = Path(__file__).resolve().parent
_SLOWEST_S = 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)
    structlog.configure(processors=[], logger_factory=structlog.ReturnLoggerFactory())
    with atheris.instrument_imports(include=["keeper"]):
        target = importlib.import_module(f"tests.fuzz.targets.{args.target}")
        for seed in target.SEEDS:  # what is imported late is instrumented too, and takes no input's time
            with contextlib.suppress(*target.ALLOWED):
                target.run(seed)
    found = _HERE.parents[1] / ".cache" / "fuzz" / args.target
    found.mkdir(parents=True, exist_ok=True)
    for seed in target.SEEDS:
        (found / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)

    known: set[object] = set()

    def keep(kind: str, data: bytes, about: object) -> None:
        """The first of its kind; the fuzzer goes on, so that one find does not hide another."""
        if about not in known:
            known.add(about)
            file = found / f"{kind}-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
            file.write_bytes(data)
            print(f"FOUND {file}\n{traceback.format_exc() if kind == 'crash' else about}", file=sys.stderr, flush=True)

    def one(data: bytes) -> None:
        began = time.perf_counter()
        try:
            target.run(data)
        except target.ALLOWED:
            pass
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            keep("crash", data, (type(error), place.filename, place.lineno))
        if (took_s := time.perf_counter() - began) > _SLOWEST_S:
            keep("slow", data, f"took {round(took_s)} s")

    options = [f"-max_total_time={args.seconds}", "-timeout=60", "-rss_limit_mb=2048", "-max_len=8192"]
    options += [f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(found), str(_HERE / "corpus" / args.target)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
