"""Disks that lose, repeat or forget: a running cluster is never founded again, and one key is never two nodes."""

import os
import shutil
import signal
import time
import unittest

from hostile.target import CERTIFICATES, HEAL_SECONDS, STATE, Target, note
from lab.cluster import DROP_IN
from lab.node import LAN_CONFIG, Node
from lab import program
from lab.status import Status
from lab.waiting import wait_until

K3S, API_ADDRESS = "var/lib/rancher", "10.1.0.2"
WATCH_SECONDS = 6
HIGH_AVAILABILITY = "\n  auto:\n    ha:\n      enable: true\n      master_nodes: 2\n"


def cut_power(node):
    for process in node.processes():
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass
    node.process.wait(10)


class DiskTestCase(unittest.TestCase):
    """One network for the tests of a class; after each the disk is what it was. A harmed network is made anew."""

    target = None

    @classmethod
    def tearDownClass(cls):
        if cls.target:
            cls.target.close()
            cls.target = None

    @classmethod
    def make(cls):
        """The network, not yet begun."""
        return Target(count=3, minimum=2, name="disk")

    @classmethod
    def prepare(cls, made):
        """What is done with it before the first test."""

    def setUp(self):
        if self.target is None:
            made = self.make()
            made.__enter__()
            try:
                self.prepare(made)
            except BaseException:
                made.close()
                raise
            type(self).target = made
        self.cluster = self.target.cluster
        self.nodes = self.cluster.nodes
        founder = self.target.decree(self.nodes[0])["founder"]["peer"]
        peers = [status.peer for status in self.cluster.statuses()]
        self.founder = self.nodes[peers.index(founder)]
        self.others = [node for node in self.nodes if node is not self.founder]
        self.identity = self.founder.read(CERTIFICATES[0])
        self.before = {node: self.target.portrait_of(node) for node in self.nodes}
        self.figures, self.clean = {}, False

    def tearDown(self):
        note(self._testMethodName[5:], passed=self.clean, **self.figures)
        if not self.clean:
            self.target.close()
            type(self).target = None

    def hurt(self, node, change):
        """Cuts the node's power and changes its disk. Gives back where the disk is kept as it was."""
        cut_power(node)
        kept = node.root + ".kept"
        copy_disk(node.root, kept)
        change(node)
        return kept

    def restore(self, node, kept):
        if node.process.poll() is None:
            cut_power(node)
        shutil.rmtree(node.root)
        os.rename(kept, node.root)
        node.start()
        self.cluster.wait(
            lambda: all(is_ready(status) for status in self.cluster.statuses()), "all to be ready again", 60)
        self.cluster.wait(self.target.are_connected, "all to be connected again", 30)
        # The agent that was started anew counts its losses of the address from none.
        self.clean = True

    def violations(self, hurt):
        """What is true of a second cluster, or of nodes that follow one."""
        found = []
        for node in self.nodes:
            for path in CERTIFICATES:
                if (text := node.read(path)) and text != self.identity:
                    found.append(f"{node.hostname} has the certificate of another cluster")
            if node is hurt:
                continue
            now = self.target.portrait_of(node)
            for key in ("peer", "address", "role", "K3s starts", "founder", "epoch", "servers", "cluster"):
                if now[key] != self.before[node][key]:
                    found.append(f"{node.hostname}: {key}: {self.before[node][key]} is now {now[key]}"[:300])
        return found

    def watch(self, hurt, seconds=WATCH_SECONDS):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.violations(hurt)
            self.figures["violations"] = found[:3]
            self.assertEqual(found, [])
            time.sleep(0.3)

    def comes_back(self, node):
        """The node is ready again, as what it was."""
        begin = time.monotonic()

        def ready():
            status = Status(node.status())
            return is_ready(status) and status.role == self.before[node]["role"]

        wait_until(ready, lambda: f"{node.hostname} to be ready: {node.status()}\n{node.log(12)}", HEAL_SECONDS)
        self.figures["ready_s"] = round(time.monotonic() - begin, 1)
        self.assertEqual(Status(node.status()).peer, self.before[node]["peer"])
        self.assertEqual(Status(node.status()).address, self.before[node]["address"])

    def lose(self, node, *paths, back):
        kept = self.hurt(node, lambda node: [remove(node.path(path)) for path in paths])
        node.start()
        if back:
            self.comes_back(node)
        self.watch(node, WATCH_SECONDS / 2 if back else WATCH_SECONDS)
        if not back:
            status = Status(node.status())
            self.assertNotEqual(status.own.get("state"), "ready", "a node without its data says that it waits")
            self.assertTrue(status.waiting(), "and for what")
        self.restore(node, kept)


def is_ready(status):
    """Whether K3s runs too: a node that has just started is ready before that."""
    return status.own.get("state") == "ready" and (status.document.get("k3s") or {}).get("state") == "active"


def copy_disk(source, target):
    """A copy of a node's root; what is in /run does not outlive a boot."""
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("run"))
    os.makedirs(os.path.join(target, "run"))


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def remove_all_but_identity(node):
    remove(node.path("etc/rancher"))
    remove_state_and_data(node)


def remove_state_and_data(node):
    """All but the key, and but the password that K3s keeps in /etc: without that its server turns the node away."""
    remove(node.path(K3S))
    kept = node.path(f"{STATE}/identity.key")
    with open(kept, "rb") as file:
        key = file.read()
    remove(node.path("usr/local/.kairos"))
    os.makedirs(node.path(STATE), mode=0o700)
    with open(os.open(kept, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(key)


class LossTests(DiskTestCase):
    @classmethod
    def make(cls):
        return Target(count=3, minimum=2, name="disk", start=False)

    @classmethod
    def prepare(cls, made):
        """Every node is started alone once, so that there is an image of each from before the founding."""
        for node in made.nodes:
            node.start()
            wait_until(lambda node=node: Status(node.status()).peer, "a node alone", 20)
            time.sleep(0.5)
            cut_power(node)
            copy_disk(node.root, node.root + ".image")
        made.cluster.start()
        made.cluster.wait_until_formed()

    def test_C1_a_founder_that_lost_the_data_of_K3s_and_their_record(self):
        self.lose(self.founder, K3S, f"{STATE}/k3s.cluster", back=False)

    def test_C1b_a_founder_that_lost_all_but_its_key(self):
        kept = self.hurt(self.founder, remove_all_but_identity)
        self.founder.start()
        self.watch(self.founder)
        self.assertTrue(Status(self.founder.status()).waiting(), "it says what it waits for")
        self.restore(self.founder, kept)

    def test_C1c_a_founder_that_is_set_back_to_before_the_founding(self):
        def set_back(node):
            shutil.rmtree(node.root)
            copy_disk(node.root + ".image", node.root)

        kept = self.hurt(self.founder, set_back)
        self.founder.start()
        self.watch(self.founder)
        self.assertTrue(Status(self.founder.status()).waiting(), "it says what it waits for")
        self.restore(self.founder, kept)

    def test_C1d_a_founder_that_lost_its_votes(self):
        self.lose(self.founder, f"{STATE}/election.state", back=True)

    def test_C1e_a_founder_that_lost_its_ledger_and_its_votes(self):
        self.lose(self.founder, f"{STATE}/ledger.snapshot", f"{STATE}/election.state", back=True)

    def test_C1f_a_founder_that_lost_the_record_of_its_data(self):
        kept = self.hurt(self.founder, lambda node: remove(node.path(f"{STATE}/k3s.cluster")))
        self.founder.start()
        self.watch(self.founder)
        self.assertEqual(self.founder.read(CERTIFICATES[0]), self.identity, "the data stay where they are")
        self.restore(self.founder, kept)

    def test_C1g_an_agent_that_lost_all_but_its_key(self):
        node = self.others[0]
        kept = self.hurt(node, remove_state_and_data)
        node.start()
        self.comes_back(node)
        self.watch(node, WATCH_SECONDS / 2)
        self.restore(node, kept)

    def test_C3_a_key_that_is_empty_short_garbage_or_gone(self):
        node = self.others[0]
        path = node.path(f"{STATE}/identity.key")
        with open(path, "rb") as file:
            right = file.read()
        kept = self.hurt(node, lambda node: None)
        self.figures["another node for"] = made = []
        for name, content in (("empty", b""), ("short", right[:20]), ("garbage", os.urandom(len(right))), ("gone", None)):
            with self.subTest(key=name):
                shutil.rmtree(node.root)
                copy_disk(kept, node.root)
                if content is None:
                    remove(path)
                else:
                    with open(path, "wb") as file:
                        file.write(content)
                node.start()
                try:
                    self.watch(node, 2)
                    status = Status(node.status())
                    if status.peer not in (None, self.before[node]["peer"]):
                        made.append(name)
                    self.assertIn(status.peer, (None, self.before[node]["peer"]), "another node was made of it")
                    self.assertEqual(node.read(CERTIFICATES[1]), self.identity, "the data of K3s were set aside")
                finally:
                    if node.process.poll() is None:
                        cut_power(node)
        self.restore(node, kept)
        self.clean = not made


class CloneTests(DiskTestCase):
    """A disk that was copied with its key, in two machines that run."""

    def clone(self, node):
        namespace, _ = self.cluster.network.add()
        root = os.path.join(self.cluster.directory, f"clone{len(self.cluster.network.namespaces)}")
        cut_power(node)
        copy_disk(node.root, root)
        copy = Node(root, namespace, None, machine_id=node.machine_id)
        node.start()
        copy.start()
        return copy

    def carries(self, node):
        shown = node.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout
        return f"inet {API_ADDRESS}/32" in shown

    def warns(self, node):
        status = Status(node.status())
        text = str(status.document.get("warnings")) + str(status.waiting())
        return "key" in text or "identity" in text or "clone" in text

    def meet(self, node):
        copy = self.clone(node)
        begin = time.monotonic()
        try:
            wait_until(
                lambda: self.warns(node) and self.warns(copy),
                lambda: f"both to warn: {node.status()}\n{copy.status()}", HEAL_SECONDS)
            self.figures["warned_s"] = round(time.monotonic() - begin, 1)
            wait_until(
                lambda: not self.carries(node) and not self.carries(copy), "neither to carry the API address", 10)
            self.watch_addresses(node, copy)
        finally:
            self.figures["both carry"] = self.carries(node) and self.carries(copy)
            cut_power(copy)
        self.comes_back(node)
        wait_until(lambda: not self.warns(node), "the warning to go", HEAL_SECONDS)
        self.clean = True

    def watch_addresses(self, node, copy):
        for _ in range(10):
            self.assertFalse(self.carries(node) or self.carries(copy), "one of two with one key carries the address")
            found = [v for v in self.violations(node) if "another cluster" in v]
            self.assertEqual(found, [])
            time.sleep(0.3)

    def test_C2_a_clone_of_the_founder_beside_it(self):
        self.meet(self.founder)

    def test_C2b_a_clone_of_an_agent_beside_it(self):
        self.meet(self.others[0])


class ServerLossTests(DiskTestCase):
    """Three servers: one of them that lost everything joins the others, and founds nothing."""

    @classmethod
    def make(cls):
        token = program.new_token()
        config = LAN_CONFIG.format(minimum=2, token=token).rstrip() + HIGH_AVAILABILITY
        return Target(count=3, minimum=2, name="loss", settle=False, token=token, config=config)

    @classmethod
    def prepare(cls, made):
        wanted = ["master/clusterinit", "master/ha", "master/ha"]
        made.cluster.wait(
            lambda: sorted(s.role or "" for s in made.cluster.statuses()) == wanted
            and all(s.own.get("state") == "ready" for s in made.cluster.statuses())
            and all(f"https://{API_ADDRESS}:6443" in (n.read(DROP_IN) or "") for n in made.nodes),
            "three servers", 90)  # fmt: skip

    def test_C1h_the_founder_of_three_servers_that_lost_all_but_its_key(self):
        self.hurt(self.founder, remove_state_and_data)
        self.founder.start()
        self.watch(self.founder, 10)
        self.figures["K3s starts"] = self.founder.k3s_starts()
        self.figures["state"] = Status(self.founder.status()).own.get("state")
        self.assertLessEqual(self.founder.k3s_starts(), 4, "K3s is started again and again")
        self.clean = True


if __name__ == "__main__":
    unittest.main()
