"""Hurts a cluster of real agents at random, heals it, and looks from outside whether it is still one cluster.

    scripts/test chaos [--minutes M] [--seed S] [--nodes N] [-o FILE.json]

Lives of some two minutes follow one another until the time is over. A life begins with new nodes that start while
they are already being hurt. It goes on in rounds: faults of one or two kinds, some seconds of them, healed, and then
the time until all is well again. What is looked at is what people and K3s see: `status` of each node, what each
node's K3s was started as, who joined it, and pings between all pairs.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import random
import secrets
import signal
import statistics
import sys
import threading
import time

from lab.cluster import Cluster
from lab.faults import Patient
from lab.status import Status
from lab.waiting import TimedOut, wait_until

LIFE_SECONDS = 110
RECOVERY_SECONDS = 90
LOOK_SECONDS = 0.7
CUTS = ("partition", "one_way")
FOUNDERS = ("master", "master/clusterinit")




class Life:
    """One cluster from nothing to its end. `note` gets each event as a line."""

    def __init__(self, cluster, dice, note):
        self.cluster, self.dice, self.note = cluster, dice, note
        self.patients = []
        # What was ever seen, by node number; nothing of it may ever differ.
        self.founders, self.servers, self.addresses, self.peers = set(), set(), {}, {}
        self.violations, self.ended, self.looks = [], collections.Counter(), 0
        self.healed = 0.0
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=2 * cluster.count)

    # What is true at every moment.

    def look(self):
        """One look at all nodes, and everything that must hold at any time."""
        documents = list(self.pool.map(document_of, self.patients))
        for patient, document in zip(self.patients, documents):
            status = Status(document)
            if status.up:
                self.look_at(patient, status)
            if (patient.node.k3s_record() or {}).get("command") == "server":
                self.servers.add(patient.number)
        if len(self.founders) > 1:
            self.violate("two founders", f"nodes {sorted(self.founders)} both say that they founded the cluster")
        if len(self.servers) > 1:
            self.violate("two clusters", f"K3s was started as a server on nodes {sorted(self.servers)}")
        self.looks += 1
        return [Status(document) for document in documents]

    def look_at(self, patient, status):
        number = patient.number
        if status.role in FOUNDERS:
            self.founders.add(number)
        for what, known, value in (("address", self.addresses, status.address), ("peer ID", self.peers, status.peer)):
            if value and known.setdefault(number, value) != value:
                self.violate(f"a changed {what}", f"node {number} had {known[number]} and now has {value}")

    def violate(self, kind, text):
        with self.lock:
            if (kind, text) not in self.violations:
                self.violations.append((kind, text))
                self.note(f"VIOLATION: {kind}: {text}")

    def watch(self):
        """Looks again and again, and starts an agent that ended by itself, as systemd would."""
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.look()
                for patient in self.patients:
                    if patient.ended_by_itself():
                        code = patient.node.process.returncode
                        self.ended[code] += 1
                        last = (patient.node.log(1) or "").strip()
                        self.note(f"  node {patient.number} ended with {code}: {last[:200]}")
                        if code < 0:
                            self.violate("a crash", f"node {patient.number} ended by signal {-code}")
                        patient.start()
            except (OSError, RuntimeError, ValueError) as error:
                self.note(f"  the look failed: {error}")

    # What is true when all is well.

    def ailments(self):
        """What is not well; empty when everything is. The dear looks come last."""
        statuses = self.look()
        found = [f"node {p.number} does not answer" for p, status in zip(self.patients, statuses) if not status.up]
        if found:
            return found
        count = len(self.patients)
        for patient, status in zip(self.patients, statuses):
            if not status.address or not status.role:
                found.append(f"node {patient.number}: address {status.address}, role {status.role} {status.waiting()}")
        if len({status.address for status in statuses}) != count:
            found.append(f"addresses {[status.address for status in statuses]}")
        views = [status.roles() for status in statuses]
        found += [f"node {p.number} sees {view}" for p, view in zip(self.patients, views) if view != views[0]]
        if len(views[0]) != count or not all(views[0].values()):
            found.append(f"a node or a role is unknown: {views[0]}")
        if sorted(map(str, (status.role for status in statuses))) != ["master"] + ["worker"] * (count - 1):
            found.append(f"roles {[status.role for status in statuses]}")
        if not found and len(set(self.pool.map(ledger_of, self.patients))) != 1:
            found.append("the ledgers differ")
        if not found:
            found = self.k3s_ailments(statuses) or self.lost_pings(statuses)
        return found

    def k3s_ailments(self, statuses):
        founder = next(p for p, status in zip(self.patients, statuses) if status.role == "master")
        members = founder.node.k3s_nodes()
        if members is None:
            return [f"the K3s server on node {founder.number} does not answer"]
        # An agent of K3s says every two seconds that it is there: one that does not run is not joined.
        joined = {member["from"] for member in members.values() if member["last_seen"] >= self.healed}
        wanted = {status.address for status in statuses if status.role == "worker"}
        found = [f"{address} has not joined K3s" for address in sorted(wanted - joined)]
        for patient, status in zip(self.patients, statuses):
            command = (patient.node.k3s_record() or {}).get("command")
            if command != ("server" if status.role == "master" else "agent"):
                found.append(f"K3s runs as {command} on node {patient.number}, whose role is {status.role}")
        return found

    def lost_pings(self, statuses):
        def ping(patient):
            targets = [status.address for status in statuses]
            script = 'for a in "$@"; do ping -c 1 -W 2 "$a" >/dev/null || echo "$a"; done'
            lost = patient.node.run("sh", "-c", script, "sh", *targets).stdout.split()
            return [f"node {patient.number} gets no answer from {address}" for address in lost]

        return [each for lost in self.pool.map(ping, self.patients) for each in lost]

    def recover(self):
        """Seconds until all is well."""
        begin, last = time.monotonic(), []
        self.healed = time.time()

        def well():
            nonlocal last
            last = self.ailments()
            return not last

        try:
            wait_until(well, "", RECOVERY_SECONDS, pause=0.2)
        except TimedOut:
            logs = "\n".join(f"    node {p.number}: {line}" for p in self.patients for line in p.node.log(6).splitlines())
            self.violate("no recovery", f"{RECOVERY_SECONDS} s after the faults ended: {'; '.join(last)}\n{logs}")
            return None
        return time.monotonic() - begin

    # Faults. Each hurts at once and gives back what heals.

    def some(self, most=2):
        return self.dice.sample(self.patients, self.dice.randint(1, most))

    def fault_kill(self):
        chosen, everything = self.some(), self.dice.random() < 0.5
        self.note(f"  kill -9 of {'all on' if everything else 'the agent of'} {names(chosen)}")
        for patient in chosen:
            patient.kill(everything)

        def heal():
            for patient in chosen:
                # The K3s of a killed agent goes with it; what it leaves must not be in the way of the next.
                patient.start()

        return heal

    def fault_freeze(self):
        chosen, everything = self.some(), self.dice.random() < 0.5
        self.note(f"  SIGSTOP of {'all on' if everything else 'the agent of'} {names(chosen)}")
        for patient in chosen:
            patient.freeze(everything)
        return lambda: [patient.thaw() for patient in chosen]

    def fault_partition(self):
        some = self.some(len(self.patients) // 2)
        others = [patient for patient in self.patients if patient not in some]
        self.note(f"  partition: {names(some)} from {names(others)}")
        for side, far in ((some, others), (others, some)):
            for patient in side:
                patient.cut({other.lan_address for other in far})
        return self.join_network

    def fault_one_way(self):
        deaf, mute = self.dice.sample(self.patients, 2)
        far = self.patients if self.dice.random() < 0.5 else [mute]
        self.note(f"  one way: {names([deaf])} hears nothing from {'anyone' if len(far) > 1 else names(far)}")
        deaf.cut({other.lan_address for other in far if other is not deaf})
        return self.join_network

    def join_network(self):
        for patient in self.patients:
            patient.cut(set())

    def fault_full_disk(self):
        chosen, restart = self.some(), self.dice.random() < 0.5
        self.note(f"  full disk of {names(chosen)}{', and kill -9' if restart else ''}")
        for patient in chosen:
            patient.fill_disk()
            if restart and not patient.frozen and not patient.down:
                patient.kill()
                patient.start()
        return lambda: [patient.free_disk() for patient in chosen]

    def fault_clock(self):
        chosen = self.some()
        offset = self.dice.choice((-1, 1)) * self.dice.randint(60, 6 * 3600)
        self.note(f"  clock of {names(chosen)} {offset:+d} s")
        for patient in chosen:
            patient.set_clock(offset)
        return lambda: [patient.set_clock(0) for patient in chosen]

    KINDS = ("kill", "freeze", "partition", "one_way", "full_disk", "clock")


def names(patients):
    return ", ".join(str(patient.number) for patient in sorted(patients, key=lambda p: p.number))


def ask(patient, path):
    """The body of the agent's answer, or None."""
    if patient.down or patient.frozen:
        return None
    try:
        return patient.node.ask(path, seconds=2)
    except (OSError, RuntimeError):
        return None


def document_of(patient):
    body = ask(patient, "/api/v1/status")
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def ledger_of(patient):
    body = ask(patient, "/api/ledger")
    return json.dumps(json.loads(body), sort_keys=True) if body else patient.number


class Chaos:
    def __init__(self, options):
        self.options = options
        self.dice = random.Random(options.seed)
        self.begin = time.monotonic()
        self.faults, self.recoveries = collections.Counter(), collections.defaultdict(list)
        self.violations, self.ended, self.lives, self.looks = [], collections.Counter(), 0, 0
        self.formed, self.bag = [], []

    def note(self, text):
        print(f"{time.monotonic() - self.begin:7.1f} s  {text}", flush=True)

    def left(self):
        return self.options.minutes * 60 - (time.monotonic() - self.begin)

    def run(self):
        while self.left() > 30 or not self.lives:
            self.live(min(LIFE_SECONDS, self.left()))

    def live(self, seconds):
        self.lives += 1
        count = self.options.nodes
        self.note(f"life {self.lives}: {count} new nodes, minimum_nodes {count // 2 + 1}")
        end = time.monotonic() + seconds
        with Cluster(count, name="chaos", minimum=count // 2 + 1) as cluster:
            life = Life(cluster, self.dice, self.note)
            watcher = threading.Thread(target=life.watch, daemon=True)
            try:
                for number, node in enumerate(cluster.nodes, 1):
                    life.patients.append(Patient(number, node))
                watcher.start()
                self.birth(life)
                # The last round needs its time to recover.
                while time.monotonic() < end - 15 and not life.violations:
                    self.round(life)
            finally:
                life.stopping.set()
                if watcher.is_alive():
                    watcher.join(30)
                for patient in life.patients:
                    patient.close()
                life.pool.shutdown(wait=True, cancel_futures=True)
                self.violations += [(self.lives, *violation) for violation in life.violations]
                self.ended.update(life.ended)
                self.looks += life.looks
                if life.violations and os.environ.get("KAIROS_KEEP"):
                    self.note(f"the nodes' directories stay in {cluster.directory}")

    def birth(self, life):
        """The nodes start, and form a cluster while they are hurt: all is over within a second or two otherwise."""
        kinds = self.kinds(life)
        cut = [kind for kind in kinds if kind in CUTS]
        healers = [self.hurt(life, kind) for kind in cut]
        for patient in life.patients:
            patient.start()
        time.sleep(self.dice.uniform(0, 0.8))
        healers += [self.hurt(life, kind) for kind in kinds if kind not in cut]
        taken = self.heal(life, healers)
        if taken is not None:
            self.formed.append(taken)

    def round(self, life):
        time.sleep(self.dice.uniform(0, 3))
        kinds = self.kinds(life)
        taken = self.heal(life, [self.hurt(life, kind) for kind in kinds])
        if taken is not None:
            for kind in kinds:
                self.recoveries[kind].append(taken)

    def kinds(self, life):
        """One or two kinds. Each comes up before any comes again."""
        chosen = []
        for _ in range(self.dice.choice((1, 1, 2))):
            self.bag = self.bag or self.dice.sample(life.KINDS, len(life.KINDS))
            # Cuts are one table of the network: two of them at once would undo each other.
            if self.bag[-1] in chosen or {self.bag[-1], *chosen} == set(CUTS):
                break
            chosen.append(self.bag.pop())
        return chosen

    def hurt(self, life, kind):
        self.faults[kind] += 1
        return getattr(life, f"fault_{kind}")()

    def heal(self, life, healers):
        """Lets the faults be for some seconds, ends them, and gives the seconds until all is well, if it ever is."""
        time.sleep(self.dice.uniform(1, 15))
        for heal in healers:
            heal()
        taken = life.recover()
        if taken is not None:
            self.note(f"  healed; well again after {taken:.1f} s")
        return taken

    def table(self):
        lines = ["| fault | injected | well again after, s (median) | worst |", "|---|---:|---:|---:|"]
        for kind in Life.KINDS:
            times = self.recoveries.get(kind)
            median, worst = (f"{statistics.median(times):.1f}", f"{max(times):.1f}") if times else ("–", "–")
            lines.append(f"| {kind.replace('_', ' ')} | {self.faults[kind]} | {median} | {worst} |")
        return "\n".join(lines)

    def document(self):
        return {
            "seed": self.options.seed, "minutes": self.options.minutes, "nodes": self.options.nodes,
            "lives": self.lives, "looks": self.looks, "faults": dict(self.faults),
            "recovery_seconds": dict(self.recoveries), "formation_under_faults_seconds": self.formed,
            "exits": {str(code): number for code, number in self.ended.items()},
            "violations": [list(violation) for violation in self.violations],
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(prog="scripts/test chaos")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("-o", dest="output")
    options = parser.parse_args()
    if not (0.1 <= options.minutes <= 600 and 3 <= options.nodes <= 20):
        parser.error("--minutes takes 0.1 to 600, --nodes 3 to 20")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"chaos: seed {options.seed}, {options.minutes:g} minutes, {options.nodes} nodes", flush=True)
    chaos = Chaos(options)
    try:
        chaos.run()
    except KeyboardInterrupt:
        return 130
    print(f"\n{chaos.table()}\n")
    print(f"{chaos.lives} lives, {chaos.looks} looks, {sum(chaos.faults.values())} faults, exits {dict(chaos.ended)}")
    print(f"violations: {len(chaos.violations)}; again with --seed {options.seed}")
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(chaos.document(), file, indent=1)
            file.write("\n")
    return 1 if chaos.violations else 0


if __name__ == "__main__":
    sys.exit(main())
