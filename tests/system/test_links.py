"""THREATS: bad links between node and controller (R18, R19, R21): whatever passes, the node is at a revision, and gets to the newest."""
import random
import time

import pytest

from harness import wait_until
from harness.proxy import Proxy


@pytest.fixture
def wire(site):
    with Proxy((site.address, 6464), (site.addresses[1], 6464)) as proxy:
        node = site["mx1"]
        node.stop()
        proxy.reroute(node)
        node.start(wait=True)
        yield proxy
        node.stop()


def add(c, n, code=(0, 7)):
    return c.ctl(f"address add a{n}@example.org to=alice --timeout 300ms", code=code).code


def converged(c):
    c.ctl("wait --timeout 40s", code=(0, 7), timeout=60)
    names = set(c.ctl("address list -o name").names) - {"postmaster@*"}   # which every instance begins with
    rows = {f"{local}@example.org" for local, in c["mx1"].tables.query("SELECT local FROM rcpt WHERE scope='example.org'")}
    return names == rows


@pytest.mark.spec("R18", "F-168")
def test_partition_with_changes_on_one_side(site, wire):
    c = site
    wire.cut()
    assert {add(c, n) for n in range(20)} == {7}
    assert not c["mx1"].tables.lookup("alias", "a1@example.org")
    wire.mend()
    started = time.monotonic()
    wait_until(lambda: converged(c), "all are there")
    assert time.monotonic() - started < 6


@pytest.mark.spec("R18", "R19", "F-183")
def test_partition_without_a_word(site, wire):
    """Nothing passes and nothing ends: seen by the missing reports; healed by the next word."""
    c = site
    wire.silent = True
    wait_until(lambda: c["mx1"].status()["state"] == "offline", "silence is seen", 45)
    add(c, 1)
    wire.silent = False
    wire.cut()
    wire.mend()
    wait_until(lambda: converged(c), "healed", 45)


@pytest.mark.spec("R19")
def test_flapping_link(site, wire):
    c = site
    for n in range(12):
        if n % 3 == 0:
            wire.cut()
        add(c, n)
        wire.mend()
    wait_until(lambda: converged(c), "all are there", 40)


@pytest.mark.spec("R21", "R19")
@pytest.mark.parametrize("how", ["flipped", "truncated", "doubled", "lost", "mixed"])
def test_spoilt_octets(site, wire, how):
    """CURVE notices; the connection ends and a new one goes on.  Nothing that was not said is applied."""
    c, chance = site, random.Random(21)

    def spoil(octets, up):
        if chance.random() > 0.15:
            return octets
        at = chance.randrange(len(octets))
        what = chance.choice(("flipped", "truncated", "doubled", "lost")) if how == "mixed" else how
        return {"flipped": octets[:at] + bytes([octets[at] ^ 1 << chance.randrange(8)]) + octets[at + 1:],
                "truncated": octets[:at], "doubled": octets + octets, "lost": b""}[what]
    wire.spoil = spoil
    for n in range(15):
        add(c, n)
    wire.spoil = None
    wire.cut()
    wire.mend()
    wait_until(lambda: converged(c), "all are there", 40)
    c.ctl("node check mx1")


@pytest.mark.spec("R19", "R20")
def test_slow_link(site, wire):
    c = site
    wire.delay_s = 0.05
    for n in range(5):
        c.ctl(f"address add a{n}@example.org to=alice")
    assert converged(c)
