"""Whom a directory may hold, on the running daemons: odd names and entries, people who leave and come back, people who are shut out."""
import base64
import concurrent.futures
import os
import re
import socket
import subprocess
import time

import pytest

from harness import Cluster, Ledger, MailNode, cluster as clusters, wait_until
from harness.mail import Imap, Talk, text_message

pytestmark = pytest.mark.xdist_group("people")

BASE = "dc=people-mx1,dc=mailnode"
PEOPLE, GROUPS = f"ou=People,{BASE}", f"ou=Groups,{BASE}"


@pytest.fixture(scope="module")
def town():
    """A node of its own: people that other hands wrote would disturb others' tests."""
    c = Cluster(nodes=1, node=MailNode)
    clusters.live.remove(c)   # lives longer than one test
    try:
        yield c.mail_site()["mx1"]
    finally:
        clusters.live.append(c)
        c.close()


def tool(node, name, *more, text="", code=0):
    """slapd's own tools, as root over ldapi."""
    url = "ldapi://" + node.path("run/mailnode/slapd/ldapi").replace("/", "%2F")
    done = subprocess.run([f"/usr/bin/{name}", "-Q", "-Y", "EXTERNAL", "-H", url, *more], input=text, text=True, capture_output=True,
                          timeout=30)
    assert done.returncode == code, done
    return done.stdout


def attribute(name, value):
    octets = value.encode() if isinstance(value, str) else value
    return f"{name}:: {base64.b64encode(octets).decode()}\n"


def escaped(value):
    """One value of an RDN: each octet by its number (RFC 4514)."""
    return "".join(f"\\{o:02x}" for o in value.encode())


def person(name, n, *more, rdn=None):
    return (f"dn: {rdn or 'uid=' + escaped(name)},{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\n" + attribute("uid", name) +
            f"cn: x\nsn: x\nuidNumber: {n}\ngidNumber: 20000\nhomeDirectory: /\n" + "".join(more) + "\n")


def passwords(node, people):
    for name, password in people.items():
        tool(node, "ldappasswd", "-s", password, f"uid={escaped(name)},{PEOPLE}")


def sasl(who, password):
    return base64.b64encode(f"\0{who}\0{password}".encode()).decode()


def may_log_in(node, tried):
    """[may] for each (name, password), by AUTH PLAIN on 587, which takes a name with any octets; at once, since a refusal takes its
    time."""
    def one(pair):
        with node.smtp(587).starttls() as smtp:
            return smtp.say(f"AUTH PLAIN {sasl(*pair)}").startswith("235")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, tried))


def rcpt_all(node, recipients):
    with node.smtp() as smtp:
        return {r: smtp.rcpt(r) for r in recipients}


# ---- names

WORKS = ["O'Neil", "a+b", "vmail", "root", "postmaster"]      # in any case; a user of the machine is somebody else
NO_ADDRESS = ["a b", "x" * 65]                                # F-085: logs in, and has no address
NOTHING = ["dom\\u", "*", "(", ")", "a,b"]                    # Dovecot takes no such name: told of, and harmless
LEFT_OUT = ["nul\0x", "x" * 300]
# Each with the password of alice: a filter, a pattern or a query that was not escaped would find her.
POSES = ["*", "a*", "alice)(uid=*", "*)(uid=alice", "alice)(|(uid=*)", "alice\\2a", "ali\\63e", "al%", "al_ce", "' OR name='alice", "%u"]


@pytest.mark.spec("B24", "S14", "F-085", "F-046")
def test_B24_names_of_a_directory(town):
    """By other hands in the directory: each name works, or is refused and harms nobody; none is a pattern or a user of the machine."""
    everybody = WORKS + NO_ADDRESS + NOTHING + LEFT_OUT
    tool(town, "ldapadd", text="".join(person(n, 40000 + i, rdn="cn=x" if len(n) > 200 else None)   # longer than slapd takes in a DN
                                           for i, n in enumerate([*everybody, "zed"])))
    secret = {n: f"pw of person {i}" for i, n in enumerate(WORKS + NO_ADDRESS + NOTHING)}
    passwords(town, secret)
    wait_until(lambda: town.rcpt("zed@example.org").startswith("250"), "all are read")
    assert {n for n, in town.tables.query("SELECT name FROM account WHERE kind='u'")} == \
        {n.lower() for n in WORKS + NO_ADDRESS + NOTHING} | {"alice", "bob", "zed"}
    assert town.agent.said("names cannot be said are left out") and town.agent.said("can neither log in nor get mail")

    may = dict(zip(secret, may_log_in(town, secret.items())))
    assert may == {n: n not in NOTHING for n in secret}, may
    assert not any(may_log_in(town, [(p, town.passwords["alice"]) for p in POSES]))
    def quoted(name):
        return name if re.fullmatch(r"[\w.'+-]+", name) else '"' + name.replace("\\", "\\\\") + '"'
    answers = rcpt_all(town, [f"{quoted(n)}@example.org" for n in [*secret, *LEFT_OUT[1:], *POSES]])
    taken = {r for r, answer in answers.items() if answer.startswith("250")}
    assert taken == {f"{n}@example.org" for n in WORKS}, taken
    assert all(a.startswith(("550 5.1.1", "501 5.1.3", "553 5.1.3", "554 5.7.1")) for r, a in answers.items() if r not in taken), answers

    ledger = Ledger(town)
    for name in ("O'Neil", "a+b", "vmail", "root"):
        assert ledger.send([f"{name}@example.org"], {name.lower(): 1}).startswith("250"), name
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    folders = town.path("var/lib/mailnode/mail")
    assert {os.stat(os.path.join(folders, n)).st_uid for n in os.listdir(folders)} == {os.stat(folders).st_uid}
    with town.imap("alice") as imap:
        assert len(imap.messages()) == 1
    assert town.ready()


# ---- entries

@pytest.mark.spec("B26", "F-014")
def test_B26_entries_of_a_directory(town):
    """A DN over a line of LDIF, values in base64, several uids, groups that name each other: the same people on the node."""
    long = "l" + "o" * 60 + "ng"
    tool(town, "ldapadd", text=(
        f"dn: cn={'y' * 120}+uid={long},{PEOPLE}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: {long}\ncn: {'y' * 120}\n"
        f"sn: x\nuidNumber: 41000\ngidNumber: 20000\nhomeDirectory: /\n\n" +
        person("josefa", 41001, attribute("displayName", " Jósefa \u202e<b>")) +
        person("first", 41002, "uid: second\n", "uid: third\n") + person("plain", 41003)))
    passwords(town, {"first": "pw of person first"})
    group = "dn: cn={0},{1}\nobjectClass: posixGroup\ncn: {0}\ngidNumber: {2}\n{3}\n"
    tool(town, "ldapadd", text="".join(group.format(n, GROUPS, 42000 + i, "".join(f"memberUid: {m}\n" for m in members)) for i, (n, members)
                                       in enumerate({"ring1": ["ring2", "alice", "bob"], "ring2": ["ring1", "bob"], "self": ["self"]}.items())))
    c = town.cluster
    c.ctl("domain set example.org group-addresses=yes")
    try:
        wait_until(lambda: town.rcpt("plain@example.org").startswith("250"), "the people are read")
        wait_until(lambda: town.rcpt("ring2@example.org").startswith("250"), "and the groups")
        shown = {i["name"]: i for i in c.ctl("user list -o json").json["items"]}
        assert "josefa" in shown and "\u202e" not in c.ctl("user list").out
        # Of several uids the one in the DN is the name, wherever it stands among them; the others are nobody's.
        assert [r for r, a in rcpt_all(town, ["first@example.org", "second@example.org", "third@example.org"]).items()
                if a.startswith("250")] == ["first@example.org"]
        assert may_log_in(town, [("first", "pw of person first"), ("second", "pw of person first"), ("third", "pw of person first")]) == \
            [True, False, False]
        ledger = Ledger(town)
        assert ledger.send(["ring1@example.org"], {"alice": 1, "bob": 1}).startswith("250")
        assert ledger.send(["ring2@example.org"], {"bob": 1}).startswith("250")
        assert ledger.send([f"{long}@example.org"], {long: 1}).startswith("250")
        assert not rcpt_all(town, ["self@example.org"])["self@example.org"].startswith("250")
        ledger.settle()
    finally:
        c.ctl("domain set example.org group-addresses=")
    assert town.ready()


# ---- people who leave, and come back as somebody else

def rename(node, old, new):
    tool(node, "ldapmodrdn", "-r", f"uid={old},{PEOPLE}", f"uid={new}")


def mailboxes(c):
    return {i["name"]: i["state"] for i in c.ctl("mailbox list -o json").json["items"]}


def subjects(node, user, password):
    with Imap(node.address, user, password) as imap:
        return sorted(re.search(rb"^Subject: (.*?)\r?$", m, re.M)[1].decode() for m in imap.messages())


@pytest.mark.spec("B27", "F-182")
def test_B27_renamed_deleted_and_made_again(town):
    """Mail stays where it was and is shown as an orphan's; whoever has the name later gets it when an admin says so, not before."""
    c = town.cluster
    for name in ("hana", "ivan"):
        town.add_user(name)
        town.deliver("someone@remote.test", [f"{name}@example.org"], text_message("someone@remote.test", [name], f"old of {name}"))
    wait_until(lambda: town.mailbox("hana") and town.mailbox("ivan") and town.queue_empty(), "both have mail", 30)

    # Deleted: put off, kept, shown.  Made again: another person, who gets neither the old mail nor new.
    c.ctl("user remove hana --yes")
    wait_until(lambda: town.rcpt("hana@example.org").startswith("450"), "who left a moment ago is put off", 5)
    wait_until(lambda: mailboxes(c).get("hana") == "orphan", lambda: f"an orphan: {mailboxes(c)}", 10)
    assert len(town.mailbox("hana")) == 1
    town.add_user("hana", password="pw of the second")
    assert wait_until(lambda: town.rcpt("hana@example.org"), "answered").startswith("450")
    assert may_log_in(town, [("hana", "pw of the second")]) == [False]
    wait_until(lambda: "mailctl mailbox claim hana" in c.ctl("events").out, "an event says what to do")
    assert len(town.mailbox("hana")) == 1, "nothing came, nothing went"
    c.ctl("mailbox claim hana --yes")
    wait_until(lambda: town.rcpt("hana@example.org").startswith("250"), "hers now", 5)
    assert subjects(town, "hana", "pw of the second") == ["old of hana"]

    # Renamed: the same person with a mailbox of the new name; the old one stays behind, and is nobody's.
    rename(town, "ivan", "iwan")
    wait_until(lambda: town.rcpt("iwan@example.org").startswith("250"), "by the new name", 5)
    wait_until(lambda: town.rcpt("ivan@example.org").startswith("450"), "the old one is put off", 5)
    wait_until(lambda: mailboxes(c).get("ivan") == "orphan", lambda: f"an orphan: {mailboxes(c)}", 10)
    assert subjects(town, "iwan", town.passwords["ivan"]) == [] and len(town.mailbox("ivan")) == 1
    rename(town, "hana", "ivan")   # and somebody else takes the old name
    wait_until(lambda: town.tables.query("SELECT login FROM userdb WHERE name='ivan'") == [(0,)], "known, and shut out")
    assert may_log_in(town, [("ivan", "pw of the second")]) == [False]
    assert town.rcpt("ivan@example.org").startswith("450") and len(town.mailbox("ivan")) == 1
    rename(town, "ivan", "hana")   # back: his own, at once
    wait_until(lambda: town.rcpt("hana@example.org").startswith("250"), "back")
    assert subjects(town, "hana", "pw of the second") == ["old of hana"]


# ---- people who are shut out

class Lines(Talk):
    """IMAP and ManageSieve as lines."""

    def until(self, *begins):
        while True:
            line = self.line()
            if line is None or line.startswith(begins):
                return line

    def ask(self, text, *begins):
        try:
            self.write(text + "\r\n")
        except OSError:
            return None
        return self.until(*begins)


def idling(node, user):
    talk = Lines(node.address, 993, tls=True)
    talk.until("* OK")
    assert talk.ask(f"a AUTHENTICATE PLAIN {sasl(user, node.passwords[user])}", "a ").startswith("a OK")
    assert talk.ask("b SELECT INBOX", "b ").startswith("b OK")
    assert talk.ask("c IDLE", "+", "c ").startswith("+")
    return talk


def editing(node, user):
    talk = Lines(node.address, 4190)
    talk.until("OK")
    assert talk.ask("STARTTLS", "OK", "NO").startswith("OK")
    talk.start_tls()
    talk.until("OK")
    assert talk.ask(f'AUTHENTICATE "PLAIN" "{sasl(user, node.passwords[user])}"', "OK", "NO", "BYE").startswith("OK")
    assert talk.ask("LISTSCRIPTS", "OK", "NO").startswith("OK")
    return talk


def sending(node, user):
    smtp = node.smtp(587).starttls()
    assert smtp.say(f"AUTH PLAIN {sasl(user, node.passwords[user])}").startswith("235")
    assert smtp.rcpt("alice@example.org", f"{user}@example.org").startswith("250")
    return smtp


class Lmtp(Talk):
    """As Postfix speaks to Dovecot, behind everything that looks at who may."""

    def __init__(self, node):
        self.socket, self._in = socket.socket(socket.AF_UNIX), b""
        self.socket.settimeout(20)
        self.socket.connect(re.search(r"lmtp:unix:(\S+)", node.rendered("postfix/main.cf"))[1])
        self.reply()
        self.say("LHLO client.test")

    def rcpt(self, user):
        self.say("RSET")
        self.say("MAIL FROM:<someone@remote.test>")
        return self.say(f"RCPT TO:<{user}@u.internal>")


@pytest.mark.spec("S22", "F-045", "S12")
@pytest.mark.parametrize("how", ["mailbox disable", "user locked", "user removed"])
def test_S22_who_is_shut_out_is_out(town, how):
    """With an IMAP session that only waits, scripts being edited, a login that Dovecot remembers and one that sends: all end within
    5 s, and nothing that was accepted is lost."""
    c, user = town.cluster, "s22" + how.split()[1][:3]
    town.add_user(user)
    wait_until(lambda: may_log_in(town, [(user, town.passwords[user])] * 3) == [True] * 3, "remembered")
    imap, sieve, smtp = idling(town, user), editing(town, user), sending(town, user)
    town.deliver("someone@remote.test", [f"{user}@example.org"])
    assert (imap.until("* 1 EXISTS") or "").startswith("* 1 EXISTS"), "it is alive"
    lmtp = Lmtp(town)
    assert lmtp.rcpt(user).startswith("250")

    began = time.monotonic()
    c.ctl({"mailbox disable": f"mailbox disable {user}", "user locked": f"user set {user} locked=yes",
           "user removed": f"user remove {user} --yes"}[how])
    for talk in (imap, sieve):
        talk.socket.settimeout(max(0.1, began + 5 - time.monotonic()))
        try:
            assert talk.until("nothing begins so") is None
        except TimeoutError:
            pytest.fail(f"a session is still open: {talk is imap and 'imap' or 'sieve'}")
    wait_until(lambda: not smtp.rcpt("alice@example.org", f"{user}@example.org").startswith("250"), "sends no more", 5)
    assert may_log_in(town, [(user, town.passwords[user])]) == [False]
    outside, inside = {"mailbox disable": ("550 5.2.1", "250"), "user locked": ("250", "250"), "user removed": ("450", "451")}[how]
    assert town.rcpt(f"{user}@example.org").startswith(outside)
    # What was accepted before does not bounce: it is kept with the rest, or waits.
    assert lmtp.rcpt(user).startswith(inside) and Lmtp(town).rcpt(user).startswith(inside)
    assert len(town.mailbox(user)) == 1, "what is in it stays"


# ---- one name for everything

@pytest.mark.spec("B13", "F-025", "F-079")
def test_B13_one_name_for_an_address_a_mailbox_a_group_and_a_user(town):
    """Each of the same name: the first of specific address, wildcard address (a public mailbox's), group, user has all of the mail."""
    c, n = town.cluster, 0
    town.add_user("quad")
    c.ctl("group add quad members=alice")
    c.ctl("domain set example.org group-addresses=yes")
    c.ctl("public-mailbox add Quad acl=user:alice:read address=quad@*")
    c.ctl("address add quad@example.org to=bob")

    def copies():
        with town.imap("alice") as imap:
            public = imap.messages("Public/Quad")
        boxes = {"bob": town.mailbox("bob"), "alice": town.mailbox("alice"), "quad": town.mailbox("quad"), "public": public}
        return {box for box, messages in boxes.items() if any(f"quad mail {n}".encode() in m for m in messages)}

    for box, then in (("bob", "address remove quad@example.org"), ("public", "public-mailbox remove Quad --yes"),
                      ("alice", "domain set example.org group-addresses="), ("quad", "user remove quad --yes")):
        n += 1
        for recipient in ("quad@example.org", "QUAD+tag@example.org"):
            town.deliver("someone@remote.test", [recipient], text_message("someone@remote.test", [recipient], f"quad mail {n}"))
        wait_until(lambda: copies() and town.queue_empty(), "delivered", 30)
        assert copies() == {box}
        c.ctl(then)
    wait_until(lambda: town.rcpt("quad@example.org").startswith("450"), "and nobody is left", 5)
    c.ctl("group remove quad --yes")
