"""The internal user domain on the node: slapd from rendered files, mail-ldap, the agent and its mirror (F-014, F-028, S14)."""
import base64
import contextlib
import hashlib
import os
import pwd
import signal
import sqlite3
import subprocess
import time

import pytest

from harness import wait_until
from harness.program import environment
from harness.slapd import Slapd
from harness.wire import body
import control_pb2
import report_pb2

ADD, MODIFY, REMOVE = control_pb2.ADD, control_pb2.MODIFY, control_pb2.REMOVE
USER, GROUP = control_pb2.USER, control_pb2.GROUP


@pytest.fixture
def here(cluster):
    """mx1 with instance and directory, its agent reading that directory; 'here.slapd' runs."""
    cluster.site()
    return mirrored(cluster)


def mirrored(cluster):
    node = cluster["mx1"]
    nobody(node)
    node.slapd = Slapd(node).start()
    node.start(wait=True, accounts=False)
    return node


def nobody(node):
    """The people of the stand-in directory leave before another one comes: it would be held for them (F-181), and mailboxes
    be theirs (F-182)."""
    node.accounts_write(users=[], groups={})
    wait_until(lambda: node.tables.query("SELECT count(*) FROM account") == [(0,)], "nobody is left")
    node.stop()
    with contextlib.closing(sqlite3.connect(os.path.join(node.root, "var/lib/mailnode/agent/node.db"))) as db:
        db.execute("DELETE FROM owner")
        db.commit()


def write(node, verb, kind, name, password=None, lenient=False, **fields):
    """As mailctl would ask, but without its own looks at names: '' or the words of the refusal."""
    edits = [{"field": f.replace("_", "-"), "value": v} for f, v in fields.items()]
    message = {"verb": verb, "kind": kind, "name": name, "fields": edits, "lenient": lenient}
    if password is not None:
        message["password"] = password
    with node.cluster.link() as link:
        answer = link.call(body("directory", user_domain="staff", write=message), timeout=20)[-1]
    return answer.failure.what if answer.WhichOneof("body") == "failure" else ""


def read(node, **wanted):
    with node.cluster.link() as link:
        parts = link.call(body("directory", user_domain="staff", read=wanted), timeout=30)
    assert parts[-1].WhichOneof("body") == "accounts", parts[-1]
    return [a for p in parts for a in p.accounts.accounts]


def userdb(node, name):
    """(may log in, groups) of a user; None: not known to Dovecot."""
    rows = node.tables.query("SELECT login, acl_groups FROM userdb WHERE name=?", name)
    return rows[0] if rows else None


def fact(node, name):
    return {f["name"]: f for f in node.cluster.ctl(f"node show {node.name} -o json", code=None).items[0]["facts"]}[name]


def gate(node):
    rows = node.tables.query("SELECT known, rest FROM gate")
    return rows[0] if rows else None


# ---- people come and go

@pytest.mark.spec("F-014")
def test_a_user_is_known_when_the_command_returns(here):
    began = time.monotonic()
    here.cluster.ctl("user add alice full-name='Alice Doe' password=-", stdin="correct horse\n")
    took = time.monotonic() - began
    assert userdb(here, "alice") == (1, None) and took < 1, took
    assert here.slapd.bind("alice", "correct horse") == 0 and here.slapd.bind("alice", "wrong horse") == 49
    here.cluster.ctl("group add sales members=alice")
    assert userdb(here, "alice") == (1, "sales")
    here.cluster.ctl("user set alice locked=yes")
    assert userdb(here, "alice")[0] == 0 and here.slapd.bind("alice", "correct horse") == 49
    here.cluster.ctl("user set alice locked=no")
    assert userdb(here, "alice")[0] == 1 and here.slapd.bind("alice", "correct horse") == 0
    here.cluster.ctl("group set sales members-=alice")
    assert userdb(here, "alice") == (1, None)
    here.cluster.ctl("group set sales members+=alice")
    here.cluster.ctl("user remove alice --yes")
    assert userdb(here, "alice") is None
    assert "alice" not in here.slapd.search("(memberUid=alice)", "memberUid").stdout


@pytest.mark.spec("F-014")
def test_what_others_write_is_seen_within_a_second_or_two(here):
    """By ldapmodify, as an admin with root would."""
    wait_until(lambda: fact(here, "accounts")["state"] == "good", "the first reading")
    began = time.monotonic()
    done = here.slapd.tool("ldapadd", stdin=f"dn: uid=bob,{here.slapd.people}\nobjectClass: inetOrgPerson\n"
                           "objectClass: posixAccount\nuid: bob\ncn: Bob\nsn: Bob\nuidNumber: 30000\ngidNumber: 20000\n"
                           "homeDirectory: /home/bob\n")
    assert done.returncode == 0, done
    wait_until(lambda: userdb(here, "bob"), "bob is known")
    assert time.monotonic() - began < 5


def test_a_new_password_leaves_the_lock(here):
    """slapd takes its lock away with a new password: ours is put back, and there is no moment without one."""
    assert write(here, ADD, USER, "carol", b"first password", locked="yes") == ""
    assert here.slapd.bind("carol", "first password") == 49 and userdb(here, "carol")[0] == 0
    assert write(here, MODIFY, USER, "carol", b"second password") == ""
    assert here.slapd.bind("carol", "second password") == 49 and userdb(here, "carol")[0] == 0
    assert "at" not in here.slapd.search("uid=carol", "pwdEndTime").stdout.split()
    # Refused: nothing has changed either.
    assert "quality" in write(here, MODIFY, USER, "carol", b"short")
    assert userdb(here, "carol")[0] == 0
    assert write(here, MODIFY, USER, "carol", locked="no") == ""
    assert here.slapd.bind("carol", "second password") == 0 and userdb(here, "carol")[0] == 1


def test_passwords_are_data(here):
    for name, password in (("a", "{SSHA}abcdefghijklmno"), ("b", "{CRYPT}x$y$z!!"), ("c", "pässwörter")):
        assert write(here, ADD, USER, name, password.encode()) == ""
        assert here.slapd.bind(name, password) == 0
    hashes = here.slapd.search("(uid=*)", "userPassword").stdout
    assert hashes.count("userPassword:: e0FSR09OMn0") == 3, "base64 of {ARGON2}"
    assert "at least 8" in here.cluster.ctl("user add d password=-", stdin="short\n", code=None).err
    assert [a.name for a in read(here, kind=USER)] == ["a", "b", "c"], "nobody is left behind a refusal"
    assert "empty" in write(here, ADD, USER, "e", b"")
    log = open(here.log).read()
    for secret in ("abcdefghijklmno", "pässwörter", "ARGON2"):
        assert secret not in log


@pytest.mark.spec("F-015")
def test_the_same_again_changes_nothing(here):
    assert write(here, ADD, USER, "alice", b"correct horse", full_name="Alice") == ""
    before = here.slapd.search("-s", "base", "contextCSN").stdout
    assert "exists" in write(here, ADD, USER, "alice")
    assert write(here, ADD, USER, "alice", lenient=True, full_name="Alice") == ""
    assert write(here, ADD, GROUP, "g", members="alice") == "" and write(here, ADD, GROUP, "g", lenient=True, members="alice") == ""
    assert write(here, ADD, USER, "alice", b"correct horse", lenient=True) == ""
    for other in ({"full_name": "Bob"}, {"locked": "yes"}, {"password": b"another one"}):
        assert "exists with other values" in write(here, ADD, USER, "alice", lenient=True, **other), other
    assert write(here, ADD, GROUP, "g", lenient=True) == ""
    assert "other values" in write(here, ADD, GROUP, "g", lenient=True, members="")
    assert write(here, REMOVE, USER, "nobody-here", lenient=True) == ""
    assert [a.full_name for a in read(here, kind=USER, name="alice")] == ["Alice"] and before


# ---- names

HOSTILE = ["x*y", "a,b", "a@b", "a b", "a/b", ".", "..", ".a", "a.", "a..b", "-x", "josé", "a)(uid=*", "uid=x", "a\\2c", "a\nb",
           "a\x01b", "x" * 65, "", "*", "<a>", '"a"', "a+b", "a#b", "'x"]
TAKEN = ["root", "vmail", "postmaster", "mailer-daemon", "master", "dovecot", "postfix", "_rspamd", "mailagent", "nobody", "anyone",
         "ROOT", "Vmail"]


@pytest.mark.spec("S14", "B24")
def test_names_that_no_user_has(here):
    before = here.slapd.search().stdout
    for name in HOSTILE + TAKEN:
        for kind in (USER, GROUP):
            assert write(here, ADD, kind, name) != "", name
    assert here.slapd.search().stdout == before
    # The same names harm nobody when something is looked for.
    assert write(here, ADD, USER, "alice") == "" and write(here, ADD, USER, "o'hara") == ""
    for name in HOSTILE:
        assert write(here, REMOVE, USER, name) != "", name
        assert write(here, ADD, GROUP, "g", members=name.replace(",", ";") or ";") != "", name
    assert [a.name for a in read(here)] == ["alice", "o'hara"]
    assert userdb(here, "o'hara") == (1, None)


def test_words_that_help(here):
    for name in ("alice", "bob"):
        assert write(here, ADD, USER, name) == ""
    assert write(here, ADD, GROUP, "sales", members="alice") == ""
    for command, code, words in (
            ("user set alcie locked=yes", None, "did you mean alice"),
            ("user show bbo", None, "did you mean bob"),
            ("group add other members=alice,bbo", None, "user bbo does not exist"),
            ("group show sale", None, "did you mean sales"),
            ("user set alice locked=perhaps", None, "write yes or no"),
            ("user add alice", None, "alice exists")):
        said = here.cluster.ctl(command, code=code)
        assert said.code != 0 and words in said.err, said
    assert "no field 'nmae'" in write(here, MODIFY, USER, "alice", nmae="x")
    assert "has no password" in write(here, MODIFY, GROUP, "sales", b"some password")


@pytest.mark.spec("B24", "B26")
def test_who_writes_odd_entries_is_survived(here):
    """Entries by other hands: names that cannot be said are left out, the rest is taken."""
    entry = ("dn: uid={dn},{base}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid{uid}\ncn: x\nsn: x\n"
             "uidNumber: {n}\ngidNumber: 20000\nhomeDirectory: /\n\n")
    odd = "".join(entry.format(dn=dn, uid=uid, n=40000 + i, base=here.slapd.people)
                  for i, (dn, uid) in enumerate([("Anna", ": Anna"), ("a\\2cb", ": a,b"), ("a\\01b", ":: YQFi"), ("good", ": good")]))
    assert here.slapd.tool("ldapadd", stdin=odd).returncode == 0
    wait_until(lambda: userdb(here, "good"), "the good one is known")
    names = [a.name for a in read(here, kind=USER)]
    assert names == ["Anna", "a,b", "good"]
    assert userdb(here, "anna")
    assert write(here, REMOVE, USER, "a,b") == "" and write(here, REMOVE, USER, "ANNA") == ""
    assert [a.name for a in read(here, kind=USER)] == ["good"]
    assert here.agent.said("left out")
    assert here.agent.said("can neither log in nor get mail")
    assert here.agent.said('first="a,b"') or here.agent.said("first=a,b")


# ---- the directory is away

@pytest.mark.spec("F-028", "R34")
def test_directory_away_and_back(here):
    assert write(here, ADD, USER, "alice", b"correct horse") == ""
    assert gate(here) == (None, None)
    here.slapd.stop()
    wait_until(lambda: (gate(here) or ("", ""))[1], "unknown names are put off", 30)
    known, rest = gate(here)
    assert known is None and rest.startswith("451 "), "those that are known go on"
    assert userdb(here, "alice") == (1, None)
    assert fact(here, "accounts")["state"] == "bad"
    assert "directory" in write(here, ADD, USER, "bob")
    here.slapd.start()
    began = time.monotonic()
    wait_until(lambda: gate(here) == (None, None), "open again")
    assert time.monotonic() - began < 10
    assert write(here, ADD, USER, "bob") == "" and userdb(here, "bob")


@pytest.mark.spec("F-028")
def test_gate_stays_closed_until_all_were_read(cluster):
    cluster.site()
    node = cluster["mx1"]
    node.stop()
    os.unlink(node.tables.path)
    node.slapd = Slapd(node)
    node.start(wait=True, accounts=False)
    wait_until(lambda: os.path.exists(node.tables.path) and gate(node), "mail.db is there again")
    assert (gate(node)[0] or "").startswith("451 ")
    node.slapd.start()
    wait_until(lambda: gate(node) == (None, None), "open after the first reading")


@pytest.mark.spec("R34")
def test_a_directory_that_hangs(here):
    """Stopped, not dead: requests end with words, and everything goes on after it."""
    assert write(here, ADD, USER, "alice") == ""
    here.slapd.program.signal(signal.SIGSTOP)
    try:
        said = write(here, ADD, USER, "bob")
        assert "no answer" in said or "directory" in said, said
        wait_until(lambda: (gate(here) or ("", ""))[1], "unknown names are put off", 40)
    finally:
        here.slapd.program.signal(signal.SIGCONT)
    wait_until(lambda: gate(here) == (None, None), "open again", 15)
    assert write(here, ADD, USER, "carol") == "" and userdb(here, "carol")


# ---- children

def children(node):
    with open(f"/proc/{node.agent.pid}/task/{node.agent.pid}/children") as f:
        return [int(p) for p in f.read().split()]


def test_a_child_that_dies_is_replaced(here):
    assert write(here, ADD, USER, "alice") == ""
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        [child] = children(here)
        os.kill(child, number)
        wait_until(lambda: children(here) not in ([], [child]), "another child")
        assert not os.path.exists(f"/proc/{child}"), "its status was taken"
        assert write(here, MODIFY, USER, "alice", full_name=f"after {number}") == ""
    assert gate(here) == (None, None)


def test_children_do_not_outlive_the_agent(here):
    [child] = children(here)
    here.kill()
    wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the child is gone")
    here.start(wait=True, accounts=False)
    [child] = children(here)
    assert here.agent.stop() == 0 and not os.path.exists(f"/proc/{child}")


def test_a_user_domain_that_comes_and_goes(here):
    c = here.cluster
    c.ctl("user-domain add pupils kind=internal node=mx1")
    wait_until(lambda: len(children(here)) == 2, "a child for each")
    c.ctl("user-domain remove pupils --yes")
    wait_until(lambda: len(children(here)) == 1, "one is ended")
    assert "pupils" in c.ctl("user add x -u pupils", code=None).err


@pytest.mark.nodes(2)
def test_a_directory_of_another_node(cluster):
    """mx2's instance uses mx1's directory without a replica: said so, with the way; mx1 holds and changes it."""
    cluster.ctl("user-domain add staff kind=internal node=mx1")
    cluster.ctl("instance add main node=mx2 hostname=mx2.example.org user-domain=staff mail-domain=example.org")
    node = mirrored(cluster)
    other = cluster["mx2"]
    other.stop()
    other.start(wait=True, accounts=False)
    wait_until(lambda: "without a replica here: mailctl user-domain set staff replicas+=mx2" in fact(other, "accounts")["text"], "said by mx2")
    assert fact(other, "accounts")["state"] == "unknown"
    wait_until(lambda: (gate(other)[1] or "").startswith("451 "), "who is not known may be known there")
    assert "none are needed" in fact(node, "accounts")["text"]
    began = time.monotonic()
    assert write(node, ADD, USER, "alice") == "" and time.monotonic() - began < 2, "nobody here waits for its tables"
    assert [a.name for a in read(node)] == ["alice"]


# ---- many

def test_requests_at_once(here):
    """Many at the same moment: each gets its own answer."""
    with here.cluster.link() as link:
        asked = {link.send(body("directory", user_domain="staff", write={"verb": ADD, "kind": USER, "name": f"u{i}"})): i
                 for i in range(15)}
        while asked:
            said = link.receive(20)
            assert said is not None and said.WhichOneof("body") != "failure", said
            if said.last:
                del asked[said.in_reply_to]
    wait_until(lambda: here.tables.query("SELECT count(*) FROM userdb") == [(15,)], "all are known")


@pytest.mark.spec("B26")
def test_a_group_larger_than_an_envelope(here):
    n = 60000
    members = "".join(f"memberUid: somebody.or.other{i:06d}\n" for i in range(n))
    entry = f"dn: cn=all,{here.slapd.groups}\nobjectClass: posixGroup\ncn: all\ngidNumber: 40000\n{members}"
    here.slapd.stop()
    done = subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", here.slapd.conf, "-b", here.slapd.suffix], input=entry, text=True,
                          user="openldap", group="openldap", extra_groups=[], capture_output=True, timeout=60)
    assert done.returncode == 0, done
    here.slapd.start()
    wait_until(lambda: here.tables.query("SELECT count(*) FROM member") == [(n,)], "all members are in mail.db", 60)
    pieces = read(here, kind=GROUP)
    assert len(pieces) > 1 and {p.uuid for p in pieces} == {pieces[0].uuid}
    assert sum(len(p.members) for p in pieces) == n


# ---- rights

RIGHTS = [  # user, tool, input or arguments; None: must work
    ("mailagent", "ldapmodify", "dn: {people}\nchangetype: modify\nreplace: description\ndescription: x\n"),
    ("mailagent", "ldapmodify", "dn: {suffix}\nchangetype: modify\nreplace: o\no: x\n"),
    ("mailagent", "ldapmodify", "dn: cn=default,ou=PPolicy,{suffix}\nchangetype: modify\nreplace: pwdMinLength\npwdMinLength: 1\n"),
    ("mailagent", "ldapadd", "dn: ou=Other,{suffix}\nobjectClass: organizationalUnit\nou: Other\n"),
    ("mailagent", "ldapadd", "dn: cn=x,uid=alice,{people}\nobjectClass: device\ncn: x\n"),
    ("mailagent", "ldapmodify", "dn: {groups}\nchangetype: delete\n"),
    ("dovecot", "ldapmodify", "dn: uid=alice,{people}\nchangetype: modify\nreplace: cn\ncn: x\n"),
    ("dovecot", "ldapadd", "dn: cn=x,{groups}\nobjectClass: posixGroup\ncn: x\ngidNumber: 7\n"),
    ("nobody", "ldapmodify", "dn: uid=alice,{people}\nchangetype: modify\nreplace: cn\ncn: x\n"),
]


def test_rights(here):
    slapd = here.slapd
    assert write(here, ADD, USER, "alice", b"correct horse") == ""
    before = slapd.search().stdout
    for user, tool, text in RIGHTS:
        done = slapd.tool(tool, user=user, stdin=text.format(people=slapd.people, groups=slapd.groups, suffix=slapd.suffix))
        assert done.returncode in (32, 50), (user, text, done)
    assert slapd.search().stdout == before
    for user in ("mailagent", "dovecot", "nobody"):
        seen = slapd.search("*", "+", user=user, base=slapd.people).stdout
        assert "userPassword" not in seen and "pwdHistory" not in seen, user
        assert slapd.search("(userPassword=*)", "dn", user=user, base=slapd.people).stdout == "", "nor by asking around it"
        assert ("uid: alice" in seen) == (user != "nobody"), user
    assert "uidNumber" not in slapd.search("*", user="dovecot", base=slapd.people).stdout
    assert "dn:" not in slapd.search(user="dovecot", base=slapd.groups).stdout


def test_files_and_their_modes(here):
    """slapd reads them as openldap, which can change none of them; the agent cannot even look."""
    slapd = here.slapd
    assert slapd.check().returncode == 0 and slapd.check().stdout + slapd.check().stderr == ""
    for name in os.listdir(slapd.files):
        st = os.stat(os.path.join(slapd.files, name))
        assert st.st_uid == 0 and st.st_mode & 0o777 == 0o640
    with open(f"/proc/{slapd.program.pid}/status") as f:
        uids = next(line for line in f if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(pwd.getpwnam("openldap").pw_uid)}


def test_ldaps(cluster):
    """Passwords by TLS; nothing without a login."""
    cluster.site()
    node = cluster["mx1"]
    nobody(node)
    address = cluster.addresses[2]
    node.slapd = Slapd(node, listen=[address], certificate=True).start()
    assert node.slapd.check().returncode == 0
    node.start(wait=True, accounts=False)
    assert write(node, ADD, USER, "alice", b"correct horse") == ""
    url, trust = f"ldaps://{address}", {"LDAPTLS_CACERT": node.slapd.certificate, "LDAPTLS_REQCERT": "demand"}
    assert node.slapd.bind("alice", "correct horse", url, **trust) == 0
    assert node.slapd.bind("alice", "wrong", url, **trust) == 49
    assert node.slapd.bind("alice", "correct horse", f"ldap://{address}", **trust) == 255, "no listener without TLS"
    done = subprocess.run(["ldapsearch", "-x", "-H", url, "-b", node.slapd.suffix], capture_output=True, text=True, timeout=20,
                          env=environment(trust))
    assert "uid" not in done.stdout and done.returncode != 0, done


CHANGES = [   # who, whose, with which old password, to which; ldappasswd's answer
    ("alice", "alice", "wrong horse", "another one", 53),
    ("alice", "alice", "correct horse", "short", 19),
    ("alice", "bob", None, "taken over", 50),
    ("alice", "bob", "battery staple", "taken over", 53),
    ("alice", "alice", "correct horse", "another one", 0),
]


def with_ldaps(cluster):
    """A node whose directory is open to its users."""
    cluster.site()
    node = cluster["mx1"]
    nobody(node)
    address = cluster.addresses[2]
    slapd = node.slapd = Slapd(node, listen=[address], certificate=True).start()
    node.start(wait=True, accounts=False)
    return node, address, slapd


@pytest.mark.spec("F-179")
def test_passwords_changed_by_users(cluster):
    """Over LDAPS each changes his own (RFC 3062), nobody another's, and nothing else of himself; the old one is worth nothing then."""
    node, address, slapd = with_ldaps(cluster)
    assert write(node, ADD, USER, "alice", b"correct horse") == write(node, ADD, USER, "bob", b"battery staple") == ""
    trust = {"LDAPTLS_CACERT": slapd.certificate, "LDAPTLS_REQCERT": "demand"}
    url = f"ldaps://{address}"

    def dn(name):
        return f"uid={name},{slapd.people}"

    def tool(name, *args, stdin=None, login=("alice", "correct horse")):
        who = ["-D", dn(login[0]), "-w", login[1]] if login else []
        return subprocess.run([name, "-x", "-H", url, *who, *args], input=stdin, capture_output=True, text=True, timeout=20,
                              env=environment(trust))
    for who, whose, old, new, answer in CHANGES:
        done = tool("ldappasswd", *(["-a", old] if old else []), "-s", new, dn(whose))
        assert done.returncode == (answer and 1), (who, whose, new, done)
        assert not answer or f"({answer})" in done.stdout + done.stderr, (who, whose, new, done)
    assert slapd.bind("alice", "correct horse", url, **trust) == 49 and slapd.bind("alice", "another one", url, **trust) == 0
    assert slapd.bind("bob", "battery staple", url, **trust) == 0 and slapd.bind("bob", "taken over", url, **trust) == 49
    assert tool("ldappasswd", "-a", "another one", "-s", "by a stranger", dn("alice"), login=None).returncode
    assert tool("ldappasswd", "-s", "third password", login=("alice", "correct horse")).returncode, "nor with the old one"
    me = ("alice", "another one")
    for change in ("replace: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n", "replace: cn\ncn: Boss\n",
                   "replace: uid\nuid: alice2\n", "replace: uidNumber\nuidNumber: 0\n"):
        done = tool("ldapmodify", stdin=f"dn: {dn('alice')}\nchangetype: modify\n{change}", login=me)
        assert done.returncode == 50, (change, done)
    for text in (f"dn: {dn('eve')}\nobjectClass: inetOrgPerson\nuid: eve\ncn: eve\nsn: eve\n",):
        assert tool("ldapadd", stdin=text, login=me).returncode == 50
    seen = [tool("ldapsearch", "-LLL", "-b", base, login=me).stdout for base in (dn("alice"), dn("bob"), slapd.people)]
    assert "uid: alice" in seen[0] and "userPassword" not in "".join(seen) and "uid: bob" not in "".join(seen)
    assert write(node, MODIFY, USER, "alice", locked="yes") == ""
    assert tool("ldappasswd", "-s", "third password", login=me).returncode, "who is locked changes nothing"


def argon2(parameters, salt_octets=16, hash_octets=32):
    def text(n):
        return base64.b64encode(bytes(n)).decode().rstrip("=")
    return f"{{ARGON2}}$argon2id$v=19${parameters}${text(salt_octets)}${text(hash_octets)}"


@pytest.mark.spec("F-179")
def test_a_hash_of_his_own_making(cluster):
    """What a person writes has slapd's own form and cost: not 4 GiB of memory at each login, nor clear text."""
    node, address, slapd = with_ldaps(cluster)
    assert write(node, ADD, USER, "alice", b"correct horse") == ""
    trust = {"LDAPTLS_CACERT": slapd.certificate, "LDAPTLS_REQCERT": "demand"}
    me = ["-x", "-H", f"ldaps://{address}", "-D", f"uid=alice,{slapd.people}", "-w", "correct horse"]
    for value in (argon2("m=4194304,t=100,p=1"), argon2("m=7168,t=5,p=1", 16, 4096), argon2("m=7168,t=5,p=1") + "\n" + argon2("m=9,t=9,p=1"),
                  "{SSHA}" + base64.b64encode(bytes(28)).decode(), "{CLEARTEXT}x", "{CRYPT}$6$rounds=999999999$x$y", "a clear one"):
        for change in ("replace", "add"):
            text = base64.b64encode(value.encode()).decode()
            done = subprocess.run(["ldapmodify", *me], capture_output=True, text=True, timeout=20, env=environment(trust),
                                  input=f"dn: uid=alice,{slapd.people}\nchangetype: modify\n{change}: userPassword\n"
                                  f"userPassword:: {text}\n")
            assert done.returncode == 50, (change, value, done)
    assert slapd.bind("alice", "correct horse") == 0
    done = subprocess.run(["ldappasswd", *me, "-a", "correct horse", "-s", "another one"], capture_output=True, text=True, timeout=20,
                          env=environment(trust))
    assert done.returncode == 0, done
    assert slapd.bind("alice", "correct horse") == 49 and slapd.bind("alice", "another one") == 0


def hashes():
    """One password in the forms that other systems keep it in."""
    word, salt = b"correct horse", b"NaCl-4711"
    for scheme, digest in (("SSHA", hashlib.sha1), ("SSHA256", hashlib.sha256), ("SSHA512", hashlib.sha512)):
        yield scheme.lower(), f"{{{scheme}}}" + base64.b64encode(digest(word + salt).digest() + salt).decode()
    made = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=word, capture_output=True, check=True)
    yield "crypt6", "{CRYPT}" + made.stdout.decode().strip()
    made = subprocess.run(["/usr/sbin/slappasswd", "-o", "module-load=argon2", "-h", "{ARGON2}", "-T", "/dev/stdin"], input=word,
                          capture_output=True, check=True)
    yield "argon2", made.stdout.decode().strip()


@pytest.mark.spec("F-179")
def test_import_brings_hashes(here, tmp_path):
    """Kept as they are, and they let in; who is locked is not; it is known to the tables when the command returns."""
    each = dict(hashes())
    path = tmp_path / "hashes.csv"
    path.write_text("name,password-hash,groups,locked\n" + "".join(f'{n},"{h}",sales,\n' for n, h in each.items()) +
                    f"shut,{each['ssha']},,yes\n")
    path.chmod(0o600)
    here.cluster.ctl(["user", "import", str(path)])
    assert {n: here.slapd.bind(n, "correct horse") for n in each} == dict.fromkeys(each, 0)
    assert {n: here.slapd.bind(n, "wrong horse") for n in each} == dict.fromkeys(each, 49)
    assert here.slapd.bind("shut", "correct horse") == 49
    assert {n: userdb(here, n) for n in each} == {n: (1, userdb(here, "ssha")[1]) for n in each} and "sales" in userdb(here, "ssha")[1]
    kept = here.slapd.search("(uid=ssha)", "userPassword", base=here.slapd.people).stdout
    assert "userPassword:: " + base64.b64encode(each["ssha"].encode()).decode() in kept
    (tmp_path / "hash").write_text(each["ssha512"])
    here.cluster.ctl(f"user set argon2 locked=yes password-hash=@{tmp_path}/hash")
    here.cluster.ctl("user set argon2 locked=no")
    assert here.slapd.bind("argon2", "correct horse") == 0
    assert "password-hash" in refused(here, "ssha", b"{SSHA}xyz") and "password-hash" in refused(here, "ssha", b"{SASL}bob")
    assert here.slapd.bind("ssha", "correct horse") == 0


def refused(node, name, hash):
    """What the directory itself says of a hash, whoever sends it."""
    with node.cluster.link() as link:
        answer = link.call(body("directory", user_domain="staff", write={"verb": MODIFY, "kind": USER, "name": name,
                                                                         "password": hash, "hashed": True}), timeout=20)[-1]
    return answer.failure.what


# ---- what mail-engine says passes through

def test_happenings_of_mail_engine(here):
    engine = here.engine
    engine.life, engine.happenings = 4711, [(1, report_pb2.BAD, "daemon ended", "postfix: signal 9")]
    wait_until(lambda: "postfix: signal 9" in here.cluster.ctl("events").out, "told once")
    here.kill()
    engine.happenings.append((2, report_pb2.DEGRADED, "daemon ended", "dovecot: exit 1"))
    here.start(wait=True, accounts=False)
    wait_until(lambda: "dovecot: exit 1" in here.cluster.ctl("events").out, "told by the next agent")
    assert here.cluster.ctl("events").out.count("postfix: signal 9") == 1, "and what was told is not told again"


def test_doctor_and_check_ask_mail_engine(here):
    c, engine = here.cluster, here.engine
    wait_until(lambda: fact(here, "accounts")["state"] == "good", "the first reading")
    engine.findings = [(report_pb2.BAD, "port 25", "is held by exim4")]
    for command in ("node check mx1", "doctor mx1"):
        said = c.ctl(command, code=1)
        assert "port 25" in said.out and "exim4" in said.out, said
    engine.findings = []
    engine.refuse_task("no such task here")
    said = c.ctl("doctor mx1", code=1)
    assert "was not asked" in said.out and "no such task here" in said.out, said
    engine.stop()
    wait_until(lambda: fact(here, "mail-engine")["state"] == "bad", "noticed")
    said = c.ctl("node check mx1", code=1)
    assert "was not asked" in said.out, said
