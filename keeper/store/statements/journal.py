"""Of intents, their attempts, and the audit trail."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    bindparam,
    delete,
    func,
    select,
)

from keeper.core.records import IntentStatus
from keeper.store.database import Statement
from keeper.store.schema import attempts, audit, intents
from keeper.store.statements.parts import FEW, PAGE, at, inserting, one_of, replacing

# --- intents ----------------------------------------------------------------------------------------------------------

_open = one_of(intents.c.status, (status for status in IntentStatus if not status.settled))

INTENT_STATUS = Statement(select(intents.c.status).where(intents.c.id == bindparam("id")), ("id",))
INSERT_INTENT = inserting(intents)
REPLACE_INTENT = replacing(intents, "id")
ATTEMPT_HASHES = Statement(
    select(attempts.c.tx_hash).where(attempts.c.intent_id == bindparam("intent_id")), ("intent_id",)
)
INSERT_ATTEMPT = inserting(attempts)
REPLACE_ATTEMPT = replacing(attempts, "tx_hash")
INTENT = Statement(select(intents).where(intents.c.id == bindparam("id")), ("id",))
ALL_INTENTS = Statement(select(intents).order_by(intents.c.created_at, intents.c.id))
INTENTS_PAGE = Statement(
    select(intents).where(intents.c.id > bindparam("after")).order_by(intents.c.id).limit(FEW), ("after",)
)
OPEN_INTENTS = Statement(select(intents).where(_open).order_by(intents.c.created_at, intents.c.id))
_attempts = select(attempts).order_by(attempts.c.intent_id, attempts.c.ordinal)
ATTEMPTS = Statement(_attempts.where(attempts.c.intent_id == bindparam("intent_id")), ("intent_id",))
ATTEMPTS_BETWEEN = Statement(
    _attempts.where(attempts.c.intent_id >= bindparam("first"), attempts.c.intent_id <= bindparam("last")),
    ("first", "last"),
)
ALL_ATTEMPTS = Statement(_attempts)
OPEN_ATTEMPTS = Statement(_attempts.where(attempts.c.intent_id.in_(select(intents.c.id).where(_open))))


# --- audit ------------------------------------------------------------------------------------------------------------

INSERT_AUDIT = inserting(audit, skip=("seq",))
AUDIT_PAGE = Statement(
    select(audit).where(audit.c.seq > at("after")).order_by(audit.c.seq).limit(PAGE),
    ("after",),
)
AUDIT_OF_SUBJECT = Statement(
    select(audit).where(audit.c.subject == bindparam("subject")).order_by(audit.c.seq), ("subject",)
)
DELETE_AUDIT = Statement(delete(audit).where(audit.c.subject == bindparam("subject")), ("subject",))
AUDIT_AFTER = Statement(
    select(audit).where(audit.c.seq > at("after")).order_by(audit.c.seq).limit(bindparam("most", type_=BigInteger)),
    ("after", "most"),
)
LAST_AUDIT = Statement(select(func.max(audit.c.seq)))
