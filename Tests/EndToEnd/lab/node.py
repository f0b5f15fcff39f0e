"""One node in a network namespace: its root directory, its cloud-config and the agent's process."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time

from . import program

LAN_CONFIG = """#cloud-config
hostname: kairoslab-{{{{ trunc 4 .MachineID }}}}
p2p:
  disable_dht: true
  minimum_nodes: {minimum}
  network_token: "{token}"
"""


def install_stand_in(root):
    """Lays the K3s stand-in into a root directory as /usr/bin/k3s."""
    for source, target in (
        ("k3s-stand-in", "usr/bin/k3s"),
        ("k3s-config-keys.json", "usr/share/k3s-stand-in/k3s-config-keys.json"),
    ):
        path = os.path.join(root, target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.join(program.FIXTURES, source), path)


class Node:
    """A node below `directory`, in `namespace`. It has its own hostname, as a machine has."""

    def __init__(self, directory, namespace, config, machine_id=None):
        self.root, self.namespace = directory, namespace
        self.machine_id = machine_id or secrets.token_hex(16)
        self.hostname = f"kairoslab-{self.machine_id[:4]}"
        self.process = None
        for path in ("etc", "oem", "run", "usr/local", "var/lib"):
            os.makedirs(self.path(path), exist_ok=True)
        self.write("etc/machine-id", self.machine_id + "\n")
        self.write("etc/hostname", self.hostname + "\n")
        if config is not None:
            self.write("oem/90_custom.yaml", config)
        install_stand_in(self.root)

    @classmethod
    def at(cls, root):
        """A node that something else has laid out and started: only to be looked at."""
        node = cls.__new__(cls)
        node.root, node.namespace, node.process = root, None, None
        node.hostname = (node.read("etc/hostname") or "").strip()
        return node

    def path(self, relative):
        return os.path.join(self.root, relative)

    def write(self, relative, text):
        path = self.path(relative)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def read(self, relative):
        """The file's text, or None when it is not there."""
        try:
            with open(self.path(relative), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def command(self, *arguments):
        """What runs a command in the node's namespace under the node's hostname."""
        naming = f'hostname {self.hostname} && exec "$@"'
        return ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", naming, "sh", *arguments]

    def start(self, *arguments, **environment):
        with open(self.path("agent.log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command(program.agent(), "start", "--root", self.root, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
                # Ctrl-C in a terminal is for the script, which then stops its nodes in order.
                start_new_session=True,
            )
        return self.process

    def stop(self, signal_number=signal.SIGTERM, seconds=10):
        """Ends the agent. Its exit code, negative for a signal."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(seconds)

    def run(self, *command, seconds=30):
        """Runs a command in the node's namespace."""
        return subprocess.run(self.command(*command), capture_output=True, text=True, timeout=seconds)

    def cli(self, *arguments, seconds=10):
        """One call of the agent's command line against this node, over its socket below the root."""
        return program.call(*arguments, "--root", self.root, seconds=seconds)

    def status(self):
        return program.status("--root", self.root)

    def ask(self, path, seconds=5):
        """The body that the agent's API answers with, without the time of a process."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(seconds)
            channel.connect(self.path("run/edgevpn-kairos.sock"))
            channel.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while part := channel.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the API answered {head[:80]!r}")
        if b"transfer-encoding: chunked" in head.lower():
            whole, rest = b"", body
            while (size := int(rest.partition(b"\r\n")[0] or b"0", 16)) > 0:
                rest = rest.partition(b"\r\n")[2]
                whole, rest = whole + rest[:size], rest[size + 2 :]
            return whole
        return body

    def time_of_answer(self):
        """Seconds until the agent's API has given the whole status."""
        begin = time.monotonic()
        self.ask("/api/v1/status")
        return time.monotonic() - begin

    def processes(self):
        """The processes in the node's namespace."""
        done = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, timeout=10)
        return [int(word) for word in done.stdout.split()]

    def log(self, lines=25):
        return "\n".join((self.read("agent.log") or "").splitlines()[-lines:])

    # What K3s was given, and made of it.

    def k3s_record(self):
        """What the stand-in read at its last start, or None."""
        text = self.read("var/lib/rancher/k3s/stand-in-record.json")
        return json.loads(text) if text else None

    def k3s_starts(self):
        return len((self.read("var/lib/rancher/k3s/stand-in-starts.jsonl") or "").splitlines())

    def k3s_nodes(self, address="127.0.0.1"):
        """Who joined the K3s server that runs at this address, or None when none answers."""
        done = self.run(
            "python3", "-c",
            "import ssl,sys,urllib.request as u;"
            "print(u.urlopen(sys.argv[1],timeout=4,context=ssl._create_unverified_context()).read().decode())",
            f"https://{address}:6443/stand-in/nodes", seconds=10,
        )  # fmt: skip
        return {node["name"]: node for node in json.loads(done.stdout)} if done.returncode == 0 else None
