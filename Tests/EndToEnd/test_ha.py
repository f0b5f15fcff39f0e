"""A cluster with high availability: further servers by decree, and the API address on one of them."""

import json
import os
import signal
import time
import unittest

from lab import program
from lab.cluster import DROP_IN, Cluster
from lab.node import LAN_CONFIG

ADDRESS = "10.1.0.2"
HIGH_AVAILABILITY = "\n  auto:\n    ha:\n      enable: true\n      master_nodes: 2\n"
DATABASE = "var/lib/rancher/k3s/server/db"
STATE_DB, MEMBERS = f"{DATABASE}/state.db", f"{DATABASE}/etcd/stand-in-members.json"
CA, AGENT_CA = "var/lib/rancher/k3s/server/tls/server-ca.crt", "var/lib/rancher/k3s/agent/server-ca.crt"


class HighAvailabilityTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one cluster of four nodes with three servers."""

    @classmethod
    def setUpClass(cls):
        token = program.new_token()
        config = LAN_CONFIG.format(minimum=3, token=token).rstrip() + HIGH_AVAILABILITY
        cls.cluster = Cluster(4, name="ha", minimum=3, token=token, config=config)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()

    def roles(self):
        return sorted(status.role or "" for status in self.cluster.statuses() if status.up)

    def holders(self, nodes):
        shown = (node.run("ip", "-4", "-o", "address", "show", "dev", "edgevpn0").stdout for node in nodes)
        return [node for node, text in zip(nodes, shown) if f"inet {ADDRESS}/32" in text]

    def test_01_as_many_servers_as_asked_for_and_the_founder_is_not_special(self):
        wanted = ["master/clusterinit", "master/ha", "master/ha", "worker"]
        self.cluster.wait(lambda: self.roles() == wanted, "three servers and an agent", 90)
        for node in self.cluster.nodes:
            self.cluster.wait(
                lambda node=node: f"https://{ADDRESS}:6443" in (node.read(DROP_IN) or ""),
                "every node to join at the API address, the founder too", 60)

        # Before the third is a full member of etcd, the loss of one of two would take its quorum.
        self.cluster.wait(
            lambda: all(status.own.get("state") == "ready" for status in self.cluster.statuses()), "all ready", 60)

    def test_02_the_api_address_moves_when_its_holder_loses_power(self):
        nodes = self.cluster.nodes
        self.cluster.wait(lambda: len(self.holders(nodes)) == 1, "one holder of the API address", 30)
        holder = self.holders(nodes)[0]
        others = [node for node in nodes if node is not holder]
        agent = next(node for node in others if node.status()["node"]["role"] != "master/clusterinit")
        for process in holder.processes():
            os.kill(process, signal.SIGKILL)
        self.cluster.wait(lambda: len(self.holders(others)) == 1, "another holder of the API address", 15)
        self.cluster.wait(lambda: agent.k3s_nodes(ADDRESS) is not None, "the API to answer there", 15)

    def test_03_a_server_that_stays_away_is_replaced_where_that_is_asked_for(self):
        nodes = [node for node in self.cluster.nodes if node.status()]
        self.assertEqual(len(nodes), 3, "one lost power in the test before")
        self.assertEqual(self.roles().count("worker"), 1)
        processes = [node.process.pid for node in nodes]
        for node in nodes:
            node.write("oem/90_custom.yaml", node.read("oem/90_custom.yaml") + "      replace_after: 1m\n")
        self.cluster.wait(lambda: "worker" not in self.roles(), "the agent to serve", 150)
        self.assertEqual([node.process.pid for node in nodes], processes, "no agent was started again")


class MigrationTests(unittest.TestCase):
    """A running cluster of one server is given two more. The tests run in the order of their numbers."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(4, name="more", minimum=3)
        cls.cluster.__enter__()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.cluster.wait_until_formed()
        cls.founder = cls.cluster.server()
        cls.identity = cls.founder.read(CA)

    def records(self):
        return [node.k3s_record() or {} for node in self.cluster.nodes]

    def members(self, node):
        """{node: whether it votes} of etcd, as this node knows it."""
        known = json.loads(node.read(MEMBERS) or "{}").values()
        return {each["node"]: not each["learner"] for each in known if not each["removed"]}

    def test_01_the_only_server_has_its_data_in_sqlite(self):
        self.assertEqual(self.founder.k3s_record()["datastore"], "sqlite")
        self.assertIsNotNone(self.founder.read(STATE_DB))
        self.assertNotIn("server:", self.founder.read(DROP_IN))

    def test_02_the_changed_cloud_config_moves_it_to_etcd_and_adds_one_server_at_a_time(self):
        seen, agents = [], len(self.cluster.nodes) - 1
        early = []
        for node in self.cluster.nodes:
            node.write("oem/90_custom.yaml", self.cluster.config.rstrip() + HIGH_AVAILABILITY)
            node.stop()
            node.start()

        def complete():
            # A founder that is told to join before another server is there would have nobody to join.
            if "server:" in (self.founder.read(DROP_IN) or "") and list(self.members(self.founder).values()).count(True) < 2:
                early.append(self.members(self.founder))
            if not seen or seen[-1] != self.members(self.founder):
                seen.append(self.members(self.founder))
            return sorted(record.get("command", "") for record in self.records()) == ["agent"] + ["server"] * agents

        self.cluster.wait(complete, "three servers", 120)
        servers = [node for node in self.cluster.nodes if node.k3s_record()["command"] == "server"]
        three = {record["node_name"]: True for record in self.records() if record["command"] == "server"}
        for node in servers:
            self.cluster.wait(lambda node=node: self.members(node) == three, "three members of etcd that vote", 60)
        # One learner at a time, and nobody is added while another one learns.
        for members in seen:
            self.assertLessEqual(list(members.values()).count(False), 1, seen)
        self.assertEqual(early, [], "the founder is told to join when another server votes")
        self.assertIsNone(self.founder.read(STATE_DB))
        self.assertIsNotNone(self.founder.read(STATE_DB + ".migrated"), "the data were migrated, not left behind")

    def test_03_it_is_the_same_cluster_and_no_server_would_found_anew(self):
        for node in self.cluster.nodes:
            is_server = node.k3s_record()["command"] == "server"
            self.assertEqual(node.read(CA if is_server else AGENT_CA), self.identity, node.hostname)
            # The founder too: should it lose its disk, it joins.
            self.cluster.wait(
                lambda node=node: f"https://{ADDRESS}:6443" in (node.read(DROP_IN) or ""),
                "every node to join at the API address", 60)

    def test_04_the_agents_stay_joined(self):
        agent = next(node for node in self.cluster.nodes if node.k3s_record()["command"] == "agent")
        begin = time.time()

        def joined():
            known = agent.k3s_nodes(ADDRESS) or {}
            own = known.get(agent.k3s_record()["node_name"])
            return own and own["last_seen"] >= begin and len(known) == len(self.cluster.nodes)

        self.cluster.wait(joined, "the agent to be heard of at the API address", 30)


if __name__ == "__main__":
    unittest.main()
