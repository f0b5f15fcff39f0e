"""K3s is kept as it should be: files that others change, settings that change, a server that is gone."""

import os
import signal
import tempfile
import time
import unittest

from lab import program
from lab.cluster import DROP_IN
from lab.network import Network
from lab.node import Node
from lab.status import Status
from lab.waiting import wait_until

CONFIG = """#cloud-config
p2p:
  disable_dht: true
  minimum_nodes: 1
  network_token: "{token}"
"""
RECORD = "usr/local/.kairos/p2p/k3s.cluster"
SECRET = "s3cret-of-the-test"


class ReconcileTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="reconcile-")
        self.addCleanup(directory.cleanup)
        network = Network("reconcile")
        network.__enter__()
        self.addCleanup(network.close)
        namespace, _ = network.add()
        self.config = CONFIG.format(token=program.new_token())
        self.node = Node(os.path.join(directory.name, "node"), namespace, self.config)
        self.node.start()
        self.wait(self.is_ready, "the node to be ready", 60)

    def wait(self, condition, what, seconds=30):
        return wait_until(condition, lambda: f"{what}\n{self.node.status()}\n{self.node.log()}", seconds)

    def is_ready(self):
        status = Status(self.node.status())
        return status.own.get("state") == "ready" and self.node.k3s_record()

    def test_a_file_that_others_change_or_delete_is_put_back(self):
        node, path = self.node, self.node.path(DROP_IN)
        right, starts = node.read(DROP_IN), node.k3s_starts()
        for change in (lambda: os.remove(path), lambda: node.write(DROP_IN, f'token: "{SECRET}"\n')):
            change()
            self.wait(lambda: node.read(DROP_IN) == right, "the drop-in to be put back", 75)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(node.k3s_starts(), starts, "K3s read none of it, so nothing is restarted")
        log = node.read("agent.log")
        self.assertIn("rewrite ", log)
        self.assertIn("token: *** → ***", log)
        self.assertNotIn(SECRET, log)

    def configure(self, text):
        """Puts another cloud-config in the place of the node's, as an editor does."""
        self.node.write("oem/.new", text)
        os.rename(self.node.path("oem/.new"), self.node.path("oem/90_custom.yaml"))

    def configuration(self):
        return Status(self.node.status()).document.get("configuration", {})

    def test_changed_arguments_are_applied_live_with_one_restart(self):
        node, agent = self.node, self.node.process.pid
        self.assertIn("epoch 1\nrole server\n", node.read(RECORD))
        before = node.k3s_starts()
        self.configure(self.config + f'k3s:\n  args:\n    - "--agent-token={SECRET}"\n')
        self.wait(
            lambda: self.is_ready() and node.k3s_record()["settings"].get("agent-token") == SECRET,
            "K3s to have the argument",
        )
        time.sleep(3)
        self.assertEqual(node.k3s_starts(), before + 1, "one restart")
        self.assertEqual((node.process.pid, node.process.poll()), (agent, None), "the agent went on")
        log = node.read("agent.log")
        self.assertIn("k3s.args (", log)
        self.assertIn("+--agent-token=***", log)
        self.assertNotIn(SECRET, log)

    def test_a_broken_cloud_config_takes_nothing_down(self):
        node, starts = self.node, self.node.k3s_starts()
        self.configure(self.config.replace("minimum_nodes: 1", "minimum_nodes: many"))
        self.wait(lambda: self.configuration().get("problems"), "the problem to be told")
        problem = self.configuration()["problems"][0]
        self.assertRegex(problem, r"oem/90_custom.yaml:4:18: p2p.minimum_nodes: found \"many\"")
        self.assertIn(problem, node.read("agent.log"))
        self.assertTrue(self.is_ready())
        self.assertEqual(node.k3s_starts(), starts)
        os.remove(node.path("oem/90_custom.yaml"))
        self.wait(lambda: "no cloud-config found" in str(self.configuration()["problems"]), "the loss to be told")
        self.assertTrue(self.is_ready())
        self.configure(self.config)
        self.wait(lambda: not self.configuration()["problems"], "all to be well again")
        self.assertEqual(node.k3s_starts(), starts)

    def test_a_hang_up_has_it_read_at_once(self):
        node = self.node
        said = "the cloud-config is what the node runs with"
        node.process.send_signal(signal.SIGHUP)
        self.wait(lambda: said in node.read("agent.log"), "the answer in the log", 5)
        self.assertIsNone(node.process.poll())

    def test_a_foundation_of_the_run_takes_another_run(self):
        node = self.node
        address = Status(node.status()).own["address"]
        self.configure(self.config + "  vpn:\n    env:\n      IFACE: other0\n")
        self.assertEqual(node.process.wait(20), 75, node.log())
        self.assertIn("p2p.vpn.env.IFACE (", node.log())
        # As systemd does with this code.
        node.start()
        self.wait(self.is_ready, "the node to be ready", 60)
        self.assertEqual(Status(node.status()).own["address"], address)
        self.assertIn(address, node.run("ip", "-o", "addr", "show", "other0").stdout)
        self.assertNotEqual(node.run("ip", "link", "show", "edgevpn0").returncode, 0, "the former device is gone")
        self.assertIn("epoch 1\nrole server\n", node.read(RECORD))

    def test_k3s_that_is_killed_comes_back(self):
        node, starts = self.node, self.node.k3s_starts()
        os.kill(node.k3s_record()["pid"], signal.SIGKILL)
        self.wait(lambda: node.k3s_starts() == starts + 1 and self.is_ready(), "K3s to run again")

    def test_data_of_a_later_epoch_are_left_alone(self):
        node = self.node
        node.stop()
        starts = node.k3s_starts()
        node.write(RECORD, "kairos-k3s-cluster 1\nepoch 9\nrole server\nend\n")
        node.start()
        self.wait(lambda: any("epoch 9" in line for line in Status(node.status()).waiting()), "the wait to be told")
        self.assertEqual(node.k3s_starts(), starts)
        self.assertIn("epoch 9", node.read(RECORD))

    def test_data_of_a_former_epoch_are_no_reason_to_found_a_running_cluster_again(self):
        node, data = self.node, "var/lib/rancher/k3s"
        node.stop()
        token, record, starts = node.read(data + "/server/token"), node.read(RECORD), node.k3s_starts()
        node.write(RECORD, "kairos-k3s-cluster 1\nepoch 0\nrole server\ndatastore sqlite\nend\n")
        node.start()
        self.wait(
            lambda: any("gone from its disk" in line for line in Status(node.status()).waiting()), "the loss to be told"
        )
        self.assertEqual(node.k3s_starts(), starts)
        self.assertEqual(node.read(data + "/server/token"), token, "nothing is set aside")
        node.stop()
        node.write(RECORD, record)
        node.start()
        self.wait(self.is_ready, "K3s with its record back", 60)
        self.assertEqual(node.read(data + "/server/token"), token)

    def test_a_founder_that_lost_its_data_does_not_found_again(self):
        node = self.node
        node.stop()
        starts = node.k3s_starts()
        os.rename(node.path("var/lib/rancher/k3s/server"), node.path("var/lib/lost"))
        node.start()
        self.wait(
            lambda: any("gone from its disk" in line for line in Status(node.status()).waiting()), "the loss to be told"
        )
        self.assertEqual(node.k3s_starts(), starts)
        node.stop()
        os.rename(node.path("var/lib/lost"), node.path("var/lib/rancher/k3s/server"))
        node.start()
        self.wait(self.is_ready, "K3s with its data back", 60)


if __name__ == "__main__":
    unittest.main()
