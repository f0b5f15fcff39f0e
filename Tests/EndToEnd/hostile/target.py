"""A network of real agents that is attacked: what they need meanwhile, and what has to stay as it was."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import unittest

from lab import program
from lab.cluster import DROP_IN, Cluster
from lab.network import ip
from lab.node import Node
from lab.status import Status
from lab.waiting import wait_until

from .room import Token

MEGABYTE = 1 << 20
STATE = "usr/local/.kairos/p2p"
CERTIFICATES = ("var/lib/rancher/k3s/server/tls/server-ca.crt", "var/lib/rancher/k3s/agent/server-ca.crt")
# Addresses of the attacker's own, and such at which it lets every call run into nothing.
OWN, DEAD = range(130, 190), range(200, 240)
HEAL_SECONDS = 20


class Vitals:
    """What agents take, looked at several times a second: memory in MB, descriptors, and how long `status` takes."""

    def __init__(self, nodes):
        self.nodes, self.stopping = nodes, threading.Event()
        self.memory, self.descriptors, self.slowest, self.silent = 0, 0, 0.0, 0
        self.begin, self.more = None, {}
        self.threads = [threading.Thread(target=self.watch, daemon=True), threading.Thread(target=self.ask, daemon=True)]

    def __enter__(self):
        self.begin = (time.monotonic(), [processor_seconds(node) for node in self.nodes])
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(10)
        now = [processor_seconds(node) for node in self.nodes]
        seconds = time.monotonic() - self.begin[0]
        shares = [after - before for after, before in zip(now, self.begin[1]) if after is not None and before is not None]
        self.processor = max(shares, default=0.0) / seconds

    def watch(self):
        while not self.stopping.wait(0.1):
            for node in self.nodes:
                memory, descriptors = memory_of(node), descriptors_of(node)
                self.memory, self.descriptors = max(self.memory, memory), max(self.descriptors, descriptors)

    def ask(self):
        while not self.stopping.wait(0.3):
            for node in self.nodes:
                try:
                    self.slowest = max(self.slowest, node.time_of_answer())
                except (OSError, RuntimeError):
                    self.silent += 1

    def figures(self):
        return {
            "rss_mb": round(self.memory), "descriptors": self.descriptors, "cpu": round(self.processor, 2),
            "status_s": round(self.slowest, 2), "status_silent": self.silent, **self.more,
        }  # fmt: skip


def memory_of(node):
    """The resident memory of the node's agent in MB, 0 when it is gone."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{node.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    return 0


def descriptors_of(node):
    with contextlib.suppress(OSError):
        return len(os.listdir(f"/proc/{node.process.pid}/fd"))
    return 0


def processor_seconds(node):
    with contextlib.suppress(OSError):
        with open(f"/proc/{node.process.pid}/stat", encoding="ascii") as file:
            parts = file.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")
    return None


class Attack:
    """One run of the hostile peer in the attacker's namespace."""

    def __init__(self, namespace, name, facts):
        self.name = name
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-B", "-m", "hostile", name, json.dumps(facts)],
            cwd=program.FIXTURES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip

    def wait_until_ready(self):
        line = self.process.stdout.readline()
        if not line or "ready" not in json.loads(line):
            raise RuntimeError(f"{self.name} did not begin: {line} {self.process.communicate(timeout=10)[1][-2000:]}")
        return self

    def finish(self, seconds=60):
        """What the attack saw."""
        try:
            out, errors = self.process.communicate(timeout=seconds)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        if self.process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {errors[-2000:]}")
        return json.loads(out.strip().splitlines()[-1])


class Target:
    """A settled cluster of `count` nodes, an attacker on the same link, and room for nodes that come later."""

    def __init__(self, count=3, minimum=2, name="hostile", start=True, settle=True, **more):
        self.cluster = Cluster(count, name=name, minimum=minimum, **more)
        self.begins, self.settles, self.late = start, start and settle, []

    def __enter__(self):
        self.cluster.__enter__()
        try:
            self.attacker, _ = self.cluster.network.add()
            self.attacker_number = len(self.cluster.network.namespaces)
            for host in (*OWN, *DEAD):
                ip("-n", self.attacker, "address", "add", f"192.168.77.{host}/24", "dev", "eth0")
            # Nobody says "no" at the dead addresses.
            first, last = f"192.168.77.{DEAD[0]}", f"192.168.77.{DEAD[-1]}"
            subprocess.run(
                ["ip", "netns", "exec", self.attacker, "nft",
                 f"table ip dead {{ chain input {{ type filter hook input priority 0; ip daddr {first}-{last} drop; }}; }}"],
                check=True, timeout=10, capture_output=True)  # fmt: skip
            self.visitor, _ = self.cluster.network.add()
            if self.begins:
                self.cluster.start()
            if self.settles:
                self.cluster.wait_until_formed()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.cluster.close()

    @property
    def nodes(self):
        return self.cluster.nodes

    def port(self, node):
        """The port at which the node's agent takes TCP."""

        def listening():
            for line in node.run("ss", "-Hltnp").stdout.splitlines():
                words = line.split()
                if f"pid={node.process.pid}," in line and words[3].startswith("0.0.0.0:"):
                    return int(words[3].rsplit(":", 1)[1])
            return None

        return wait_until(listening, f"the TCP port of {node.hostname}", 10)

    def state(self, node):
        """`election.state` of a node."""
        return json.loads(node.read(f"{STATE}/election.state") or "{}")

    def decree(self, node):
        return (self.state(node).get("certificate") or {}).get("decree") or {}

    def attack(self, name, targets=None, token=True, **facts):
        """Begins an attack on the nodes, or on those with the numbers `targets` (from 0)."""
        numbers = range(len(self.nodes)) if targets is None else targets
        facts["targets"] = [(f"192.168.77.{number + 1}", self.port(self.nodes[number])) for number in numbers]
        facts.setdefault("sources", [f"192.168.77.{host}" for host in OWN])
        facts.setdefault("dead", "192.168.77")
        if token:
            known = self.decree(self.nodes[0])
            voters = known.get("voters") or [each["peer"] for each in known.get("servers", [])]
            facts = {
                "token": self.cluster.token, "quorum": self.cluster.minimum, "number": known.get("number", 0),
                "epoch": known.get("epoch", 0), "voters": voters, "servers": known.get("servers"),
                "founder": known.get("founder"), **facts}  # fmt: skip
        else:
            # The service's name is seen by everybody on the link.
            facts["service"] = Token(self.cluster.token).mdns
        return Attack(self.attacker if name != "visit" else self.visitor, name, facts)

    def visits(self, count=10):
        """How many of so many members, one after the other, are let in by the first node."""
        return self.attack("visit", targets=[0], sources=[None], count=count).finish()["admitted"]

    def decides(self, asked):
        """Whether the election still does its work: a node that came late and is gone is forgotten when asked."""
        name = self.late[-1].hostname
        return wait_until(
            lambda: asked.cli("p2p", "forget", name, seconds=15).returncode == 0,
            lambda: f"{name} to be forgotten: {asked.cli('p2p', 'forget', name, seconds=15)}", HEAL_SECONDS, pause=1)

    def portrait(self):
        """What no attack may change."""
        return [self.portrait_of(node) for node in self.nodes]

    def portrait_of(self, node):
        status, decree = Status(node.status()), self.decree(node)
        counters = status.document.get("counters") or {}
        return {
            "up": status.up, "process": node.process.pid if node.process.poll() is None else None,
            "peer": status.peer, "address": status.address, "role": status.role, "K3s starts": node.k3s_starts(),
            "K3s": (node.k3s_record() or {}).get("command"), "settings": node.read(DROP_IN),
            "cluster": {text for text in map(node.read, CERTIFICATES) if text},
            "founder": decree.get("founder"), "epoch": decree.get("epoch"), "servers": decree.get("servers"),
            "API address lost": counters.get("api_address_lost"),
        }  # fmt: skip

    def are_connected(self):
        """Whether each node has a link to each other one."""
        peers = {status.peer for status in self.cluster.statuses()}
        return all(
            peers <= {node["peer"] for node in status.nodes if node.get("state") in ("self", "connected")}
            for status in self.cluster.statuses() if status.up
        ) and None not in peers  # fmt: skip

    def add_late(self, seconds=HEAL_SECONDS):
        """A node that comes now gets an address and joins K3s. Seconds that it took."""
        namespace, _ = self.cluster.network.add()
        node = Node(os.path.join(self.cluster.directory, f"late{len(self.late)}"), namespace, self.cluster.config)
        self.late.append(node)
        node.start()
        begin = time.monotonic()

        def joined():
            status = Status(node.status())
            return status.address and status.own.get("state") == "ready" and (node.k3s_record() or {}).get("command") == "agent"

        def story():
            status = Status(node.status())
            return f"a late node to get in: {status.address} {status.role} {status.waiting()}\n{node.log(12)}"

        try:
            wait_until(joined, story, seconds, pause=0.2)
            return time.monotonic() - begin
        finally:
            node.stop()


def identity_of(text):
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def note(name, **figures):
    """Keeps figures for docs/reliability.md, where KAIROS_FIGURES names a file."""
    if path := os.environ.get("KAIROS_FIGURES"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"attack": name, **figures}) + "\n")


class HostileTestCase(unittest.TestCase):
    """Tests that share one target. One that was harmed is not attacked again: the next test makes another."""

    options = {}
    target = None
    most_memory, most_descriptors, slowest_answer = 128, 400, 1.0

    @classmethod
    def tearDownClass(cls):
        if cls.target:
            cls.target.close()
            cls.target = None

    def setUp(self):
        if self.target is None:
            made = Target(**self.options)
            made.__enter__()
            type(self).target = made

    @contextlib.contextmanager
    def attacked(self, watch=2.0, late=False, same=True, decides=False, watched=None):
        """Around an attack: bounds are kept meanwhile, nothing has changed after it, and all is well in time."""
        target, figures, clean = self.target, {}, False
        watched = watched or target.nodes
        before = target.portrait() if same else None
        try:
            with Vitals(watched) as vitals:
                yield vitals
                time.sleep(watch)
            figures = vitals.figures()
            after = target.portrait() if same else None
            begin = time.monotonic()
            healed = True
            while not target.are_connected():
                if time.monotonic() - begin > HEAL_SECONDS:
                    healed = False
                    break
                time.sleep(0.2)
            figures["heal_s"] = round(time.monotonic() - begin, 1) if healed else None
            if late:
                try:
                    figures["late_s"] = round(target.add_late(), 1)
                except Exception as error:
                    figures["late_s"], figures["late"] = None, str(error)[:300]
            if decides:
                try:
                    begin = time.monotonic()
                    target.decides(watched[0])
                    figures["decides_s"] = round(time.monotonic() - begin, 1)
                except Exception as error:
                    figures["decides_s"], figures["decides"] = None, str(error)[:300]
            figures["idle_cpu"] = round(self.idle_processor(), 2)
            if same:
                figures["changed"] = differences(before, after)
            self.judge(figures)
            clean = True
        finally:
            note(self._testMethodName[8:], passed=clean, **figures)
            if not clean:
                target.close()
                type(self).target = None

    def idle_processor(self, seconds=1.5):
        """What the busiest agent takes of a processor when the attack is over."""
        nodes = self.target.nodes
        before = [processor_seconds(node) or 0 for node in nodes]
        time.sleep(seconds)
        return max((processor_seconds(node) or 0) - each for node, each in zip(nodes, before)) / seconds

    def judge(self, figures):
        self.assertEqual(figures.get("changed", []), [], figures)
        self.assertIsNotNone(figures["heal_s"], f"the nodes do not find back together: {figures}")
        self.assertIsNotNone(figures.get("late_s", 0), f"a late node does not get in: {figures}")
        self.assertIsNotNone(figures.get("decides_s", 0), f"nothing is decided any more: {figures}")
        self.assertTrue(figures.get("in while it lasted", True), f"a late node had to wait for the end: {figures}")
        # One that is thrown out by chance comes again.
        self.assertGreaterEqual(figures.get("admitted of 10", 10), 8, f"members are kept out: {figures}")
        self.assertLessEqual(figures["rss_mb"], self.most_memory, figures)
        self.assertLessEqual(figures["descriptors"], self.most_descriptors, figures)
        self.assertEqual(figures["status_silent"], 0, f"status did not answer: {figures}")
        self.assertLessEqual(figures["status_s"], self.slowest_answer, figures)
        self.assertLessEqual(figures["idle_cpu"], 0.3, f"an agent is busy when the attack is over: {figures}")


def shown(value):
    """A value on one line; of long texts only which one it is."""
    text = str(value)
    return text if len(text) <= 200 else identity_of(text)


def differences(before, after):
    return [
        f"node {number}: {key}: {shown(old[key])} is now {shown(new[key])}"
        for number, (old, new) in enumerate(zip(before, after), 1) for key in old if old[key] != new[key]
    ]  # fmt: skip
