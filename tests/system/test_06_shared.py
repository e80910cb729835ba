"""Section 6: folders that users share by SETACL, with real IMAP clients on the real Dovecot."""
import imaplib
import os

import pytest

from harness import wait_until
from harness.mail import Ledger

NAMES = ["..", ".", "../alice", "alice/..", "p=", "alice%", "*", "nobody", "ALICE/../bob", "a" * 300, "${x}", "%n", "%%h", "~",
         "..&AC8-alice", "\\\\..", ""]


def do(imap, *words):
    """(OK, NO or BAD; untagged answers)."""
    try:
        kind, _ = imap.link._simple_command(*words)
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        kind = "BAD"
    untagged = {k: [d if isinstance(d, bytes) else b" ".join(d) for d in v if d] for k, v in imap.link.untagged_responses.items()}
    imap.link.untagged_responses.clear()
    return kind, untagged


def shared(imap):
    """What LIST has below Shared/ that can be opened."""
    _, said = do(imap, "LIST", '""', '"Shared/*"')
    return {line.decode().split(' "/" ')[1].strip('"') for line in said.get("LIST", ())
            if b"\\Noselect" not in line and b"\\NonExistent" not in line}


def opens(imap, name):
    try:
        return imap.link.select(f'"{name}"', readonly=True)[0] == "OK"
    except imaplib.IMAP4.abort:
        raise
    except imaplib.IMAP4.error:
        return False


def seen(node, user, name):
    with node.imap(user) as imap:
        assert imap.link.select(f'"{name}"', readonly=True)[0] == "OK", (user, name)
        _, answers = imap.link.fetch("1:*", "(FLAGS)")
        return [int(b"\\Seen" in a) for a in answers if a]


def mark(node, user, name, number, how="+FLAGS"):
    with node.imap(user) as imap:
        assert imap.link.select(f'"{name}"')[0] == "OK", (user, name)
        assert imap.link.store(str(number), how, r"(\Seen)")[0] == "OK"


@pytest.fixture
def sharing(mail):
    """alice has the folder Work/Plans with two messages, and shares nothing."""
    with mail.imap("alice") as alice:
        assert do(alice, "CREATE", '"Work/Plans"')[0] == "OK"
        for i in range(2):
            assert alice.link.append('"Work/Plans"', None, None, f"Subject: plan {i}\r\n\r\nplan\r\n".encode())[0] == "OK"
    yield mail
    with mail.imap("alice") as alice:
        for folder in ("Work/Plans", "Work", "INBOX"):
            for who in ("bob", "$crew"):
                do(alice, "DELETEACL", f'"{folder}"', f'"{who}"')
        assert do(alice, "DELETE", '"Work/Plans"')[0] == "OK"


@pytest.mark.spec("F-141")
def test_shared_by_its_owner(sharing):
    """Listed and opened by whom it was shared with, as far as the rights go; by nobody else; no more when it is taken back."""
    node, c = sharing, sharing.cluster
    node.add_user("carol")
    node.wait_user("carol")
    for user in ("alice", "bob", "carol"):
        with node.imap(user) as imap:
            assert shared(imap) == set(), "nothing was shared"
    with node.imap("bob") as bob:
        for name in ("Shared/alice", "Shared/alice/INBOX", "Shared/alice/Work/Plans", "Shared/bob/INBOX"):
            assert not opens(bob, name), name
            assert do(bob, "GETACL", f'"{name}"')[0] == "NO"
    with node.imap("alice") as alice:
        assert do(alice, "SETACL", '"Work/Plans"', "bob", "lrs")[0] == "OK"
        assert do(alice, "SETACL", '"Work/Plans"', "anyone", "lr")[0] != "OK", "not with all"
    with node.imap("bob") as bob, node.imap("carol") as carol:
        assert shared(bob) == {"Shared/alice/Work/Plans"} and shared(carol) == set()
        assert opens(bob, "Shared/alice/Work/Plans") and not opens(carol, "Shared/alice/Work/Plans")
        assert not opens(bob, "Shared/alice/INBOX") and not opens(bob, "Shared/alice/Work")
        assert bob.link.append('"Shared/alice/Work/Plans"', None, None, b"Subject: no\r\n\r\nno\r\n")[0] == "NO"
        assert do(bob, "CREATE", '"Shared/alice/Work/Plans/Mine"')[0] == "NO"
        assert do(bob, "SETACL", '"Shared/alice/Work/Plans"', "carol", "lr")[0] != "OK"
        assert do(bob, "CREATE", '"Shared/carol/Mine"')[0] != "OK"
        for name in NAMES:
            for end in ("", "/INBOX", "/Work/Plans", "/Maildir"):
                assert not opens(carol, f"Shared/{name}{end}"), name
                assert do(carol, "CREATE", f'"Shared/{name}{end}"')[0] != "OK", name
                assert do(carol, "SETACL", f'"Shared/{name}{end}"', "carol", "lrswipkxtea")[0] != "OK", name
    homes = set(os.listdir(node.path("var/lib/mailnode/mail")))
    assert homes <= set(node.passwords) | {h for h in homes if h in c.ctl("user list -o name").out.split()}, homes

    # through a group, and no longer through it
    c.ctl("group add crew members=carol")
    wait_until(lambda: node.tables.query("SELECT acl_groups FROM userdb WHERE name='carol'")[0][0] == "crew", "carol is in the crew")
    with node.imap("alice") as alice:
        assert do(alice, "SETACL", '"Work/Plans"', '"$crew"', "lr")[0] == "OK"
    wait_until(lambda: sees(node, "carol") == {"Shared/alice/Work/Plans"}, "carol sees it", 10, every=0.1)
    with node.imap("carol") as carol:
        assert opens(carol, "Shared/alice/Work/Plans")
        c.ctl("group set crew members=bob")
        wait_until(lambda: gone(carol), "what she has open is closed to her", 60, every=0.1)
    with node.imap("carol") as carol:
        assert shared(carol) == set() and not opens(carol, "Shared/alice/Work/Plans")
    c.ctl("group remove crew --yes")

    # taken back
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert do(alice, "DELETEACL", '"Work/Plans"', "bob")[0] == "OK"
        wait_until(lambda: not opens(bob, "Shared/alice/Work/Plans"), "bob has it no more", 10, every=0.1)
    with node.imap("bob") as bob:
        assert shared(bob) == set()
    c.ctl("user remove carol --yes")


def sees(node, user):
    with node.imap(user) as imap:
        return shared(imap)


def gone(imap):
    """Is the session over, or what it has open closed to it?"""
    try:
        return imap.link.fetch("1", "(BODY.PEEK[])")[0] != "OK"
    except (imaplib.IMAP4.error, OSError):
        return True


@pytest.mark.spec("F-141")
def test_read_marks_of_shared_folders(sharing):
    """Shared: what she reads he has read.  Private: each has his own.  Switching loses no mail and no mark; a user who is away
    takes his share along."""
    node, c = sharing, sharing.cluster
    ledger = Ledger(node)
    ledger.send(["alice@example.org"], {"alice": 1})
    ledger.settle()
    with node.imap("alice") as alice:
        for folder in ("Work/Plans", "INBOX"):
            assert do(alice, "SETACL", f'"{folder}"', "bob", "lrs")[0] == "OK"
    mine, his = "Work/Plans", "Shared/alice/Work/Plans"

    def switch(to):
        c.ctl(f"settings set shared-seen={to}", timeout=60)
        node.wait_ready()

    def marks():
        return seen(node, "alice", mine), seen(node, "bob", his)
    start = seen(node, "alice", mine)
    mark(node, "alice", mine, 1)
    mark(node, "alice", mine, 2, "-FLAGS")
    assert marks() == ([1, 0], [1, 0]), start
    mark(node, "bob", his, 2)
    assert marks() == ([1, 1], [1, 1])
    mark(node, "bob", his, 2, "-FLAGS")
    switch("no")
    assert marks() == ([1, 0], [0, 0]), "hers are in the folder; he has read nothing yet"
    mark(node, "alice", mine, 2)
    assert marks() == ([1, 1], [0, 0])
    mark(node, "alice", mine, 2, "-FLAGS")
    mark(node, "bob", his, 2)
    assert marks() == ([1, 0], [0, 1])
    assert len(seen(node, "bob", "Shared/alice/INBOX")) == len(seen(node, "alice", "INBOX"))
    mark(node, "bob", "Shared/alice/INBOX", 1)
    assert seen(node, "alice", "INBOX")[0] == 0
    assert os.path.isdir(node.path("var/lib/mailnode/mail/bob/shared-seen.alice"))
    ledger.settle()
    switch("yes")
    assert marks() == ([1, 0], [1, 0]), "those in the folder"
    switch("no")
    assert marks() == ([1, 0], [0, 1]), "and his own again"
    switch("")
    ledger.settle()


@pytest.mark.spec("F-141")
def test_who_is_gone_shares_nothing(sharing):
    node, c = sharing, sharing.cluster
    node.add_user("dave")
    node.wait_user("dave")
    with node.imap("dave") as dave:
        assert do(dave, "CREATE", '"Left"')[0] == "OK"
        assert do(dave, "SETACL", '"Left"', "bob", "lr")[0] == "OK"
    with node.imap("bob") as bob:
        assert shared(bob) == {"Shared/dave/Left"} and opens(bob, "Shared/dave/Left")
    c.ctl("user remove dave --yes")
    def reached():
        with node.imap("bob") as bob:
            return opens(bob, "Shared/dave/Left") or shared(bob)
    wait_until(lambda: not reached(), "nobody reaches what he shared", 10, every=0.1)
