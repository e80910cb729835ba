"""Section 7: all mail of an instance back onto a node that has none (F-060)."""
import os
import re
import shutil
import subprocess

import pytest

from harness import paths, wait_until
from harness.backup import PASSWORD, Vault, fetching
from harness.jobs import Jobs
from harness.wire import VERSION, body
import control_pb2

MORE = 1000000


def quoted(name):
    return f'"{name}"'


def put(imap, name, subject, flags=""):
    if name != "INBOX":
        imap.link.create(quoted(name))
    text = f"Subject: {subject}\r\nMessage-ID: <{subject}@test>\r\n\r\nText of {subject}.\r\n".encode()
    kind, words = imap.link.append(quoted(name), flags, None, text)
    assert kind == "OK", (name, words)


def standing(imap, name):
    """(UIDVALIDITY, next UID, {UID: (flags, subject)})"""
    said = imap.link.status(quoted(name), "(UIDVALIDITY UIDNEXT)")[1][0].decode()
    validity, following = (int(re.search(rf"{w} (\d+)", said).group(1)) for w in ("UIDVALIDITY", "UIDNEXT"))
    imap.link.select(quoted(name), readonly=True)
    found = {}
    for part in imap.link.fetch("1:*", "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]:
        if isinstance(part, tuple):
            head = part[0].decode()
            flags = set(re.search(r"FLAGS \(([^)]*)\)", head).group(1).split()) - {"\\Recent"}
            found[int(re.search(r"UID (\d+)", head).group(1))] = (frozenset(flags), part[1].strip())
    return validity, following, found


FOLDERS = ("INBOX", "Projects", "Projects/2026", "Public/Sales")


def stated(c, vault):
    fields = [control_pb2.FieldEdit(field="repository", op=control_pb2.SET, value=vault.address),
              control_pb2.FieldEdit(field="password", op=control_pb2.SET, secret=PASSWORD.encode())]
    edits = [control_pb2.ObjectEdit(verb=control_pb2.ADD, ref=control_pb2.Ref(kind="destination", name="vault"), fields=fields)]
    with c.link() as link:
        said = link.call(body("change", edits=edits))
    assert said[-1].WhichOneof("body") == "outcome", said


@pytest.fixture
def lost(mail):
    """A node whose mail is gone with its disk, and the vault that still has it; what was there."""
    node, c = mail, mail.cluster
    vault = Vault(node)
    stated(c, vault)
    c.ctl("public-mailbox add Sales acl=user:alice:full", timeout=90)
    with node.imap("alice") as imap:
        for name in FOLDERS:
            put(imap, name, "one of " + name.replace("/", "-"), r"(\Seen $Label1 custom)")
            put(imap, name, "gone of " + name.replace("/", "-"))
            put(imap, name, "three of " + name.replace("/", "-"), r"(\Flagged)")
            imap.link.select(quoted(name))
            imap.link.store("2", "+FLAGS", r"(\Deleted)")
            imap.link.expunge()
    with node.imap("alice") as imap:
        was = {name: standing(imap, name) for name in FOLDERS}
    vault.snapshot()
    with node.imap("alice") as imap:
        put(imap, "INBOX", "too late")        # its UID was given, and the backup does not know it
        late = standing(imap, "INBOX")
    c.ctl("instance stop main", timeout=90)
    for place in ("mail", "public"):
        for entry in os.scandir(node.path("var/lib/mailnode", place)):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
    return vault, was, late


def restore(node, code=0, more=(), **env):
    return node.cluster.ctl(["restore", "instance", "main", "destination=vault", "snapshot=latest", *more], code=code, timeout=120)


def dies(vault):
    """kill -9 at each step: the next try begins anew, and takes what the last one has put in place for its own."""
    points = [p for p in subprocess.run([paths.ENGINE, "--crash-points"], capture_output=True, text=True, check=True).stdout.split()
              if p.startswith("restore.instance.")]
    assert len(points) == 5
    jobs = Jobs(vault.node, {"vault": {"repository": vault.address, "secrets": {"password": PASSWORD}}})
    jobs.objects[0].instance.running = False
    for point in points:
        job = jobs.start(crash=point, restore_instance={"destination": "vault", "snapshot": "latest"})
        assert job.process.wait(60) == -9, (point, job.result())
        job.close()


def is_cancelled(vault):
    """While restic works: nothing of it is left, the verdict says so, and the way is free for the next one."""
    node = vault.node
    jobs = Jobs(node, {"vault": {"repository": vault.address, "secrets": {"password": PASSWORD}}})
    jobs.objects[0].instance.running = False
    job = jobs.start(restore_instance={"destination": "vault", "snapshot": "latest"})
    try:
        wait_until(lambda: fetching(node), "its restic works", 30)
        job.say(control_pb2.Envelope(version=VERSION, id=3, task_cancel={"task_id": "T" * 26}))
        said = job.result()
        assert said.state == control_pb2.CANCELLED and not said.verdict, said
    finally:
        job.close()
    assert not fetching(node)
    assert os.listdir(node.path("var/lib/mailnode/work/restore")) in ([], [".gate"])
    assert not os.listdir(os.path.join(vault.folder, "locks")), "its lock is gone"
    for place in ("mail", "public"):
        assert os.listdir(node.path("var/lib/mailnode", place)) == [], "nothing half-done stands in place"


@pytest.mark.spec("F-060")
def test_all_mail_comes_back_with_its_numbers(lost):
    """Every message with UID, UIDVALIDITY, flags and keywords; no UID is given twice; nothing goes over mail that is there."""
    vault, was, late = lost
    node, c = vault.node, vault.node.cluster
    is_cancelled(vault)
    dies(vault)
    said = restore(node)
    assert "8 messages" in said.out and "raised" in said.out, said
    assert os.listdir(node.path("var/lib/mailnode/work/restore")) in ([], [".gate"])
    for name in ("mail/alice/Maildir", "mail/alice/Maildir/.Projects", "public/.Sales"):
        with open(node.path("var/lib/mailnode", name, "dovecot-uidlist")) as f:
            assert f" N{MORE + 4} " in f.readline(), (name, said.out)
    again = restore(node, code=6)
    assert "mail is there already" in again.err, again
    c.ctl("instance start main", timeout=120)
    node.wait_ready()
    with node.imap("alice") as imap:
        for name in FOLDERS:
            validity, following, found = standing(imap, name)
            assert (validity, found) == (was[name][0], was[name][2]), name
            assert following == was[name][1] + MORE, name
        put(imap, "INBOX", "new")
        numbers = set(standing(imap, "INBOX")[2]) - set(was["INBOX"][2])
        assert numbers and not numbers & set(late[2]), "a number that was given is not given again"
    running = restore(node, code=6)
    assert "not stopped" in running.err, running


def directory(node):
    """As slapcat shows it: who is there, with numbers, hashes, times."""
    conf = node.path("var/lib/mailnode/engine/current/slapd/slapd.conf")
    return subprocess.run(["setpriv", "--reuid=openldap", "--regid=openldap", "--clear-groups", "slapcat", "-f", conf, "-b",
                           "dc=people-mx1,dc=mailnode"], stdout=subprocess.PIPE, text=True, check=True, timeout=30).stdout


def redis(node, *words):
    return subprocess.run(["redis-cli", "-s", node.path("run/mailnode/redis/redis.sock"), *words], capture_output=True, text=True,
                          check=True, timeout=30).stdout.strip()


HOSTILE = [  # a file of the state in a backup, what is in it, and why nothing of it is taken
    ("directory-people-mx1.ldif", b"include: file:///etc/ldap/schema/core.ldif\n", "line 1: no entry that begins with its dn"),
    ("directory-people-mx1.ldif", b"dn: dc=people-mx1,dc=mailnode\njpegPhoto:< file:///etc/shadow\n", "line 2: a value that is not in the file"),
    ("redis.rdb", b"REDIS0009" + b"\xff" * 100, "Redis: redis-check-rdb"),
]


@pytest.mark.spec("F-060", "B40")
def test_databases_that_are_none_cost_nothing(mail_own):
    """Refused before anything is touched: no mail, no directory, no Redis."""
    node, c = mail_own, mail_own.cluster
    vault = Vault(node)
    stated(c, vault)
    with node.imap("alice") as imap:
        put(imap, "INBOX", "kept")
    c.ctl("instance stop main", timeout=90)
    kept = {place: sorted(os.listdir(node.path("var/lib/mailnode", place))) for place in ("redis", "slapd")}
    whole = directory(node)
    for name, octets, words in HOSTILE:
        def spoil(vault):
            with open(os.path.join(vault.tree, "state", name), "wb") as f:
                f.write(octets)
        vault.snapshot(spoil)
        away = node.path("away")
        os.rename(node.path("var/lib/mailnode/mail/alice"), away)
        refused = restore(node, code=None)
        assert refused.code not in (0, 7) and words in refused.err + refused.out, refused
        assert directory(node) == whole
        assert {p: sorted(os.listdir(node.path("var/lib/mailnode", p))) for p in kept} == kept
        assert os.listdir(node.path("var/lib/mailnode/mail")) == []
        assert os.listdir(node.path("var/lib/mailnode/work/restore")) in ([], [".gate"])
        os.rename(away, node.path("var/lib/mailnode/mail/alice"))


def dkim(node):
    """{file: octets} of the keys that Rspamd signs with."""
    folder = node.path("var/lib/mailnode/tables/dkim")
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f:
            found[name] = f.read()
    return found


def lose_disk(node):
    """All that the daemons kept; mail-engine begins anew, with empty databases."""
    node.stop()
    node.kill_engine()
    assert node.halt().code == 0
    for place in ("mail", "public", "slapd", "redis"):
        for entry in os.scandir(node.path("var/lib/mailnode", place)):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
    node.start(wait=True)
    node.wait_ready("slapd")


def seen(node, name, folder):
    with node.imap(name) as imap:
        return {subject.split()[-1] for flags, subject in standing(imap, folder)[2].values() if "\\Seen" in flags}


@pytest.mark.spec("F-060", "B39", "F-141")
def test_everybody_comes_back_with_the_mail(mail_own):
    """The directory as it was, passwords, numbers and times; what the filter had learned; nothing over people that are there."""
    node, c = mail_own, mail_own.cluster
    node.add_user("gone")
    c.ctl("user remove gone --yes")   # what is known of the last change is not of an entry that is there
    c.ctl("group add sales members=alice,bob", code=None)
    assert redis(node, "SET", "of the test", "learned") == "OK"
    stated(c, Vault(node))
    c.ctl("destination check vault --init")
    c.ctl("plan add nightly destinations=vault schedule='daily 02:30'")
    with node.imap("alice") as imap:
        put(imap, "INBOX", "kept")
    c.ctl("settings set shared-seen=no", timeout=90)   # marks of their own
    c.ctl("public-mailbox add Board acl=user:alice:full,user:bob:read", timeout=90)
    with node.imap("alice") as imap:
        for subject in ("first", "second"):
            put(imap, "Public/Board", subject)
    with node.imap("bob") as imap:
        imap.link.select(quoted("Public/Board"))
        assert imap.link.store("1", "+FLAGS", r"(\Seen)")[0] == "OK"
    c.ctl("backup run nightly", timeout=90)
    was = directory(node)
    assert "uid=alice,ou=People" in was and "{ARGON2}" in subprocess.run(
        ["base64", "-d"], input="".join(re.findall(r"^userPassword:: (.*(?:\n .*)*)", was, re.M)[0].split()).encode(),
        capture_output=True, check=True).stdout.decode()
    c.ctl("instance stop main", timeout=90)
    lose_disk(node)
    assert "uid=alice" not in directory(node)

    c.ctl("instance set main hostname=other.example.org")
    refused = restore(node, code=6)
    assert "of another instance: hostname mx1.example.org, not other.example.org" in refused.err and "--adopt" in refused.err, refused
    said = restore(node, more=["--adopt"])
    assert f"directory of people-mx1 with {was.count(chr(10) + 'dn:') + 1} entries" in said.out, said
    assert "what the filter had learned" in said.out, said
    assert directory(node) == was
    wait_until(lambda: "slapd: exit status 0, as asked" in c.ctl("events -o json").out, "slapd was started anew")
    c.ctl("instance start main", timeout=120)
    node.wait_ready()
    assert redis(node, "GET", "of the test") == "learned"
    for name in ("alice", "bob"):
        node.wait_user(name)
    with node.imap("alice") as imap:
        assert [subject for _, subject in standing(imap, "INBOX")[2].values()] == [b"Subject: kept"]
    assert seen(node, "bob", "Public/Board") == {b"first"} and seen(node, "alice", "Public/Board") == set(), "each has his own marks"
    assert directory(node) == was, "nobody wrote to it since"

    # People are there: nothing goes over them.
    c.ctl("instance stop main", timeout=90)
    for place in ("mail", "public"):
        shutil.rmtree(node.path("var/lib/mailnode", place, "alice" if place == "mail" else ".Board"))
    node.add_user("new")
    has_new = directory(node)
    said = restore(node, more=["--adopt"])
    assert "not the directory of people-mx1, which has people here" in said.out and directory(node) == has_new, said


def lose_everything(node):
    """Both machines are gone; what a test said about the daemons stays."""
    c = node.cluster
    node.stop()
    node.kill_engine()
    assert node.halt().code == 0
    c.kill()
    shutil.rmtree(c.root)
    os.makedirs(c.root)
    for place in ("var", "run", "etc/mailnode/node"):
        shutil.rmtree(node.path(place), ignore_errors=True)


@pytest.mark.spec("F-060", "F-036", "F-185", "B39")
def test_from_the_destination_and_its_sheet_alone(mail_own, tmp_path):
    """Controller and node on empty machines: equal export, equal LDIF, every message with its UID; the keys that signed sign."""
    node, c = mail_own, mail_own.cluster
    stated(c, Vault(node))
    c.ctl("destination check vault --init")
    c.ctl("plan add nightly destinations=vault schedule='daily 02:30'")
    c.ctl("relay add default host=smart.example.net user=us password=-", stdin="relay-secret-42")
    c.ctl("domain add example.net", timeout=90)
    c.ctl("dkim disable example.net", timeout=90)
    with node.imap("alice") as imap:
        for name in ("INBOX", "Projects"):
            put(imap, name, "one", r"(\Seen $Label1)")
            put(imap, name, "two")
        was = {name: standing(imap, name) for name in ("INBOX", "Projects")}
    c.ctl("backup run nightly", timeout=90)
    sheet = c.ctl("destination recovery-sheet vault --yes").out
    exported, people, keys = c.export(), directory(node), dkim(node)
    assert keys
    shutil.copytree(node.path("var/lib/mailnode/backup"), tmp_path / "vault")
    lose_everything(node)

    # The destination is still there, and the sheet.
    os.makedirs(node.path("var/lib/mailnode"))
    shutil.move(tmp_path / "vault", node.path("var/lib/mailnode/backup"))
    subprocess.run(["chown", "-R", "mailbackup:mailbackup", node.path("var/lib/mailnode/backup")], check=True)
    done = subprocess.run(["sh", "-e"], input=sheet + "\nrestic dump latest /state/controller > controller.sealed\n", text=True,
                          capture_output=True, cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, timeout=60)
    assert done.returncode == 0, done
    subprocess.run(["chown", "-R", "mailbackup:mailbackup", node.path("var/lib/mailnode/backup")], check=True)
    c.ctl(f"controller restore {tmp_path}/controller.sealed password=@{tmp_path}/vault.controller_key")
    c.start()
    node.join(c.ctl("node replace mx1 --yes").out)
    node.start(wait=True)
    node.wait_ready(timeout=60)
    assert "uid=alice" not in directory(node)
    c.ctl("instance stop main", timeout=90)
    said = restore(node)
    assert "4 messages" in said.out and "directory of people-mx1" in said.out, said
    c.ctl("instance start main", timeout=120)
    node.wait_ready(timeout=60)
    node.wait_user("alice")
    assert directory(node) == people
    assert c.export() == exported
    assert dkim(node) == keys
    with node.imap("alice") as imap:
        for name, (validity, _, found) in was.items():
            assert standing(imap, name)[::2] == (validity, found), name
