/* What may happen to a row: the table of guarantees, one guard and one effect per transition.
 *
 * system.pml explores every interleaving of these transitions; trace.pml follows what the real code did with the
 * same transitions. Including files define EVENTS, TIME, WHO, LEASE, WINDOW, MAX_ATTEMPTS, SLACK and HEAD(r).
 *
 * Times are durations, so that the number of states is finite: `due` is the time until the row is due or its lease
 * ends, `since` is 1 plus the time since the platform may know the row's key (0: it cannot know it).
 */

#define ABSENT 0
#define PENDING 1
#define ACCEPTED 2
#define DELIVERED 3
#define DEAD 4
#define UNRESOLVED 5
#define CANCELLED 6

#define NO_REASON 0
#define REJECTED 1
#define EXHAUSTED 2
#define EXPIRED 3
#define DELIVERY_FAILED 4
#define CONFLICT 5
#define OUTCOME_UNKNOWN 6
#define UNCONFIRMED 7
#define UNTRACKED 8
#define OPERATOR 9

/* What one publish was answered. */
#define TAKEN 1            /* accepted, with an id to ask about */
#define TAKEN_FINAL 2      /* accepted and delivered, or CONFIRM is off */
#define TAKEN_FAILED 3     /* accepted, delivery failed */
#define TAKEN_UNTRACKED 4  /* accepted without an id */
#define REFUSED 5          /* certainly not accepted, and never will be */
#define UNAVAILABLE 6      /* certainly not accepted */
#define UNCOUNTED 7        /* the same, and the destination is at fault */
#define UNKNOWN 8          /* it may have been accepted */
#define UNKNOWN_UNCOUNTED 9
#define MIXED_UP 10        /* the answer was about another event */
#define NOT_SENT 11        /* released, or halted: no attempt */
#define TOO_OLD 12         /* certainly not accepted, and past MAX_AGE */

typedef Row {
    byte state = ABSENT;
    byte reason;
    WHO token;             /* who claimed it; 0: no worker */
    TIME due;
    TIME since;
    bit doubt;             /* in_doubt_since is set */
    bit known;             /* key_known_since is set */
    bit accepted;          /* accepted_at is set */
    bit id;                /* remote_id is set */
    byte attempts;
    byte epoch
}

Row rows[EVENTS];

/* ---- guards */

#define IS_DUE(r) (rows[r].due <= SLACK)
#define FREE(r) (rows[r].token == 0 || IS_DUE(r))
#define AGE(r) (rows[r].since - 1)
#define CLOSED(r) (rows[r].doubt && AGE(r) + SLACK >= WINDOW)
#ifdef WEAKEN_USED_UP
#define USED_UP(r) (rows[r].attempts > MAX_ATTEMPTS)
#else
#define USED_UP(r) (rows[r].attempts >= MAX_ATTEMPTS)
#endif
/* It holds back later rows of its ordering key. */
#define LEFT_UNACCEPTED(r) ((rows[r].state == DEAD || rows[r].state == UNRESOLVED) && !rows[r].accepted)
#ifdef WEAKEN_BLOCK_ON_DEAD
#define HOLDS_BACK(r) (rows[r].state == PENDING)
#else
#define HOLDS_BACK(r) (rows[r].state == PENDING || LEFT_UNACCEPTED(r))
#endif

#ifdef WEAKEN_WINDOW
#define MAY_SEND_AGAIN(r) true
#else
#ifdef WEAKEN_LEASE_MARGIN
#define MAY_SEND_AGAIN(r) (!rows[r].doubt || AGE(r) < WINDOW)
#else
#define MAY_SEND_AGAIN(r) (!rows[r].doubt || AGE(r) + LEASE <= WINDOW + SLACK)
#endif
#endif

#ifdef WEAKEN_LEASE_EXPIRY
#define CLAIMABLE(r) (rows[r].state == PENDING && rows[r].token == 0 && IS_DUE(r))
#else
#define CLAIMABLE(r) (rows[r].state == PENDING && IS_DUE(r))
#endif
#define CAN_CLAIM(r) (CLAIMABLE(r) && !USED_UP(r) && MAY_SEND_AGAIN(r) && HEAD(r))
#define CAN_CHECK(r) (rows[r].state == ACCEPTED && IS_DUE(r))
#define CAN_EXPIRE(r) (rows[r].state == PENDING && FREE(r) && CLOSED(r))
#define CAN_END(r) (rows[r].state == PENDING && IS_DUE(r) && USED_UP(r))
#define CAN_REQUEUE(r) (rows[r].state == DEAD)
#define CAN_RESOLVE(r) (rows[r].state == UNRESOLVED)
#ifdef WEAKEN_CANCEL_IN_FLIGHT
#define CAN_CANCEL(r) (rows[r].state == PENDING || rows[r].state == DEAD || rows[r].state == UNRESOLVED)
#else
#define CAN_CANCEL(r) ((rows[r].state == PENDING && FREE(r)) || rows[r].state == DEAD || rows[r].state == UNRESOLVED)
#endif
#define CAN_CHECK_NOW(r) ((rows[r].state == UNRESOLVED && rows[r].id) || (rows[r].state == ACCEPTED && FREE(r)))
#ifdef WEAKEN_LATE
#define CAN_TAKE_LATE(r) true
#else
#define CAN_TAKE_LATE(r) (rows[r].state == UNRESOLVED && !rows[r].id && rows[r].token == 0)
#endif
/* The platform surely remembers the key for another attempt. */
#define KEY_IS_KNOWN(r) (rows[r].since && rows[r].reason != CONFLICT && AGE(r) + LEASE < WINDOW + SLACK)

/* ---- effects */

inline enqueue(r) {
    rows[r].state = PENDING
}

/* A lease with a token. What may have been sent is recorded before the first byte. */
inline claim(r, who, earlier) {
    earlier = rows[r].doubt;
    rows[r].token = who;
    rows[r].due = LEASE;
#ifndef WEAKEN_COUNT_AT_CLAIM
    rows[r].attempts++;
#endif
#ifndef WEAKEN_DOUBT_AT_CLAIM
    begin_doubt(r)
#endif
}

inline begin_doubt(r) {
    rows[r].doubt = 1;
    if
    :: rows[r].since == 0 -> rows[r].since = 1
    :: else
    fi
}

inline clear_doubt(r, to) {
    rows[r].doubt = to;
    if
    :: !rows[r].doubt && !rows[r].known -> rows[r].since = 0
    :: else
    fi
}

inline moves(r, to, why) {
    rows[r].state = to;
    rows[r].reason = why;
    rows[r].token = 0;
    rows[r].due = 0
}

inline taken(r) {
    rows[r].known = 1;
    rows[r].doubt = 0;
    rows[r].accepted = 1
}

/* The holder of the claim writes what the answer means. */
inline settle(r, earlier, result) {
#ifdef WEAKEN_COUNT_AT_CLAIM
    rows[r].attempts++;
#endif
#ifdef WEAKEN_DOUBT_AT_CLAIM
    begin_doubt(r);
#endif
    moves(r, PENDING, NO_REASON);
    if
    :: result == TAKEN -> taken(r); rows[r].id = 1; rows[r].state = ACCEPTED
    :: result == TAKEN_FINAL -> taken(r); rows[r].state = DELIVERED
    :: result == TAKEN_FAILED -> taken(r); rows[r].state = DEAD; rows[r].reason = DELIVERY_FAILED
    :: result == TAKEN_UNTRACKED -> taken(r); rows[r].state = UNRESOLVED; rows[r].reason = UNTRACKED
    :: result == REFUSED -> clear_doubt(r, earlier); give_up(r, REJECTED)
    :: result == UNAVAILABLE -> clear_doubt(r, earlier); again(r)
    :: result == UNCOUNTED -> clear_doubt(r, earlier); uncharge(r); end_if_closed(r)
    :: result == UNKNOWN -> again(r)
    :: result == UNKNOWN_UNCOUNTED -> uncharge(r); end_if_closed(r)
    :: result == MIXED_UP -> rows[r].state = UNRESOLVED; rows[r].reason = CONFLICT
    :: result == NOT_SENT -> clear_doubt(r, earlier); uncharge(r)
    :: result == TOO_OLD -> clear_doubt(r, earlier);
        if
        :: !rows[r].doubt -> rows[r].state = DEAD; rows[r].reason = EXPIRED
        :: else -> again(r)
        fi
    fi
}

inline uncharge(r) {
#ifndef WEAKEN_UNCHARGED
    rows[r].attempts--
#else
    skip
#endif
}

/* It ends: dead, or unresolved if an attempt may have been accepted. */
#ifdef WEAKEN_REFUSED_IN_DOUBT
#define ENDS_IN_DOUBT(r) false
#else
#define ENDS_IN_DOUBT(r) rows[r].doubt
#endif

inline give_up(r, why) {
    if
    :: ENDS_IN_DOUBT(r) -> rows[r].state = UNRESOLVED; rows[r].reason = OUTCOME_UNKNOWN
    :: else -> rows[r].state = DEAD; rows[r].reason = why
    fi
}

inline again(r) {
    if
    :: USED_UP(r) || CLOSED(r) -> give_up(r, EXHAUSTED)
    :: else
    fi
}

inline end_if_closed(r) {
    if
    :: CLOSED(r) -> give_up(r, EXHAUSTED)
    :: else
    fi
}

/* Without a request: the window is closed, or the attempts are used up. */
inline expire(r) {
    moves(r, UNRESOLVED, OUTCOME_UNKNOWN)
}

inline end_used_up(r) {
    moves(r, PENDING, NO_REASON);
    give_up(r, EXHAUSTED)
}

inline claim_check(r, who) {
    rows[r].token = who;
    rows[r].due = LEASE
}

inline settle_check(r, to, why) {
    moves(r, to, why)
}

/* What operators do. */
inline send_again(r) {
#ifdef WEAKEN_KEEP_DOUBT
    rows[r].doubt = 0;
    rows[r].since = 0;
#else
    rows[r].doubt = (rows[r].since != 0);
#endif
    fresh(r)
}

inline send_under_new_key(r) {
#ifndef WEAKEN_EPOCH
    rows[r].epoch++;
#endif
    rows[r].doubt = 0;
    rows[r].known = 0;
    rows[r].since = 0;
    fresh(r)
}

inline fresh(r) {
    moves(r, PENDING, NO_REASON);
    rows[r].attempts = 0;
    rows[r].id = 0;
    rows[r].accepted = 0
}

inline requeue(r) {
    if
    :: rows[r].reason == DELIVERY_FAILED -> send_under_new_key(r)
    :: else -> send_again(r)
    fi
}

inline resolve_not_delivered(r) {
    if
    :: KEY_IS_KNOWN(r) -> send_again(r)
    :: else -> send_under_new_key(r)
    fi
}

inline resolve_give_up(r) {
#ifdef WEAKEN_GIVE_UP
    rows[r].doubt = 0;
    rows[r].since = 0;
#else
    rows[r].doubt = (rows[r].since != 0);
#endif
    moves(r, DEAD, OPERATOR)
}

inline cancel(r) {
    moves(r, CANCELLED, OPERATOR)
}

inline check_now(r) {
    moves(r, ACCEPTED, NO_REASON);
    rows[r].accepted = 1
}

/* The one write without a token: an answer that came after its event had become unresolved. */
inline take_late(r, to) {
    moves(r, to, NO_REASON);
    rows[r].id = 1;
    rows[r].accepted = 1;
    rows[r].known = rows[r].known || rows[r].doubt;
    rows[r].doubt = 0
}

/* Time passes. */
inline advance(r, by) {
    if
    :: rows[r].due > by -> rows[r].due = rows[r].due - by
    :: else -> rows[r].due = 0
    fi;
    if
    :: rows[r].since && AGE(r) + by <= WINDOW -> rows[r].since = rows[r].since + by
    :: rows[r].since && AGE(r) + by > WINDOW -> rows[r].since = WINDOW + 1
    :: else
    fi
}
