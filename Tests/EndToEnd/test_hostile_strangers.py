"""Peers without the network token: on the link they reach every node, and get no more than a share of it."""

import time
import unittest

from hostile.target import HostileTestCase
from lab.status import Status
from lab.waiting import wait_until

KINDS = ("nothing", "no protocol", "half", "huge token", "long token", "unknown", "full")


class FloodTests(HostileTestCase):
    """One network for all tests. A node that comes while the flood lasts gets in all the same."""

    options = {"count": 3, "minimum": 2, "name": "flood"}

    def attack(self, name, **facts):
        return self.target.attack(name, token=False, **facts)

    def hold(self, name, **facts):
        """An attack that goes on while a late node comes."""
        with self.attacked(watch=0.5) as vitals:
            running = self.attack(name, **facts).wait_until_ready()
            try:
                vitals.more["admitted of 10"] = self.target.visits()
                self.target.add_late()
                vitals.more["in while it lasted"] = running.process.poll() is None
            finally:
                running.finish()

    def test_B1_connections_with_very_many_streams(self):
        with self.attacked(watch=1, late=True):
            self.attack("many_streams", targets=[0], count=400, streams=512, kind="ping", seconds=5).finish()

    def test_B1b_streams_of_every_kind_that_leads_nowhere(self):
        with self.attacked(watch=1, late=True):
            for kind in KINDS:
                self.attack("many_streams", targets=[0], count=40, streams=256, kind=kind, seconds=1).finish()

    def test_B1c_streams_that_are_opened_and_reset(self):
        with self.attacked(watch=1, late=True):
            self.attack("open_and_reset", targets=[0], count=4, seconds=4).finish()

    def test_B3_silent_sockets(self):
        sources = [f"192.168.77.{host}" for host in range(130, 134)]
        self.hold("silent_sockets", sources=sources, each=16, stage="nothing", seconds=6)

    def test_B3b_handshakes_that_are_not_finished(self):
        sources = [f"192.168.77.{host}" for host in range(130, 138)]
        self.hold("silent_sockets", sources=sources, each=16, stage="half", seconds=6)

    def test_B4_idle_connections(self):
        self.hold("idle_connections", targets=[0], count=512, seconds=6)

    def test_B4b_peers_that_say_very_slowly_who_they_are(self):
        self.hold("slow_identify", targets=[0], count=200, seconds=6)

    def test_B5_false_announcements(self):
        self.hold("announce_falsely", sources=["192.168.77.130"], rate=2000, seconds=10, fresh=True)

    def test_B5b_false_announcements_of_many_sources(self):
        self.hold("announce_falsely", rate=2000, seconds=10, fresh=True)

    def test_B6_large_frames(self):
        with self.attacked(watch=1):
            self.attack("big_frames", targets=[0], count=64, announced=20_000_000, seconds=8).finish()

    def test_B6b_frames_just_below_what_a_stranger_may_send(self):
        with self.attacked(watch=1):
            self.attack("big_frames", targets=[0], count=200, announced=65_500, seconds=5).finish()


class CutTests(HostileTestCase):
    """What strangers say about themselves does not keep nodes apart whose cable was out."""

    options = {"count": 3, "minimum": 2, "name": "cut"}

    def test_B2_false_addresses_and_then_a_cable_out(self):
        target = self.target

        def is_alone():
            return all(node.get("state") != "connected" for node in Status(target.nodes[0].status()).nodes)

        with self.attacked(watch=0):
            seen = target.attack("false_addresses", token=False, count=400).finish()
            self.assertGreater(seen["visits"], 300, seen)
            target.cluster.network.cable(1, up=False)
            try:
                wait_until(is_alone, "the node to miss all others", 60, pause=1)
                time.sleep(5)
            finally:
                target.cluster.network.cable(1, up=True)


if __name__ == "__main__":
    unittest.main()
