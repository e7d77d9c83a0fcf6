"""/metrics: what Prometheus scrapes, made from `Source.figures` at each scrape. docs/web.md says what each is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Json = Mapping[str, Any]
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(figures: Json, served: Json) -> bytes:
    """figures: of the source. served: of this server: clients, dropped, answers by status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([*_daemon(figures), *_book(figures), *_records(figures), *_server(served)]))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


# --- the daemon, by its pulse -----------------------------------------------------------------------------------------


def _daemon(figures: Json) -> Iterator[Metric]:
    pulse, sections = figures["pulse"], figures["sections"]
    yield _gauge("keeper_up", "Whether the daemon says that it lives", float(pulse is not None and pulse["live"]))
    if pulse is None:
        return
    yield _gauge("keeper_pulse_age_seconds", "Since the daemon last said how it fares", pulse["age_s"])
    yield _gauge("keeper_start_time_seconds", "Unix time at which the daemon started", figures["started_at"])
    yield from _heads(sections.get("heads", {}))
    yield from _endpoints(sections.get("round_trips", {}))
    yield from _defences(sections)
    yield from _latency(sections.get("latency"))
    yield from _acting(sections)
    yield from _jobs(sections.get("jobs", {}))
    memory = sections.get("memory", {})
    yield _gauge("keeper_resident_memory_bytes", "Memory of the daemon", memory.get("resident_bytes"))
    mode = sections.get("mode") or {}
    modes = GaugeMetricFamily("keeper_mode", "1 for the mode that the daemon is in", labels=["mode"])
    if mode.get("mode") is not None:
        modes.add_metric([str(mode["mode"])], 1.0)
    yield modes


def _heads(heads: Json) -> Iterator[Metric]:
    yield _gauge("keeper_head_number", "Newest block that was taken", heads.get("number"))
    yield _gauge("keeper_head_age_seconds", "Since that block was made, by the chain's clock", heads.get("age_s"))
    yield _gauge("keeper_head_behind_blocks", "Blocks announced and not taken", heads.get("behind_blocks"))
    yield _gauge("keeper_head_took_seconds", "From announcement until stored, acted on and told", heads.get("took_s"))
    yield _gauge("keeper_blocks_per_second", "Over the last few dozen blocks", heads.get("blocks_per_second"))
    yield _counter("keeper_blocks", "Blocks taken since the start", heads.get("blocks"))
    yield _counter("keeper_reorgs", "Reorgs since the start", heads.get("reorgs"))
    yield _counter("keeper_reverted_blocks", "Blocks reverted since the start", heads.get("reverted_blocks"))
    yield _gauge("keeper_reorg_depth_max_blocks", "Deepest reorg since the start", heads.get("deepest_reorg"))


def _endpoints(round_trips: Json) -> Iterator[Metric]:
    trips = CounterMetricFamily("keeper_rpc_round_trips", "Messages exchanged with the node", labels=["endpoint"])
    requests = CounterMetricFamily("keeper_rpc_requests", "Requests in them, as providers count", labels=["endpoint"])
    well = GaugeMetricFamily(
        "keeper_rpc_endpoint_up", "Whether it answered what it was last asked", labels=["endpoint"]
    )
    for one in round_trips.get("by_endpoint", []):
        trips.add_metric([one["endpoint"]], one["round_trips"])
        requests.add_metric([one["endpoint"]], one["requests"])
        well.add_metric([one["endpoint"]], float(one.get("well", False)))
    yield from (trips, requests, well)
    yield _gauge("keeper_rpc_round_trips_per_block", "Mean since the start", round_trips.get("per_block"))


def _defences(sections: Json) -> Iterator[Metric]:
    quarantined = GaugeMetricFamily(
        "keeper_rpc_endpoint_quarantined", "Whether it was caught lying and is not asked", labels=["endpoint"]
    )
    lies = CounterMetricFamily("keeper_rpc_endpoint_lies", "Lies it was caught in since the start", labels=["endpoint"])
    for one in (sections.get("endpoints") or {}).get("endpoints", []):
        quarantined.add_metric([one["url"]], float(one.get("quarantined") is not None))
        lies.add_metric([one["url"]], one.get("lies", 0))
    check, beat = sections.get("crosscheck") or {}, sections.get("heartbeat") or {}
    halted = GaugeMetricFamily(
        "keeper_execution_halted", "1 for what keeps new transactions back by itself", labels=["reason"]
    )
    for reason in (sections.get("switch") or {}).get("halts", {}):
        halted.add_metric([reason], 1.0)
    yield from (quarantined, lies, halted)
    yield _counter("keeper_blocks_compared", "Blocks of which two endpoints were asked the same", check.get("compared"))
    yield _counter("keeper_blocks_proven", "Blocks whose logs were held against their receipts", check.get("proven"))
    yield _counter("keeper_blocks_unproven", "Blocks whose receipts proved nothing", check.get("unproven"))
    yield _counter("keeper_contradictions", "How often logs or states of these disagreed", check.get("contradictions"))
    yield _gauge("keeper_heartbeat_heard", "Whether the dead man's switch answered last", _flag(beat.get("heard")))


def _latency(latency: Any) -> Iterator[Metric]:
    """From a head's arrival until each stage of what follows."""
    found = HistogramMetricFamily(
        "keeper_latency_seconds", "From receiving a head until it is judged, planned, journalled, …", labels=["stage"]
    )
    for stage, said in sorted((latency or {}).get("stages", {}).items()):
        buckets, count = [], 0
        for bound, number in zip((*said["bounds_us"], None), said["counts"], strict=False):
            count += number
            buckets.append(("+Inf" if bound is None else f"{bound / 1e6:g}", float(count)))
        found.add_metric([stage], buckets=buckets, sum_value=said["sum_us"] / 1e6)
    yield found


def _acting(sections: Json) -> Iterator[Metric]:
    executor, breakers, balances = (sections.get(name, {}) for name in ("executor", "breakers", "balances"))
    yield _gauge("keeper_transactions_pending", "Transactions on their way", executor.get("pending"))
    mode = GaugeMetricFamily("keeper_executor_mode", "1 for the executor's mode", labels=["mode"])
    if "mode" in executor:
        mode.add_metric([executor["mode"]], 1.0)
    yield mode
    yield _gauge("keeper_paused", "Whether a person paused transactions", _flag(breakers.get("paused")))
    tripped = GaugeMetricFamily("keeper_breaker_tripped", "1 for a breaker that tripped", labels=["breaker"])
    names = [one["breaker"] for one in breakers.get("tripped", [])]
    for name in dict.fromkeys(names):
        tripped.add_metric([name], 1.0)
    yield tripped
    yield _gauge("keeper_breakers_tripped", "How many breakers tripped", len(names) if "tripped" in breakers else None)
    native = balances.get("native_wei")
    yield _gauge("keeper_wallet_native", "Native coin of the wallet", None if native is None else int(native) / 1e18)
    tokens = GaugeMetricFamily("keeper_wallet_token", "Whole tokens of the wallet", labels=["asset"])
    for one in balances.get("tokens", []):
        if one.get("decimals") is not None:
            tokens.add_metric([one["asset"]], int(one["amount"]) / 10 ** one["decimals"])
    yield tokens
    outcomes = CounterMetricFamily(
        "keeper_notice_attempts", "Attempts to deliver since the start", labels=["channel", "outcome"]
    )
    for one in sections.get("notices", {}).get("outcomes", []):
        outcomes.add_metric([one["channel"], one["outcome"]], one["count"])
    yield outcomes


def _jobs(jobs: Json) -> Iterator[Metric]:
    runs = CounterMetricFamily("keeper_job_runs", "Runs since the start", labels=["task"])
    failures = CounterMetricFamily("keeper_job_failures", "Failed runs since the start", labels=["task"])
    for name, job in jobs.items():
        if isinstance(job, Mapping):
            runs.add_metric([name], job["runs"])
            failures.add_metric([name], job["failures"])
    yield from (runs, failures)


# --- positions and records, by the store ------------------------------------------------------------------------------


def _book(figures: Json) -> Iterator[Metric]:
    tip = figures["tip"] or {}
    yield _gauge("keeper_store_head_number", "Newest block in the store", tip.get("number"))
    yield _gauge("keeper_store_head_age_seconds", "Since that block was made", tip.get("age_s"))
    count = GaugeMetricFamily("keeper_positions", "Open positions", labels=["protocol", "band"])
    value = GaugeMetricFamily(
        "keeper_collateral_value", "Value of collateral, whole base units, estimated", labels=["protocol", "band"]
    )
    at_risk = GaugeMetricFamily(
        "keeper_value_at_risk", "Value of collateral in call, urgent or liquidatable", labels=["protocol"]
    )
    for protocol, bands in figures["positions"].items():
        for band, number in bands.items():
            count.add_metric([protocol, band], number)
    for protocol, values in figures["at_risk"].items():
        for band, number in values.items():
            value.add_metric([protocol, band], number)
        at_risk.add_metric([protocol], sum(values[band] for band in ("call", "urgent", "liquidatable")))
    yield from (count, value, at_risk)


def _records(figures: Json) -> Iterator[Metric]:
    yield _labelled("keeper_open_calls", "Margin calls that are open", ["protocol", "band"], figures["open_calls"])
    yield _labelled(
        "keeper_notices", "Deliveries of notices, by what became of them", ["channel", "status"], figures["deliveries"]
    )
    yield _labelled("keeper_intents", "What we decided to do on chain", ["kind", "status"], figures["intents"])
    profit = GaugeMetricFamily("keeper_profit", "Realized, after gas, in whole base units", labels=["protocol"])
    for protocol, amount in figures["profit"].items():
        profit.add_metric([protocol], amount)
    yield profit
    yield _gauge("keeper_gas_spent_native", "Native coin spent on gas, ever", figures["gas_spent"])


def _server(served: Json) -> Iterator[Metric]:
    yield _gauge("keeper_web_listeners", "Clients of the live events", served["listeners"])
    yield _counter("keeper_web_dropped_listeners", "Clients let go since they were too slow", served["dropped"])
    yield _gauge("keeper_web_store_failing", "Whether the store could not be read last", _flag(served["failing"]))
    answers = CounterMetricFamily("keeper_web_answers", "Answers of this server", labels=["status"])
    for status, count in sorted(served["answers"].items()):
        answers.add_metric([str(status)], count)
    yield answers


# --- families ---------------------------------------------------------------------------------------------------------


def _gauge(name: str, meaning: str, value: float | None) -> Metric:
    """Without a sample where nobody knows."""
    found = GaugeMetricFamily(name, meaning)
    if value is not None:
        found.add_metric([], float(value))
    return found


def _counter(name: str, meaning: str, value: float | None) -> Metric:
    found = CounterMetricFamily(name, meaning)
    if value is not None:
        found.add_metric([], float(value))
    return found


def _labelled(name: str, meaning: str, labels: list[str], rows: Iterable[Json]) -> Metric:
    found = GaugeMetricFamily(name, meaning, labels=labels)
    for row in rows:
        found.add_metric([str(row[label]) for label in labels], row["count"])
    return found


def _flag(value: bool | None) -> float | None:
    return None if value is None else float(value)
