"""`keeper pause` and `keeper resume`: they leave a file for the daemon, which alone writes its database."""

from __future__ import annotations

import argparse
import sys
from contextlib import closing

from keeper.core.errors import StoreError
from keeper.executor.breakers import Trip
from keeper.executor.guard import read_tripped
from keeper.wire import House, open_house


def pause(args: argparse.Namespace) -> int:
    house = open_house(args)
    switch = house.acting.switch()
    switch.pause()
    print(f"paused: nothing new is sent from the next block on, while {switch.pause_file} exists")
    print("transactions on their way are still tended; `keeper resume` goes on")
    return 0


def resume(args: argparse.Namespace) -> int:
    house = open_house(args)
    for trip in tripped(house):
        print(f"to be cleared: {trip.name} (block {trip.block}): {trip.detail}")
    switch = house.acting.switch()
    switch.resume()
    print("resumed: the daemon takes it with its next block, or its next start; limits count anew from there")
    return 0


def tripped(house: House) -> tuple[Trip, ...]:
    """Breakers that the store says have tripped; none where there is no store yet."""
    try:
        store = house.open_store(read_only=True)
    except StoreError as error:
        print(f"keeper: {error}", file=sys.stderr)
        return ()
    with closing(store):
        return read_tripped(store).trips
