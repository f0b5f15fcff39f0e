"""The API address: held by a server whose K3s is ready, reached from everywhere, gone when it is ill."""

import os
import signal
import unittest

from lab.cluster import Cluster

ADDRESS = "10.1.0.2"


class APIAddressTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, name="api")
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.wait_until_formed()
        cls.server = cls.cluster.server()
        cls.agents = [node for node in cls.cluster.nodes if node is not cls.server]

    def has_address(self, node):
        return f"inet {ADDRESS}/32" in node.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout

    def wait(self, condition, what, seconds=10):
        return self.cluster.wait(condition, what, seconds)

    def is_reached(self, node):
        return node.k3s_nodes(ADDRESS) is not None

    def test_01_the_server_holds_it_and_everyone_reaches_it(self):
        self.wait(lambda: self.has_address(self.server), "the address on the server")
        for node in self.cluster.nodes:
            self.wait(lambda node=node: self.is_reached(node), f"the API at {ADDRESS} from {node.hostname}")
        for node in self.agents:
            self.assertFalse(self.has_address(node))
            said = node.status()["api"]
            self.assertEqual((said["address"], said["holder"]), (ADDRESS, self.server.status()["node"]["peer"]))

    def test_02_the_node_s_own_address_stays_the_first(self):
        shown = self.server.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout.splitlines()
        self.assertIn("/24", shown[0])
        self.assertIn(f"{ADDRESS}/32", shown[1])

    def test_03_an_ill_api_server_releases_it_and_a_well_one_takes_it_back(self):
        flag = self.server.write("etc/k3s-stand-in-ill", "")
        self.wait(lambda: not self.has_address(self.server), "the address to be given back", 20)
        problem = self.server.status()["api"]["problem"]
        self.assertIn("500", problem)
        self.wait(lambda: "holder" not in self.agents[0].status()["api"], "the agents to know it")
        os.remove(flag)
        self.wait(lambda: self.has_address(self.server), "the address to be taken again")
        self.wait(lambda: self.is_reached(self.agents[0]), "the API from an agent")

    def test_04_it_is_there_again_after_the_agent_was_killed_and_started(self):
        self.server.stop(signal.SIGKILL)
        self.assertTrue(self.has_address(self.server), "the device outlives the agent")
        self.server.write("etc/k3s-stand-in-ill", "")
        self.server.start()
        self.wait(lambda: not self.has_address(self.server), "a stale address to be taken off", 20)
        os.remove(self.server.path("etc/k3s-stand-in-ill"))
        self.wait(lambda: self.has_address(self.server), "the address on the server", 30)
        self.wait(lambda: self.is_reached(self.agents[0]), "the API from an agent", 30)


if __name__ == "__main__":
    unittest.main()
