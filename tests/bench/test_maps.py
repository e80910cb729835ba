"""What Postfix's own client pays for a recipient: each map beside one row by primary key, 200,000 definitions (ENGINE.md 2a)."""
import json
import os
import statistics
import subprocess
import time

import pytest

from harness import Cluster
from harness.program import environment
from harness.tables import POSTMAP, _as
from test_speed import ROUNDS, row

pytestmark = pytest.mark.spec()
DOMAINS, ADDRESSES, KEYS = 10000, 190000, 20000
# Others than 3.  The rules for senders are four questions in one, which Postfix has no other way to ask.  The map of clients is asked with an
# address, for foreign and internal recipients alone; most of what it costs is to prepare its statement.
LIMITS = {"sender_transport": 5, "clients": 8, "strangers": 8}


def stated(folder):
    """10,000 domains; addresses in one of a hundred of them each."""
    items = [{"kind": "domain", "instance": "main", "name": f"d{i:05}.test", "dkim": False} for i in range(DOMAINS)]
    items += [{"kind": "address", "instance": "main", "name": f"name{i:06}@d{i % 100:05}.test", "to": ["user:alice"]}
              for i in range(ADDRESSES)]
    path = os.path.join(folder, "world.json")
    with open(path, "w") as f:
        json.dump({"version": 1, "items": items}, f)
    return path


def asked(config, map, keys):
    """Microseconds for each key: many of them less the start of the program."""
    took = []
    for some in (keys[:1], keys):
        began = time.monotonic()
        done = subprocess.run([POSTMAP, "-c", config, "-q", "-", map], input="".join(k + "\n" for k in some), text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), **_as("postfix"))
        took.append(time.monotonic() - began)
        assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return 1e6 * (took[1] - took[0]) / (len(keys) - 1)


def test_maps_against_one_row():
    with Cluster(nodes=1) as c:
        c.site()
        c.ctl(f"apply -f {stated(c.folder)}", timeout=600)
        tables = c["mx1"].tables
        floor = os.path.join(tables.folder, "maps/floor.cf")
        with open(floor, "w") as f:   # of the test: one row by its primary key, nothing else
            f.write(f"dbpath = {tables.path}\nquery = SELECT dest FROM rcpt WHERE local='%u' AND scope='%d'\n")
        os.chmod(floor, 0o644)
        names = sorted(n.removesuffix(".cf") for n in os.listdir(tables.folder + "/maps") if n.endswith(".cf"))
        keys = [f"name{i:06}@d{i % 100:05}.test" for i in range(0, ADDRESSES, ADDRESSES // KEYS)]
        special = {"expand": [k.split("@")[0] + "@x.internal" for k in keys], "alias_domains": [k.split("@")[1] for k in keys],
                   "login": [k.split("@")[0] for k in keys], "catchall": ["@" + k.split("@")[1] for k in keys],
                   "clients": [f"2001:db8::{i % 65536:x}" if i % 2 else f"192.0.{i // 250 % 250}.{i % 250}" for i in range(KEYS)]}
        config = tables._config()
        bare, each = [], {n: [] for n in names if n != "floor"}
        for _ in range(ROUNDS):
            bare.append(asked(config, "sqlite:" + floor, keys))
            for name, times in each.items():
                times.append(asked(config, tables.map(name), special.get(name, keys)))
        os.unlink(floor)
        for name, times in each.items():
            row(f"map {name}: against one row by primary key", statistics.median(times), statistics.median(bare),
                LIMITS.get(name, 3), "us")


def test_domain_add_at_ten_thousand():
    """What a domain costs does not grow with how many there are."""
    with Cluster(nodes=1) as many, Cluster(nodes=1) as few:
        for c, n in ((many, DOMAINS), (few, 10)):
            c.site()
            path = os.path.join(c.folder, "domains.json")
            with open(path, "w") as f:
                json.dump({"version": 1, "items": [{"kind": "domain", "instance": "main", "name": f"d{i:05}.test", "dkim": False}
                                                   for i in range(n)]}, f)
            c.ctl(f"apply -f {path}", timeout=600)
        took = {many: [], few: []}
        for i in range(ROUNDS * 3):
            for c, times in took.items():
                began = time.monotonic()
                c.ctl(f"domain add new{i}.test -i main", timeout=60)
                times.append(1000 * (time.monotonic() - began))
        row("mailctl domain add, 10,000 there: against 10 there", statistics.median(took[many]), statistics.median(took[few]), 1.25)
