"""Asks the API server at an address again and again, from within a node's namespace.

As a program, `probe.py ADDRESS CERTIFICATE KEY` prints one line of JSON for each attempt: when it began and ended
(the machine's monotonic clock), the status of /readyz, and which server's certificate was shown.
"""

import base64
import hashlib
import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time

import yaml

PACE_SECONDS = 0.2
# Longer than the pace: a handshake of a busy server counts, and packets into the void hold nothing up.
PATIENCE_SECONDS = 2.0


class Probe:
    """The program, running in the namespace of `node` with the administrator's certificate of `server`."""

    def __init__(self, node, server, address):
        users = yaml.safe_load(server.read("etc/rancher/k3s/k3s.yaml"))["users"]
        names = ("client-certificate-data", "client-key-data")
        self.directory = tempfile.TemporaryDirectory(prefix="probe-")
        paths = [f"{self.directory.name}/{name}.pem" for name in names]
        for path, name in zip(paths, names):
            with open(path, "wb") as file:
                file.write(base64.b64decode(users[0]["user"][name]))
        self.lock, self.attempts = threading.Lock(), []
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", node.namespace, sys.executable, __file__, address, *paths],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.lock:
                self.attempts = self.attempts[-2000:] + [json.loads(line)]

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.reader.join(10)
        self.process.stdout.close()
        self.directory.cleanup()

    def good_since(self, moment, other_than=None):
        """The first good answer to an attempt that began after this moment, from another server if so asked."""
        with self.lock:
            good = [each for each in self.attempts if each["begin"] >= moment and each["status"] == 200]
        good = [each for each in good if each["server"] != other_than]
        return min(good, key=lambda each: each["end"]) if good else None

    def servers_since(self, moment):
        """The servers that answered well, in the order of the answers."""
        with self.lock:
            good = [each for each in self.attempts if each["begin"] >= moment and each["status"] == 200]
        return [each["server"] for each in sorted(good, key=lambda each: each["end"])]


def attempt(address, context):
    begin = time.monotonic()
    server = status = None
    connection = http.client.HTTPSConnection(address, 6443, timeout=PATIENCE_SECONDS, context=context)
    try:
        connection.connect()
        server = hashlib.sha256(connection.sock.getpeercert(binary_form=True)).hexdigest()[:16]
        connection.request("GET", "/readyz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        status = None
    finally:
        connection.close()
    line = json.dumps({"begin": begin, "end": time.monotonic(), "status": status, "server": server})
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(address, certificate, key):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    # Some ten attempts at most are under way: each ends with its patience.
    while True:
        threading.Thread(target=attempt, args=(address, context), daemon=True).start()
        time.sleep(PACE_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
