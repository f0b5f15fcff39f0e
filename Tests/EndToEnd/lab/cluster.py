"""N nodes on one LAN that share nothing but a cloud-config, and what is asked of them together."""

import atexit
import concurrent.futures
import os
import shutil
import tempfile
import time

from . import program
from .network import Network
from .node import LAN_CONFIG, Node
from .status import Status
from .waiting import wait_until


class Cluster:
    """Use it in a `with`: processes, namespaces and directories are gone at the end."""

    def __init__(self, count, name="lab", minimum=None, token=None, config=None):
        self.count, self.network = count, Network(name)
        self.minimum = minimum or count
        self.token, self.config = token, config
        self.directory, self.nodes, self.started = None, [], None

    def __enter__(self):
        atexit.register(self.close)
        self.network.__enter__()
        try:
            self.directory = tempfile.mkdtemp(prefix=f"{self.network.prefix}-")
            self.token = self.token or program.new_token()
            self.config = self.config or LAN_CONFIG.format(minimum=self.minimum, token=self.token)
            for number in range(1, self.count + 1):
                namespace, _ = self.network.add()
                self.nodes.append(Node(os.path.join(self.directory, f"node{number}"), namespace, self.config))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.network.close()
        if self.directory and not os.environ.get("KAIROS_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, *arguments):
        self.started = time.monotonic()
        for node in self.nodes:
            node.start(*arguments)

    # Looking at all of them.

    def statuses(self):
        with concurrent.futures.ThreadPoolExecutor(max_workers=8) as pool:
            return [Status(document) for document in pool.map(Node.status, self.nodes)]

    def addresses(self):
        """The VPN addresses when every node has one and no two are equal, else None."""
        found = [status.address for status in self.statuses()]
        return found if all(found) and len(set(found)) == len(found) else None

    def server(self, statuses=None):
        """The node that is the server, or None when there is not exactly one."""
        statuses = statuses or self.statuses()
        servers = [node for node, status in zip(self.nodes, statuses) if status.is_server()]
        return servers[0] if len(servers) == 1 else None

    def drop_ins(self):
        """How many nodes have their K3s settings in place."""
        return sum(os.path.exists(node.path(DROP_IN)) for node in self.nodes)

    def joined(self):
        """True when every node is registered with the one server, each from its VPN address."""
        statuses = self.statuses()
        server = self.server(statuses)
        members = server.k3s_nodes() if server else None
        if not members or len(members) != len(self.nodes):
            return False
        addresses = {status.address for status in statuses}
        sources = {member["from"] for member in members.values() if member["role"] == "agent"}
        return len(sources) == len(self.nodes) - 1 and sources < addresses

    def agree(self):
        """The common view of roles by address when all nodes say the same, else None."""
        views = [status.roles() for status in self.statuses()]
        same = all(view == views[0] for view in views) and len(views[0]) == len(self.nodes)
        return views[0] if same and all(views[0].values()) else None

    def describe(self):
        """One line for each node: what it has, and what it waits for; and the end of its log."""
        lines = []
        for node, status in zip(self.nodes, self.statuses()):
            state = f"{status.address} {status.role} {status.waiting()}" if status.up else "no status"
            lines.append(f"  {node.hostname}: {state}")
            lines.extend("      " + line for line in node.log(8).splitlines())
        return "\n".join(lines)

    def wait(self, condition, what, seconds):
        return wait_until(condition, lambda: f"{what}\n{self.describe()}", seconds)

    def wait_until_formed(self, seconds=60):
        self.wait(self.addresses, "an address on every node", seconds)
        self.wait(self.server, "one server", seconds)
        self.wait(lambda: self.drop_ins() == len(self.nodes), "the K3s settings on every node", seconds)
        self.wait(self.joined, "every agent to be registered over the VPN", seconds)
        return self.wait(self.agree, "every node to say the same", seconds)


DROP_IN = "etc/rancher/k3s/config.yaml.d/90-kairos-p2p.yaml"
