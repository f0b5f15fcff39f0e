"""Runs test modules of this folder, prints one line for each test, and writes a JUnit file.

    python3 Tests/EndToEnd/run.py [--junit FILE] MODULE[.CLASS[.METHOD]]…
"""

import argparse
import os
import signal
import sys
import time
import unittest
import xml.etree.ElementTree as tree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True


class Result(unittest.TextTestResult):
    """Keeps every outcome with its duration."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.cases, self.begin = {}, time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()
        self.cases[test.id()] = [0.0, None, None]

    def stopTest(self, test):
        super().stopTest(test)
        self.cases[test.id()][0] = time.monotonic() - self.begin

    def note(self, test, kind, text):
        # A failing setUpClass has no test of its own: it counts as one.
        self.cases.setdefault(test.id(), [0.0, None, None])[1:] = [kind, text]

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "error", self._exc_info_to_string(error, test))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "failure", self._exc_info_to_string(error, test))

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.note(test, "failure", self._exc_info_to_string(error, test))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note(test, "skipped", reason)

    def write(self, path):
        suite = tree.Element("testsuite", name="EndToEnd", tests=str(len(self.cases)))
        for name, (seconds, kind, text) in self.cases.items():
            group, _, method = name.rpartition(".")
            case = tree.SubElement(suite, "testcase", classname=group, name=method)
            case.set("time", f"{seconds:.3f}")
            if kind:
                # A console's escape sequences may not stand in XML.
                tree.SubElement(case, kind).text = "".join(c for c in text if c >= " " or c in "\t\n")
        tree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--junit")
    parser.add_argument("--failfast", action="store_true")
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    # An end by SIGTERM runs the clean-up of tests as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    suite = unittest.defaultTestLoader.loadTestsFromNames(options.names)
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result, failfast=options.failfast)
    result = runner.run(suite)
    if options.junit:
        result.write(options.junit)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
