"""Replicas of an internal user domain (F-179): another node has a copy, and authenticates while the first is away."""
import contextlib
import glob
import grp
import imaplib
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess

import pytest

from harness import Cluster, MailNode, wait_until
from harness.program import environment

pytestmark = pytest.mark.xdist_group("replicas")
BASE = "dc=staff,dc=mailnode"


@pytest.fixture
def two():
    """mx1 holds the directory and nothing else; mx2 has the instance, and is to have a copy."""
    with Cluster(node=MailNode, nodes=2) as c:
        c.ctl(f"user-domain add staff kind=internal node=mx1 listen={c['mx1'].address}")
        c["mx2"].patterns_take()
        yield c


def replicate(c):
    c.ctl("user-domain set staff replicas=mx2 --timeout 60s", timeout=90)
    c.ctl(f"instance add main node=mx2 hostname=mx2.example.org user-domain=staff mail-domain=example.org "
          f"listen={c['mx2'].address} --timeout 90s", timeout=120)
    c["mx2"].wait_ready()


def replicate_alice(c):
    """She is known to the copy."""
    c["mx1"].add_user("alice", "pw of alice")
    replicate(c)
    c["mx2"].wait_user("alice")


def replicate_nothing(c):
    """mx2 is to have a copy of what it never reached; alice is at mx1 alone."""
    provider = c["mx1"]
    provider.add_user("alice", "pw of alice")
    die(provider)
    wait_until(lambda: provider.status()["state"] == "offline", "mx1 is seen to be away", 40)
    c.ctl("user-domain set staff replicas=mx2 --timeout 20s", code=7, timeout=60)


def die(node):
    """As in a power cut."""
    node.kill()
    node.kill_engine()
    for pid in node.pids().values():
        os.killpg(pid, signal.SIGKILL)


def pair(node):
    """The one file of key and certificate that it has."""
    found = glob.glob(node.path("var/lib/mailnode/replication", "*.pem"))
    assert len(found) == 1, found
    return found[0]


def slapcat(node):
    """The directory, or the copy, as slapcat shows it."""
    conf = node.path("var/lib/mailnode/engine/current/slapd/slapd.conf")
    return subprocess.run(["setpriv", "--reuid=openldap", "--regid=openldap", "--clear-groups", "slapcat", "-f", conf, "-b", BASE],
                          capture_output=True, text=True, timeout=30, env=environment({})).stdout


def vault(node):
    """A plan, and where its runs go."""
    c = node.cluster
    c.ctl(f"destination add vault repository=local:{node.path('var/lib/mailnode/backup/vault')} --init", timeout=90)
    c.ctl("plan add nightly destinations=vault schedule='daily 02:30'")


def number(node):
    """Of the secret that the pair is."""
    return int(pair(node).rpartition("-")[2].removesuffix(".pem"))


def secrets(node):
    """The numbers of those that its node.db holds."""
    with contextlib.closing(sqlite3.connect(node.path("var/lib/mailnode/agent/node.db"))) as db:
        return [row[0] for row in db.execute("SELECT id FROM secret")]


def lets_in(node, user, password):
    """A new session, and no cached answer of an earlier one; None: it is to try later."""
    subprocess.run(["doveadm", "-c", node.path("var/lib/mailnode/engine/current/dovecot/dovecot.conf"), "auth", "cache", "flush"],
                   capture_output=True, check=True, env=environment({}))
    try:
        with node.imap(user, password):
            return True
    except imaplib.IMAP4.error as err:
        return False if "AUTHENTICATIONFAILED" in str(err) else None


def ldap(node, *words, certificate=None, trusts, binds=("-Y", "EXTERNAL", "-Q")):
    """What ldapsearch gets over LDAPS."""
    more = {"LDAPTLS_CACERT": trusts, "LDAPTLS_REQCERT": "demand", "LDAPNOINIT": None}
    if certificate:
        more.update(LDAPTLS_CERT=certificate, LDAPTLS_KEY=certificate)
    done = subprocess.run(["timeout", "10", "ldapsearch", "-H", f"ldaps://{node.address}:636", "-LLL", "-o", "ldif-wrap=no", *binds,
                           "-b", BASE, *words], capture_output=True, text=True, env=environment(more))
    return done.returncode, done.stdout, done.stderr


def made(folder, name, *more, subject="/O=mailnode replica/CN=staff"):
    """A key and a certificate of somebody's own, in one file."""
    path = os.path.join(folder, name)
    new = ["-newkey", "ed25519", "-nodes", "-subj", subject, "-keyout", path + ".key"]
    subprocess.run(["openssl", "req", "-x509", "-days", "2", *new, *more, "-out", path + ".crt"], check=True, capture_output=True)
    with open(path, "w") as out:
        out.write(open(path + ".key").read() + open(path + ".crt").read())
    return path


@pytest.mark.spec("F-179")
def test_F_179_a_replica_authenticates_while_the_provider_is_away(two):
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_alice(c)
    assert lets_in(replica, "alice", "pw of alice") and lets_in(replica, "alice", "pw of bob!") is False
    provider.add_user("bob", "pw of bob!")
    replica.wait_user("bob")
    assert lets_in(replica, "bob", "pw of bob!")
    assert replica.facts()["accounts"]["text"] == "2 users, 0 groups: a copy of node mx1"

    die(provider)
    assert lets_in(replica, "alice", "pw of alice") and lets_in(replica, "alice", "pw of bob!") is False
    replica.deliver("someone@remote.test", ["bob@example.org"])
    wait_until(lambda: len(replica.mailbox("bob")) == 1, "bob has mail")
    assert replica.rcpt("nobody@example.org").startswith("550")
    said = c.ctl("user set alice password=-", stdin="pw of alice 2", code=11)
    assert "mx1" in said.err, said
    cut_off = "2 users, 0 groups: a copy of node mx1, which is not reached: new users and passwords do not come"
    wait_until(lambda: replica.facts()["accounts"]["text"] == cut_off, lambda: f"it is said: {replica.facts()['accounts']}", 20, every=0.2)
    assert replica.facts()["accounts"]["state"] == "degraded" and cut_off in c.ctl("user-domain show staff").out

    said = c.ctl("user-domain accept staff --yes", code=4)   # asked of the node that has the mirror
    assert "nothing of user domain staff is held" in said.err, said

    killed = replica.pid("slapd")
    os.kill(killed, signal.SIGKILL)   # back, with what it had
    wait_until(lambda: replica.pid("slapd") not in (None, killed) and lets_in(replica, "alice", "pw of alice"),
               "slapd of mx2 runs again", 30, every=0.1)
    assert lets_in(replica, "alice", "pw of bob!") is False

    provider.start(wait=True)
    wait_until(lambda: c.ctl("user list", code=None).code == 0, "the directory answers again", 30, every=0.1)
    c.ctl("user set alice password=-", stdin="pw of alice 2")
    wait_until(lambda: lets_in(replica, "alice", "pw of alice 2"), "the new password is here", 20, every=0.2)
    assert lets_in(replica, "alice", "pw of alice") is False
    provider.add_user("carol")
    replica.wait_user("carol")
    wait_until(lambda: replica.facts()["accounts"]["text"] == "3 users, 0 groups: a copy of node mx1", "it is connected", 20, every=0.2)
    events = c.ctl("events").out
    assert "directory not copied" in events and "directory copied again" in events, events


@pytest.mark.spec("F-179")
def test_F_179_only_replicas_read_the_directory(two):
    c, provider, replica = two, two["mx1"], two["mx2"]
    provider.add_user("alice", "pw of alice")
    c.ctl("user-domain set staff replicas=mx2 --timeout 60s", timeout=90)
    own = pair(provider)
    assert open(own).read() == open(pair(replica)).read()
    for node in (provider, replica):
        st = os.stat(pair(node))
        assert (st.st_mode & 0o7777, pwd.getpwuid(st.st_uid).pw_name, grp.getgrgid(st.st_gid).gr_name) == (0o640, "mailagent", "openldap")
        assert "PRIVATE" not in node.rendered("slapd/slapd.conf")
    key = open(own).read().split("-----")[2].strip()
    for text in (c.export("yaml"), c.ctl("user-domain show staff").out, c.ctl("history user-domain/staff").out,
                 open(c.log).read(), open(provider.log).read(), open(replica.log).read(), open(replica.engine_log).read()):
        assert key not in text
    assert 'replication: "(hidden)"' in c.export("yaml")

    code, out, _ = ldap(provider, certificate=own, trusts=own)
    assert code == 0 and "userPassword" in out
    done = subprocess.run(["timeout", "10", "ldapmodify", "-H", f"ldaps://{provider.address}:636", "-Y", "EXTERNAL", "-Q"],
                          input=f"dn: uid=alice,ou=People,{BASE}\nchangetype: modify\nreplace: sn\nsn: x\n", text=True,
                          capture_output=True, env=environment({"LDAPTLS_CACERT": own, "LDAPTLS_CERT": own, "LDAPTLS_KEY": own}))
    assert done.returncode == 50, done   # insufficientAccessRights

    # With the same name and another key; made with the right key, by somebody who has it; and without any.
    stranger = made(c.folder, "stranger")
    code, out, _ = ldap(provider, certificate=stranger, trusts=own)
    assert code != 0 and not out
    child = os.path.join(c.folder, "child")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ed25519", "-nodes", "-keyout", child + ".key", "-subj",
                    "/DC=mailnode/CN=agent", "-out", child + ".req"], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-in", child + ".req", "-CA", own, "-CAkey", own, "-CAcreateserial", "-CAserial",
                    child + ".srl", "-days", "2", "-out", child + ".crt"], check=True, capture_output=True)
    with open(child, "w") as f:
        f.write(open(child + ".key").read() + open(child + ".crt").read())
    code, out, _ = ldap(provider, certificate=child, trusts=own)
    assert code != 0 and not out
    code, out, _ = ldap(provider, trusts=own)
    assert code != 0 and not out
    alice = ("-x", "-D", f"uid=alice,ou=People,{BASE}", "-w", "pw of alice")
    code, out, _ = ldap(provider, "*", "+", trusts=own, binds=alice)
    assert "userPassword" not in out
    assert [line for line in out.splitlines() if line.startswith("dn: ")] in ([], [f"dn: uid=alice,ou=People,{BASE}"]), (code, out)
    code, _, err = ldap(provider, trusts=stranger, binds=alice)   # nor is somebody else taken for the provider
    assert code != 0, err

    # Taken out of the replicas, mx2 is locked out, though its instance still names the user domain.
    c.ctl("node add mx3")
    c.ctl(f"instance add main node=mx2 hostname=mx2.example.org user-domain=staff mail-domain=example.org "
          f"listen={replica.address} --timeout 90s", timeout=120)
    stolen = made(c.folder, "stolen")
    with open(stolen, "w") as out:
        out.write(open(pair(replica)).read())
    c.ctl("user-domain set staff replicas=mx3 --timeout 60s", code=7, timeout=90)
    wait_until(lambda: c.status()["mx2"]["applied_revision"] == c.revision, "mx2 has it", 60, every=0.2)
    fresh = number(provider)
    assert fresh in secrets(provider) and fresh not in secrets(replica)
    assert not glob.glob(replica.path("var/lib/mailnode/replication/*"))
    code, out, _ = ldap(provider, certificate=stolen, trusts=pair(provider))
    assert code != 0 and not out
    replica.stop()
    replica.start(wait=True)
    assert "secrets lost" not in open(replica.log).read() and "node drifted" not in c.ctl("events").out


@pytest.mark.spec("F-179")
def test_F_179_replicas_come_and_go(two):
    c, provider, replica = two, two["mx1"], two["mx2"]
    provider.add_user("alice", "pw of alice")
    said = c.ctl("user-domain set staff replicas=mx2 listen=", code=3)
    assert len(said.err.strip().splitlines()) == 2 and "listen" in said.err and "listen=ADDRESS" in said.err, said
    c.ctl("user-domain add guests kind=internal node=mx1 listen=127.0.0.1")
    said = c.ctl(f"user-domain set staff node=mx2 replicas=mx1 listen={replica.address}", code=6)   # who has it would follow who has not
    assert "staff: node mx2 has no copy" in said.err and "set staff replicas+=mx2" in said.err, said
    c.ctl("user-domain set staff replicas=mx2 --timeout 60s", timeout=90)
    c.ctl("node add mx3")
    for more in ("", " replicas="):
        assert "staff: node mx3 has no copy" in c.ctl(f"user-domain set staff node=mx3{more}", code=6).err
    assert c.ctl("user list -o name -u staff").names == ["alice"]
    said = c.ctl("user-domain set guests replicas=mx2", code=6)
    assert "provides user-domain staff" in said.err, said
    data = replica.path("var/lib/mailnode/slapd/staff/data.mdb")
    wait_until(lambda: os.path.exists(data), "a copy is on mx2")
    first = open(pair(replica)).read()
    revision = c.revision
    c.ctl("user-domain set staff replicas=mx2")   # the same again is no change
    assert c.revision == revision and open(pair(replica)).read() == first
    document = c.export("yaml")
    with open(c.folder + "/all.yaml", "w") as f:
        f.write(document)
    c.ctl(f"apply -f {c.folder}/all.yaml")
    assert c.revision == revision and c.export("yaml") == document

    c.ctl("user-domain set staff replicas= --timeout 60s", timeout=90)
    wait_until(lambda: not os.path.exists(os.path.dirname(data)) and not replica.pids().get("slapd"), "no copy is on mx2", 20)
    wait_until(lambda: not glob.glob(replica.path("var/lib/mailnode/replication/*")), "nor a pair", 20)
    assert os.path.exists(provider.path("var/lib/mailnode/slapd/staff/data.mdb"))
    c.ctl("user-domain set staff replicas=mx2 --timeout 60s", timeout=90)
    assert open(pair(replica)).read() != first and open(pair(provider)).read() == open(pair(replica)).read()
    wait_until(lambda: os.path.exists(data), "a copy is on mx2 again")


@pytest.mark.spec("F-179")
def test_F_179_a_replica_takes_over(two):
    """The provider's machine is lost: the copy becomes the directory, with everybody in it, and what it is told now stays."""
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_alice(c)
    die(provider)
    wait_until(lambda: provider.status()["state"] == "offline", "mx1 is seen to be away", 40)
    c.ctl("user-domain set staff node=mx2 replicas= listen= --timeout 20s", code=7, timeout=60)
    wait_until(lambda: c.ctl("user list -o name", code=None).names == ["alice"], "mx2 holds the directory", 20, every=0.1)
    assert lets_in(replica, "alice", "pw of alice")
    replica.add_user("bob", "pw of bob!")
    replica.wait_user("bob")
    assert lets_in(replica, "bob", "pw of bob!")
    wait_until(lambda: replica.facts()["accounts"]["text"] == "2 users, 0 groups", lambda: replica.facts()["accounts"], 20, every=0.2)
    provider.start(wait=True)
    c.ctl("wait --timeout 30s", timeout=60)
    assert not provider.pids().get("slapd") and not glob.glob(provider.path("var/lib/mailnode/replication/*"))
    assert os.path.exists(replica.path("var/lib/mailnode/slapd/staff/data.mdb"))
    assert c.ctl("user list -o name").names == ["alice", "bob"]


@pytest.mark.spec("F-060", "F-179")
def test_F_060_a_directory_comes_back_from_the_backup_of_a_copy(two):
    """mx1, which holds the directory, has no instance and so no backup: mx2 saves its copy, and brings it back as its own."""
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_alice(c)
    vault(replica)
    c.ctl("backup run nightly", timeout=90)
    was = slapcat(replica)
    assert "uid=alice" in was and "userPassword" in was

    c.ctl("instance stop main", timeout=90)
    restore = "restore instance main destination=vault snapshot=latest"
    said = c.ctl(restore, timeout=120)
    assert "not the directory of staff, whose copy here follows another node" in said.out and "user-domain set staff node=" in said.out, said
    die(provider)   # and what mx2 has is lost as well
    wait_until(lambda: provider.status()["state"] == "offline", "mx1 is seen to be away", 40)
    c.ctl("user-domain set staff node=mx2 replicas= listen= --timeout 20s", code=7, timeout=60)
    replica.stop()
    replica.kill_engine()
    assert replica.halt().code == 0
    shutil.rmtree(replica.path("var/lib/mailnode/slapd/staff"))
    replica.start(wait=True)
    replica.wait_ready("slapd")
    assert "uid=alice" not in slapcat(replica)
    said = c.ctl(restore, timeout=120)
    assert "directory of staff with" in said.out, said
    assert slapcat(replica) == was


@pytest.mark.spec("F-179", "F-028")
def test_F_179_an_empty_copy_says_nothing_of_users(two):
    """The first copy is wanted while the provider is away: nobody is known, and nobody is refused for good."""
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_nothing(c)
    c.ctl(f"instance add main node=mx2 hostname=mx2.example.org user-domain=staff mail-domain=example.org "
          f"listen={replica.address} --timeout 90s", timeout=120)
    replica.wait_ready()
    wait_until(lambda: replica.facts()["accounts"]["text"] == "directory: it is empty: nothing was copied yet",
               lambda: replica.facts()["accounts"], 20, every=0.2)
    assert replica.rcpt("alice@example.org").startswith("451")
    assert lets_in(replica, "alice", "pw of alice") is not True
    vault(replica)
    said = c.ctl("backup run nightly", code=11, timeout=90)   # nor is it a backup
    assert "directory of staff: the copy here is not whole" in said.out + said.err, said
    provider.start(wait=True)
    replica.wait_user("alice")
    wait_until(lambda: lets_in(replica, "alice", "pw of alice"), "alice is let in", 20, every=0.2)
    assert replica.rcpt("alice@example.org").startswith("250")
    assert replica.rcpt("nobody@example.org").startswith("550")


@pytest.mark.spec("F-179")
def test_F_179_a_copy_that_is_not_whole_does_not_take_over(two):
    """Every account would be gone: the node says no, asked before the change is stored, and after it too."""
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_nothing(c)
    wait_until(lambda: replica.pids().get("slapd"), "mx2 has a copy, with nothing in it", 20)
    revision, before = c.revision, c.export("yaml")
    said = c.ctl("user-domain set staff node=mx2 replicas= listen= --timeout 20s", code=5, timeout=60)
    why = "user-domain staff: the copy here is not whole, accounts would be lost: it cannot take over"
    assert said.err.splitlines()[0] == f"mailctl: user-domain set: mx2 refused it, nothing was stored: {why}", said
    assert (c.revision, c.export("yaml")) == (revision, before)

    replica.kill()   # it is not asked, and says so when it comes back
    wait_until(lambda: replica.status()["state"] == "offline", "mx2 is seen to be away", 40)
    c.ctl("user-domain set staff node=mx2 replicas= listen= --timeout 5s", code=7, timeout=60)
    replica.start(wait=True)
    wait_until(lambda: c.revision == revision + 2, "it is taken back", 30)
    assert c.export("yaml") == before
    assert why in c.ctl("events").out
    assert os.path.exists(replica.path("var/lib/mailnode/engine/replicas/staff"))

    provider.start(wait=True)
    c.ctl("wait --timeout 60s", timeout=90)
    assert c.ctl("user list -o name").names == ["alice"]
    wait_until(lambda: "contextCSN" in slapcat(replica), "all was copied", 30, every=0.2)
    die(provider)
    wait_until(lambda: provider.status()["state"] == "offline", "mx1 is seen to be away again", 40)
    c.ctl("user-domain set staff node=mx2 replicas= listen= --timeout 20s", code=7, timeout=60)
    wait_until(lambda: c.ctl("user list -o name", code=None).names == ["alice"], "mx2 holds the directory", 20, every=0.1)


@pytest.mark.spec("F-179", "F-165")
def test_F_179_a_revoked_replica_is_not_trusted(two):
    """What it was told opens the directory no more, nor does it follow it; the machine that takes its place does."""
    c, provider, replica = two, two["mx1"], two["mx2"]
    replicate_alice(c)
    stolen = os.path.join(c.folder, "stolen")
    with open(stolen, "w") as out:
        out.write(open(pair(replica)).read())
    code, out, _ = ldap(provider, certificate=stolen, trusts=stolen)
    assert code == 0 and "userPassword" in out
    revision = c.revision

    said = c.ctl("node revoke mx2 --yes", timeout=60).out.splitlines()
    assert said[0] == "node mx2 revoked: it is heard no more"
    assert said[1].startswith(f"its key to directories counts no more: revision {revision + 1}, in force on mx1 ("), said
    assert c.revision == revision + 1
    fresh = pair(provider)   # in force, as was said: nothing is waited for
    code, out, _ = ldap(provider, certificate=stolen, trusts=fresh)
    assert code != 0 and not out
    code, out, _ = ldap(provider, certificate=fresh, trusts=stolen)   # nor is the provider what it knew
    assert code != 0 and not out
    assert open(pair(replica)).read() == open(stolen).read()
    provider.add_user("bob", "pw of bob!")
    wait_until(lambda: "directory not copied" in open(replica.log).read(), "mx2 sees that it is cut off", 30, every=0.2)
    assert "cn: bob" not in slapcat(replica) and "cn: alice" in slapcat(replica)
    assert lets_in(replica, "alice", "pw of alice")   # mail on it goes on
    c.ctl("node revoke mx2 --yes", timeout=60)        # said again, it is done again

    token = c.ctl("node replace mx2 --yes").out
    assert c.revision == revision + 3
    replica.stop()
    replica.stop_engine()
    assert replica.halt().code == 0
    os.rename(replica.root, replica.root + ".old")
    new = c.new_node("mx2")
    new.join(token)
    new.start(wait=True)
    wait_until(lambda: "cn: bob" in slapcat(new), "it has a copy", 60, every=0.2)
    assert open(pair(new)).read() == open(pair(provider)).read()
