"""A standby waits as long as somebody else writes, and no longer; for nothing else does it wait."""

from __future__ import annotations

import asyncio
from contextlib import closing

import pytest

from keeper.core.errors import StoreError, StoreInUse
from keeper.core.ports import Store
from keeper.mode import standby
from keeper.mode.standby import open_when_free
from keeper.store import open_store


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "LOOK_AGAIN_S", 0.01)


async def test_it_takes_over_as_soon_as_the_one_that_writes_is_gone() -> None:
    with closing(open_store("sqlite://", chain_id=1)) as store:
        asked = 0

        def opened() -> Store:
            nonlocal asked
            asked += 1
            if asked < 4:
                raise StoreInUse("in use by process 7")
            return store

        async with asyncio.timeout(5):
            assert await open_when_free(opened, asyncio.Event()) is store
        assert asked == 4


async def test_told_to_stop_it_waits_no_longer() -> None:
    stop = asyncio.Event()

    def held() -> Store:
        stop.set()
        raise StoreInUse("in use by process 7")

    async with asyncio.timeout(5):
        assert await open_when_free(held, stop) is None


async def test_a_store_that_is_no_use_to_anybody_is_an_error_at_once() -> None:
    def damaged() -> Store:
        raise StoreError("the file is damaged")

    async with asyncio.timeout(5):
        with pytest.raises(StoreError, match="damaged"):
            await open_when_free(damaged, asyncio.Event())
