"""Many nodes at once, each pair of which carries a trickle: what that costs a node, by their number."""

import statistics
import subprocess
import time

from lab.cluster import Cluster
from lab.program import new_token
from lab.waiting import wait_until

from .measure import exact_cpu_seconds, resident_mib

CONFIG = """#cloud-config
hostname: kairoslab-{{{{ trunc 4 .MachineID }}}}
p2p:
  disable_dht: true
  auto:
    enable: false
  network_token: "{token}"
"""
# To each other node one datagram of 200 bytes in the time of a pause.
SENDER = """
import socket, sys, time
channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
channel.bind(("", 9))  # what arrives is left to be dropped, and not answered by ICMP
end, pause, others = time.monotonic() + float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
while time.monotonic() < end:
    for other in others:
        try:
            channel.sendto(bytes(200), (other, 9))
        except OSError:
            pass
        time.sleep(pause / len(others))
"""
# Connections and keys are made with the first packets, and what multicast has to say at first is over.
SETTLE_SECONDS = 75


def device_packets(node):
    text = node.run("cat", "/sys/class/net/edgevpn0/statistics/tx_packets",
                    "/sys/class/net/edgevpn0/statistics/rx_packets").stdout  # fmt: skip
    return sum(int(word) for word in text.split())


def measure(count, pause, seconds, settle=SETTLE_SECONDS):
    """Processor time and memory of a node, by the median and the worst of `count` nodes, for `seconds`, while each
    sends each other a datagram every `pause` seconds.
    """
    with Cluster(count, name="trickle", config=CONFIG.format(token=new_token())) as cluster:
        cluster.start()
        addresses = wait_until(cluster.addresses, lambda: f"an address on every node\n{cluster.describe()}", 90)
        senders = [
            subprocess.Popen(
                node.command("python3", "-c", SENDER, str(seconds + settle + 30), str(pause),
                             *(other for other in addresses if other != address)),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            for node, address in zip(cluster.nodes, addresses)
        ]  # fmt: skip
        try:
            time.sleep(settle)
            packets = [device_packets(node) for node in cluster.nodes]
            before = [exact_cpu_seconds(node.process.pid) for node in cluster.nodes]
            begin = time.monotonic()
            time.sleep(seconds)
            elapsed = time.monotonic() - begin
            used = [
                100 * (exact_cpu_seconds(node.process.pid) - b) / elapsed for node, b in zip(cluster.nodes, before)
            ]
            resident = [resident_mib([node.process.pid]) for node in cluster.nodes]
            passed = [(device_packets(node) - b) / elapsed for node, b in zip(cluster.nodes, packets)]
        finally:
            for sender in senders:
                sender.kill()
                sender.wait(10)
    rate = statistics.median(passed)
    if rate < (count - 1) / pause:
        raise RuntimeError(f"a trickle of {rate:.1f} packets a second among {count} nodes: not every pair is joined")
    return {
        "nodes": count,
        "pause_seconds": pause,
        "cpu_percent_median": statistics.median(used),
        "cpu_percent_max": max(used),
        "rss_mib_median": statistics.median(resident),
        "rss_mib_max": max(resident),
        "packets_per_second": rate,
    }


def table(results, render):
    rows = [
        [
            str(result["nodes"]), f"{result['pause_seconds']:g}", f"{result['packets_per_second']:.1f}",
            f"{result['cpu_percent_median']:.3f}", f"{result['cpu_percent_max']:.3f}",
            f"{result['rss_mib_median']:.1f}", f"{result['rss_mib_max']:.1f}",
        ]
        for result in results
    ]  # fmt: skip
    return render(["nodes", "pause, s", "packets/s a node", "CPU, %", "worst", "RSS, MiB", "worst"], rows)
