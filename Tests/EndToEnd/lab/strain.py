"""How much this machine keeps everyone waiting: what tells a slow machine from a slow agent."""

import threading
import time

TICK_SECONDS = 0.05


class Strain:
    """Measures by how much a thread that sleeps wakes too late, and the kernel's share of waiting for a processor."""

    def __init__(self):
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.late, self.worst, self.begin = 0.0, 0.0, (time.monotonic(), waited())
        self.whole = self.begin
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while True:
            begin = time.monotonic()
            if self.stopping.wait(TICK_SECONDS):
                return
            late = time.monotonic() - begin - TICK_SECONDS
            with self.lock:
                self.late = max(self.late, late)
                self.worst = max(self.worst, late)

    def stop(self):
        self.stopping.set()

    def reset(self):
        with self.lock:
            self.late, self.begin = 0.0, (time.monotonic(), waited())

    def since_reset(self):
        """A sentence about the time since the last reset."""
        with self.lock:
            late, begin = self.late, self.begin
        return f"something waited for a processor {share(begin):.0%} of the time, this script up to {late:.2f} s"

    def document(self):
        return {"waiting_share": round(share(self.whole), 3), "worst_lateness_seconds": round(self.worst, 3)}


def waited():
    """Microseconds in which at least one task waited for a processor, since the machine started."""
    try:
        with open("/proc/pressure/cpu", encoding="utf-8") as file:
            return int(file.readline().rpartition("total=")[2])
    except (OSError, ValueError):
        return 0


def share(begin):
    return (waited() - begin[1]) / 1e6 / max(time.monotonic() - begin[0], 0.001)
