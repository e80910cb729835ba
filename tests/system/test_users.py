"""Users and groups of an internal directory by mailctl (F-179), with an agent that the test plays."""
import base64
import glob
import hashlib
import json
import os
import pty
import re
import select
import subprocess
import threading
import time

import pytest

from harness import Cluster, wait_until
from harness.holder import Holder
from harness.paths import MAILCTL
from harness.program import environment
from harness.wire import body
import control_pb2

SECRET = "ti9er-Sésame-4711"
VIEWER, OPERATOR, LIMITED, STRANGER = range(20011, 20015)


@pytest.fixture
def staff():
    """User domain staff on mx1, which the test plays; instance main uses it."""
    with Cluster() as c:
        with Holder(c, "mx1") as holder:
            c.ctl("user-domain add staff kind=internal node=mx1")
            c.ctl("instance add main node=mx1 hostname=mx1.example.org user-domain=staff mail-domain=example.org")
            c.holder = holder
            yield c


@pytest.mark.spec("F-179")
def test_users_come_change_and_go(staff):
    c, people = staff, staff.holder.people
    said = c.ctl("user add Alice full-name='Alice A.' password=-", stdin=SECRET + "\n")
    assert re.fullmatch(r"user alice added to staff \(\d+ ms\)\n", said.out), said
    assert people.users["alice"] == {"full_name": "Alice A.", "enabled": True} and people.passwords["alice"] == SECRET.encode()
    c.ctl("user add alice", code=6)
    c.ctl("user add alice --may-exist")
    assert re.match(r"user alice changed in staff", c.ctl("user set alice locked=yes full-name='A. Alice'").out)
    assert people.users["alice"] == {"full_name": "A. Alice", "enabled": False} and people.passwords["alice"] == SECRET.encode()
    c.ctl("group add sales members=alice,bob")
    c.ctl("group set sales members+=carol members-=bob")
    assert people.groups["sales"]["members"] == ["alice", "carol"]
    shown = c.ctl("user show alice").out
    for words in ("user alice of staff", "full-name             A. Alice", "state                 locked", "groups                sales"):
        assert words in shown, shown
    assert "members               alice,carol" in c.ctl("group show sales").out
    c.ctl("user set nobody locked=yes", code=4)
    c.ctl("user set nobody locked=yes --if-exists")
    c.ctl("user show nobody", code=4)
    said = c.ctl("user remove alice", code=2)  # no terminal to ask
    assert "--yes" in said.err and "its mail stays" in said.err and "alice" in people.users
    assert re.match(r"user alice removed from staff", c.ctl("user remove alice --yes").out)
    c.ctl("user remove alice --yes", code=4)
    c.ctl("user remove alice --yes --if-exists")
    c.ctl("group remove sales --yes")
    assert not people.users and not people.groups
    assert json.loads(c.ctl("user add bob -o json").out) .items() >= {"version": 1, "user_domain": "staff", "user": "bob"}.items()


@pytest.mark.spec("F-179")
def test_lists_come_in_pages(staff):
    """1,203 users by pages of 500, each in parts of 100; every one once, in order."""
    c, people = staff, staff.holder.people
    staff.holder.part = 100
    names = [f"u{i:04}" for i in range(1203)]
    people.users = {n: {"full_name": f"No. {n[1:]}", "enabled": n != "u0007"} for n in names}
    people.groups = {"few": {"members": ["u0001", "u0007"]}}
    assert c.ctl("user list -o name").names == names
    assert [d.read.after for d in staff.holder.seen] == ["", "u0499", "u0999"]
    assert all(d.read.limit == 500 for d in staff.holder.seen)
    items = c.ctl("user list -o json --limit 9").items
    assert [i["name"] for i in items] == names[:9] and items[1]["groups"] == ["few"] and items[7]["enabled"] is False
    table = c.ctl("user list --after u0004 --limit 3").out.splitlines()
    assert [re.split(r" {2,}", line) for line in table] == [
        ["NAME", "FULL NAME", "STATE", "GROUPS"], ["u0005", "No. 0005", "enabled", "-"], ["u0006", "No. 0006", "enabled", "-"],
        ["u0007", "No. 0007", "locked", "few"]]
    assert re.split(r" {2,}", c.ctl("group list").out.splitlines()[1]) == ["few", "u0001,u0007"]
    people.users = {}
    assert c.ctl("user list").out == "" and c.ctl("user list -o json").items == []


@pytest.mark.spec("F-179", "S41")
def test_names_from_the_directory_do_not_reach_the_terminal(staff):
    staff.holder.people.users = {"a\x1b[31mb": {"full_name": "x\ny", "enabled": True}}
    for line in ("user list", "user list -o json", "user list -o name", "user list -o yaml"):
        assert "\x1b" not in staff.ctl(line).out and "x\ny" not in staff.ctl(line).out


@pytest.mark.spec("F-179")
def test_which_directory_is_meant(staff):
    c = staff
    c.ctl("user-domain add other kind=internal node=mx1")
    c.ctl("user add alice")
    assert staff.holder.seen[-1].user_domain == "staff"  # that of the only instance
    c.ctl("user add bob -u other")
    assert staff.holder.seen[-1].user_domain == "other"
    c.ctl("node add mx2")
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=other mail-domain=example.net --no-wait", code=(0, 7))
    said = c.ctl("user list", code=2)
    assert "which one?" in said.err and "-u other, -u staff" in said.err, said
    c.ctl("user list -i second")
    assert staff.holder.seen[-1].user_domain == "other" and not staff.holder.seen[-1].instance
    c.ctl("user list", env={"MAILCTL_INSTANCE": "main"})
    assert staff.holder.seen[-1].user_domain == "staff"
    n = len(staff.holder.seen)
    said = c.ctl("user list -u stuff", code=4)
    assert "user-domain stuff does not exist" in said.err and "did you mean staff?" in said.err
    c.ctl("user list -i nowhere", code=4)
    for wrong in ("..", "a/b", "a@b", " a", "a\tb"):
        c.ctl(["user", "add", wrong], code=3)
    assert len(staff.holder.seen) == n


@pytest.mark.spec("F-179", "B19")
def test_passwords_are_seen_by_the_directory_alone(staff, tmp_path):
    """Not on the command line, in no log, not in the history, not in an export, not in the store, in no error."""
    c = staff
    before = c.revision
    (tmp_path / "pw").write_text(SECRET + "\n")
    c.ctl(f"user add alice password=@{tmp_path}/pw")
    c.ctl("user set alice password=-", stdin=SECRET)
    assert [d.write.password.decode() for d in staff.holder.seen] == [SECRET, SECRET]
    for wrong in (f"user add bob password={SECRET}", f"user set alice 'password+={SECRET}'", f"user set alice --password={SECRET}",
                  f"user add bob pasword={SECRET}"):
        said = c.ctl(wrong, code=2)
        assert SECRET not in said.out + said.err, said
    n = len(staff.holder.seen)
    said = c.ctl(f"user set alice password={SECRET}", code=2)
    assert "hint: password=@FILE, or password=- for stdin" in said.err and len(staff.holder.seen) == n
    # A directory that says what it should not: to who asked, and to nobody else.
    staff.holder.answer = lambda peer, asked: staff.holder.say(
        peer, asked, body("failure", code=control_pb2.SYSTEM, what=f"slapd choked on {asked.directory.write.password.decode()}"))
    c.ctl("user set alice password=-", stdin=SECRET, code=10)
    assert c.revision == before
    said = c.ctl("history -o json").out + c.ctl("export").out + c.ctl("events").out + c.ctl("task list").out
    assert SECRET not in said
    octets = SECRET.encode()
    for path in [c.log, *glob.glob(c.root + "/**/*", recursive=True)]:
        if os.path.isfile(path):
            with open(path, "rb") as f:
                assert octets not in f.read(), path


@pytest.mark.spec("F-179")
@pytest.mark.parametrize("content, words", [(b"", "empty"), (b"\n", "empty"), (b"a\0b", "NUL"), (b"\xff\xfe", "UTF-8"), (b"x" * 2000, "1024")])
def test_passwords_that_are_none(staff, tmp_path, content, words):
    (tmp_path / "pw").write_bytes(content)
    for how, stdin in ((f"@{tmp_path}/pw", None), ("-", content)):
        said = staff.ctl(f"user add alice password={how}", stdin=stdin, code=3)
        assert words in said.err, said
    staff.ctl("user add alice password=@/does/not/exist", code=4)
    assert not staff.holder.seen


def on_terminal(c, line, *answers):
    """mailctl on a terminal of its own: what is typed when it asks; (exit code, what the screen showed)."""
    master, slave = pty.openpty()
    process = subprocess.Popen([MAILCTL, *line], stdin=slave, stdout=slave, stderr=slave, close_fds=True, cwd="/",
                               env=environment({"MAILNODE_ROOT": c.root}), start_new_session=True)
    os.close(slave)
    screen, answers, asked = b"", list(answers), 0
    end = time.monotonic() + 15
    while time.monotonic() < end:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:
            more = os.read(master, 4096)
        except OSError:
            break
        if not more:
            break
        screen += more
        if answers and screen.count(b": ") > asked and screen.endswith(b": "):
            asked = screen.count(b": ")
            os.write(master, answers.pop(0).encode() + b"\n")
    os.close(master)  # hangs it up, if it still asks
    return process.wait(10), screen.decode()


@pytest.mark.spec("F-179")
def test_a_terminal_is_asked_twice_without_echo(staff):
    people = staff.holder.people
    code, screen = on_terminal(staff, ["user", "add", "alice"], SECRET, SECRET)
    assert code == 0 and people.passwords["alice"] == SECRET.encode() and SECRET not in screen, screen
    assert "Password of alice" in screen and "Once more" in screen
    code, screen = on_terminal(staff, ["user", "set", "alice", "password=-"], "first one", "second one")
    assert code == 2 and "nothing was changed" in screen and "first one" not in screen
    assert people.passwords["alice"] == SECRET.encode()
    code, screen = on_terminal(staff, ["user", "add", "bob"], "")  # nothing: nobody can log in
    assert code == 0 and "bob" in people.users and "bob" not in people.passwords


@pytest.mark.spec("F-179", "F-171")
def test_who_may(staff):
    c = staff
    c.ctl("user-domain add other kind=internal node=mx1")
    c.ctl(f"admin add viewer role=viewer uid={VIEWER}")
    c.ctl(f"admin add operator role=operator uid={OPERATOR}")
    c.ctl(f"admin add helpdesk role=operator uid={LIMITED} instances=main")
    reads = ["user list -u staff", "user list -u other", "group list -u staff"]
    writes = {"user add {n} -u staff": (OPERATOR, LIMITED), "group add {n} -u staff": (OPERATOR, LIMITED),
              "user add {n} -u other": (OPERATOR,), "user remove nobody -u other --yes --if-exists": (OPERATOR,)}
    wrong, n = [], 0
    for line in [*reads, *writes]:
        for uid in (VIEWER, OPERATOR, LIMITED, STRANGER):
            n, asked = n + 1, len(staff.holder.seen)
            said = c.ctl(line.format(n=f"n{n}"), uid=uid, code=None)
            may = uid in writes[line] if line in writes else uid != STRANGER
            if (said.code == 0) != may or (len(staff.holder.seen) > asked) != may or said.code not in (0, 6):
                wrong.append(f"{uid}: {line}: {said!r}")
    assert not wrong, "\n".join(wrong)
    said = c.ctl("user add x -u other", uid=LIMITED, code=6)
    assert "may not change users and groups of other" in said.err and "limited to instances" in said.err
    # Of what is not there, nothing is told to who may not change it.
    assert "role is viewer" in c.ctl("user add x -u nowhere", uid=VIEWER, code=6).err


@pytest.mark.spec("F-179")
def test_a_node_that_is_away(staff):
    """Said at once, with since when; nothing was changed."""
    c = staff
    c.ctl("node add mx9")
    c.ctl("user-domain add far kind=internal node=mx9 --no-wait", code=(0, 7))
    said = c.ctl("user add alice -u far", code=11)
    assert "node mx9, which holds far, has not joined yet" in said.err
    staff.holder.stop()
    wait_until(lambda: not c.online("mx1"), "mx1 is offline", 30)
    for line in ("user add alice", "user list", "user show alice"):
        start = time.monotonic()
        said = c.ctl(line, code=11)
        assert re.search(r"node mx1, which holds staff, is offline since \d\d:\d\d\n", said.err), said
        assert time.monotonic() - start < 5
    assert not staff.holder.seen
    staff.holder.start()
    c.ctl("user add alice")


@pytest.mark.spec("F-179")
def test_an_answer_that_is_lost(staff):
    """The node went away with the question: who read tries again (11), who changed something does not know (9)."""
    c = staff

    def vanish(*_):
        staff.holder._stop.set()
    for line, code in (("user list", 11), ("user set alice locked=yes", 9)):
        staff.holder.answer = vanish
        said = c.ctl(line, code=code, timeout=90)
        assert "node mx1, which holds staff, went away before it answered" in said.err, said
        assert ("outcome unknown" in said.err and "hint: mailctl user show alice" in said.err) == (code == 9), said
        staff.holder.stop()
        staff.holder.answer = None
        staff.holder.start()
    said = c.ctl("user list -o json")
    assert said.items == []


@pytest.mark.slow
@pytest.mark.spec("F-179")
def test_an_answer_that_does_not_come(staff):
    """The node is there and says nothing: 30 seconds, and meanwhile others are served."""
    c = staff
    staff.holder.answer = lambda *_: None
    waiting, start = c.ctl.start("user set alice locked=yes"), time.monotonic()
    wait_until(lambda: staff.holder.seen, "asked")
    c.ctl("address add info@example.org to=alice")
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 9 and "did not answer within 30 s" in err and 25 < time.monotonic() - start < 45, err


@pytest.mark.spec("F-179", "S36")
@pytest.mark.parametrize("what", ["other body", "wrong order", "endless", "late"])
def test_a_node_that_answers_nonsense(staff, what):
    c, holder = staff, staff.holder

    def nonsense(peer, asked):
        if what == "other body":
            holder.say(peer, asked, body("report"))
            holder.say(peer, asked, body("accounts"), 1)
        elif what == "wrong order":
            holder.say(peer, asked, body("accounts"), 0, False)
            holder.say(peer, asked, body("accounts"), 0)
        elif what == "endless":
            for i in range(300):
                holder.say(peer, asked, body("accounts", accounts=[{"name": f"{i:04}" * 20000}]), i, False)
            holder.say(peer, asked, body("failure", code=control_pb2.SYSTEM, what="enough"), 300)
        else:
            holder.say(peer, asked, body("accounts", accounts=[{"name": "alice"}]))
            holder.say(peer, asked, body("accounts", accounts=[{"name": "mallory"}]), 1)
            holder.say(peer, asked, body("done"))
    holder.answer = nonsense
    said = c.ctl("user list -o name", code=None)
    assert said.code in {"late": (0,), "endless": (10, 11)}.get(what, (11,)), said  # cut, or read to its end
    if what == "late":
        assert said.names == ["alice"]
    holder.answer = None
    c.ctl("user add alice")
    assert c.controller.running() and c.online("mx1")


def test_many_at_once(staff):
    """Each gets its own answer."""
    c, trouble = staff, []

    def add(i):
        try:
            c.ctl(f"user add u{i} full-name=n{i}")
            if c.ctl(f"user show u{i} -o json").items[0]["full_name"] != f"n{i}":
                trouble.append(i)
        except AssertionError as wrong:
            trouble.append(wrong)
    threads = [threading.Thread(target=add, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble and len(staff.holder.people.users) == 12


# ---- import

SSHA = "{SSHA}" + base64.b64encode(hashlib.sha1(b"correct horse" + b"salt").digest() + b"salt").decode()


def imported(c, path, text, *more, code=0, **how):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o600)
    return c.ctl(["user", "import", str(path), *more], code=code, **how)


@pytest.mark.spec("F-179", "B19")
def test_import_csv(staff, tmp_path):
    """A first look changes nothing; who is in the file is there then, with groups; no password is seen anywhere else."""
    c, people, path = staff, staff.holder.people, tmp_path / "staff.csv"
    people.groups = {"old": {"members": ["zoe"]}}
    people.users = {"zoe": {"full_name": "Zoe", "enabled": True}}
    text = ("\ufeffname,full-name,password,password-hash,groups,locked\r\n"
            f'Alice,"Alice ""A."" Ångström, the first",{SECRET},,"old, new",\r\n'
            f"bob,,,{SSHA},new,no\r\n"
            "carol,Carol,,,,yes\r\n")
    said = imported(c, path, text, "--dry-run", code=1)
    assert said.out.splitlines() == [
        """+ user alice full-name='Alice "A." Ångström, the first' password=(hidden)""", "+ user bob password-hash=(hidden)",
        "+ user carol full-name='Carol' locked=yes", "+ group new members=alice,bob", "~ group old members+=alice"]
    assert set(people.users) == {"zoe"} and not said.err
    said = imported(c, path, text)
    assert re.fullmatch(r"3 users, 1 groups and 3 memberships added to staff; 0 were there, 0 other entries left out \(.*\)\n", said.out), said
    assert people.users["alice"] == {"full_name": 'Alice "A." Ångström, the first', "enabled": True}
    assert people.users["carol"] == {"full_name": "Carol", "enabled": False}
    assert people.passwords == {"alice": SECRET.encode(), "bob": SSHA.encode()}
    assert {d.write.name for d in staff.holder.seen if d.HasField("write") and d.write.hashed} == {"bob"}
    assert people.groups["old"]["members"] == ["zoe", "alice"] and people.groups["new"]["members"] == ["alice", "bob"]
    n = len(staff.holder.seen)
    said = c.ctl(["user", "import", str(path)], code=6)
    assert [line.split(": ")[:2] for line in said.err.splitlines()[:3]] == [[f"{path}:{i}", f"user {n}"] for i, n in
                                                                            ((2, "alice"), (3, "bob"), (4, "carol"))]
    assert "3 lines are wrong, nothing was written" in said.err and "--may-exist" in said.err
    said = imported(c, path, text + "dave,Dave,,,new,\r\n", "--may-exist", "-o", "json")
    assert said.json.items() >= {"users": 1, "groups": 0, "memberships": 1, "there": 3, "user_domain": "staff"}.items()
    assert people.groups["new"]["members"] == ["alice", "bob", "dave"]
    assert [d.write.name for d in staff.holder.seen[n:] if d.HasField("write")] == ["dave", "new"]
    assert imported(c, path, text, "--may-exist", "--dry-run").out == ""
    path.chmod(0o644)
    assert "others can read it" in c.ctl(["user", "import", str(path), "--may-exist"]).err
    octets = SECRET.encode()
    for log in [c.log, *glob.glob(c.root + "/**/*", recursive=True)]:
        if os.path.isfile(log):
            with open(log, "rb") as f:
                assert octets not in f.read(), log


WRONG = [
    ("csv", "name\nBob Smith\n", "2: user Bob Smith: ' ' is not allowed"),
    ("csv", "name\npostmaster\n", "2: user postmaster: the name means something"),
    ("csv", "name\nalice\nALICE\n", "3: user alice: it is in line 2, too"),
    ("csv", "name,password\nalice,short\n", "2: user alice: password: at least 8"),
    ("csv", "name,password-hash\nalice,{MD6}xyz\n", "2: user alice: password-hash: scheme {MD6}"),
    ("csv", f"name,password,password-hash\nalice,{SECRET},{SSHA}\n", "2: user alice: a password and a hash"),
    ("csv", "name,locked\nalice,perhaps\n", "2: user alice: locked: write yes or no"),
    ("csv", "name,groups\nalice,a/b\n", "2: user alice: groups: 'a/b'"),
    ("csv", f"name,full-name\nalice,{'x' * 201}\n", "2: user alice: full-name: 201 octets"),
    ("csv", "name,fullname\nalice,x\n", "1: column 'fullname' is not known, did you mean full-name?"),
    ("csv", "full-name\nx\n", "1: the first row has no column 'name'"),
    ("csv", "name,name\nx,x\n", "1: column name is there twice"),
    ("csv", "name,locked\nalice\n", "2: 1 fields, and the first row has 2"),
    ("csv", "name\nal\"ice\n", "2: a quote in the middle"),
    ("csv", "name\n\"alice\n", "2: a quote is opened"),
    ("csv", "name\n", "nobody is in it"),
    ("csv", "", "nobody is in it"),
    ("csv", b"name\nal\0ice\n", "a NUL is in it"),
    ("csv", b"name\nalic\xe9\n", ":2: not UTF-8"),
    ("ldif", "dn: uid=a,dc=x\nobjectClass: inetOrgPerson\n", "1: an entry without uid"),
    ("ldif", "dn: uid=a,dc=x\nobjectClass: inetOrgPerson\nuid: a\nuserPassword: {X}y\n", "4: user a: password-hash: scheme {X}"),
    ("ldif", "dn: cn=g,dc=x\nobjectClass: posixGroup\ncn: g\nmemberUid: nobody1\n", "1: group g: members: user nobody1 does not exist"),
    ("ldif", "dn: cn=g,dc=x\nobjectClass: groupOfNames\ncn: g\nmember: ou=x\n", "4: group g: member: write uid=NAME"),
    ("ldif", "dn: uid=a,dc=x\nchangetype: delete\n", "2: changetype: entries are taken"),
    ("ldif", "dn: uid=a,dc=x\nuid:< file:///etc/shadow\n", "2: uid: what another file or server holds is not fetched"),
    ("txt", "name\nalice\n", "neither in .csv nor in .ldif"),
]


@pytest.mark.spec("F-179")
def test_a_file_with_a_wrong_line_writes_nothing(staff, tmp_path):
    """Each wrong line is said, with what is wrong, and where; never the password in it."""
    c = staff
    for i, (form, text, words) in enumerate(WRONG):
        said = imported(c, tmp_path / f"f{i}.{form}", text, code=3)
        assert words in said.err, (text, said)
        assert SECRET not in said.out + said.err and SSHA not in said.err
    said = imported(c, tmp_path / "many.csv", "name\n" + "".join(f"a b{i}\n" for i in range(200)), code=3)
    assert "200 lines are wrong" in said.err and len(said.err.splitlines()) < 60, "and not a screen of each"
    c.ctl(["user", "import", str(tmp_path / "none.csv")], code=4)
    c.ctl(["user", "import", str(tmp_path)], code=3)
    assert not [d for d in staff.holder.seen if d.HasField("write")] and not staff.holder.people.users


@pytest.mark.spec("F-179")
def test_an_import_that_breaks_off_goes_on(staff, tmp_path):
    c, people, path, serve = staff, staff.holder.people, tmp_path / "all.csv", staff.holder.serve

    def full(peer, asked):
        if asked.directory.HasField("write") and len(people.users) == 2:
            staff.holder.say(peer, asked, body("failure", code=control_pb2.UNAVAILABLE, what="the disk is full"))
        else:
            serve(peer, asked)
    staff.holder.answer = full
    said = imported(c, path, "name,groups\n" + "".join(f"u{i},all\n" for i in range(5)), code=11)
    assert f"{path}:4: user u2: the disk is full" in said.err and "2 of 6 were written before" in said.err, said
    staff.holder.answer = None
    c.ctl(["user", "import", str(path), "--may-exist"])
    assert sorted(people.users) == people.groups["all"]["members"] == [f"u{i}" for i in range(5)]


@pytest.mark.spec("F-179")
def test_import_ldif(staff, tmp_path):
    """As slapcat writes it: folded lines, base64, entries that are no accounts; groups by names and by DNs."""
    coded = base64.b64encode(SSHA.encode()).decode()
    text = f"""version: 1

dn: dc=x
objectClass: organization
o: x

# a user
dn: uid=alice,ou=People,dc=x
objectClass: inetOrgPerson
objectClass: posixAccount
uid: Alice
cn:: {base64.b64encode("Alice Ångström".encode()).decode()}
userPassword:: {coded[:30]}
 {coded[30:]}
entryUUID: 5b5ed3e8-5f6e-103d-8f0e-000000000000

dn: uid=bob,ou=People,dc=x
objectClass: inetOrgPerson
uid: bobby
uid: bob
cn: bob
userPassword: {SECRET}
pwdAccountLockedTime: 000001010000Z

dn: cn=sales,ou=Groups,dc=x
objectClass: posixGroup
cn: sales
memberUid: ALICE
memberUid: bob
memberUid: alice

dn: cn=all,ou=Groups,dc=x
objectClass: groupOfNames
cn: all
member: uid=al\\69ce,ou=People,dc=x

dn: cn=none,ou=Groups,dc=x
objectClass: posixGroup
cn: none
"""
    people = staff.holder.people
    said = imported(staff, tmp_path / "x.ldif", text)
    assert said.out.startswith("2 users, 3 groups and 3 memberships added to staff; 0 were there, 1 other entries left out"), said
    assert people.users == {"alice": {"full_name": "Alice Ångström", "enabled": True}, "bob": {"full_name": "", "enabled": False}}
    assert people.passwords == {"alice": SSHA.encode(), "bob": SECRET.encode()}
    assert {n: g["members"] for n, g in people.groups.items()} == {"all": ["alice"], "none": [], "sales": ["alice", "bob"]}


@pytest.mark.spec("F-179")
def test_a_hash_in_place_of_a_password(staff, tmp_path):
    c, holder = staff, staff.holder
    (tmp_path / "hash").write_text(SSHA + "\n")
    c.ctl(f"user add alice password-hash=@{tmp_path}/hash")
    c.ctl("user set alice password_hash=-", stdin=SSHA)
    c.ctl("user set alice password=-", stdin=SECRET)
    assert [(d.write.password.decode(), d.write.hashed) for d in holder.seen] == [(SSHA, True), (SSHA, True), (SECRET, False)]
    said = c.ctl(f"user set alice password-hash=@{tmp_path}/hash password=-", stdin=SECRET, code=2)
    assert "password-hash is there, too" in said.err
    said = c.ctl(f"user set alice password-hash={SSHA}", code=2)
    assert SSHA not in said.err and "password-hash=@FILE" in said.err


def test_completion_knows_users(staff):
    staff.holder.people.users = {n: {"full_name": "", "enabled": True} for n in ("alice", "albert", "bob")}
    assert staff.ctl("complete -- user show al").names == ["albert", "alice"]
    assert staff.ctl("complete -- group set sales members+=bob,a").names == ["members+=bob,albert", "members+=bob,alice"]
    assert staff.ctl(["complete", "--", "user", "add", "x", "-u", ""]).names == ["staff"]
    assert staff.ctl("complete -- user set x locked=y").names == ["locked=yes"]
