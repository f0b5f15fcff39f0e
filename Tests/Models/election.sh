#!/usr/bin/env bash
# Checks the models of the election with spin: that its properties hold in every reachable state, and that each
# of them breaks when the rule that it hangs on is left out. Needs spin and gcc. Ends with "N checked, N failed".
set -uo pipefail
models=$(cd "$(dirname "$0")" && pwd)
model=$models/election.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
checked=0 failed=0

# search NAME holds|breaks SWITCH…: all states, in at most 2 minutes and 4 GB.
search() {
    local name=$1 wanted=$2 report found
    shift 2
    checked=$((checked + 1))
    cd "$work" && rm -f ./*
    spin -a "$@" "$model" >translate.log 2>&1 &&
        gcc -O2 -DSAFETY -DCOLLAPSE -DNOFAIR -DMEMLIM=4000 -o pan pan.c 2>compile.log || {
        cat translate.log compile.log; failed=$((failed + 1)); echo "FAILED: $name: no checker was built"; return
    }
    timeout 240 ./pan -E -m400000 -w23 >report 2>&1
    report=$(cat report)
    case "$report" in
        *"assertion violated"*) found=breaks ;;
        *"max search depth too small"* | *"out of memory"* | *"Search not completed"*) found="not all seen" ;;
        *"errors: 0"*) found=holds ;;
        *) found="not all seen" ;;
    esac
    if [ "$found" = "$wanted" ]; then
        echo "$name: $found, as it should ($(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' report) states)"
    else
        failed=$((failed + 1))
        echo "FAILED: $name: $found"
        head -n 20 report
    fi
}

search "one decree, each step alone" holds -DDECREES=1 -DBALLOTS=2
search "one decree, three attempts" holds -DDECREES=1 -DBALLOTS=3 -DCOARSE=1
search "two decrees" holds -DDECREES=2 -DBALLOTS=2 -DCOARSE=1
# Each property, with the rule left out that it hangs on.
search "one value, votes published before they are on disk" breaks -DDECREES=1 -DONLY=1 -DPUBLISH_FIRST
search "one value, a quorum of one in three" breaks -DDECREES=1 -DONLY=1 -DQUORUM=1
search "one value, rounds not on disk" breaks -DDECREES=1 -DONLY=1 -DROUND_FORGOTTEN
search "a decided value stays, the highest vote forgotten" breaks -DDECREES=1 -DONLY=4 -DCOARSE=1 -DHIGHEST_FORGOTTEN
search "no second cluster, an epoch without a decree" breaks -DONLY=2 -DCOARSE=1 -DEPOCH_WITHOUT_DECREE
search "joined for good, joined before the cluster runs" breaks -DONLY=3 -DCOARSE=1 -DJOIN_EARLY

# The decrees after the founding: named voters, made keys, a voter that lies.
model=$models/election-voters.pml
search "named voters, two attempts, made keys" holds -DBALLOTS=2
search "named voters, three attempts, made keys" holds -DBALLOTS=3
search "two decrees, one attempt each, whose voters have nobody in common" holds -DDECREES=2 -DBALLOTS=1
search "a lying voter, reasons for one value" holds -DLIAR=1 -DREASONS=1
search "a lying voter, three attempts" holds -DLIAR=1 -DREASONS=1 -DBALLOTS=3
search "one value, keys that nobody named count" breaks -DONLY=1 -DUNNAMED_COUNT
search "proven, a certificate believed for its own voters" breaks -DONLY=2 -DCERTIFICATE_ITSELF
search "nothing without a reason, no reason asked" breaks -DLIAR=1 -DREASONS=1 -DONLY=3 -DNO_REASON_ASKED
search "nothing without a reason, one other is believed" breaks -DLIAR=1 -DREASONS=1 -DONLY=3 -DBACKED_BY_ONE
search "not moved by a liar, the highest accept always kept" breaks -DLIAR=1 -DREASONS=1 -DONLY=4 -DHIGHEST_ALWAYS
search "one value, voters that were not heard left out" breaks -DONLY=1 -DUNHEARD_NOT_COUNTED
search "one value, those that tell of a higher ballot left out" breaks -DONLY=1 -DBALLOTS=3 -DHIGHER_NOT_COUNTED
# What the election does not promise.
search "one value, a lying voter and reasons for both values" breaks -DLIAR=1 -DONLY=1

echo "$checked checked, $failed failed"
[ "$failed" = 0 ]
