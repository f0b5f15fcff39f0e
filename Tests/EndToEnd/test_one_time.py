"""`p2p.auto.enable: false`, and no network at all: K3s is what the cloud-config says, and nothing is invented."""

import os
import tempfile
import time
import unittest

from lab import program
from lab.cluster import DROP_IN
from lab.network import Network
from lab.node import Node
from lab.status import Status
from lab.waiting import wait_until

SERVER = """k3s:
  enabled: true
  args:
    - "--disable=traefik"
  env:
    K3S_TOKEN: "a-token-of-the-test"
"""
AGENT = """k3s-agent:
  enabled: true
  args:
    - "--server=https://192.168.77.1:6443"
  env:
    K3S_TOKEN: "a-token-of-the-test"
"""
# Two nodes are asked for and one is there: what waits for an election would wait for ever.
NETWORK = """p2p:
  disable_dht: true
  minimum_nodes: 2
  network_token: "{token}"
  auto:
    enable: false
"""
QUIET_SECONDS = 5


class OneTimeTests(unittest.TestCase):
    made = 0

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="once-")
        cls.addClassCleanup(cls.directory.cleanup)

    def setUp(self):
        self.network, self.nodes = Network("once"), []
        self.network.__enter__()
        self.addCleanup(self.network.close)

    def add(self, text):
        namespace, _ = self.network.add()
        # A short name: the path of the agent's socket has little room.
        type(self).made += 1
        node = Node(os.path.join(self.directory.name, f"n{self.made}"), namespace, "#cloud-config\n" + text)
        self.nodes.append(node)
        node.start()
        return node

    def wait(self, condition, what, seconds=20):
        def describe():
            return f"{what}\n" + "\n".join(f"{node.status()}\n{node.log()}" for node in self.nodes)

        return wait_until(condition, describe, seconds)

    def assert_as_given(self, node, command, settings):
        record = self.wait(node.k3s_record, "K3s to start")
        self.assertEqual(record["command"], command)
        # The folder of its data is told to K3s because it is below a root.
        folder = node.path("var/lib/rancher/k3s")
        self.assertEqual(record["settings"], {**settings, "token": "a-token-of-the-test", "data-dir": folder})
        self.assertEqual(record["environment"]["K3S_TOKEN"], "a-token-of-the-test")
        self.assertEqual([key for file in record["files"] for key in file["keys"]], [], node.read(DROP_IN))
        self.assertEqual(record["node_name"], node.hostname)

    def has_device(self, node):
        return node.run("ip", "link", "show", "dev", "edgevpn0").returncode == 0

    def test_without_a_network_k3s_runs_as_given_and_agents_join(self):
        server, agent = self.add(SERVER), self.add(AGENT)
        self.assert_as_given(server, "server", {"disable": ["traefik"]})
        self.assert_as_given(agent, "agent", {"server": "https://192.168.77.1:6443"})
        self.wait(lambda: len(server.k3s_nodes() or {}) == 2, "the agent to join")
        for node in self.nodes:
            self.assertFalse(self.has_device(node), "without a network there is no VPN")

    def test_changed_arguments_are_applied_and_the_same_ones_restart_nothing(self):
        node = self.add(SERVER)
        self.wait(node.k3s_record, "K3s to start")
        token = self.wait(lambda: node.read("var/lib/rancher/k3s/server/token"), "the server's token")
        node.stop()
        # Below a root K3s ends with its agent: the next start is one, and it stays at that.
        node.write("oem/90_custom.yaml", "#cloud-config\n" + SERVER.replace("traefik", "servicelb"))
        node.start()
        self.wait(lambda: node.k3s_record()["settings"].get("disable") == ["servicelb"], "the changed argument")
        starts = node.k3s_starts()
        time.sleep(QUIET_SECONDS)
        self.assertEqual((starts, node.k3s_starts()), (2, 2))
        self.assertEqual(node.read("var/lib/rancher/k3s/server/token"), token)

    def test_with_a_network_there_is_the_vpn_and_k3s_as_given(self):
        token = program.new_token()
        first = self.add(NETWORK.format(token=token) + SERVER)
        self.assert_as_given(first, "server", {"disable": ["traefik"]})
        # The other one has no block of K3s: it has the VPN alone.
        second = self.add(NETWORK.format(token=token))
        addresses = self.wait(
            lambda: [a for a in (Status(node.status()).address for node in self.nodes) if a][1:] and
            [Status(node.status()).address for node in self.nodes], "two addresses", 30,
        )  # fmt: skip
        self.wait(lambda: second.run("ping", "-c", "1", "-W", "1", addresses[0]).returncode == 0, "a ping over the VPN")
        time.sleep(QUIET_SECONDS)
        for node in self.nodes:
            status = Status(node.status())
            self.assertIsNone(status.role, "nobody is elected")
            self.assertFalse([line for line in status.waiting() if line.startswith("election")], status.waiting())
        self.assertIsNone(second.k3s_record())
        self.assertEqual(first.k3s_starts(), 1)


if __name__ == "__main__":
    unittest.main()
