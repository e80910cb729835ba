"""The controller as one sealed file, and back from it (F-185, F-173; R25, R26, S39)."""
import os
import sqlite3
import subprocess

import pytest

from harness import Cluster, paths, wait_until

PASSWORD = "a long one: käse & brot"


def files_of(root):
    """All that a controller keeps, but for its lock."""
    return sorted(os.path.relpath(os.path.join(folder, f), root) for folder, _, files in os.walk(root) for f in files if f != "lock")


@pytest.fixture
def copied(cluster, tmp_path):
    """A cluster with a secret in its state, the file of its copy, and the file with the password."""
    c = cluster.site()
    c.ctl("address add info@example.org to=alice,bob")
    c.ctl("relay add default host=smart.example.net user=us password=-", stdin="relay-secret-42")
    c.password = str(tmp_path / "pw")
    with open(c.password, "w") as f:
        f.write(PASSWORD + "\n")
    c.file = str(tmp_path / "controller.sealed")
    said = c.ctl(f"controller backup {c.file} password=@{c.password}")
    assert f"revision {c.revision}" in said.out and "read back" in said.out, said
    return c


def restore(c, new, code=0, file=None, password=None):
    return new.ctl(f"controller restore {file or c.file} password=@{password or c.password}", code=code)


def node_secrets(node):
    with sqlite3.connect(node.tables.folder + "/relay/secrets.db") as db:
        found = str(db.execute("SELECT * FROM login").fetchall())
    db.close()
    return found


@pytest.mark.spec("F-185")
def test_a_new_machine_takes_over(copied):
    """Same state, same keys, same secrets; the nodes come by themselves, and nothing is sent again."""
    c, node = copied, copied["mx1"]
    exported, history, revision = c.export(), c.ctl("history -o json").json, c.revision
    c.kill()                                      # this machine is gone
    with Cluster(start=False) as new:
        said = restore(c, new)
        assert f"revision {revision}" in said.out, said
        assert files_of(new.root) == ["etc/mailnode/controller/identity", "var/lib/mailnode/controller/secrets.key",
                                      "var/lib/mailnode/controller/store.db"]
        new.start()
        wait_until(lambda: new.online("mx1"), "the node has come to the new machine")
        assert new.export() == exported and new.ctl("history -o json").json == history
        assert new.identity == c.identity
        assert "controller restored" in new.ctl("events").out
        assert new.status()["mx1"]["applied_revision"] == revision
        new.ctl("address add more@example.org to=alice")             # in force: exit 0
        new.ctl("relay set default port=587")                        # its password was not given again
        wait_until(lambda: "relay-secret-42" in node_secrets(node), "the secret came along")
        new.ctl("node check mx1")


@pytest.mark.spec("F-173", "R26", "S39")
def test_a_node_that_knows_more_is_forked(copied):
    """The copy is older than what the node has: it is shown, and nothing is sent until an admin decides."""
    c, node = copied, copied["mx1"]
    c.ctl("address add late@example.org to=alice")
    known = node.tables.rows()
    c.kill()
    with Cluster(start=False) as new:
        restore(c, new)
        new.start()
        wait_until(lambda: new.status()["mx1"]["state"] == "forked", "the fork is shown", 20)
        new.ctl("address add other@example.org to=bob", code=7)
        assert node.tables.rows() == known
        new.ctl("node resync mx1 --force --yes")
        wait_until(lambda: new.online("mx1"), "the admin decided")
        assert "late" not in str(node.tables.rows()["rcpt"]) and "other" in str(node.tables.rows()["rcpt"])


@pytest.mark.spec("F-185", "S39")
def test_what_is_refused_leaves_nothing_behind(copied, tmp_path):
    c = copied
    with open(c.file, "rb") as f:
        sealed = f.read()
    assert os.stat(c.file).st_mode & 0o777 == 0o600
    for secret in (b"relay-secret-42", b"SQLite format", c.identity["secret_key"].encode()):
        assert secret not in sealed

    def variant(name, octets):
        path = str(tmp_path / name)
        with open(path, "wb") as f:
            f.write(octets)
        return path
    with Cluster(start=False) as new:
        for code, words, file, password in (
                (6, "the password does not open it", c.file, variant("wrong", b"another")),
                (3, "no sealed file of ours", variant("text", b"hello\n" * 100), None),
                (10, "cut off", variant("cut", sealed[:-1]), None),
                (10, "cut off", variant("half", sealed[:len(sealed) // 2]), None),
                (10, "it was changed", variant("bit", sealed[:5000] + bytes([sealed[5000] ^ 1]) + sealed[5001:]), None),
                (10, "behind its end", variant("more", sealed + b"x"), None),
                (4, "does not exist", str(tmp_path / "none"), None)):
            said = restore(c, new, code, file, password)
            assert words in said.err and PASSWORD not in said.err, said
            assert files_of(new.root) == [], said
        assert new.ctl(f"controller restore {c.file}", code=2)
        restore(c, new)
        said = restore(c, new, 6)
        assert "there is a controller already" in said.err
    assert "there is a controller already" in restore(c, c, 6).err or "runs here" in restore(c, c, 6).err
    c.ctl("controller backup /nowhere/file password=@" + c.password, code=10)
    c.ctl(f"controller backup {c.file} password=secret", code=2)
    c.ctl("admin add helpdesk role=operator uid=12345")
    c.ctl(f"controller backup /tmp/mn-denied-{os.getpid()} password=-", code=6, uid=12345, stdin="x")
    assert not os.path.exists(f"/tmp/mn-denied-{os.getpid()}") and "copy" not in os.listdir(os.path.dirname(c.store))


@pytest.mark.spec("F-185")
def test_a_restore_that_is_broken_off_is_repeated(copied):
    """At each of its steps, as by kill -9: nothing runs with half of it, and the second try is whole."""
    c = copied
    exported = c.export()
    points = [p for p in subprocess.run([paths.CONTROLLER, "--crash-points"], capture_output=True, text=True, check=True).stdout.split()
              if p.startswith("controller.restore.")]
    assert len(points) >= 3
    c.kill()
    for point in points:
        with Cluster(start=False) as new:
            died = new.ctl(f"controller restore {c.file} password=@{c.password}", code=None, env={"MAILNODE_CRASH": point})
            assert died.code == -9, died
            if not os.path.exists(new.root + "/etc/mailnode/controller/identity"):
                new.start(wait=False)
                assert new.controller.wait() != 0 and "--init" in new.controller.output()
                restore(c, new)
            new.start()
            assert new.export() == exported
            assert "restoring" not in os.listdir(os.path.dirname(new.store))


# ---- in every plan's run

def planned(c):
    c.ctl("destination add vault repository=local:/srv/backup")
    c.ctl("plan add nightly destinations=vault schedule='daily 02:30'")


def backup(c):
    """What a run of the plan brings to mail-engine."""
    c.ctl("backup run nightly")
    return c["mx1"].engine.job_calls("backup_run")[-1]


def every_octet(root):
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as f:
                    yield path, f.read()


@pytest.mark.spec("F-185", "S39")
def test_every_run_of_a_plan_keeps_the_controller(cluster, tmp_path):
    """Its store comes sealed to the node, which cannot open it; with the key of the recovery sheet it is a controller again."""
    c = cluster.site()
    planned(c)
    c.ctl("relay add default host=smart.example.net user=us password=-", stdin="relay-secret-42")
    came = backup(c)
    assert came.copy.revision == c.revision and came.copy.controller_key == c.identity["public_key"] and not came.copy_trouble
    engine = c["mx1"].engine
    sealed = engine.staged_copies[-1]
    assert b"SQLite format" not in sealed and b"relay-secret-42" not in sealed
    assert os.listdir(engine.stage) == []   # what went with the job has gone with it

    sheet = c.ctl("destination recovery-sheet vault --yes").out
    key = sheet.split("> vault.controller_key")[0].rsplit("'", 2)[1]
    assert len(key) == 32 and "mailctl controller restore controller.sealed password=@vault.controller_key" in sheet
    for path, octets in every_octet(c["mx1"].root):
        assert key.encode() not in octets, path
    assert key not in c.tails() + c.ctl("events -o json").out + c.ctl("export").out

    again = backup(c)   # nothing new: what the node holds is what there is, octet for octet
    assert engine.staged_copies[-1] == sealed and again.copy == came.copy
    c.ctl("address add more@example.org to=alice")
    assert backup(c).copy.revision == c.revision and engine.staged_copies[-1] != sealed

    exported, revision = c.export(), c.revision
    c.kill()
    file, password = tmp_path / "controller.sealed", tmp_path / "key"
    file.write_bytes(engine.staged_copies[-1])
    password.write_text(key + "\n")
    with Cluster(start=False) as new:
        restore(c, new, file=file, password=password)
        new.start()
        wait_until(lambda: new.online("mx1"), "the node has come to the new machine")
        assert new.export() == exported and new.revision == revision
        assert key in new.ctl("destination recovery-sheet vault --yes").out   # older copies open as before


@pytest.mark.spec("F-185")
def test_who_joins_is_in_the_next_copy(cluster):
    """Without a revision of its own: the key of a node is no object."""
    c = cluster.site()
    planned(c)
    token = c.ctl("node add mx9").out
    before = backup(c)
    c.new_node("mx9").join(token)
    assert backup(c).copy.time >= before.copy.time and len(set(c["mx1"].engine.staged_copies)) == 2


@pytest.mark.spec("F-185", "F-168")
def test_controller_away_from_a_planned_run(cluster):
    """The backup is made all the same, with the copy that the node holds, and says so."""
    c = cluster.site()
    node = c["mx1"]
    planned(c)
    held = backup(c)
    n = len(node.engine.job_calls("backup_run"))
    c.stop()
    node.stop()
    with sqlite3.connect(node.node_db) as db:
        db.execute("UPDATE backup SET since = since - 200000, through = through - 200000, ended = ended - 200000")
    db.close()
    node.start()
    wait_until(lambda: len(node.engine.job_calls("backup_run")) > n, "the missed run is made up for", 20)
    late = node.engine.job_calls("backup_run")[-1]
    assert late.copy == held.copy and "not reached" in late.copy_trouble, late
    assert node.engine.staged_copies[-1] == node.engine.staged_copies[0]
