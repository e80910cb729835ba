"""The fault walk: every crash point that the programs name, at every step that reaches it.

The program is started with MAILNODE_CRASH=POINT before each step, so that it dies there as by kill -9.  Then, always:

- what stands in mail.db is the state before the step or the state after it, never between;
- the controller's state is the old or the new one;
- the word that mailctl gave was true: 0 and 7 mean stored, 8 means not; 0 means in force;
- what was stored gets to the node by itself, and an audit finds nothing to mend.

A new point is walked without anybody naming it; one that no step reaches fails.
"""
import json
import os
import sqlite3
import subprocess

import pytest

from harness import Cluster, paths, wait_until


def points(program):
    try:
        return subprocess.run([program, "--crash-points"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ["(not built)"]


CONTROLLER, AGENT = points(paths.CONTROLLER), points(paths.AGENT)


# ---- steps: what is done while the program may die.  Each returns mailctl's exit code, or None when it has no word.

def ctl(line, **more):
    return lambda c: c.ctl(line, code=None, **more).code


def apply_many(c):
    items = [{"kind": "address", "instance": "main", "name": f"m{i}@example.org", "to": ["user:alice", "group:sales"]}
             for i in range(1500)]
    return c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": items}), code=None).code


def join(c):
    """A new node: its token and its coming in."""
    if "mx3" not in c.status():
        added = c.ctl("node add mx3", code=None)
        if added.code != 0:
            return added.code
        token = added.out
    else:
        token = c.ctl("node replace mx3 --yes").out
    if "mx3" not in c.nodes:
        c.new_node("mx3")
    c["mx3"].join(token, code=None)
    return None


def resync(c):
    return c.ctl("node resync mx1 --force --yes", code=None).code


def new_people(c):
    c["mx1"].accounts_write(users=["alice", "bob", "carol", "dora"], groups={"sales": ["alice", "dora"]})
    wait_until(lambda: not c["mx1"].agent.running() or not c.controller.running() or
               c["mx1"].tables.query("SELECT 1 FROM userdb WHERE name='dora'"), "dora is known")


def settle(c):
    """Nothing but the start itself."""
    wait_until(lambda: not c["mx1"].agent.running() or not c.controller.running() or
               c["mx1"].status().get("state") == "online", "quiet")


# Before the program is started again:

def spoil_row(c):
    with sqlite3.connect(c["mx1"].tables.path) as db:
        db.execute("UPDATE rcpt SET dest='mallory@u.internal' WHERE local='info'")
    db.close()


def spoil_map(c):
    os.unlink(c["mx1"].tables.folder + "/maps/alias.cf")


def lose_node_db(c):
    for more in ("-wal", "-shm"):
        if os.path.exists(c["mx1"].node_db + more):
            os.unlink(c["mx1"].node_db + more)
    with open(c["mx1"].node_db, "r+b") as f:
        f.write(os.urandom(8192))


def lose_mail_db(c):
    for more in ("-wal", "-shm"):
        if os.path.exists(c["mx1"].tables.path + more):
            os.unlink(c["mx1"].tables.path + more)
    with open(c["mx1"].tables.path, "r+b") as f:
        f.write(os.urandom(8192))


def refuse(c):
    c["mx1"].engine.refuse_switch("smtpd does not come up", once=True)


STEPS = [  # name, what is spoilt before the program starts, what is done
    ("start", None, settle),
    ("add an address", None, ctl("address add info@example.org to=alice,group:sales")),
    ("change configuration", None, ctl("instance set main hostname=mail.example.org")),
    ("apply a file", None, apply_many),
    ("a refused generation", refuse, ctl("instance set main hostname=bad.example.org")),
    ("remove a domain", None, ctl("domain remove example.net --yes")),
    ("run a task", None, ctl("node check mx1 --repair")),
    ("other people", None, new_people),
    ("a spoilt row", spoil_row, settle),
    ("a lost map", spoil_map, settle),
    ("a damaged node.db", lose_node_db, settle),
    ("a damaged mail.db", lose_mail_db, settle),
    ("a forced snapshot", None, resync),
    ("move the instance away", None, ctl("instance move main node=mx2")),
    ("and back", None, ctl("instance move main node=mx1")),
    ("join a node", None, join),
    ("revoke a node", None, ctl("node revoke mx2 --yes")),
]

ANSWERS = ("domain", "rcpt", "expand", "policy", "login", "userdb")


def answers(node):
    """Rows that daemons are answered from; None where mail.db does not read at the moment (spoilt by the step)."""
    try:
        rows = node.tables.rows()
    except sqlite3.Error:
        return None
    return {t: rows[t] for t in ANSWERS} if all(t in rows for t in ANSWERS) else None


def state(c):
    return c.ctl("export").out


class Walk:
    """One point through all steps."""

    def __init__(self, cluster, program, point):
        self.c, self.program, self.point = cluster, program, point
        self.reached = []
        self.times = 1   # the point is reached that often by a start alone

    @property
    def victim(self):
        return self.c.controller if self.program == "controller" else self.c["mx1"].agent

    def start(self, crash=None):
        if self.program == "controller":
            self.c.start(crash=crash, wait=False)
            if not crash:
                self.c.wait_answers()
            else:
                wait_until(lambda: not self.victim.running() or self._up(), "the controller answers, or died")
        else:
            self.c["mx1"].start(crash=crash)
            wait_until(lambda: not self.victim.running() or self.c["mx1"].status().get("state") in ("online", "forked"),
                       "mx1 is online, or died")

    def _up(self):
        try:
            self.c.link().close()
            return True
        except (OSError, AssertionError, Exception):
            return False

    def settled(self):
        """All that is stored is in force."""
        c = self.c
        for name, node in c.nodes.items():
            if node.agent and name in c.status() and c.status()[name]["state"] not in ("revoked", "never-joined"):
                node.wait_online()
        said = c.ctl("wait --timeout 15s", code=None)
        others = [n for n, s in c.status().items() if s["state"] in ("revoked", "never-joined", "offline")]
        assert said.code == 0 or others, said

    def step(self, name, spoil, do):
        c, node = self.c, self.c["mx1"]
        old, rows = state(c), answers(node)
        self.victim.stop()
        if spoil:
            spoil(c)
        self.start(f"{self.point}:{self.times}")
        code = None
        if self.victim.running():
            code = do(c)
        if self.victim.running():
            if spoil is refuse:
                c["mx1"].engine.relent()
            return
        # It died at the point.
        assert self.victim.wait() == -9, f"{name}: ended otherwise: {self.victim.output()}"
        self.reached.append(name)
        at_crash = answers(node)
        c["mx1"].engine.relent()
        self.start()
        new = state(c)
        self.settled()
        now = state(c)
        if code in (0, 7):
            assert new != old or name in ("run a task", "a forced snapshot", "revoke a node"), f"{name}: said {code}, not stored"
        if code == 8:
            assert new == old, f"{name}: said 8, stored"
        assert code in (None, 0, 1, 5, 7, 8, 9, 11), f"{name}: {code}"
        if now == old and do not in (settle, join):
            again = do(c)
            assert again in (None, 0, 1, 6), f"{name} again: {again}"
            self.settled()
        after = answers(node)
        if at_crash is not None and rows is not None and not spoil:
            assert at_crash == rows or at_crash == after, f"{name}: between: {difference(at_crash, rows, after)}"
        if code == 0 and self.program == "agent" and not spoil and name != "other people":
            assert at_crash == after, f"{name}: said to be in force, and was not: {difference(at_crash, rows, after)}"
        if name == "start" and self.times < 4:
            self.times += 1   # every start reaches it: from now on the next time counts
            self.step(name, spoil, do)


def difference(at_crash, rows, after):
    return {t: (len(at_crash[t]), len(rows[t]), len(after[t])) for t in ANSWERS}


@pytest.mark.spec("R01", "R02", "F-166", "F-172")
@pytest.mark.parametrize("program, point", [("controller", p) for p in CONTROLLER] + [("agent", p) for p in AGENT])
def test_crash_point(program, point):
    assert point != "(not built)", f"mail-{program} --crash-points does not run"
    with Cluster(nodes=2) as c:
        c.site(domains=["example.org", "example.net"])
        c.ctl("address add here@example.net to=bob")
        walk = Walk(c, program, point)
        for step in STEPS:
            walk.step(*step)
        walk.victim.stop()
        walk.start()
        walk.settled()
        found = c.ctl("node check mx1", code=None)
        assert found.code == 0, found
        if not walk.reached:
            walk.reached = first_life(c, program, point)
        assert walk.reached, f"no step reaches {point}"


def first_life(c, program, point):
    """Points of a program's very first start: init and an empty folder; join."""
    if program == "controller":
        from harness.ctl import run
        with Cluster(start=False) as new:
            init = [paths.CONTROLLER, "--init", "--listen", f"{new.address}:6464", "--root", new.root]
            died = run(init, env={"MAILNODE_CRASH": point}).code == -9
            if died:
                again = run(init)
                assert again.code in (0, 6), again   # made, or there already
                new.start()
            else:
                new.start(crash=point, wait=False)
                wait_until(lambda: not new.controller.running() or Walk(new, program, point)._up(), "up, or died")
                died = not new.controller.running()
                if died:
                    new.start()
            new.ctl("status", code=(0, 1))
            return ["first start"] if died else []
    node = c.new_node("mx4")
    token = c.ctl("node add mx4").out
    from harness.ctl import run
    joined = run([paths.AGENT, "join", "--root", node.root, "-"], stdin=token,
                 env={"MAILNODE_CRASH": point, "MAILNODE_BOOT_ID": node.boot_id})
    if joined.code == -9:
        if node.join(token, code=None).code != 0:
            node.join(c.ctl("node replace mx4 --yes").out)
        node.start(wait=True)
        return ["join"]
    node.start(crash=point)
    wait_until(lambda: not node.agent.running() or node.status().get("state") == "online", "online, or died")
    if node.agent.running():
        return []
    node.start(wait=True)
    return ["first start"]
