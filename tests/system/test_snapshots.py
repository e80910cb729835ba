"""What lies in a repository, asked of mail-engine's own job over its socket: real restic, trees as a backup makes them."""
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import paths
from harness.wire import LocalLink, body, fill, packed
import control_pb2
import desired_pb2

pytestmark = pytest.mark.xdist_group("snapshots")
PASSWORD = "of the repository"


def escaped(name):
    return "".join(chr(c) if 0x20 <= c <= 0x7e and c != 0x5c else f"\\x{c:02x}" for c in os.fsencode(name))


def listed(mailbox):
    """The text of a mailbox's list: {folder on the disk: [sizes]}."""
    lines, n, total = ["mailnode-mailbox 1"], 0, 0
    for folder, sizes in sorted(mailbox.items(), key=lambda item: os.fsencode(item[0])):
        lines.append(f"F\t{escaped(folder)}\t{len(sizes)}\t{sum(sizes)}")
        lines += [f"C\t{size}\t{i:07}.M1P1.h,S={size}:2,S" for i, size in enumerate(sizes)]
        n, total = n + len(sizes), total + sum(sizes)
    return "\n".join(lines + [f"E\t{len(mailbox)}\t{n}\t{total}", ""])


def all_listed(users, public):
    lines, n, total = ["mailnode-manifest 1"], 0, 0
    rows = [("user", name, box) for name, box in sorted(users.items())]
    rows += [("public", name, {name: sizes}) for name, sizes in sorted(public.items())]
    for kind, name, box in rows:
        messages, octets = sum(map(len, box.values())), sum(map(sum, box.values()))
        lines.append(f"{kind}\t{escaped(name)}\t{len(box)}\t{messages}\t{octets}")
        n, total = n + messages, total + octets
    return "\n".join(lines + [f"E\t{len(rows)}\t{n}\t{total}", ""])


class Place:
    """A root with one repository, and what a job is told of it."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="mn-sn-", dir="/tmp"))
        os.chmod(self.root, 0o755)
        uid = pwd.getpwnam("mailbackup")
        for name, mode in [("work", 0o711), ("restic", 0o700), ("restic/cache", 0o700), ("restic/tmp", 0o700), ("backup", 0o700)]:
            path = self.root / "var/lib/mailnode" / name
            path.mkdir(parents=True)
            os.chmod(path, mode)
            if name != "work":
                os.chown(path, uid.pw_uid, uid.pw_gid)
        (self.root / "run/mailnode/engine").mkdir(parents=True)
        self.repository = self.root / "var/lib/mailnode/backup/main"
        self.tree = self.root / "tree"
        self.lists = self.root / "var/lib/mailnode/work/lists"
        self.user = uid
        self.restic("init")

    def restic(self, *arguments):
        env = {"PATH": "/usr/bin:/bin", "RESTIC_PASSWORD": PASSWORD, "RESTIC_REPOSITORY": str(self.repository),
               "RESTIC_CACHE_DIR": str(self.root / "cache-of-the-test")}
        done = subprocess.run(["restic", *arguments], env=env, cwd=self.tree if self.tree.exists() else "/", capture_output=True,
                              text=True, check=True)
        subprocess.run(["chown", "-R", f"{self.user.pw_uid}:{self.user.pw_gid}", self.repository], check=True)
        return done.stdout

    def backup(self, users, public=None, plan="nightly", manifest=None):
        """Gives the snapshot's id."""
        shutil.rmtree(self.tree, ignore_errors=True)
        for kind in ("user", "public"):
            (self.tree / "state/mailboxes" / kind).mkdir(parents=True)
        (self.tree / "state/manifest").write_text(manifest or all_listed(users, public or {}))
        for name, box in users.items():
            (self.tree / "state/mailboxes/user" / name).write_text(listed(box))
        tops = {}
        for name, sizes in (public or {}).items():
            tops.setdefault(name[1:].split(".")[0], {})[name] = sizes
        for top, box in tops.items():
            (self.tree / "state/mailboxes/public" / top).write_text(listed(box))
        self.restic("backup", "--quiet", "--host", "main", "--tag", f"mailnode,plan={plan}", "state")
        return json.loads(self.restic("snapshots", "--json"))[-1]["id"]

    def ask(self, **read):
        rows, failure = self.answers(**read)
        assert not failure, failure
        return rows

    def refused(self, **read):
        return self.answers(**read)[1]

    def answers(self, repository=None, **read):
        """The whole answer, and the failure that ended it."""
        envelope = body("engine_task", read={"instance": "main", "destination": "vault", **read}, secrets=[{"id": 1, "value": PASSWORD.encode()}])
        for name, kind, fields in [("main", "instance", {"hostname": "mail.example.org", "user_domain": "people", "node": "mx1"}),
                                   ("vault", "destination", {"repository": repository or f"local:{self.repository.parent}", "password": 1})]:
            one = desired_pb2.Object(name=name)
            fill(one, kind, fields)
            envelope.engine_task.objects.append(packed(one))
        ours, theirs = socket.socketpair()
        with subprocess.Popen([paths.ENGINE, "job", "--root", self.root], stdin=theirs) as job:
            theirs.close()
            with LocalLink(ours) as link:
                answers = link.call(envelope, timeout=60)
            assert job.wait(10) == 0
        rows, failure = control_pb2.BackupRows(), None
        for said in answers:
            rows.MergeFrom(said.backup_rows)
            failure = said.failure if said.HasField("failure") else None
        return rows, failure

    def close(self):
        shutil.rmtree(self.root)


@pytest.fixture(scope="module")
def place():
    place = Place()
    yield place
    place.close()


@pytest.fixture(scope="module", autouse=True)
def silent(place):
    """A question to a destination that takes the connection and says nothing; it runs beside the other tests."""
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        def ask():
            begun = time.monotonic()
            failure = place.refused(repository=f"rest:http://127.0.0.1:{server.getsockname()[1]}/x", mailbox="user:alice")
            return failure, time.monotonic() - begun
        yield pool.submit(ask)


def names(rows):
    return {folder.name: (folder.messages, folder.bytes) for folder in rows.folders}


@pytest.mark.spec("F-064", "B41")
def test_snapshots_of_a_mailbox(place):
    """Newest first, only those that contain the mailbox, with what is in it; a second question opens no snapshot again."""
    first = place.backup({"alice": {"": [10, 20], ".A": [5]}}, {".Sales": [7], ".Sales.EU": [8]})
    second = place.backup({"bob": {"": [1]}}, plan="weekly")
    third = place.backup({"alice": {"": []}, "bob": {"": [1]}})
    assert not place.lists.exists()
    alice = place.ask(mailbox="user:Alice").snapshots
    assert [s.id for s in alice] == [third, first]
    assert [(s.messages, s.bytes, s.plan) for s in alice] == [(0, 0, "nightly"), (3, 35, "nightly")]
    assert abs(alice[0].time - time.time()) < 600 and alice[0].time >= alice[1].time
    assert {p.parent.name for p in place.lists.glob("*/manifest")} == {first, second, third}
    assert [s.id for s in place.ask(mailbox="user:bob").snapshots] == [third, second]
    assert [(s.id, s.bytes) for s in place.ask(mailbox="public:Sales/EU").snapshots] == [(first, 8)]
    assert not place.ask(mailbox="user:carol").snapshots
    everything = place.ask().snapshots
    assert [(s.id, s.plan, s.messages) for s in everything] == [(third, "nightly", 1), (second, "weekly", 1), (first, "nightly", 5)]

    latest = place.ask(snapshot="latest", mailbox="user:bob")
    assert latest.snapshot == third and names(latest) == {"INBOX": (1, 1)}
    assert place.ask(snapshot=first[:9], mailbox="user:alice").snapshot == first
    gone = place.refused(snapshot="latest", mailbox="user:carol")
    assert gone.code == control_pb2.NOT_FOUND and gone.what == f"mailbox user:carol is not in snapshot {third[:12]}"
    assert gone.hint == "mailctl snapshot list destination=vault mailbox=user:carol"
    assert place.refused(snapshot="0" * 64, mailbox="user:bob").code == control_pb2.NOT_FOUND
    assert place.refused(snapshot="nonsense", mailbox="user:bob").code == control_pb2.INVALID
    assert place.refused(mailbox="bob").what == "mailbox 'bob' is none"
    assert "which mailbox" in place.refused(snapshot="latest").what


@pytest.mark.spec("F-065", "B28")
def test_folders_by_any_part_of_their_name(place):
    """Ten thousand within a second; hostile names are there, as people read them, and a filter is no pattern."""
    longest = "." + "n" * 254
    hostile = {"": [3], ".R&-D": [1], ".&AOQ-rger": [2], ".a&b": [], ".*": [4], ".100%": [5], ".tab\there": [6], ".new\nline": [],
               "." + ".".join(["d"] * 100): [7], longest: [8], os.fsdecode(b".\xff\xfe"): [9], ".INBOX.below": [1], ".~.-rf": [1, 1]}
    many = {f".Folder {i:05}": [1] * (i % 3) for i in range(10000)}
    snapshot = place.backup({"odd": hostile, "many": many}, {".Sales": [1], ".Sales.Leads": [2, 3], ".Sales2": [4]})

    odd = names(place.ask(snapshot=snapshot, mailbox="user:odd"))
    assert odd == {"INBOX": (1, 3), "R&D": (1, 1), "ärger": (1, 2), "a&b": (0, 0), "*": (1, 4), "100%": (1, 5), "tab\there": (1, 6),
                   "new\nline": (0, 0), "/".join(["d"] * 100): (1, 7), longest[1:]: (1, 8), "\\xff\\xfe": (1, 9), "INBOX/below": (1, 1),
                   "~/-rf": (2, 2)}
    for wanted, found in [("ÄRG", {"ärger"}), ("*", {"*"}), ("%", {"100%"}), ("inbox", {"INBOX", "INBOX/below"}), ("/d/", {"/".join(["d"] * 100)}),
                          ("no such", set())]:
        assert set(names(place.ask(snapshot=snapshot, mailbox="user:odd", filter=wanted))) == found, wanted
    assert names(place.ask(snapshot=snapshot, mailbox="public:Sales")) == {"INBOX": (1, 1), "Leads": (2, 5)}

    assert len(place.ask(snapshot=snapshot, mailbox="user:many").folders) == 10000
    begun = time.monotonic()
    found = place.ask(snapshot=snapshot, mailbox="user:many", filter="FOLDER 0123")
    took = time.monotonic() - begun
    assert set(names(found)) == {f"Folder 0123{i}" for i in range(10)} and found.snapshot == snapshot
    assert took < 1, f"{took:.2f} s"


@pytest.mark.spec("B40", "S43", "S45")
def test_lists_of_an_attacker(place):
    """What does not add up or leads elsewhere is refused by line, keeps nothing, and hides no other snapshot."""
    good = place.backup({"eve": {"": [1]}})
    place.backup({"eve": {"": [1]}}, manifest="mailnode-manifest 1\nuser\t../../root\t1\t1\t1\nE\t1\t1\t1\n")
    latest = place.ask(snapshot="latest", mailbox="user:eve").snapshot
    others, refused = place.answers(mailbox="user:eve")
    assert refused.code == control_pb2.DAMAGED and refused.what == f"snapshot {latest[:12]}: manifest: line 2: no such name"
    assert [s.id for s in others.snapshots] == [good]
    assert not (place.lists / latest / "manifest").exists()
    place.restic("forget", latest)

    (place.lists / good / "manifest").write_text("mailnode-manifest 1\n")  # what is kept is not believed either
    assert [s.id for s in place.ask(mailbox="user:eve").snapshots] == [good]


@pytest.mark.spec("F-063")
def test_a_destination_that_does_not_answer(place, silent):
    """Silent, or refused at once: the cause is said within 30 s, and the other destination answers meanwhile."""
    place.backup({"alice": {"": [1]}})
    assert place.ask(mailbox="user:alice").snapshots
    failure, took = silent.result()
    assert failure.code == control_pb2.UNAVAILABLE and failure.what.startswith("vault: "), failure
    assert 5 < took < 31, took
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    begun = time.monotonic()
    failure = place.refused(repository=f"rest:http://127.0.0.1:{port}/x", mailbox="user:alice")
    assert failure.code == control_pb2.UNAVAILABLE and "connection refused" in failure.what, failure
    assert time.monotonic() - begun < 30
