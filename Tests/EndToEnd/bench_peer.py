"""The two agents behind `scripts/bench-peer`; the header of that script says what is wanted."""

import os
import shutil
import signal
import sys
import time

from lab import program
from lab.node import Node
from lab.status import Status
from lab.waiting import TimedOut, wait_until

BOUND = 25
PORT = 4001
DIRECTORY = "kairos-bench-peer"
CONFIG = """#cloud-config
p2p:
  disable_dht: true
  auto:
    enable: false
  network_token: "{token}"
  vpn:
    env:
      EDGEVPNMDNS: "false"
      EDGEVPNLISTENMADDRS: "/ip4/{under}/tcp/{port}"
{rest}"""


def directory():
    return os.path.join(os.environ["WORK"], DIRECTORY)


class Pair:
    """The two nodes, A first."""

    def __init__(self):
        self.nodes, self.token = [], program.new_token()
        self.mtu = os.environ.get("KAIROS_PEER_MTU")

    def start(self, side, bootstrap=None):
        """A started node in the namespace of this side; with `bootstrap` it dials there."""
        rest = [f'      EDGEVPNBOOTSTRAPPEERS: "{bootstrap}"'] if bootstrap else []
        rest += [f'      EDGEVPNMTU: "{int(self.mtu)}"'] if self.mtu else []
        text = CONFIG.format(
            token=self.token, under=os.environ[f"UNDER_{side}"], port=PORT, rest="".join(line + "\n" for line in rest)
        )
        node = Node(os.path.join(directory(), side.lower()), os.environ[f"NS_{side}"], text)
        self.nodes.append(node)
        node.start()
        with open(os.path.join(directory(), "processes"), "a", encoding="utf-8") as file:
            file.write(f"{node.process.pid}\n")
        return node

    def wait(self, condition, what):
        def look():
            for node in self.nodes:
                if node.process.poll() is not None:
                    raise TimedOut(f"an agent ended with {node.process.returncode}\n{node.log()}")
            return condition()

        return wait_until(look, lambda: "\n".join([what, *(node.log() for node in self.nodes)]), BOUND)

    def up(self):
        first = self.start("A")
        peer = self.wait(lambda: Status(first.status()).peer, "the peer ID of the first agent")
        self.start("B", f"/ip4/{os.environ['UNDER_A']}/tcp/{PORT}/p2p/{peer}")

        def addresses():
            found = [Status(node.status()).address for node in self.nodes]
            return found if all(found) and found[0] != found[1] else None

        found = self.wait(addresses, "an address on both")
        ping = ("ping", "-c", "1", "-W", "1")
        self.wait(
            lambda: self.nodes[1].run(*ping, found[0]).returncode == 0
            and self.nodes[0].run(*ping, found[1]).returncode == 0,
            f"an answer from {found[0]} and {found[1]} through the VPN",
        )
        return [*found, *(str(node.process.pid) for node in self.nodes)]


def processes():
    """The agents of this directory that still run: a number may long be another process's."""
    try:
        with open(os.path.join(directory(), "processes"), encoding="utf-8") as file:
            numbers = [int(line) for line in file if line.strip().isdigit()]
    except FileNotFoundError:
        return []
    return [number for number in numbers if is_ours(number)]


def is_ours(number):
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                return False
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return os.fsencode(directory()) in file.read()
    except OSError:
        return False


def down():
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for number in processes():
            try:
                os.kill(number, signal_number)
            except ProcessLookupError:
                pass
        end = time.monotonic() + 8
        while processes() and time.monotonic() < end:
            time.sleep(0.05)
    left = processes()
    shutil.rmtree(directory(), ignore_errors=True)
    return left


def main():
    wanted = ["WORK"] + [f"{kind}_{side}" for kind in ("NS", "UNDER") for side in "AB"] * (sys.argv[1] == "up")
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing or not os.path.isdir(os.environ["WORK"]):
        print(f"scripts/bench-peer: set {', '.join(missing) or 'WORK to an existing directory'}", file=sys.stderr)
        return 64
    if sys.argv[1] == "down":
        left = down()
        if left:
            print(f"scripts/bench-peer: still running: {left}", file=sys.stderr)
        return 1 if left else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        down()
        os.makedirs(directory())
        print(" ".join(Pair().up()))
        return 0
    except (TimedOut, RuntimeError, OSError, ValueError) as error:
        print(f"scripts/bench-peer: {error}", file=sys.stderr)
        down()
        return 69
    except BaseException:
        down()
        raise


if __name__ == "__main__":
    sys.exit(main())
