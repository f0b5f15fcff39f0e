"""Every benchmark runs and gives figures. No threshold on time: what is measured depends on the machine."""

import json
import os
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as tree

from bench import plot
from bench.tools import Tools
from bench.wire import UNDER, Wire
from lab import program
from lab.network import ip

SCRIPTS = os.path.join(program.REPOSITORY, "scripts")
FIGURES = (
    "tcp1_gbps", "tcp4_gbps", "both_gbps", "rtt_mean_ms", "rtt_p99_ms", "loaded_rtt_mean_ms", "udp1200_pps",
    "udp64_pps", "loss_tcp1_gbps", "loss_tcp4_gbps", "delay_tcp1_gbps", "delay_tcp4_gbps",
)  # fmt: skip
OWN_FIGURES = (
    "cpu_s_per_gb", "rss_mib", "status_median_ms", "status_worst_ms", "allocations_per_device_packet",
    "stock_to_gbps", "stock_to_cpu", "stock_from_gbps", "stock_from_cpu", "stock_rtt_ms",
)  # fmt: skip


class BenchTests(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="bench-test-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        # The program under test is the one that is there: nothing is built in the middle of a test.
        self.environment = {**os.environ, "KAIROS_AGENT": program.agent()}

    def path(self, name):
        return os.path.join(self.directory, name)

    def script(self, name, *arguments, seconds=240, **environment):
        done = subprocess.run(
            [os.path.join(SCRIPTS, name), *arguments], capture_output=True, text=True, timeout=seconds,
            env={**self.environment, **environment},
        )  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def beside(self, product):
        path = os.path.join(os.path.dirname(program.agent()), product)
        self.assertTrue(os.path.exists(path), f"scripts/build --product {product} makes it")
        return path

    def test_vpn_measures_every_section_of_the_wire_and_of_the_agent(self):
        output = self.path("vpn.json")
        self.script(
            "bench", "vpn", "-r", "1", "-t", "0.5", "--pings", "20", "--nodes", "3", "--pause", "1", "--settle", "10",
            "-o", output,
            "bare", "kairos",
            KAIROS_STOCK_PEER=self.beside("stock-peer"),
        )  # fmt: skip
        with open(output, encoding="utf-8") as file:
            document = json.load(file)
        bare, own = document["runs"]
        for run, names in ((bare, FIGURES), (own, FIGURES + OWN_FIGURES)):
            for name in names:
                # A rate that is never carried without loss, and an allocation that is never made, are figures too.
                floor = -1 if name in ("udp1200_pps", "allocations_per_device_packet") else 0
                self.assertGreater(run[name], floor, f"{run['peer']}: {name}")
        self.assertEqual([result["nodes"] for result in document["trickle"]], [3])
        self.assertEqual(tree.parse(self.path("vpn.svg")).getroot().tag, "{http://www.w3.org/2000/svg}svg")

    def test_micro_measures_every_kind_of_operation(self):
        micro = self.beside("microbench")
        rows = json.loads(self.script("bench", "micro", "--quick", "--json", KAIROS_MICROBENCH=micro))
        for kind in ("AES-128-OCB", "AES-256-GCM", "ChaCha20-Poly1305", "router", "yamux", "ledger", "gossip", "TLS", "Noise"):
            found = [row for row in rows if row["name"].startswith(kind)]
            self.assertTrue(found and all(row["nanoseconds"] > 0 and row["bytes"] > 0 for row in found), kind)

    def test_mesh_measures_an_idle_network(self):
        output = self.path("mesh.json")
        self.script("bench", "mesh", "-n", "2", "-r", "1", "-w", "2", "-s", "5", "-o", output)
        with open(output, encoding="utf-8") as file:
            (run,) = json.load(file)["runs"]
        self.assertEqual(run["nodes"], 2)
        # An idle network may well send nothing in so short a time.
        self.assertGreaterEqual(run["idle_sent_bytes_per_second_mean"], 0)
        self.assertGreaterEqual(run["idle_sent_packets_per_second_mean"], 0)
        # Two nodes that dial each other at once keep both connections for some seconds.
        self.assertIn(run["connections_max"], (1, 2))
        self.assertGreater(run["descriptors_max"], run["connections_max"])
        self.assertGreater(run["resident_mib_max"], 1)
        self.assertGreaterEqual(run["spread_seconds"], 0)
        plot.main(["lines", self.path("mesh.svg"), "idle", output, "idle_sent_bytes_per_second_mean"])
        self.assertIn("2 nodes", open(self.path("mesh.svg"), encoding="utf-8").read())

    def test_the_pair_for_other_scripts_comes_up_and_leaves_nothing(self):
        with Tools() as tools, Wire(tools) as wire:
            variables = {"WORK": self.directory}
            for side, name in wire.names.items():
                variables |= {f"NS_{side}": name, f"UNDER_{side}": UNDER[side]}
            first, second, *processes = self.script("bench-peer", "up", **variables).splitlines()[-1].split()
            self.assertEqual(wire.run("B", "ping", "-c", "1", "-W", "2", first).returncode, 0)
            self.assertEqual(wire.run("A", "ping", "-c", "1", "-W", "2", second).returncode, 0)
            for number in processes:
                self.assertIn("kairos-agent", os.readlink(f"/proc/{number}/exe"))
            self.script("bench-peer", "down", **variables)
            self.assertEqual(os.listdir(self.directory), [])
            self.assertEqual([ip("netns", "pids", name) for name in wire.names.values()], ["", ""])

    def test_a_long_wire_delays_and_a_lossy_one_loses(self):
        with Tools() as tools:
            with Wire(tools, delay=20_000) as wire:
                text = wire.run("A", "ping", "-q", "-c", "10", "-i", "0.05", UNDER["B"]).stdout
                self.assertIn(" 0% packet loss", text)
                self.assertGreater(float(text.rsplit("=", 1)[1].split("/")[0]), 40)
            with Wire(tools, loss=500) as wire:
                text = wire.run("A", "ping", "-q", "-c", "100", "-i", "0.002", UNDER["B"]).stdout
                # Half of the ways there and half of the ways back: a quarter comes back.
                self.assertTrue(50 <= float(text.split("% packet loss")[0].split()[-1]) <= 95, text)

    def test_a_wrong_call_says_what_is_known(self):
        done = subprocess.run(
            [os.path.join(SCRIPTS, "bench"), "vpn", "carrier-pigeon"], capture_output=True, text=True,
            env=self.environment, timeout=60,
        )  # fmt: skip
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("wireguard-go", done.stderr)


if __name__ == "__main__":
    unittest.main()
