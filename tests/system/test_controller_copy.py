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
