"""Hurts the holder of the API address again and again, and takes the time until another server answers there.

    scripts/test chaos --failovers N [-o FILE.json]

Five nodes, three servers. The kinds come in turn. The time runs from just before the injury to the first answer of
/readyz with 200 that another server than before gives at the address, asked from a node that is no server (an attempt
every 0.2 s). Then all is healed and has to be well again, and the old holder must not have the address back.
"""

import collections
import random
import statistics
import time

from lab import program
from lab.cluster import Cluster
from lab.injuries import HOLDER_KINDS, MOVE_SECONDS, SILENCE_SECONDS, Injuries
from lab.life import API_ADDRESS, HIGH_AVAILABILITY, Life
from lab.node import LAN_CONFIG
from lab.probe import Probe
from lab.strain import Strain
from lab.waiting import TimedOut, wait_until

SERVERS = 3
# How long a late answer is waited for, so that a failure says by how much.
PATIENCE_SECONDS = 60


class Failovers:
    def __init__(self, options, note):
        self.options, self.note, self.strain = options, note, Strain()
        self.times, self.carried = collections.defaultdict(list), collections.defaultdict(list)
        self.recoveries, self.violations, self.strains = collections.defaultdict(list), [], []
        self.samples, self.longest, self.longest_waking = 0, 0.0, 0.0

    def run(self):
        count, token = self.options.nodes, program.new_token()
        minimum = count // 2 + 1
        config = LAN_CONFIG.format(minimum=minimum, token=token).rstrip()
        config += HIGH_AVAILABILITY.format(further=SERVERS - 1)
        with Cluster(count, name="over", minimum=minimum, token=token, config=config) as cluster:
            life = Life(cluster, SERVERS, self.strain, self.note)
            probe = None
            try:
                life.begin()
                for patient in life.patients:
                    patient.start()
                formed = life.recover()
                if formed is None:
                    return
                self.note(f"formed with {SERVERS} servers after {formed:.1f} s")
                agent = next(p for p in life.patients if p not in life.servers())
                probe = Probe(agent.node, life.servers()[0].node, API_ADDRESS)
                # No die is cast.
                injuries = Injuries(life, random.Random(0))
                for number in range(self.options.failovers):
                    if life.violations or not self.fail_over(life, injuries, probe, number):
                        break
            finally:
                if probe:
                    probe.close()
                life.end()
                self.strain.stop()
                self.violations += life.violations
                carriers = life.carriers
                self.samples, self.longest, self.longest_waking = carriers.samples, carriers.longest, carriers.longest_waking

    def fail_over(self, life, injuries, probe, number):
        kind = HOLDER_KINDS[number % len(HOLDER_KINDS)]
        holder = life.patients[life.carriers.now()[0] - 1]
        moment = time.monotonic()
        before = wait_until(lambda: probe.good_since(moment), "an answer before the failover", 20)["server"]
        self.strain.reset()
        begin = time.monotonic()
        heal = injuries.hurt_holder(holder, kind)
        try:
            answer = wait_until(lambda: probe.good_since(begin, other_than=before), "", PATIENCE_SECONDS, pause=0.05)
        except TimedOut:
            life.violate("no failover", f"{PATIENCE_SECONDS} s after {kind} of node {holder.number}")
            heal()
            return False
        taken = answer["end"] - begin
        carried = wait_until(lambda: life.carriers.first_after(begin, holder.number), "the address to be seen", 5)
        self.times[kind].append(taken)
        self.carried[kind].append(carried - begin)
        self.strains.append(self.strain.since_reset())
        self.note(
            f"  {number + 1}: answered by another server after {taken:.2f} s, which carried the address after "
            f"{carried - begin:.2f} s; {self.strain.since_reset()}"
        )
        if taken > MOVE_SECONDS:
            life.violate("a late failover", f"{taken:.1f} s after {kind} of node {holder.number} (failover {number + 1})")
        time.sleep(1)
        moment = time.monotonic()
        heal()
        recovered = life.recover()
        if recovered is None:
            return False
        self.recoveries[kind].append(recovered)
        # The servers that were away grant again, and the old holder has had the time to take it back.
        time.sleep(SILENCE_SECONDS)
        order = life.carriers.since(moment)
        if holder.number in order[1:]:
            life.violate("the API address flapped back", f"after {kind} of node {holder.number}: it was on {order}")
        return True

    def table(self):
        lines = ["| holder of the API address | times | answers elsewhere after, s (median) | worst | well again, worst |",
                 "|---|---:|---:|---:|---:|"]  # fmt: skip
        for kind in HOLDER_KINDS:
            if times := self.times[kind]:
                well = max(self.recoveries[kind], default=float("nan"))
                lines.append(
                    f"| {kind.replace('_', ' ')} | {len(times)} | {statistics.median(times):.1f} | {max(times):.1f} "
                    f"| {well:.1f} |"
                )
        if times := [taken for each in self.times.values() for taken in each]:
            lines.append(f"| all | {len(times)} | {statistics.median(times):.1f} | {max(times):.1f} | |")
        return "\n".join(lines)

    def summary(self):
        return f"{self.samples} looks at the API address, strain {self.strain.document()}\nviolations: {len(self.violations)}"

    def document(self):
        return {
            "failovers": sum(map(len, self.times.values())), "nodes": self.options.nodes, "servers": SERVERS,
            "answers_elsewhere_seconds": dict(self.times), "carried_elsewhere_seconds": dict(self.carried),
            "recovery_seconds": dict(self.recoveries), "api_address_samples": self.samples,
            "longest_two_carriers_seconds": self.longest,
            "longest_two_carriers_while_one_woke_seconds": self.longest_waking,
            "strain": self.strain.document(), "violations": [list(violation) for violation in self.violations],
        }  # fmt: skip
