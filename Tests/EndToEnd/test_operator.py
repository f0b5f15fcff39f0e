"""The operator's words on real nodes: leave, forget, reset-cluster."""

import hashlib
import json
import os
import signal
import unittest

from lab.cluster import DROP_IN, Cluster

DATA = "var/lib/rancher/k3s"


class OperatorTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster of five of which three must agree."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(5, name="oper", minimum=3)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.wait_until_formed()
        cls.server = cls.cluster.server()
        cls.agents = [node for node in cls.cluster.nodes if node is not cls.server]

    def word(self, node, *arguments, code=0):
        done = node.cli("p2p", *arguments, "-o", "json", seconds=70)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def test_01_the_only_server_cannot_leave_and_is_not_forgotten(self):
        self.assertEqual(self.word(self.server, "leave", code=69)["reason"], "last_server")
        name = self.server.status()["node"]["name"]
        self.assertEqual(self.word(self.agents[0], "forget", name, code=65)["reason"], "node_connected")

    def test_01_the_kubeconfig_leads_to_whichever_server_works(self):
        shown = self.server.cli("p2p", "kubeconfig")
        self.assertEqual(shown.returncode, 0, shown.stderr)
        own = self.server.read("etc/rancher/k3s/k3s.yaml")
        self.assertEqual(shown.stdout, own.replace("https://127.0.0.1:6443", "https://10.1.0.2:6443"))
        self.assertNotEqual(shown.stdout, own)
        none = self.agents[0].cli("p2p", "kubeconfig")
        self.assertEqual((none.returncode, none.stdout), (69, ""))

    def test_02_a_node_that_leaves_stops_its_k3s_and_is_taken_out_of_kubernetes(self):
        leaver = self.agents[0]
        name = leaver.status()["node"]["name"]
        self.assertTrue(any(name in known for known in self.server.k3s_nodes()))
        self.assertEqual(self.word(leaver, "leave", "--wait", "60")["outcome"], "done")
        self.cluster.wait(lambda: not os.path.exists(leaver.path(DROP_IN)), "the settings to be gone", 30)
        self.cluster.wait(
            lambda: not any(name in known for known in self.server.k3s_nodes() or {name: 1}),
            "the Kubernetes node to be gone", 60)
        self.assertIsNone(leaver.status()["node"].get("address"))
        addresses = leaver.run("ip", "-4", "-o", "addr", "show", "dev", "edgevpn0").stdout
        self.assertNotIn("inet 10.1.0.", addresses, "the device has given the address up")

        def shown():
            peer = leaver.status()["node"]["peer"]
            known = next(node for node in self.server.status()["nodes"] if node["peer"] == peer)
            return known.get("forgotten") is True and "address" not in known

        self.cluster.wait(shown, "the others to show it as forgotten, without an address", 30)
        leaver.stop()
        leaver.start()
        self.cluster.wait(lambda: leaver.status() is not None, "the agent to run again", 30)
        self.assertIsNone(leaver.status()["node"].get("address"), "and it takes none in a later life")
        leaver.stop()

    def test_03_a_node_that_is_gone_is_forgotten(self):
        gone = self.agents[1]
        name = gone.status()["node"]["name"]
        gone.stop(signal.SIGKILL)

        def forgotten():
            done = self.server.cli("p2p", "forget", name, "--wait", "30", "-o", "json", seconds=40)
            return done.returncode == 0 and json.loads(done.stdout)["outcome"] == "done"

        # Until its connections are given up it counts as connected.
        self.cluster.wait(forgotten, f"{name} to be forgotten", 90)
        self.cluster.wait(
            lambda: not any(name in known for known in self.server.k3s_nodes() or {name: 1}),
            "its Kubernetes node to be gone", 60)

    def test_04_a_forgotten_node_that_returns_is_a_member_again(self):
        back = self.agents[1]
        name = back.hostname
        self.assertIsNone(back.status(), "it is off")
        back.start()
        self.cluster.wait(lambda: (back.status() or {}).get("node", {}).get("role") == "worker", "its role", 60)
        self.cluster.wait(
            lambda: any(name in known for known in self.server.k3s_nodes() or {}), "it to join K3s again", 60)
        self.assertEqual([self.identity(back)], [self.identity(self.server)], "of the same cluster")

    def identity(self, node):
        """Which cluster the node's K3s is of."""
        server, agent = (node.read(f"{DATA}/{path}/server-ca.crt") for path in ("server/tls", "agent"))
        text = server if node.k3s_record()["command"] == "server" else agent
        return hashlib.sha256(text.encode()).hexdigest() if text else None

    def test_05_a_reset_waits_for_the_word_on_most_voters(self):
        present = [self.server, *self.agents[1:]]
        others = present[2:]
        epoch = self.epoch(self.server)
        # Those that are left get the votes of those that went once they have been here for a minute.
        self.cluster.wait(lambda: len(self.decree(self.server).get("voters", [])) == 3, "three voters", 100)
        for node in others:
            node.stop(signal.SIGKILL)
        refused = present[1].cli("p2p", "reset-cluster", "-o", "json", seconds=20)
        self.assertNotEqual(refused.returncode, 0, "without --i-know nothing is done")
        # Of the voters the server always is one.
        waiting = self.word(self.server, "reset-cluster", "--i-know", "--wait", "3", code=75)
        self.assertEqual(waiting["outcome"], "waiting")
        self.assertEqual(len(waiting["acknowledged"]), 1, waiting)
        self.assertGreater(waiting["needed"], 1, waiting)
        self.assertEqual(self.epoch(self.server), epoch)

    def test_06_most_voters_acknowledge_the_reset_and_one_new_cluster_takes_the_place_of_the_old(self):
        present = [self.server, *self.agents[1:]]
        old, token = self.identity(self.server), self.server.read(f"{DATA}/server/token")
        for node in present[2:]:
            node.start()
        self.cluster.wait(
            lambda: all(((node.status() or {}).get("node") or {}).get("state") == "ready" for node in present[1:]),
            "those who were away to be back", 60)
        # The word that was given on the server still stands, and alone it is not enough: it is said on the others, once
        # each, until the next epoch is founded. Those without a vote refuse it.
        for node in present[1:]:
            if self.decree(self.server).get("epoch") == 1:
                node.cli("p2p", "reset-cluster", "--i-know", "--wait", "3", seconds=20)
        self.cluster.wait(
            lambda: all(self.epoch(node) == 2 for node in present), "all of them to be of the next epoch", 90)

        def servers():
            return [node for node in present if ((node.status() or {}).get("node") or {}).get("role") == "master"]

        self.cluster.wait(lambda: len(servers()) == 1, "one server", 60)
        server = servers()[0]
        self.cluster.wait(lambda: len(server.k3s_nodes() or {}) == len(present), "everyone to join it", 90)
        new = {self.identity(node) for node in present}
        self.assertEqual(len(new), 1, new)
        self.assertNotIn(old, new)
        aside = [name for name in os.listdir(self.server.path(DATA)) if name.startswith("server.epoch-1.")]
        self.assertEqual(len(aside), 1, "the old data are set aside")
        self.assertEqual(self.server.read(f"{DATA}/{aside[0]}/token"), token, "and are all there")
        # One word is one new cluster, also for those who restart with it.
        present[1].stop()
        present[1].start()
        self.cluster.wait(
            lambda: ((present[1].status() or {}).get("node") or {}).get("state") == "ready", "the node to be ready", 60)
        self.assertEqual({self.epoch(node) for node in present}, {2})

    def decree(self, node):
        """The newest decree on the node's disk."""
        state = json.loads(node.read("usr/local/.kairos/p2p/election.state") or "{}")
        return state.get("certificate", {}).get("decree", {})

    def epoch(self, node):
        """The epoch of the cluster that the node's K3s is of, as the agent has noted it."""
        lines = (node.read("usr/local/.kairos/p2p/k3s.cluster") or "").splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("epoch ")), None)


if __name__ == "__main__":
    unittest.main()
