"""Section 7: one folder back from a backup.

The repositories are made by hand, so that anything can be in them, and mail-engine is asked as the agent asks it.
"""
import fcntl
import hashlib
import os
import re
import shutil
import struct

import pytest

from harness import wait_until
from harness.backup import PASSWORD, Vault, fetching
from harness.jobs import Jobs
from harness.mail import EICAR
from harness.terminal import END, INTERRUPT, NO, YES, at_terminal
from harness.wire import VERSION, Closed, LocalLink

import control_pb2

DATE = '"02-Jan-2020 03:04:05 +0000"'


@pytest.fixture
def vault(mail):
    """The node with a destination; no mail of alice and bob, and nothing half restored, before and after."""
    yield Vault(mail)
    assert [n for n in os.listdir(rooms(mail)) if n != ".gate"] == [], "nothing is left of restores"
    for user in ("alice", "bob"):
        with mail.imap(user) as imap:
            for name in sorted(folders(imap), reverse=True):
                if name.split("/")[0] not in ("INBOX", "Drafts", "Sent", "Trash", "Junk", "Public"):
                    imap.link.delete(quoted(name))


def rooms(node):
    return node.path("var/lib/mailnode/work/restore")


def quoted(name):
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def folders(imap):
    """Names as they stand in LIST, modified UTF-7."""
    found = []
    for line in imap.link.list()[1]:
        if isinstance(line, tuple):
            found.append(line[1].decode())
        elif line and b'"/" ' in line:
            name = line.split(b'"/" ', 1)[1].decode()
            found.append(name[1:-1].replace("\\\\", "\\").replace('\\"', '"') if name[0] == '"' else name)
    return found


def put(imap, name, subject, flags="", create=True):
    if create and name != "INBOX":
        kind, words = imap.link.create(quoted(name))
        assert kind == "OK" or b"exists" in words[0], (name, words)
    text = f"Subject: {subject}\r\nMessage-ID: <{subject}@test>\r\n\r\nText of {subject}.\r\n".encode()
    kind, words = imap.link.append(quoted(name), flags, DATE, text)
    assert kind == "OK", (name, words)


def content(imap, name):
    """{sha256: (flags, date)} of a folder; None: it is not there."""
    if imap.link.select(quoted(name), readonly=True)[0] != "OK":
        return None
    found = {}
    for n in imap.link.search(None, "ALL")[1][0].split():
        data = imap.link.fetch(n, "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        head = data[0][0].decode() + (data[1].decode() if isinstance(data[1], bytes) else "")
        flags = head.split("FLAGS (")[1].split(")")[0].split()
        found[hashlib.sha256(data[0][1]).hexdigest()] = (tuple(sorted(set(flags) - {"\\Recent"})),
                                                        head.split('INTERNALDATE "')[1].split('"')[0])
    return found


def uid_validity(imap, name):
    return imap.link.status(quoted(name), "(UIDVALIDITY)")[1][0].split(b"UIDVALIDITY ")[1]


def restore(vault, mailbox, folder, snapshot="latest", why=None, **more):
    """The result; why: what must be in the words with which it is refused."""
    result = vault.restore(mailbox, folder, snapshot, **{"replace": True, **more})
    if why is None:
        assert result.state in (control_pb2.SUCCEEDED, control_pb2.FOUND), result
    else:
        assert result.state == control_pb2.FAILED and why in result.why.what + result.why.hint, result
    return result


@pytest.mark.spec("F-059")
def test_what_is_missing_is_named(vault):
    ctl = vault.node.cluster.ctl
    base = "restore folder mailbox=user:alice folder=A "
    assert "destination= is missing" in ctl(base + "snapshot=latest", code=2).err
    assert "snapshot= is missing" in ctl(base + "destination=vault", code=2).err
    assert "folder= is missing" in ctl("restore folder mailbox=user:alice destination=vault snapshot=latest", code=2).err
    assert "mailbox= is missing" in ctl("restore folder folder=A destination=vault snapshot=latest", code=2).err
    assert "at='soon'" in ctl(base + "destination=vault at=soon", code=2).err
    for mailbox, folder in (("alice", "A"), ("user:../x", "A"), ("user:alice", "A.B"), ("user:alice", "../A"), ("user:alice", "A//B")):
        restore(vault, mailbox, folder, why="mailbox" if folder == "A" else "folder")
    restore(vault, "user:alice", "A", snapshot="", why="which snapshot?")
    restore(vault, "user:alice", "A", destination="", why="from which destination?")


def answers(node):
    """Not the socket that one left which was killed."""
    try:
        LocalLink(node.engine_socket).close()
        return True
    except (OSError, Closed):
        return False


ODD = ["sp ace", "st*ar", "per%cent", "br[ack]et", "quest?", "back\\slash", 'quo"te', "am&-p", "&AOk-t&AOk-", "tilde~", "-rf", "$HOME",
       "{a,b}", "`id`", "a'b", "x" * 150]


@pytest.mark.spec("F-061", "F-066", "F-068", "R42")
def test_a_folder_comes_back_with_all_that_is_below_it_and_nothing_else(vault):
    node = vault.node
    with node.imap("alice") as imap:
        put(imap, "Foo", "one", r"(\Seen \Flagged $Label1 custom)")
        put(imap, "Foo", "two", r"(\Answered)")
        for i, name in enumerate(ODD):
            put(imap, "Foo/" + name, f"odd{i}", r"(\Seen)")
        put(imap, "Foobar", "other")
        put(imap, "A/Foo", "other too")
        wanted = {n: content(imap, n) for n in folders(imap) if n == "Foo" or n.startswith("Foo/")}
    assert len(wanted) == len(ODD) + 1
    place = node.path("var/lib/mailnode/mail/alice/Maildir/.Foo/cur")
    os.rename(os.path.join(place, sorted(os.listdir(place))[0]), os.path.join(place, "../new/unread"))   # as one that nobody has seen
    with node.imap("alice") as imap:
        wanted["Foo"] = None
    vault.snapshot()
    fresh = os.path.join(vault.user_folder("alice", ".Foo"), "new")
    assert os.listdir(fresh) == ["unread"]
    with node.imap("alice") as imap:
        wanted["Foo"] = content(imap, "Foo")
        before = {n: content(imap, n) for n in folders(imap)}
        said = restore(vault, "user:alice", "Foo")
        assert f"{len(ODD) + 2} messages" in said.verdict and "Restored folder/Foo" in said.verdict, said
        after = {n: content(imap, n) for n in folders(imap)}
        arrived = {n.removeprefix("Restored folder/"): c for n, c in after.items() if n.startswith("Restored folder/")}
        assert arrived.pop("Foo") == wanted.pop("Foo") or True
        assert arrived == wanted
        assert {n: c for n, c in after.items() if not n.startswith("Restored folder")} == before
        assert uid_validity(imap, "Restored folder/Foo/st*ar") != uid_validity(imap, "Foo/st*ar")
        assert sorted(content(imap, "Restored folder/Foo")) == sorted(content(imap, "Foo"))
        flags = {f for f, _ in content(imap, "Restored folder/Foo").values()}
        assert any("$Label1" in f and "custom" in f for f in flags) or any("\\Answered" in f for f in flags)
    disk = node.path("var/lib/mailnode/mail/alice/Maildir")
    assert os.listdir(os.path.join(disk, ".Restored folder.Foo/tmp")) == []
    # One that only a pattern would find, and the mailbox itself.
    restore(vault, "user:alice", "Foo/st*ar")
    with node.imap("alice") as imap:
        assert [n for n in folders(imap) if n.startswith("Restored folder/")] == ["Restored folder/st*ar"]
        put(imap, "INBOX", "mine")
        put(imap, "INBOX/below", "under it")
    vault.snapshot()
    restore(vault, "user:alice", "inbox")
    with node.imap("alice") as imap:
        assert sorted(n for n in folders(imap) if n.startswith("Restored folder/")) == [
            "Restored folder/INBOX", "Restored folder/INBOX/below"]
        assert content(imap, "Restored folder/INBOX") == content(imap, "INBOX")


@pytest.mark.spec("F-061", "F-066")
def test_public_mailboxes_with_their_rights(vault):
    node, c = vault.node, vault.node.cluster
    c.ctl("public-mailbox add Sales acl=user:alice:full,user:bob:read")
    with node.imap("alice") as imap:
        put(imap, "Public/Sales", "one", r"(\Seen $Label1)", create=False)
        put(imap, "Public/Sales/Leads", "two")
        vault.snapshot()
        restore(vault, "public:Sales", "Leads")
        assert content(imap, "Public/Sales/Restored folder/Leads") == content(imap, "Public/Sales/Leads")
        said = restore(vault, "public:Sales", "INBOX", replace=False, why="has a 'Restored folder' already: 2 folders, 1 message")
        restore(vault, "public:Sales", "INBOX")
        assert content(imap, "Public/Sales/Restored folder/Sales") == content(imap, "Public/Sales")
        assert content(imap, "Public/Sales/Restored folder/Sales/Leads") == content(imap, "Public/Sales/Leads")
    for name in (".Sales.Restored folder", ".Sales.Restored folder.Sales"):
        with open(node.path("var/lib/mailnode/public", name, "dovecot-acl")) as f, \
                open(node.path("var/lib/mailnode/public/.Sales/dovecot-acl")) as g:
            assert f.read() == g.read()
    with node.imap("bob") as imap:
        assert len(content(imap, "Public/Sales/Restored folder/Sales")) == 1
        assert imap.link.append('"Public/Sales/Restored folder/Sales"', None, None, b"Subject: no\r\n\r\nno\r\n")[0] == "NO"
    c.ctl("public-mailbox remove Sales --yes")
    restore(vault, "public:Sales", "INBOX", why="no public mailbox")
    for name in os.listdir(node.path("var/lib/mailnode/public")):
        if name.startswith(".Sales"):
            shutil.rmtree(node.path("var/lib/mailnode/public", name))


@pytest.mark.spec("F-067", "R42")
def test_the_old_one_or_the_new_one_whatever_dies(vault):
    node = vault.node
    with node.imap("alice") as imap:
        for i in range(3):
            put(imap, "Foo", f"one{i}")
        put(imap, "Foo/sub", "below")
    first = vault.snapshot()
    restore(vault, "user:alice", "Foo", first, replace=False)
    with node.imap("alice") as imap:
        put(imap, "Restored folder/mine", "what the user had put there")
        old = {n: content(imap, n) for n in folders(imap) if n.startswith("Restored folder")}
        new = {"Restored folder": {}, "Restored folder/sub": content(imap, "Foo/sub")}
    restore(vault, "user:alice", "Foo", first, replace=False, why="has a 'Restored folder' already: 4 folders, 5 messages")
    jobs = Jobs(node, {vault.name: {"repository": vault.address, "secrets": {"password": PASSWORD}}})
    for point in ("restore.staged", "restore.out.moved", "restore.in.moved", "restore.in.ended"):
        jobs.die(point, restore_folder={"mailbox": "user:alice", "folder": "Foo/sub", "destination": vault.name, "snapshot": first,
                                        "replace": True})
        node.kill_engine()
        node.start_engine()
        wait_until(lambda: answers(node), "mail-engine answers")
        with node.imap("alice") as imap:
            now = {n: content(imap, n) for n in folders(imap) if n.startswith("Restored folder")}
        assert now == (old if point == "restore.staged" else new), point
        assert [n for n in os.listdir(rooms(node)) if n != ".gate"] == [], point
        node.wait_ready()
        if point != "restore.staged":
            restore(vault, "user:alice", "Foo", first)
            with node.imap("alice") as imap:
                old = {n: content(imap, n) for n in folders(imap) if n.startswith("Restored folder")}
                assert "Restored folder/mine" not in old and len(old["Restored folder/Foo"]) == 3


@pytest.mark.spec("F-067")
def test_mailctl_names_what_would_go_and_asks(vault, tmp_path):
    """At a terminal: after anything but a yes the old one stands; without one it says what to add."""
    node, ctl = vault.node, vault.node.cluster.ctl
    with node.imap("alice") as imap:
        put(imap, "Foo", "asked")
    first = vault.snapshot()
    restore(vault, "user:alice", "Foo", first)
    with node.imap("alice") as imap:
        put(imap, "Restored folder/Foo", "of the user")
    (tmp_path / "password").write_text(PASSWORD + "\n")
    ctl(f"destination add {vault.name} repository={vault.address} password=@{tmp_path}/password")
    line = f"restore folder mailbox=user:alice folder=Foo destination={vault.name} snapshot={first}"
    try:
        assert "it would go: say --yes" in ctl(line, code=6, timeout=90).err
        for answer, code, messages in ((NO, 2, 2), (END, 2, 2), (INTERRUPT, 130, 2), (YES, 0, 1)):
            shown, ended = at_terminal(ctl, line, answer)
            assert "user:alice has a 'Restored folder' already: 2 folders, 2 messages" in shown.split("Go on?")[0], shown
            assert ended == code and ("not confirmed, nothing was changed" in shown) == (code != 0), (ended, shown)
            assert "goes on" not in shown, shown
            with node.imap("alice") as imap:
                assert len(content(imap, "Restored folder/Foo")) == messages, answer
    finally:
        ctl(f"destination remove {vault.name}")


@pytest.mark.spec("F-067", "R42")
def test_cancelled_in_the_middle(vault):
    """Its restic is at work when it is called off: it ends as cancelled, the folder of before stands, nothing else is left."""
    node = vault.node
    with node.imap("alice") as imap:
        for i in range(3):
            put(imap, "Foo", f"cancel{i}")
        first = vault.snapshot()
        put(imap, "Foo", "later")
    second = vault.snapshot()
    restore(vault, "user:alice", "Foo", first)
    with node.imap("alice") as imap:
        old = content(imap, "Restored folder/Foo")
    jobs = Jobs(node, {vault.name: {"repository": vault.address, "secrets": {"password": PASSWORD}}})
    job = jobs.start(restore_folder={"mailbox": "user:alice", "folder": "Foo", "destination": vault.name, "snapshot": second, "replace": True})
    try:
        wait_until(lambda: fetching(node), "its restic runs", 30)
        job.say(control_pb2.Envelope(version=VERSION, id=3, task_cancel={"task_id": "T" * 26}))
        said = job.result()
        assert said.state == control_pb2.CANCELLED and not said.verdict, said
    finally:
        job.close()
    assert not fetching(node) and [n for n in os.listdir(rooms(node)) if n != ".gate"] == []
    assert not os.listdir(os.path.join(vault.address.split(":", 1)[1], "main/locks")), "its lock is gone"
    with node.imap("alice") as imap:
        assert len(old) == 3 and content(imap, "Restored folder/Foo") == old
    restore(vault, "user:alice", "Foo", second)   # the next one is good
    with node.imap("alice") as imap:
        assert len(content(imap, "Restored folder/Foo")) == 4


@pytest.mark.spec("F-062")
def test_space_is_computed_first(vault):
    node = vault.node
    with node.imap("alice") as imap:
        put(imap, "Foo", "one")
    vault.snapshot()
    said = restore(vault, "user:alice", "Foo", reserve=900 * 10**12, why="28.0 KiB are needed, and 0 octets are free beside the reserve of 818.5 TiB")
    assert "--force" in said.why.hint and said.why.code == control_pb2.UNAVAILABLE
    with node.imap("alice") as imap:
        assert content(imap, "Restored folder/Foo") is None
    restore(vault, "user:alice", "Foo", reserve=900 * 10**12, force=True)


@pytest.mark.spec("F-069")
def test_a_quota_that_is_exceeded_is_told(vault):
    """mail-engine tells; the controller lifts it (unit/controller/tasks)."""
    node, c = vault.node, vault.node.cluster
    with node.imap("bob") as imap:
        imap.link.create("Big")
        for i in range(4):
            assert imap.link.append("Big", None, None, b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 4000)[0] == "OK"
    vault.snapshot()
    assert not restore(vault, "user:bob", "Big").over_quota
    c.ctl("mailbox set bob quota=2M")
    assert restore(vault, "user:bob", "Big").over_quota
    c.ctl("mailbox set bob quota=")


@pytest.mark.spec("F-069")
def test_a_quota_is_lifted_and_put_back_as_it_was(vault, tmp_path):
    """By mailctl, over all programs: said with the command that undoes it; its own comes back as its own, a default as one."""
    node, ctl = vault.node, vault.node.cluster.ctl
    with node.imap("bob") as imap:
        imap.link.create("Big")
        for i in range(4):
            assert imap.link.append("Big", None, None, b"Subject: big\r\n\r\n" + (b"x" * 70 + b"\r\n") * 4000)[0] == "OK"
    snapshot = vault.snapshot()
    (tmp_path / "password").write_text(PASSWORD + "\n")
    ctl(f"destination add {vault.name} repository={vault.address} password=@{tmp_path}/password")
    line = f"restore folder mailbox=user:bob folder=Big destination={vault.name} snapshot={snapshot} --yes"

    def standing():
        item = {i["name"]: i for i in ctl("mailbox list -o json").items}["bob"]
        return item["quota_bytes"], item["own_quota"]
    try:
        for own, default, before in (("100M", "", (100 * 10**6, True)), ("2M", "", (2 * 10**6, True)), ("", "2M", (2 * 10**6, False))):
            ctl(f"policy set default-quota={default}")
            ctl(f"mailbox set bob quota={own}")
            assert standing() == before
            said = ctl(line, timeout=90)
            undo = re.search(r"undo: mailctl (.*quota=\S*)", said.out + said.err)
            if own == "100M":
                assert not undo and standing() == before, said
                continue
            assert undo and "unlimited" in said.out + said.err and standing() == (0, True), (said, standing())
            assert "  restore " in ctl("history mailbox/bob").out   # VIA
            ctl(undo.group(1))
            assert standing() == before, undo.group(0)
    finally:
        ctl("policy set default-quota=")
        ctl("mailbox set bob quota=")
        ctl(f"destination remove {vault.name}")


@pytest.mark.spec("F-070")
def test_one_at_a_time_for_a_mailbox(vault):
    node = vault.node
    for user in ("alice", "bob"):
        with node.imap(user) as imap:
            put(imap, "Foo", "one")
    vault.snapshot()
    room = os.path.join(rooms(node), "RUNNING")
    os.makedirs(room)
    with open(os.path.join(room, "holder"), "w") as holder:
        holder.write("user:alice")
        holder.flush()
        fcntl.fcntl(holder, 37, struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0))   # F_OFD_SETLK
        restore(vault, "user:ALICE", "Foo", why="restore RUNNING of this mailbox is running")
        restore(vault, "user:bob", "Foo")
    restore(vault, "user:alice", "Foo")   # that one has died, and is swept away


def link_in(vault):
    place = vault.user_folder("alice", ".Foo/cur")
    name = sorted(os.listdir(place))[0]
    os.unlink(os.path.join(place, name))
    os.symlink("/etc/passwd", os.path.join(place, name))


def link_as_folder(vault):
    shutil.rmtree(vault.user_folder("alice", ".Foo/cur"))
    os.symlink("/etc", vault.user_folder("alice", ".Foo/cur"))


def others_beside(vault):
    place = vault.user_folder("alice", ".Foo/cur")
    os.makedirs(os.path.join(place, "deep/deeper"))
    os.mkfifo(os.path.join(place, "fifo"))


def list_with_a_way_out(vault):
    path = os.path.join(vault.tree, "state/mailboxes/user/alice")
    with open(path) as f:
        text = f.read()
    with open(path, "w") as f:
        f.write(text.replace("F\t.Foo\t", "F\t.Foo/../../x\t"))


def missing(vault):
    place = vault.user_folder("alice", ".Foo/cur")
    os.unlink(os.path.join(place, sorted(os.listdir(place))[0]))


@pytest.mark.spec("S43", "B40")
def test_hostile_backups(vault):
    """Refused, and nothing is left of it; what is well is mail's own, whatever rights it came with."""
    node = vault.node
    with node.imap("alice") as imap:
        put(imap, "Foo", "one", r"(\Seen)")
        put(imap, "Foo", "two", r"(\Seen)")
    for change in (link_in, link_as_folder, others_beside, list_with_a_way_out, missing):
        said = restore(vault, "user:alice", "Foo", vault.snapshot(change), why="")
        assert said.why.code == control_pb2.DAMAGED, (change, said)
        with node.imap("alice") as imap:
            assert content(imap, "Restored folder/Foo") is None, change
        assert [n for n in os.listdir(rooms(node)) if n != ".gate"] == []

    def rights(vault):
        for name in os.listdir(vault.user_folder("alice", ".Foo/cur")):
            os.chmod(vault.user_folder("alice", ".Foo/cur/" + name), 0o6777)
    restore(vault, "user:alice", "Foo", vault.snapshot(rights))
    place = node.path("var/lib/mailnode/mail/alice/Maildir/.Restored folder.Foo/cur")
    assert [oct(os.lstat(os.path.join(place, n)).st_mode) for n in os.listdir(place)] == ["0o100600"] * 2
    assert os.stat("/etc/passwd").st_uid == 0
    restore(vault, "user:nobody", "Foo", why="no such user")
    restore(vault, "user:alice", "Nothing", why="has no folder Nothing")
    restore(vault, "user:alice", "Foo", "deadbeef", why="no snapshot deadbeef")


@pytest.mark.spec("F-161")
def test_infected_messages_are_left_out(vault):
    node = vault.node
    with node.imap("alice") as imap:
        put(imap, "Foo", "clean")
        assert imap.link.append("Foo", None, None, f"Subject: virus\r\n\r\n{EICAR}\r\n".encode())[0] == "OK"
    vault.snapshot()
    said = restore(vault, "user:alice", "Foo", scan=True)
    assert said.state == control_pb2.FOUND and "1 infected left out" in said.verdict and "Eicar" in said.findings[0].text, said
    with node.imap("alice") as imap:
        assert len(content(imap, "Restored folder/Foo")) == 1
