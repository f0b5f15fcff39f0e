"""What is done to a cluster, at random or to the node that holds the API address.

Each injury hurts at once and gives back what heals it.
"""

import threading
import time

from .life import API_ADDRESS
from .waiting import TimedOut, wait_until

KINDS = (
    "kill", "freeze", "partition", "one_way", "flapping", "full_disk", "clock", "ill", "kill_k3s", "holder",
)  # fmt: skip
# These share one table of the network: two of them at once would undo each other.
CUTS = {"partition", "one_way", "flapping"}
# The time until the address has moved is told of these alone, so nothing else may be wrong meanwhile.
ALONE = {"holder"}
HOLDER_KINDS = ("kill", "power_off", "freeze", "cut", "ill", "hang")
MOVE_SECONDS = 10
# Servers that were away grant nothing for a while: docs/api-address.md.
SILENCE_SECONDS = 6


class Injuries:
    """The faults of one life, drawn from `dice`."""

    def __init__(self, life, dice):
        self.life, self.dice, self.patients = life, dice, life.patients
        self.moves = []

    def hurt(self, kind):
        self.life.strain.reset()
        return getattr(self, kind)()

    def some(self, most=2):
        return self.dice.sample(self.patients, self.dice.randint(1, most))

    def kill(self):
        chosen, everything = self.some(), self.dice.random() < 0.5
        self.life.tell(f"kill -9 of {'all on' if everything else 'the agent of'} {names(chosen)}")
        for patient in chosen:
            patient.kill(everything)
        # The K3s of a killed agent goes with it; what it leaves must not be in the way of the next.
        return lambda: [patient.start() for patient in chosen if patient.down]

    def freeze(self):
        chosen, everything = self.some(), self.dice.random() < 0.5
        self.life.tell(f"SIGSTOP of {'all on' if everything else 'the agent of'} {names(chosen)}")
        for patient in chosen:
            patient.freeze(everything)
        return lambda: [patient.thaw() for patient in chosen]

    def divide(self, some):
        others = [patient for patient in self.patients if patient not in some]
        for side, far in ((some, others), (others, some)):
            for patient in side:
                patient.cut({other.lan_address for other in far})

    def partition(self):
        some = self.some(len(self.patients) // 2)
        self.life.tell(f"partition: {names(some)} from the others")
        self.divide(some)
        return self.join_network

    def one_way(self):
        deaf, mute = self.dice.sample(self.patients, 2)
        far = self.patients if self.dice.random() < 0.5 else [mute]
        self.life.tell(f"one way: {names([deaf])} hears nothing from {'anyone' if len(far) > 1 else names(far)}")
        deaf.cut({other.lan_address for other in far if other is not deaf})
        return self.join_network

    def join_network(self):
        for patient in self.patients:
            patient.cut(set())

    def flapping(self):
        some = self.some(len(self.patients) // 2)
        pace = self.dice.uniform(0.2, 2.5)
        self.life.tell(f"flapping: {names(some)} cut from the others and joined again every {pace:.1f} s")
        over = threading.Event()

        def flap():
            cut = False
            while True:
                cut = not cut
                self.divide(some) if cut else self.join_network()
                if over.wait(pace):
                    return

        flapper = threading.Thread(target=flap, daemon=True)
        flapper.start()

        def heal():
            over.set()
            flapper.join(30)
            self.join_network()

        return heal

    def full_disk(self):
        chosen, restart = self.some(), self.dice.random() < 0.5
        self.life.tell(f"full disk of {names(chosen)}{', and kill -9' if restart else ''}")
        for patient in chosen:
            patient.fill_disk()
            if restart and not patient.frozen and not patient.down:
                patient.kill()
                patient.start()
        return lambda: [patient.free_disk() for patient in chosen]

    def clock(self):
        chosen = self.some()
        offset = self.dice.choice((-1, 1)) * self.dice.randint(60, 6 * 3600)
        self.life.tell(f"clock of {names(chosen)} {offset:+d} s")
        for patient in chosen:
            patient.set_clock(offset)
        return lambda: [patient.set_clock(0) for patient in chosen]

    def ill(self):
        chosen = self.some()
        self.life.tell(f"an ill API server, should it be one, on {names(chosen)}")
        for patient in chosen:
            patient.set_ill(True)
        return lambda: [patient.set_ill(False) for patient in chosen]

    def kill_k3s(self):
        chosen = self.some()
        self.life.tell(f"kill -9 of K3s alone on {names(chosen)}")
        for patient in chosen:
            patient.kill_k3s()
        return lambda: None

    # The node that holds the API address.

    def holder(self):
        kind = self.dice.choice(HOLDER_KINDS)
        # Servers that were away grant again: two failures within that time are another test.
        time.sleep(max(0.0, self.life.well_since + SILENCE_SECONDS - time.monotonic()))
        try:
            carriers = wait_until(self.life.carriers.now, "", MOVE_SECONDS)
        except TimedOut:
            self.life.violate("nobody holds the API address", "although all was well")
            return lambda: None
        holder, begin = self.patients[carriers[0] - 1], time.monotonic()
        heal = self.hurt_holder(holder, kind)
        # One server alone has nobody to hand it to.
        if self.life.asked > 1:
            self.await_move(holder, kind, begin)
            self.life.moved_from = holder.number
        elif kind in ("ill", "hang"):
            self.await_release(holder, kind)
        return heal

    def hurt_holder(self, holder, kind):
        self.life.tell(f"{kind.replace('_', ' ')} of node {holder.number}, which holds the API address")
        if kind in ("kill", "power_off"):
            holder.kill(everything=kind == "power_off")
            return holder.start
        if kind == "freeze":
            holder.freeze(everything=True)
            return holder.thaw
        if kind == "cut":
            self.divide([holder])
            return self.join_network
        if kind == "ill":
            holder.set_ill(True)
            return lambda: holder.set_ill(False)
        holder.freeze_k3s()
        return holder.thaw

    def await_move(self, holder, kind, begin):
        carriers = self.life.carriers
        try:
            moment = wait_until(lambda: carriers.first_after(begin, holder.number), "", MOVE_SECONDS)
        except TimedOut:
            self.life.violate(
                "the API address does not move", f"{MOVE_SECONDS} s after {kind} of node {holder.number}",
                f"it is on nodes {list(carriers.now())}")  # fmt: skip
            return
        self.moves.append((kind, moment - begin))
        self.life.note(f"  the API address is on {list(carriers.now())} after {moment - begin:.1f} s")

    def await_release(self, holder, kind):
        try:
            wait_until(lambda: holder.number not in self.life.carriers.now(), "", MOVE_SECONDS)
        except TimedOut:
            self.life.violate(
                "the API address stays on a server that is not ready",
                f"node {holder.number} has {API_ADDRESS} {MOVE_SECONDS} s after {kind}")  # fmt: skip


def names(patients):
    return ", ".join(str(patient.number) for patient in sorted(patients, key=lambda p: p.number))
