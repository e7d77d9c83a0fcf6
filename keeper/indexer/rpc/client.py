"""What the rest of Keeper calls: reads with failover, transactions exactly once, heads for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
from eth_hash.auto import keccak

from keeper.core.errors import HeadRefused, KeeperError, RpcLied, RpcRateLimited, RpcUnavailable, StateUnavailable
from keeper.core.types import Block, BlockRef, Call, CallResult
from keeper.indexer.rpc.broadcast import Submitted, first_acceptance
from keeper.indexer.rpc.calls import CallPlan, read_single, single_requests
from keeper.indexer.rpc.disbelief import disbelieve, hold_against_others
from keeper.indexer.rpc.endpoint import Endpoint, is_worth_asking_elsewhere
from keeper.indexer.rpc.faults import is_already_known
from keeper.indexer.rpc.heads import follow_heads
from keeper.indexer.rpc.mux import Replies
from keeper.indexer.rpc.pool import Answer, EndpointPool, RpcSettings, results_of
from keeper.indexer.rpc.transport import Transport
from keeper.indexer.rpc.wire import Request, decode_any, read_header, strict, to_hex


class RpcClient(EndpointPool):
    """One chain, through however many endpoints (see EndpointPool for how one is chosen)."""

    def __init__(self, endpoints: Sequence[Endpoint], settings: RpcSettings) -> None:
        super().__init__(endpoints, settings)
        self._submitted = Submitted()
        self._late_answers: set[asyncio.Task[list[KeeperError | None]]] = set()

    async def close(self) -> None:
        for task in self._late_answers:
            task.cancel()
        await asyncio.gather(*self._late_answers, return_exceptions=True)
        await super().close()

    # --- reads

    async def request(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """One request's result as plain JSON values. Raises the typed error of core.errors."""
        return await self.read(
            [(method, params)], lambda answer: decode_any(strict(answer.results[0]), method), timeout_s=timeout_s
        )

    async def batch(self, requests: Sequence[Request], timeout_s: float | None = None) -> list[Any | KeeperError]:
        """Results of these requests in their order, asked of one endpoint in one round trip; an error in its place.

        When one of them fails for a reason another endpoint may not have, all are asked there. Raises only when no
        endpoint answered at all.
        """
        last: list[Any | KeeperError] | None = None

        def parse(answer: Answer) -> list[Any | KeeperError]:
            nonlocal last
            last = [
                result if isinstance(result, KeeperError) else decode_any(result, method)
                for (method, _), result in zip(requests, answer.results, strict=True)
            ]
            for value in last:
                if isinstance(value, KeeperError) and is_worth_asking_elsewhere(value):
                    raise value
            return last

        try:
            return await self.read(requests, parse, timeout_s=timeout_s) if requests else []
        except KeeperError:
            if last is None:
                raise
            return last

    async def call_many(
        self, calls: Sequence[Call], block: BlockRef, *, avoid: Endpoint | None = None
    ) -> list[CallResult]:
        """Results of view calls at exactly this block, in one round trip of one endpoint. avoid: asked last.

        A second round trip is made only for calls whose failure within a multicall proves nothing (see CallPlan.read)
        and where Multicall3 does not exist. Raises StateUnavailable when no endpoint has the block's state.
        """
        return (await self.read_calls(calls, block, avoid=avoid))[0]

    async def read_calls(
        self, calls: Sequence[Call], block: BlockRef, *, avoid: Endpoint | None = None
    ) -> tuple[list[CallResult], Endpoint | None]:
        """The same, and who said so; nobody where nothing was asked."""
        if not calls:
            return [], None
        plan = self.plan_calls(calls, block)
        results, alone, source = await self.read(
            plan.requests, lambda answer: (*plan.read(answer.results), answer.endpoint), avoid=avoid
        )
        await self.ask_alone(calls, block, results, alone)
        return results, source

    def plan_calls(self, calls: Sequence[Call], block: BlockRef) -> CallPlan:
        bounds = self.settings
        return CallPlan(
            calls, block, bounds.multicall_calls, bounds.multicall_bytes, prove_gas=bounds.prove_multicall_gas
        )

    async def ask_alone(
        self, calls: Sequence[Call], block: BlockRef, results: list[CallResult], alone: Sequence[int]
    ) -> None:
        """Ask the calls at these indices one by one (in one batch) and put their results in place."""
        if alone:
            asked = [calls[index] for index in alone]
            singles = await self.read(
                single_requests(asked, block), lambda answer: list(map(read_single, answer.results, asked))
            )
            for index, result in zip(alone, singles, strict=True):
                results[index] = result

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        """The header with this hash, or None when no endpoint has it."""

        def check(block: Block) -> None:
            if block.hash != block_hash:
                raise RpcLied(f"asked for block {to_hex(block_hash)}, got {to_hex(block.hash)}")

        return await self._header("eth_getBlockByHash", to_hex(block_hash), check)

    async def block_by_number(self, number: int | str) -> Block | None:
        """The canonical header at this height or tag (latest, safe, finalized); None when no endpoint has it (yet)."""

        def check(block: Block) -> None:
            if isinstance(number, int) and block.number != number:
                raise RpcLied(f"asked for block {number}, got block {block.number}")

        return await self._header("eth_getBlockByNumber", hex(number) if isinstance(number, int) else number, check)

    async def _header(self, method: str, key: str, check: Callable[[Block], None]) -> Block | None:
        def parse(answer: Answer) -> Block:
            what = f"{method} {key} at {answer.endpoint.name}"
            block = read_header(strict(answer.results[0]), what, answer.endpoint.asked.check)
            if block is None:
                raise StateUnavailable(f"{what}: no such block")
            try:
                check(block)
            except RpcLied as error:
                raise RpcLied(f"{what}: {error}") from None
            if key == "latest":
                self.saw_head(answer.endpoint, block)
            return block

        try:
            return await self.read([(method, [key, False])], parse)
        except StateUnavailable:
            return None

    async def blocks_by_number(self, numbers: Sequence[int]) -> list[Block | None]:
        """The canonical headers at these heights, in one round trip of one endpoint; None for those of no endpoint."""
        method = "eth_getBlockByNumber"
        best: list[Block | None] = [None] * len(numbers)

        def parse(answer: Answer) -> list[Block | None]:
            nonlocal best
            found = []
            for number, result in zip(numbers, answer.results, strict=True):
                what = f"{method} {number:#x} at {answer.endpoint.name}"
                block = read_header(strict(result), what, answer.endpoint.asked.check)
                if block is not None and block.number != number:
                    raise RpcLied(f"{what}: asked for block {number}, got block {block.number}")
                found.append(block)
            best = max(best, found, key=lambda blocks: len(blocks) - blocks.count(None))
            if None in found:
                raise StateUnavailable(f"{method} at {answer.endpoint.name}: no block {numbers[found.index(None)]}")
            return found

        try:
            return await self.read([(method, [hex(number), False]) for number in numbers], parse) if numbers else []
        except StateUnavailable:
            return best

    # --- transactions

    async def submit(self, raw: bytes) -> None:
        """Send one signed transaction, once, to one endpoint.

        Returns when the node accepted it or says that it has it. Raises RpcRefused on a definite refusal and a
        RetryableError when it may have been accepted: what then is the journal's decision, never ours.
        """
        [outcome] = await self.submit_many([raw])
        if outcome is not None:
            raise outcome

    async def submit_many(self, raws: Sequence[bytes]) -> list[KeeperError | None]:
        """Send signed transactions, each once, in one message; per transaction None or its error as `submit` raises.

        For the first time they go to one endpoint: one that cannot be connected to has been sent nothing, so the next
        one is taken, but once a byte may have left there is no second try. Whoever sends them again has learned that
        they did not get there, so then every endpoint is given them, and the first that accepts one has accepted it.
        """
        if not raws:
            return []
        fresh = self._submitted.add(raws)
        if fresh or len(self.endpoints) == 1:
            endpoint, transport = await self.open_endpoint()
            return await self._submit_to(endpoint, transport, raws)
        return await first_acceptance(
            [self._submit_if_reached(endpoint, raws) for endpoint in self.ranked()], self._late_answers
        )

    def begin(self, raws: Sequence[bytes]) -> asyncio.Future[Sequence[KeeperError | None]] | None:
        """Send signed transactions as `submit_many` does, before this returns; outcomes as there. None where that
        cannot be, and nothing was sent: no connection is open over which it could, or there are several endpoints.
        """
        if len(self.endpoints) != 1 or not 0 < len(raws) <= self.settings.max_batch:
            return None
        [endpoint] = self.endpoints
        transport = endpoint.duplex
        if transport is None or endpoint.excluded is not None or endpoint.cooling_s:
            return None
        requests: list[Request] = [("eth_sendRawTransaction", [to_hex(raw)]) for raw in raws]
        begun: asyncio.Future[Sequence[KeeperError | None]] = asyncio.get_running_loop().create_future()
        patience_s = self.settings.call_timeout_s
        unanswered = RpcUnavailable(f"{transport.describe(requests)}: no answer within {patience_s:g} s")

        def heard(replies: Replies | KeeperError) -> None:
            late.cancel()
            transport.mux.forget(exchange)
            if not begun.done():
                begun.set_result(self._outcomes(endpoint, raws, requests, replies))

        try:
            exchange = endpoint.send_now(transport, requests, heard)
        except KeeperError:
            return None
        late = asyncio.get_running_loop().call_later(patience_s, heard, unanswered)
        return begun

    def _outcomes(
        self, endpoint: Endpoint, raws: Sequence[bytes], requests: Sequence[Request], replies: Replies | KeeperError
    ) -> list[KeeperError | None]:
        """Of one message with transactions, whatever came of it."""
        if isinstance(replies, KeeperError):
            endpoint.failed(replies)
            kind = RpcRateLimited if isinstance(replies, RpcRateLimited) else RpcUnavailable
            return [kind(f"{replies}; the transaction may have been accepted, ask the chain") for _ in raws]
        results = results_of(requests, replies, endpoint.name)
        return [_acceptance(raw, result, endpoint) for raw, result in zip(raws, results, strict=True)]

    async def _submit_to(
        self, endpoint: Endpoint, transport: Transport, raws: Sequence[bytes]
    ) -> list[KeeperError | None]:
        requests: list[Request] = [("eth_sendRawTransaction", [to_hex(raw)]) for raw in raws]
        try:
            answer = await self.send(endpoint, transport, requests, self.settings.call_timeout_s)
        except KeeperError as error:
            return self._outcomes(endpoint, raws, requests, error)
        return [_acceptance(raw, result, endpoint) for raw, result in zip(raws, answer.results, strict=True)]

    async def _submit_if_reached(self, endpoint: Endpoint, raws: Sequence[bytes]) -> list[KeeperError | None]:
        try:
            transport = await endpoint.ready(self.settings.call_timeout_s)
        except KeeperError as error:
            endpoint.failed(error)
            return [error] * len(raws)
        return await self._submit_to(endpoint, transport, raws)

    # --- heads

    def heads(self) -> AsyncGenerator[Block, None]:
        """The newest head whenever there is another one, for ever; see heads.follow_heads."""
        return follow_heads(self)

    def disbelieve(self, refused: HeadRefused) -> None:
        """A head was refused: whoever told of it lied."""
        disbelieve(self, refused)

    async def hold_against_others(self, head: Block, lead: int, *, moving: bool = False) -> None:
        """Raises HeadRefused where nobody else is nearly as far as this head; see disbelief.hold_against_others."""
        await hold_against_others(self, head, lead, moving=moving)


def _acceptance(raw: bytes, result: msgspec.Raw | KeeperError, endpoint: Endpoint) -> KeeperError | None:
    """Whether an endpoint took a transaction: None, or why not (or why nobody can know)."""
    if isinstance(result, KeeperError):
        return None if is_already_known(result) else result
    said = bytes(result).strip(b'" ').lower()
    expected = to_hex(keccak(raw))
    if said == expected.encode():
        return None
    error = RpcLied(
        f"eth_sendRawTransaction at {endpoint.name}: answered {said[:80]!r} instead of the hash {expected}; "
        "the transaction may have been accepted, ask the chain"
    )
    endpoint.failed(error)
    return error
