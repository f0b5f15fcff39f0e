"""scripts/demo, as a new user runs it: it shows the main job, and leaves nothing behind."""

import glob
import os
import signal
import subprocess
import tempfile
import time
import unittest

from lab import program
from lab.network import ip
from lab.waiting import wait_until


def leftovers():
    """Namespaces and directories that demonstrations have made."""
    names = {line.split()[0] for line in ip("netns", "list").splitlines() if line}
    directories = glob.glob(os.path.join(tempfile.gettempdir(), "demo-*"))
    return {name for name in names if name.startswith("demo-")} | set(directories)


class DemoTests(unittest.TestCase):
    def setUp(self):
        self.before = leftovers()

    def start(self, *arguments):
        return subprocess.Popen(
            [os.path.join(program.REPOSITORY, "scripts", "demo"), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            env={**os.environ, "KAIROS_AGENT": program.agent()},
        )  # fmt: skip

    def test_it_shows_the_main_job(self):
        demo = self.start()
        text = demo.communicate(timeout=150)[0]
        self.assertEqual(demo.returncode, 0, text)
        for part in (
            "every node has an address on the VPN", "every K3s agent has registered with the server, over the VPN",
            "waits for", " 0% packet loss", "receiver",
        ):  # fmt: skip
            self.assertIn(part, text)
        self.assertEqual(leftovers(), self.before)

    def test_an_interruption_at_any_moment_leaves_nothing(self):
        for seconds in (0.3, 1.0, 2.5):
            with self.subTest(seconds=seconds):
                demo = self.start("--nodes", "2", "--keep")
                time.sleep(seconds)
                # As a terminal does it: the whole group gets the signal.
                os.killpg(demo.pid, signal.SIGINT)
                text = demo.communicate(timeout=60)[0]
                self.assertNotEqual(demo.returncode, 0, text)
                wait_until(lambda: leftovers() == self.before, lambda: f"{leftovers()} to go\n{text}", 10)


if __name__ == "__main__":
    unittest.main()
