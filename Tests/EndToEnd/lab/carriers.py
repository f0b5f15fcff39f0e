"""Who carries the API address, looked at all the time."""

import threading
import time

LOOK_SECONDS = 0.15
# A node that was frozen or away has this long to notice that others went on without it.
WAKING_SECONDS = 1.0


class Carriers:
    """Samples which nodes carry `address` on a device with a living agent behind it.

    `history` has (moment, numbers of the carriers) for each change. Two at once are given to `violate`.
    """

    def __init__(self, patients, address, violate):
        self.patients, self.address, self.violate = patients, address, violate
        self.history, self.samples = [], 0
        # The longest that two had it at once, in seconds: at all, and within WAKING_SECONDS of the waking of one.
        self.longest, self.longest_waking = 0.0, 0.0
        self.acting_since = {}
        self.together_since = None
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join(30)

    def watch(self):
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self.sample()
            except (OSError, RuntimeError, ValueError):
                # A namespace that is being taken down.
                continue

    def sample(self):
        found = [patient for patient in self.patients if self.acts(patient) and patient.carries(self.address)]
        if len(found) > 1:
            # One look at all nodes takes some milliseconds, in which the address may have moved: the first ones
            # must have it still after the last one had it.
            found = [patient for patient in found[:-1] if patient.carries(self.address)] + found[-1:]
        now = time.monotonic()
        self.judge(found, now)
        numbers = tuple(patient.number for patient in found)
        with self.lock:
            self.samples += 1
            if not self.history or self.history[-1][1] != numbers:
                self.history.append((now, numbers))

    def acts(self, patient):
        """Whether the node's agent is at work; a frozen or dead one passes no packet on."""
        acting = not patient.down and not patient.frozen
        if not acting:
            self.acting_since.pop(patient.number, None)
        else:
            self.acting_since.setdefault(patient.number, time.monotonic())
        return acting

    def judge(self, found, now):
        if len(found) < 2:
            self.together_since = None
            return
        self.together_since = self.together_since or now
        self.longest = max(self.longest, now - self.together_since)
        newest = max(self.acting_since.get(patient.number, now) for patient in found)
        if now - newest <= WAKING_SECONDS:
            self.longest_waking = max(self.longest_waking, now - newest)
            return
        self.violate(
            "two carriers of the API address",
            f"nodes {sorted(patient.number for patient in found)} had {self.address} at once",
            f"for {now - self.together_since:.2f} s so far",
        )

    def now(self):
        """The numbers of the nodes that carried it at the last look."""
        with self.lock:
            return self.history[-1][1] if self.history else ()

    def since(self, moment):
        """Everyone that carried it at or after this moment, in order, without repetitions in a row."""
        with self.lock:
            # The entry before is what was so at that moment.
            before = [numbers for when, numbers in self.history if when < moment][-1:]
            after = [numbers for when, numbers in self.history if when >= moment]
        order = []
        for numbers in before + after:
            for number in numbers:
                if not order or order[-1] != number:
                    order.append(number)
        return order

    def first_after(self, moment, wrong):
        """When a node other than number `wrong` carried it first after this moment, or None."""
        with self.lock:
            for when, numbers in self.history:
                if when >= moment and any(number != wrong for number in numbers):
                    return when
        return None
