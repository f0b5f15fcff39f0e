"""What the K3s stand-in must do before a test may trust it. Run: python3 -m unittest discover Tests/EndToEnd

Everything runs on loopback, with ports of its own, below a temporary directory.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
K3S = os.path.join(HERE, "k3s-stand-in")
PASSWORD = "0123456789abcdef0123456789abcdef"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Root:
    """One node's root directory, and the processes started in it."""

    def __init__(self, test):
        directory = tempfile.TemporaryDirectory(prefix="k3s-stand-in-")
        test.addCleanup(directory.cleanup)
        self.test, self.path = test, directory.name
        self.base = self.path + "/etc/rancher/k3s/config.yaml"
        self.data = self.path + "/var/lib/rancher/k3s"
        os.makedirs(self.base + ".d")

    def config(self, text, name=None):
        path = f"{self.base}.d/{name}" if name else self.base
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self, *arguments, **environment):
        log = open(self.path + "/log", "a", encoding="utf-8")
        self.test.addCleanup(log.close)
        process = subprocess.Popen(
            [sys.executable, K3S, *arguments],
            stderr=log,
            stdout=log,
            env={"PATH": os.environ["PATH"], "K3S_CONFIG_FILE": self.base, **environment},
        )

        def end():
            process.terminate()
            process.wait(10)

        self.test.addCleanup(lambda: process.poll() is None and end())
        return process

    def log(self):
        with open(self.path + "/log", encoding="utf-8") as file:
            return file.read()

    def refused(self, *arguments, **environment):
        """What K3s says when it exits for this configuration."""
        process = self.start(*arguments, **environment)
        self.test.assertEqual(process.wait(20), 1, self.log())
        return self.log()

    def record(self):
        path = self.data + "/stand-in-record.json"
        self.test.wait_for(lambda: os.path.exists(path), f"{path}\n{self.log()}")
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def text(self, path):
        with open(self.data + "/" + path, encoding="utf-8") as file:
            return file.read().strip()


class StandInTests(unittest.TestCase):
    def wait_for(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if condition():
                return
            time.sleep(0.05)
        self.fail(f"{seconds} s passed, waited for: {what() if callable(what) else what}")

    def get(self, port, path):
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", timeout=5, context=context) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def nodes(self, port):
        return {node["name"]: node for node in json.loads(self.get(port, "/stand-in/nodes") or "[]")}

    def server(self, extra="", root=None, port=None):
        root, port = root or Root(self), port or free_port()
        root.config(
            f'token: "{PASSWORD}"\nnode-name: first\nnode-ip: ["127.0.0.1"]\nhttps-listen-port: {port}\n{extra}'
        )
        process = root.start("server")
        self.wait_for(lambda: self.get(port, "/ping") == b"pong", lambda: f"/ping of the server\n{root.log()}")
        return root, port, process

    def readyz(self, root, port):
        """What /readyz answers to the client certificate of the kubeconfig."""
        with open(root.path + "/etc/rancher/k3s/k3s.yaml", encoding="utf-8") as file:
            user = yaml.safe_load(file)["users"][0]["user"]
        pem = root.path + "/admin.pem"
        with open(pem, "wb") as file:
            file.write(base64.b64decode(user["client-certificate-data"]))
            file.write(base64.b64decode(user["client-key-data"]))
        context = ssl._create_unverified_context()
        context.load_cert_chain(pem)
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/readyz", timeout=5, context=context) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def test_readyz_is_for_the_administrator_and_can_be_made_ill(self):
        root, port, _ = self.server()
        self.wait_for(lambda: os.path.exists(root.path + "/etc/rancher/k3s/k3s.yaml"), "the kubeconfig")
        self.assertEqual(self.get(port, "/readyz"), 401)
        self.assertEqual(self.readyz(root, port), 200)
        open(root.path + "/etc/k3s-stand-in-ill", "w", encoding="utf-8").close()
        self.assertEqual(self.readyz(root, port), 500)

    def agent(self, port, token=PASSWORD, extra="", name="second"):
        root = Root(self)
        root.config(f'server: "https://127.0.0.1:{port}"\ntoken: "{token}"\nnode-name: {name}\n{extra}')
        root.process = root.start("agent")
        return root

    # Configuration.

    def test_later_files_replace_and_plus_appends_in_byte_order(self):
        root = Root(self)
        root.config('node-label: ["a=1"]\ntls-san: ["one"]\ntoken: "base"\n')
        root.config('tls-san+: ["three"]\n', "20-b.yaml")
        root.config('tls-san: ["two"]\nnode-label+: ["b=2"]\n', "10-a.yml")
        root.config('token: "ignored"\n', "90-not-yaml.txt")
        root.start("server", "--node-ip", "127.0.0.1", f"--https-listen-port={free_port()}")
        record = root.record()
        self.assertEqual(record["settings"]["tls-san"], ["two", "three"])
        self.assertEqual(record["settings"]["node-label"], ["a=1", "b=2"])
        self.assertEqual(record["settings"]["token"], "base")
        self.assertEqual(
            [os.path.basename(file["path"]) for file in record["files"]], ["config.yaml", "10-a.yml", "20-b.yaml"]
        )
        self.assertTrue(all(file["mtime"] <= record["started"] for file in record["files"]))

    def test_drop_ins_are_read_without_a_base_file(self):
        root = Root(self)
        root.config('token: "x"\nnode-ip: ["127.0.0.1"]\n', "90-kairos-p2p.yaml")
        root.start("server", f"--https-listen-port={free_port()}")
        self.assertEqual(root.record()["settings"]["token"], "x")

    def test_command_line_beats_file_beats_environment(self):
        root = Root(self)
        root.config('token: "file"\nnode-name: "file"\nnode-ip: ["127.0.0.1"]\n')
        root.start(
            "server", "--node-name=line", f"--https-listen-port={free_port()}",
            K3S_TOKEN="environment", K3S_NODE_NAME="environment", K3S_DATA_DIR=root.data,
        )  # fmt: skip
        record = root.record()
        self.assertEqual(record["settings"]["node-name"], "line")
        self.assertEqual(record["settings"]["token"], "file")
        self.assertEqual(record["settings"]["data-dir"], root.data)

    def test_what_k3s_does_not_know_is_refused(self):
        for command, key, value, part in (
            ("agent", "tls-san", '["a"]', "flag provided but not defined: -tls-san"),
            ("agent", "cluster-init", "true", "flag provided but not defined: -cluster-init"),
            ("server", "node-ipp", '"x"', "flag provided but not defined: -node-ipp"),
            ("server", "cluster-init", '"maybe"', "wants true or false"),
            ("server", "https-listen-port", '"many"', "wants an int"),
            ("server", "token", "12345", "wants a string"),
            ("server", "token", '["a"]', "found a list"),
            ("server", "tls-san", "[{a: b}]", "wants a slice"),
            ("server", "flannel-backend", '"wireguard"', "wireguard"),
            ("server", "no-deploy", '"traefik"', "was removed"),
            ("server", "token", '"a"\ntoken: "b"', "stands twice"),
        ):
            with self.subTest(command=command, key=key, value=value):
                root = Root(self)
                root.config(f"{key}: {value}\n")
                self.assertIn(part, root.refused(command, "--node-ip=127.0.0.1"))

    def test_a_drop_in_that_is_no_mapping_is_refused(self):
        root = Root(self)
        root.config("- a\n", "10-list.yaml")
        self.assertIn("a mapping is wanted", root.refused("server"))

    # Addresses.

    def test_an_address_or_interface_that_is_not_there_is_refused(self):
        root = Root(self)
        root.config('node-ip: ["192.0.2.77"]\n')
        self.assertIn("not found in the host's interfaces", root.refused("server"))
        root = Root(self)
        root.config('server: "https://127.0.0.1:1"\ntoken: "a"\nflannel-iface: "absent0"\nnode-ip: ["127.0.0.1"]\n')
        self.assertIn("unable to find interface absent0", root.refused("agent"))

    # Server.

    def test_a_server_writes_what_k3s_writes(self):
        root, port, _ = self.server('tls-san: ["api.example.org"]\n')
        ca = self.get(port, "/cacerts")
        token = f"K10{hashlib.sha256(ca).hexdigest()}::server:{PASSWORD}"
        self.assertEqual(root.text("server/token"), token)
        self.assertEqual(root.text("server/node-token"), token)
        self.assertEqual(os.stat(root.data + "/server/token").st_mode & 0o777, 0o600)
        kubeconfig = root.path + "/etc/rancher/k3s/k3s.yaml"
        self.assertEqual(os.stat(kubeconfig).st_mode & 0o777, 0o600)
        with open(kubeconfig, encoding="utf-8") as file:
            self.assertIn(f"https://127.0.0.1:{port}", file.read())
        self.assertEqual(self.get(port, "/v1-k3s/readyz"), 401)
        self.assertEqual(self.nodes(port)["first"]["role"], "server")
        names = subprocess.run(
            ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in",
             root.data + "/server/tls/serving-kube-apiserver.crt"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        self.assertIn("DNS:api.example.org", names)

    def test_a_server_keeps_its_ca_and_refuses_another_token(self):
        root, port, process = self.server()
        first = root.text("server/token")
        process.terminate()
        process.wait(10)
        _, _, process = self.server(root=root, port=port)
        self.assertEqual(root.text("server/token"), first)
        process.terminate()
        process.wait(10)
        root.config(f'token: "another"\nnode-ip: ["127.0.0.1"]\nhttps-listen-port: {port}\n')
        self.assertIn("encrypted with different token", root.refused("server"))

    def test_a_first_server_refuses_full_and_bootstrap_tokens(self):
        for token in ("K10" + "a" * 64 + "::server:abc", "abcdef.0123456789abcdef", "K10nonsense"):
            with self.subTest(token=token):
                root = Root(self)
                root.config(f'token: "{token}"\nnode-ip: ["127.0.0.1"]\n')
                root.refused("server")

    def test_a_second_server_takes_the_clusters_ca(self):
        first, port, _ = self.server("cluster-init: true\n")
        other = free_port()
        second = Root(self)
        second.config(
            f'server: "https://127.0.0.1:{port}"\ntoken: "{PASSWORD}"\nnode-name: other\n'
            f'node-ip: ["127.0.0.1"]\nhttps-listen-port: {other}\n'
        )
        second.start("server")
        self.wait_for(lambda: self.get(other, "/ping") == b"pong", lambda: second.log())
        self.assertEqual(self.get(port, "/cacerts"), self.get(other, "/cacerts"))
        self.assertEqual(second.record()["datastore"], "etcd")

    def test_a_server_url_without_a_token_founds_a_separate_cluster(self):
        root = Root(self)
        root.config('server: "https://127.0.0.1:1"\nnode-ip: ["127.0.0.1"]\n')
        root.start("server", f"--https-listen-port={free_port()}")
        self.assertEqual(root.record()["datastore"], "sqlite")

    # Agent.

    def test_an_agent_joins_with_the_short_and_with_the_full_token(self):
        root, port, _ = self.server()
        self.agent(port)
        self.agent(port, token=root.text("server/node-token"), name="third")
        self.wait_for(lambda: {"second", "third"} <= set(self.nodes(port)), "both agents in /stand-in/nodes")
        self.assertEqual(self.nodes(port)["second"]["from"], "127.0.0.1")

    def test_an_agent_with_a_wrong_token_keeps_trying_and_does_not_join(self):
        _, port, _ = self.server()
        wrong = self.agent(port, token="wrong")
        pinned = self.agent(port, token=f"K10{'0' * 64}::server:{PASSWORD}", name="third")
        self.wait_for(lambda: "401 Unauthorized" in wrong.log(), "the refusal in the log")
        self.wait_for(lambda: "does not match the Cluster CA" in pinned.log(), "the refusal in the log")
        self.assertEqual(set(self.nodes(port)), {"first"})

    def test_an_agent_waits_for_its_server_and_survives_its_restart(self):
        port = free_port()
        agent = self.agent(port)
        self.wait_for(lambda: "server is not ready" in agent.log(), "the agent to say that it waits")
        root, _, process = self.server(port=port)
        self.wait_for(lambda: "second" in self.nodes(port), "the agent in /stand-in/nodes")
        process.terminate()
        process.wait(10)
        self.server(root=root, port=port)
        self.wait_for(
            lambda: self.nodes(port).get("second", {}).get("joined_since_start"), "the agent to register again"
        )

    def test_a_server_that_restarted_knows_who_has_not_come_back(self):
        root, port, process = self.server()
        agent = self.agent(port)
        self.wait_for(lambda: "second" in self.nodes(port), "the agent in /stand-in/nodes")
        for each in (agent.process, process):
            each.terminate()
            each.wait(10)
        self.server(root=root, port=port)
        self.assertFalse(self.nodes(port)["second"]["joined_since_start"])

    def test_a_second_node_of_the_same_name_is_rejected(self):
        _, port, _ = self.server()
        self.agent(port)
        self.wait_for(lambda: "second" in self.nodes(port), "the agent in /stand-in/nodes")
        twin = self.agent(port)
        self.wait_for(lambda: "Node password rejected" in twin.log(), "the rejection in the log")

    def test_an_agent_needs_server_and_token(self):
        root = Root(self)
        root.config('server: "https://127.0.0.1:1"\n')
        self.assertIn("--token is required", root.refused("agent", "--node-ip=127.0.0.1"))
        root = Root(self)
        root.config('token: "a"\n')
        self.assertIn("--server is required", root.refused("agent", "--node-ip=127.0.0.1"))

    # Embedded etcd.

    def join(self, port, name, extra="", root=None, own=None):
        """A further server that joins the one at `port`; its root, port and process."""
        root, own = root or Root(self), own or free_port()
        root.config(
            f'server: "https://127.0.0.1:{port}"\ntoken: "{PASSWORD}"\nnode-name: {name}\n'
            f'node-ip: ["127.0.0.1"]\nhttps-listen-port: {own}\n{extra}'
        )
        return root, own, root.start("server")

    def kubectl(self, root, *arguments):
        return subprocess.run(
            [sys.executable, K3S, "kubectl", "--kubeconfig", root.path + "/etc/rancher/k3s/k3s.yaml", *arguments],
            capture_output=True, text=True, timeout=20,
        )  # fmt: skip

    def voter(self, root, name):
        path = 'jsonpath={.status.conditions[?(@.type=="EtcdIsVoter")].status}'
        return self.kubectl(root, "get", "node", name, "-o", path).stdout

    def test_servers_join_one_after_the_other_and_become_voters(self):
        first, port, _ = self.server("cluster-init: true\n")
        self.assertEqual(self.voter(first, "first"), "True")
        second, _, _ = self.join(port, "second")
        third, _, _ = self.join(port, "third")
        for name in ("second", "third"):
            self.wait_for(lambda: self.voter(first, name) == "True", lambda: second.log() + third.log(), 40)
        self.wait_for(lambda: self.voter(third, "second") == "True", "every server to know the members")
        names = self.kubectl(second, "get", "nodes").stdout.split()
        self.assertEqual(names, ["first", "second", "third"])
        twin, _, process = self.join(port, "second")
        self.assertEqual(process.wait(20), 1)
        self.assertIn("duplicate node name found", twin.log())

    def test_no_server_joins_sqlite_or_with_the_wrong_token(self):
        _, port, _ = self.server()
        root, _, process = self.join(port, "second")
        self.assertEqual(process.wait(20), 1)
        self.assertIn("embedded etcd is not in use", root.log())
        self.assertFalse(os.path.exists(root.data + "/server/db/etcd/member/wal"))
        wrong = Root(self)
        wrong.config(f'server: "https://127.0.0.1:{port}"\ntoken: "wrong"\nnode-ip: ["127.0.0.1"]\n')
        self.assertIn("server-bootstrap: 401", wrong.refused("server", f"--https-listen-port={free_port()}"))

    def test_sqlite_is_migrated_when_cluster_init_is_added(self):
        root, port, process = self.server()
        ca = self.get(port, "/cacerts")
        process.terminate()
        process.wait(10)
        self.server("cluster-init: true\n", root=root, port=port)
        self.assertEqual(root.record()["datastore"], "etcd")
        self.assertEqual(self.get(port, "/cacerts"), ca)
        self.assertTrue(os.path.exists(root.data + "/server/db/state.db.migrated"))
        self.assertFalse(os.path.exists(root.data + "/server/db/state.db"))

    def test_a_deleted_server_leaves_etcd_and_sets_its_data_aside_to_join_again(self):
        first, port, _ = self.server("cluster-init: true\n")
        second, own, process = self.join(port, "second")
        self.wait_for(lambda: self.voter(first, "second") == "True", lambda: second.log(), 30)
        self.assertEqual(self.kubectl(first, "delete", "node", "second", "--wait=true").returncode, 0)
        self.assertEqual(process.wait(20), 0)
        self.assertEqual(self.kubectl(first, "get", "nodes").stdout.split(), ["first"])
        self.assertNotEqual(self.kubectl(first, "delete", "node", "second").returncode, 0)
        self.assertEqual(self.kubectl(first, "delete", "node", "second", "--ignore-not-found=true").returncode, 0)
        self.assertTrue(os.path.exists(second.data + "/server/db/etcd/tombstone"))
        self.join(port, "second", root=second, own=own)
        self.wait_for(lambda: self.voter(first, "second") == "True", lambda: second.log(), 30)
        self.assertTrue(any(n.startswith("etcd-backup-") for n in os.listdir(second.data + "/server/db")))

    def test_a_founder_without_a_server_founds_again_when_its_data_are_lost(self):
        root, port, process = self.server("cluster-init: true\n")
        ca = self.get(port, "/cacerts")
        process.terminate()
        process.wait(10)
        os.rename(root.data + "/server", root.data + "/lost")
        self.server("cluster-init: true\n", root=root, port=port)
        self.assertNotEqual(self.get(port, "/cacerts"), ca)

    def test_the_administrator_is_known_by_the_kubeconfig_alone(self):
        _, port, _ = self.server()
        self.assertEqual(self.get(port, "/stand-in/api/nodes"), 401)
        self.assertEqual(self.get(port, "/stand-in/state"), 401)

    # systemd.

    def test_readiness_is_told_to_systemd_once_joined(self):
        _, port, _ = self.server()
        root = Root(self)
        path = root.path + "/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.bind(path)
            channel.settimeout(20)
            root.config(f'server: "https://127.0.0.1:{port}"\ntoken: "{PASSWORD}"\nnode-name: n\n')
            root.start("agent", NOTIFY_SOCKET=path)
            self.assertIn(b"READY=1", channel.recv(4096))


if __name__ == "__main__":
    unittest.main()
