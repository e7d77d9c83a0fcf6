"""Of notices and their deliveries."""

from __future__ import annotations

from sqlalchemy import (
    Double,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.sql.functions import Function

from keeper.core.records import DeliveryStatus
from keeper.store.database import Statement
from keeper.store.schema import IN_LINE, deliveries, notices
from keeper.store.statements.parts import at, constant, equals, inserting, one_of

NO_CHANNEL = ""
"""Where a notice stands in line that no channel wants: what is believed of a position is one order for all."""

_SEEN = (DeliveryStatus.SENDING, DeliveryStatus.SENT)
_unseen = one_of(deliveries.c.status, (DeliveryStatus.PENDING, DeliveryStatus.HELD))
_moving = one_of(deliveries.c.status, (DeliveryStatus.PENDING, DeliveryStatus.SENDING))
_held = equals(deliveries.c.status, DeliveryStatus.HELD)
_unsettled = or_(_moving, _held)
_unwanted = equals(deliveries.c.status, DeliveryStatus.UNWANTED)
_believed = or_(_unsettled, _unwanted, equals(deliveries.c.status, DeliveryStatus.SENT))
_of_a_channel = deliveries.c.channel != constant(NO_CHANNEL)
_itself = deliveries.c.carrier.is_(None)
ORPHANED = "its block was orphaned"
_went_with_its_block = and_(
    equals(deliveries.c.status, DeliveryStatus.DROPPED), func.coalesce(deliveries.c.error, "") == constant(ORPHANED)
)
_oldest: Function[int] = func.min(deliveries.c.seq)
_newest: Function[int] = func.max(deliveries.c.seq)
_line = (deliveries.c.position, deliveries.c.channel)
_not_held = or_(_moving, and_(_held, deliveries.c.due_at <= bindparam("held_until", type_=Double)))
_next_in_line = select(_oldest).where(_not_held).group_by(*_line)
"""Per position and channel the oldest unsettled delivery: no later one may overtake it. One that is held steps aside:
whoever sends what is behind it looks at all that waits."""

_delivery = (
    deliveries.c.channel,
    deliveries.c.status,
    deliveries.c.attempts,
    deliveries.c.due_at,
    deliveries.c.sent_at,
    deliveries.c.error,
    deliveries.c.created_at,
    deliveries.c.carrier,
)
_with_notice = select(notices, *_delivery).join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
_told = select(
    notices.c.position,
    notices.c.episode,
    notices.c.event,
    notices.c.band,
    notices.c.block_number,
    notices.c.block_hash,
).join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)

HAS_NOTICE = Statement(select(notices.c.position).where(notices.c.id == bindparam("id")), ("id",))
INSERT_NOTICE = inserting(notices)
DELIVERY_STATUS = Statement(
    select(deliveries.c.status, deliveries.c.position).where(
        deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")
    ),
    ("notice_id", "channel"),
)
INSERT_DELIVERY = inserting(deliveries, skip=("seq",))
DELETE_DELIVERY = Statement(
    delete(deliveries).where(
        deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")
    ),
    ("notice_id", "channel"),
)
_this = and_(deliveries.c.notice_id == bindparam("of_notice"), deliveries.c.channel == bindparam("of_channel"))
_carried = and_(deliveries.c.carrier == bindparam("of_carrier"), deliveries.c.channel == bindparam("of_channel"))
_sending = update(deliveries).values(status=constant(DeliveryStatus.SENDING))
CLAIM = Statement(_sending.where(_this, _itself, _unsettled), ("of_notice", "of_channel"))
CLAIM_CARRIED = Statement(_sending.where(_carried, _unsettled), ("of_carrier", "of_channel"))
HOLD = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.HELD), due_at=bindparam("until"))
    .where(_this, _itself, _unseen),
    ("until", "of_notice", "of_channel"),
)
RELEASE = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.PENDING), due_at=literal_column("0"))
    .where(_this, _itself, _held),
    ("of_notice", "of_channel"),
)
BACKDATE = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.PENDING), due_at=bindparam("at"), created_at=bindparam("at_too"))
    .where(_unseen, deliveries.c.created_at > bindparam("after")),
    ("at", "at_too", "after"),
)
DROP = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.DROPPED), error=bindparam("reason"))
    .where(_this, _itself, _unseen),
    ("reason", "of_notice", "of_channel"),
)
CARRY = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.PENDING), carrier=bindparam("new_carrier"))
    .where(_this, _itself, _unseen),
    ("new_carrier", "of_notice", "of_channel"),
)
_revive = update(deliveries).values(
    status=constant(DeliveryStatus.PENDING),
    attempts=literal_column("0"),
    due_at=bindparam("at"),
    created_at=bindparam("at_too"),
)
_dead = equals(deliveries.c.status, DeliveryStatus.DEAD)
_later = deliveries.alias("later")
SUPERSEDED = Statement(
    select(_later.c.seq)
    .join_from(deliveries, _later, and_(_later.c.position == deliveries.c.position, _later.c.seq > deliveries.c.seq))
    .where(_this, _later.c.channel == deliveries.c.channel, one_of(_later.c.status, _SEEN))
    .limit(1),
    ("of_notice", "of_channel"),
)
"""Whether something later was told of the same position there, so that this would be told out of order."""
REVIVE = Statement(_revive.where(_this, _itself, _dead), ("at", "at_too", "of_notice", "of_channel"))
REVIVE_CARRIED = Statement(_revive.where(_carried, _dead), ("at", "at_too", "of_carrier", "of_channel"))
CARRIED_POSITIONS = Statement(select(deliveries.c.position).where(_carried).distinct(), ("of_carrier", "of_channel"))
SETTLE = Statement(
    update(deliveries)
    .values(
        status=bindparam("new_status"),
        attempts=deliveries.c.attempts + literal_column("1"),
        due_at=bindparam("new_due_at"),
        sent_at=bindparam("new_sent_at"),
        error=bindparam("new_error"),
    )
    .where(deliveries.c.notice_id == bindparam("of_notice"), deliveries.c.channel == bindparam("of_channel")),
    ("new_status", "new_due_at", "new_sent_at", "new_error", "of_notice", "of_channel"),
)
SETTLE_CARRIED = Statement(
    update(deliveries)
    .values(
        status=bindparam("new_status"),
        attempts=deliveries.c.attempts + literal_column("1"),
        sent_at=bindparam("new_sent_at"),
        error=bindparam("new_error"),
    )
    .where(_carried, _unsettled),
    ("new_status", "new_sent_at", "new_error", "of_carrier", "of_channel"),
)
LET_GO = Statement(
    update(deliveries)
    .values(status=constant(DeliveryStatus.PENDING), carrier=null(), attempts=literal_column("0"))
    .where(_carried, _unsettled),
    ("of_carrier", "of_channel"),
)
_elsewhere = deliveries.alias("elsewhere")
_seen_elsewhere = (
    select(_elsewhere.c.seq)
    .where(
        _elsewhere.c.notice_id == deliveries.c.notice_id,
        or_(*(_elsewhere.c.status == constant(seen) for seen in (DeliveryStatus.SENDING, DeliveryStatus.SENT))),
    )
    .exists()
)
_orphaned = and_(
    or_(_unseen, _unwanted),
    ~_seen_elsewhere,  # what somebody may have heard is believed, so everybody hears it, and of its end
    deliveries.c.notice_id.in_(select(notices.c.id).where(notices.c.block_number > at("number"))),
)
ORPHANED_POSITIONS = Statement(select(deliveries.c.position).where(_orphaned).distinct(), ("number",))
DROP_ORPHANED = Statement(
    update(deliveries).values(status=constant(DeliveryStatus.DROPPED), error=constant(ORPHANED)).where(_orphaned),
    ("number",),
)
_dropped = deliveries.alias("dropped")
UNCARRY = Statement(
    update(deliveries)
    .values(carrier=null())
    .where(
        _unseen,
        deliveries.c.carrier.is_not(None),
        select(_dropped.c.seq)
        .where(
            _dropped.c.notice_id == deliveries.c.carrier,
            _dropped.c.channel == deliveries.c.channel,
            _dropped.c.status == constant(DeliveryStatus.DROPPED),
        )
        .exists(),
    )
)
"""What a dropped summary carried goes by itself again."""
_due = or_(
    deliveries.c.due_at <= bindparam("now", type_=Double),
    and_(~_held, deliveries.c.due_at > bindparam("beyond", type_=Double)),
)
"""beyond: later than anything is made to wait that is not held. What is, was put off by a clock that was set back."""
OUTBOX = Statement(
    _with_notice.where(deliveries.c.seq.in_(_next_in_line), _itself, _due).order_by(deliveries.c.seq).limit(at("most")),
    ("held_until", "now", "beyond", "most"),
)
_ahead = deliveries.alias("ahead")
_none_ahead = ~(
    select(_ahead.c.seq)
    .where(
        _ahead.c.position == deliveries.c.position,
        _ahead.c.channel == deliveries.c.channel,
        _ahead.c.seq < deliveries.c.seq,
        or_(
            one_of(_ahead.c.status, (DeliveryStatus.PENDING, DeliveryStatus.SENDING)),
            and_(
                equals(_ahead.c.status, DeliveryStatus.HELD),
                _ahead.c.due_at <= bindparam("held_until", type_=Double),
            ),
        ),
    )
    .exists()
)
_on_channel = deliveries.c.channel == bindparam("channel")
_in_line = text(f"deliveries.{IN_LINE.replace(' AND ', ' AND deliveries.')}")
OUTBOX_OF = Statement(
    _with_notice.where(
        _on_channel,
        _in_line,
        _due,
        _none_ahead,
    )
    .order_by(deliveries.c.seq)
    .limit(at("most")),
    ("channel", "now", "beyond", "held_until", "most"),
)
"""As OUTBOX, of one channel: asked for after each message, so it looks at no more rows than it returns, whatever waits
behind them. What is due is not held any longer, so only what is ahead of it needs to be asked about that."""

_next_channels = union_all(
    *(
        select(func.min(deliveries.c.channel).label("channel")).where(
            equals(deliveries.c.status, status), deliveries.c.channel > bindparam("after")
        )
        for status in (DeliveryStatus.PENDING, DeliveryStatus.SENDING, DeliveryStatus.HELD)
    )
).subquery("next_channels")
NEXT_CHANNEL = Statement(select(func.min(_next_channels.c.channel)), ("after",) * 3)
"""Three searches each, at one row: to ask for all channels at once would look at all that waits."""

_unfinished = deliveries.alias("unfinished")
_again = deliveries.c.seq.in_(
    # two searches: as one condition the first would be answered by looking at all that no summary carries
    select(_unfinished.c.seq)
    .where(equals(_unfinished.c.status, DeliveryStatus.SENDING), _unfinished.c.channel == bindparam("channel"))
    .union_all(
        select(_unfinished.c.seq).where(
            _unfinished.c.position == bindparam("subject"),
            # an expression, so that not all is looked at that is pending
            _unfinished.c.status + literal_column("''") == constant(DeliveryStatus.PENDING),
        )
    )
)
OUTBOX_AGAIN = Statement(
    _with_notice.where(_again, _itself, _due).order_by(deliveries.c.seq).limit(at("most")),
    ("channel", "subject", "now", "beyond", "most"),
)
"""What was sent of a channel and may have to be sent again, and its summaries, whether they were seen or not. Each was
next of its position when it was claimed."""

_first_due = select(func.min(deliveries.c.due_at)).where(deliveries.c.seq.in_(_next_in_line), _itself)
_held_beyond = select(func.min(deliveries.c.due_at)).where(_held, deliveries.c.due_at > bindparam("now", type_=Double))
NEXT_DUE = Statement(_first_due, ("held_until",))
NEXT_DUE_OF = Statement(
    select(func.min(deliveries.c.due_at)).where(_on_channel, _in_line, _not_held, _none_ahead),
    ("channel", "held_until", "held_until"),
)
"""As NEXT_DUE, of one channel: asked for by each that has nothing to do, so what waits on others is not looked at."""
NEXT_HELD = Statement(_held_beyond, ("now",))
NEXT_HELD_OF = Statement(_held_beyond.where(_on_channel), ("now", "channel"))
WAITING = Statement(
    _with_notice.where(
        deliveries.c.position == bindparam("position"),
        deliveries.c.channel == bindparam("channel"),
        _itself,
        _unsettled,
    ).order_by(deliveries.c.seq),
    ("position", "channel"),
)
HEARD = Statement(
    select(notices.c.event)
    .join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
    .where(
        deliveries.c.position == bindparam("position"),
        deliveries.c.channel == bindparam("channel"),
        one_of(deliveries.c.status, _SEEN),
    )
    .order_by(deliveries.c.seq.desc())
    .limit(1),
    ("position", "channel"),
)
DELIVERY = Statement(
    _with_notice.where(deliveries.c.notice_id == bindparam("notice_id"), deliveries.c.channel == bindparam("channel")),
    ("notice_id", "channel"),
)
MESSAGES_SINCE = Statement(
    select(func.count(), func.min(deliveries.c.sent_at)).where(
        equals(deliveries.c.status, DeliveryStatus.SENT),
        deliveries.c.channel == bindparam("channel"),
        deliveries.c.sent_at > bindparam("since"),
        deliveries.c.sent_at <= bindparam("until"),
        _itself,
    ),
    ("channel", "since", "until"),
)
MESSAGES_IN_THE_AIR = Statement(
    select(deliveries.c.attempts, func.count()).where(_again, _itself).group_by(deliveries.c.attempts),
    ("channel", "subject"),
)
ALL_DELIVERIES = Statement(_with_notice.where(_of_a_channel).order_by(deliveries.c.seq))
EPISODE_DELIVERIES = Statement(
    _with_notice.where(notices.c.episode == bindparam("episode"), _of_a_channel).order_by(deliveries.c.seq),
    ("episode",),
)
_channels = (
    select(deliveries.c.channel)
    .join_from(notices, deliveries, deliveries.c.notice_id == notices.c.id)
    .where(notices.c.episode == bindparam("episode"), _of_a_channel)
    .distinct()
)
EPISODE_CHANNELS = Statement(_channels.where(~_went_with_its_block), ("episode",))
EPISODE_HEARERS = Statement(_channels.where(~equals(deliveries.c.status, DeliveryStatus.DROPPED)), ("episode",))
ALL_TOLD = Statement(
    _told.where(deliveries.c.seq.in_(select(_newest).where(_believed).group_by(deliveries.c.position)))
)
TOLD = Statement(
    _told.where(_believed, deliveries.c.position == bindparam("position")).order_by(deliveries.c.seq.desc()).limit(1),
    ("position",),
)

OLD_NOTICES = Statement(
    select(deliveries.c.seq, notices.c.id, notices.c.position, notices.c.episode)
    .join_from(deliveries, notices, deliveries.c.notice_id == notices.c.id)
    .where(deliveries.c.seq > at("after"), deliveries.c.created_at < bindparam("before"))
    .order_by(deliveries.c.seq)
    .limit(at("most")),
    ("after", "before", "most"),
)
UNSETTLED_NOTICES = Statement(select(deliveries.c.notice_id).where(_unsettled).distinct())
IS_UNSETTLED = Statement(
    select(deliveries.c.seq).where(deliveries.c.notice_id == bindparam("notice_id"), _unsettled).limit(1),
    ("notice_id",),
)
NOTICE_POSITION = Statement(select(notices.c.position).where(notices.c.id == bindparam("id")), ("id",))
DELETE_NOTICE = Statement(delete(notices).where(notices.c.id == bindparam("id")), ("id",))
DELETE_DELIVERIES = Statement(
    delete(deliveries).where(deliveries.c.notice_id == bindparam("notice_id")), ("notice_id",)
)
HAS_NOTICES_OF = Statement(select(notices.c.id).where(notices.c.episode == bindparam("episode")).limit(1), ("episode",))
_sent_since = select(func.coalesce(func.max(deliveries.c.seq), literal_column("0"))).where(
    deliveries.c.channel == bindparam("of_channel"), equals(deliveries.c.status, DeliveryStatus.SENT)
)
DEAD_SINCE_SENT = Statement(
    select(func.count(), func.max(deliveries.c.error)).where(
        deliveries.c.channel == bindparam("channel"),
        equals(deliveries.c.status, DeliveryStatus.DEAD),
        deliveries.c.seq > _sent_since.scalar_subquery(),
        func.substr(deliveries.c.position, literal_column("1"), literal_column("7")) != constant("keeper:"),
    ),
    ("channel", "of_channel"),
)
"""What a channel refused since it last took anything; not what was said of such refusals."""
LAST_DELIVERY = Statement(select(func.max(deliveries.c.seq)))
UNSETTLED_ATTEMPTS = Statement(
    select(func.count(), func.coalesce(func.sum(deliveries.c.attempts), 0)).where(_unsettled)
)
