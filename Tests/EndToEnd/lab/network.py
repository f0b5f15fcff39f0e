"""Network namespaces joined by one bridge: machines on a LAN, apart from the host's network."""

import atexit
import os
import signal
import subprocess
import time


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
    if check and done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def need_root():
    if os.geteuid() != 0:
        raise PermissionError("network namespaces need root")
    if not os.path.exists("/dev/net/tun"):
        raise FileNotFoundError("/dev/net/tun is missing: modprobe tun")


class Network:
    """A LAN. Use it in a `with`: what it made is gone at the end, the processes in it too."""

    def __init__(self, name="lab"):
        need_root()
        self.prefix = f"{name}-{os.getpid()}"
        self.lan = f"{self.prefix}-lan"
        self.namespaces = []

    def __enter__(self):
        atexit.register(self.close)
        # The bridge has a namespace of its own, so that no firewall of the host is in the way.
        ip("netns", "add", self.lan)
        try:
            ip("-n", self.lan, "link", "add", "lan0", "type", "bridge", "mcast_snooping", "0")
            ip("-n", self.lan, "link", "set", "lan0", "up")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def add(self):
        """A namespace with `eth0` in the LAN. Its name and its address."""
        number = len(self.namespaces) + 1
        if number > 250:
            raise ValueError("a LAN holds 250 nodes")
        name, port, address = f"{self.prefix}-{number}", f"port{number}", f"192.168.77.{number}"
        ip("netns", "add", name)
        self.namespaces.append(name)
        ip("link", "add", port, "netns", self.lan, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("-n", self.lan, "link", "set", port, "master", "lan0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        # Without a default route several programs do not use multicast.
        ip("-n", name, "route", "add", "default", "via", "192.168.77.254", "dev", "eth0")
        return name, address

    def cable(self, number, up):
        """Pulls or plugs the cable of the node with this number, from 1."""
        ip("-n", self.lan, "link", "set", f"port{number}", "up" if up else "down")

    def sent_bytes(self, number):
        """What the node with this number has sent onto the LAN, in bytes."""
        text = subprocess.run(
            ["ip", "netns", "exec", self.lan, "cat", f"/sys/class/net/port{number}/statistics/rx_bytes"],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout  # fmt: skip
        return int(text)

    def close(self):
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            left = self.processes()
            for process in left:
                try:
                    os.kill(process, signal_number)
                except ProcessLookupError:
                    pass
            end = time.monotonic() + 5
            while left and self.processes() and time.monotonic() < end:
                time.sleep(0.05)
        for name in [*self.namespaces, self.lan]:
            ip("netns", "delete", name, check=False)
        self.namespaces = []

    def processes(self):
        """The processes in the namespaces of this LAN: they were all started for it."""
        found = []
        for name in self.namespaces:
            found.extend(int(word) for word in ip("netns", "pids", name, check=False).split())
        return found
