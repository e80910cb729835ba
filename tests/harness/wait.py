"""Waiting for a fact, with a deadline and the words for what did not come."""
import time

# Everything here is milliseconds on an idle machine; the deadline is for one that is busy with seven other tests.
DEADLINE_S = float(__import__("os").environ.get("MAILNODE_TEST_DEADLINE", "15"))


def wait_until(fact, what, timeout=None, every=0.01):
    """Calls fact() until it is true and gives back what it said.  An AssertionError names 'what' and the last answer."""
    timeout = DEADLINE_S if timeout is None else timeout
    end = time.monotonic() + timeout
    while True:
        said = fact()
        if said:
            return said
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what} (last: {said!r})")
        time.sleep(every)
