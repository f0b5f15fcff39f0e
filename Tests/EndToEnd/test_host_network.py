"""Clusters over the nodes' own addresses: without a VPN, with kube-vip's address, and beside the VPN."""

import unittest

from lab import program
from lab.cluster import DROP_IN, Cluster
from lab.node import LAN_CONFIG
from lab.status import Status

SERVERS = "  auto:\n    ha:\n      enable: true\n      master_nodes: 2\n"
KUBEVIP = "kubevip:\n  eip: 192.168.77.200\n  interface: eth0\n"


def cluster_of(case, name, *blocks):
    """Three nodes that have started, with these further lines in their cloud-config."""
    token = program.new_token()
    config = LAN_CONFIG.format(minimum=2, token=token) + "".join(blocks)
    case.cluster = Cluster(3, name=name, minimum=2, token=token, config=config)
    case.cluster.__enter__()
    case.addClassCleanup(case.cluster.close)
    case.cluster.start()
    case.nodes = case.cluster.nodes


def settings(node):
    return (node.k3s_record() or {}).get("settings") or {}


class WithoutVPNTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster."""

    @classmethod
    def setUpClass(cls):
        cluster_of(cls, "novpn", "  vpn:\n    create: false\n")
        cls.cluster.wait_until_formed()
        cls.founder = cls.cluster.server()
        cls.agents = [node for node in cls.nodes if node is not cls.founder]
        cls.address = f"192.168.77.{cls.nodes.index(cls.founder) + 1}"

    def test_01_nodes_know_each_other_by_their_own_addresses(self):
        self.assertEqual(self.cluster.addresses(), [f"192.168.77.{number}" for number in (1, 2, 3)])
        self.assertEqual(sorted(self.cluster.agree().values()), ["master", "worker", "worker"])
        for node in self.nodes:
            self.assertNotEqual(node.run("ip", "link", "show", "dev", "edgevpn0").returncode, 0, "there is no VPN")
            self.assertNotIn("api", node.status(), "and no address of it")

    def test_02_k3s_uses_them_and_agents_join_the_founder(self):
        for number, node in enumerate(self.nodes, 1):
            self.assertEqual(settings(node)["node-ip"], [f"192.168.77.{number}"])
            self.assertEqual(settings(node)["flannel-iface"], "eth0")
        for node in self.agents:
            self.assertEqual(settings(node)["server"], f"https://{self.address}:6443")

    def test_03_an_agent_that_gets_another_address_goes_on_with_it(self):
        node = self.agents[0]
        number, founder_starts = self.nodes.index(node) + 1, self.founder.k3s_starts()
        # The first address of a network takes the others with it when it goes.
        for word, address in (("del", f"192.168.77.{number}"), ("add", "192.168.77.77")):
            self.assertEqual(node.run("ip", "address", word, f"{address}/24", "dev", "eth0").returncode, 0)
        self.cluster.wait(
            lambda: settings(node).get("node-ip") == ["192.168.77.77"], "K3s to have the other address", 40)
        self.cluster.wait(lambda: "192.168.77.77" in (self.cluster.addresses() or []), "status to say so", 20)
        self.assertEqual(self.founder.k3s_starts(), founder_starts, "nobody else is restarted")


class KubeVIPTests(unittest.TestCase):
    """Three servers without a VPN; the test plays kube-vip's part, which the K3s stand-in does not."""

    @classmethod
    def setUpClass(cls):
        cluster_of(cls, "eip", "  vpn:\n    create: false\n", SERVERS, KUBEVIP)

    def test_servers_are_joined_at_the_address_that_kube_vip_moves(self):
        founder = self.cluster.wait(self.cluster.server, "a founder", 60)
        self.cluster.wait(founder.k3s_record, "the founder's K3s", 30)
        done = founder.run("ip", "address", "add", "192.168.77.200/32", "dev", "eth0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.cluster.wait(
            lambda: sorted(status.role or "" for status in self.cluster.statuses())
            == ["master/clusterinit", "master/ha", "master/ha"], "three servers", 120)
        for number, node in enumerate(self.nodes, 1):
            self.cluster.wait(
                lambda node=node: "https://192.168.77.200:6443" in (node.read(DROP_IN) or ""),
                "every server to join at the common address, the founder too", 60)
            self.cluster.wait(lambda node=node: settings(node).get("node-ip"), "K3s to have started", 30)
            self.assertEqual(settings(node)["node-ip"], [f"192.168.77.{number}"], "and none to take it for its own")
            self.assertIn("192.168.77.200", settings(node)["tls-san"])


class ServersWithoutVPNTests(unittest.TestCase):
    """Three servers that have no common address."""

    @classmethod
    def setUpClass(cls):
        cluster_of(cls, "bare", "  vpn:\n    create: false\n", SERVERS)

    def test_01_each_joins_another_and_no_server_would_found_anew(self):
        self.cluster.wait(
            lambda: sorted(status.role or "" for status in self.cluster.statuses())
            == ["master/clusterinit", "master/ha", "master/ha"], "three servers", 120)
        for number, node in enumerate(self.nodes, 1):
            self.cluster.wait(
                lambda node=node: "server: " in (node.read(DROP_IN) or ""), "every server to know another", 60)
            self.assertNotIn(f"https://192.168.77.{number}:", node.read(DROP_IN), "a server does not join itself")
        self.assertTrue(
            any("no address moves" in warning for warning in self.nodes[0].status()["warnings"]),
            "the operator is told")

    def test_02_a_member_of_etcd_that_gets_another_address_waits_for_its_own(self):
        node = self.nodes[1]
        for each in self.nodes:
            self.cluster.wait(
                lambda each=each: self.status(each).own.get("state") == "ready", "every server to be ready", 60)
        starts, before = [each.k3s_starts() for each in self.nodes], node.read(DROP_IN)

        def address(word, value):
            self.assertEqual(node.run("ip", "address", word, f"{value}/24", "dev", "eth0").returncode, 0)

        address("del", "192.168.77.2")
        address("add", "192.168.77.77")
        words = "k3s: the node's address to be 192.168.77.2 again: its etcd knows no other, and it is 192.168.77.77 now"
        self.cluster.wait(lambda: words in self.status(node).waiting(), "the agent to say so", 40)
        remedy = next(item["remedy"] for item in node.status()["waiting"] if item["step"] == "k3s")
        for way in ("give the node its address back", "leave the cluster and join again", "--cluster-reset"):
            self.assertIn(way, remedy)
        self.assertEqual(node.read(DROP_IN), before, "K3s is not configured with it")
        # Beside the other one, too: the one that etcd knows goes first.
        address("add", "192.168.77.2")
        self.cluster.wait(lambda: self.status(node).own.get("state") == "ready", "the server to be ready again", 40)
        self.assertEqual(self.status(node).address, "192.168.77.2")
        self.assertEqual([each.k3s_starts() for each in self.nodes], starts, "nobody was restarted")

    def status(self, node):
        return Status(node.status())


class BesideTheVPNTests(unittest.TestCase):
    """`p2p.vpn.use: false`: the VPN leads to the server, Kubernetes' traffic stays off it."""

    @classmethod
    def setUpClass(cls):
        cluster_of(cls, "beside", "  vpn:\n    use: false\n")

    def test_k3s_uses_the_hosts_address_and_joins_through_the_vpn(self):
        self.cluster.wait(self.cluster.addresses, "an address of the VPN on every node", 60)
        for number, node in enumerate(self.nodes, 1):
            self.cluster.wait(node.k3s_record, "K3s on every node", 60)
            self.assertEqual(settings(node)["node-ip"], [f"192.168.77.{number}"])
            self.assertEqual(settings(node)["flannel-iface"], "eth0")
        server = self.cluster.server()
        for node in self.nodes:
            if node is not server:
                self.assertEqual(settings(node)["server"], "https://10.1.0.2:6443")
        self.assertIn("10.1.0.2", settings(server)["tls-san"])


if __name__ == "__main__":
    unittest.main()
