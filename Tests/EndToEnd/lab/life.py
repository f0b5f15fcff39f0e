"""One cluster from nothing to its end, hurt and healed: what must hold at every moment, and when all is well."""

import collections
import concurrent.futures
import hashlib
import json
import threading
import time

from .carriers import Carriers
from .faults import Patient
from .status import Status
from .waiting import TimedOut, wait_until

RECOVERY_SECONDS = 90
LOOK_SECONDS = 0.7
API_ADDRESS = "10.1.0.2"
FOUNDERS = ("master", "master/clusterinit")
HIGH_AVAILABILITY = "\n  auto:\n    ha:\n      enable: true\n      master_nodes: {further}\n"


class Life:
    """A cluster of which `servers` nodes are to be servers. `note` gets each event as a line."""

    def __init__(self, cluster, servers, strain, note):
        self.cluster, self.asked, self.strain, self.note = cluster, servers, strain, note
        self.patients = []
        # What was ever seen; nothing of it may ever differ.
        self.founders, self.served, self.identities = set(), set(), {}
        self.addresses, self.peers, self.roles = {}, {}, {}
        self.violations, self.ended, self.looks = [], collections.Counter(), 0
        self.recent = collections.deque(maxlen=6)
        self.healed, self.well_since = 0.0, None
        # The node from which the API address was driven by the last fault, if that was its aim.
        self.moved_from = None
        self.lock, self.looking, self.stopping = threading.Lock(), threading.Lock(), threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(max_workers=2 * cluster.count)
        self.carriers, self.watcher = None, threading.Thread(target=self.watch, daemon=True)

    def begin(self):
        for number, node in enumerate(self.cluster.nodes, 1):
            self.patients.append(Patient(number, node))
        self.carriers = Carriers(self.patients, API_ADDRESS, self.violate)
        self.carriers.start()
        self.watcher.start()

    def end(self):
        self.stopping.set()
        if self.watcher.is_alive():
            self.watcher.join(30)
        if self.carriers:
            self.carriers.stop()
        for patient in self.patients:
            patient.close()
        self.pool.shutdown(wait=True, cancel_futures=True)

    @property
    def roles_asked(self):
        further = ["master/ha"] * (self.asked - 1)
        return ["master/clusterinit" if further else "master", *further] + ["worker"] * (self.cluster.count - self.asked)

    def tell(self, text):
        """A fault, which a violation soon after is told with."""
        self.recent.append(text)
        self.note(f"  {text}")

    # What is true at every moment.

    def look(self):
        """One look at all nodes, and everything that must hold at any time."""
        # One at a time: what a slower look has read is older than what a faster one has judged already.
        with self.looking:
            return self.look_at_all()

    def look_at_all(self):
        documents = list(self.pool.map(document_of, self.patients))
        for patient, document in zip(self.patients, documents):
            status = Status(document)
            if status.up:
                self.look_at(patient, status)
            if (patient.node.k3s_record() or {}).get("command") == "server":
                self.served.add(patient.number)
            for text in patient.cluster_files():
                self.identities.setdefault(hashlib.sha256(text.encode()).hexdigest()[:12], patient.number)
        if len(self.founders) > 1:
            self.violate("two founders", f"nodes {sorted(self.founders)} both say that they founded the cluster")
        if len(self.served) > self.asked:
            self.violate("too many servers", f"K3s was started as a server on nodes {sorted(self.served)}")
        if len(self.identities) > 1:
            self.violate("two clusters", f"certificates of more than one, with the first node of each: {self.identities}")
        for patient in self.patients:
            members = patient.etcd_members()
            if len(members) > self.asked:
                self.violate("too many members of etcd", f"{[each['node'] for each in members]} on node {patient.number}")
        self.looks += 1
        return [Status(document) for document in documents]

    def look_at(self, patient, status):
        number, role = patient.number, status.role
        if role in FOUNDERS:
            self.founders.add(number)
        for what, known, value in (("address", self.addresses, status.address), ("peer ID", self.peers, status.peer)):
            if value and known.setdefault(number, value) != value:
                self.violate(f"a changed {what}", f"node {number} had {known[number]} and now has {value}")
        if role:
            before = self.roles.get(number, role)
            self.roles[number] = role
            # An agent may be asked to serve later; a server stays what it is.
            if before.startswith("master") and role != before:
                self.violate("a changed role", f"node {number} was {before} and is now {role}")

    def violate(self, kind, text, more=""):
        """`more` is told, and does not make the same violation another one."""
        with self.lock:
            if (kind, text) in self.violations:
                return
            self.violations.append((kind, text))
        self.note(f"VIOLATION: {kind}: {text} {more}")
        self.note(f"  the last faults: {'; '.join(self.recent) or 'none'}")
        self.note(f"  since the last of them {self.strain.since_reset()}")

    def watch(self):
        """Looks again and again, and starts an agent that ended by itself, as systemd would."""
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.look()
                for patient in self.patients:
                    if patient.ended_by_itself():
                        code = patient.node.process.returncode
                        self.ended[code] += 1
                        last = (patient.node.log(1) or "").strip()
                        self.note(f"  node {patient.number} ended with {code}: {last[:200]}")
                        if code < 0:
                            self.violate("a crash", f"node {patient.number} ended by signal {-code}")
                        patient.start()
            except (OSError, RuntimeError, ValueError) as error:
                self.note(f"  the look failed: {error}")

    # What is true when all is well.

    def ailments(self):
        """What is not well; empty when everything is. The dear looks come last."""
        statuses = self.look()
        found = [f"node {p.number} does not answer" for p, status in zip(self.patients, statuses) if not status.up]
        if found:
            return found
        count = len(self.patients)
        for patient, status in zip(self.patients, statuses):
            if not status.address or not status.role:
                found.append(f"node {patient.number}: address {status.address}, role {status.role} {status.waiting()}")
        if len({status.address for status in statuses}) != count:
            found.append(f"addresses {[status.address for status in statuses]}")
        views = [status.roles() for status in statuses]
        found += [f"node {p.number} sees {view}" for p, view in zip(self.patients, views) if view != views[0]]
        if len(views[0]) != count or not all(views[0].values()):
            found.append(f"a node or a role is unknown: {views[0]}")
        if sorted(map(str, (status.role for status in statuses))) != self.roles_asked:
            found.append(f"roles {[status.role for status in statuses]}")
        found = found or self.api_ailments(statuses)
        if not found and len(set(self.pool.map(ledger_of, self.patients))) != 1:
            found.append("the ledgers differ")
        if not found:
            found = self.k3s_ailments(statuses) or self.lost_pings(statuses)
        return found

    def servers(self):
        return [p for p in self.patients if self.roles.get(p.number, "").startswith("master")]

    def api_ailments(self, statuses):
        """The API address is on one server, and all nodes know on which."""
        carriers = self.carriers.now()
        if len(carriers) != 1 or carriers[0] not in [patient.number for patient in self.servers()]:
            return [f"the API address is on nodes {list(carriers)}"]
        peer = statuses[carriers[0] - 1].peer
        told = [(status.document.get("api") or {}).get("holder") for status in statuses]
        return [
            f"node {patient.number} says that {holder} has the API address, and {peer} has it"
            for patient, holder in zip(self.patients, told)
            if holder != peer
        ]

    def k3s_ailments(self, statuses):
        holder = self.patients[self.carriers.now()[0] - 1] if self.carriers.now() else None
        members = holder.node.k3s_nodes() if holder else None
        if members is None:
            return [f"the K3s server on node {holder.number if holder else None} does not answer"]
        # An agent of K3s says every two seconds that it is there: one that does not run is not joined.
        joined = {member["from"] for member in members.values() if member["last_seen"] >= self.healed}
        wanted = {status.address for status in statuses if status.role == "worker"}
        found = [f"{address} has not joined K3s" for address in sorted(wanted - joined)]
        names = {}
        for patient, status in zip(self.patients, statuses):
            record = patient.node.k3s_record() or {}
            names[patient.number] = str(record.get("node_name"))
            if record.get("command") != ("agent" if status.role == "worker" else "server"):
                found.append(f"K3s runs as {record.get('command')} on node {patient.number}, its role is {status.role}")
        if self.asked > 1:
            voters = {names[patient.number] for patient in self.servers()}
            for patient in self.servers():
                known = {each["node"] for each in patient.etcd_members() if not each["learner"]}
                if known != voters:
                    found.append(f"node {patient.number} has the members {sorted(known)} of etcd, not {sorted(voters)}")
        return found

    def lost_pings(self, statuses):
        def ping(patient):
            targets = [status.address for status in statuses] + [API_ADDRESS]
            script = 'for a in "$@"; do ping -c 1 -W 2 "$a" >/dev/null || echo "$a"; done'
            lost = patient.node.run("sh", "-c", script, "sh", *targets).stdout.split()
            return [f"node {patient.number} gets no answer from {address}" for address in lost]

        return [each for lost in self.pool.map(ping, self.patients) for each in lost]

    def recover(self):
        """Seconds until all is well."""
        begin, last = time.monotonic(), []
        self.healed = time.time()

        def well():
            nonlocal last
            last = self.ailments()
            return not last

        try:
            wait_until(well, "", RECOVERY_SECONDS, pause=0.2)
        except TimedOut:
            logs = "\n".join(f"    node {p.number}: {line}" for p in self.patients for line in p.node.log(6).splitlines())
            text = "; ".join(last)
            self.violate("no recovery", f"{RECOVERY_SECONDS} s after the faults ended: {text}", f"\n{logs}")
            return None
        self.well_since = time.monotonic()
        self.judge_move(begin)
        return self.well_since - begin

    def judge_move(self, healed):
        """A holder that is well again does not take the address back."""
        order = self.carriers.since(healed)
        if self.moved_from in order[1:]:
            self.violate("the API address flapped back", f"to node {self.moved_from}: it was on {order}")
        self.moved_from = None


def ask(patient, path):
    """The body of the agent's answer, or None."""
    if patient.down or patient.frozen:
        return None
    try:
        return patient.node.ask(path, seconds=2)
    except (OSError, RuntimeError):
        return None


def document_of(patient):
    body = ask(patient, "/api/v1/status")
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def ledger_of(patient):
    body = ask(patient, "/api/ledger")
    return json.dumps(json.loads(body), sort_keys=True) if body else patient.number
