"""A cluster with high availability: further servers by decree, and the API address on one of them."""

import os
import signal
import unittest

from lab import program
from lab.cluster import DROP_IN, Cluster
from lab.node import LAN_CONFIG

ADDRESS = "10.1.0.2"


class HighAvailabilityTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster of four nodes with three servers."""

    @classmethod
    def setUpClass(cls):
        token = program.new_token()
        config = LAN_CONFIG.format(minimum=3, token=token).rstrip()
        config += "\n  auto:\n    ha:\n      enable: true\n      master_nodes: 2\n"
        cls.cluster = Cluster(4, name="ha", minimum=3, token=token, config=config)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()

    def roles(self):
        return sorted(status.role or "" for status in self.cluster.statuses() if status.up)

    def holders(self, nodes):
        shown = (node.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout for node in nodes)
        return [node for node, text in zip(nodes, shown) if f"inet {ADDRESS}/32" in text]

    def test_01_as_many_servers_as_asked_for_and_the_founder_is_not_special(self):
        wanted = ["master/clusterinit", "master/ha", "master/ha", "worker"]
        self.cluster.wait(lambda: self.roles() == wanted, "three servers and an agent", 90)
        for node in self.cluster.nodes:
            self.cluster.wait(
                lambda node=node: f"https://{ADDRESS}:6443" in (node.read(DROP_IN) or ""),
                "every node to join at the API address, the founder too", 60)

    def test_02_the_api_address_moves_when_its_holder_loses_power(self):
        nodes = self.cluster.nodes
        self.cluster.wait(lambda: len(self.holders(nodes)) == 1, "one holder of the API address", 30)
        holder = self.holders(nodes)[0]
        others = [node for node in nodes if node is not holder]
        agent = next(node for node in others if node.status()["node"]["role"] != "master/clusterinit")
        for process in holder.processes():
            os.kill(process, signal.SIGKILL)
        self.cluster.wait(lambda: len(self.holders(others)) == 1, "another holder of the API address", 15)
        self.cluster.wait(lambda: agent.k3s_nodes(ADDRESS) is not None, "the API to answer there", 15)


if __name__ == "__main__":
    unittest.main()
