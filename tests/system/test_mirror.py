"""The mirror of an internal directory, as it changes: by what the directory says, and held when most of it is missing."""
import os
import random
import re
import signal
import subprocess
import time

import pytest

from harness import wait_until
from harness.slapd import Slapd
from test_directory import USER, REMOVE, children, fact, gate, mirrored, nobody, userdb, write

USER_ENTRY = ("dn: uid={dn},{base}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: {name}\ncn: {name}\nsn: x\n"
              "uidNumber: {n}\ngidNumber: 20000\nhomeDirectory: /\n")
GROUP_ENTRY = "dn: cn={name},{base}\nobjectClass: posixGroup\ncn: {name}\ngidNumber: {n}\n"


@pytest.fixture
def here(cluster):
    cluster.site()
    return mirrored(cluster)


def user(here, name, n):
    return USER_ENTRY.format(dn=name, name=name, n=n, base=here.slapd.people)


def change(here, text, code=0):
    done = here.slapd.tool("ldapmodify", "-c", stdin=text, timeout=60)
    assert code is None or done.returncode == code, done


def add(here, names, first=30000):
    change(here, "\n".join(user(here, n, first + i).replace("objectClass", "changetype: add\nobjectClass", 1) for i, n in enumerate(names)))


def people(here):
    """name -> uuid of the users in mail.db."""
    return dict(here.tables.query("SELECT name, uuid FROM account WHERE kind='u'"))


def standing(here):
    """Everything that comes from the directory, but for row numbers and for who left a while ago."""
    q = here.tables.query
    return {
        "account": sorted(q("SELECT kind, uuid, name, full_name, enabled FROM account")),
        "member": sorted(q("SELECT a.uuid, m.kind, m.name FROM member m JOIN account a ON a.id=m.grp")),
        "userdb": sorted(q("SELECT name, uuid, login, acl_groups FROM userdb")),
        "expand": sorted(q("SELECT key, target FROM expand")),
    }


def directory(here):
    """The same accounts and members, by ldapsearch: {uuid: (kind, name, members)}."""
    found = {}
    for kind, base, attribute in (("u", here.slapd.people, "uid"), ("g", here.slapd.groups, "cn")):
        text = here.slapd.search("-s", "one", attribute, "entryUUID", "memberUid", base=base).stdout
        for entry in text.split("\n\n"):
            values = re.findall(r"^(\w+):: ?(.*)|^(\w+): (.*)$", entry, re.M)
            pairs = [(k or k2, v or v2) for k, v, k2, v2 in values]
            uuid = [v for k, v in pairs if k == "entryUUID"]
            name = re.match(rf"dn: {attribute}=([^,]*),", entry)  # or it is left out
            if uuid and name:
                found[uuid[0]] = (kind, name.group(1).lower(), tuple(sorted(v for k, v in pairs if k == "memberUid")))
    return found


def mirrored_directory(here):
    rows = here.tables.query("SELECT id, kind, uuid, name FROM account")
    members = {}
    for grp, name in here.tables.query("SELECT grp, name FROM member"):
        members.setdefault(grp, []).append(name)
    return {uuid: (kind, name, tuple(sorted(members.get(i, [])))) for i, kind, uuid, name in rows}


def settled(here):
    wait_until(lambda: mirrored_directory(here) == directory(here), lambda: f"{mirrored_directory(here)} is {directory(here)}", 15)


# ---- as it changes

@pytest.mark.spec("F-014", "B27")
def test_names_and_people_are_two_things(here):
    """Renamed: the same person; deleted and made again: another one; a member that is nobody is nobody."""
    slapd = here.slapd
    add(here, ["alice", "bob"])
    change(here, GROUP_ENTRY.format(name="sales", n=40000, base=slapd.groups).replace("objectClass", "changetype: add\nobjectClass", 1)
           + "memberUid: alice\nmemberUid: ghost\n")
    settled(here)
    before = people(here)
    assert userdb(here, "alice") == (1, "sales") and userdb(here, "ghost") is None
    change(here, f"dn: uid=alice,{slapd.people}\nchangetype: modrdn\nnewrdn: uid=alicia\ndeleteoldrdn: 1\n")
    settled(here)
    assert people(here) == {"alicia": before["alice"], "bob": before["bob"]}
    assert userdb(here, "alicia") == (1, None), "a group has names in it, not people"
    change(here, f"dn: uid=bob,{slapd.people}\nchangetype: delete\n\n" + user(here, "bob", 31000).replace(
        "objectClass", "changetype: add\nobjectClass", 1))
    settled(here)
    assert people(here)["bob"] != before["bob"]
    change(here, user(here, "ghost", 31001).replace("objectClass", "changetype: add\nobjectClass", 1))
    settled(here)
    assert userdb(here, "ghost") == (1, "sales")
    # A name that cannot be said: who had another one before is gone.
    change(here, f"dn: uid=ghost,{slapd.people}\nchangetype: modrdn\nnewrdn: uid=g\\01t\ndeleteoldrdn: 1\n")
    wait_until(lambda: "ghost" not in people(here), "the ghost is gone")


def edit(here, dice, names, groups, n):
    """One random change, as LDIF."""
    slapd, name, other = here.slapd, dice.choice(names), dice.choice(names)
    group = dice.choice(groups)
    person, party = f"dn: uid={name},{slapd.people}\n", f"dn: cn={group},{slapd.groups}\n"
    return dice.choice([
        lambda: user(here, name, 50000 + n).replace("objectClass", "changetype: add\nobjectClass", 1),
        lambda: user(here, name, 50000 + n).replace("objectClass", "changetype: add\nobjectClass", 1),
        lambda: person + "changetype: delete\n",
        lambda: person + "changetype: delete\n\n" + user(here, name, 50000 + n).replace("objectClass", "changetype: add\nobjectClass", 1),
        lambda: person + f"changetype: modrdn\nnewrdn: uid={other}\ndeleteoldrdn: {dice.choice('01')}\n",
        lambda: person + f"changetype: modify\nreplace: displayName\ndisplayName: {name} {n}\n",
        lambda: person + f"changetype: modify\nreplace: pwdAccountLockedTime\n" + dice.choice(["", "pwdAccountLockedTime: 000001010000Z\n"]),
        lambda: (GROUP_ENTRY.format(name=group, n=60000 + n, base=slapd.groups) + f"memberUid: {name}\n").replace(
            "objectClass", "changetype: add\nobjectClass", 1),
        lambda: party + "changetype: delete\n",
        lambda: party + f"changetype: modify\nadd: memberUid\nmemberUid: {name}\n",
        lambda: party + f"changetype: modify\nadd: memberUid\nmemberUid: {other.upper()}\n",
        lambda: party + f"changetype: modify\ndelete: memberUid\nmemberUid: {name}\n",
        lambda: party + f"changetype: modrdn\nnewrdn: cn={dice.choice(groups)}\ndeleteoldrdn: 1\n",
        lambda: person + f"changetype: modrdn\nnewrdn: uid={other}\ndeleteoldrdn: 1\nnewsuperior: {slapd.groups}\n",
    ])()


@pytest.mark.spec("F-014")
def test_what_changed_is_what_everything_is(here):
    """Random changes, with servers and children that end in between: the tables are those that a first reading makes."""
    seed = int(os.environ.get("MIRROR_SEED", random.randrange(10**6)))
    print(f"MIRROR_SEED={seed}")
    dice, n = random.Random(seed), 0
    names, groups = [f"u{i}" for i in range(12)] + ["Anna", "anna.b", "o'hara"], ["g1", "g2", "u1"]
    add(here, ["rock"], 29000)  # somebody stays: 0 users would be held
    for _ in range(6):
        changes = []
        for _ in range(12):
            n += 1
            changes.append(edit(here, dice, names, groups, n))
        what = dice.choice(["nothing", "restart", "kill", "child", "stop"])
        if what == "child":
            os.kill(children(here)[0], signal.SIGKILL)
        if what == "stop":  # the agent hears of it later
            here.slapd.program.signal(signal.SIGSTOP)
            here.slapd.program.signal(signal.SIGCONT)
        change(here, "\n".join(changes), None)
        if what == "restart":
            here.slapd.stop()
            here.slapd.start()
        if what == "kill":
            here.slapd.program.kill()
            here.slapd.start()
        wait_until(lambda: {k: v[:2] for k, v in mirrored_directory(here).items()}
                   == {k: v[:2] for k, v in directory(here).items()},
                   lambda: f"after {what}, seed {seed}: {set(mirrored_directory(here).items() ^ directory(here).items())}", 20)
    increment = wait_still(here)
    here.stop()
    os.unlink(here.tables.path)
    here.start(wait=True, accounts=False)
    wait_until(lambda: os.path.exists(here.tables.path) and people(here) and gate(here) == (None, None), "read anew")
    for what, rows in standing(here).items():
        assert rows == increment[what], f"seed {seed}: {what}"


def wait_still(here):
    """The tables, when all that the directory did has come: a change of ours is answered after it."""
    assert write(here, REMOVE, USER, "nobody-here", lenient=True) == ""
    last = [None]

    def still():
        last[0], before = standing(here), last[0]
        return last[0] == before and not time.sleep(0.3)
    wait_until(still, "still")
    return last[0]


@pytest.mark.spec("F-014")
def test_away_meanwhile(here):
    """What happened while nobody looked: resumed after a restart of slapd, and by a new database everything is read."""
    slapd = here.slapd
    add(here, ["alice", "bob", "carol"])
    settled(here)
    slapd.program.signal(signal.SIGSTOP)  # its connection stays
    slapd.program.kill()
    slapd.start()
    change(here, f"dn: uid=alice,{slapd.people}\nchangetype: delete\n")
    slapd.stop()
    slapd.start()
    settled(here)
    assert sorted(people(here)) == ["bob", "carol"]
    # Another database in its place, and the same names: nobody of it is known, and no cookie holds.
    old = people(here)
    slapd.stop()
    for name in os.listdir(slapd.data):
        os.unlink(os.path.join(slapd.data, name))
    slapd.load()
    entries = "\n".join(user(here, n, 30000 + i) for i, n in enumerate(["bob", "carol", "dora"]))
    done = subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", slapd.conf, "-b", slapd.suffix], input=entries, text=True,
                          user="openldap", group="openldap", extra_groups=[], capture_output=True, timeout=60)
    assert done.returncode == 0, done
    slapd.start()
    settled(here)
    assert sorted(people(here)) == ["bob", "carol", "dora"] and people(here)["bob"] != old["bob"]


def test_a_directory_that_tells_nothing(cluster):
    """Without RFC 4533 all of it is read in pages, again and again; a change of ours is seen at once."""
    cluster.site()
    node = cluster["mx1"]
    nobody(node)
    node.slapd = Slapd(node)
    with open(node.slapd.conf) as f:
        text = re.sub(r"(?m)^(overlay *syncprov|syncprov-).*\n", "", f.read())
    with open(node.slapd.conf, "w") as f:
        f.write(text)
    node.slapd.start()
    node.start(wait=True, accounts=False)
    cluster.ctl("user add alice")
    assert userdb(node, "alice") == (1, None)
    add(node, ["bob"])
    wait_until(lambda: userdb(node, "bob"), "bob, with the next reading", 30)
    cluster.ctl("user remove alice --yes")
    assert userdb(node, "alice") is None


# ---- held

@pytest.mark.spec("F-181", "R35")
def test_a_mirror_that_shrinks_is_held(here):
    c, slapd, names = here.cluster, here.slapd, [f"u{i:02}" for i in range(60)]
    add(here, names)
    wait_until(lambda: len(people(here)) == 60, "all are known")
    # Twenty go: that happens.
    change(here, "\n".join(f"dn: uid={n},{slapd.people}\nchangetype: delete\n" for n in names[:20]))
    wait_until(lambda: len(people(here)) == 40, "twenty went")
    # Half of what there was lately, in small steps: held, and known names go on.
    for n in names[20:45]:
        change(here, f"dn: uid={n},{slapd.people}\nchangetype: delete\n")
    wait_until(lambda: "held" in fact(here, "accounts")["text"], "held")
    left = len(people(here))
    assert 15 < left <= 40 and userdb(here, names[59]) == (1, None) and gate(here) == (None, None)
    shown = fact(here, "accounts")
    assert shown["state"] == "degraded" and "mailctl user-domain accept staff" in shown["text"]
    assert "held" in c.ctl("user-domain show staff").out and "accounts degraded" in c.ctl("status", code=None).out
    assert c.ctl("events").out.count("directory held") == 1
    # A restart changes nothing; nor does a directory in which nobody is.
    change(here, "\n".join(f"dn: uid={n},{slapd.people}\nchangetype: delete\n" for n in names[45:]))
    here.stop()
    here.start(wait=True, accounts=False)
    wait_until(lambda: "has 0 users, was" in fact(here, "accounts")["text"], "held again", 20)
    assert len(people(here)) == left
    said = c.ctl("user-domain accept stuff --yes", code=4)
    assert "did you mean staff" in said.err
    said = c.ctl("user-domain accept staff --yes").out
    assert "accepted" in said and not people(here), said
    wait_until(lambda: fact(here, "accounts")["state"] == "good", "taken")
    assert "nothing of user domain staff is held" in c.ctl("user-domain accept staff --yes", code=4).err


@pytest.mark.spec("F-181", "R34")
def test_users_that_come_back(here):
    """Hidden by rights, and seen again: nobody was lost, and nobody had to say anything."""
    slapd = here.slapd
    add(here, ["alice", "bob"])
    settled(here)
    with open(slapd.conf) as f:
        text = f.read()
    hidden = re.sub(r"(?m)^(access +to dn\.one=ou=People.*\n(?: .*\n)*)", "", text)
    assert hidden != text
    slapd.stop()
    with open(slapd.conf, "w") as f:
        f.write(hidden)
    slapd.start()
    os.kill(children(here)[0], signal.SIGKILL)  # reads everything
    wait_until(lambda: "held" in fact(here, "accounts")["text"], "held")
    assert sorted(people(here)) == ["alice", "bob"]
    slapd.stop()
    with open(slapd.conf, "w") as f:
        f.write(text)
    slapd.start()
    wait_until(lambda: fact(here, "accounts")["state"] == "good", "taken again", 30)
    assert sorted(people(here)) == ["alice", "bob"]
    wait_until(lambda: "directory taken again" in here.cluster.ctl("events").out, "told")


# ---- mailboxes remember whose they are

@pytest.mark.spec("F-182", "B27")
def test_another_person_does_not_get_the_mailbox(here):
    """By the same name: 450 and no login, said by an event, until somebody decides; who is renamed takes nothing along."""
    c = here.cluster
    c.ctl("user add alice")
    c.ctl("user add bob")
    assert userdb(here, "alice") == (1, None)
    first = people(here)["alice"]
    c.ctl("user remove alice --yes")
    c.ctl("user add alice")
    assert people(here)["alice"] != first and userdb(here, "alice") == (0, None)
    verdict = "SELECT verdict FROM rcpt WHERE local='alice'"
    assert {v[:3] for v, in here.tables.query(verdict)} == {"450"}
    wait_until(lambda: "mailctl mailbox claim alice" in c.ctl("events").out, "an event says so")
    # It stands over a restart, a lost mail.db, and the other one's return by that name.
    here.stop()
    os.unlink(here.tables.path)
    here.start(wait=True, accounts=False)
    wait_until(lambda: os.path.exists(here.tables.path) and people(here), "read anew")
    wait_until(lambda: userdb(here, "alice") == (0, None), "still another's")
    change(here, f"dn: uid=alice,{here.slapd.people}\nchangetype: modrdn\nnewrdn: uid=carol\ndeleteoldrdn: 1\n\n"
           f"dn: uid=bob,{here.slapd.people}\nchangetype: modrdn\nnewrdn: uid=alice\ndeleteoldrdn: 1\n")
    wait_until(lambda: userdb(here, "carol") == (1, None) and userdb(here, "alice") == (0, None), "bob is not alice either")
    assert "--yes" in c.ctl("mailbox claim alice", code=2).err
    said = c.ctl("mailbox claim alice --yes")
    assert "mailbox alice claimed" in said.out and userdb(here, "alice") == (1, None), said
    assert {v[:2] for v, in here.tables.query(verdict)} <= {"OK", "in"}
    c.ctl("mailbox claim alice --yes")  # his already
    assert "user nobody-here does not exist" in c.ctl("mailbox claim nobody-here --yes", code=4).err
    # Whose it was before is another person now.
    change(here, f"dn: uid=alice,{here.slapd.people}\nchangetype: delete\n")
    wait_until(lambda: userdb(here, "alice") is None, "bob went")
    change(here, f"dn: uid=carol,{here.slapd.people}\nchangetype: modrdn\nnewrdn: uid=alice\ndeleteoldrdn: 1\n")
    wait_until(lambda: userdb(here, "alice") == (0, None), "it is bob's")
