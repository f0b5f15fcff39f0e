"""Three nodes on one LAN, in network namespaces, with the built agent: no systemd, K3s as its child."""

import base64
import json
import os
import signal
import subprocess
import time
import unittest

from lab import program
from lab.cluster import DROP_IN, Cluster
from lab.waiting import wait_until


class LanTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3, name="lan")
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.wait_until_formed()

    def setUp(self):
        self.nodes = self.cluster.nodes
        self.statuses = self.cluster.statuses()
        self.server = self.cluster.server(self.statuses)
        self.agents = [node for node in self.nodes if node is not self.server]

    def status_of(self, node):
        return self.cluster.statuses()[self.nodes.index(node)]

    def test_01_three_addresses_of_the_network_one_server_two_agents(self):
        addresses = self.cluster.addresses()
        self.assertEqual(len(set(addresses)), 3)
        for address in addresses:
            self.assertRegex(address, r"^10\.1\.0\.\d+$")
        self.assertEqual(sorted(self.cluster.agree().values()), ["master", "worker", "worker"])

    def test_02_the_device_has_the_address_that_status_says(self):
        for node, status in zip(self.nodes, self.statuses):
            shown = node.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout
            self.assertIn(f"inet {status.address}/24", shown)

    def test_03_k3s_read_the_settings_that_the_agent_wrote(self):
        for node, status in zip(self.nodes, self.statuses):
            record = node.k3s_record()
            read = [file["path"] for file in record["files"]]
            self.assertIn(node.path(DROP_IN), read)
            self.assertEqual(record["settings"]["node-ip"], [status.address])
            self.assertEqual(record["settings"]["flannel-iface"], "edgevpn0")
            self.assertEqual(os.stat(node.path(DROP_IN)).st_mode & 0o777, 0o600)
            self.assertEqual(node.k3s_starts(), 1, "K3s was started more than once")
            device = node.run("cat", "/sys/class/net/edgevpn0/mtu").stdout.strip()
            self.assertEqual(str(record["overlay"]["mtu"]), device, "K3s saw another MTU than the final one")
        self.assertEqual(self.server.k3s_record()["command"], "server")

    def test_04_agents_join_the_api_address_with_the_published_token(self):
        for node in self.agents:
            record = node.k3s_record()
            self.assertEqual(record["command"], "agent")
            self.assertEqual(record["settings"]["server"], "https://10.1.0.2:6443")
            self.assertTrue(record["settings"]["token"])

    def test_04b_stock_tools_find_the_kubeconfig_at_the_api_address(self):
        def published(node):
            # Two layers of JSON and one of base64, then what stock makes of the file (contract/kairos.md §4.1).
            value = json.loads(json.loads(node.ask("/api/ledger/kairos/master-kubeconfig")) or "null")
            inner = json.loads(base64.urlsafe_b64decode(value)) if value else ""
            return base64.urlsafe_b64decode(inner + "=" * (-len(inner) % 4)).decode()

        written = self.server.read("etc/rancher/k3s/k3s.yaml")
        expected = written.replace("https://127.0.0.1:6443", "https://10.1.0.2:6443")
        self.assertNotEqual(expected, written)
        for node in self.nodes:
            self.cluster.wait(lambda node=node: published(node) == expected, "the kubeconfig in the ledger", 20)

    def test_05_packets_cross_the_vpn_between_all_pairs(self):
        for source in self.nodes:
            for status in self.statuses:
                done = source.run("ping", "-c", "2", "-i", "0.2", "-W", "2", status.address)
                self.assertEqual(done.returncode, 0, done.stdout)

    def test_06_a_tcp_transfer_crosses_the_vpn(self):
        target = self.status_of(self.server).address
        listener = subprocess.Popen(
            self.server.command("iperf3", "-s", "-1", "-B", target), stdout=subprocess.DEVNULL
        )
        try:
            client = self.agents[0]
            done = wait_until(
                lambda: (lambda d: d if d.returncode == 0 else None)(
                    client.run("iperf3", "-c", target, "-n", "20M", "--connect-timeout", "2000", seconds=60)
                ),
                "a transfer of 20 MB with iperf3", 60, pause=0.5,
            )  # fmt: skip
            self.assertRegex(done.stdout, r"receiver")
        finally:
            listener.terminate()
            listener.wait(10)

    def test_07_nothing_of_the_underlay_leaks_what_the_vpn_carries(self):
        marker = "kairos-" + "leak-probe"
        capture = subprocess.Popen(
            ["ip", "netns", "exec", self.cluster.network.lan, "python3", "-c", CAPTURE, "3"],
            stdout=subprocess.PIPE,
        )
        source, target = self.agents[0], self.status_of(self.server).address
        pattern = marker.encode().hex()[:32]
        source.run("ping", "-c", "5", "-i", "0.2", "-W", "1", "-p", pattern, target)
        seen = capture.communicate(timeout=20)[0]
        self.assertGreater(len(seen), 1000, "the capture saw no traffic at all")
        self.assertFalse(bytes.fromhex(pattern) in seen, "a packet crossed the LAN in clear")

    def test_08_status_answers_at_once_as_table_and_as_yaml(self):
        node = self.nodes[0]
        node.cli("p2p", "status")
        begin = time.monotonic()
        table = node.cli("p2p", "status")
        # The whole process, not only the answer, on a machine that runs three nodes.
        self.assertLess(time.monotonic() - begin, 0.5)
        self.assertEqual(table.returncode, 0, table.stderr)
        for other in self.nodes:
            self.assertIn(other.hostname, table.stdout)
        self.assertEqual(node.cli("p2p", "status", "-o", "yaml").returncode, 0)
        answers = sorted(node.time_of_answer() for _ in range(9))
        self.assertLess(answers[4], 0.1, "the median answer of status is to come within 100 ms")

    def test_08b_status_watches(self):
        watching = subprocess.Popen(
            [program.agent(), "p2p", "status", "--watch", "-o", "json", "--root", self.nodes[0].root],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            documents = [json.loads(watching.stdout.readline()) for _ in range(3)]
        finally:
            watching.terminate()
            watching.communicate(timeout=10)
        self.assertEqual(len({document["as_of"] for document in documents}), 3)

    def test_09_a_second_agent_on_the_same_root_is_refused(self):
        node = self.nodes[0]
        done = node.run(program.agent(), "start", "--root", node.root)
        self.assertEqual(done.returncode, 69, done.stdout + done.stderr)
        self.assertRegex(done.stderr, r"(?i)already|another|second")
        self.assertTrue(self.status_of(node).up, "the first instance was disturbed")

    def test_10_an_agent_restart_keeps_the_device_the_address_and_the_role(self):
        node = self.agents[0]
        before, index = self.status_of(node), node.run("cat", "/sys/class/net/edgevpn0/ifindex").stdout
        begin = time.monotonic()
        self.assertEqual(node.stop(), 0, node.log())
        self.assertLess(time.monotonic() - begin, 5, "SIGTERM is to end the agent within 5 s")
        self.assertEqual(node.processes(), [], "the K3s that the agent had started outlived it")
        self.assertEqual(node.run("cat", "/sys/class/net/edgevpn0/ifindex").stdout, index)
        down = node.cli("p2p", "status")
        self.assertEqual(down.returncode, 69, down.stdout + down.stderr)
        node.start()
        self.cluster.wait(self.cluster.agree, "every node to say the same again", 30)
        after = self.status_of(node)
        self.assertEqual((after.peer, after.address, after.role), (before.peer, before.address, before.role))
        self.assertEqual(node.run("cat", "/sys/class/net/edgevpn0/ifindex").stdout, index)
        self.cluster.wait(self.cluster.joined, "every agent to be registered again", 30)

    def test_11_a_kill_at_any_instant_loses_nothing(self):
        node = self.agents[1]
        before = self.status_of(node)
        node.stop(signal.SIGKILL)
        node.start()
        self.cluster.wait(self.cluster.agree, "every node to say the same again", 30)
        after = self.status_of(node)
        self.assertEqual((after.peer, after.address, after.role), (before.peer, before.address, before.role))
        self.cluster.wait(self.cluster.joined, "every agent to be registered again", 30)

    def test_11b_a_node_whose_cable_was_pulled_comes_back(self):
        number = self.nodes.index(self.agents[0]) + 1
        peer = self.status_of(self.agents[0]).peer
        view = self.status_of(self.server).roles()

        def link():
            return next((n["state"] for n in self.status_of(self.server).nodes if n.get("peer") == peer), None)

        self.cluster.network.cable(number, up=False)
        try:
            self.cluster.wait(lambda: link() != "connected", "the server to miss the node", 30)
        finally:
            self.cluster.network.cable(number, up=True)
        self.cluster.wait(lambda: link() == "connected", "the server to have the node again", 30)
        self.cluster.wait(self.cluster.joined, "every agent to be registered", 30)
        self.assertEqual(self.cluster.agree(), view)

    def test_12_the_overlay_of_k3s_was_never_lost(self):
        for node in self.nodes:
            self.assertIsNone(node.read("var/lib/rancher/k3s/stand-in-overlay-lost"))

    def test_13_the_whole_set_comes_back_as_the_same_cluster(self):
        before = {status.peer: (status.address, status.role) for status in self.statuses}
        token = self.server.read("var/lib/rancher/k3s/server/token")
        for node in self.nodes:
            self.assertEqual(node.stop(), 0, node.log())
        for node in self.nodes:
            node.start()
        self.cluster.wait(self.cluster.agree, "every node to say the same again", 60)
        after = {status.peer: (status.address, status.role) for status in self.cluster.statuses()}
        self.assertEqual(after, before)
        self.cluster.wait(self.cluster.joined, "every agent to be registered again", 30)
        self.assertEqual(self.server.read("var/lib/rancher/k3s/server/token"), token)

    def test_14_no_secret_stands_in_a_log(self):
        secrets = [self.cluster.token[:60], self.server.k3s_record()["settings"]["token"]]
        for node in self.nodes:
            log = node.read("agent.log")
            for secret in secrets:
                self.assertNotIn(secret, log)
            for path in ("usr/local/.kairos/p2p/identity.key", "usr/local/.kairos/p2p/ledger.snapshot"):
                self.assertEqual(os.stat(node.path(path)).st_mode & 0o777, 0o600, path)


# Raw frames on the bridge for the given seconds, one after the other.
CAPTURE = """
import socket, sys, time
frames = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
frames.settimeout(0.2)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        sys.stdout.buffer.write(frames.recv(65536))
    except socket.timeout:
        pass
"""

if __name__ == "__main__":
    unittest.main()
