"""The tunnels that are compared. Each is brought up in the two namespaces of a wire, with its usual settings."""

import json
import os
import shutil
import subprocess
import sys
import time

from lab import program
from lab.node import Node
from lab.program import REPOSITORY
from lab.status import Status
from lab.waiting import TimedOut, wait_until

from .wire import UNDER

TUNNEL = {"A": "10.9.0.1", "B": "10.9.0.2"}
OTHER = {"A": "B", "B": "A"}


class Peer:
    """A running tunnel: `address[side]`, and the numbers of the `processes` that carry it."""

    needs = ()

    def __init__(self, wire, directory):
        self.wire, self.directory = wire, directory
        self.address, self.started = dict(TUNNEL), []

    @classmethod
    def installed(cls):
        return all(shutil.which(name) for name in cls.needs)

    @property
    def processes(self):
        return [process.pid for process in self.started]

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(text)
        return self.path(name)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as file:
            return file.read().strip()

    def start(self, side, *command, **environment):
        with open(self.path(f"log{side}"), "wb") as log:
            self.started.append(
                self.wire.start(side, *command, stdout=log, stderr=log, env={**os.environ, **environment})
            )

    def call(self, *command, **options):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30, **options).stdout.strip()

    def up(self):
        raise NotImplementedError

    def down(self):
        for process in self.started:
            process.terminate()
        for process in self.started:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)

    def wait_for_answer(self):
        def answers():
            return self.wire.run("B", "ping", "-c", "1", "-W", "1", self.address["A"]).returncode == 0

        wait_until(answers, f"an answer through {type(self).__name__}", 40, pause=0.2)


class Bare(Peer):
    """No tunnel: the wire itself."""

    def up(self):
        self.address = dict(UNDER)


class WireguardGo(Peer):
    needs = ("wireguard-go", "wg")

    def up(self):
        for side in "AB":
            self.write(f"{side}.key", self.call("wg", "genkey"))
            self.write(f"{side}.pub", self.call("wg", "pubkey", input=self.read(f"{side}.key")))
            self.start(side, "wireguard-go", "-f", f"wg{side}", WG_PROCESS_FOREGROUND="1")
        for side in "AB":
            other = OTHER[side]

            def settle(side=side, other=other):
                done = self.wire.run(
                    side, "wg", "set", f"wg{side}", "private-key", self.path(f"{side}.key"), "listen-port", "51820",
                    "peer", self.read(f"{other}.pub"), "allowed-ips", f"{TUNNEL[other]}/32",
                    "endpoint", f"{UNDER[other]}:51820",
                )  # fmt: skip
                return done.returncode == 0

            wait_until(settle, "wireguard-go to take its settings", 10)
            self.wire.run(side, "ip", "address", "add", f"{TUNNEL[side]}/24", "dev", f"wg{side}", check=True)
            self.wire.run(side, "ip", "link", "set", f"wg{side}", "mtu", "1420", "up", check=True)


class OpenVPN(Peer):
    needs = ("openvpn", "openssl")

    def up(self):
        prints = {}
        for side in "AB":
            self.call(
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-nodes",
                "-days", "2", "-subj", f"/CN={side}", "-keyout", self.path(f"{side}.key"), "-out",
                self.path(f"{side}.crt"),
            )  # fmt: skip
            text = self.call("openssl", "x509", "-fingerprint", "-sha256", "-noout", "-in", self.path(f"{side}.crt"))
            prints[side] = text.partition("=")[2]
        common = "openvpn --dev tun --proto udp --topology subnet --dh none --data-ciphers AES-256-GCM --verb 1".split()
        roles = {
            "A": "--server 10.9.0.0 255.255.255.0 --port 1194".split(),
            "B": f"--client --remote {UNDER['A']} 1194 --nobind".split(),
        }
        for side in "AB":
            keys = ["--cert", self.path(f"{side}.crt"), "--key", self.path(f"{side}.key")]
            self.start(side, *common, *roles[side], *keys, "--peer-fingerprint", prints[OTHER[side]])
            time.sleep(1)


class Tinc(Peer):
    needs = ("tincd",)

    def up(self):
        for side in "AB":
            os.makedirs(self.path(f"{side}/hosts"))
            connect = "ConnectTo=node_A\n" if side == "B" else ""
            self.write(
                f"{side}/tinc.conf",
                f"Name=node_{side}\nMode=router\nInterface=tinc{side}\nDeviceType=tun\n{connect}",
            )
            self.write(f"{side}/hosts/node_{side}", f"Address={UNDER[side]}\nSubnet={TUNNEL[side]}/32\n")
            up = f"ip address add {TUNNEL[side]}/24 dev $INTERFACE; ip link set $INTERFACE mtu 1420 up"
            os.chmod(self.write(f"{side}/tinc-up", f"#!/bin/sh\n{up}\n"), 0o700)
            self.call("tincd", "-c", self.path(side), "-K", "2048", stdin=subprocess.DEVNULL)
        for side in "AB":
            name = f"hosts/node_{side}"
            shutil.copy(self.path(f"{side}/{name}"), self.path(f"{OTHER[side]}/{name}"))
        for side in "AB":
            self.start(side, "tincd", "-D", "-c", self.path(side), f"--pidfile={self.path(side)}.pid")


class Nebula(Peer):
    needs = ("nebula", "nebula-cert")

    def up(self):
        self.call("nebula-cert", "ca", "-name", "bench", cwd=self.directory)
        for side in "AB":
            sign = ("sign", "-name", side, "-ip", f"{TUNNEL[side]}/24")
            self.call("nebula-cert", *sign, cwd=self.directory)
        every = [{"port": "any", "proto": "any", "host": "any"}]
        for side in "AB":
            other = OTHER[side]
            settings = {
                "pki": {"ca": self.path("ca.crt"), "cert": self.path(f"{side}.crt"), "key": self.path(f"{side}.key")},
                "static_host_map": {TUNNEL[other]: [f"{UNDER[other]}:4242"]},
                "lighthouse": {"am_lighthouse": side == "A", "hosts": [] if side == "A" else [TUNNEL["A"]]},
                "listen": {"host": "0.0.0.0", "port": 4242},
                "tun": {"dev": f"neb{side}", "mtu": 1300},
                "punchy": {"punch": True},
                "firewall": {"outbound": every, "inbound": every},
            }
            self.start(side, "nebula", "-config", self.write(f"{side}.yml", json.dumps(settings)))


class Yggdrasil(Peer):
    needs = ("yggdrasil",)

    def up(self):
        link = f"tcp://{UNDER['A']}:9001"
        for side in "AB":
            settings = json.loads(self.call("yggdrasil", "-genconf", "-json"))
            settings |= {"IfName": f"ygg{side}", "AdminListen": "none", "MulticastInterfaces": []}
            settings["Listen" if side == "A" else "Peers"] = [link]
            self.start(side, "yggdrasil", "-useconffile", self.write(f"{side}.json", json.dumps(settings)))

        def address(side):
            text = self.wire.run(side, "ip", "-j", "-6", "address", "show", "dev", f"ygg{side}").stdout
            links = json.loads(text) if text.strip() else []
            found = [item["local"] for link in links for item in link.get("addr_info", [])]
            return next((local for local in found if local.startswith("2")), None)

        self.address = {side: wait_until(lambda side=side: address(side), "an address", 15) for side in "AB"}


class Kairos(Peer):
    """This agent, by scripts/bench-peer."""

    def up(self):
        self.variables = {
            **os.environ,
            "WORK": self.directory,
            **{f"NS_{side}": name for side, name in self.wire.names.items()},
            **{f"UNDER_{side}": address for side, address in UNDER.items()},
        }
        done = self.script("up")
        if done.returncode != 0:
            raise TimedOut(done.stderr.strip())
        first, second, *numbers = done.stdout.strip().splitlines()[-1].split()
        self.address, self.numbers = {"A": first, "B": second}, [int(number) for number in numbers]

    @property
    def processes(self):
        return self.numbers

    def script(self, what):
        path = os.path.join(REPOSITORY, "scripts", "bench-peer")
        return subprocess.run([path, what], env=self.variables, capture_output=True, text=True, timeout=900)

    def down(self):
        done = self.script("down")
        if done.returncode != 0:
            print(done.stderr, file=sys.stderr)

    def root(self, side):
        return os.path.join(self.directory, "kairos-bench-peer", side.lower())


class Stock(Peer):
    """This agent on A, and on B a member of its network that behaves as a stock node. What is counted of processes is
    the agent alone: the other one is a stand-in, and takes what it takes."""

    addresses = {"A": "10.1.0.11", "B": "10.1.0.12"}
    CONFIG = """#cloud-config
p2p:
  disable_dht: true
  auto:
    enable: false
  network_token: "{token}"
  vpn:
    address: "{address}/24"
    env:
      EDGEVPNMDNS: "false"
      EDGEVPNLISTENMADDRS: "/ip4/{under}/tcp/4001"
"""

    def up(self):
        self.address, token = dict(self.addresses), program.new_token()
        text = self.CONFIG.format(token=token, address=self.address["A"], under=UNDER["A"])
        self.node = Node(self.path("a"), self.wire.names["A"], text)
        self.node.start()
        peer = wait_until(
            lambda: Status(self.node.status()).peer, lambda: f"the agent's peer ID; it said:\n{self.node.log()}", 20)
        self.start(
            "B", os.environ.get("KAIROS_STOCK_PEER") or os.path.join(REPOSITORY, ".build/release/stock-peer"),
            f"/ip4/{UNDER['B']}/tcp/4001", f"/ip4/{UNDER['A']}/tcp/4001/p2p/{peer}", self.address["B"], "stock0",
            STOCK_TOKEN=token,
        )  # fmt: skip

        def settle():
            return self.wire.run("B", "ip", "address", "add", f"{self.address['B']}/24", "dev", "stock0").returncode == 0

        wait_until(settle, "the stock peer's device", 20)
        self.wire.run("B", "ip", "link", "set", "stock0", "mtu", "1200", "up", check=True)

    @property
    def processes(self):
        return [self.node.process.pid]

    def down(self):
        super().down()
        self.node.stop()


PEERS = {
    "bare": Bare,
    "kairos": Kairos,
    "yggdrasil": Yggdrasil,
    "wireguard-go": WireguardGo,
    "openvpn": OpenVPN,
    "tinc": Tinc,
    "nebula": Nebula,
}
