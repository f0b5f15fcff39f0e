"""Holders of the network token that send much to check, to keep and to answer: the others do their work all the same."""

import time
import unittest

from hostile.target import HostileTestCase


class LoadTests(HostileTestCase):
    """What a holder of the token can make others keep, check and answer."""

    options = {"count": 3, "minimum": 2, "name": "load"}

    def test_A6c_small_messages_that_unpack_to_very_much(self):
        with self.attacked(watch=1):
            self.target.attack("unpack_much", targets=[0], messages=2).finish()

    def test_A7_members_that_ask_and_do_not_read(self):
        with self.attacked(watch=1):
            seen = self.target.attack("ask_and_not_read", targets=[0], count=60, rounds=12, seconds=2).finish()
            self.assertGreater(seen["members"], 20, seen)


class FillingTests(HostileTestCase):
    """A full ledger has room for those who belong to it. Each test has a network of its own."""

    options = {"count": 3, "minimum": 2, "name": "fill"}

    def tearDown(self):
        self.tearDownClass()

    def fill(self, **facts):
        with self.attacked(watch=1, late=True):
            begin = time.monotonic()
            seen = self.target.attack("fill_ledger", targets=[0], **facts).finish()
            if not seen["cut off"]:
                self.assertGreater(seen["published"], 4_000, f"{seen} in {time.monotonic() - begin:.0f} s")

    def test_A5b_entries_in_all_buckets_with_versions_that_nothing_outdoes(self):
        self.fill(keys=40, each=250, mixed=True, pause=0.15)


if __name__ == "__main__":
    unittest.main()
