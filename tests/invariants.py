"""The invariants of the outbox as SQL: each query returns the rows that break one."""

from django.db import connection

EVENTS = "genesys_eventbridge_outboxevent"
ORDERS = "shop_order"

#: The shop's order is the business row; its number is the subject of its event.
BROKEN = {
    "a business row has lost its event": (
        f"SELECT o.id FROM {ORDERS} o LEFT JOIN {EVENTS} e ON e.subject = o.number WHERE e.id IS NULL"
    ),
    "an event has no business row": (
        f"SELECT e.id FROM {EVENTS} e LEFT JOIN {ORDERS} o ON o.number = e.subject WHERE o.id IS NULL"
    ),
    "finished means finished_at": (
        f"SELECT id FROM {EVENTS} WHERE (state IN ('delivered', 'cancelled')) <> (finished_at IS NOT NULL)"
    ),
    "an event that is not open holds a token or is due": (
        f"SELECT id FROM {EVENTS} WHERE state NOT IN ('pending', 'accepted') "
        "AND (claim_token IS NOT NULL OR due_at IS NOT NULL)"
    ),
    "an open event is never due": (
        f"SELECT id FROM {EVENTS} WHERE state IN ('pending', 'accepted') AND due_at IS NULL"
    ),
    "a claimed event is not in doubt": (
        f"SELECT id FROM {EVENTS} WHERE state = 'pending' AND claim_token IS NOT NULL "
        "AND in_doubt_since IS NULL"
    ),
    "an accepted event has no proof": (
        f"SELECT id FROM {EVENTS} WHERE state = 'accepted' AND (accepted_at IS NULL OR remote_id = '')"
    ),
    "an event that needs an operator has no reason": (
        f"SELECT id FROM {EVENTS} WHERE (state IN ('dead', 'unresolved', 'cancelled')) <> (reason <> '')"
    ),
    "a dead event that was never in doubt is in doubt": (
        f"SELECT id FROM {EVENTS} WHERE state = 'dead' AND reason IN ('rejected', 'exhausted', 'expired') "
        "AND in_doubt_since IS NOT NULL"
    ),
    "a body is blank before its event is finished": (
        f"SELECT id FROM {EVENTS} WHERE body = '' AND state NOT IN ('delivered', 'cancelled')"
    ),
    "a doubtful end without a doubt": (
        f"SELECT id FROM {EVENTS} WHERE state = 'unresolved' AND reason = 'outcome_unknown' "
        "AND in_doubt_since IS NULL"
    ),
}


def broken() -> list[str]:
    """One line per row that breaks an invariant; empty if there is none. Runs one statement."""
    union = " UNION ALL ".join(
        f"SELECT {number} AS rule, id FROM ({query}) AS q{number}"
        for number, query in enumerate(BROKEN.values())
    )
    with connection.cursor() as cursor:
        cursor.execute(union)
        rules = list(BROKEN)
        return [f"{rules[number]}: {pk}" for number, pk in cursor.fetchall()]
