"""Section 5: user mailboxes on the running daemons: closed, full, forwarded, listed; and who may send as whom (F-084, F-150)."""
import base64
import imaplib
import os
import poplib
import shutil
import smtplib
import socket
import subprocess
import time

import pytest

from harness import Ledger, wait_until
from harness.mail import Imap, tls_context

pytestmark = pytest.mark.xdist_group("mailboxes")


def plain(user, password):
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def submission(node, user):
    """An open session on 587, logged in."""
    smtp = node.smtp(587).starttls()
    assert smtp.say(f"AUTH PLAIN {plain(user, node.passwords[user])}").startswith("235"), user
    return smtp


def sieve_login(node, user, password):
    """ManageSieve's answer to a login: OK or NO."""
    with socket.create_connection((node.address, 4190), 20) as plain_link:
        def reply(link):
            lines = b""
            while not lines.splitlines() or lines.splitlines()[-1][:2].upper() not in (b"OK", b"NO", b"BY"):
                more = link.recv(4096)
                if not more:
                    return "BYE"
                lines += more
            return lines.splitlines()[-1].decode()
        reply(plain_link)
        plain_link.sendall(b"STARTTLS\r\n")
        assert reply(plain_link).startswith("OK")
        with tls_context().wrap_socket(plain_link) as link:
            reply(link)
            link.sendall(f'AUTHENTICATE "PLAIN" "{plain(user, password)}"\r\n'.encode())
            return reply(link)


def may_log_in(node, user):
    """{protocol: may}"""
    password, may = node.passwords[user], {}
    try:
        Imap(node.address, user, password).close()
        may["imap"] = True
    except imaplib.IMAP4.error:
        may["imap"] = False
    pop = poplib.POP3_SSL(node.address, 995, context=tls_context(), timeout=20)
    try:
        pop.user(user)
        pop.pass_(password)
        may["pop3"] = True
    except poplib.error_proto:
        may["pop3"] = False
    finally:
        pop.close()
    may["sieve"] = sieve_login(node, user, password).startswith("OK")
    with node.smtp(587).starttls() as smtp:
        may["submission"] = smtp.say(f"AUTH PLAIN {plain(user, password)}").startswith("235")
    return may


def is_dropped(imap):
    """The server has hung up, or does now."""
    try:
        imap.link.noop()
    except (OSError, imaplib.IMAP4.abort, imaplib.IMAP4.error):
        return True
    return False


ALL = {"imap": True, "pop3": True, "sieve": True, "submission": True}
NONE = dict.fromkeys(ALL, False)


@pytest.fixture(scope="module")
def people(mail_shared):
    """Users of these tests beside alice and bob."""
    node = mail_shared["mx1"]
    for name in ("carol", "dave", "d.e", "o'neil"):
        node.add_user(name)
    # mailctl makes no name with '+', directories have them.
    url = "ldapi://" + node.path("run/mailnode/slapd/ldapi").replace("/", "%2F")
    entry = "dn: uid=a\\2Bb,ou=People,dc=people-mx1,dc=mailnode\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n" \
            "uid: a+b\ncn: A\nsn: B\nuidNumber: 30000\ngidNumber: 20000\nhomeDirectory: /nowhere\n"
    for tool, *more in (("ldapadd",), ("ldappasswd", "-s", "pw of a+b", "uid=a\\2Bb,ou=People,dc=people-mx1,dc=mailnode")):
        done = subprocess.run([f"/usr/bin/{tool}", "-Q", "-Y", "EXTERNAL", "-H", url, *more], input=entry, text=True,
                              capture_output=True, timeout=20)
        assert done.returncode == 0, done
    node.passwords["a+b"] = "pw of a+b"
    return node.wait_user("a+b").wait_user("o'neil")


@pytest.mark.spec("F-045", "S12", "S22")
def test_disabled_mailbox(mail, people):
    """Logins, live sessions and mail end within 5 s; what is in it stays; an account locked in the directory only loses its
    logins; an address with several destinations goes on while one is open."""
    c, ledger = mail.cluster, Ledger(mail)
    c.ctl("address add team@example.org to=alice,carol")
    assert ledger.send(["carol@example.org"], {"carol": 1}).startswith("250")
    ledger.settle()
    assert may_log_in(mail, "carol") == ALL
    imap, sending = mail.imap("carol"), submission(mail, "carol")
    assert sending.rcpt("alice@example.org", "carol@example.org").startswith("250")

    c.ctl("mailbox disable carol")
    wait_until(lambda: is_dropped(imap), "the session is dropped", 5)
    assert sending.rcpt("alice@example.org", "carol@example.org").startswith("554 5.7.1")
    assert may_log_in(mail, "carol") == NONE
    assert mail.rcpt("carol@example.org").startswith("550 5.2.1")
    assert mail.rcpt("CAROL+tag@example.org").startswith("550 5.2.1")
    assert ledger.send(["team@example.org"], {"alice": 1}).startswith("250")
    assert c.ctl("mailbox list --state disabled -o name").names == ["carol"]
    mail.kill()
    mail.start(wait=True)
    assert mail.rcpt("carol@example.org").startswith("550 5.2.1"), "after a restart, too"
    sending.close()
    c.ctl("mailbox enable carol")
    assert may_log_in(mail, "carol") == ALL
    assert mail.rcpt("carol@example.org").startswith("250")
    ledger.settle()   # the first message is there still, once

    c.ctl("user set carol locked=yes")
    wait_until(lambda: may_log_in(mail, "carol") == NONE, "the lock is seen", 10)
    assert ledger.send(["carol@example.org"], {"carol": 1}).startswith("250")
    shown = {i["name"]: i for i in c.ctl("mailbox list -o json").json["items"]}["carol"]
    assert (shown["state"], shown["locked"]) == ("enabled", True)
    c.ctl("user set carol locked=no")
    wait_until(lambda: mail.tables.query("SELECT login FROM userdb WHERE name='carol'") == [(1,)], "it may log in again")
    c.ctl("address remove team@example.org")
    ledger.settle()


@pytest.mark.spec("F-046", "F-085")
def test_names(mail, people):
    """The first delivery or login makes the mailbox; case is nothing; the whole name goes before its part before '+'."""
    ledger = Ledger(mail)
    for recipient, user in (("d.e@example.org", "d.e"), ("D.E+x@Example.ORG", "d.e"), ("a+b@example.org", "a+b"),
                            ("A+B@example.org", "a+b"), ("o'neil@example.org", "o'neil"), ("O'Neil+y@example.org", "o'neil"),
                            ("dave+tag@example.org", "dave"), ("dave+tag+more@example.org", "dave")):
        assert ledger.send([recipient], {user: 1}).startswith("250"), recipient
    assert mail.rcpt("a+c@example.org").startswith("550 5.1.1"), "there is no user a"
    assert mail.rcpt("d.e.@example.org").startswith(("550", "501"))
    ledger.settle()
    for user in ("d.e", "a+b", "o'neil"):
        with Imap(mail.address, user.upper(), mail.passwords[user]) as imap:
            assert len(imap.messages()) == sum(boxes.get(user, 0) for _, boxes in ledger.entries.values()), user


@pytest.mark.spec("F-048", "F-072")
def test_forwards(mail, people):
    """With a copy and without, in a loop, through a second domain; each mailbox gets one, and the sender is the sender's."""
    c, ledger = mail.cluster, Ledger(mail)
    said = c.ctl("mailbox set carol forward=dave@example.org")
    assert "SPF" not in said.err, "within our own domains nothing is relayed"
    said = c.ctl("mailbox set carol forward+=carol@far.test")
    assert "SPF" in said.err, said
    c.ctl("mailbox set carol forward-=carol@far.test")
    assert ledger.send(["carol+tag@example.org"], {"carol": 1, "dave": 1}).startswith("250")
    c.ctl("mailbox set carol keep-copy=no")
    assert ledger.send(["carol@example.org"], {"dave": 1}).startswith("250")
    assert ledger.send(["carol@example.org", "dave@example.org"], {"dave": 1}).startswith("250")
    c.ctl("mailbox set dave forward=carol@example.org")
    assert ledger.send(["carol@example.org"], {"dave": 1}, sender="loop@remote.test").startswith("250")
    c.ctl("mailbox set dave keep-copy=no")
    assert ledger.send(["carol@example.org"], {"carol": 1}).startswith("250"), "nobody keeps: who is addressed does"
    assert ledger.send(["dave@example.org"], {"dave": 1}).startswith("250")
    ledger.settle()
    assert any(b"Return-Path: <loop@remote.test>" in m for m in mail.mailbox("dave"))
    for user in ("carol", "dave"):
        c.ctl(f"mailbox set {user} forward= keep-copy=yes")


def used(node, user):
    """(bytes, messages) as listed: bytes as they lie there, with LF."""
    item = {i["name"]: i for i in node.cluster.ctl("mailbox list -o json").json["items"]}[user]
    return item["used_bytes"], item["messages"]


def in_mailbox(node, user):
    messages = node.mailbox(user, "INBOX", "Junk", "Sent")
    return sum(len(m) for m in messages), len(messages)


@pytest.mark.spec("F-140", "F-139", "F-049", "S13", "B20")
def test_quota(mail, people):
    """Usage is exact after deliveries and sessions; over quota is said at RCPT; what was accepted waits in the queue; of
    several destinations the one with room is served."""
    c, ledger, body = mail.cluster, Ledger(mail), "x" * 70 + "\n"
    c.ctl("address add two@example.org to=bob,d.e")
    c.ctl("address add box@example.org to=d.e")
    assert ledger.send(["d.e@example.org"], {"d.e": 1}).startswith("250")
    ledger.settle()
    wait_until(lambda: used(mail, "d.e") == in_mailbox(mail, "d.e"), lambda: f"{used(mail, 'd.e')} {in_mailbox(mail, 'd.e')}", 5)

    c.ctl("mailbox set d.e quota=40K")
    assert ledger.send(["d.e@example.org"], {"d.e": 1}, body=body * 550).startswith("250"), "it is below until then"
    ledger.settle()
    wait_until(lambda: mail.rcpt("d.e@example.org").startswith("452 4.2.2"), "full is said at RCPT", 3)
    for address in ("D.E+tag@example.org", "box@example.org"):
        assert mail.rcpt(address).startswith("452 4.2.2"), address
    assert mail.rcpt("two@example.org").startswith("250"), "bob has room"
    assert used(mail, "d.e") == in_mailbox(mail, "d.e")
    shown = c.ctl("mailbox show d.e").out
    assert "40K" in shown and " messages" in shown, shown
    # Bob's copy is there; the other waits, and nobody is told.
    assert ledger.send(["two@example.org"], {"bob": 1, "d.e": 1}).startswith("250")
    wait_until(lambda: len([m for m in mail.mailbox("bob") if b"two@example.org" in m]) == 1, "bob's copy")
    wait_until(lambda: any(q.startswith("deferred") for q in mail.queue()), lambda: f"the other waits: {mail.queue()}")

    # Said at once, if that is wanted; what was accepted waits all the same.
    c.ctl("settings set over-quota=reject")
    assert mail.rcpt("d.e@example.org") == "552 5.2.2 <d.e@example.org>: Recipient address rejected: mailbox is full"
    assert mail.rcpt("two@example.org").startswith("250")
    assert "over-quota" in c.ctl("settings set over-quota=drop", code=3).err
    mail.flush()
    wait_until(lambda: any(q.startswith("deferred") for q in mail.queue()), lambda: f"it waits: {mail.queue()}")
    c.ctl("settings set over-quota=")
    assert mail.rcpt("d.e@example.org").startswith("452 4.2.2")

    # Room is made: by the user, and by the administrator.
    c.ctl("policy set default-quota=1G")
    c.ctl("mailbox set d.e quota=1G")
    assert mail.rcpt("d.e@example.org").startswith("250")
    mail.flush()
    ledger.settle()

    # A custom quota equal to the default stays when that changes.
    c.ctl("policy set default-quota=10K")
    assert mail.rcpt("d.e@example.org").startswith("250")
    c.ctl("mailbox set d.e quota=default")
    assert mail.rcpt("d.e@example.org").startswith("452 4.2.2"), "the default applies, and is passed"
    items = {i["name"]: i for i in c.ctl("mailbox list -o json").json["items"]}
    assert items["d.e"]["quota_bytes"] == 10000 and not items["d.e"]["own_quota"]
    with mail.imap("d.e") as imap:
        imap.link.select("INBOX")
        imap.link.store("1:*", "+FLAGS", r"(\Deleted)")
        imap.link.expunge()
        imap.link.close()
    ledger.entries.clear()
    wait_until(lambda: mail.rcpt("d.e@example.org").startswith("250"), "room was made", 15)
    assert used(mail, "d.e") == in_mailbox(mail, "d.e") == (0, 0)
    for command in ("policy set default-quota=unlimited", "address remove two@example.org", "address remove box@example.org"):
        c.ctl(command)


@pytest.mark.spec("F-052", "F-047")
def test_listed_once_with_their_state(mail, people):
    """Enabled, disabled and orphan; disabled and gone is disabled; filter and pages are the node's."""
    c, ledger = mail.cluster, Ledger(mail)
    for name in ("gone1", "gone2", "gone3"):
        mail.add_user(name)
    mail.wait_user("gone3")
    assert ledger.send(["gone1@example.org"], {"gone1": 1}).startswith("250")
    ledger.settle()
    c.ctl("mailbox disable gone2")
    c.ctl("mailbox set gone3 quota=1G")
    for name in ("gone1", "gone2", "gone3"):
        c.ctl(f"user remove {name} --yes")
        mail.passwords.pop(name)
    wait_until(lambda: not mail.tables.query("SELECT 1 FROM userdb WHERE name LIKE 'gone%'"), "they are gone")
    items = c.ctl("mailbox list -o json").json["items"]
    states = {i["name"]: i["state"] for i in items}
    assert len(states) == len(items) and [i["name"] for i in items] == sorted(states)
    assert {n: s for n, s in states.items() if n.startswith("gone")} == {
        "gone1": "orphan", "gone2": "disabled", "gone3": "orphan"}
    assert states["alice"] == "enabled"
    assert c.ctl("mailbox list --state orphan -o name").names == ["gone1", "gone3"]
    assert c.ctl("mailbox list --filter gone --limit 2 -o name").names == ["gone1", "gone2"]
    assert c.ctl("mailbox list --filter gone --after gone1 --limit 5 -o name").names == ["gone2", "gone3"]
    assert "gone1" in c.ctl("mailbox list").out
    assert c.ctl("mailbox list --state ajar", code=2).err
    c.ctl("mailbox set gone3 quota=default")
    c.ctl("mailbox enable gone2")
    assert {i["name"] for i in c.ctl("mailbox list -o json").json["items"] if i["state"] == "orphan"} == {"gone1"}
    ledger.entries.clear()


@pytest.mark.spec("F-084", "F-150", "F-151", "S14")
def test_senders(mail, people):
    """'user senders' lists what SMTP accepts, and SMTP accepts what it lists; exemptions; a tag; the null sender."""
    c = mail.cluster
    c.ctl("domain add example.net -i main")
    c.ctl("domain set example.net group-addresses=yes")
    c.ctl("domain add groups.example -i main user-addresses=no group-addresses=yes")
    c.ctl("group add crew members=bob,carol")
    c.ctl("address add info@* to=alice,bob")
    c.ctl("address add info@example.net to=carol")            # there info is carol's alone
    c.ctl("address add bob@example.net to=alice")             # and bob is alice
    c.ctl("address add list@example.org to=group:crew")
    c.ctl("address add o.x@example.org to=out@far.test,bob internal=yes")
    wait_until(lambda: mail.tables.query("SELECT 1 FROM account WHERE kind='g' AND name='crew'"), "crew is there")
    locals_ = ("alice", "bob", "carol", "info", "list", "crew", "o.x", "nobody", "BOB", "bob+tag", "info+t")
    domains = ("example.org", "example.net", "groups.example", "far.test")

    def listed(user):
        return set(c.ctl(f"user senders {user} -o json").json["items"])

    def accepted(session):
        out = set()
        for local in locals_:
            for domain in domains:
                answer = session.rcpt("alice@example.org", f"{local}@{domain}")
                if answer.startswith("250"):
                    out.add(f"{local}@{domain}")
                else:
                    assert answer.startswith("553 5.7.1"), (local, domain, answer)
        return out

    def wanted(user):
        """The list with what else is the same address."""
        them = listed(user)
        more = {f"{local}@{domain}" for local, base in (("BOB", "bob"), ("bob+tag", "bob"), ("info+t", "info"))
                for domain in domains if f"{base}@{domain}" in them}
        return them | more

    with submission(mail, "bob") as session:
        assert session.rcpt("alice@example.org", "anybody@far.test").startswith("250"), "off: any"
    assert "any" in c.ctl("user senders bob").out.splitlines()
    mail.override("postfix.d/many.cf", "smtpd_soft_error_limit = 1000\nsmtpd_hard_error_limit = 1000\n")
    c.ctl("settings set queue-lifetime=4d")     # takes the override along: forty refusals in one session
    for word, bobs in (("on", {"bob@example.org", "info@example.org", "info@groups.example", "o.x@example.org"}),
                       ("include-groups", {"bob@example.org", "info@example.org", "info@groups.example", "o.x@example.org",
                                           "list@example.org", "crew@example.net", "crew@groups.example"})):
        c.ctl(f"policy set sender-login-match={word}")
        assert listed("bob") == bobs, word
        with submission(mail, "bob") as session:
            assert accepted(session) == wanted("bob"), word
            assert session.rcpt("alice@example.org", "").startswith("250"), "the null sender"
    assert listed("alice") == {"alice@example.org", "alice@example.net", "info@example.org", "info@groups.example",
                               "bob@example.net"}
    with submission(mail, "alice") as session:
        assert accepted(session) == wanted("alice")
        c.ctl("policy set sender-login-exempt=alice")
        assert session.rcpt("alice@example.org", "anybody@far.test").startswith("250"), "exempted, in the open session"
    assert "any" in c.ctl("user senders alice").out.splitlines()
    c.ctl("mailbox disable bob")
    assert listed("bob") == set()
    c.ctl("mailbox enable bob")
    assert "does not exist" in c.ctl("user senders nobody", code=4).err
    for command in ("policy set sender-login-match=off sender-login-exempt=", "address remove info@*", "address remove list@example.org",
                    "address remove o.x@example.org", "domain remove example.net --purge --yes",
                    "domain remove groups.example --purge --yes", "group remove crew --yes"):
        c.ctl(command)
    mail.override("postfix.d/many.cf", None)
    c.ctl("settings set queue-lifetime=")


@pytest.mark.spec("F-150", "F-084")
def test_senders_of_public_mailboxes(mail, people):
    """With include-groups: who has the right p there, himself, by a group, or because anyone has; as listed, so accepted."""
    c = mail.cluster
    c.ctl("group add crew members=alice,carol")
    for name, acl in (("own", "user:bob:lrsp,user:alice:lrs"), ("crews", "group:crew:lp,user:bob:full"), ("open", "anyone:lp"),
                      ("shut", "anyone:lrs,group:crew:lr"), ("nobody", "")):
        c.ctl(f"public-mailbox add {name} acl={acl} address={name}@*")
    c.ctl("address add open@example.org to=bob")     # there open is bob's alone
    c.ctl("domain add example.net -i main")
    box = ("own", "crews", "open", "shut", "nobody", "Own", "own+tag")
    mail.override("postfix.d/many.cf", "smtpd_soft_error_limit = 1000\nsmtpd_hard_error_limit = 1000\n")
    c.ctl("settings set queue-lifetime=4d")     # takes the override along

    def agree(user, wanted):
        """The list is this, and SMTP takes it and no more."""
        said = set(c.ctl(f"user senders {user} -o json").json["items"])
        assert {a for a in said if a.split("@")[0] in box} == wanted, (user, said)
        with submission(mail, user) as session:
            for local in box:
                for domain in ("example.org", "example.net"):
                    plain = f"{local.lower().split('+')[0]}@{domain}"
                    answer = session.rcpt("alice@example.org", f"{local}@{domain}")
                    assert answer.startswith("250" if plain in said else "553 5.7.1"), (user, local, domain, answer)

    def of(*locals_):
        return {f"{local}@{domain}" for local in locals_ for domain in ("example.org", "example.net")}
    c.ctl("policy set sender-login-match=on")
    agree("alice", set())
    c.ctl("policy set sender-login-match=include-groups")
    agree("alice", of("crews", "open") - {"open@example.org"})
    agree("bob", of("own", "crews", "open"))
    agree("carol", of("crews", "open") - {"open@example.org"})
    c.ctl("public-mailbox set own acl=user:alice:p")
    c.ctl("group set crew members=carol")
    c.ctl("public-mailbox set open acl=user:carol:lr")
    wait_until(lambda: "crews@example.org" not in c.ctl("user senders alice").out, "alice has left the crew")
    agree("alice", of("own"))
    agree("bob", of("crews") | {"open@example.org"})
    agree("carol", of("crews"))
    c.ctl("policy set sender-login-match=")
    c.ctl("address remove open@example.org")
    for name in ("own", "crews", "open", "shut", "nobody"):
        c.ctl(f"public-mailbox remove {name} --yes")
    for command in ("group remove crew --yes", "domain remove example.net --purge --yes"):
        c.ctl(command)
    mail.override("postfix.d/many.cf", None)
    c.ctl("settings set queue-lifetime=")


def test_when_a_message_was_saved_outlives_a_backup(mail):
    """A backup makes a link to each message, which moves its ctime; expiry goes by the time that Dovecot has noted before."""
    ledger = Ledger(mail)
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    cur = mail.path("var/lib/mailnode/mail/alice/Maildir/cur")

    def saved():
        with mail.imap("alice") as imap:
            imap.link.select("INBOX")
            return imap.link.fetch("1:*", "(UID SAVEDATE)")[1]
    before = saved()
    assert b"SAVEDATE" in before[-1], before
    messages = [os.path.join(cur, name) for name in os.listdir(cur)]
    last = max(os.stat(path).st_ctime for path in messages)
    wait_until(lambda: time.time() > int(last) + 1.1, "the next second, for the coarse clock of files, too", 5)
    shadow = mail.path("var/lib/mailnode/work/shadow-of-the-test")
    os.mkdir(shadow, 0o700)
    for path in messages:
        os.link(path, os.path.join(shadow, os.path.basename(path)))
    assert all(int(os.stat(path).st_ctime) > int(last) for path in messages)
    assert saved() == before
    shutil.rmtree(shadow)


@pytest.mark.spec("F-047", "X-09")
def test_ten_thousand(site):
    """All of them within three seconds, a page costs no more than that, and what cannot be read is said in its row."""
    c, node = site, site["mx1"]
    names = [f"u{i:05}" for i in range(10000)]
    node.accounts_write(users=names, groups={})
    c.ctl("mailbox set u00007 quota=5G")
    wait_until(lambda: node.tables.query("SELECT count(*) FROM userdb")[0][0] == 10000, "accounts are read", 30)
    began = time.monotonic()
    items = c.ctl("mailbox list -o json", timeout=30).json["items"]
    took = time.monotonic() - began
    assert [i["name"] for i in items] == names and took < 3, took
    assert [i["name"] for i in items if i["own_quota"]] == ["u00007"]
    assert {i["used_bytes"] for i in items} == {None}
    began = time.monotonic()
    assert c.ctl("mailbox list --after u05000 --limit 100 -o name").names == names[5001:5101]
    assert time.monotonic() - began < 1
    node.stop()
    said = c.ctl("mailbox list", code=11)
    assert "mx1" in said.err, said
