"""One figure each. A measure takes a peer that is up, and is bounded in time."""

import glob
import json
import math
import os
import re
import statistics
import subprocess
import threading
import time

from lab.waiting import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
PORT = "5201"
RATES = (10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 200_000, 250_000, 300_000, 400_000, 600_000, 800_000)
# A rate counts as carried when no more than this part is lost: a stall of the measuring machine itself is not
# the tunnel's.
LOST = 1e-4


def cpu_seconds(processes):
    total = 0
    for number in processes:
        with open(f"/proc/{number}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def exact_cpu_seconds(process):
    """To the nanosecond, where ticks of 10 ms are too coarse: the time of the threads that the process has now."""
    total = 0
    for path in glob.glob(f"/proc/{process}/task/*/schedstat"):
        with open(path, encoding="utf-8") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def resident_mib(processes):
    found = []
    for number in processes:
        with open(f"/proc/{number}/status", encoding="utf-8") as file:
            found.append(int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024)
    return max(found, default=None)


class Flow:
    """TCP from B to A by iperf3, or back, in a `with`; `finish` gives what iperf3 says."""

    def __init__(self, peer, seconds, flows=1, both=False, back=False):
        # iperf3 counts whole seconds, and takes none as "without end".
        self.peer, self.seconds, self.flows, self.both, self.back = peer, math.ceil(seconds), flows, both, back

    def __enter__(self):
        address = self.peer.address["A"]
        self.server = self.peer.wire.start("A", "iperf3", "-s", "-1", "-p", PORT, "-B", address)
        listening = r":{}\b".format(PORT)
        wait_until(
            lambda: re.search(listening, self.peer.wire.run("A", "ss", "-Hltn").stdout), "iperf3 to listen", 10, 0.05
        )
        arguments = ["-c", address, "-p", PORT, "-t", str(self.seconds), "-P", str(self.flows), "-J"]
        arguments += ["--bidir"] if self.both else ["-R"] if self.back else []
        self.client = self.peer.wire.start("B", "iperf3", *arguments, stdout=subprocess.PIPE, text=True)
        return self

    def finish(self):
        text, _ = self.client.communicate(timeout=self.seconds + 30)
        end = json.loads(text).get("end", {})
        if "sum_received" not in end:
            raise RuntimeError(f"iperf3 measured nothing: {text[-400:]}")
        sums = [end["sum_received"]] + ([end["sum_received_bidir_reverse"]] if self.both else [])
        return sum(each["bits_per_second"] for each in sums) / 1e9, sum(each["bytes"] for each in sums)

    def __exit__(self, *_):
        for process in (self.client, self.server):
            process.kill()
            process.wait(10)


def tcp(peer, seconds, flows=1, both=False):
    """Throughput, processor time for both ends, and the larger memory of the two while it runs."""
    before = cpu_seconds(peer.processes)
    with Flow(peer, seconds, flows, both) as flow:
        highest = 0
        while flow.client.poll() is None and peer.processes:
            highest = max(highest, resident_mib(peer.processes))
            try:
                flow.client.wait(0.25)
            except subprocess.TimeoutExpired:
                pass
        rate, count = flow.finish()
    found = {"gbps": rate}
    if peer.processes:
        found["cpu_s_per_gb"] = (cpu_seconds(peer.processes) - before) / (count / 1e9)
        found["rss_mib"] = highest
    return found


def one_way(peer, seconds, back=False):
    """Throughput of one flow, and the processor time of the peer's processes."""
    cpu = cpu_seconds(peer.processes)
    with Flow(peer, seconds, back=back) as flow:
        rate, count = flow.finish()
    return {"gbps": rate, "cpu_s_per_gb": (cpu_seconds(peer.processes) - cpu) / (count / 1e9)}


def ping(peer, count, pause):
    """Round trips in milliseconds."""
    done = peer.wire.run(
        "B", "ping", "-n", "-c", str(count), "-i", f"{pause:g}", "-W", "1", peer.address["A"],
        seconds=count * pause + 30,
    )  # fmt: skip
    times = sorted(float(text) for text in re.findall(r"time=([\d.]+)", done.stdout))
    if len(times) < count * 0.5:
        raise RuntimeError(f"{count - len(times)} of {count} pings were lost")
    return times


def idle_round_trip(peer, count):
    ping(peer, 5, 0.05)
    times = ping(peer, count, 0.005)
    return {"mean_ms": statistics.mean(times), "p99_ms": times[int(len(times) * 0.99)], "pings": len(times)}


def loaded_round_trip(peer, seconds):
    """Round trips while one TCP flow takes all that it can get."""
    with Flow(peer, seconds + 1.5) as flow:
        time.sleep(1)
        times = ping(peer, max(10, int(seconds / 0.02)), 0.02)
        flow.finish()
    return {"mean_ms": statistics.mean(times), "p99_ms": times[int(len(times) * 0.99)]}


def datagrams(peer, tools, size, rate, seconds):
    """(sent a second, received a second, how they were sent)."""
    program, address = tools.path("udp_load"), peer.address["A"]
    receiver = peer.wire.start("A", program, "receive", address, "5202", str(seconds + 20), stdout=subprocess.PIPE)
    try:
        receiver.stdout.readline()
        arguments = ("send", address, "5202", str(size), str(rate), str(seconds))
        done = peer.wire.run("B", program, *arguments, seconds=seconds + 20, check=True)
        time.sleep(0.3)
        receiver.terminate()
        received = int(receiver.communicate(timeout=10)[0].split()[-1])
    finally:
        receiver.kill()
        receiver.wait(10)
    sent, how, elapsed = done.stdout.split()
    return int(sent) / float(elapsed), received / float(elapsed), how


def lossless_rate(peer, tools, size, seconds):
    """The highest rate of the ladder, and between its steps, at which nothing is lost; datagrams a second."""

    def carried(rate):
        for _ in range(2):
            sent, received, how = datagrams(peer, tools, size, rate, seconds)
            if sent - received <= sent * LOST:
                return received, how
        return None, how

    best, low, high, how = 0, 0, None, None
    for rate in RATES:
        found, how = carried(rate)
        if found is None:
            high = rate
            break
        # A sender that cannot go faster ends the ladder: what arrived is then the figure.
        best, low = max(best, found), rate
        if found < rate * 0.9:
            break
    for _ in range(2 if high and low else 0):
        middle = (low + high) / 2
        found, _ = carried(middle)
        if found is None:
            high = middle
        else:
            best, low = max(best, found), middle
    return {"pps": best, "sent_as": how}


def small_packets(peer, tools, seconds):
    """64-byte datagrams that arrive in a second when the sender does not hold back."""
    sent, received, _ = datagrams(peer, tools, 64, 0, seconds)
    return {"received_pps": received, "sent_pps": sent}


def control_plane(peer, seconds, node):
    """How long the agent takes to answer for its status while the tunnel is saturated, and the last ping of the
    mesh's own connection, in milliseconds."""
    answers, stop = [], threading.Event()

    def ask():
        while not stop.wait(0.1):
            answers.append(1000 * node.time_of_answer())

    with Flow(peer, seconds) as flow:
        time.sleep(0.5)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        time.sleep(seconds - 1.5)
        document = node.status() or {}
        stop.set()
        thread.join(10)
        flow.finish()
    trips = [each["round_trip_ms"] for each in document.get("nodes", []) if each.get("round_trip_ms") is not None]
    answers.sort()
    return {
        "status_median_ms": statistics.median(answers),
        "status_worst_ms": answers[-1],
        "mesh_ping_ms": max(trips, default=None),
    }


def allocations(peer, seconds, directory):
    """Heap allocations of both ends in the steady state of a saturating flow, by packet of the MTU, and by what
    the kernel passes at once through the device."""

    def counted():
        total = 0
        for number in peer.processes:
            with open(os.path.join(directory, str(number)), "rb") as file:
                total += int.from_bytes(file.read(8), "little")
        return total

    def device():
        packets = size = 0
        for side in "AB":
            for line in peer.wire.run(side, "cat", "/proc/net/dev").stdout.splitlines():
                name, _, rest = line.partition(":")
                if name.strip() == "edgevpn0":
                    fields = [int(field) for field in rest.split()]
                    packets += fields[1] + fields[9]
                    size += fields[0] + fields[8]
        return packets, size

    with Flow(peer, seconds + 2) as flow:
        time.sleep(1.5)
        first, (packets, size) = counted(), device()
        time.sleep(seconds)
        made, (packets_after, size_after) = counted() - first, device()
        flow.finish()
    passed, volume = packets_after - packets, size_after - size
    if not passed:
        raise RuntimeError("no packet passed the device")
    return {
        "allocations": made,
        "device_packets": passed,
        "per_device_packet": made / passed,
        "per_1420_bytes": made / (volume / 1420),
    }
