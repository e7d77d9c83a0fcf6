"""Carrying out what people asked of the deliveries: acknowledgements, and another attempt of what was given up."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from keeper.core.ports import Store, Transaction
from keeper.core.records import DeliveryStatus
from keeper.notifier.requests import ACKNOWLEDGE, RETRY, Request, Requests
from keeper.notifier.routing import Router

log = structlog.get_logger(__name__)

ACKNOWLEDGED = "acknowledged"


def obey(store: Store, requests: Requests, router: Router, clock: Callable[[], float]) -> int:
    """Carry out everything that was asked; returns how many requests there were."""
    count = 0
    for request in requests.pending():
        with store.transaction() as tx:
            if request.do == ACKNOWLEDGE:
                _acknowledge(store, tx, router, request, clock())
            elif request.do == RETRY:
                _retry(tx, request, clock())
            else:
                log.error("request_unknown", request=request.id, do=request.do)
        requests.done(request)
        count += 1
    return count


def _acknowledge(store: Store, tx: Transaction, router: Router, request: Request, now: float) -> None:
    """Whoever escalates need not hear of what was in the outbox when it was acknowledged; a deeper band asks anew. What
    is later than now was put there by a clock that was set back since, and so before."""
    episode, by = request.fields.get("episode", ""), request.fields.get("by", "somebody")
    if any(entry.evidence.get("request") == request.id for entry in store.audit(episode)):
        return  # a crash came between this and the removal of the file; what was told since is another matter
    stopped = [
        delivery
        for delivery in store.deliveries(episode)
        if delivery.channel in router.escalating
        and (delivery.created_at <= request.at or delivery.created_at > now)
        and delivery.status in (DeliveryStatus.PENDING, DeliveryStatus.HELD)
        and not delivery.notice.event.ends
    ]
    for delivery in stopped:
        if delivery.carrier is not None:  # nobody saw it: what else it tells goes by itself
            tx.drop(delivery.carrier, delivery.channel, f"tells of what was acknowledged by {by}", at=now)
        tx.drop(delivery.notice.id, delivery.channel, f"acknowledged by {by}", at=now)
    evidence = {"request": request.id, "by": by, "at": request.at, "stopped": [d.notice.id for d in stopped]}
    tx.audit(episode, ACKNOWLEDGED, evidence, at=now)
    log.info("margin_call_acknowledged", episode=episode, by=by, stopped=len(stopped))


def _retry(tx: Transaction, request: Request, now: float) -> None:
    notice_id, channel = request.fields.get("notice", ""), request.fields.get("channel", "")
    revived = tx.revive(notice_id, channel, at=now)
    log.info("notice_revived" if revived else "notice_not_dead", notice=notice_id, channel=channel)
