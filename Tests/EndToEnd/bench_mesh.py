"""The measurement behind `scripts/bench mesh`.

What is measured is taken from the kernel, not asked of the agent: addresses from the routing table of
each namespace, bytes from the counters of each node's network card, memory, descriptors, connections
and processor time from /proc. Looking costs no process, so it disturbs little.
"""

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import sys
import time

from lab.cluster import DROP_IN, Cluster
from lab.status import Status
from lab.waiting import TimedOut, wait_until

# What K3s said while it joined keeps connections in use for a minute; they are closed a little later.
SETTLE_SECONDS = 90
TICKS = os.sysconf("SC_CLK_TCK")
SOCKET = re.compile(r"socket:\[(\d+)\]")
ESTABLISHED = "01"
LOCAL_ADDRESS = re.compile(r"\|-- (10\.1\.0\.\d+)\n\s+/32 host LOCAL")


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def vpn_address(process):
    found = LOCAL_ADDRESS.search(read(f"/proc/{process}/net/fib_trie"))
    return found and found.group(1)


def sent(process):
    """Bytes and packets that the node's network card has sent."""
    found = re.search(r"eth0:(.*)", read(f"/proc/{process}/net/dev"))
    fields = found.group(1).split()
    return int(fields[8]), int(fields[9])


def descriptors(process):
    return len(os.listdir(f"/proc/{process}/fd"))


def connections(process):
    """Established TCP connections that the process itself holds, not those of others in its namespace."""
    inodes = set()
    for number in os.listdir(f"/proc/{process}/fd"):
        try:
            found = SOCKET.fullmatch(os.readlink(f"/proc/{process}/fd/{number}"))
        except OSError:
            continue
        if found:
            inodes.add(found.group(1))
    lines = [line.split() for family in ("tcp", "tcp6") for line in read(f"/proc/{process}/net/{family}").splitlines()[1:]]
    return sum(fields[3] == ESTABLISHED and fields[9] in inodes for fields in lines)


def cpu_seconds(process):
    fields = read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kib(process):
    return int(re.search(r"VmRSS:\s+(\d+)", read(f"/proc/{process}/status")).group(1))


def machines(node):
    """The entries of the addresses that the node's ledger holds now, by the agent's API."""
    try:
        return json.loads(node.ask("/api/ledger/machines")) or {}
    except (OSError, ValueError):
        return {}


def spread(cluster, bound):
    """Seconds from when a newcomer's first entry is in its own ledger until it is in that of every node.

    The last node starts anew as another one, without the files that its identity and address are in."""
    *others, last = cluster.nodes
    last.stop(signal.SIGKILL)
    for path in ("usr/local/.kairos", "run", "etc/rancher", "var/lib"):
        shutil.rmtree(last.path(path), ignore_errors=True)
        os.makedirs(last.path(path), exist_ok=True)
    last.start()

    def own():
        """The text of the newcomer's entry as its own ledger has it: no other one names its peer ID."""
        peer = Status(last.status()).peer
        return peer and next((str(entry) for entry in machines(last).values() if peer in str(entry)), None)

    wait_until(own, lambda: f"the newcomer's address\n{cluster.describe()}", bound, pause=0.01)
    entry = own()
    begin = time.monotonic()
    missing = list(others)
    while missing:
        missing = [node for node in missing if entry not in map(str, machines(node).values())]
        if time.monotonic() - begin > bound:
            raise TimedOut(f"the entry is missing on {[node.hostname for node in missing]}")
    return time.monotonic() - begin


def measure(count, window, bound, settle=SETTLE_SECONDS):
    """One run with `count` nodes: times in seconds from the first start."""
    with Cluster(count, name="bench", minimum=max(min(count, 3), count // 2 + 1)) as cluster:
        for node in cluster.nodes:
            # K3s says nothing once it has joined: what is counted is the agent's own traffic.
            node.write("etc/k3s-stand-in-quiet", "")
        cluster.start()
        processes = [node.process.pid for node in cluster.nodes]

        def since_start(condition, what):
            wait_until(
                lambda: check_alive(cluster) and condition(),
                lambda: f"{what}\n{cluster.describe()}", bound, pause=0.02,
            )  # fmt: skip
            return time.monotonic() - cluster.started

        def addresses():
            found = [vpn_address(process) for process in processes]
            return all(found) and len(set(found)) == count

        to_addresses = since_start(addresses, "an address on every node")
        to_files = since_start(lambda: cluster.drop_ins() == count, "the K3s settings on every node")
        to_joined = since_start(cluster.joined, "every K3s agent to be registered over the VPN")
        time.sleep(settle)
        begin = time.monotonic()
        before = [(*sent(process), cpu_seconds(process)) for process in processes]
        time.sleep(window)
        elapsed = time.monotonic() - begin
        after = [(*sent(process), cpu_seconds(process)) for process in processes]
        check_alive(cluster)
        rates = [[(b - a) / elapsed for a, b in zip(first, last)] for first, last in zip(before, after)]
        octets, packets, seconds = zip(*rates)
        used = [100 * value for value in seconds]
        opened = [descriptors(process) for process in processes]
        connected = [connections(process) for process in processes]
        resident = [resident_kib(process) / 1024 for process in processes]
        spreading = spread(cluster, bound) if count > 1 else 0
        return {
            "nodes": count,
            "spread_seconds": spreading,
            "addresses_seconds": to_addresses,
            "k3s_files_seconds": to_files,
            "joined_seconds": to_joined,
            "idle_sent_bytes_per_second_mean": statistics.mean(octets),
            "idle_sent_bytes_per_second_max": max(octets),
            "idle_sent_packets_per_second_mean": statistics.mean(packets),
            "idle_sent_packets_per_second_max": max(packets),
            "descriptors_max": max(opened),
            "connections_mean": statistics.mean(connected),
            "connections_max": max(connected),
            "resident_mib_mean": statistics.mean(resident),
            "resident_mib_max": max(resident),
            "idle_cpu_percent_mean": statistics.mean(used),
            "idle_cpu_percent_max": max(used),
        }


def check_alive(cluster):
    for node in cluster.nodes:
        if node.process.poll() is not None:
            raise RuntimeError(f"the agent of {node.hostname} ended with {node.process.returncode}:\n{node.log()}")
    return True


COLUMNS = [
    ("addresses_seconds", "addresses, s", "{:.2f}"),
    ("k3s_files_seconds", "K3s files, s", "{:.2f}"),
    ("joined_seconds", "joined, s", "{:.2f}"),
    ("idle_sent_bytes_per_second_mean", "idle, B/s a node", "{:.0f}"),
    ("idle_sent_bytes_per_second_max", "busiest node, B/s", "{:.0f}"),
    ("idle_sent_packets_per_second_mean", "idle, packets/s a node", "{:.1f}"),
    ("connections_max", "connections", "{:.0f}"),
    ("descriptors_max", "descriptors", "{:.0f}"),
    ("spread_seconds", "one key on all, s", "{:.2f}"),
    ("resident_mib_max", "RSS, MiB", "{:.1f}"),
    ("idle_cpu_percent_max", "CPU, %", "{:.2f}"),
]


def table(runs):
    """Markdown: a row for each size, the median of its runs, the worst in brackets."""
    header = ["nodes", *(name for _, name, _ in COLUMNS)]
    rows = []
    for count in sorted({run["nodes"] for run in runs}):
        row = [str(count)]
        for key, _, form in COLUMNS:
            values = [run[key] for run in runs if run["nodes"] == count]
            text = form.format(statistics.median(values))
            row.append(f"{text} ({form.format(max(values))})" if len(values) > 1 else text)
        rows.append(row)
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in [header, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench mesh")
    parser.add_argument("-n", type=int, action="append", dest="sizes")
    parser.add_argument("-r", type=int, default=3, dest="runs")
    parser.add_argument("-w", type=float, default=60, dest="window")
    parser.add_argument("-s", type=float, default=SETTLE_SECONDS, dest="settle")
    parser.add_argument("-b", type=float, default=120, dest="bound", help=argparse.SUPPRESS)
    parser.add_argument("-o", dest="output")
    options = parser.parse_args()
    sizes = options.sizes or [3, 10]
    if not all(1 <= size <= 100 for size in sizes) or not 1 <= options.runs <= 20 or not 1 <= options.window <= 3600:
        parser.error("-n takes 1 to 100, -r 1 to 20, -w 1 to 3600")

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    results = []
    try:
        for size in sizes:
            for number in range(options.runs):
                results.append(measure(size, options.window, options.bound, options.settle))
                last = results[-1]
                print(
                    f"{size} nodes, run {number + 1} of {options.runs}: addresses {last['addresses_seconds']:.2f} s, "
                    f"files {last['k3s_files_seconds']:.2f} s, joined {last['joined_seconds']:.2f} s",
                    file=sys.stderr, flush=True,
                )  # fmt: skip
    except (TimedOut, RuntimeError) as error:
        print(f"scripts/bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(results))
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"cores": os.cpu_count(), "window_seconds": options.window, "settle_seconds": options.settle, "runs": results}, file, indent=1)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
