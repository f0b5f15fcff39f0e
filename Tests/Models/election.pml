/* The election apart from its code: three members, two of which propose, decide decree 1 (who founds the
 * cluster) and decree 2, in which "the cluster runs" and "the next epoch, another founder" compete.
 *
 * Every step below may happen at any time: reading, writing to disk, publishing, a crash between any two.
 * The ledger brings a reader each member's newest register, late. Here a reader may act on any register that
 * was ever published, in any order, again and again: more than the ledger can do to it. A crash takes what is
 * not on disk, and is free: at any moment, any number of times. What a member tells from its own view (the
 * founder is gone, not my turn) is a free choice, and so is not answering.
 *
 * election.sh says which properties are checked, and which of the -D switches breaks which of them.
 *   BALLOTS   how many attempts there are for each decree; odd ones are member 0's, even ones member 1's
 *   DECREES   1: the founding alone; 2: both
 *   COARSE    1: what changes in memory is on disk and published in the same step. That loses nothing but
 *             time: a register that nobody has read is as good as unpublished, and what a crash takes from
 *             memory was never answered. 0 goes through the steps one by one, and can afford one decree.
 *   ONLY      the number of the one property that is checked; 0: all
 */

#ifndef BALLOTS
#define BALLOTS 2
#endif
#ifndef DECREES
#define DECREES 2
#endif
#ifndef ONLY
#define ONLY 0
#endif
#ifndef COARSE
#define COARSE 0
#endif
#ifndef QUORUM
#define QUORUM 2
#endif
#define MEMBERS 3
/* With two decrees the first one, checked on its own, is decided in one attempt of member 0. */
#define LAST(decree) (DECREES == 2 && (decree) == 0 -> 1 : BALLOTS)
#define PROPOSERS 2

/* A vote is its ballot and its value in one number; 0 is none. */
#define VOTES (2 * BALLOTS + 2)
#define VOTE(ballot, value) ((ballot) * 2 + (value))
#define BALLOT(vote) ((vote) >> 1)
#define VALUE(vote) ((vote) & 1)

/* The values of decree 1 are the members 0 and 1. Those of decree 2: */
#define RUNNING 0
#define NEXT 1

#define COUNT(set) (((set) & 1) + (((set) >> 1) & 1) + (((set) >> 2) & 1))
#define IN(set, member) (((set) >> (member)) & 1)
/* One place for each member and decree. */
#define AT(member, decree) ((member) * DECREES + (decree))
#define FOR(ballot, decree) ((decree) * (BALLOTS + 1) + (ballot))

#define ONE_VALUE 1
#define NO_SECOND_CLUSTER 2
#define JOINED_FOR_GOOD 3
#define DECIDED_STAYS 4
#define HOLDS(property, condition) assert(!(ONLY == 0 || ONLY == property) || (condition))

/* What each member has in memory, and what of it is on disk. */
byte promised[MEMBERS * DECREES], promised_disk[MEMBERS * DECREES];
byte accepted[MEMBERS * DECREES], accepted_disk[MEMBERS * DECREES];
byte driven[PROPOSERS * DECREES], driven_disk[PROPOSERS * DECREES];
/* The attempt a proposer drives: its ballot, and 1 + its value once promises have fixed it. */
byte attempt[PROPOSERS * DECREES], proposal[PROPOSERS * DECREES];
/* 1 + the value that a member has a certificate of, on its disk. */
byte known[MEMBERS * DECREES];

/* All that was ever published. */
bool prepare[DECREES * (BALLOTS + 1)];
byte propose[DECREES * (BALLOTS + 1)];                      /* a set of values */
short promises[DECREES * (BALLOTS + 1) * MEMBERS];          /* a set of the votes that were told with it */
byte votes[DECREES * VOTES];                                /* a set of members */

/* Which members' K3s founded a cluster for epoch 1, and which joined it. */
byte founded, joined;

#define PROMISES(ballot, decree, member) promises[FOR(ballot, decree) * MEMBERS + (member)]
#define VOTERS(vote, decree) votes[(decree) * VOTES + (vote)]

byte m, d, b, v, w, x, y, other;

inline decided(decree, value, result) {
    d_step {
        result = 0;
        b = 1;
        do
        :: b <= BALLOTS ->
            if
            :: COUNT(VOTERS(VOTE(b, value), decree)) >= QUORUM -> result = b
            :: else
            fi;
            b++
        :: else -> break
        od;
        b = 0
    }
}

inline forget_memory(member, decree) {
    promised[AT(member, decree)] = promised_disk[AT(member, decree)];
    accepted[AT(member, decree)] = accepted_disk[AT(member, decree)];
    if
    :: member < PROPOSERS ->
        driven[AT(member, decree)] = driven_disk[AT(member, decree)];
        attempt[AT(member, decree)] = 0;
        proposal[AT(member, decree)] = 0
    :: else
    fi
}

/* Takes part in a decree: knows its predecessor, and not yet this one. */
#define VOTING(member, decree) \
    (known[AT(member, decree)] == 0 && (decree == 0 || known[AT(member, 0)] > 0))

inline publish(member, decree, promise, vote) {
    if
    :: promise > 0 && BALLOT(vote) < promise ->
        PROMISES(promise, decree, member) = PROMISES(promise, decree, member) | (1 << vote)
    :: else
    fi;
    if
    :: vote > 0 -> VOTERS(vote, decree) = VOTERS(vote, decree) | (1 << member)
    :: else
    fi
}

inline tell(member, decree) {
    b = attempt[AT(member, decree)];
    if
    :: proposal[AT(member, decree)] == 0 -> prepare[FOR(b, decree)] = true
    :: else -> propose[FOR(b, decree)] = propose[FOR(b, decree)] | (1 << (proposal[AT(member, decree)] - 1))
    fi
}

#ifdef ROUND_FORGOTTEN
#define MAY_TELL_ATTEMPT(member, decree) true
#else
#define MAY_TELL_ATTEMPT(member, decree) (driven_disk[AT(member, decree)] >= attempt[AT(member, decree)])
#endif

#ifdef JOIN_EARLY
#define MAY_JOIN(member) true
#else
#define MAY_JOIN(member) (known[AT(member, 1)] == RUNNING + 1)
#endif
#ifdef EPOCH_WITHOUT_DECREE
#define MAY_FOUND_AGAIN(member) true
#else
#define MAY_FOUND_AGAIN(member) (known[AT(member, 1)] == NEXT + 1)
#endif

/* A step that cannot be taken changes nothing. */
#define NEED(condition) if :: (condition) :: else -> goto done fi
#define TAKE(variable, bound) variable = 0; do :: variable < bound - 1 -> variable++ :: break od

active proctype world() {
end:
    do
    :: atomic {
        /* Who takes the next step, and in which decree. */
        TAKE(m, MEMBERS); TAKE(d, DECREES);
        if
        /* A member answers a prepare request. */
        :: VOTING(m, d) ->
            TAKE(b, BALLOTS); b++;
            NEED(prepare[FOR(b, d)] && b > promised[AT(m, d)]);
            promised[AT(m, d)] = b

        /* A member accepts. */
        :: VOTING(m, d) ->
            TAKE(b, BALLOTS); b++; TAKE(v, 2);
            NEED(IN(propose[FOR(b, d)], v) && b >= promised[AT(m, d)] && b > BALLOT(accepted[AT(m, d)]));
            promised[AT(m, d)] = b;
            accepted[AT(m, d)] = VOTE(b, v)

        /* A member's memory goes to its disk, whole. */
        :: !COARSE ->
            promised_disk[AT(m, d)] = promised[AT(m, d)];
            accepted_disk[AT(m, d)] = accepted[AT(m, d)];
            if
            :: m < PROPOSERS -> driven_disk[AT(m, d)] = driven[AT(m, d)]
            :: else
            fi

        /* A member's register is published. */
        :: !COARSE ->
#ifdef PUBLISH_FIRST
            x = promised[AT(m, d)]; w = accepted[AT(m, d)];
#else
            x = promised_disk[AT(m, d)]; w = accepted_disk[AT(m, d)];
#endif
            publish(m, d, x, w)

        /* A member loses power. */
        :: true ->
            forget_memory(m, 0);
            if
            :: DECREES == 2 -> forget_memory(m, DECREES - 1)
            :: else
            fi

        /* A proposer begins its next attempt. */
        :: m < PROPOSERS && VOTING(m, d) ->
            b = (driven[AT(m, d)] == 0 -> m + 1 : driven[AT(m, d)] + PROPOSERS);
            NEED(b <= LAST(d));
            driven[AT(m, d)] = b;
            attempt[AT(m, d)] = b;
            proposal[AT(m, d)] = 0

        /* A proposer tells its attempt: a prepare request, or the value. */
        :: !COARSE && m < PROPOSERS && attempt[AT(m, d)] > 0 && MAY_TELL_ATTEMPT(m, d) ->
            tell(m, d)

        /* The promises of a quorum fix a proposer's value: that of the highest vote told with them, else
         * what it wants. */
        :: m < PROPOSERS && VOTING(m, d) && attempt[AT(m, d)] > 0 && proposal[AT(m, d)] == 0 ->
            b = attempt[AT(m, d)];
            TAKE(x, MEMBERS); TAKE(w, VOTES);
            NEED((PROMISES(b, d, x) >> w) & 1);
#if QUORUM > 1
            TAKE(other, MEMBERS); TAKE(y, VOTES);
            NEED(other != x && ((PROMISES(b, d, other) >> y) & 1));
            w = (y > w -> y : w);
#endif
#ifdef HIGHEST_FORGOTTEN
            w = 0;
#endif
            if
            :: w > 0 -> v = VALUE(w)
            :: w == 0 && d == 0 -> TAKE(v, 2)
            :: w == 0 && d == 1 && known[AT(m, 0)] == m + 1 && IN(founded, m) -> v = RUNNING
            :: w == 0 && d == 1 && known[AT(m, 0)] != m + 1 -> v = NEXT
            :: else -> goto done
            fi;
            proposal[AT(m, d)] = v + 1;
            /* Once one value is decided, no later attempt may offer another. */
            y = b;
            decided(d, 1 - v, x);
            HOLDS(DECIDED_STAYS, x == 0 || x >= y)

        /* A member sees the votes of a quorum, and has them on its disk. */
        :: known[AT(m, d)] == 0 && (d == 0 || known[AT(m, 0)] > 0) ->
            TAKE(v, 2);
            decided(d, v, x);
            NEED(x > 0);
            known[AT(m, d)] = v + 1;
            /* It votes and proposes no more: what it still remembers of the decree is of no use. */
            promised_disk[AT(m, d)] = 0;
            accepted_disk[AT(m, d)] = 0;
            if
            :: m < PROPOSERS -> driven_disk[AT(m, d)] = 0
            :: else
            fi;
            forget_memory(m, d)

        /* K3s of the founder founds the cluster of epoch 1, unless it knows of the next epoch. */
        :: d == 0 && known[AT(m, 0)] == m + 1 && !IN(founded, m) && (DECREES == 1 || known[AT(m, DECREES - 1)] != NEXT + 1) ->
            founded = founded | (1 << m);
            HOLDS(ONE_VALUE, COUNT(founded) <= 1)

#if DECREES == 2
        /* K3s of another member joins it. */
        :: d == 1 && known[AT(m, 0)] > 0 && known[AT(m, 0)] != m + 1 && !IN(joined, m) && MAY_JOIN(m) ->
            NEED(known[AT(m, 1)] != NEXT + 1);
            joined = joined | (1 << m)

        /* K3s of the next epoch's founder founds another cluster. */
        :: d == 1 && known[AT(m, 0)] > 0 && known[AT(m, 0)] != m + 1 && MAY_FOUND_AGAIN(m) ->
            decided(1, RUNNING, x);
            HOLDS(NO_SECOND_CLUSTER, x == 0);
            HOLDS(JOINED_FOR_GOOD, joined == 0)
#endif
        fi;

done:
        if
        :: COARSE && VOTING(m, d) ->
            promised_disk[AT(m, d)] = promised[AT(m, d)];
            accepted_disk[AT(m, d)] = accepted[AT(m, d)];
            publish(m, d, promised_disk[AT(m, d)], accepted_disk[AT(m, d)]);
            if
            :: m < PROPOSERS ->
                driven_disk[AT(m, d)] = driven[AT(m, d)];
                if
                :: attempt[AT(m, d)] > 0 -> tell(m, d)
                :: else
                fi
            :: else
            fi
        :: else
        fi;
        /* After every step: no decree has two decided values. */
        d_step {
            decided(0, 0, x); decided(0, 1, y);
            HOLDS(ONE_VALUE, x == 0 || y == 0);
#if DECREES == 2
            decided(1, RUNNING, x); decided(1, NEXT, y);
            HOLDS(ONE_VALUE, x == 0 || y == 0);
            HOLDS(JOINED_FOR_GOOD, y == 0 || joined == 0);
#endif
            m = 0; d = 0; b = 0; v = 0; w = 0; x = 0; y = 0; other = 0
        }
    }
    od
}
