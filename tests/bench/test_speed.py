"""Ratios, measured side by side in one run: never absolute times, which are the machine's.

    ./check bench

Each line: what, ours, the floor, ratio, limit.  A ratio over its limit fails.
"""
import json
import os
import shutil
import statistics
import subprocess

import pytest

from harness import Cluster, paths, wait_until
from harness.program import environment
from harness.wire import fresh_keys

pytestmark = pytest.mark.spec()
BENCH = paths.BUILD / "bench"
ADDRESSES = int(os.environ.get("BENCH_ADDRESSES", "100000"))
AGENTS = int(os.environ.get("BENCH_AGENTS", "1000"))
ROUNDS = 7


def row(what, ours, floor, limit, unit="ms"):
    ratio = ours / floor
    print(f"\n{what:<58} {ours:>9.2f} {unit} {floor:>9.2f} {unit} {ratio:>7.2f}  (limit {limit:g})", end="", flush=True)
    assert ratio <= limit, f"{what}: {ratio:.2f} times the floor, at most {limit:g}"


def under(what, kb, limit_mb):
    print(f"\n{what:<58} {kb / 1024:>9.1f} MB {'':>12} {'':>7}  (limit {limit_mb:g} MB)", end="", flush=True)
    assert kb / 1024 <= limit_mb, f"{what}: {kb / 1024:.1f} MB, at most {limit_mb} MB"


def run_many(cluster, count, *argv):
    """Median milliseconds, largest resident set in kB."""
    done = subprocess.run([BENCH / "bench-exec", str(count), *map(str, argv)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, env=environment({"MAILNODE_ROOT": cluster.root if cluster else None}), check=True)
    median, _, kb, _ = done.stderr.strip().splitlines()[-1].split()
    return float(median) / 1000, int(kb)


class Helper:
    """A program of tests/bench that answers each line with a number."""

    def __init__(self, name, *argv):
        self.process = subprocess.Popen([BENCH / f"bench-{name}", *map(str, argv)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=environment())

    def ready(self):
        assert self.process.stdout.readline() == "ready\n"
        return self

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def file_of(n, folder):
    path = os.path.join(folder, f"{n}.json")
    items = [{"kind": "address", "instance": "main", "name": f"user.name{i:06}@example.org", "to": ["user:alice"]} for i in range(n)]
    with open(path, "w") as f:
        json.dump({"version": 1, "items": items}, f)
    return path


def test_address_add_against_the_floor(tmp_path):
    """At 100,000 addresses at most five times the bare floor, and within 25 % of the same at 100."""
    with Cluster(nodes=1) as large, Cluster(nodes=1) as small, Helper("floor", tmp_path, ADDRESSES) as floor:
        for cluster, n in ((large, ADDRESSES), (small, 100)):
            cluster.site()
            cluster.ctl(f"apply -f {file_of(n, cluster.folder)}", timeout=300)
        floor.ready()
        bare, many, few = [], [], []
        for _ in range(ROUNDS):
            bare.append(floor.ask(40) / 1000)
            many.append(run_many(large, 40, paths.MAILCTL, "address", "add", "x{}@example.org", "to=alice")[0])
            few.append(run_many(small, 40, paths.MAILCTL, "address", "add", "x{}@example.org", "to=alice")[0])
        row(f"mailctl address add, {ADDRESSES} there: against the floor", statistics.median(many), statistics.median(bare), 5)
        row(f"mailctl address add, {ADDRESSES} there: against 100 there", statistics.median(many), statistics.median(few), 1.25)


def test_status_against_an_empty_program():
    with Cluster(nodes=1) as c:
        c.site()
        ours, empty, kb = [], [], 0
        for _ in range(ROUNDS):
            empty.append(run_many(None, 60, BENCH / "bench-nop")[0])
            took, most = run_many(c, 60, paths.MAILCTL, "status")
            ours.append(took)
            kb = max(kb, most)
        row("mailctl status: against an empty program", statistics.median(ours), statistics.median(empty), 4)
        under("mailctl, resident", kb, 5)


def test_first_apply_against_a_bulk_insert():
    """The same rows, as they stand afterwards in the three databases, inserted by prepared statements alone."""
    import time
    ours, bare = [], []
    for _ in range(3):
        with Cluster(nodes=1) as c:
            c.site()
            path = file_of(ADDRESSES, c.folder)
            started = time.monotonic()
            c.ctl(f"apply -f {path}", timeout=300)
            ours.append((time.monotonic() - started) * 1000)
            revision = c.ctl("status -o json").json["revision"]
            c.ctl(f"apply -f {path}", timeout=300)
            assert c.ctl("status -o json").json["revision"] == revision, "the same file again makes no revision"
            node = c["mx1"]
            under("mail-agent, resident after it", node.agent.rss_kb(), 30)
            under("mail-agent, resident at its peak", node.agent.rss_kb("VmHWM"), 60)
            under("mail-controller, resident", c.controller.rss_kb(), 60)
            node.stop()
            c.stop()
            target = os.path.join(c.folder, "bulk")
            os.mkdir(target)
            pairs = []
            for i, source in enumerate((c.store, node.node_db, node.tables.path)):
                pairs += [source, f"{target}/{i}.db"]
            done = subprocess.run([BENCH / "bench-bulk", *pairs], capture_output=True, text=True, check=True)
            bare.append(float(done.stdout) / 1000)
    row(f"apply of {ADDRESSES} addresses: against a bulk insert", statistics.median(ours), statistics.median(bare), 3)


def test_one_change_to_a_thousand_agents(tmp_path):
    """A domain of users that they all share changes; against one message to all and back by a bare ROUTER."""
    import base64
    import time
    import control_pb2
    with Cluster() as c:
        c.ctl("node add hub")
        c.ctl("user-domain add staff kind=internal node=hub", code=7)   # it never joins
        tokens = []
        for i in range(AGENTS):
            text = c.ctl(f"node add n{i}").out.strip()
            token = control_pb2.TokenText.FromString(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            tokens.append(f"n{i} {token.secret.hex()}\n")
        (tmp_path / "tokens").write_text("".join(tokens))
        with open(tmp_path / "keys", "w") as keys:
            subprocess.run([BENCH / "bench-agents", "join", c.enrol_endpoint, c.key, tmp_path / "tokens"], stdout=keys, check=True,
                           timeout=120)
        items = [{"kind": "instance", "name": f"i{i}", "node": f"n{i}", "hostname": f"n{i}.example.org", "user_domain": "staff"}
                 for i in range(AGENTS)]
        c.ctl("apply -f - --no-wait", stdin=json.dumps({"version": 1, "items": items}), code=(0, 7), timeout=120)
        with Helper("agents", "run", c.endpoint, c.key, tmp_path / "keys") as agents:
            agents.ready()
            wait_until(lambda: sum(s["state"] == "online" and s["force"] == "in-force" for s in c.status().values()) >= AGENTS,
                       "all agents are current", 120, every=0.5)
            public, secret = fresh_keys()
            endpoint = f"tcp://{c.addresses[1]}:6464"
            router = Helper("agents", "router", endpoint, secret, AGENTS)
            with router, Helper("agents", "bare", endpoint, public, tmp_path / "keys") as bare_agents:
                router.ready()
                bare_agents.ready()
                ours, bare = [], []
                for i in range(ROUNDS):
                    bare.append(router.ask("go") / 1000)
                    started = time.monotonic()
                    said = c.ctl(["user-domain", "set", "staff", f"listen=127.1.0.{i + 1}"], code=(0, 7))
                    ours.append((time.monotonic() - started) * 1000)
                    assert said.out.count("offline") <= 1, said
        row(f"one change to {AGENTS} agents: against a bare ROUTER", statistics.median(ours), statistics.median(bare), 3)
    shutil.rmtree(tmp_path)
