"""Backup and restore, each beside restic alone over the same files in one run."""
import json
import os
import shutil
import subprocess
import time

import pytest

from harness.jobs import Jobs, PASSWORD
from harness.wire import body
from test_speed import row

import control_pb2

pytestmark = pytest.mark.spec()
SMALL, LARGE = 1000, 20000


@pytest.fixture(scope="module")
def node(mail_shared):
    return mail_shared["mx1"]


def timed(deed):
    began = time.monotonic()
    deed()
    return 1000 * (time.monotonic() - began)


def fill(node, user, folder, n):
    """Messages as a delivery leaves them, 2 to 32 kB of text that no compression shortens much."""
    base = node.path("var/lib/mailnode/mail", user, "Maildir", "." + folder)
    for part in ("cur", "new", "tmp"):
        os.makedirs(os.path.join(base, part), exist_ok=True)
    for i in range(n):
        octets = os.urandom(1000 + 7919 * i % 15000).hex().encode()
        with open(os.path.join(base, "cur", f"{1700000000 + i}.M{i}P1.bench,S={len(octets)},W={len(octets)}:2,S"), "wb") as f:
            f.write(octets)
    open(os.path.join(base, "maildirfolder"), "w", encoding="ascii").close()
    subprocess.run(["chown", "-R", "vmail:vmail", node.path("var/lib/mailnode/mail", user)], check=True)


class Alone:
    """restic over the same repository form and the same files, with a cache of its own."""

    def __init__(self, node, name="bench-restic"):
        self.node, self.to = node, node.path(name)
        self.env = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": self.to + "-cache", "PATH": "/usr/bin:/bin",
                    "HOME": "/nonexistent", "TMPDIR": "/tmp"}

    def __call__(self, *words, repository=None, cwd="/"):
        done = subprocess.run(["nice", "-n", "10", "restic", "-r", repository or self.to, *words], env=self.env, cwd=cwd,
                              capture_output=True, text=True, errors="replace", timeout=600)
        assert done.returncode == 0, done
        return done.stdout

    def restore(self, folder):
        target = self.to + "-target"
        shutil.rmtree(target, ignore_errors=True)
        base = f"/mail/alice/Maildir/.{folder}"
        return timed(lambda: self("restore", "latest", "--target", target, "--include", base + "/cur", "--include", base + "/new",
                                  repository=self.node.path("var/lib/mailnode/backup/bench/main")))


def vault(node, name):
    jobs = Jobs(node, {name: "local:" + node.path("var/lib/mailnode/backup", name)}, check=0)
    assert "was made" in jobs.run(destination_check={"destination": name, "init": True}).verdict
    return jobs


@pytest.fixture(scope="module")
def bench(node):
    for user, folder, n in (("alice", "Small", SMALL), ("alice", "Large", LARGE), ("bob", "Few", 10)):
        fill(node, user, folder, n)
    jobs = vault(node, "bench")
    done(jobs.run(backup_run={"plan": "nightly"}))
    return jobs


def done(result):
    assert result.state == control_pb2.SUCCEEDED, result
    return result


def links(node):
    """The shadow's own cost: a link to each file of mail, by a program that does nothing else."""
    to = node.path("bench-links")
    os.makedirs(to)
    took = timed(lambda: subprocess.run(["cp", "-al", node.path("var/lib/mailnode/mail"), node.path("var/lib/mailnode/public"), to],
                                        check=True))
    shutil.rmtree(to)
    return took


def ratio(what, pairs, limit):
    """The median of the pairs' ratios: what was slow for one was slow for the other a second later."""
    middle = sorted(pairs, key=lambda p: p[0] / p[1])[len(pairs) // 2]
    row(what, *middle, limit)


def test_backup(node, bench):
    """First runs, and runs in which nothing changed, against restic over the tree that they made, which forgets behind it as
    ours does, and the links of that tree."""
    tree = node.path("var/lib/mailnode/work/tree")
    pairs = []

    def bare(alone):
        alone("backup", "--ignore-ctime", "--json", "--quiet", "mail", "public", "state", cwd=tree)
        alone("forget", "--keep-daily", "7", "--group-by", "host,tags", "--json")
    for i in range(3):
        jobs, alone = vault(node, f"first{i}"), Alone(node, f"bench-restic{i}")
        for part in os.listdir(tree):
            shutil.rmtree(os.path.join(tree, part), ignore_errors=True)
        ours = timed(lambda: done(jobs.run(backup_run={"plan": "nightly"})))
        alone("init")
        pairs.append((ours, links(node) + timed(lambda: bare(alone))))
    ratio("first backup : links, restic backup and forget", pairs, 1.15)
    pairs = [(timed(lambda: done(bench.run(backup_run={"plan": "nightly"}))), timed(lambda: bare(alone))) for _ in range(5)]
    ratio("backup of what did not change : restic backup and forget", pairs, 1.15)


def forget_lists(node):
    """What mail-engine keeps of snapshots: the next look is the first."""
    lists = node.path("var/lib/mailnode/work/lists")
    for name in os.listdir(lists):
        path = os.path.join(lists, name)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


@pytest.mark.parametrize("folder, cold, limit", [("Small", False, 1.3), ("Large", False, 1.15), ("Small", True, 2), ("Large", True, 1.3)])
def test_restore_folder(node, bench, folder, cold, limit):
    alone = Alone(node)

    def ours():
        done(bench.run(restore_folder={"mailbox": "user:alice", "folder": folder, "destination": "bench", "snapshot": "latest",
                                       "replace": True}))

    def pair():
        if cold:
            forget_lists(node)
        return timed(ours), alone.restore(folder)
    pair()
    ratio(f"restore of folder {folder}{', cold' if cold else ''} : restic restore of the same files", [pair() for _ in range(5)], limit)


def test_folder_list(node, bench):
    """Asked by mailctl over controller, agent and mail-engine, of a snapshot that nobody has looked at."""
    alone, repository = Alone(node), node.path("var/lib/mailnode/backup/bench/main")
    fields = [control_pb2.FieldEdit(field="repository", op=control_pb2.SET, value="local:" + node.path("var/lib/mailnode/backup/bench")),
              control_pb2.FieldEdit(field="password", op=control_pb2.SET, secret=PASSWORD.encode())]
    edit = control_pb2.ObjectEdit(verb=control_pb2.ADD, ref=control_pb2.Ref(kind="destination", name="bench"), fields=fields)
    with node.cluster.link() as link:
        assert link.call(body("change", edits=[edit], manner={"wait_ms": 20000}))[-1].HasField("outcome")
    snapshot = json.loads(alone("snapshots", "--json", "latest", repository=repository))[0]["id"]

    def pair():
        forget_lists(node)
        listed = timed(lambda: node.cluster.ctl(f"snapshot folders {snapshot} destination=bench mailbox=user:alice", timeout=60))
        return listed, timed(lambda: alone("dump", snapshot, "/state/mailboxes/user/bob", repository=repository))
    pair()
    ratio("list of folders : one small restic dump", [pair() for _ in range(7)], 1.2)
