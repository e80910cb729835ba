"""The fault walk of mail-engine: it dies by kill -9 at each of its crash points, in the step that reaches it, and is started
again.  Then, always: no daemon runs twice, all are ready, the configuration in force is the one that is stored, mailctl's word
was true, and mail is taken.
"""
import os
import signal
import subprocess
import threading

import pytest

from harness import Cluster, Ledger, MailNode, paths, wait_until
from harness.mailnode import DAEMONS

pytestmark = pytest.mark.xdist_group("engine-walk")


def points():
    try:
        return subprocess.run([paths.ENGINE, "--crash-points"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return ["(not built)"]


hours = iter(range(10, 240))


def change(node):
    """A value that was never in force before."""
    node.wanted = f"{next(hours)}h"
    return node.cluster.ctl(f"settings set queue-lifetime={node.wanted}", code=None, timeout=120).code


def refused(node):
    """The checkers are content, the daemon is not: an unknown restriction ends each session."""
    path = node.override("postfix.d/walk.cf", "smtpd_client_restrictions = no_such_restriction\n")
    try:
        return node.cluster.ctl(f"settings set queue-lifetime={next(hours)}h", code=None, timeout=120).code
    finally:
        os.unlink(path)


def says_the_same(node):
    """Other objects, the same texts: nothing is loaded."""
    return node.cluster.ctl(f"node set mx1 description=walk-{next(hours)}", code=None, timeout=120).code


def daemon_dies(node):
    pid = node.pid("redis")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not node.mail_engine.running() or node.pid("redis") not in (None, pid), "redis is back", 30)


def repair(node):
    with open(os.path.join(node.generation(), "postfix/main.cf"), "a") as f:
        f.write("# by hand\n")
    return node.cluster.ctl("node check mx1 --repair", code=None, timeout=60).code


def stop_and_start(node):
    node.cluster.ctl("instance set main running=no", code=None, timeout=120)
    return node.cluster.ctl("instance set main running=yes", code=None, timeout=120).code


STEPS = [("start", lambda node: None), ("change", change), ("the same", says_the_same), ("refused", refused),
         ("a daemon dies", daemon_dies), ("repair", repair), ("stop and start", stop_and_start)]


def die_in(node, do):
    """Does the step beside an engine that dies in it; True: it did, and runs again."""
    said = []
    worker = threading.Thread(target=lambda: said.append(do(node)))
    worker.start()
    died = False
    while worker.is_alive():
        worker.join(0.01)
        if not died and not node.mail_engine.running():
            died = True
            assert node.mail_engine.wait() == -signal.SIGKILL, node.mail_engine.output()
            node.start_engine()
    return died, said[0] if said else None


def one_of_each(node):
    """Sessions of each daemon's program on this node's folder: no more than one leader each."""
    leaders = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            exe = os.readlink(f"/proc/{pid}/exe")
            with open(f"/proc/{pid}/stat") as f:
                session = int(f.read().rsplit(")", 1)[1].split()[3])
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                ours = node.root.encode() in f.read()
        except OSError:
            continue
        if session == int(pid) and ours and exe != os.path.realpath(paths.ENGINE):  # a probe is a fork of it
            leaders.setdefault(exe, []).append(int(pid))
    return {exe: pids for exe, pids in leaders.items() if len(pids) > 1}


def invariants(node, word):
    c = node.cluster
    c.ctl("wait --timeout 60s", timeout=90)
    node.wait_ready(timeout=60)
    assert not one_of_each(node), one_of_each(node)
    stated = c.ctl("settings show -o json").json
    lifetime = str(stated).split("'queue_lifetime': '")[1].split("'")[0] if "queue_lifetime" in str(stated) else "5d"
    seconds = int(lifetime[:-1]) * {"h": 3600, "d": 86400, "m": 60, "s": 1}[lifetime[-1]]
    in_force = subprocess.run(["postconf", "-c", os.path.join(node.generation(), "postfix"), "-h", "maximal_queue_lifetime"],
                              capture_output=True, text=True, check=True).stdout.strip()
    assert int(in_force[:-1]) * {"h": 3600, "d": 86400, "m": 60, "s": 1}[in_force[-1]] == seconds, (in_force, lifetime)
    assert word in (None, 0, 1, 5, 7, 9, 11), word
    ledger = Ledger(node)
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()


@pytest.fixture(scope="module")
def walked():
    with Cluster(nodes=1, node=MailNode) as c:
        from harness import cluster as clusters
        clusters.live.remove(c)
        yield c.mail_site()["mx1"]
        clusters.live.append(c)


@pytest.mark.spec("R02", "R07", "F-166", "F-167")
@pytest.mark.parametrize("point", points())
def test_engine_crash_point(walked, point):
    assert point != "(not built)", "mail-engine --crash-points does not run"
    node, reached = walked, []
    for name, do in STEPS:
        node.kill_engine()
        node.start_engine(crash=point, wait=False)
        wait_until(lambda: not node.mail_engine.running() or os.path.exists(node.engine_socket), "it listens, or died")
        if name == "start":
            wait_until(lambda: not node.mail_engine.running() or node.ready(), "ready, or died", 60)
        if not node.mail_engine.running():
            assert node.mail_engine.wait() == -signal.SIGKILL, node.mail_engine.output()
            reached.append("start")
            node.start_engine()
            invariants(node, None)
            break
        node.wait_ready(timeout=60)
        died, word = die_in(node, do)
        if died:
            reached.append(name)
            invariants(node, word)
            break
    if node.mail_engine.running():
        node.kill_engine()
        node.start_engine()
        node.wait_ready(timeout=60)
    assert reached or second_death(node, point) or first_life(point), f"no step reaches {point}"


def second_death(node, point):
    """Points of taking a switch back after a death in it."""
    node.kill_engine()
    node.start_engine(crash="engine.switch.linked")
    node.wait_ready(timeout=60)
    worker = threading.Thread(target=change, args=[node])
    worker.start()
    wait_until(lambda: not node.mail_engine.running(), "it died in the switch", 60)
    node.start_engine(crash=point, wait=False)
    wait_until(lambda: not node.mail_engine.running() or node.ready(), "ready, or died", 60)
    died = not node.mail_engine.running()
    if died:
        assert node.mail_engine.wait() == -signal.SIGKILL, node.mail_engine.output()
        node.start_engine()
    worker.join()
    invariants(node, None)
    return died


def first_life(point):
    """Points of the very first generation and of the end of a node."""
    with Cluster(nodes=0, node=MailNode) as c:
        node = c.new_node("mx1")
        node.join()
        node.start_engine(crash=point, wait=False)
        wait_until(lambda: not node.mail_engine.running() or os.path.exists(node.engine_socket), "it listens, or died")
        died = not node.mail_engine.running()
        node.start()
        node.wait_online()
        if not died:
            died, _ = die_in(node, lambda n: c.mail_site() and None)
        else:
            c.mail_site()
        if died:
            c.ctl("wait --timeout 60s", timeout=90)
            wait_until(lambda: node.tables.query("SELECT 1 FROM domain WHERE name='example.org'"), "the state is there")
        return died
