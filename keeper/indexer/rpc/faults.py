"""What a node's error means. Nodes and providers agree on nothing, so this is a table of what they were seen to say.

Only the meaning is decided here; what to do about it (another endpoint, a smaller range, a pause) is the caller's.
"""

from __future__ import annotations

import re

from keeper.core.errors import (
    KeeperError,
    LogRangeTooLarge,
    RpcMalformed,
    RpcRateLimited,
    RpcRefused,
    RpcUnavailable,
    StateUnavailable,
)
from keeper.indexer.rpc.wire import Fault, clip

LONGEST_WAIT_S = 3_600.0

_READ = 2_000
"""Characters of a refusal that are read. A node may write as much as it likes, and the patterns here backtrack."""


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_RATE_LIMITED = _any_of(
    r"rate.?limit",
    r"too many requests",
    r"exceeded (its|the|your) .*(capacity|throughput|quota|compute units)",
    r"(request|call|requests per second|usage|daily request|credit).{0,20}(limit|quota|count) (exceeded|reached)",
    r"project id request rate exceeded",
    r"slow down",
)
_TOO_MANY_LOGS = _any_of(
    r"more than [\d,.]+ (results|logs)",
    r"exceeds? max(imum)? results",
    r"(logs|results) (matched by query )?exceeds? (the )?limit",
    r"too many (results|logs)",
    r"response (size|is too|too)",
    r"(block|blocks|log|filter) ?range",
    r"range.{0,40}(exceed|too (large|wide|big)|bigger than|greater than|limit)",
    r"exceeds? (the )?(limit|max|range)",
    r"maximum.{0,30}(blocks|range)",
    r"max(imum)? range",
    r"too many blocks",
    r"limited to (a )?[\d,.]+",
    r"up to (a )?[\d,.]+ block",
    r"at most [\d,.]+ blocks",
    r"blocks distance",
    r"query (must be smaller|timeout|timed? ?out|exceeds|returned more)",
    r"smaller (block )?range",
    r"(too many|number of|max(imum)?) address",
    r"timed? ?out",
    r"size (exceeded|limit)",
    r"backend response too large",
    r"no backend is currently healthy to serve traffic",
)
_STATE_UNAVAILABLE = _any_of(
    r"missing trie node",
    r"no state available",
    r"header (for hash )?not found",
    r"(unknown|missing) (block|header|ancestor)",
    r"block .{0,80}(not found|not available|not exist)",
    r"(cannot|could not|can.?t) (find|be found|get).{0,30}(block|header|state)",
    r"(fromBlock|toBlock|blockHash).{0,40}cannot be found",
    r"resource not found",
    r"block ?out ?of ?range|extends beyond (current )?head|after last accepted block|unfinalized",
    r"(state|history|data|receipts).{0,60}(unavailable|not available|is not present|pruned|pruning|not found|missing)",
    r"pruned",
    r"distance to target block exceeds",
    r"state histories haven't been fully indexed",
    r"(hash|number) .{0,80}not found",
    r"not (yet )?(synced|imported|processed)",
    r"is not canonical|not currently canonical",
)
_UNAVAILABLE = _any_of(
    r"timed? ?out",
    r"temporar|unavailable|overload|try again|no (healthy )?(backend|upstream|provider|node)|currently healthy",
    r"bad gateway|gateway|connection (refused|reset|closed)|upstream",
    r"server (is )?busy|shutting down|starting|syncing",
)
_REVERTED = _any_of(
    r"revert",
    r"invalid (opcode|jump|instruction)",
    r"opcode 0x",
    r"stack (under|over)flow",
    r"write protection|static state change",
    r"InvalidFEOpcode|OpcodeNotFound|InvalidJump|StackUnderflow|StackOverflow|StateChangeDuringStaticCall",
    r"bad instruction|bad jump|VM execution error|always failing transaction|execution error",
)
_STARVED = _any_of(r"out ?of ?gas", r"gas (required exceeds|limit|uint64 overflow)|intrinsic gas")
_TOO_LONG = _any_of(r"execution (aborted|timed? ?out|timeout)")
_UNKNOWN_METHOD = _any_of(
    r"method.{0,60}(not exist|not supported|unsupported|not found|not available|not allowed|not enabled|disabled)",
    r"did not match any variant",
)
_ALREADY_KNOWN = _any_of(
    r"already[ _]?(known|imported|exists|in (the )?(mem)?pool)",
    r"known transaction",
    r"same hash was already imported",
    r"tx already",
)
_WAIT = re.compile(
    r"(?:again|retry|wait|reset)\D{0,20}(\d+(?:\.\d+)?) ?(ms|milliseconds?|m\b|minutes?|s\b|seconds?)?", re.I
)


def understand(fault: Fault, method: str, where: str) -> KeeperError:
    """The typed error for a node's refusal of `method`; `where` names the endpoint without its secrets."""
    text = (fault.message or "")[:_READ]
    code = _code(fault)
    said = f"{method} at {where}: {clip(text or 'error without a message', 300)} (code {_shown(fault)})"
    detail = f"{text} {_words(fault.data)}"
    logs = method == "eth_getLogs"
    if code in (429, -32029, -32016, -32097) or _RATE_LIMITED.search(text):
        return RpcRateLimited(f"{said}; the endpoint asks for fewer requests", _retry_after_s(fault))
    if code == -32601 or _UNKNOWN_METHOD.search(text):
        return RpcRefused(said, code)
    if logs and _STATE_UNAVAILABLE.search(detail) and not _suggests_less(detail):
        return StateUnavailable(f"{said}; the node does not have these blocks (yet, or any more)")
    if logs and (code in (-32005, -32002, -32003) or _TOO_MANY_LOGS.search(detail)):
        return LogRangeTooLarge(f"{said}; a smaller range may pass")
    if code == -32005:
        return RpcRateLimited(f"{said}; the endpoint asks for fewer requests", _retry_after_s(fault))
    if method == "eth_sendRawTransaction":
        if code == -32002 or (code in (-32603, -32000) and re.search(r"timed? ?out", text, re.I)):
            return RpcUnavailable(f"{said}; the transaction may have been accepted, ask the chain")
        return RpcRefused(said, code, _revert_data(fault))
    if _STATE_UNAVAILABLE.search(text) and not _REVERTED.search(text):
        return StateUnavailable(f"{said}; the node does not have this block's state (yet, or any more)")
    if code in (-32002, 502, 503, 504) or (_UNAVAILABLE.search(text) and not _REVERTED.search(text)):
        return RpcUnavailable(f"{said}; the node cannot answer now")
    return RpcRefused(said, code, _revert_data(fault))


def is_revert(error: KeeperError) -> bool:
    """Whether an eth_call's refusal says that the contract refused (and not that the node would not run it)."""
    if not isinstance(error, RpcRefused):
        return False
    text = str(error)
    return (error.code == 3 or bool(_REVERTED.search(text))) and not _STARVED.search(text)


def is_starved(error: KeeperError) -> bool:
    """Whether an eth_call's refusal says that the gas or the time that the node gives was not enough."""
    return isinstance(error, RpcRefused) and bool(_STARVED.search(str(error)) or _TOO_LONG.search(str(error)))


def is_already_known(error: KeeperError) -> bool:
    """Whether a refusal of a transaction says that the node has it."""
    return isinstance(error, RpcRefused) and bool(_ALREADY_KNOWN.search(str(error)))


_SUGGESTED = re.compile(r"\[ ?(?:0x)?([0-9a-f]+) ?[,-] ?(?:0x)?([0-9a-f]+) ?\]|range (\d+)-(\d+)", re.I)
_LIMIT = re.compile(
    r"(?:limited to (?:a )?|max(?:imum)?(?: block)? range[: ]+|maximum is set to |requested blocks is |up to (?:a )?"
    r"|at most |greater than |bigger than range limit |exceeds? (?:max block range |limit of )?|> |smaller than size "
    r"|max block range = |maximum |distance: |max is )([\d,.]+)(k?)",
    re.I,
)
_OF_LOGS = re.compile(r"(logs|results).{0,30}(limit|max)|(limit|max).{0,30}(logs|results)", re.I)
_BLOCKS_NEAR = re.compile(r"range|blocks?\b", re.I)


def suggested_blocks(error: LogRangeTooLarge) -> int | None:
    """How many blocks one request may span, where the provider's message tells; None where it does not."""
    text = str(error).partition(" (code ")[0]
    span = _SUGGESTED.search(text)
    if span:
        first, last, first_dec, last_dec = span.groups()
        low, high = (int(first, 16), int(last, 16)) if first else (int(first_dec), int(last_dec))
        return high - low + 1 if high >= low else None
    limit = _LIMIT.search(text)
    if (
        limit
        and _BLOCKS_NEAR.search(text)
        and not re.search(r"results|logs|bytes", text[limit.end() : limit.end() + 12])
    ):
        number = int(re.sub(r"[,.]", "", limit[1]) or 0) * (1000 if limit[2] else 1)
        return number or None
    return None


def _suggests_less(text: str) -> bool:
    smaller = re.search(r"block range|exceeds? max|too (large|wide|many)|limited to", text, re.I)
    return smaller is not None and "beyond" not in text


def _code(fault: Fault) -> int | None:
    try:
        return None if fault.code is None else int(fault.code)
    except (ValueError, OverflowError):
        return None


def _shown(fault: Fault) -> str:
    """The code as people may read it: as it is where it is a number as codes are, else a few characters of it."""
    code = fault.code
    if isinstance(code, str):
        return clip(code, 20)
    return str(code) if code is None or abs(code) < 10**9 else "beyond all codes"


def _revert_data(fault: Fault) -> bytes | None:
    """Revert data where the node gave any: a hex string, or nested under `data` as some do."""
    data = fault.data.get("data") if isinstance(fault.data, dict) else fault.data
    if not isinstance(data, str):
        return None
    text = data.removeprefix("Reverted ")
    try:
        return bytes.fromhex(text[2:]) if text.startswith("0x") else None
    except ValueError:
        return None


def _retry_after_s(fault: Fault) -> float | None:
    """Seconds the endpoint asks to wait: Infura's rate.backoff_seconds, or words such as 'try again in 10s'."""
    if isinstance(fault.data, dict):
        rate = fault.data.get("rate", fault.data)
        wait = rate.get("backoff_seconds") if isinstance(rate, dict) else None
        if isinstance(wait, int | float):
            return _bounded_s(wait)
    found = _WAIT.search((fault.message or "")[:_READ])
    if not found:
        return None
    unit = (found[2] or "s").lower()
    scale = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
    return _bounded_s(float(found[1]) * scale)


def _bounded_s(wait_s: float) -> float:
    """A wait that an endpoint may ask for."""
    return min(max(wait_s, 0), LONGEST_WAIT_S) * 1.0 if wait_s == wait_s else LONGEST_WAIT_S


def _words(data: object) -> str:
    """What an error says besides its message, as far as it is read."""
    if isinstance(data, dict):
        return " ".join(str(value)[:_READ] for value in list(data.values())[:8] if isinstance(value, str | int))[:_READ]
    return data[:_READ] if isinstance(data, str) else ""


def missing_answer(method: str, where: str) -> KeeperError:
    """An exchange answered, but not this request of it."""
    if method == "eth_sendRawTransaction":
        return RpcUnavailable(f"{method} at {where}: no answer in the batch; the transaction may have been accepted")
    return RpcMalformed(f"{method} at {where}: the batch's answer leaves this request out")
