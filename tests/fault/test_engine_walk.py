"""The fault walk of mail-engine: at each of its crash points it dies as by kill -9, and is started again.

First all steps are done once while it notes each point that it reaches.  Then it dies at each point in one of the steps that
reach it, another one from point to point, and in the start where that reaches it.  Then, always:

- no daemon runs twice, and all are ready;
- what is stored is in force, the daemons' own tool reads it back, and nothing half made lies on the disk;
- the word that mailctl gave was true: 0 is in force, 7 is stored, 5 is taken back;
- mail is accepted, and delivered once.

A new point is walked without anybody naming it; one that no step reaches fails.
"""
import collections
import fcntl
import itertools
import json
import os
import signal
import subprocess
import threading

import pytest

from harness import Cluster, Ledger, MailNode, cluster as clusters, paths, wait_until
from harness.ctl import run
from harness.mailnode import DAEMONS
from harness.wire import Closed, LocalLink

# Three minutes of two cores: by name, ./check fault/test_engine_walk.
pytestmark = pytest.mark.slow


def points():
    try:
        all = subprocess.run([paths.ENGINE, "--crash-points"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
        # agent: of the tables, which both programs have, and the agent writes.  backup, restore: jobs, which system/test_07_* walk.
        return [p for p in all if not p.startswith(("agent.", "backup.", "restore."))]
    except (OSError, subprocess.SubprocessError):
        return ["(not built)"]


POINTS = points()
GROUPS = 2   # a node each

# ---- steps: each returns mailctl's exit code, or None when it has no word.  Every value is one that was never in force before.

fresh = itertools.count(10)


def ctl(node, line):
    return node.cluster.ctl(line, code=None, timeout=120).code


def change(node):
    node.wanted = f"{next(fresh)}h"
    code = ctl(node, f"settings set queue-lifetime={node.wanted}")
    if code == 0:
        assert in_force(node) == seconds(node.wanted), "said to be in force, and was not"
    return code


def another_name(node):
    """With a certificate of its own."""
    return ctl(node, f"instance set main hostname=w{next(fresh)}.example.org")


def says_the_same(node):
    """Other objects, the same texts: nothing is loaded."""
    return ctl(node, f"node set mx1 description=walk-{next(fresh)}")


def refused(node):
    """The checkers are content, the daemon is not: an unknown restriction ends each session."""
    node.override("postfix.d/walk.cf", "smtpd_client_restrictions = no_such_restriction\n")
    try:
        return ctl(node, f"settings set queue-lifetime={next(fresh)}h")
    finally:
        relent(node)


def relent(node):
    path = node.path("etc/mailnode/override/postfix.d/walk.cf")
    if os.path.exists(path):
        os.unlink(path)


def daemon_dies(node):
    pid = node.pid("redis")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not node.mail_engine.running() or node.pid("redis") not in (None, pid), "redis is back", 30)


def repair(node):
    path = os.path.join(node.generation(), "postfix/main.cf")
    with open(path, "a") as f:
        f.write("# by hand\n")

    def mended():
        said = node.cluster.ctl("node check mx1 --repair", code=None, timeout=120)
        return "main.cf" in said.out and "repaired" in said.out or "by hand" not in node.rendered("postfix/main.cf")
    wait_until(mended, "mended", 60)
    assert "by hand" not in node.rendered("postfix/main.cf"), "said to be mended, and was not"


def directory(node):
    """Another one goes, and one comes with data that are loaded."""
    last, node.other = getattr(node, "other", None), f"other{next(fresh)}"
    if last:
        ctl(node, f"user-domain remove {last} --yes")
    return ctl(node, f"user-domain add {node.other} kind=internal node=mx1")


def copy(node):
    """A copy of another node's directory comes, and goes with its data."""
    ctl(node, "node add mx2")
    ctl(node, "user-domain add copied kind=internal node=mx2 listen=127.0.0.9 replicas=mx1")
    ctl(node, "wait --node mx1 --timeout 60s")
    ctl(node, "user-domain remove copied --yes")
    ctl(node, "node remove mx2 --yes")
    wait_until(lambda: not node.mail_engine.running() or not os.path.exists(node.path("var/lib/mailnode/slapd/copied")), "it is gone", 60)


def stop_and_start(node):
    first, last = ctl(node, "instance set main running=no"), ctl(node, "instance set main running=yes")
    return last if first in (0, 7) else first


def nothing(node):
    """Nothing but the start itself."""


def die_in_a_switch(node):
    """Before the start: it has died where another generation was current, and not proved."""
    start(node, "engine.switch.linked")
    node.before = threading.Thread(target=change, args=[node])
    node.before.start()
    wait_until(lambda: not node.mail_engine.running(), "it died in the switch", 60)


def await_that(node):
    node.before.join()


STEPS = {  # name: what is done before the start, what after it, the words that it may get
    "start": (None, nothing, ()),
    "change": (None, change, (0, 7, 9)),
    "another name": (None, another_name, (0, 7, 9)),
    "the same": (None, says_the_same, (0, 7, 9)),
    "refused": (None, refused, (0, 5, 7, 9)),   # who died of it does not find it again
    "a daemon dies": (None, daemon_dies, ()),
    "repair": (None, repair, ()),
    "directory": (None, directory, (0, 7, 9)),
    "copy": (None, copy, ()),
    "stop and start": (None, stop_and_start, (0, 7, 9)),
    "taken back": (die_in_a_switch, await_that, ()),
}

# Ten seconds: only where nothing else gets to.
SLOW = ("refused",)
# And these, whatever they reach.
MORE = {"engine.daemon.started": [("stop and start", "engine.daemon.started:4")],
        "file.written": [("another name", "file.written")]}   # a key

# ---- one engine, from its start to its death


def trace_of(node):
    return os.path.join(node.cluster.folder, "trace")


def noted(node):
    with open(trace_of(node)) as f:
        return collections.Counter(f.read().split())


def start(node, crash=None):
    """Until it listens and has looked at itself, or died."""
    node.kill_engine()
    open(trace_of(node), "w").close()
    node.start_engine(crash=crash, wait=False, env={"MAILNODE_CRASH_TRACE": trace_of(node)})
    wait_until(lambda: not node.mail_engine.running() or noted(node)["engine.certificate.written"] and answers(node),
               "started, or died", 60)


def answers(node):
    """What it does by itself comes before what it is asked."""
    try:
        LocalLink(node.engine_socket).close()
        return True
    except (OSError, Closed):
        return False


def once_more(node):
    assert node.mail_engine.wait() == -signal.SIGKILL, node.mail_engine.output()
    relent(node)
    node.start_engine()


def die_in(node, do):
    """Does the step beside an engine that may die in it, and is started again then: (it died, mailctl's word)."""
    said, died = [], False

    def work():
        try:
            said.append(do(node))
            node.cluster.ctl("wait --timeout 60s", code=(0, 5), timeout=90)
        except BaseException as trouble:
            said[:] = [trouble]
    worker = threading.Thread(target=work)
    worker.start()
    while worker.is_alive():
        worker.join(0.01)
        if not died and not node.mail_engine.running():
            died = True
            once_more(node)
    if isinstance(said[0], BaseException):
        raise said[0]
    return died, said[0]


# ---- what must be so afterwards


def seconds(text):
    return int(text[:-1]) * {"h": 3600, "d": 86400, "m": 60, "s": 1}[text[-1]]


def stored(c):
    """Every object, and the lifetime among them."""
    items = c.export()
    lifetime = next((i["queue_lifetime"] for i in items if i["kind"] == "settings" and "queue_lifetime" in i), "5d")
    return items, seconds(lifetime)


def in_force(node):
    done = subprocess.run(["postconf", "-c", os.path.join(node.generation(), "postfix"), "-h", "maximal_queue_lifetime"],
                          capture_output=True, text=True, check=True)
    return seconds(done.stdout.strip())


def leaders(node):
    """Sessions on this node's folder: {program: pids}."""
    out = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            exe = os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/stat") as f:
                session = int(f.read().rsplit(")", 1)[1].split()[3])
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                ours = node.root.encode() in f.read()
        except OSError:
            continue
        if session == int(pid) and ours and exe != os.path.realpath(paths.ENGINE):   # a probe is a fork of it
            out.setdefault(os.path.basename(exe), []).append(int(pid))
    return out


def twice(node):
    return {exe: pids for exe, pids in leaders(node).items() if len(pids) > 1}


def left_over(node):
    """What a change or a write leaves on the disk while it is made."""
    engine = node.path("var/lib/mailnode/engine")
    return ([n for n in os.listdir(engine) if n == "trial" or n.startswith("current.")] +
            [n for n in os.listdir(os.path.join(engine, "gen")) if "." in n] +
            [n for n in os.listdir(os.path.join(engine, "run")) if n not in DAEMONS] +
            [n for _, _, names in os.walk(os.path.join(engine, "tls")) for n in names if not n.endswith(".pem")])


def invariants(node):
    c = node.cluster
    c.ctl("wait --timeout 60s", timeout=90)
    wait_until(lambda: not left_over(node), lambda: f"nothing half made is left: {left_over(node)}", 30, every=0.05)
    node.wait_ready(timeout=60)
    wait_until(lambda: set(node.pids()) == set(DAEMONS), lambda: f"run-files of all: {node.pids()}", 30)
    assert not twice(node), twice(node)
    assert in_force(node) == stored(c)[1], "stored and in force"
    ledger = Ledger(node)
    wait_until(lambda: ledger.send(["alice@example.org"], {"alice": 1}).startswith("250"),
               lambda: f"mail is taken: {ledger.entries}", 30, every=0.2)
    ledger.settle()


def word_was_true(node, name, word, before):
    after = stored(node.cluster)[0]
    assert word in (*STEPS[name][2], None), f"{name}: mailctl ended with {word}"
    if word == 5:
        assert after == before, f"{name}: refused, and stored all the same"
    elif word in (0, 7) and name not in ("refused", "stop and start"):   # as it was, in the end
        assert after != before, f"{name}: ended with {word}, and nothing was stored"


def walk(node, name, crash):
    """True: it died there."""
    spoil, do, _ = STEPS[name]
    if spoil:
        spoil(node)
    before = stored(node.cluster)[0]
    start(node, crash)
    died = not node.mail_engine.running()
    if died:
        once_more(node)
    in_step, word = die_in(node, do)
    invariants(node)
    word_was_true(node, name, word, before)
    return died or in_step


# ---- which step reaches what


def find_reached(node):
    """{step: [how often each point is reached by the start alone, how often in all]}"""
    out = {}
    for name, (spoil, do, _) in STEPS.items():
        if name == "stop and start":
            continue
        if spoil:
            spoil(node)
        start(node)
        by_start = noted(node)
        _, word = die_in(node, do)
        assert word in (None, 0, 5), f"{name}: mailctl ended with {word}"
        out[name] = by_start, noted(node)
        invariants(node)
    return out


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A node for all points of a group, and what the steps reach: found out once."""
    kept = tmp_path_factory.getbasetemp().parent / f"engine-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}.json"
    c = Cluster(nodes=1, node=MailNode)
    clusters.live.remove(c)   # lives longer than one test
    try:
        node = c.mail_site()["mx1"]
        with open(f"{kept}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                kept.write_text(json.dumps(find_reached(node)))
        node.reached = {name: [collections.Counter(n) for n in both] for name, both in json.loads(kept.read_text()).items()}
        yield node
    finally:
        clusters.live.append(c)
        c.close()


def deaths(reached, point):
    """[(step, crash)]: the first time and the last time in turn."""
    i = POINTS.index(point) // GROUPS
    started = [name for name, (by_start, _) in reached.items() if by_start[point]]
    steps = [name for name, (by_start, in_all) in reached.items() if in_all[point] > by_start[point] and not STEPS[name][0]]
    steps = [name for name in steps if name not in SLOW] or steps
    out = [(name, point) for name in started[:1]]
    if steps:
        by_start, in_all = reached[steps[i % len(steps)]]
        out.append((steps[i % len(steps)], f"{point}:{in_all[point] if i // len(steps) % 2 else by_start[point] + 1}"))
    return out + MORE.get(point, [])


@pytest.mark.spec("R02", "R07", "F-166", "F-167")
@pytest.mark.parametrize("point", [pytest.param(p, marks=pytest.mark.xdist_group(f"engine-walk-{i % GROUPS}")) for i, p in enumerate(POINTS)])
def test_engine_crash_point(walked, point):
    assert point != "(not built)", "mail-engine --crash-points does not run"
    died = [name for name, crash in deaths(walked.reached, point) if walk(walked, name, crash)]
    assert died, f"no step reaches {point}"


# ---- the first life and the end


@pytest.mark.spec("R02", "R07")
@pytest.mark.xdist_group("engine-walk-0")
def test_first_generation():
    """There is nothing to go back to."""
    with Cluster(nodes=0, node=MailNode) as c:
        def first(name, crash=None):
            node = c.new_node(name)
            node.join()
            open(trace_of(node), "w").close()
            os.chmod(trace_of(node), 0o666)
            node.start_engine(crash=crash, wait=False, env={"MAILNODE_CRASH_TRACE": trace_of(node)})
            node.start(engine=False)
            wait_until(lambda: not node.mail_engine.running() or (not crash and node.generation()), "in force, or died", 30)
            died = not node.mail_engine.running()
            if died:
                once_more(node)
            c.ctl(f"wait --node {name} --timeout 60s", timeout=90)
            assert node.mail_engine.running() and node.generation()
            wait_until(lambda: not left_over(node), lambda: f"nothing half made is left: {left_over(node)}")
            reached = noted(node)
            node.close()
            del c.nodes[name]
            c.ctl(f"node remove {name} --yes")
            return died, reached
        _, reached = first("mx1")
        assert "engine.switch.linked" in reached
        for i, point in enumerate(reached):
            died, _ = first(f"mx{i + 2}", point)
            assert died, point


@pytest.mark.spec("R02", "R07")
@pytest.mark.xdist_group("engine-walk-1")
@pytest.mark.parametrize("crash", ["engine.daemon.ending:2", "engine.daemon.ended:3", "engine.runfile.removed"])
def test_halt(walked, crash):
    """Who halts dies; who halts again ends all."""
    walked.kill_engine()
    halt = [paths.ENGINE, "halt", "--root", walked.root]
    died = run(halt, env={"MAILNODE_BOOT_ID": walked.boot_id, "MAILNODE_CRASH": crash})
    assert died.code == -signal.SIGKILL, died
    again = run(halt, env={"MAILNODE_BOOT_ID": walked.boot_id})
    assert again.code == 0 and not walked.pids() and not leaders(walked).keys() - {"mail-agent"}, (again, leaders(walked))
    walked.start_engine()
    wait_until(lambda: set(walked.pids()) == set(DAEMONS), "all run again", 60)
    invariants(walked)
