"""Section 12: relay.  Every next hop is a server of the test that asks for a login whether it has one or not."""
import itertools
import json
import os
import sqlite3

import pytest

from harness import wait_until
from harness.ctl import run
from harness.mail import text_message
from harness.smarthost import Smarthost

PORT = 2587
CANARY = "canary-pw-5f3a"


@pytest.fixture
def hosts(mail):
    """Six of them, by letter."""
    opened = {}
    try:
        for i, letter in enumerate("abcdef"):
            opened[letter] = Smarthost(mail.cluster.addresses[2 + i], PORT)
        yield opened
    finally:
        for host in opened.values():
            host.close()


@pytest.fixture
def ctl(mail):
    c = mail.cluster
    yield c.ctl
    for name in c.ctl("relay list -o name").names:
        c.ctl(f"relay remove {name}")


def add(ctl, rule, host, login=None, more="tls=encrypt"):
    """login: user and password are 'u-LOGIN' and 'pw-LOGIN'."""
    words = f"user=u-{login} password=-" if login else ""
    ctl(f"relay add {rule} host={host.address} port={host.port} {more} {words}", stdin=f"pw-{login}" if login else None)


def submit(mail, sender, recipient):
    mail.submit("alice", sender, [recipient], text_message(sender, [recipient]))


def standing(mail):
    return mail.pids(), mail.generation(), mail.daemon_log("postfix").count("reload")


@pytest.mark.spec("F-129", "F-130", "F-131a", "F-132", "F-136")
def test_each_route_and_each_login(mail, ctl, hosts):
    """Which rule is chosen, for every pair of sender and recipient; a login reaches the server of its own rule alone."""
    before = standing(mail)
    add(ctl, "recipient exact@dom.test", hosts["a"], "a")
    add(ctl, "recipient dom.test", hosts["b"])
    add(ctl, "recipient .dom.test", hosts["c"], "c")
    add(ctl, "sender exact@example.org", hosts["d"], "d")
    add(ctl, "sender example.org", hosts["e"])
    add(ctl, "default", hosts["f"], "f")
    add(ctl, "sender dom.test", hosts["c"], "s")   # the subject of a recipient rule, and a login of its own at a server that has one
    assert "default of main exists" in ctl("relay add default host=x.example.net", code=6).err

    by_recipient = {"exact@dom.test": "a", "other@dom.test": "b", "x@sub.dom.test": "c", "x@deep.sub.dom.test": "c", "x@far.test": None}
    by_sender = {"exact@example.org": "d", "exact+tag@example.org": "d", "other@example.org": "e", "x@dom.test": "c", "x@free.test": "f"}
    login_of = {"a": "u-a", "b": None, "c": "u-c", "d": "u-d", "e": None, "f": "u-f"}
    wanted = []
    for n, ((recipient, first), (sender, second)) in enumerate(itertools.product(by_recipient.items(), by_sender.items())):
        login = login_of[first or second]
        if not first and sender == "x@dom.test":
            login = "u-s"
        wanted.append((first or second, sender, recipient, login))
        submit(mail, sender, recipient)

    def got():
        return sorted((letter, sender, r, login or "") for letter, host in hosts.items()
                      for sender, recipients, login in list(host.messages) for r in recipients)
    wanted = sorted((letter, s, r, login or "") for letter, s, r, login in wanted)
    wait_until(lambda: len(got()) >= len(wanted), lambda: f"all relayed: {got()}", 30)
    assert got() == wanted
    for letter, host in hosts.items():
        allowed = {(f"u-{letter}", f"pw-{letter}", True)} if login_of[letter] else set()
        assert set(host.logins) <= allowed | ({("u-s", "pw-s", True)} if letter == "c" else set()), letter

    # F-136: another server from the next message on; its login goes along, and nobody else's
    ctl(f"relay set sender exact@example.org host={hosts['b'].address} password=-", stdin="pw-new")
    ctl("relay disable recipient exact@dom.test")
    submit(mail, "exact@example.org", "new@far.test")
    submit(mail, "someone@free.test", "exact@dom.test")
    wait_until(lambda: {"new@far.test", "exact@dom.test"} <= set(hosts["b"].recipients()), lambda: f"by the new rules: {got()}", 40)
    assert hosts["b"].logins == [("u-d", "pw-new", True)]
    assert ("u-d", "pw-new", True) not in hosts["d"].logins + hosts["a"].logins
    assert standing(mail) == before   # rows, no reload


@pytest.mark.spec("F-129")
def test_our_own_domains_never_leave(mail, ctl, hosts):
    """Rules for our domain, and above it, divert nothing; strangers are not relayed for, rule or none."""
    add(ctl, "recipient example.org", hosts["a"], "a")
    add(ctl, "default", hosts["c"], "c")
    before = len(mail.mailbox("alice"))
    mail.deliver("someone@remote.test", ["alice@example.org"])
    wait_until(lambda: len(mail.mailbox("alice")) > before, "delivered here", 30)
    assert mail.rcpt("nobody@example.org").startswith("550 5.1.1")
    assert mail.rcpt("x@far.test").startswith("554 5.7.1")
    assert not hosts["a"].lines and not hosts["c"].lines


@pytest.mark.spec("F-134", "S30")
def test_no_login_where_tls_was_taken_away(mail, ctl):
    """A server that does not offer STARTTLS, and asks for a login all the same: the message waits, the password stays."""
    with Smarthost(mail.cluster.addresses[2], PORT, starttls=False) as host, \
            Smarthost(mail.cluster.addresses[3], 465, wrapped=True) as wrapped:
        add(ctl, "recipient stripped.test", host, "x")
        add(ctl, "recipient wrapped.test", wrapped, "w")
        submit(mail, "alice@example.org", "x@stripped.test")
        submit(mail, "alice@example.org", "x@wrapped.test")
        wait_until(lambda: wrapped.recipients() == ["x@wrapped.test"], "implicit TLS on 465", 30)
        assert wrapped.logins == [("u-w", "pw-w", True)]
        wait_until(lambda: any(q.startswith("deferred/") for q in mail.queue()), "put off", 30)
        assert host.lines and not host.logins and not host.messages
        warned = ctl("relay set recipient stripped.test tls=off")
        assert "the login goes unprotected" in warned.out + warned.err
        wait_until(lambda: mail.flush() or host.messages, "off: opportunistic", 60, every=2)
        assert host.logins == [("u-x", "pw-x", False)]
        wait_until(mail.queue_empty, "the queue is empty", 30)


def files_with(folders, octets):
    found = []
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(base, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        if octets in f.read():
                            found.append(path)
    return found


@pytest.mark.spec("F-133", "S41")
def test_a_password_is_in_one_place(mail, ctl, hosts):
    """Sealed at the controller and in node.db; in the clear in secrets.db alone, which only Postfix reads; said nowhere."""
    c, host = mail.cluster, hosts["a"]
    ctl(f"relay add default host={host.address} port={PORT} tls=encrypt user=us password=-", stdin=CANARY)
    submit(mail, "alice@example.org", "x@far.test")
    wait_until(lambda: host.logins == [("us", CANARY, True)], lambda: f"used: {host.logins} {host.lines}", 30)

    folder = mail.path("var/lib/mailnode/tables/relay")
    assert all(path.startswith(folder + "/secrets.db") for path in files_with([c.folder], CANARY.encode()))
    assert files_with([folder], CANARY.encode())
    for name in os.listdir(folder):
        seen = os.stat(os.path.join(folder, name))
        assert seen.st_mode & 0o7777 == 0o640
    argv = b"".join(open(f"/proc/{pid}/cmdline", "rb").read() for pid in os.listdir("/proc")
                    if pid.isdigit() and os.path.exists(f"/proc/{pid}/cmdline"))
    assert CANARY.encode() not in argv
    said = [ctl(line, code=None) for line in ("relay list", "relay list -o json", "relay show default", "relay show default -o yaml",
                                              "export", "history", "history relay/default -o json", "events -o json",
                                              "diff --revision 1..", "status -v", "explain relay.password", "node show mx1 -o json")]
    for answer in said:
        assert CANARY not in answer.out + answer.err
    assert "(hidden)" in said[0].out and "secret" in said[10].out

    # not on the command line, and the words of the refusal have it not
    refused = ctl(["relay", "set", "default", f"password={CANARY}"], code=2)
    assert CANARY not in refused.out + refused.err

    # export -> apply -> export
    before = ctl("export -o yaml").out
    assert "nothing changed" in (a := ctl("apply -f -", stdin=before)).out + a.err or a.code == 0
    assert ctl("export -o yaml").out == before

    # replaced: erased; a revert says what to set again, and until then mail waits
    ctl("relay set default password=-", stdin="another")
    revision = c.revision
    back = ctl(f"revert {revision}")
    assert "relay default" in back.out + back.err and "password must be set again" in back.out + back.err
    before = len(host.messages)
    submit(mail, "bob@example.org", "y@far.test")
    wait_until(lambda: any(q.startswith("deferred/") for q in mail.queue()), "put off", 30)
    assert len(host.messages) == before and "must be set again" in mail.daemon_log("postfix")
    ctl("relay set default password=-", stdin="another")
    submit(mail, "bob@example.org", "z@far.test")   # another: the last answer for one recipient is remembered for 30 s
    wait_until(lambda: len(host.messages) > before, "sent now", 30)
    assert host.logins[-1] == ("us", "another", True)
    with sqlite3.connect(os.path.join(folder, "secrets.db")) as db:
        assert db.execute("SELECT login FROM login").fetchall() == [("us:another",)]
    run(["/usr/sbin/postsuper", "-c", os.path.join(mail.generation(), "postfix"), "-d", "ALL"])
    wait_until(mail.queue_empty, "the queue is empty", 30)


@pytest.mark.spec("F-135")
def test_one_server_one_login(mail, ctl):
    ctl("relay add recipient a.test host=smart.example.net user=u password=-", stdin="p1")
    ctl("relay add default host=smart.example.net")
    changed = ctl("relay set default tls=encrypt password=- -o json", stdin="p2").json
    assert [w for w in changed["warnings"] if "relay recipient/a.test" in w and "smart.example.net:25" in w]
    items = json.loads(ctl("relay list -o json").out)["items"]
    assert {(i["user"], i["tls"], i["password"]) for i in items} == {("u", "encrypt", "(hidden)")}
