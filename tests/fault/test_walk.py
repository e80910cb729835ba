"""The fault walk: every crash point that the programs name, at every step that reaches it.

First all steps are done once while the program notes each point that it reaches.  Then, point by point, all steps are done
again, and where one reaches the point, the program is started with MAILNODE_CRASH before it, so that it dies there as by
kill -9, and is started again at once.  Then, always:

- what stands in mail.db is the state before the step or the state after it, never between;
- the word that mailctl gave was true: 0 and 7 mean stored, 8 means not; 0 means in force;
- what was stored gets to the node by itself, and an audit finds nothing to mend.

A new point is walked without anybody naming it; one that no step reaches fails.
"""
import collections
import contextlib
import fcntl
import functools
import json
import os
import sqlite3
import subprocess
import threading

import pytest

from harness import Cluster, paths, wait_until
from harness.wire import Closed, body
import control_pb2


def points(program):
    try:
        return subprocess.run([program, "--crash-points"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ["(not built)"]


# A restore is another life: system/test_controller_copy walks it.
CONTROLLER, AGENT = [p for p in points(paths.CONTROLLER) if not p.startswith("controller.restore.")], points(paths.AGENT)


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
    lives = c.controller, c["mx1"].agent
    c["mx1"].accounts_write(users=["alice", "bob", "carol", "dora"], groups={"sales": ["alice", "dora"]})
    wait_until(lambda: not all(p.running() for p in lives) or has_mailbox(c["mx1"], "dora"), "dora's mailbox is noted")


def has_mailbox(node, name):
    """Noted in node.db, which comes after the rows in mail.db."""
    with contextlib.closing(sqlite3.connect(f"file:{node.node_db}?mode=ro", uri=True)) as db:
        return db.execute("SELECT 1 FROM owner WHERE name=?", (name,)).fetchone()


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
    ("add a relay rule", None, ctl("relay add default host=smart.example.net")),
    ("change configuration", None, ctl("instance set main hostname=mail.example.org")),
    ("replicate the directory", None, ctl("user-domain set staff listen=127.0.0.1 replicas=mx2")),
    ("apply a file", None, apply_many),
    ("a refused generation", refuse, ctl("instance set main hostname=bad.example.org")),
    ("remove a domain", None, ctl("domain remove example.net --yes")),
    ("state a destination", None, ctl("destination add vault repository=local:/srv/backup")),
    ("state a plan", None, ctl("plan add nightly destinations=vault schedule='daily 02:30'")),   # the node writes down that it is new
    ("run a backup", None, ctl("backup run nightly")),   # the controller's store goes along
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

# Stored elsewhere, or taken back again.
NOT_OF_THE_STATE = ("run a backup", "run a task", "a forced snapshot", "revoke a node", "a refused generation")

ANSWERS = ("domain", "rcpt", "expand", "policy", "login", "userdb")


def answers(node):
    """Rows that daemons are answered from; None where mail.db does not read at the moment (spoilt by the step)."""
    try:
        rows = node.tables.rows()
    except sqlite3.Error:
        return None
    return {t: rows[t] for t in ANSWERS} if all(t in rows for t in ANSWERS) else None


def state(c):
    """Every object, as its octets."""
    with c.link() as link:
        return [o for part in link.call(body("list")) for o in part.listed.objects]


class Walk:
    """One program through all steps; with a point, it dies there."""

    def __init__(self, cluster, program):
        self.c, self.program = cluster, program

    @property
    def victim(self):
        return self.c.controller if self.program == "controller" else self.c["mx1"].agent

    def start(self, env=None):
        if self.program == "controller":
            self.c.start(wait=False, env=env)
            wait_until(lambda: not self.victim.running() or up(self.c), "the controller answers, or died")
        else:
            self.c["mx1"].start(env=env)
            wait_until(lambda: not self.victim.running() or self.there(), "mx1 is online, or died")

    def there(self):
        return self.victim.said("controller answers") and self.c.online("mx1")

    def spoil_of(self, spoil):
        """What lies on the node's disk is spoilt while its agent is away."""
        return spoil if self.program == "agent" or spoil is refuse else None

    def again(self, env=None, spoil=None):
        self.victim.stop()
        if spoil:
            spoil(self.c)
        self.start(env)

    def settled(self):
        """All that is stored is in force on every node that runs."""
        try:
            gone = {n.name for n in self.c.told().nodes if n.state in (control_pb2.REVOKED, control_pb2.NEVER_JOINED)}
            for name in [n for n, node in self.c.nodes.items() if node.agent and n not in gone]:
                wait_until(lambda: not self.victim.running() or self.c.online(name), f"{name} is online")
                assert self.victim.running()
                said = self.waited(name)
                if said.outcome.reverted_by:   # a refusal met while it was waited for: what counts is the revision after it
                    said = self.waited(name)
                assert all(n.state == control_pb2.IN_FORCE for n in said.outcome.nodes), said
        except (OSError, Closed) as trouble:
            raise AssertionError(f"the controller is not there: {trouble}") from trouble

    def waited(self, name):
        with self.c.link() as link:
            return link.call(body("wait", node=name, wait_ms=15000), 20)[-1]

    def do(self, do):
        """Does the step, and starts the program again as soon as it has died: (it died, what stood in mail.db then,
        mailctl's word, what stood in mail.db when the word was given)."""
        node, said = self.c["mx1"], []

        def work():
            try:
                said.append(do(self.c))
                said.append(answers(node))
            except Exception as trouble:   # a reading step may meet a program that is not there
                said[:] = [trouble, None]
        worker = threading.Thread(target=work)
        died, at_crash = not self.victim.running(), None
        if died:
            at_crash = answers(node)
            self.recover()
        worker.start()
        while worker.is_alive():
            worker.join(0.005)
            if not self.victim.running():
                died, at_crash = True, answers(node)
                self.recover()
        if isinstance(said[0], Exception) and not died and not self.dies():
            raise said[0]
        if isinstance(said[0], Exception):
            said = [None, None]
        return died, at_crash, *said

    def dies(self):
        """A broken link is seen before the end of who broke it."""
        try:
            self.victim.wait(1)
            return True
        except AssertionError:
            return False

    def recover(self):
        assert self.victim.wait() == -9, f"ended otherwise: {self.victim.output()}"
        self.c["mx1"].engine.relent()
        self.start()

    def settled_or_died(self):
        """All in force; (it died at something that nobody waited for, what stood in mail.db then)."""
        try:
            self.settled()
        except AssertionError:
            if not self.dies():
                raise
        if self.victim.running():
            return False, None
        at_crash = answers(self.c["mx1"])
        self.recover()
        self.settled()
        return True, at_crash

    def pass_by(self, do, spoil):
        """A step that does not reach the point: only what the next ones stand on."""
        if spoil is refuse:
            refuse(self.c)
        if do not in (settle, join):
            do(self.c)
        self.c["mx1"].engine.relent()

    def step(self, name, spoil, do, crash):
        """True: it died."""
        c, node = self.c, self.c["mx1"]
        self.settled()
        old, rows = state(c), answers(node)
        self.again({"MAILNODE_CRASH": crash}, spoil)
        died, at_crash, code, at_word = self.do(do)
        late, at_late = self.settled_or_died()
        if late:
            died, at_crash = True, at_late
        node.engine.relent()
        if not died:
            self.again()   # nothing of this step shall die in the next
            return False
        new = state(c)
        if code in (0, 7):
            assert new != old or name in NOT_OF_THE_STATE, f"{name}: said {code}, not stored"
        if code == 8:
            assert new == old, f"{name}: said 8, stored"
        assert code in (None, 0, 1, 5, 7, 8, 9, 11), f"{name}: {code}"
        if new == old and do not in (settle, join):
            again = do(c)
            assert again in (None, 0, 1, 6), f"{name} again: {again}"
            self.settled()
        after = answers(node)
        if at_crash is not None and rows is not None and not spoil:
            assert at_crash in (rows, after), f"{name}: between: {difference(at_crash, rows, after)}"
        if code == 0 and not spoil and name != "other people":
            assert at_word == after, f"{name}: said to be in force, and was not: {difference(at_word, rows, after)}"
        return True


def up(c):
    try:
        c.link().close()
        return True
    except Exception:   # not there yet, or just gone
        return False


def site(c):
    c.site(domains=["example.org", "example.net"])
    c.ctl("address add here@example.net to=bob")


@pytest.fixture(scope="session")
def reached(tmp_path_factory):
    """reached(program)[step]: how often each point is reached by the start alone, and in all; found out once for all workers."""
    folder = tmp_path_factory.getbasetemp().parent

    @functools.cache
    def ask(program):
        with open(folder / f"reached-{program}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = folder / f"reached-{program}-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}.json"
            if not kept.exists():
                kept.write_text(json.dumps(find_reached(program)))
            return {step: [collections.Counter(c) for c in counts] for step, counts in json.loads(kept.read_text()).items()}
    return ask


def find_reached(program):
    out = {}
    with Cluster(nodes=2) as c:
        site(c)
        walk = Walk(c, program)
        trace = os.path.join(c.folder, "trace")

        def noted():
            with open(trace) as f:
                return collections.Counter(f.read().split())
        for name, spoil, do in STEPS:
            if os.path.exists(trace):
                os.unlink(trace)
            open(trace, "w").close()
            os.chmod(trace, 0o666)
            walk.again({"MAILNODE_CRASH_TRACE": trace}, walk.spoil_of(spoil))
            by_start = noted()
            do(c)
            walk.settled()
            c["mx1"].engine.relent()
            out[name] = by_start, noted()
    return out


def difference(at_crash, rows, after):
    return {t: (len(at_crash[t]), len(rows[t]), len(after[t])) for t in ANSWERS}


@pytest.mark.spec("R01", "R02", "F-166", "F-172")
@pytest.mark.parametrize("program, point", [("controller", p) for p in CONTROLLER] + [("agent", p) for p in AGENT])
def test_crash_point(reached, program, point):
    assert point != "(not built)", f"mail-{program} --crash-points does not run"
    reaches = reached(program)
    with Cluster(nodes=2) as c:
        site(c)
        walk, died = Walk(c, program), []
        for name, spoil, do in STEPS:
            by_start, in_all = reaches[name]
            crash = None
            if in_all[point] > by_start[point]:
                crash = f"{point}:{by_start[point] + 1}"
            elif by_start[point] and (walk.spoil_of(spoil) or name == "start"):
                crash = point
            if not crash:
                walk.pass_by(do, spoil)
            elif walk.step(name, walk.spoil_of(spoil), do, crash):
                died.append(name)
        walk.again()
        walk.settled()
        found = c.ctl("node check mx1", code=None)
        assert found.code == 0, found
        assert died or first_life(c, program, point), f"no step reaches {point}"


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
                wait_until(lambda: not new.controller.running() or up(new), "up, or died")
                died = not new.controller.running()
                if died:
                    new.start()
            new.ctl("status", code=(0, 1))
            return died
    node = c.new_node("mx4")
    token = c.ctl("node add mx4").out
    from harness.ctl import run
    joined = run([paths.AGENT, "join", "--root", node.root, "-"], stdin=token,
                 env={"MAILNODE_CRASH": point, "MAILNODE_BOOT_ID": node.boot_id})
    if joined.code == -9:
        again = node.join(token, code=None)
        if again.code != 0 and "node already" not in again.err:
            node.join(c.ctl("node replace mx4 --yes").out)
        node.start(wait=True)
        return True
    node.start(crash=point)
    wait_until(lambda: not node.agent.running() or node.status().get("state") == "online", "online, or died")
    if node.agent.running():
        return False
    node.start(wait=True)
    return True
