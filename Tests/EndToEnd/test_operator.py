"""The operator's words on real nodes: leave, forget, reset-cluster."""

import json
import os
import signal
import unittest

from lab.cluster import DROP_IN, Cluster


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

    def test_02_a_node_that_leaves_stops_its_k3s_and_is_taken_out_of_kubernetes(self):
        leaver = self.agents[0]
        name = leaver.status()["node"]["name"]
        self.assertTrue(any(name in known for known in self.server.k3s_nodes()))
        self.assertEqual(self.word(leaver, "leave", "--wait", "60")["outcome"], "done")
        self.cluster.wait(lambda: not os.path.exists(leaver.path(DROP_IN)), "the settings to be gone", 30)
        self.cluster.wait(
            lambda: not any(name in known for known in self.server.k3s_nodes() or {name: 1}),
            "the Kubernetes node to be gone", 60)
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


if __name__ == "__main__":
    unittest.main()
