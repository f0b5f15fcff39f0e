"""What is behind `scripts/order-functions`: the functions that idle nodes run, as callgrind saw them."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

from bench.tools import Tools
from lab import program
from lab.cluster import Cluster
from lab.waiting import wait_until

# What starting and joining leave behind is done.
SETTLE_SECONDS = 60
# Longer than anything that a node does at rest but the quarter-hourly question to its neighbours.
WATCH_SECONDS = 190
JOIN_SECONDS = 300
# The agent below valgrind; calls of its command line are left alone.
WRAPPER = """#!/bin/sh
[ "$1" = start ] || exec {agent} "$@"
exec env LD_PRELOAD={shim} valgrind -q --tool=callgrind --vgdb-prefix={directory}/vgdb \\
    --callgrind-out-file={directory}/out.%p --demangle=no {agent} "$@"
"""
FUNCTION = re.compile(r"(c?)fn=\((\d+)\)(?: (.*))?$")
RECURSION = re.compile(r"'\d+$")


def functions(path):
    """Those that a dump counts anything for; a name is given at its first mention only."""
    names, run = {}, set()
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            found = FUNCTION.match(line)
            if not found:
                continue
            is_called, number, name = found.groups()
            if name:
                names[number] = RECURSION.sub("", name.strip())
            if not is_called:
                run.add(number)
    return {names[number] for number in run}


def own_functions(agent):
    """The names in the program's own code."""
    text = subprocess.run(["nm", agent], capture_output=True, text=True, check=True, timeout=60).stdout
    return {line.split()[-1] for line in text.splitlines() if line.split()[-2] in ("t", "T", "w", "W")}


def watch(directory):
    """Runs the nodes; leaves dumps of starting (.1) and of resting (.2) for each."""
    with Cluster(3, name="order") as cluster:
        for node in cluster.nodes:
            node.write("etc/k3s-stand-in-quiet", "")
        cluster.start()
        wait_until(
            cluster.joined, lambda: f"every K3s agent to be registered\n{cluster.describe()}", JOIN_SECONDS
        )

        def tell(*words):
            for node in cluster.nodes:
                subprocess.run(
                    ["vgdb", f"--vgdb-prefix={directory}/vgdb", f"--pid={node.process.pid}", *words],
                    check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip

        time.sleep(SETTLE_SECONDS)
        tell("dump", "start")
        tell("zero")
        time.sleep(WATCH_SECONDS)
        for node in cluster.nodes:
            for address in cluster.addresses():
                node.run("ping", "-c", "3", "-i", "0.2", address)
        tell("dump", "rest")
        return [node.process.pid for node in cluster.nodes]


def main(target):
    agent = program.agent()
    with Tools() as tools, tempfile.TemporaryDirectory(prefix="kairos-order-") as directory:
        wrapper = os.path.join(directory, "agent")
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write(
                WRAPPER.format(
                    agent=shlex.quote(agent), shim=tools.path("pidfd_shim"), directory=shlex.quote(directory)
                )
            )
        os.chmod(wrapper, 0o755)
        os.environ["KAIROS_AGENT"] = wrapper
        run = set().union(*(functions(f"{directory}/out.{process}.2") for process in watch(directory)))
        found = sorted(run & own_functions(agent))
    with open(target, "w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in found)
    print(f"{target}: {len(found)} functions")


if __name__ == "__main__":
    main(sys.argv[1])
