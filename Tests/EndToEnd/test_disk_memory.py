"""Disks that were lost, set back, damaged or copied: what real nodes make of them."""

import os
import shutil
import time
import unittest

from lab.cluster import Cluster
from lab.node import Node
from lab.status import Status

STATE = "usr/local/.kairos/p2p"
K3S = "var/lib/rancher"
EX_DATAERR = 65


def contents(root):
    """Every file below the root with what it holds, but the logs."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and name != "agent.log":
                with open(path, "rb") as file:
                    found[os.path.relpath(path, root)] = file.read()
    return found


class DiskMemoryTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster of four of which two found it."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(4, name="disk", minimum=3)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.wait_until_formed()
        cls.server = cls.cluster.server()
        cls.agents = [node for node in cls.cluster.nodes if node is not cls.server]

    def save(self):
        """Stops the server and keeps its disk. What puts it back."""
        self.server.stop()
        kept = self.server.root + ".kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.server.root, kept, symlinks=True, ignore=shutil.ignore_patterns("run"))

        def restore():
            self.server.stop()
            for path in (STATE, K3S, "etc/rancher", "usr/local/.kairos"):
                shutil.rmtree(self.server.path(path), ignore_errors=True)
                if os.path.exists(os.path.join(kept, path)):
                    shutil.copytree(os.path.join(kept, path), self.server.path(path), dirs_exist_ok=True)

        return restore

    def remove(self, *paths):
        for path in paths:
            whole = self.server.path(path)
            shutil.rmtree(whole) if os.path.isdir(whole) else os.unlink(whole)

    def waits_with_its_data_gone(self):
        self.cluster.wait(
            lambda: any("gone from its disk" in text for text in Status(self.server.status()).waiting()),
            "the founder to say what it has lost", 40)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            self.assertIsNone(self.server.k3s_record(), "K3s was started without its data")
            self.assertFalse(os.path.exists(self.server.path("var/lib/rancher/k3s/server")))
            time.sleep(0.5)
        for agent in self.agents:
            self.assertEqual(Status(agent.status()).role, "worker")
        item = self.server.status()["waiting"][0]
        self.assertIn("reset-cluster", item["remedy"])

    def back(self):
        self.server.start()
        self.cluster.wait(self.cluster.joined, "every agent to be registered again", 90)

    def test_1_a_founder_that_lost_its_data_founds_no_second_cluster(self):
        for lost in ([K3S, STATE + "/k3s.cluster"], "all but the key"):
            restore = self.save()
            if isinstance(lost, list):
                self.remove(*lost)
            else:
                self.remove(K3S, "etc/rancher", "usr/local/.kairos/lease")
                for name in os.listdir(self.server.path(STATE)):
                    if name != "identity.key":
                        self.remove(f"{STATE}/{name}")
            with self.subTest(lost=lost):
                self.server.start()
                self.waits_with_its_data_gone()
            restore()
            self.back()

    def test_2_a_key_that_is_empty_or_missing_is_no_new_node(self):
        for damage in ("empty", "missing"):
            restore = self.save()
            key = self.server.path(STATE + "/identity.key")
            open(key, "w").close() if damage == "empty" else os.unlink(key)
            before = contents(self.server.root)
            with self.subTest(damage=damage):
                self.server.start()
                self.assertEqual(self.server.process.wait(20), EX_DATAERR, self.server.log())
                self.assertIn("election.state", self.server.log())
                after = contents(self.server.root)
                changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
                self.assertLessEqual(changed, {"run/kairos-agent.lock"})
            restore()
            self.back()

    def test_3_two_machines_with_one_key_say_so_and_keep_still(self):
        namespace, address = self.cluster.network.add()
        copy = Node(self.server.root + "-copy", namespace, None, machine_id=self.server.machine_id)
        # A disk is copied while its machine runs.
        for path in ("usr/local", "var/lib", "etc", "oem"):
            shutil.copytree(
                self.server.path(path), copy.path(path), dirs_exist_ok=True, symlinks=True,
                ignore=lambda _, names: [name for name in names if name.endswith((".sock", ".new"))])
        starts = copy.k3s_starts()
        copy.start()

        def warned(node):
            return any("this node's key" in text for text in (node.status() or {}).get("warnings", []))

        self.cluster.wait(lambda: warned(self.server) and warned(copy), "both to say so", 20)
        self.assertTrue(any(address in text for text in self.server.status()["warnings"]))
        for _ in range(20):
            for node in (self.server, copy):
                shown = node.run("ip", "-4", "-o", "addr", "show", "dev", "edgevpn0").stdout
                self.assertNotIn("10.1.0.2/", shown)
            self.assertEqual(copy.k3s_starts(), starts, "K3s of the copy was started")
            time.sleep(0.5)
        self.assertTrue(any(item["step"] == "role" for item in copy.status()["waiting"]))
        copy.stop()
        self.cluster.wait(lambda: not warned(self.server), "the warning to go", 90)
        self.cluster.wait(
            lambda: "10.1.0.2/" in self.server.run("ip", "-4", "-o", "addr", "show", "dev", "edgevpn0").stdout,
            "the API address to be back", 30)


if __name__ == "__main__":
    unittest.main()
