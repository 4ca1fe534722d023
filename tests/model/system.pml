/* Workers, the platform, operators, kills and time, in every order that is possible: spin explores all of them.
 *
 * One worker here is one sender with at most one request. A property is a variable that becomes false; its assertion
 * names it. python -m tests.model runs each scenario, and each with a guard removed (the WEAKEN words).
 */

#ifndef EVENTS
#define EVENTS 1
#endif
#ifndef ACTS
#define ACTS 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#define WORKERS 2
#define TIME byte
#define WHO byte
#define SLACK 0
#define LEASE 2
#define DEADLINE 1
#define WINDOW 4
#define MAX_ATTEMPTS 2
#define PAUSE 2

#if EVENTS == 1 || defined(WEAKEN_HEAD) || !defined(ORDERED)
#define HEAD(r) true
#else
#define HEAD(r) (r == 0 || !HOLDS_BACK(0))
#endif

#include "rows.pml"

/* ---- properties */

bool G2_no_phantom = true;
bool G3_at_most_one_acceptance = true;
bool G4_same_bytes = true;
bool G5_one_active_publisher = true;
bool G6_moves_again_after_the_lease = true;
bool G7_doubt_before_the_first_byte = true;
bool G8_order = true;
bool G9_shared_pause = true;
bool G9_one_probe_at_a_time = true;
bool G11_attempts_counted_at_claim = true;

#define HOLDS(property, condition) property = (condition); assert(property); property = true

/* ---- workers */

#define IDLE 0
#define LOOKED 1
#define CLAIMED 2
#define SENT 3
#define ANSWERED 4
#define RECORDED 5
#define LATE 6
#define CHECKING 7
#define KILLED 8

byte phase[WORKERS];
byte at[WORKERS];          /* the row it holds */
bit before[WORKERS];       /* that row's doubt before the claim */
byte held[WORKERS];        /* time since its claim, by its own clock */
byte answer[WORKERS];
byte wire[WORKERS];        /* 1 + how long its request may still take to arrive; 0: none is under way */
byte wire_row[WORKERS];
byte wire_epoch[WORKERS];
bit frozen[WORKERS];
byte kills = KILLS;
byte acts = ACTS;

#define TOKEN(w) (w + 1)

inline drop(w) {
    phase[w] = IDLE; at[w] = 0; before[w] = 0; held[w] = 0; answer[w] = 0
}

/* ---- the platform: it remembers a key for WINDOW */

#define SLOT(r, e) (2 * (r) + (e))
byte memory[2 * EVENTS];
byte accepts[2 * EVENTS];
#define WAS_ACCEPTED(r) (accepts[SLOT(r, 0)] || accepts[SLOT(r, 1)])
#define ACCEPTED_NOW(r) (accepts[SLOT(r, rows[r].epoch)])

/* An operator decided about it: order is not promised afterwards. */
bit excused[EVENTS];
/* Claims since it was enqueued or sent again by an operator, without those that count no attempt. */
byte claims[EVENTS];
#define COUNTS_NONE(w) (answer[w] == NOT_SENT || answer[w] == UNCOUNTED || answer[w] == UNKNOWN_UNCOUNTED)

inline truth(r) {
    HOLDS(G7_doubt_before_the_first_byte, !(ACCEPTED_NOW(r) && (
        (rows[r].state == PENDING && !rows[r].doubt)
        || (rows[r].state == DEAD && rows[r].reason >= REJECTED && rows[r].reason <= EXPIRED))))
}

inline accept(r, e) {
    if
    :: memory[SLOT(r, e)] == 0 ->
#ifdef ORDERED
        HOLDS(G8_order, WAS_ACCEPTED(r) || excused[r] || r != 0 || !WAS_ACCEPTED(1));
#endif
        accepts[SLOT(r, e)]++;
        memory[SLOT(r, e)] = WINDOW;
        HOLDS(G3_at_most_one_acceptance, accepts[SLOT(r, e)] <= 1);
        accepts[SLOT(r, e)] = 1
    :: else
    fi;
#ifdef TRANSACTIONS
    HOLDS(G2_no_phantom, committed);
    HOLDS(G4_same_bytes, wire_body == body);
#endif
    truth(r)
}

#ifdef TRANSACTIONS
bit committed, open, over, business, changed, body, wire_body;
#endif

/* ---- pauses */

byte pause;                /* 1 + how long it lasts; 1: over, one worker may probe; 0: none */
byte probe_lease;
byte prober;               /* the token of the claim that took the turn */
bit probing[WORKERS];
bit halted[WORKERS];       /* its answer was a 429 */
byte prior[WORKERS];
bit unrecorded[EVENTS];

#ifdef PAUSES
#ifdef WEAKEN_PAUSE_CHECK
#define GATE true
#else
#define GATE (pause == 0 || (pause == 1 && probe_lease == 0))
#endif
#else
#define GATE true
#endif

/* ---- faults: without a budget they may happen at any time; with one, an event must get somewhere */

#ifdef LIVE
byte faults = FAULTS;
#define UNLUCKY faults > 0
#define PAY faults--
#define URGENT(w) (!frozen[w] && (phase[w] == LOOKED || phase[w] == CLAIMED || phase[w] == ANSWERED \
    || phase[w] == LATE || phase[w] == CHECKING || (phase[w] == IDLE && wire[w] == 0 && (CAN_CLAIM(0) || CAN_CHECK(0)))))
#define MAY_TICK (!URGENT(0) && !URGENT(1))
#define MAY_ACT(w) !frozen[w]
#else
#define UNLUCKY true
#define PAY skip
#define MAY_TICK true
#define MAY_ACT(w) true
#endif

/* ---- every write of a row: while a lease is live, only its holder writes */

inline writes(r, who) {
    HOLDS(G5_one_active_publisher, rows[r].token == 0 || rows[r].token == who || rows[r].due == 0)
}

#ifdef WEAKEN_CLAIM
#define STILL_DUE(r) true
#else
#ifdef WEAKEN_WINDOW_AT_CLAIM
#define STILL_DUE(r) (rows[r].state == PENDING && IS_DUE(r) && !USED_UP(r))
#else
#define STILL_DUE(r) (rows[r].state == PENDING && IS_DUE(r) && !USED_UP(r) && MAY_SEND_AGAIN(r))
#endif
#endif

#ifdef WEAKEN_TOKEN
#define HOLDS_CLAIM(w) true
#else
#define HOLDS_CLAIM(w) (rows[at[w]].token == TOKEN(w))
#endif

#ifdef WEAKEN_SEND_DEADLINE
#define TIME_TO_SEND(w) true
#else
#define TIME_TO_SEND(w) (held[w] + DEADLINE < LEASE)
#endif

#ifdef WEAKEN_PROBE
#define TAKES_TURN(w) true
#else
#define TAKES_TURN(w) (!probing[w] || (pause == 1 && probe_lease == 0))
#endif

#ifdef WEAKEN_PROBE_HOLDER
#define HOLDS_TURN(w) probing[w]
#else
#define HOLDS_TURN(w) (probing[w] && prober == TOKEN(w))
#endif

inline look(w, r) {
    phase[w] = LOOKED;
    at[w] = r;
#ifdef PAUSES
    HOLDS(G9_shared_pause, pause <= 1);
    probing[w] = (pause != 0)
#endif
}

inline take(w) {
    if
    :: STILL_DUE(at[w]) && TAKES_TURN(w) ->
        writes(at[w], 0);
#ifdef PAUSES
        HOLDS(G9_shared_pause, !unrecorded[at[w]]);
        HOLDS(G9_one_probe_at_a_time, !probing[w] || !(probing[1 - w] && (phase[1 - w] == CLAIMED || phase[1 - w] == SENT)
            && held[1 - w] < LEASE));
        if
        :: probing[w] -> probe_lease = LEASE; prober = TOKEN(w)
        :: else
        fi;
        prior[w] = rows[at[w]].attempts;
#endif
        claim(at[w], TOKEN(w), before[w]);
        claims[at[w]]++;
        HOLDS(G11_attempts_counted_at_claim, claims[at[w]] <= MAX_ATTEMPTS);
        claims[at[w]] = (claims[at[w]] > MAX_ATTEMPTS -> MAX_ATTEMPTS : claims[at[w]]);
        wire_epoch[w] = rows[at[w]].epoch;
        phase[w] = CLAIMED
    :: else -> drop(w); probing[w] = 0
    fi
}

inline send(w) {
    HOLDS(G5_one_active_publisher, !(phase[1 - w] == SENT && at[1 - w] == at[w]));
    phase[w] = SENT;
    held[w] = 0;
    wire[w] = DEADLINE + 1;
#ifdef TRANSACTIONS
#ifdef WEAKEN_BYTES
    wire_body = business;
#else
    wire_body = body;
#endif
#endif
    wire_row[w] = at[w]
}

/* The request has arrived, or never will. */
inline arrives(w, outcome) {
    wire[w] = 0;
    wire_row[w] = 0;
    if
    :: phase[w] == SENT -> phase[w] = ANSWERED; answer[w] = outcome
    :: else
    fi
}

inline record(w) {
    if
    :: halted[w] -> pause = PAUSE + 1
    :: answer[w] <= TAKEN_UNTRACKED && pause == 1 -> pause = 0
    :: else
    fi;
    if
    :: HOLDS_TURN(w) -> probe_lease = 0; prober = 0
    :: else
    fi;
    probing[w] = 0
}

inline finish(w) {
    if
    :: HOLDS_CLAIM(w) && (rows[at[w]].state == PENDING) ->
        HOLDS(G5_one_active_publisher, rows[at[w]].token == TOKEN(w));
        settle(at[w], before[w], answer[w]);
        claims[at[w]] = claims[at[w]] - (COUNTS_NONE(w) && claims[at[w]]);
        truth(at[w]);
#ifdef PAUSES
        HOLDS(G9_shared_pause, answer[w] != NOT_SENT || rows[at[w]].attempts == prior[w]);
        prior[w] = 0;
#endif
        drop(w)
    :: else ->
        if
        :: answer[w] == TAKEN || answer[w] == TAKEN_FINAL -> phase[w] = LATE
        :: else -> drop(w)
        fi
    fi
}

inline tell_late(w) {
    if
    :: CAN_TAKE_LATE(at[w]) -> writes(at[w], 0); take_late(at[w], ACCEPTED)
    :: else
    fi;
    drop(w)
}

#define CAN_LOOK(w, r) (phase[w] == IDLE && wire[w] == 0 && MAY_ACT(w) && CAN_CLAIM(r) && GATE)
#define CAN_LOOK_AFTER(w, r) (phase[w] == IDLE && wire[w] == 0 && MAY_ACT(w) && CAN_CHECK(r))
#define HAS(w, what) (phase[w] == what && MAY_ACT(w))
#define ASKING(w) (HAS(w, CHECKING) && rows[at[w]].token == TOKEN(w) && rows[at[w]].state == ACCEPTED)

proctype Worker(byte w) {
    do
    :: d_step { CAN_LOOK(w, 0) -> look(w, 0) }
#if EVENTS > 1
    :: d_step { CAN_LOOK(w, 1) -> look(w, 1) }
#endif
    :: d_step { HAS(w, LOOKED) -> take(w) }
    :: d_step { HAS(w, CLAIMED) && TIME_TO_SEND(w) -> send(w) }
    :: d_step { HAS(w, CLAIMED) && (UNLUCKY || !TIME_TO_SEND(w)) ->
        if
        :: TIME_TO_SEND(w) -> PAY
        :: else
        fi;
        phase[w] = ANSWERED; answer[w] = NOT_SENT; held[w] = 0 }
#ifndef PAUSES
    /* The sender gives up; its request may still arrive. */
    :: d_step { HAS(w, SENT) && UNLUCKY -> PAY; phase[w] = ANSWERED; answer[w] = UNKNOWN }
#else
#ifdef WEAKEN_PAUSE_FIRST
    :: d_step { HAS(w, ANSWERED) -> unrecorded[at[w]] = halted[w]; phase[w] = RECORDED; wire_row[w] = at[w]; finish(w);
        phase[w] = RECORDED }
    :: d_step { HAS(w, RECORDED) -> unrecorded[wire_row[w]] = 0; wire_row[w] = 0; answer[w] = NOT_SENT; record(w);
        halted[w] = 0; drop(w) }
#else
    :: d_step { HAS(w, ANSWERED) -> record(w); halted[w] = 0; phase[w] = RECORDED }
    :: d_step { HAS(w, RECORDED) -> finish(w) }
#endif
#endif
#ifndef PAUSES
    :: d_step { HAS(w, ANSWERED) -> finish(w) }
#endif
    :: d_step { HAS(w, LATE) -> tell_late(w) }
#ifdef CHECKS
    :: d_step { CAN_LOOK_AFTER(w, 0) -> claim_check(0, TOKEN(w)); at[w] = 0; phase[w] = CHECKING }
    :: d_step { ASKING(w) -> settle_check(at[w], DELIVERED, NO_REASON); drop(w) }
    :: d_step { ASKING(w) && UNLUCKY -> PAY; settle_check(at[w], ACCEPTED, NO_REASON); drop(w) }
#ifndef HEALTHY
    :: d_step { ASKING(w) -> settle_check(at[w], DEAD, DELIVERY_FAILED); drop(w) }
    :: d_step { ASKING(w) -> settle_check(at[w], UNRESOLVED, UNCONFIRMED); drop(w) }
#endif
    :: d_step { HAS(w, CHECKING) && !(rows[at[w]].token == TOKEN(w) && rows[at[w]].state == ACCEPTED) -> drop(w) }
#endif
    :: d_step { phase[w] == KILLED && wire[w] == 0 -> drop(w) }
    od
}

/* Each pass ends rows that may not be sent any more, even while the destination is paused. */
active proctype Expiry() {
    do
#ifndef WEAKEN_EXPIRY
    :: d_step { CAN_EXPIRE(0) -> writes(0, 0); expire(0); truth(0) }
#endif
    :: d_step { CAN_END(0) -> writes(0, 0); end_used_up(0); truth(0) }
#if EVENTS > 1
    :: d_step { CAN_EXPIRE(1) -> writes(1, 0); expire(1); truth(1) }
    :: d_step { CAN_END(1) -> writes(1, 0); end_used_up(1); truth(1) }
#endif
    od
}

proctype Platform(byte w) {
    do
    :: d_step { wire[w] -> accept(wire_row[w], wire_epoch[w]); arrives(w, TAKEN) }
#ifdef PAUSES
    :: d_step { wire[w] -> halted[w] = (phase[w] == SENT); arrives(w, NOT_SENT) }
#else
    :: d_step { wire[w] && UNLUCKY -> PAY; arrives(w, UNKNOWN) }
    :: d_step { wire[w] && UNLUCKY -> PAY; accept(wire_row[w], wire_epoch[w]); arrives(w, UNKNOWN) }
#endif
#if !defined(HEALTHY) && !defined(PAUSES)
    :: d_step { wire[w] -> arrives(w, REFUSED) }
    :: d_step { wire[w] && UNLUCKY -> PAY; arrives(w, UNAVAILABLE) }
#endif
#ifdef ANSWERS
    :: d_step { wire[w] -> accept(wire_row[w], wire_epoch[w]); arrives(w, TAKEN_FAILED) }
    :: d_step { wire[w] -> accept(wire_row[w], wire_epoch[w]); arrives(w, TAKEN_UNTRACKED) }
    :: d_step { wire[w] -> arrives(w, UNCOUNTED) }
    :: d_step { wire[w] -> accept(wire_row[w], wire_epoch[w]); arrives(w, UNKNOWN_UNCOUNTED) }
#endif
    od
}

inline wait(w) {
    if
    :: wire[w] > 1 -> wire[w]--
    :: else
    fi;
    if
    :: phase[w] == CLAIMED && held[w] < LEASE -> held[w]++
    :: else
    fi
}

inline forget(slot) {
    if
    :: memory[slot] -> memory[slot]--
    :: else
    fi
}

active proctype Time() {
    do
    :: d_step { wire[0] != 1 && wire[1] != 1 && MAY_TICK ->
#ifdef LIVE
        HOLDS(G6_moves_again_after_the_lease, !(rows[0].state == PENDING && rows[0].token && rows[0].due == 0
            && !USED_UP(0) && AGE(0) + LEASE <= WINDOW
            && ((phase[0] == IDLE && !frozen[0] && wire[0] == 0) || (phase[1] == IDLE && !frozen[1] && wire[1] == 0))));
#endif
        wait(0); wait(1); advance(0, 1); forget(0); forget(1);
#if EVENTS > 1
        advance(1, 1); forget(2); forget(3);
#endif
        if
        :: pause > 1 -> pause--
        :: else
        fi;
        if
        :: probe_lease -> probe_lease--
        :: else
        fi }
    od
}

inline kill(w) {
    drop(w);
    phase[w] = KILLED;
    probing[w] = 0;
    prior[w] = 0;
    halted[w] = 0
}

#if KILLS > 0 || defined(LIVE)
active proctype Chaos() {
    do
#ifdef LIVE
    :: d_step { faults && phase[0] != KILLED && !frozen[0] -> faults--; kill(0) }
    :: d_step { faults && phase[1] != KILLED && !frozen[1] -> faults--; kill(1) }
    :: d_step { faults && !frozen[0] -> faults--; frozen[0] = 1 }
    :: d_step { faults && !frozen[1] -> faults--; frozen[1] = 1 }
    :: d_step { frozen[0] -> frozen[0] = 0 }
    :: d_step { frozen[1] -> frozen[1] = 0 }
#else
    :: d_step { kills && phase[0] != KILLED -> kills--; kill(0) }
    :: d_step { kills && phase[1] != KILLED -> kills--; kill(1) }
#endif
    od
}
#endif

#if ACTS > 0
inline acted(r, excuse) {
    acts--;
    claims[r] = (rows[r].state == PENDING -> 0 : claims[r]);
    excused[r] = excused[r] || excuse;
    truth(r)
}

proctype Operator(byte r) {
    do
    :: d_step { acts && CAN_REQUEUE(r) && (rows[r].reason != DELIVERY_FAILED || rows[r].epoch == 0) ->
        writes(r, 0); requeue(r); acted(r, 0) }
    :: d_step { acts && CAN_RESOLVE(r) && (KEY_IS_KNOWN(r) || rows[r].epoch == 0) ->
        writes(r, 0); resolve_not_delivered(r); acted(r, 1) }
    :: d_step { acts && CAN_RESOLVE(r) -> writes(r, 0); moves(r, DELIVERED, NO_REASON); acted(r, 1) }
    :: d_step { acts && CAN_RESOLVE(r) -> writes(r, 0); resolve_give_up(r); acted(r, 1) }
    :: d_step { acts && CAN_CANCEL(r) -> writes(r, 0); cancel(r); acted(r, 1) }
    :: d_step { acts && CAN_CHECK_NOW(r) && rows[r].state == UNRESOLVED -> writes(r, 0); check_now(r); acted(r, 1) }
    od
}
#endif

#ifdef TRANSACTIONS
/* The user's transaction: it may roll back, and the business row may change later. */
active proctype Business() {
    do
    :: d_step { !open && !committed && !over -> open = 1; body = business;
#ifdef WEAKEN_COMMITTED
        enqueue(0)
#endif
    }
    :: d_step { open -> open = 0; committed = 1;
#ifndef WEAKEN_COMMITTED
        enqueue(0)
#endif
    }
    :: d_step { open && !committed -> open = 0; over = 1;
#ifdef WEAKEN_COMMITTED
        rows[0].state = ABSENT
#endif
    }
    :: d_step { !changed -> changed = 1; business = 1 }
    od
}
#endif

init {
    atomic {
#ifndef TRANSACTIONS
        enqueue(0);
#if EVENTS > 1
        enqueue(1);
#endif
#endif
        run Worker(0);
        run Worker(1);
        run Platform(0);
        run Platform(1);
#if ACTS > 0
        run Operator(0);
#if EVENTS > 1
        run Operator(1);
#endif
#endif
    }
}

#ifdef LIVE
#define ended (rows[0].state > ACCEPTED)
#define delivered (rows[0].state == DELIVERED)
ltl G1_every_event_ends { <> ended }
ltl G1_delivered_if_all_is_well { <> delivered }
#endif
