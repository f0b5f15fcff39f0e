"""Machines that boot systemd: systemd-nspawn over one Debian root, persistent paths as on Kairos."""

import atexit
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile

from . import program
from .network import ip, need_root
from .node import install_stand_in
from .waiting import wait_until

# What a machine needs to boot, what the agent links, and what the K3s stand-in needs.
PACKAGES = (
    "systemd,systemd-sysv,dbus,iproute2,iputils-ping,procps,kmod,"
    "libsodium23,libssl3,zlib1g,libyaml-0-2,libsystemd0,python3-minimal,python3,python3-yaml,openssl"
)
# What survives a reboot: Kairos keeps these on its persistent partition.
PERSISTENT = ("usr/local", "oem", "etc/rancher", "etc/systemd", "var/lib/rancher", "var/log/journal")
UNITS = os.path.join(program.FIXTURES, "units")


def run(*command, seconds=60, check=True):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return done


class BaseRoot:
    """The root that all machines share, made once and kept in .cache; locked while in use."""

    def __init__(self):
        need_root()
        tag = hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]
        cache = os.environ.get("KAIROS_CACHE") or os.path.join(program.REPOSITORY, ".cache")
        self.path = os.path.join(cache, f"boot-{tag}")
        os.makedirs(cache, exist_ok=True)
        self.lock = open(self.path + ".lock", "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def make(self):
        if os.path.isdir(self.path):
            return
        fresh = self.path + ".new"
        shutil.rmtree(fresh, ignore_errors=True)
        print("making the machines' root with debootstrap, once: some minutes", flush=True)
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", fresh, seconds=900)
        shutil.rmtree(os.path.join(fresh, "var/cache/apt/archives"), ignore_errors=True)
        for name in ("etc/machine-id", "var/lib/dbus/machine-id", "etc/hostname"):
            if os.path.lexists(os.path.join(fresh, name)):
                os.remove(os.path.join(fresh, name))
        for name in PERSISTENT:
            os.makedirs(os.path.join(fresh, name), exist_ok=True)
        open(os.path.join(fresh, "etc/machine-id"), "w", encoding="utf-8").close()
        os.rename(fresh, self.path)

    def listing(self):
        """Every path below the root, to see what an installer leaves behind."""
        found = set()
        for directory, _, files in os.walk(self.path):
            found.add(directory)
            found.update(os.path.join(directory, name) for name in files)
        return found

    def install(self):
        """Our overlay, by its own installer, and K3s: the stand-in and the units of K3s' installer."""
        run(os.path.join(program.REPOSITORY, "overlay", "install"), self.path, program.agent())
        install_stand_in(self.path)
        for name in ("k3s.service", "k3s-agent.service"):
            shutil.copy(os.path.join(UNITS, name), os.path.join(self.path, "etc/systemd/system", name))

    def uninstall(self):
        run(os.path.join(program.REPOSITORY, "overlay", "uninstall"), self.path)

    def close(self):
        self.lock.close()


class Lan:
    """A bridge in a namespace of its own, to which machines are plugged."""

    def __init__(self):
        self.namespace = f"boot-{os.getpid()}"

    def __enter__(self):
        atexit.register(self.close)
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "add", "lan0", "type", "bridge", "mcast_snooping", "0")
        ip("-n", self.namespace, "link", "set", "lan0", "up")
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        ip("netns", "delete", self.namespace, check=False)


class Machine:
    """One machine. `directory` is its persistent partition; everything else is new at each boot."""

    def __init__(self, number, base, lan, directory, config):
        self.number, self.base, self.lan, self.directory = number, base, lan, directory
        self.name = f"m{number}-{os.getpid()}"
        self.nspawn = self.init = None
        atexit.register(self.close)
        for path in PERSISTENT:
            target = self.persistent(path)
            if path == "etc/systemd":
                shutil.copytree(os.path.join(base.path, path), target, symlinks=True)
            else:
                os.makedirs(target)
        self.machine_id = secrets.token_hex(16)
        # Kairos' cloud-init sets this name from the template in the cloud-config.
        self.hostname = f"kairoslab-{self.machine_id[:4]}"
        with open(self.persistent("oem/90_custom.yaml"), "w", encoding="utf-8") as file:
            file.write(config)
        self.configure_network()

    def persistent(self, path):
        """Where a path of the persistent partition is on the host."""
        return os.path.join(self.directory, path)

    def configure_network(self):
        etc = self.persistent("etc/systemd")
        os.makedirs(f"{etc}/network", exist_ok=True)
        with open(f"{etc}/network/10-host0.network", "w", encoding="utf-8") as file:
            file.write(
                "[Match]\nName=host0\n[Network]\nLinkLocalAddressing=ipv6\n"
                f"Address=192.168.78.{self.number}/24\nGateway=192.168.78.254\n"
            )
        wants = f"{etc}/system/multi-user.target.wants"
        os.makedirs(wants, exist_ok=True)
        link = f"{wants}/systemd-networkd.service"
        if not os.path.lexists(link):
            os.symlink("/lib/systemd/system/systemd-networkd.service", link)

    # Power.

    def boot(self, seconds=60):
        command = [
            "nsenter", f"--net=/run/netns/{self.lan.namespace}",
            "systemd-nspawn", "--quiet", "-D", self.base.path, "--volatile=overlay",
            f"--machine={self.name}", f"--hostname={self.hostname}", "--register=no", "--keep-unit",
            "--network-bridge=lan0", "--bind=/dev/net/tun", "--link-journal=no",
            # Kairos restores the machine's id from the persistent partition.
            f"--uuid={self.machine_id}",
            *(f"--bind={self.persistent(path)}:/{path}" for path in PERSISTENT),
            "-b",
        ]  # fmt: skip
        with open(os.path.join(self.directory, "console.log"), "ab") as console:
            self.nspawn = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        wait_until(self.find_init, f"PID 1 of {self.hostname}\n{self.console()}", 20)
        wait_until(
            # Not multi-user.target: that waits for K3s, and an agent of K3s for its server.
            lambda: self.run("systemctl", "is-active", "basic.target", check=False).returncode == 0
            or self.nspawn.poll() is not None,
            lambda: f"basic.target of {self.hostname}\n{self.console()}",
            seconds,
        )

    def find_init(self):
        if self.nspawn.poll() is not None:
            raise RuntimeError(f"systemd-nspawn ended with {self.nspawn.returncode}:\n{self.console()}")
        with open(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children", encoding="utf-8") as file:
            for child in file.read().split():
                try:
                    with open(f"/proc/{child}/status", encoding="utf-8") as status:
                        inner = [line.split()[1:] for line in status if line.startswith("NSpid:")][0]
                except (OSError, IndexError):
                    continue
                if inner[-1] == "1":
                    self.init = int(child)
                    return self.init
        return None

    def command(self, *arguments):
        return ["nsenter", "-t", str(self.init), "-a", "--", *arguments]

    def run(self, *arguments, seconds=30, check=True):
        return run(*self.command(*arguments), seconds=seconds, check=check)

    def power(self, verb, seconds=60):
        """`poweroff` or `reboot`; a machine that reboots is started again by `boot`, as by its firmware."""
        if self.nspawn is None:
            return
        self.run("systemctl", "--no-block", verb, check=False)
        wait_until(
            lambda: self.nspawn.poll() is not None,
            lambda: f"{self.hostname} to {verb}\n{self.console()}",
            seconds,
        )
        self.nspawn = self.init = None

    def reboot(self):
        self.power("reboot")
        self.boot()

    def close(self):
        if self.nspawn is None:
            return
        if self.nspawn.poll() is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                self.nspawn.send_signal(number)
                try:
                    self.nspawn.wait(10)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self.nspawn = self.init = None
        try:
            os.rmdir(f"/run/systemd/nspawn/propagate/{self.name}")
        except OSError:
            pass

    # Looking inside.

    def console(self, lines=30):
        try:
            with open(os.path.join(self.directory, "console.log"), encoding="utf-8", errors="replace") as file:
                return "\n".join(file.read().splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def journal(self, unit, lines=20):
        return self.run("journalctl", "--no-pager", "-q", "-b", "-u", unit, "-n", str(lines), check=False).stdout

    def is_active(self, unit):
        return self.run("systemctl", "is-active", unit, check=False).stdout.strip()

    def show(self, unit, *properties):
        text = self.run("systemctl", "show", unit, *(f"-p{name}" for name in properties)).stdout
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def read(self, path):
        done = self.run("cat", path, check=False)
        return done.stdout if done.returncode == 0 else None

    def status(self):
        done = self.run("kairos-agent", "p2p", "status", "-o", "json", check=False, seconds=10)
        try:
            return json.loads(done.stdout) if done.returncode == 0 else None
        except ValueError:
            return None

    def k3s_record(self):
        text = self.read("/var/lib/rancher/k3s/stand-in-record.json")
        return json.loads(text) if text else None

    def k3s_starts(self):
        return len((self.read("/var/lib/rancher/k3s/stand-in-starts.jsonl") or "").splitlines())

    def k3s_nodes(self):
        done = self.run(
            "python3", "-c",
            "import ssl,urllib.request as u;print(u.urlopen('https://127.0.0.1:6443/stand-in/nodes',timeout=4,"
            "context=ssl._create_unverified_context()).read().decode())",
            check=False, seconds=10,
        )  # fmt: skip
        return {node["name"]: node for node in json.loads(done.stdout)} if done.returncode == 0 else None


class MachineRoom:
    """The root, the LAN and the machines of one test; everything is gone at the end."""

    def __init__(self):
        self.machines, self.directory, self.lan, self.base = [], None, Lan(), BaseRoot()

    def __enter__(self):
        atexit.register(self.close)
        self.directory = tempfile.mkdtemp(prefix="boot-")
        self.base.make()
        self.lan.__enter__()
        return self

    def __exit__(self, *_):
        self.close()

    def add(self, config):
        number = len(self.machines) + 1
        machine = Machine(number, self.base, self.lan, os.path.join(self.directory, f"m{number}"), config)
        self.machines.append(machine)
        return machine

    def close(self):
        for machine in self.machines:
            machine.close()
        self.lan.close()
        self.base.close()
        if self.directory and not os.environ.get("KAIROS_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)
