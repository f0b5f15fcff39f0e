"""What holders of the network token can still do to the ledger of the others: these tests fail, and are not in the default list."""

import unittest

from hostile.target import HostileTestCase
from test_hostile_load import FillingTests


class CheckingTests(HostileTestCase):
    """What has to be checked holds nobody up."""

    options = {"count": 3, "minimum": 2, "name": "check"}

    def test_A6_bad_signatures_by_the_ten_thousand(self):
        with self.attacked(watch=1, late=True):
            self.target.attack(
                "flood_with_signatures", targets=[0], messages=1, entries=65_000, bucket="users").finish()

    def test_A6b_bad_signatures_in_the_buckets_of_the_election_again_and_again(self):
        with self.attacked(watch=1, late=True):
            self.target.attack(
                "flood_with_signatures", targets=[0], messages=6, entries=9_000, bucket="kairosElection").finish()


class RoomTests(FillingTests):
    """A full ledger has room for those who belong to it."""

    options = {"count": 3, "minimum": 2, "name": "room"}
    test_A5b_entries_in_all_buckets_with_versions_that_nothing_outdoes = None

    def test_A5_ten_thousand_entries_of_twenty_keys(self):
        self.fill(keys=20, each=510, mixed=False, pause=0.25)


del FillingTests

if __name__ == "__main__":
    unittest.main()
