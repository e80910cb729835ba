"""Ratios of the engine, each beside its floor in one run (see test_speed.py)."""
import os
import re
import signal
import socket
import statistics
import subprocess
import time

import pytest

from harness import Cluster, MailNode, wait_until
from harness.mail import Smtp
from harness.mailnode import DAEMONS
from harness.program import environment, session_pids
from test_speed import row, under

pytestmark = pytest.mark.spec()
ROUNDS = 7


@pytest.fixture(scope="module")
def node(mail_shared):
    return mail_shared["mx1"]


def timed(deed):
    began = time.monotonic()
    deed()
    return 1000 * (time.monotonic() - began)


def beside(*lines):
    """As mail-engine runs the checkers of one daemon: side by side."""
    for process in [subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()) for line in lines]:
        process.wait()


def test_setting_in_force(node):
    """mailctl settings set against Postfix's own checkers, its reload, and a dialogue with what came of it."""
    hours = iter(range(20, 200))

    def ours():
        node.cluster.ctl(f"settings set queue-lifetime={next(hours)}h", timeout=90)

    def floor():
        folder, maps = os.path.join(node.generation(), "postfix"), node.tables.folder + "/maps/"
        names = [n.removesuffix(".cf") for n in sorted(os.listdir(maps)) if n.endswith(".cf")]
        alone = [n for n in names if n in ("gate", "login")]
        beside(["/usr/sbin/postconf", "-c", folder, "-n"], ["/usr/sbin/postconf", "-c", folder, "-M"],
               *(["/usr/sbin/postmap", "-c", folder, "-q", "probe@probe.invalid", *(f"sqlite:{maps}{n}.cf" for n in some)]
                 for some in ([n for n in names if n not in alone], *([n] for n in alone))))
        os.kill(node.pid("postfix"), signal.SIGHUP)
        time.sleep(0.03)   # as long as it takes to tell a new process from an old one by its start time
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
    current = node.path("var/lib/mailnode/engine/current/rspamd")   # /proc has only the title that it gives itself
    argv = ["/usr/bin/rspamd", "-f", "-u", "_rspamd", "-g", "_rspamd", "-c", current + "/rspamd.conf", "--var=CONFDIR=/etc/rspamd",
            f"--var=LOCAL_CONFDIR={current}", f"--var=DBDIR={current}", "--var=RUNDIR=" + node.path("run/mailnode/rspamd"),
            "--var=LOGDIR=" + node.path("var/log/mailnode")]
    folder = node.path("run/mailnode/rspamd/controller.sock")

    def start():
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
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
            wait_until(answers, "Rspamd answers", 60, every=0.005)
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
            ready = re.compile(r"daemon ready.*?\b(%s)\b" % "|".join(DAEMONS))
            wait_until(lambda: set(ready.findall(node.mail_engine.output())) == set(DAEMONS), node.mail_engine.output, 60, every=0.005)
        ours.append(timed(all_ready))
        node.kill_engine()
        assert node.halt().code == 0
        floor.append(timed(slowest))
        for pid in session_pids(node.alone.pid):
            os.kill(pid, signal.SIGKILL)   # a master that is asked to end as it begins may wait for ever
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
