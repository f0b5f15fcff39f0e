"""Two namespaces, A and B, and what lies between them."""

import os
import signal
import subprocess

from lab.network import ip, need_root

UNDER = {"A": "192.168.77.1", "B": "192.168.77.2"}
LOSS = """table inet bench {{
  chain receive {{
    type filter hook input priority 0;
    iifname "eth0" numgen random mod 1000 < {permille} drop
  }}
}}
"""


class Wire:
    """A veth pair from A to B: `loss` of every 1000 frames are dropped on arrival, both ways; with `delay`, in
    microseconds, each frame arrives that much later. Use it in a `with`.

    What is dropped is what the kernel passes between two namespaces: a frame of up to 64 KiB when the sender
    left the cutting to the card, as TCP and UDP_SEGMENT do.
    """

    def __init__(self, tools, loss=0, delay=0, name="bench"):
        need_root()
        self.tools, self.loss, self.delay = tools, loss, delay
        prefix = f"{name}-{os.getpid()}"
        self.names = {"A": f"{prefix}-a", "B": f"{prefix}-b"}
        self.box, self.box_process, self.made = f"{prefix}-box", None, []

    def __enter__(self):
        try:
            for name in [*self.names.values(), *([self.box] if self.delay else [])]:
                ip("netns", "add", name)
                self.made.append(name)
                ip("-n", name, "link", "set", "lo", "up")
            if self.delay:
                for side, name in self.names.items():
                    ip("link", "add", "eth0", "netns", name, "type", "veth",
                       "peer", "name", f"port{side}", "netns", self.box)  # fmt: skip
                    off = ["sysctl", "-qw", f"net.ipv6.conf.port{side}.disable_ipv6=1"]
                    subprocess.run(["ip", "netns", "exec", self.box, *off], check=True, timeout=10)
                    ip("-n", self.box, "link", "set", f"port{side}", "up")
            else:
                ip("link", "add", "eth0", "netns", self.names["A"], "type", "veth",
                   "peer", "name", "eth0", "netns", self.names["B"])  # fmt: skip
            for side, name in self.names.items():
                ip("-n", name, "address", "add", f"{UNDER[side]}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                if self.loss:
                    rules = LOSS.format(permille=self.loss)
                    self.run(side, "nft", "-f", "-", input=rules, check=True)
            if self.delay:
                self.box_process = subprocess.Popen(
                    ["ip", "netns", "exec", self.box, self.tools.path("delay_box"), "portA", "portB", str(self.delay)],
                    stdout=subprocess.DEVNULL,
                )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def command(self, side, *command):
        return ["ip", "netns", "exec", self.names[side], *command]

    def run(self, side, *command, seconds=30, input=None, check=False):
        return subprocess.run(
            self.command(side, *command), capture_output=True, text=True, timeout=seconds, input=input, check=check
        )

    def start(self, side, *command, **options):
        options.setdefault("stdout", subprocess.DEVNULL)
        options.setdefault("stderr", subprocess.DEVNULL)
        return subprocess.Popen(self.command(side, *command), stdin=subprocess.DEVNULL, **options)

    def close(self):
        for name in self.made:
            for number in ip("netns", "pids", name, check=False).split():
                try:
                    os.kill(int(number), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if self.box_process:
            self.box_process.wait(10)
        for name in self.made:
            ip("netns", "delete", name, check=False)
        self.made = []
