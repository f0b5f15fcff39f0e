"""The demonstration behind scripts/demo."""

import argparse
import re
import signal
import subprocess
import sys
import time

from lab.cluster import Cluster
from lab.waiting import TimedOut, wait_until

BOUND = 90


class Progress:
    """Prints what each node waits for, a line whenever that changes."""

    def __init__(self, cluster):
        self.cluster, self.said = cluster, {}

    def say(self, text):
        print(f"{time.monotonic() - self.cluster.started:6.1f} s  {text}", flush=True)

    def look(self):
        """One look at all nodes; the statuses."""
        statuses = self.cluster.statuses()
        for node, status in zip(self.cluster.nodes, statuses):
            sentence = self.sentence(node, status)
            if self.said.get(node) != sentence:
                self.said[node] = sentence
                self.say(f"{node.hostname}  {sentence}")
        return statuses

    @staticmethod
    def sentence(node, status):
        if not status.up:
            if node.process.poll() is not None:
                raise RuntimeError(f"the agent of {node.hostname} ended:\n{node.log()}")
            return "starting"
        parts = [part for part in (status.address, status.role) if part]
        waits = status.waiting()
        return "  ".join(parts + (["waits for " + "; ".join(waits)] if waits else ["is ready"]))

    def until(self, condition, what):
        def look_and_ask():
            self.look()
            return condition()

        wait_until(look_and_ask, lambda: f"{what}\n{self.cluster.describe()}", BOUND, pause=0.1)
        self.say(f"== {what}")


def title(text):
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def shorten(config):
    """The cloud-config with its token cut: it is a secret, and long."""
    return re.sub(r'(network_token: ".{12})[^"]*', r"\1…", config)


def transfer(server, client, address):
    """The rate of a TCP transfer of 100 MB through the VPN, as iperf3 says it."""
    listener = subprocess.Popen(
        server.command("iperf3", "-s", "-1", "-B", address), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(20):
            done = client.run("iperf3", "-c", address, "-n", "100M", "-f", "m", "--connect-timeout", "2000", seconds=60)
            if done.returncode == 0:
                return [line for line in done.stdout.splitlines() if line.rstrip().endswith("receiver")][-1].strip()
            time.sleep(0.25)
        raise RuntimeError(f"the transfer failed: {done.stdout}{done.stderr}")
    finally:
        listener.terminate()
        listener.wait(10)


def demonstrate(count, keep):
    with Cluster(count, name="demo") as cluster:
        title(f"{count} nodes on one LAN, with one cloud-config and nothing else in common")
        print(shorten(cluster.config))
        progress = Progress(cluster)
        cluster.start()
        progress.say("started " + ", ".join(node.hostname for node in cluster.nodes))
        progress.until(cluster.addresses, "every node has an address on the VPN")
        progress.until(cluster.server, "one node is the server")
        progress.until(lambda: cluster.drop_ins() == count, "every node has its K3s settings")
        progress.until(cluster.joined, "every K3s agent has registered with the server, over the VPN")
        progress.until(cluster.agree, "all nodes say the same")

        title("kairos-agent p2p status")
        print(cluster.nodes[0].cli("p2p", "status").stdout)

        server = cluster.server()
        client = next((node for node in cluster.nodes if node is not server), server)
        address = cluster.statuses()[cluster.nodes.index(server)].address
        title(f"ping {address} from {client.hostname}, across the VPN")
        done = client.run("ping", "-c", "5", "-i", "0.2", address)
        print(done.stdout)
        if done.returncode != 0:
            raise RuntimeError("the ping failed")
        title("100 MB over TCP, across the VPN")
        print(transfer(server, client, address))
        title("who joined K3s, as its server lists them")
        for name, node in server.k3s_nodes().items():
            print(f"{name:32}  {node['role']:6}  {node['addresses'][0]:12}  from {node['from']}")
        if keep:
            title("still running; Enter ends it")
            for node in cluster.nodes:
                print(f"ip netns exec {node.namespace} kairos-agent p2p status --root {node.root}")
            sys.stdin.readline()
    print("\nEverything is taken away again.")


def main():
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if not 1 <= options.nodes <= 32:
        parser.error("--nodes takes 1 to 32")

    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        demonstrate(options.nodes, options.keep)
    except KeyboardInterrupt:
        print("\nInterrupted; everything is taken away again.")
        return 130
    except (TimedOut, RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
