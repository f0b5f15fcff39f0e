/* The decrees after the founding, apart from their code: each names the voters of the next one. Members 0 to 3
 * are real. Others are made keys, which nobody named, and one named voter may lie (member 2).
 *
 * A decree has one of two values, each of which also says who decides the next: value 0 the members 0, 1 and 2,
 * value 1 member 3 alone. So two successive sets of voters may have nobody in common. The founding is decided, for
 * either of them, and members hear of it when they do; election.pml checks it, and crashes and disks.
 *
 * As there, a reader may act on whatever was ever published, in any order. An honest ballot offers one value. Made
 * keys and the liar have signed every accept that there can be, and the liar promises every ballot and tells any
 * accept with it, or none. It may drive any of the ballots, and offers both values at those.
 *
 *   BALLOTS  how many attempts there are for each decree
 *   DECREES  how many decrees after the founding
 *   LIAR     1: member 2 lies; the founding names the members 0, 1 and 2
 *   REASONS  the values, as a set, that honest voters may see a reason for: 1: value 0 only; 3: both
 *   ONLY     the number of the one property that is checked; 0: all
 * Rules that may be left out:
 *   UNNAMED_COUNT       accepts of keys that were not named count
 *   CERTIFICATE_ITSELF  a certificate is believed for the voters that it names itself
 *   NO_REASON_ASKED     a voter accepts whatever it is offered
 *   BACKED_BY_ONE       one other voter's accept is reason enough
 *   HIGHEST_ALWAYS      the highest accept told is offered again, though it cannot have been decided
 *   UNHEARD_NOT_COUNTED, HIGHER_NOT_COUNTED  whether an accept may have been decided leaves out the voters that
 *                       were not heard, or those that tell of a higher ballot
 */

#ifndef BALLOTS
#define BALLOTS 2
#endif
#ifndef DECREES
#define DECREES 1
#endif
#ifndef LIAR
#define LIAR 0
#endif
#ifndef REASONS
#define REASONS 3
#endif
#ifndef ONLY
#define ONLY 0
#endif
#define MEMBERS 4
#define LIES(member) (LIAR && (member) == 2)

#define ONE_VALUE 1
#define PROVEN 2
#define REASONED 3
#define UNMOVED 4
#define HOLDS(property, condition) assert(!(ONLY == 0 || ONLY == property) || (condition))

/* A vote is its ballot and its value in one number; 0 is none. */
#define VOTES (2 * BALLOTS + 2)
#define VOTE(ballot, value) ((ballot) * 2 + (value))
#define BALLOT(vote) ((vote) >> 1)
#define VALUE(vote) ((vote) & 1)

#define IN(set, member) (((set) >> (member)) & 1)
#define COUNT(set) (IN(set, 0) + IN(set, 1) + IN(set, 2) + IN(set, 3) + IN(set, 4) + IN(set, 5))
#define NAMED(value) ((value) == 0 -> 7 : 8)
#define MAJORITY(value) ((value) == 0 -> 2 : 1)
#define MADE_KEYS 48
#define LIARS (LIAR * 4)

#define AT(member, decree) ((member) * DECREES + (decree))
#define FOR(ballot, decree) ((decree) * BALLOTS + (ballot) - 1)
/* The accepts of a vote in a decree that those whom `named` names decide: that is signed with it. */
#define VOTERS(vote, named, decree) votes[((decree) * 2 + (named)) * VOTES + (vote)]
#define ACCEPTS(vote, named, decree) (VOTERS(vote, named, decree) | MADE_KEYS | LIARS)
#ifdef UNNAMED_COUNT
#define COUNTED(set, named) (set)
#else
#define COUNTED(set, named) ((set) & NAMED(named))
#endif
#define DECIDED(vote, named, decree) (COUNT(COUNTED(ACCEPTS(vote, named, decree), named)) >= MAJORITY(named))

byte founding;                              /* the value of the founding: who decides the first decree */
bool heard[MEMBERS];                        /* who knows of it */
byte promised[MEMBERS * DECREES], accepted[MEMBERS * DECREES];
byte known[MEMBERS * DECREES];              /* 1 + the value that a member has a certificate of */
byte told[MEMBERS * DECREES * BALLOTS];     /* 1 + the accept that a member told with its promise */
byte proposal[DECREES * BALLOTS];           /* 1 + the value that a ballot offers */
byte lying;                                 /* a set of ballots: those that the liar drives */
byte votes[DECREES * 2 * VOTES];            /* sets of honest members */
byte truth[DECREES];                        /* 1 + the value that was decided */

#define TOLD(ballot, decree, member) told[FOR(ballot, decree) * MEMBERS + (member)]

byte m, d, e, b, v, w, x, y, i, j, set, same, higher, keep;
byte said[MEMBERS];

/* A step that cannot be taken changes nothing. */
#define NEED(condition) if :: (condition) :: else -> goto done fi
#define TAKE(variable, bound) variable = 0; do :: variable < bound - 1 -> variable++ :: break od

/* Who decides decree d, as member m knows it. */
inline electorate() {
    if
    :: d == 0 -> NEED(heard[m]); e = founding
    :: else -> NEED(known[AT(m, 0)] > 0); e = known[AT(m, 0)] - 1
    fi
}

/* The accept that may have been decided, of those in `said` (1 + the accept; 0: not heard). */
inline decree_to_keep() {
    d_step {
        keep = 0; i = 0;
        do
        :: i < MEMBERS ->
            if
            :: said[i] > 1 && said[i] - 1 > keep ->
                same = 0; higher = 0; j = 0;
                do
                :: j < MEMBERS ->
                    if
                    :: said[j] == said[i] -> same++
                    :: said[j] > 1 && BALLOT(said[j] - 1) > BALLOT(said[i] - 1) && VALUE(said[j] - 1) == VALUE(said[i] - 1) -> higher++
                    :: else
                    fi;
                    j++
                :: else -> break
                od;
                j = COUNT(NAMED(e)) - COUNT(set);
#ifdef UNHEARD_NOT_COUNTED
                j = 0;
#endif
#ifdef HIGHER_NOT_COUNTED
                higher = 0;
#endif
                if
#ifdef HIGHEST_ALWAYS
                :: true -> keep = said[i] - 1
#else
                :: same + higher + j >= MAJORITY(e) -> keep = said[i] - 1
                :: else
#endif
                fi
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0; j = 0; same = 0; higher = 0
    }
}

/* Whether so many others that one of them is to be believed have accepted the value. */
#ifdef BACKED_BY_ONE
#define BACKERS 1
#else
#define BACKERS 2
#endif
inline backers() {
    d_step {
        y = 0; i = 1;
        do
        :: i <= BALLOTS -> y = y | COUNTED(ACCEPTS(VOTE(i, v), e, d), e); i++
        :: else -> break
        od;
        y = y & (255 - (1 << m)); i = 0
    }
}

active proctype world() {
    atomic {
        if
        :: founding = 0
        :: !LIAR -> founding = 1
        fi;
        if
        :: LIAR -> TAKE(lying, (1 << BALLOTS))
        :: else
        fi
    }
end:
    do
    :: atomic {
        TAKE(m, MEMBERS); TAKE(d, DECREES);
        if
        /* A member hears of the founding. */
        :: d == 0 && !heard[m] -> heard[m] = true

        /* A voter promises, and tells what it has accepted. */
        :: known[AT(m, d)] == 0 && !LIES(m) ->
            electorate(); NEED(IN(NAMED(e), m));
            TAKE(b, BALLOTS); b++;
            NEED(b > promised[AT(m, d)]);
            promised[AT(m, d)] = b;
            TOLD(b, d, m) = accepted[AT(m, d)] + 1

        /* A voter accepts. */
        :: known[AT(m, d)] == 0 && !LIES(m) ->
            electorate(); NEED(IN(NAMED(e), m));
            TAKE(b, BALLOTS); b++; TAKE(v, 2);
            NEED(proposal[FOR(b, d)] == v + 1 || IN(lying, b - 1));
            NEED(b >= promised[AT(m, d)] && b > BALLOT(accepted[AT(m, d)]));
#ifndef NO_REASON_ASKED
            if
            :: IN(REASONS, v)
            :: else ->
                backers();
                NEED((accepted[AT(m, d)] > 0 && VALUE(accepted[AT(m, d)]) == v) || COUNT(y) >= BACKERS)
            fi;
#endif
            promised[AT(m, d)] = b;
            accepted[AT(m, d)] = VOTE(b, v);
            VOTERS(VOTE(b, v), e, d) = VOTERS(VOTE(b, v), e, d) | (1 << m);
            HOLDS(REASONED, IN(REASONS, v));
            if
            :: DECIDED(VOTE(b, v), e, d) ->
                HOLDS(ONE_VALUE, truth[d] == 0 || truth[d] == v + 1);
                truth[d] = v + 1
            :: else
            fi

        /* The promises of a majority of the voters fix what an honest ballot offers. */
        :: !LIES(m) && known[AT(m, d)] == 0 ->
            electorate(); NEED(IN(NAMED(e), m));
            TAKE(b, BALLOTS); b++;
            NEED(proposal[FOR(b, d)] == 0 && !IN(lying, b - 1));
            TAKE(set, 16);
            NEED((set & NAMED(e)) == set && COUNT(set) >= MAJORITY(e));
            x = 0;
            do
            :: x < MEMBERS ->
                if
                :: !IN(set, x)
                :: IN(set, x) && LIES(x) ->
                    /* It has accepted whatever it likes, or nothing. */
                    TAKE(w, VOTES);
                    NEED(w != 1 && BALLOT(w) < b);
                    said[x] = w + 1
                :: IN(set, x) && !LIES(x) ->
                    NEED(TOLD(b, d, x) > 0);
                    said[x] = TOLD(b, d, x)
                fi;
                x++
            :: else -> break
            od;
            decree_to_keep();
            if
            :: keep > 0 -> v = VALUE(keep)
            :: else -> TAKE(v, 2); NEED(IN(REASONS, v))
            fi;
            proposal[FOR(b, d)] = v + 1;
            /* Where all voters are heard, what a liar made up moves nobody. */
            HOLDS(UNMOVED, set != NAMED(e) || IN(REASONS, v))

        /* A member sees a certificate, and acts on it from now on. */
        :: known[AT(m, d)] == 0 ->
            electorate(); TAKE(v, 2); TAKE(b, BALLOTS); b++;
#ifdef CERTIFICATE_ITSELF
            NEED(COUNT(ACCEPTS(VOTE(b, v), e, d)) >= MAJORITY(e));
#else
            NEED(DECIDED(VOTE(b, v), e, d));
#endif
            known[AT(m, d)] = v + 1;
            promised[AT(m, d)] = 0; accepted[AT(m, d)] = 0;
            HOLDS(PROVEN, COUNT((VOTERS(VOTE(b, v), e, d) | LIARS) & NAMED(e)) >= MAJORITY(e))
        fi;
done:   skip;
        d_step {
            m = 0; d = 0; e = 0; b = 0; v = 0; w = 0; x = 0; y = 0; set = 0; keep = 0;
            said[0] = 0; said[1] = 0; said[2] = 0; said[3] = 0
        }
    }
    od
}
