"""Hurts a cluster of real agents at random, heals it, and looks from outside whether it is still one cluster.

    scripts/test chaos [--minutes M] [--seed S] [--nodes N] [-o FILE.json]
    scripts/test chaos --failovers N [-o FILE.json]

Lives of some two minutes follow one another until the time is over: of clusters with one server, and with three. A
life begins with new nodes that start while they are already being hurt. It goes on in rounds: faults of one or two
kinds, some seconds of them, healed, and then the time until all is well again. What is looked at is what people and
K3s see: `status` of each node, who carries the API address, what each node's K3s was started as and which cluster it
is of, who joined it, and pings between all pairs.

With --failovers the holder of the API address is hurt N times: failovers.py.
"""

import argparse
import collections
import json
import os
import random
import secrets
import signal
import statistics
import sys
import time

import failovers
from lab import program
from lab.cluster import Cluster
from lab.injuries import ALONE, CUTS, KINDS, Injuries
from lab.life import HIGH_AVAILABILITY, Life
from lab.node import LAN_CONFIG
from lab.strain import Strain

LIFE_SECONDS = 110
SERVERS = 3


class Chaos:
    def __init__(self, options, note):
        self.options, self.note = options, note
        # Which kinds come in which order does not hang on how many dice a life had time for.
        self.kind_dice, self.server_dice = random.Random(f"{options.seed}/kinds"), random.Random(f"{options.seed}/servers")
        self.begin, self.strain = time.monotonic(), Strain()
        self.faults, self.recoveries = collections.Counter(), collections.defaultdict(list)
        self.moves = collections.defaultdict(list)
        self.violations, self.ended, self.lives, self.looks = [], collections.Counter(), collections.Counter(), 0
        self.samples, self.longest, self.longest_waking = 0, 0.0, 0.0
        self.formed, self.bag, self.servers = collections.defaultdict(list), [], []

    def left(self):
        return self.options.minutes * 60 - (time.monotonic() - self.begin)

    def run(self):
        # Two lives at least, as there are two kinds of cluster.
        seconds = min(LIFE_SECONDS, self.options.minutes * 60 / 2)
        while self.left() > 30 or not self.lives:
            self.live(min(seconds, self.left()))
        self.strain.stop()

    def live(self, seconds):
        self.servers = self.servers or self.server_dice.sample((1, SERVERS), 2)
        count, servers = self.options.nodes, self.servers.pop()
        minimum, number = count // 2 + 1, self.lives.total() + 1
        self.lives[servers] += 1
        self.note(f"life {number}: {count} new nodes, minimum_nodes {minimum}, {servers} to be servers")
        end, token = time.monotonic() + seconds, program.new_token()
        config = LAN_CONFIG.format(minimum=minimum, token=token).rstrip()
        if servers > 1:
            config += HIGH_AVAILABILITY.format(further=servers - 1)
        dice = random.Random(f"{self.options.seed}/life {number}")
        with Cluster(count, name="chaos", minimum=minimum, token=token, config=config + "\n") as cluster:
            life = Life(cluster, servers, self.strain, self.note)
            try:
                life.begin()
                injuries = Injuries(life, dice)
                self.birth(life, injuries, dice)
                # The last round needs its time to recover.
                while time.monotonic() < end - 15 and not life.violations:
                    self.round(life, injuries, dice)
                for kind, taken in injuries.moves:
                    self.moves[kind].append(taken)
            finally:
                life.end()
                self.violations += [(number, *violation) for violation in life.violations]
                self.ended.update(life.ended)
                self.looks += life.looks
                if life.carriers:
                    self.samples += life.carriers.samples
                    self.longest = max(self.longest, life.carriers.longest)
                    self.longest_waking = max(self.longest_waking, life.carriers.longest_waking)
                if life.violations and os.environ.get("KAIROS_KEEP"):
                    self.note(f"the nodes' directories stay in {cluster.directory}")

    def birth(self, life, injuries, dice):
        """The nodes start, and form a cluster while they are hurt: all is over within a second or two otherwise."""
        # Nobody holds the API address yet.
        kinds = self.kinds(dice, without=ALONE)
        cut = [kind for kind in kinds if kind in CUTS]
        healers = [self.hurt(injuries, kind) for kind in cut]
        for patient in life.patients:
            patient.start()
        time.sleep(dice.uniform(0, 0.8))
        healers += [self.hurt(injuries, kind) for kind in kinds if kind not in cut]
        taken = self.heal(life, healers, dice)
        if taken is not None:
            self.formed[life.asked].append(taken)

    def round(self, life, injuries, dice):
        time.sleep(dice.uniform(0, 3))
        kinds = self.kinds(dice)
        taken = self.heal(life, [self.hurt(injuries, kind) for kind in kinds], dice)
        if taken is not None:
            for kind in kinds:
                self.recoveries[kind].append(taken)

    def kinds(self, dice, without=frozenset()):
        """One or two kinds. Each comes up before any comes again, but those that have to wait for another time."""
        chosen = []
        for _ in range(dice.choice((1, 1, 2))):
            if set(self.bag) <= without:
                self.bag = self.kind_dice.sample(KINDS, len(KINDS)) + self.bag
            while self.bag[-1] in without:
                self.bag.insert(0, self.bag.pop())
            next_kind = self.bag[-1]
            if next_kind in chosen or (chosen and ALONE & {next_kind, *chosen}) or (CUTS & {*chosen} and next_kind in CUTS):
                break
            chosen.append(self.bag.pop())
        return chosen

    def hurt(self, injuries, kind):
        self.faults[kind] += 1
        return injuries.hurt(kind)

    def heal(self, life, healers, dice):
        """Lets the faults be for some seconds, ends them, and gives the seconds until all is well, if it ever is."""
        time.sleep(dice.uniform(1, 15))
        for heal in healers:
            heal()
        taken = life.recover()
        if taken is not None:
            self.note(f"  healed; well again after {taken:.1f} s")
        return taken

    def table(self):
        lines = ["| fault | injected | well again after, s (median) | worst |", "|---|---:|---:|---:|"]
        for kind in KINDS:
            lines.append(f"| {kind.replace('_', ' ')} | {self.faults[kind]} | {median_and_worst(self.recoveries[kind])} |")
        lines += ["", "| API address moved, seconds from | times | median | worst |", "|---|---:|---:|---:|"]
        for kind, times in sorted(self.moves.items()):
            lines.append(f"| {kind.replace('_', ' ')} | {len(times)} | {median_and_worst(times)} |")
        return "\n".join(lines)

    def summary(self):
        return (
            f"{self.lives.total()} lives ({self.lives[SERVERS]} with {SERVERS} servers), {self.looks} looks at all nodes, "
            f"{self.samples} at the API address, {self.faults.total()} faults, exits {dict(self.ended)}\n"
            f"violations: {len(self.violations)}; again with --seed {self.options.seed}"
        )

    def document(self):
        return {
            "seed": self.options.seed, "minutes": self.options.minutes, "nodes": self.options.nodes,
            "lives": {str(servers): number for servers, number in self.lives.items()}, "looks": self.looks,
            "api_address_samples": self.samples, "faults": dict(self.faults),
            "recovery_seconds": dict(self.recoveries), "api_address_moved_seconds": dict(self.moves),
            "formation_under_faults_seconds": {str(servers): times for servers, times in self.formed.items()},
            "exits": {str(code): number for code, number in self.ended.items()},
            "longest_two_carriers_seconds": self.longest,
            "longest_two_carriers_while_one_woke_seconds": self.longest_waking, "strain": self.strain.document(),
            "violations": [list(violation) for violation in self.violations],
        }  # fmt: skip


def median_and_worst(times):
    return f"{statistics.median(times):.1f} | {max(times):.1f}" if times else "– | –"


def machine():
    return {"processors": os.cpu_count(), "kernel": os.uname().release, "load": os.getloadavg()}


def main():
    parser = argparse.ArgumentParser(prog="scripts/test chaos")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--failovers", type=int, default=0)
    parser.add_argument("-o", dest="output")
    options = parser.parse_args()
    if not (0.1 <= options.minutes <= 600 and 5 <= options.nodes <= 20 and 0 <= options.failovers <= 1000):
        parser.error("--minutes takes 0.1 to 600, --nodes 5 to 20, --failovers 1 to 1000")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    begin = time.monotonic()

    def note(text):
        print(f"{time.monotonic() - begin:7.1f} s  {text}", flush=True)

    if options.failovers:
        print(f"chaos: {options.failovers} failovers of the API address, {options.nodes} nodes", flush=True)
        run = failovers.Failovers(options, note)
    else:
        print(f"chaos: seed {options.seed}, {options.minutes:g} minutes, {options.nodes} nodes", flush=True)
        run = Chaos(options, note)
    try:
        run.run()
    except KeyboardInterrupt:
        return 130
    print(f"\n{run.table()}\n\n{run.summary()}")
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({**run.document(), "machine": machine()}, file, indent=1)
            file.write("\n")
    return 1 if run.violations else 0


if __name__ == "__main__":
    sys.exit(main())
