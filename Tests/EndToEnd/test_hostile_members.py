"""Holders of the network token that lie: forged decisions, poisoned counters, changes that nobody has a reason for."""

import os
import signal
import unittest

from hostile.target import HEAL_SECONDS, STATE, HostileTestCase, Target, differences
from lab.node import Node
from lab.status import Status

FORMS = (
    "former", "voters of its own", "the right voters, other signatures", "another network", "a founding", "a chain",
    "recovered",
)  # fmt: skip


class ForgeryTests(HostileTestCase):
    """Nobody founds, leads away or ends a cluster who was not named to decide. One network for all tests."""

    options = {"count": 3, "minimum": 2, "name": "forge"}

    def forge(self, *forms, admitted=False):
        with self.attacked():
            self.target.attack("forge_certificates", targets=[0], forms=forms, admitted=admitted).finish()

    def test_A1_certificates_of_throw_away_keys(self):
        self.forge(*FORMS)

    def test_A1b_certificates_that_an_admitted_member_made(self):
        self.forge(*FORMS[:5], admitted=True)

    def test_A1c_a_chain_of_decisions_that_begins_with_strangers(self):
        self.forge("a chain", admitted=True)

    def test_A1d_the_word_that_the_voters_were_lost(self):
        self.forge("recovered", admitted=True)

    def test_A2_a_certificate_with_the_last_number_there_is(self):
        with self.attacked(late=True, decides=True):
            self.target.attack(
                "forge_certificates", targets=[0], forms=["former at the end", "at the end"], admitted=False).finish()

    def test_A3_a_member_that_asks_for_what_nobody_has_a_reason_for(self):
        # Another founding, the removal of a node that is here, a server where nobody asked, votes for its own.
        target = self.target
        server = target.decree(target.nodes[0])["founder"]["peer"]
        present = next(s.peer for s in target.cluster.statuses() if s.peer != server)
        with self.attacked(late=True, decides=True):
            liar = target.attack("drive", targets=[0], present=present, seed=None).finish()["peer"]
            self.assertEqual(self.signed_for(liar, target.nodes), [])

    def test_A3b_a_voter_that_asks_for_the_same(self):
        target = self.target
        statuses = target.cluster.statuses()
        server = target.decree(target.nodes[0])["founder"]["peer"]
        voter, other = (node for node, s in zip(target.nodes, statuses) if s.peer != server)
        present = Status(other.status()).peer
        before = target.portrait()
        number = target.nodes.index(other)
        honest = [node for node in target.nodes if node is not voter]
        with self.attacked(same=False, late=True, decides=True, watched=honest):
            for process in voter.processes():
                os.kill(process, signal.SIGKILL)
            voter.process.wait(10)
            with open(voter.path(f"{STATE}/identity.key"), "rb") as file:
                seed = file.read()[4:36]
            try:
                liar = target.attack("drive", targets=[number], present=present, seed=seed.hex()).finish()["peer"]
                self.assertIn(liar, target.decree(other).get("voters", [liar]), "no voter was used")
                self.assertEqual(self.signed_for(liar, honest), [])
            finally:
                voter.start()
        changed = differences(before, target.portrait())
        self.assertEqual([text for text in changed if f"node {target.nodes.index(voter) + 1}:" not in text], [])

    def signed_for(self, liar, nodes):
        """What these nodes have signed that the liar had asked for."""
        accepted = [self.target.state(node).get("accepted") or {} for node in nodes]
        return [each["decree"] for each in accepted if each.get("ballot", {}).get("proposer") == liar]

    def test_A4_rounds_that_leave_no_room_above_them(self):
        with self.attacked(late=True, decides=True):
            self.target.attack("poison_rounds", targets=[0], rounds=[2**64 - 1, 2**63], admitted=False).finish()

    def test_A4b_the_same_of_an_admitted_member(self):
        with self.attacked(late=True, decides=True):
            rounds = [2**64 - 1, 2**63, 2**48 - 1]
            self.target.attack("poison_rounds", targets=[0], rounds=rounds, admitted=True).finish()


class FoundingTests(unittest.TestCase):
    """Two nodes wait for a third. Keys that nobody has met are none; when it comes, all is as it should be."""

    def test_A8_votes_of_many_keys_found_nothing(self):
        with Target(count=2, minimum=3, name="sybils", settle=False) as target:
            target.cluster.wait(target.cluster.addresses, "an address on both nodes", 30)
            target.attack("vote_as_many", targets=[0], count=12, epoch=1).finish()
            for node in target.nodes:
                self.assertIsNone(Status(node.status()).role, node.status())
                self.assertEqual(node.k3s_starts(), 0)
                self.assertFalse(target.decree(node))
            namespace, _ = target.cluster.network.add()
            third = Node(os.path.join(target.cluster.directory, "node3"), namespace, target.cluster.config)
            target.nodes.append(third)
            third.start()
            target.cluster.wait(target.cluster.server, "one server", HEAL_SECONDS)
            target.cluster.wait(target.cluster.joined, "every agent to be registered", HEAL_SECONDS)


if __name__ == "__main__":
    unittest.main()
