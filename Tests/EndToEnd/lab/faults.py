"""Faults of a node and of its network, each with the way back."""

import json
import os
import shutil
import signal
import subprocess

from .network import ip
from .waiting import wait_until

STATE = "usr/local"
STATE_BYTES = 8 << 20
FAKE_TIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
RULES = """table inet chaos {
  set cut { type ipv4_addr; }
  chain receive {
    type filter hook input priority -10;
    iifname "eth0" ip saddr @cut drop
  }
}
"""
ILL = "etc/k3s-stand-in-ill"
# The clock of the agent is moved, not that of its K3s: certificates of another time are another test.
K3S_WITHOUT_FAKE_TIME = '#!/bin/sh\nunset LD_PRELOAD\nexec "$(dirname "$0")/../libexec/k3s" "$@"\n'


class Patient:
    """A node of a cluster that can be hurt. `number` counts from 1, as its address ends."""

    def __init__(self, number, node):
        self.number, self.node = number, node
        self.lan_address = f"192.168.77.{number}"
        self.frozen, self.frozen_k3s, self.down, self.cut_from, self.starts = [], [], True, set(), 0
        state = node.path(STATE)
        os.makedirs(state, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES},mode=0755", "chaos", state], check=True, timeout=10
        )
        os.makedirs(node.path("usr/libexec"), exist_ok=True)
        shutil.move(node.path("usr/bin/k3s"), node.path("usr/libexec/k3s"))
        os.chmod(node.write("usr/bin/k3s", K3S_WITHOUT_FAKE_TIME), 0o755)
        self.set_clock(0)
        done = subprocess.run(
            ["ip", "netns", "exec", node.namespace, "nft", "-f", "-"], input=RULES, text=True, capture_output=True,
            timeout=10,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"nft: {done.stderr}")

    def close(self):
        self.thaw()
        self.kill()
        subprocess.run(["umount", "-l", self.node.path(STATE)], capture_output=True, timeout=10)

    # Kills.

    def start(self):
        if not os.path.exists(FAKE_TIME):
            raise FileNotFoundError(f"{FAKE_TIME} is missing: scripts/setup --for test installs libfaketime")
        self.starts += 1
        self.down = False
        self.node.start(
            LD_PRELOAD=FAKE_TIME, FAKETIME_TIMESTAMP_FILE=self.node.path("clock"), FAKETIME_DONT_FAKE_MONOTONIC="1",
            FAKETIME_CACHE_DURATION="1",
        )  # fmt: skip

    def kill(self, everything=True):
        """kill -9 of the agent, or of all that runs on the node, as when the power is cut."""
        self.down = True
        if self.node.process is None:
            return
        numbers = self.node.processes() if everything else [self.node.process.pid]
        send(numbers, signal.SIGKILL)
        self.node.process.wait(10)
        if everything:
            wait_until(lambda: not self.node.processes(), "killed processes to end", 10)
        self.frozen, self.frozen_k3s = [], []

    def ended_by_itself(self):
        return not self.down and self.node.process is not None and self.node.process.poll() is not None

    # Freezes.

    def freeze(self, everything):
        self.frozen = self.node.processes() if everything else [self.node.process.pid]
        send(self.frozen, signal.SIGSTOP)

    def thaw(self):
        send(self.frozen + self.frozen_k3s, signal.SIGCONT)
        self.frozen, self.frozen_k3s = [], []

    # The network.

    def cut(self, addresses):
        """Drops what comes from these addresses of the LAN; an empty set drops nothing."""
        self.cut_from = set(addresses)
        elements = f"add element inet chaos cut {{ {', '.join(sorted(addresses))} }}\n" if addresses else ""
        subprocess.run(
            ["ip", "netns", "exec", self.node.namespace, "nft", "-f", "-"],
            input="flush set inet chaos cut\n" + elements, text=True, check=True, capture_output=True, timeout=10,
        )  # fmt: skip

    # The disk and the clock.

    def fill_disk(self):
        """Leaves no byte on the disk that holds the node's state."""
        with open(self.node.path(f"{STATE}/filler"), "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free_disk(self):
        try:
            os.unlink(self.node.path(f"{STATE}/filler"))
        except FileNotFoundError:
            pass

    def set_clock(self, seconds):
        """Moves the agent's wall clock to this many seconds before or after the true time, while it runs."""
        path = self.node.path("clock.new")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{seconds:+d}\n")
        os.replace(path, self.node.path("clock"))

    # K3s alone.

    def k3s_processes(self):
        """The processes of K3s on this node, none when it does not run."""
        found = []
        for number in self.node.processes():
            try:
                with open(f"/proc/{number}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if any(word.endswith(b"/libexec/k3s") for word in words[:3]):
                found.append(number)
        return found

    def kill_k3s(self):
        send(self.k3s_processes(), signal.SIGKILL)

    def freeze_k3s(self):
        """K3s that runs and answers nobody; `thaw` ends it."""
        self.frozen_k3s = self.k3s_processes()
        if not self.frozen_k3s:
            raise RuntimeError(f"no K3s runs on node {self.number}")
        send(self.frozen_k3s, signal.SIGSTOP)

    def set_ill(self, ill):
        """Whether the API server says that it is not ready."""
        if ill:
            self.node.write(ILL, "")
        elif os.path.exists(self.node.path(ILL)):
            os.unlink(self.node.path(ILL))

    # What is seen from outside.

    def carries(self, address):
        """Whether the VPN device has this address while an agent is behind it: one without has no carrier."""
        text = ip("-n", self.node.namespace, "-json", "-4", "address", "show", "dev", "edgevpn0", check=False)
        links = [link for link in json.loads(text or "[]") if link] if text.strip() else []
        return any(
            "NO-CARRIER" not in link["flags"] and any(each["local"] == address for each in link["addr_info"])
            for link in links
        )

    def cluster_files(self):
        """The certificates of the cluster that this node's K3s is of, as its server and as its agent has them."""
        data = "var/lib/rancher/k3s"
        texts = (self.node.read(f"{data}/{name}") for name in ("server/tls/server-ca.crt", "agent/server-ca.crt"))
        return [text for text in texts if text and "END CERTIFICATE" in text]

    def etcd_members(self):
        """The members that this server knows, without those that were removed."""
        text = self.node.read("var/lib/rancher/k3s/server/db/etcd/stand-in-members.json")
        try:
            members = json.loads(text or "{}")
        except ValueError:
            return []
        return [member for member in members.values() if not member["removed"]]


def send(numbers, signal_number):
    for number in numbers:
        try:
            os.kill(number, signal_number)
        except ProcessLookupError:
            pass
