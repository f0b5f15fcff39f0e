"""Settings of the cloud-config that change how a cluster comes about, with the built agent."""

import os
import tempfile
import unittest

from lab import program
from lab.network import Network
from lab.node import Node
from lab.status import Status
from lab.waiting import wait_until

CONFIG = """#cloud-config
p2p:
  disable_dht: true
  minimum_nodes: {minimum}
  network_token: "{token}"
"""


class SettingsTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="settings-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.network = Network("settings")
        self.network.__enter__()
        self.addCleanup(self.network.close)
        self.token, self.nodes = program.new_token(), []

    def add(self, rest="", minimum=2, rest_of_root=""):
        """A started node; `rest` continues the block p2p."""
        namespace, self.address = self.network.add()
        text = CONFIG.format(minimum=minimum, token=self.token) + rest + rest_of_root
        self.nodes.append(Node(os.path.join(self.directory, f"node{len(self.nodes)}"), namespace, text))
        self.nodes[-1].start()
        return self.nodes[-1]

    def wait(self, condition, what, seconds=30):
        def describe():
            return f"{what}\n" + "\n".join(f"{node.status()}\n{node.log()}" for node in self.nodes)

        return wait_until(condition, describe, seconds)

    def roles(self):
        return [Status(node.status()).role for node in self.nodes]

    def test_nodes_without_multicast_find_each_other_by_the_bootstrap_list(self):
        quiet = '  vpn:\n    env:\n      EDGEVPNMDNS: "false"\n'
        first = self.add(quiet + '      EDGEVPNLISTENMADDRS: "/ip4/0.0.0.0/tcp/4001"\n')
        peer = self.wait(lambda: Status(first.status()).peer, "the first node's peer ID")
        address = f"/ip4/{self.address}/tcp/4001/p2p/{peer}"
        self.add(quiet + f'      EDGEVPNBOOTSTRAPPEERS: "{address}"\n')
        self.add(f'  bootstrap_peers:\n    - "{address}"\n' + quiet)
        self.wait(lambda: sorted(map(str, self.roles())) == ["master", "worker", "worker"], "one server, two agents")

    def test_nodes_of_another_token_stay_apart(self):
        own = self.add(minimum=1)
        self.token = program.new_token()
        other = self.add(minimum=1)
        self.wait(lambda: self.roles() == ["master", "master"], "two clusters of one node")
        for node in (own, other):
            self.assertEqual(len(Status(node.status()).nodes), 1, node.status())

    def test_a_forced_role_is_kept(self):
        self.add("  role: worker\n")
        self.add("  role: master\n")
        self.wait(lambda: self.roles() == ["worker", "master"], "the forced roles")
        self.wait(lambda: all(node.k3s_record() for node in self.nodes), "K3s on both")
        self.assertEqual([node.k3s_record()["command"] for node in self.nodes], ["agent", "server"])

    def test_the_users_settings_of_k3s_are_kept(self):
        rest = (
            'k3s:\n  enabled: true\n  args:\n    - "--node-label=place=here"\n    - "--disable=traefik"\n'
            '  env:\n    K3S_KUBECONFIG_MODE: "0640"\n'
        )
        node = self.add(minimum=1, rest_of_root=rest)
        record = self.wait(node.k3s_record, "K3s to start")
        self.assertEqual(record["settings"]["node-label"], ["place=here"])
        self.assertEqual(record["settings"]["disable"], ["traefik"])
        self.assertEqual(record["environment"].get("K3S_KUBECONFIG_MODE"), "0640")
        self.assertEqual(record["settings"]["flannel-iface"], "edgevpn0")

    def test_a_config_file_of_the_user_stays_as_it_is(self):
        namespace, _ = self.network.add()
        text = CONFIG.format(minimum=1, token=self.token)
        node = Node(os.path.join(self.directory, "own"), namespace, text)
        own = 'write-kubeconfig-mode: "0644"\ntls-san:\n  - "api.example.org"\n'
        node.write("etc/rancher/k3s/config.yaml", own)
        self.nodes.append(node)
        node.start()
        record = self.wait(node.k3s_record, "K3s to start")
        self.assertEqual(node.read("etc/rancher/k3s/config.yaml"), own)
        self.assertEqual(record["settings"]["write-kubeconfig-mode"], "0644")
        self.assertIn("api.example.org", record["settings"]["tls-san"])


if __name__ == "__main__":
    unittest.main()
