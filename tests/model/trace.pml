/* Follows a trace: each line must be a transition of rows.pml, from the row as the model has it to the row as it was
 * recorded. Which transition it was is not in the trace: spin tries all. Times are in milliseconds.
 */

#define EVENTS 64
#define TIME int
#define WHO int
/* The line's row is the first of its ordering key: set before its transitions are tried. */
#define HEAD(r) is_head

#include "rows.pml"

#define LINE_ROW 1
#define LINE_SEND 2
#define LINE_ACCEPT 3
#define LINE_NEW_GROUP 9

c_decl {
    static int (*T)[FIELDS];
    static int lines, furthest;

    static void report(void) {
        printf(furthest >= lines ? "ACCEPTED %d\n" : "REFUSED %d\n", furthest);
    }

    static void load(void) {
        FILE *file = fopen("lines.txt", "r");
        int field;
        if (!file || fscanf(file, "%d", &lines) != 1) exit(3);
        T = malloc(sizeof(int[FIELDS]) * (lines + 1));
        for (int line = 0; line < lines; line++)
            for (field = 0; field < FIELDS; field++)
                if (fscanf(file, "%d", &T[line][field]) != 1) exit(3);
        atexit(report);
    }
}

int line, last;
int kind, by, number, who, from_state, from_token, state, reason, token, due, since, doubt, known, accepted, id;
int attempts, epoch, same_bytes;
byte r, s;
bit is_head;

int numbers[EVENTS];       /* the order of insertion */
bit earlier[EVENTS];       /* the doubt before the claim */
int owner[EVENTS];         /* who claimed it; 0: unknown */
int lag[EVENTS];           /* how long a request of its last claim may still arrive */
bit sent[EVENTS];          /* a request has left since its last claim */
byte taken_under[EVENTS];  /* the epochs under which the platform accepted it, as bits */
bit excused[EVENTS];
int last_taken;            /* the latest event of the key that the platform accepted */

#define NEAR(a, b) ((a) - (b) <= SLACK && (b) - (a) <= SLACK)
#define IS(what) (kind == LINE_ROW && rows[r].state == from_state && rows[r].token == from_token && (what))
#define IS_HOLDER (rows[r].state == PENDING && rows[r].token && token == 0 && (who == 0 || owner[r] == 0 || who == owner[r]))
/* Its request was sent, and the platform has it under its key: only then an answer can say so. */
#define IS_TOLD (IS_HOLDER && sent[r] && (taken_under[r] & (1 << rows[r].epoch)))
#define IS_CHECKER (rows[r].state == ACCEPTED && token == 0)

/* The row is as it was recorded. */
#define MATCHES (rows[r].state == state && rows[r].reason == reason && rows[r].token == token \
    && rows[r].doubt == doubt && rows[r].known == known && rows[r].accepted == accepted && rows[r].id == id \
    && rows[r].attempts == attempts && rows[r].epoch == epoch \
    && (!since || NEAR(rows[r].since, since) || (rows[r].since == WINDOW + 1 && since > WINDOW)) \
    && (rows[r].due != LEASE || NEAR(due, LEASE)))

inline passes(left) {
    if
    :: left > by -> left = left - by
    :: else -> left = 0
    fi
}

inline read() {
    c_code {
        int *f = T[now.line];
        now.kind = f[0]; now.r = f[1]; now.by = f[2]; now.number = f[3]; now.who = f[4];
        now.from_state = f[5]; now.from_token = f[6]; now.state = f[7]; now.reason = f[8]; now.token = f[9];
        now.due = f[10]; now.since = f[11]; now.doubt = f[12]; now.known = f[13]; now.accepted = f[14];
        now.id = f[15]; now.attempts = f[16]; now.epoch = f[17]; now.same_bytes = f[18];
    };
    s = 0; is_head = 1;
    do
    :: s < EVENTS ->
        advance(s, by);
        passes(lag[s]);
        if
        :: numbers[s] && numbers[s] < numbers[r] && HOLDS_BACK(s) -> is_head = 0
        :: else
        fi;
        s++
    :: else -> break
    od;
    s = 0
}

inline clear(n) {
    rows[n].state = ABSENT; rows[n].reason = 0; rows[n].token = 0; rows[n].due = 0; rows[n].since = 0;
    rows[n].doubt = 0; rows[n].known = 0; rows[n].accepted = 0; rows[n].id = 0; rows[n].attempts = 0;
    rows[n].epoch = 0; numbers[n] = 0; earlier[n] = 0; owner[n] = 0; lag[n] = 0; sent[n] = 0; taken_under[n] = 0;
    excused[n] = 0
}

inline settled(result) {
    settle(r, earlier[r], result);
    lag[r] = LAG
}

inline arrived() {
    line++;
    c_code { if (now.line > furthest) furthest = now.line; };
    kind = 0; by = 0; number = 0; who = 0; from_state = 0; from_token = 0; state = 0; reason = 0; token = 0; due = 0;
    since = 0; doubt = 0; known = 0; accepted = 0; id = 0; attempts = 0; epoch = 0; same_bytes = 0; r = 0; is_head = 0
}

active proctype Trace() {
    d_step { c_code { load(); now.last = lines; } }
    do
    :: line < last ->
        d_step { read() }
        if
        :: d_step { kind == LINE_NEW_GROUP -> s = 0;
            do
            :: s < EVENTS -> clear(s); s++
            :: else -> break
            od;
            s = 0; last_taken = 0; arrived() }
        /* The platform. */
        :: d_step { kind == LINE_SEND && same_bytes && epoch == rows[r].epoch &&
            ((rows[r].state == PENDING && rows[r].token && rows[r].due && rows[r].doubt) || lag[r]) ->
            sent[r] = 1; arrived() }
        :: d_step { kind == LINE_ACCEPT && !(taken_under[r] & (1 << epoch)) &&
            (taken_under[r] || excused[r] || numbers[r] > last_taken) ->
            taken_under[r] = taken_under[r] | (1 << epoch);
            last_taken = (numbers[r] > last_taken -> numbers[r] : last_taken);
            arrived() }
        :: else ->
            if
            /* A later event of the key may be committed before it: G8 is about events that were committed in order. */
            :: d_step { IS(rows[r].state == ABSENT) -> clear(r); enqueue(r); numbers[r] = number;
                excused[r] = last_taken > number;
                do
                :: s < EVENTS ->
                    if
                    :: numbers[s] > number -> excused[r] = 1
                    :: else
                    fi;
                    s++
                :: else -> break
                od;
                s = 0 }
            /* A worker. */
            :: d_step { IS(token && token != rows[r].token && CAN_CLAIM(r)) -> claim(r, token, earlier[r]); owner[r] = who;
                sent[r] = 0 }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN) }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN_FINAL) }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN_FINAL); rows[r].id = 1 }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN_FAILED) }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN_FAILED); rows[r].id = 1 }
            :: d_step { IS(IS_TOLD) -> settled(TAKEN_UNTRACKED) }
            :: d_step { IS(IS_HOLDER) -> settled(REFUSED) }
            :: d_step { IS(IS_HOLDER) -> settled(UNAVAILABLE) }
            :: d_step { IS(IS_HOLDER) -> settled(UNCOUNTED) }
            :: d_step { IS(IS_HOLDER) -> settled(UNKNOWN) }
            :: d_step { IS(IS_HOLDER) -> settled(UNKNOWN_UNCOUNTED) }
            :: d_step { IS(IS_HOLDER) -> settled(MIXED_UP) }
            :: d_step { IS(IS_HOLDER) -> settled(NOT_SENT) }
            :: d_step { IS(IS_HOLDER) -> settled(TOO_OLD) }
            :: d_step { IS(CAN_EXPIRE(r)) -> expire(r) }
            :: d_step { IS(CAN_END(r)) -> end_used_up(r) }
            :: d_step { IS(token && token != rows[r].token && CAN_CHECK(r)) -> claim_check(r, token); owner[r] = who }
            :: d_step { IS(IS_CHECKER) -> settle_check(r, DELIVERED, NO_REASON) }
            :: d_step { IS(IS_CHECKER) -> settle_check(r, DEAD, DELIVERY_FAILED) }
            :: d_step { IS(IS_CHECKER) -> settle_check(r, UNRESOLVED, UNCONFIRMED) }
            :: d_step { IS(IS_CHECKER) -> settle_check(r, ACCEPTED, NO_REASON) }
            :: d_step { IS(CAN_TAKE_LATE(r)) -> take_late(r, ACCEPTED) }
            :: d_step { IS(CAN_TAKE_LATE(r)) -> take_late(r, DELIVERED) }
            /* Rescheduled, perhaps without its lapsed claim. */
            :: d_step { IS(rows[r].state == PENDING && FREE(r) && (token == 0 || token == rows[r].token)) ->
                rows[r].token = token }
            :: d_step { IS(CAN_CHECK_NOW(r)) -> check_now(r) }
            /* An operator. */
            :: d_step { IS(CAN_REQUEUE(r)) -> requeue(r) }
            :: d_step { IS(CAN_RESOLVE(r)) -> resolve_not_delivered(r); excused[r] = 1 }
            :: d_step { IS(CAN_RESOLVE(r)) -> moves(r, DELIVERED, NO_REASON); excused[r] = 1 }
            :: d_step { IS(CAN_RESOLVE(r)) -> resolve_give_up(r); excused[r] = 1 }
            :: d_step { IS(CAN_CANCEL(r)) -> cancel(r); excused[r] = 1 }
            /* Retention. */
            :: d_step { IS((rows[r].state == DELIVERED || rows[r].state == CANCELLED) && state == ABSENT) -> clear(r) }
            fi;
            d_step { MATCHES -> rows[r].due = due; arrived() }
        fi
    :: else -> break
    od
}
