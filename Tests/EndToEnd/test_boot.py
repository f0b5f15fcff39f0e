"""Three machines boot systemd with the overlay of this repository and one cloud-config, and nothing else.

Reads like the promise it tests: a cluster forms, a machine that reboots is the same node again, and a
set that was powered off is the same cluster again.
"""

import unittest

from lab import program
from lab.machine import MachineRoom
from lab.node import LAN_CONFIG
from lab.status import Status
from lab.waiting import wait_until

DROP_IN = "/etc/rancher/k3s/config.yaml.d/90-kairos-p2p.yaml"
UNITS = {"server": "k3s.service", "agent": "k3s-agent.service"}


class BootTests(unittest.TestCase):
    """The tests run in the order of their numbers, on one set of machines."""

    @classmethod
    def setUpClass(cls):
        cls.room = MachineRoom()
        cls.room.__enter__()
        cls.addClassCleanup(cls.room.close)
        base = cls.room.base
        base.install()
        base.uninstall()
        before = base.listing()
        base.install()
        cls.added = base.listing() - before
        base.uninstall()
        cls.left_behind = base.listing() - before
        base.install()
        config = LAN_CONFIG.format(minimum=3, token=program.new_token())
        cls.machines = [cls.room.add(config) for _ in range(3)]
        for machine in cls.machines:
            machine.boot()

    # What is asked of the three together.

    def statuses(self):
        return [Status(machine.status()) for machine in self.machines]

    def commands(self):
        """What K3s runs as on each machine, by what K3s itself wrote down."""
        return [(machine.k3s_record() or {}).get("command") for machine in self.machines]

    def identities(self):
        return [(status.peer, status.address, status.role) for status in self.statuses()]

    def describe(self):
        lines = []
        for machine, status in zip(self.machines, self.statuses()):
            lines.append(f"  {machine.hostname}: {status.address} {status.role} {status.waiting()}")
            for unit in ("kairos-agent", "k3s", "k3s-agent"):
                lines.append(f"    {unit}: {machine.is_active(unit)}")
                lines.extend("      " + line for line in machine.journal(unit, 6).splitlines())
        return "\n".join(lines)

    def wait(self, condition, what, seconds=60):
        return wait_until(condition, lambda: f"{what}\n{self.describe()}", seconds, pause=0.5)

    def settled(self):
        """True when all machines say the same, K3s is active on all, and the agents joined over the VPN."""
        statuses = self.statuses()
        views = [status.roles() for status in statuses]
        if len(views[0]) != 3 or any(view != views[0] for view in views) or not all(views[0].values()):
            return False
        commands = self.commands()
        if sorted(map(str, commands)) != ["agent", "agent", "server"]:
            return False
        if any(machine.is_active(UNITS[c]) != "active" for machine, c in zip(self.machines, commands)):
            return False
        server = self.machines[commands.index("server")]
        addresses = {s.address for s, c in zip(statuses, commands) if c == "agent"}
        joined = [node for node in (server.k3s_nodes() or {}).values() if node["role"] == "agent"]
        return {node["from"] for node in joined if node["joined_since_start"]} == addresses

    def wait_until_settled(self, seconds=90):
        self.wait(self.settled, "one server, two agents joined over the VPN, and one view on all", seconds)

    # The tests.

    def test_01_the_overlay_can_be_taken_away_again(self):
        self.assertTrue(any(path.endswith("/usr/bin/kairos-agent") for path in self.added))
        self.assertEqual(self.left_behind, set())

    def test_02_three_machines_become_one_cluster(self):
        self.wait_until_settled()
        identities = self.identities()
        self.assertEqual(len({peer for peer, _, _ in identities}), 3)
        addresses = [address for _, address, _ in identities]
        self.assertEqual(len(set(addresses)), 3)
        for machine, (_, address, role) in zip(self.machines, identities):
            self.assertRegex(address, r"^10\.1\.0\.\d+$")
            self.assertIn(f"inet {address}/", machine.run("ip", "-4", "address", "show", "edgevpn0").stdout)
            self.assertEqual(role, {"server": "master", "agent": "worker"}[machine.k3s_record()["command"]])
            self.assertEqual(machine.is_active("kairos-agent"), "active")
        self.assertEqual(sorted(role for _, _, role in identities), ["master", "worker", "worker"])

    def test_03_the_settings_were_in_place_before_k3s_started(self):
        for machine in self.machines:
            record = machine.k3s_record()
            ours = [file for file in record["files"] if file["path"] == DROP_IN]
            self.assertEqual(len(ours), 1, "K3s did not read the drop-in")
            self.assertLess(ours[0]["mtime"], record["started"])
            self.assertEqual(ours[0]["mode"], "0o600")
            self.assertEqual(record["settings"]["node-ip"], [Status(machine.status()).address])
            self.assertEqual(record["overlay"]["interface"], "edgevpn0")
            self.assertEqual(machine.k3s_starts(), 1, "K3s was started more than once")
            if record["command"] == "agent":
                self.assertEqual(record["settings"]["server"], "https://10.1.0.2:6443")

    def test_04_only_the_unit_of_the_role_runs(self):
        for machine in self.machines:
            command = machine.k3s_record()["command"]
            other = UNITS["agent" if command == "server" else "server"]
            self.assertEqual(machine.is_active(UNITS[command]), "active")
            self.assertIn(machine.is_active(other), ("inactive", "unknown"))

    def test_05_no_unit_has_failed_or_wants_a_reload(self):
        for machine in self.machines:
            failed = machine.run("systemctl", "--failed", "--no-legend", "--plain").stdout
            self.assertEqual(failed, "")
            unit = UNITS[machine.k3s_record()["command"]]
            self.assertEqual(machine.show(unit, "NeedDaemonReload")["NeedDaemonReload"], "no")
            self.assertEqual(machine.show("kairos-agent", "NRestarts")["NRestarts"], "0")

    def test_06_stopping_the_agent_is_quick_and_leaves_k3s_and_the_device(self):
        machine = self.machines[self.commands().index("agent")]
        index = machine.run("cat", "/sys/class/net/edgevpn0/ifindex").stdout
        machine.run("systemctl", "stop", "kairos-agent", seconds=10)
        self.assertEqual(machine.show("kairos-agent", "Result")["Result"], "success")
        self.assertEqual(machine.is_active("k3s-agent"), "active")
        self.assertEqual(machine.run("cat", "/sys/class/net/edgevpn0/ifindex").stdout, index)
        down = machine.run("kairos-agent", "p2p", "status", check=False)
        self.assertEqual(down.returncode, 69, down.stdout + down.stderr)
        machine.run("systemctl", "start", "kairos-agent")
        self.wait_until_settled()
        self.assertEqual(machine.k3s_starts(), 1, "K3s was restarted without a reason")
        self.assertIsNone(machine.read("/var/lib/rancher/k3s/stand-in-overlay-lost"))

    def test_07_an_agent_that_hangs_is_restarted_by_the_watchdog(self):
        machine = self.machines[self.commands().index("agent")]
        before, starts = self.identities(), machine.k3s_starts()
        process = machine.show("kairos-agent", "MainPID")["MainPID"]
        machine.run("kill", "-STOP", process)
        self.wait(
            lambda: machine.show("kairos-agent", "NRestarts")["NRestarts"] == "1", "the watchdog to act", 60
        )
        self.wait_until_settled()
        self.assertEqual(self.identities(), before)
        self.assertEqual(machine.k3s_starts(), starts, "K3s was restarted without a reason")

    def test_08_a_machine_that_reboots_is_the_same_node_again(self):
        for command in ("agent", "server"):
            with self.subTest(rebooted=command):
                before = self.identities()
                self.machines[self.commands().index(command)].reboot()
                self.wait_until_settled()
                self.assertEqual(self.identities(), before)

    def test_09_a_set_that_was_powered_off_is_the_same_cluster_again(self):
        before = self.identities()
        server = self.machines[self.commands().index("server")]
        token = server.read("/var/lib/rancher/k3s/server/token")
        for machine in self.machines:
            machine.power("poweroff")
        for machine in self.machines:
            machine.boot()
        self.wait_until_settled()
        self.assertEqual(self.identities(), before)
        self.assertEqual(server.read("/var/lib/rancher/k3s/server/token"), token)

    def test_10_a_unit_that_fails_shows_its_last_log_lines(self):
        machine = self.machines[self.commands().index("agent")]
        machine.run("cp", "-a", "/usr/bin/k3s", "/usr/bin/k3s.good")
        failing = "#!/bin/sh\necho level=fatal msg=the-disk-is-on-fire\nexit 1\n"
        machine.run("sh", "-c", 'printf %s "$0" >/usr/bin/k3s.bad && chmod 755 /usr/bin/k3s.bad', failing)
        machine.run("mv", "/usr/bin/k3s.bad", "/usr/bin/k3s")
        machine.run("systemctl", "--no-block", "restart", "k3s-agent")
        self.wait(lambda: "the-disk-is-on-fire" in str(machine.status()), "the unit's last words in status")
        # By itself, this systemd would restart it every five seconds for ever.
        self.wait(
            lambda: machine.is_active("k3s-agent") == "inactive" and "keeps ending" in str(machine.status()),
            "a pause in a loop of crashes")
        machine.run("mv", "/usr/bin/k3s.good", "/usr/bin/k3s")
        self.wait_until_settled()
        self.assertNotIn("the-disk-is-on-fire", str(machine.status()["waiting"]))

    def test_11_a_missing_unit_is_named(self):
        machine = self.machines[self.commands().index("agent")]
        unit = "/etc/systemd/system/k3s-agent.service"
        machine.run("systemctl", "stop", "k3s-agent")
        machine.run("mv", unit, unit + ".away")
        machine.run("systemctl", "daemon-reload")
        self.wait(
            lambda: any("k3s-agent.service" in what for what in Status(machine.status()).waiting()),
            "status to name the missing unit",
        )
        machine.run("mv", unit + ".away", unit)
        machine.run("systemctl", "daemon-reload")
        self.wait_until_settled()


if __name__ == "__main__":
    unittest.main()
