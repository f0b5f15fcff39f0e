"""Waits that end."""

import time


class TimedOut(Exception):
    """A wait reached its bound. The text says what it waited for."""


def wait_until(condition, what, seconds, pause=0.1):
    """Calls `condition` until it gives something true, and gives that back.

    `what` is a sentence, or a function that makes one when the time is over, so that it can say how
    far things had come.
    """
    start = time.monotonic()
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() - start >= seconds:
            raise TimedOut(f"after {seconds:g} s still waiting for {what() if callable(what) else what}")
        time.sleep(pause)
