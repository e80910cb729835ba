"""Ratios of the engine, each beside its floor in one run (see test_speed.py)."""
import os
import pwd
import signal
import socket
import statistics
import subprocess
import time

import pytest

from harness import Cluster, MailNode, wait_until
from harness.mail import Smtp
from harness.program import environment, session_pids
from test_speed import row, under

pytestmark = pytest.mark.spec()
ROUNDS = 7


@pytest.fixture(scope="module")
def node():
    with Cluster(nodes=1, node=MailNode) as c:
        yield c.mail_site()["mx1"]


def timed(deed):
    began = time.monotonic()
    deed()
    return 1000 * (time.monotonic() - began)


def run(*argv, user=None):
    more = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": os.getgrouplist(user, pwd.getpwnam(user).pw_gid)} if user else {}
    subprocess.run([str(a) for a in argv], check=True, capture_output=True, env=environment(), **more)


def test_setting_in_force(node):
    """mailctl settings set against Postfix's own checkers, its reload, and a dialogue with what came of it."""
    hours = iter(range(20, 200))

    def ours():
        node.cluster.ctl(f"settings set queue-lifetime={next(hours)}h", timeout=90)

    def floor():
        folder = os.path.join(node.generation(), "postfix")
        run("/usr/sbin/postconf", "-c", folder, "-n")
        run("/usr/sbin/postconf", "-c", folder, "-M")
        for name in sorted(os.listdir(node.tables.folder + "/maps")):
            subprocess.run(["/usr/sbin/postmap", "-c", folder, "-q", "probe", f"sqlite:{node.tables.folder}/maps/{name}"],
                           capture_output=True, env=environment())
        os.kill(node.pid("postfix"), signal.SIGHUP)
        for port in (25, 587, 465):
            with Smtp(node.address, port, tls=port == 465) as smtp:
                assert smtp.banner.startswith("220")
                if port == 25:
                    smtp.rcpt("alice@example.org")
    ours(), floor()
    pairs = [(timed(ours), timed(floor)) for _ in range(ROUNDS)]
    row("settings set in force : checkers, reload and dialogue", statistics.median(p[0] for p in pairs),
        statistics.median(p[1] for p in pairs), 1.5)


def test_size(node):
    under("mail-engine", node.mail_engine.rss_kb(), 10)


def rspamd_alone(node):
    """The slowest daemon's own start, to its first right answer."""
    argv = open(f"/proc/{node.pid('rspamd')}/cmdline", "rb").read().split(b"\0")[:-1]
    exe = os.readlink(f"/proc/{node.pid('rspamd')}/exe")
    folder = node.path("run/mailnode/rspamd/controller.sock")

    def start():
        process = subprocess.Popen([exe, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            def answers():
                with socket.socket(socket.AF_UNIX) as s:
                    try:
                        s.connect(folder)
                        s.sendall(b"GET /ping HTTP/1.0\r\n\r\n")
                        return b"200" in s.recv(512)
                    except OSError:
                        return False
            wait_until(answers, "Rspamd answers", every=0.01)
        finally:
            node.alone = process
    return start


def test_start_of_a_node(node):
    """All daemons from stopped to ready against the slowest alone."""
    ours, floor = [], []
    slowest = rspamd_alone(node)
    for _ in range(3):
        node.kill_engine()
        assert node.halt().code == 0

        def all_ready():
            node.start_engine(wait=False)
            wait_until(lambda: "all daemons are ready" in node.mail_engine.output(), "all ready", every=0.005)
        ours.append(timed(all_ready))
        node.kill_engine()
        assert node.halt().code == 0
        floor.append(timed(slowest))
        for pid in session_pids(node.alone.pid):
            os.kill(pid, signal.SIGTERM)
        node.alone.wait(20)
        node.start_engine()
        node.wait_ready()
    row("node from stopped to ready : Rspamd alone", statistics.median(ours), statistics.median(floor), 1.3)


def test_start_of_a_cluster():
    """A cluster of the tests with all daemons, from nothing: an absolute figure that the tests live by."""
    began = time.monotonic()
    with Cluster(nodes=1, node=MailNode) as c:
        c.mail_site()
        took = 1000 * (time.monotonic() - began)
    row("cluster with all daemons, from nothing : 4 s", took, 4000, 1.0)
