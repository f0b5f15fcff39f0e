"""The measurement behind `scripts/bench vpn`: tunnels side by side, on one machine, in one run."""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

from bench import measure, plot, trickle
from bench.peers import PEERS, Kairos, Stock
from bench.tools import Tools
from bench.wire import Wire
from lab.node import Node
from lab.waiting import TimedOut

SECTIONS = ("tcp", "rtt", "udp", "loss", "delay", "control", "allocations", "stock", "trickle")
LOSS_PERMILLE = 20
DELAY_MICROSECONDS = 20_000

COLUMNS = [
    ("tcp1_gbps", "TCP 1 flow, Gb/s", "{:.2f}"),
    ("tcp4_gbps", "4 flows", "{:.2f}"),
    ("both_gbps", "both ways", "{:.2f}"),
    ("cpu_s_per_gb", "CPU, s/GB", "{:.2f}"),
    ("rss_mib", "RSS, MiB", "{:.1f}"),
    ("rtt_mean_ms", "rtt, ms", "{:.3f}"),
    ("rtt_p99_ms", "p99", "{:.3f}"),
    ("loaded_rtt_mean_ms", "rtt loaded, ms", "{:.2f}"),
    ("udp1200_pps", "UDP 1200 B, 1/s", "{:.0f}"),
    ("udp64_pps", "UDP 64 B, 1/s", "{:.0f}"),
    ("loss_tcp1_gbps", "2 % loss: 1 flow", "{:.3f}"),
    ("loss_tcp4_gbps", "4 flows", "{:.3f}"),
    ("delay_tcp1_gbps", "20 ms: 1 flow", "{:.3f}"),
    ("delay_tcp4_gbps", "4 flows", "{:.3f}"),
]
OWN = [
    ("status_median_ms", "status while saturated, ms", "{:.1f}"),
    ("status_worst_ms", "worst", "{:.1f}"),
    ("mesh_ping_ms", "mesh ping while saturated, ms", "{:.1f}"),
    ("allocations_per_device_packet", "allocations per packet of the device", "{:.4f}"),
    ("allocations_per_1420_bytes", "per 1,420 bytes", "{:.4f}"),
]
STOCK = [
    ("stock_to_gbps", "to a stock peer, Gb/s", "{:.3f}"),
    ("stock_to_cpu", "CPU of the agent, s/GB", "{:.1f}"),
    ("stock_from_gbps", "from one, Gb/s", "{:.3f}"),
    ("stock_from_cpu", "CPU of the agent, s/GB", "{:.1f}"),
    ("stock_rtt_ms", "rtt, ms", "{:.3f}"),
]


class Bench:
    def __init__(self, options, tools):
        self.options, self.tools = options, tools

    def with_peer(self, kind, body, **wire):
        """Calls `body` with the peer up on a wire of its own."""
        with Wire(self.tools, **wire) as between:
            directory = tempfile.mkdtemp(prefix="kairos-bench-")
            peer = kind(between, directory)
            try:
                try:
                    peer.up()
                    peer.wait_for_answer()
                    return body(peer)
                finally:
                    peer.down()
            finally:
                shutil.rmtree(directory, ignore_errors=True)

    def run(self, kind):
        """All wanted figures of one peer, once."""
        wanted, seconds, found = self.options.sections, self.options.seconds, {}

        def plain(peer):
            if "rtt" in wanted:
                idle = measure.idle_round_trip(peer, self.options.pings)
                loaded = measure.loaded_round_trip(peer, seconds)
                found.update(rtt_mean_ms=idle["mean_ms"], rtt_p99_ms=idle["p99_ms"])
                found.update(loaded_rtt_mean_ms=loaded["mean_ms"], loaded_rtt_p99_ms=loaded["p99_ms"])
            if "tcp" in wanted:
                one = measure.tcp(peer, seconds)
                found.update(tcp1_gbps=one.pop("gbps"), **one)
                found["tcp4_gbps"] = measure.tcp(peer, seconds, flows=4)["gbps"]
                found["both_gbps"] = measure.tcp(peer, seconds, both=True)["gbps"]
            if "udp" in wanted:
                large = measure.lossless_rate(peer, self.tools, 1200, min(2, seconds))
                found.update(udp1200_pps=large["pps"], udp1200_sent_as=large["sent_as"])
                found["udp64_pps"] = measure.small_packets(peer, self.tools, min(3, seconds))["received_pps"]

        if {"rtt", "tcp", "udp"} & set(wanted):
            self.with_peer(kind, plain)
        for section, wire in (("loss", {"loss": LOSS_PERMILLE}), ("delay", {"delay": DELAY_MICROSECONDS})):
            if section in wanted:

                def hampered(peer, section=section):
                    for flows in (1, 4):
                        found[f"{section}_tcp{flows}_gbps"] = measure.tcp(peer, seconds, flows=flows)["gbps"]

                self.with_peer(kind, hampered, **wire)
        if kind is Kairos:
            found.update(self.own_figures(wanted))
        return found

    def own_figures(self, wanted):
        """What can be asked of this agent only."""
        found, seconds = {}, self.options.seconds
        if "control" in wanted:

            def control(peer):
                return measure.control_plane(peer, max(seconds, 3), Node.at(peer.root("A")))

            found.update(self.with_peer(Kairos, control))
        if "stock" in wanted:

            def stock(peer):
                for word, back in (("to", True), ("from", False)):
                    way = measure.one_way(peer, seconds, back=back)
                    found[f"stock_{word}_gbps"] = way["gbps"]
                    found[f"stock_{word}_cpu"] = way["cpu_s_per_gb"]
                found["stock_rtt_ms"] = measure.idle_round_trip(peer, self.options.pings)["mean_ms"]

            self.with_peer(Stock, stock)
        if "allocations" in wanted:
            counts = tempfile.mkdtemp(prefix="kairos-bench-")
            preload = {"LD_PRELOAD": self.tools.path("count_allocations"), "KAIROS_ALLOCATIONS": counts}

            def count(peer):
                return measure.allocations(peer, seconds, counts)

            try:
                os.environ.update(preload)
                try:
                    made = self.with_peer(Kairos, count)
                finally:
                    for name in preload:
                        os.environ.pop(name)
            finally:
                shutil.rmtree(counts, ignore_errors=True)
            found["allocations_per_device_packet"] = made["per_device_packet"]
            found["allocations_per_1420_bytes"] = made["per_1420_bytes"]
        return found


def medians(runs, key):
    """{peer: median} of the runs that have this figure."""
    found = {}
    for run in runs:
        if isinstance(run.get(key), (int, float)):
            found.setdefault(run["peer"], []).append(run[key])
    return {peer: statistics.median(values) for peer, values in found.items()}


def table(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths)) + " |" for row in [header, *rows]]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(lines)


def peers_table(runs, columns):
    columns = [(title, form, medians(runs, key)) for key, title, form in columns]
    columns = [column for column in columns if column[2]]
    if not columns:
        return ""
    peers = list(dict.fromkeys(run["peer"] for run in runs))
    rows = [[peer, *(form.format(found[peer]) if peer in found else "–" for _, form, found in columns)] for peer in peers]
    return table(["peer", *(title for title, _, _ in columns)], [row for row in rows if set(row[1:]) != {"–"}])


def options_of(arguments):
    parser = argparse.ArgumentParser(prog="scripts/bench vpn")
    parser.add_argument("-r", type=int, default=5, dest="runs")
    parser.add_argument("-t", type=float, default=5, dest="seconds")
    parser.add_argument("-o", dest="output")
    parser.add_argument("--pings", type=int, default=400)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, comma-separated")
    parser.add_argument("--nodes", type=int, action="append", help="sizes of the trickle network")
    parser.add_argument("--pause", type=float, action="append", help="seconds between two packets of its pairs")
    parser.add_argument("--settle", type=float, default=trickle.SETTLE_SECONDS, help="seconds before they are watched")
    parser.add_argument("peers", nargs="*")
    options = parser.parse_args(arguments)
    options.sections = options.only.split(",")
    options.nodes = options.nodes or [3, 24]
    options.pauses = options.pause or [1, 10, 30]
    unknown = [name for name in options.sections if name not in SECTIONS]
    unknown += [name for name in options.peers if name not in PEERS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; sections {', '.join(SECTIONS)}; peers {', '.join(PEERS)}")
    if not (1 <= options.runs <= 50 and 0.5 <= options.seconds <= 60 and 10 <= options.pings <= 10_000):
        parser.error("-r takes 1 to 50, -t 0.5 to 60, --pings 10 to 10000")
    missing = [name for name in options.peers if not PEERS[name].installed()]
    if missing:
        parser.error(f"not installed: {', '.join(missing)}")
    options.peers = options.peers or [name for name, kind in PEERS.items() if kind.installed()]
    return options


def main(arguments=None):
    options = options_of(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    runs, idle, failed = [], [], 0
    document = {
        "cores": os.cpu_count(), "kernel": platform.release(), "seconds": options.seconds, "runs": runs,
        "trickle": idle,
    }  # fmt: skip
    with Tools() as tools:
        bench = Bench(options, tools)
        try:
            # Run after run rather than peer after peer: what disturbs the machine for a while meets all of them.
            for number in range(options.runs if set(options.sections) - {"trickle"} else 0):
                for name in options.peers:
                    try:
                        runs.append({"peer": name, "run": number, **bench.run(PEERS[name])})
                        print(f"run {number + 1} of {options.runs}: {json.dumps(runs[-1])}", file=sys.stderr, flush=True)
                    except (TimedOut, RuntimeError, OSError, ValueError, subprocess.SubprocessError) as error:
                        failed += 1
                        print(f"run {number + 1} of {options.runs}: {name}: {error}", file=sys.stderr, flush=True)
            if "trickle" in options.sections:
                idle.extend(
                    trickle.measure(count, pause, max(20, options.seconds, pause), options.settle)
                    for pause in options.pauses
                    for count in options.nodes
                )
        except (TimedOut, RuntimeError) as error:
            failed += 1
            print(f"scripts/bench: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            return 130
    for columns in (COLUMNS, OWN, STOCK):
        text = peers_table(runs, columns)
        if text:
            print(text, end="\n\n")
    ratios(runs)
    if idle:
        print(trickle.table(idle, table))
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
        if medians(runs, "tcp1_gbps"):
            plot.bars(
                os.path.splitext(options.output)[0] + ".svg", "TCP through the tunnel, one flow, Gb/s",
                medians(runs, "tcp1_gbps"),
            )  # fmt: skip
    return 1 if failed else 0


def ratios(runs):
    """How this agent stands to the others, by the medians."""
    for key, title, _ in COLUMNS:
        found = medians(runs, key)
        own = found.pop("kairos", None)
        said = [f"{own / value:.2f} of {peer}" for peer, value in found.items() if own is not None and value > 0]
        if said:
            print(f"{key}: {', '.join(said)}")


if __name__ == "__main__":
    sys.exit(main())
