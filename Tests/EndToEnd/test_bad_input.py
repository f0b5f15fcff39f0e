"""Bad input from outside, through the built binary: a clear error, the exit code of sysexits(3), nothing
half-written and nothing lost.

What a peer can do wrong on the wire is tested beside the modules that meet it.
"""

import base64
import os
import shutil
import subprocess
import tempfile
import unittest

from lab import program
from lab.network import Network
from lab.node import Node
from lab.status import Status
from lab.waiting import wait_until

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_NOPERM, EX_CONFIG = 64, 65, 66, 69, 77, 78

HEADER = "#cloud-config\n"
GOOD_TOKEN = """otp:
  dht: {interval: 9000, key: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ", length: 43}
  crypto: {interval: 9000, key: "QPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba", length: 43}
room: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPR"
rendezvous: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPS"
mdns: "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPT"
max_message_size: 20971520
"""


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def config(token=None, rest=""):
    line = f'  network_token: "{token}"\n' if token is not None else ""
    return f"{HEADER}p2p:\n  minimum_nodes: 1\n{line}{rest}"


def good(rest=""):
    return config(encoded(GOOD_TOKEN), rest)


class Files(unittest.TestCase):
    """A configuration that cannot be used: refused by `config validate`, and by `start` before it acts."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="bad-input-")
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        os.makedirs(self.root + "/oem")

    def put(self, content, name="90_custom.yaml"):
        path = f"{self.root}/oem/{name}"
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return path

    def files(self):
        found = {}
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(directory, name)
                with open(path, "rb") as file:
                    found[path] = file.read()
        return found

    def refused(self, code, *parts, validate=True):
        """`start` and, if wanted, `config validate` end with this code and say these things."""
        before = self.files()
        calls = [("start", "--root", self.root)]
        if validate:
            calls.append(("p2p", "config", "validate", *sorted(before)))
        for call in calls:
            with self.subTest(call=call[:3]):
                done = program.call(*call, seconds=15)
                said = done.stdout + done.stderr
                self.assertEqual(done.returncode, code, said)
                for part in parts:
                    self.assertIn(part, said)
                self.assertNotIn("Fatal error", said)
        self.assertEqual(self.files(), before, "files were written for a configuration that was refused")

    def test_a_good_file_is_accepted(self):
        path = self.put(good())
        done = program.call("p2p", "config", "validate", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_no_configuration(self):
        self.refused(EX_CONFIG, "cloud-config", validate=False)

    def test_no_token(self):
        self.put(config())
        self.refused(EX_CONFIG, "network_token")

    def test_a_token_that_is_not_base64(self):
        self.put(config("%%% not base64 %%%"))
        self.refused(EX_DATAERR, "network_token", "token generate")

    def test_a_token_that_is_not_yaml(self):
        self.put(config(encoded("{: [")))
        self.refused(EX_DATAERR, "network_token")

    def test_a_token_that_lacks_keys(self):
        for key in ("room", "crypto"):
            with self.subTest(missing=key):
                lines = [line for line in GOOD_TOKEN.splitlines() if not line.strip().startswith(key + ":")]
                self.put(config(encoded("\n".join(lines))))
                self.refused(EX_DATAERR, "network_token", key)

    def test_a_token_with_absurd_numbers(self):
        for old, new in (
            ("interval: 9000", "interval: -1"),
            ("interval: 9000", "interval: 99999999999999999999999"),
            ("length: 43", "length: 100000000"),
            ("max_message_size: 20971520", "max_message_size: 99999999999999999999"),
        ):
            with self.subTest(number=new):
                self.put(config(encoded(GOOD_TOKEN.replace(old, new))))
                self.refused(EX_DATAERR, "network_token")

    def test_a_token_is_never_printed(self):
        token = encoded(GOOD_TOKEN.replace("length: 43", "length: -43"))
        self.put(config(token))
        done = program.call("p2p", "config", "validate", self.root + "/oem/90_custom.yaml")
        self.assertNotIn(token[40:80], done.stdout + done.stderr)
        self.assertNotIn("abcdefghijklmnopqrstuvwxyzABCDEFGH", done.stdout + done.stderr)

    def test_a_file_that_is_not_utf8(self):
        self.put(good().encode() + b"# \xff\xfe\n")
        self.refused(EX_DATAERR, "90_custom.yaml", "UTF-8")

    def test_a_file_that_is_not_yaml(self):
        self.put(good("  vpn: {{{\n"))
        self.refused(EX_DATAERR, "90_custom.yaml:")

    def test_a_file_without_a_header(self):
        path = self.put(good().removeprefix(HEADER))
        done = program.call("p2p", "config", "validate", path)
        self.assertEqual(done.returncode, EX_DATAERR, done.stdout + done.stderr)
        self.assertIn("#cloud-config", done.stdout + done.stderr)
        # A scan passes over it, as Kairos does, and says so; then nothing is left.
        self.refused(EX_CONFIG, "90_custom.yaml", validate=False)

    def test_a_map_where_a_scalar_belongs(self):
        self.put(good("  network_id: {a: b}\n"))
        self.refused(EX_DATAERR, "90_custom.yaml:5:", "p2p.network_id", "a map")

    def test_a_scalar_where_a_map_belongs(self):
        self.put(HEADER + "p2p: yes please\n")
        self.refused(EX_DATAERR, "90_custom.yaml:2:", "p2p")

    def test_two_files_that_disagree_in_kind(self):
        self.put(good("  vpn:\n    create: true\n"), "10_first.yaml")
        self.put(HEADER + "p2p:\n  vpn: none\n", "20_second.yaml")
        self.refused(EX_DATAERR, "20_second.yaml:3:", "10_first.yaml", "p2p.vpn", validate=False)

    def test_an_address_outside_the_network(self):
        self.put(good('  vpn:\n    address: "10.2.0.5/24"\n    env:\n      ADDRESS: "10.1.0.1/24"\n'))
        self.refused(EX_CONFIG, "10.2.0.5", "10.1.0.0/24")

    def test_an_address_that_no_host_can_have(self):
        for address in ("10.1.0.0/24", "10.1.0.255/24", "10.1.0.5", "300.1.0.5/24", "127.0.0.1/8"):
            with self.subTest(address=address):
                self.put(good(f'  vpn:\n    address: "{address}"\n'))
                self.refused(EX_DATAERR, "p2p.vpn.address", address)

    def test_absurd_numbers(self):
        for line, key in (("minimum_nodes: -1", "minimum_nodes"), ("minimum_nodes: 9999999999", "minimum_nodes")):
            with self.subTest(line=line):
                self.put(good().replace("minimum_nodes: 1", line))
                self.refused(EX_DATAERR, f"p2p.{key}")

    def test_a_role_that_does_not_exist(self):
        self.put(good("  role: king\n"))
        self.refused(EX_DATAERR, "p2p.role", "master", "worker")

    def test_an_unknown_key_is_a_warning_with_the_nearest_known_one(self):
        path = self.put(good("  minimum_node: 3\n"))
        done = program.call("p2p", "config", "validate", path)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("minimum_nodes", done.stdout + done.stderr)

    def test_a_file_that_cannot_be_read(self):
        path = self.put(good())
        os.chmod(path, 0o600)
        os.chmod(self.root, 0o755)
        # A copy where the unprivileged user can execute it; the build may be in a private directory.
        binary = os.path.join(self.root, "kairos-agent")
        shutil.copy(program.agent(), binary)
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", binary, "p2p", "config", "validate", path],
            capture_output=True, text=True, timeout=15,
        )  # fmt: skip
        self.assertEqual(done.returncode, EX_NOINPUT, done.stdout + done.stderr)
        self.assertIn("90_custom.yaml", done.stdout + done.stderr)
        done = program.call("p2p", "config", "validate", self.root + "/absent.yaml")
        self.assertEqual(done.returncode, EX_NOINPUT, done.stdout + done.stderr)

    def test_wrong_usage(self):
        for call in (("start", "--no-such-option"), ("p2p", "statsu"), ("p2p", "status", "-o", "xml"),
                     ("p2p", "token", "generate", "--rotation", "-5")):  # fmt: skip
            with self.subTest(call=call):
                self.assertEqual(program.call(*call).returncode, EX_USAGE)

    def test_status_of_a_node_whose_agent_is_down(self):
        for output in ("table", "json", "yaml"):
            done = program.call("p2p", "status", "-o", output, "--root", self.root)
            self.assertEqual(done.returncode, EX_UNAVAILABLE, done.stdout + done.stderr)
            self.assertRegex(done.stderr, r"(?i)not running|down|no agent")


class World(unittest.TestCase):
    """A machine that is not as it should be: one node in a namespace, a configuration that is right."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="bad-world-")
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.network = Network("bad")
        self.network.__enter__()
        self.addCleanup(self.network.close)
        self.node = self.add()

    def add(self, text=None, name="node"):
        namespace, _ = self.network.add()
        return Node(os.path.join(self.directory, name), namespace, text or good())

    def start_under(self, node, *prefix):
        """Starts the agent through a wrapper that changes what it finds."""
        with open(node.path("agent.log"), "a", encoding="utf-8") as log:
            node.process = subprocess.Popen(
                node.command(*prefix, program.agent(), "start", "--root", node.root),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def says(self, node, *parts, seconds=20):
        """Waits until the node's status, or its last words, hold all these texts."""

        def said():
            document = node.status()
            if document is not None:
                text = str(document)
            elif node.process.poll() is not None:
                text = node.log()
            else:
                return None
            return all(part.lower() in text.lower() for part in parts)

        wait_until(said, lambda: f"{parts} in status or log\n{node.status()}\n{node.log()}", seconds)

    def formed(self, node, seconds=30):
        wait_until(
            lambda: Status(node.status()).is_server() and node.k3s_record(),
            lambda: f"one node to be its own cluster\n{node.status()}\n{node.log()}", seconds,
        )  # fmt: skip
        return Status(node.status())

    def test_without_the_tun_device_the_node_says_so(self):
        hide = 'mount -t tmpfs tmpfs /dev/net && exec "$@"'
        self.start_under(self.node, "unshare", "--mount", "sh", "-c", hide, "sh")
        self.says(self.node, "/dev/net/tun")
        if self.node.process.poll() is not None:
            self.assertIn(self.node.process.returncode, (EX_UNAVAILABLE, EX_CONFIG))

    def test_without_the_capability_the_node_says_so(self):
        self.start_under(self.node, "setpriv", "--bounding-set=-net_admin")
        self.says(self.node, "NET_ADMIN")
        if self.node.process.poll() is not None:
            self.assertEqual(self.node.process.returncode, EX_NOPERM)

    def test_a_port_that_is_taken(self):
        text = good('  vpn:\n    env:\n      EDGEVPNLISTENMADDRS: "/ip4/0.0.0.0/tcp/4001"\n')
        node = self.add(text, "port")
        taker = subprocess.Popen(
            node.command("python3", "-c", TAKE_PORT, "4001"), stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(taker.wait, 10)
        self.addCleanup(taker.terminate)
        self.assertEqual(taker.stdout.readline(), "ready\n")
        taker.stdout.close()
        node.start()
        self.says(node, "4001")
        if node.process.poll() is not None:
            self.assertEqual(node.process.returncode, EX_UNAVAILABLE)

    def test_without_k3s_the_node_waits_and_says_so(self):
        os.remove(self.node.path("usr/bin/k3s"))
        self.node.start()
        self.says(self.node, "k3s", "/usr/bin/k3s")
        self.assertIsNone(self.node.process.poll(), "the agent is to stay: the VPN works without K3s")

    def test_a_k3s_that_fails_shows_its_last_words(self):
        self.node.write("usr/bin/k3s", "#!/bin/sh\necho 'level=fatal msg=the-disk-is-on-fire' >&2\nexit 1\n")
        self.node.start()
        self.says(self.node, "the-disk-is-on-fire")

    def test_a_state_directory_that_is_read_only(self):
        self.mount_state("ro,size=1m")
        self.node.start()
        self.says(self.node, ".kairos")
        self.assertNotEqual(self.node.process.wait(20), 0)

    def test_a_state_directory_that_is_full(self):
        self.mount_state("size=16k")
        with open(self.node.path("usr/local/.kairos/filler"), "wb") as file:
            try:
                file.write(b"x" * 65536)
                file.flush()
            except OSError:
                pass
        self.node.start()
        self.says(self.node, ".kairos")
        self.assertIsNone(self.node.read(DROP_IN), "K3s was configured for a node that can lose its state")

    def mount_state(self, options):
        path = self.node.path("usr/local/.kairos")
        os.makedirs(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True, timeout=10)
        self.addCleanup(subprocess.run, ["umount", "-l", path], check=False, timeout=10)

    def test_a_torn_snapshot_is_set_aside_and_the_node_is_the_same(self):
        self.node.start()
        before = self.formed(self.node)
        snapshot = self.node.path("usr/local/.kairos/p2p/ledger.snapshot")
        for damage in ("truncated", "corrupted", "empty"):
            with self.subTest(damage=damage):
                self.assertEqual(self.node.stop(), 0, self.node.log())
                self.damage(snapshot, damage)
                self.node.start()
                after = self.formed(self.node)
                self.assertEqual((after.peer, after.address), (before.peer, before.address))
                kept = [n for n in os.listdir(os.path.dirname(snapshot)) if n.startswith("ledger.snapshot.")]
                self.assertTrue(kept, "the damaged file was not kept")

    def test_a_damaged_lease_does_not_stop_the_node(self):
        self.node.start()
        before = self.formed(self.node)
        self.node.stop()
        folder = self.node.path("usr/local/.kairos/lease")
        for name in os.listdir(folder):
            self.damage(os.path.join(folder, name), "corrupted")
        self.node.start()
        after = self.formed(self.node)
        self.assertEqual(after.peer, before.peer)
        self.assertRegex(after.address, r"^10\.1\.0\.\d+$")

    def test_a_damaged_key_is_refused_and_kept(self):
        self.node.start()
        self.formed(self.node)
        self.node.stop()
        key = self.node.path("usr/local/.kairos/p2p/identity.key")
        self.damage(key, "truncated")
        with open(key, "rb") as file:
            damaged = file.read()
        self.node.start()
        code = self.node.process.wait(20)
        self.assertEqual(code, EX_DATAERR, self.node.log())
        self.assertIn("identity.key", self.node.log())
        with open(key, "rb") as file:
            self.assertEqual(file.read(), damaged, "a node's key was overwritten")

    @staticmethod
    def damage(path, kind):
        with open(path, "r+b") as file:
            content = bytearray(file.read())
            if kind == "truncated":
                content = content[: len(content) // 2]
            elif kind == "empty":
                content = bytearray()
            else:
                content[len(content) // 2] ^= 0x55
            file.seek(0)
            file.truncate()
            file.write(content)

    def test_an_address_that_is_taken(self):
        two = good().replace("minimum_nodes: 1", "minimum_nodes: 2")
        fixed = two + '  vpn:\n    address: "10.1.0.77/24"\n'
        first, other, late = self.add(fixed, "first"), self.add(two, "other"), self.add(fixed, "late")
        first.start()
        other.start()
        wait_until(
            lambda: Status(first.status()).address == "10.1.0.77" and Status(other.status()).address,
            lambda: f"addresses of the first two\n{first.log()}", 30,
        )  # fmt: skip
        late.start()
        wait_until(
            lambda: any("10.1.0.77" in what and "taken" in what for what in Status(late.status()).waiting()),
            lambda: f"the late one to say that its address is taken\n{late.status()}\n{late.log()}", 20,
        )  # fmt: skip
        self.assertIsNone(Status(late.status()).address)
        self.assertNotIn("10.1.0.77", late.run("ip", "-4", "-o", "address", "show").stdout)
        self.assertEqual(Status(first.status()).address, "10.1.0.77")
        self.assertEqual(other.run("ping", "-c", "2", "-i", "0.2", "-W", "2", "10.1.0.77").returncode, 0)


DROP_IN = "etc/rancher/k3s/config.yaml.d/90-kairos-p2p.yaml"
TAKE_PORT = """
import socket, sys, time
listener = socket.socket()
listener.bind(("0.0.0.0", int(sys.argv[1])))
listener.listen()
print("ready", flush=True)
time.sleep(120)
"""

if __name__ == "__main__":
    unittest.main()
