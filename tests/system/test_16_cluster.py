"""Section 16: what is said to be so is so, whatever dies or goes away (F-166, F-168, F-172, F-173, F-175, F-183)."""
import os
import random
import shutil
import signal
import sqlite3
import threading
import time

import pytest

from harness import wait_until


def forwards(node, name):
    return node.tables.lookup("alias", name)


@pytest.mark.spec("F-166", "R01", "R02")
@pytest.mark.nodes(2)
def test_applied_survives_kill_9_of_everything(cluster):
    """Changes while programs are killed at random: what was said to be applied or stored is there at the end.

    The killing goes on until enough was said to be applied between the deaths, for a slow machine as for a fast one.
    """
    c = cluster.site()
    chance = random.Random(166)
    said, stop = {}, threading.Event()

    def change(n):
        i = 0
        while not stop.is_set():
            name = f"t{n}x{i}@example.org"
            said[name] = c.ctl(f"address add {name} to=alice --timeout 2s", code=None).code
            i += 1
    threads = [threading.Thread(target=change, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    started = time.monotonic()
    while (passed := time.monotonic() - started) < 4 or (list(said.values()).count(0) <= 5 and passed < 40):
        victim = chance.choice(("controller", "mx1", "both"))
        if victim in ("mx1", "both"):
            c["mx1"].kill()
        if victim in ("controller", "both"):
            c.kill()
            c.start()
        if victim in ("mx1", "both"):
            c["mx1"].start()
        time.sleep(chance.uniform(0.05, 0.3))
    stop.set()
    for t in threads:
        t.join()
    c["mx1"].wait_online()
    c.ctl("wait", timeout=40)
    there = set(c.ctl("address list -o name").names) - {"postmaster@*"}   # which every instance begins with
    rows = {f"{local}@example.org" for local, in c["mx1"].tables.query("SELECT local FROM rcpt WHERE scope='example.org'")}
    assert set(said.values()) <= {0, 7, 8, 9}, said
    assert list(said.values()).count(0) > 5
    for name, code in said.items():
        if code in (0, 7):
            assert name in there and name in rows, (name, code)
        if code == 8:
            assert name not in there, (name, code)
    assert rows == there


@pytest.mark.spec("F-168", "R18")
@pytest.mark.nodes(2)
def test_node_away(cluster):
    c = cluster.site()
    node = c["mx1"]
    node.stop()
    wait_until(lambda: node.status()["state"] == "offline", "mx1 is seen to be away", 40)
    said = c.ctl("address add info@example.org to=alice", code=7)
    assert "mx1" in said.out and "offline" in said.out, said
    wait = c.ctl("wait --timeout 1s", code=7)
    assert "mx1" in wait.out + wait.err
    node.start()
    started = time.monotonic()
    wait_until(lambda: forwards(node, "info@example.org"), "applied", 10)
    assert time.monotonic() - started < 5
    c.ctl("wait")
    assert c.ctl("status -o json").code == 0


@pytest.mark.spec("F-168", "R18")
def test_controller_away(site):
    """The node serves with what it has, over its own restart too, and catches up within five seconds."""
    c, node = site, site["mx1"]
    c.ctl("address add info@example.org to=alice")
    c.stop()
    said = c.ctl("address add more@example.org to=alice", code=8)
    assert "reach" in said.err or "connect" in said.err, said
    assert forwards(node, "info@example.org")
    node.kill()
    assert forwards(node, "info@example.org")
    node.start()
    wait_until(lambda: "mail-agent" in node.agent.output() or node.agent.running(), "the agent runs without a controller")
    assert forwards(node, "info@example.org")
    c.start()
    started = time.monotonic()
    node.wait_online(10)
    assert time.monotonic() - started < 5
    c.ctl("address add more@example.org to=alice")


@pytest.mark.spec("F-168")
@pytest.mark.nodes(2)
def test_only_the_right_node_is_told(cluster):
    c = cluster.site()
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    before = c.status()["mx2"]["revision"]
    c.ctl("address add info@example.org to=alice")
    assert c.status()["mx2"]["revision"] == before
    db = sqlite3.connect(f"file:{c['mx2'].node_db}?mode=ro", uri=True)
    everything = "".join(db.iterdump())
    db.close()
    assert "info@example.org".encode().hex() not in everything.lower() and "info@example.org" not in everything
    # Moving an instance takes its rows along.
    c.ctl("instance move second --yes", code=None)
    c.ctl("instance set second node=", code=None)
    c.ctl("instance move main node=mx2")
    assert forwards(c["mx2"], "info@example.org")
    wait_until(lambda: not c["mx1"].tables.query("SELECT 1 FROM domain WHERE name='example.org'"), "gone from mx1")


@pytest.mark.spec("F-172", "B36")
def test_task_runs_once_and_ends_once(site):
    c = site
    said = c.ctl("node check mx1")
    assert said.code == 0, said
    tasks = c.ctl("task list -o json").items
    assert len(tasks) == 1 and tasks[0]["state"] == "succeeded", tasks
    shown = c.ctl(f"task show {tasks[0]['task_id']} -o json").json
    assert "succeeded" in repr(shown) and tasks[0]["task_id"] in repr(shown)
    c.ctl("task show 00000000000000000000000000", code=4)


@pytest.mark.spec("F-172", "S37")
def test_task_of_a_lost_node_is_unknown_then_settled(site):
    c, node = site, site["mx1"]
    node.agent.signal(signal.SIGSTOP)
    detached = c.ctl("node check mx1 --detach -o json", code=None)
    assert detached.code in (0, 7), detached
    task, = c.ctl("task list -o json").items
    node.kill()
    wait_until(lambda: c.ctl(f"task list -o json").items[0]["state"] in ("unknown", "waiting", "lost"), "unknown", 40)
    node.start()
    wait_until(lambda: c.ctl("task list -o json").items[0]["state"] in ("succeeded", "never-ran"), "settled", 20)
    # Over a restart of the controller the result stays.
    settled = c.ctl("task list -o json").items[0]["state"]
    c.restart()
    assert c.ctl("task list -o json").items[0]["state"] == settled


@pytest.mark.spec("F-175", "F-172")
def test_check_finds_and_repairs(site):
    c, node = site, site["mx1"]
    c.ctl("address add info@example.org to=alice")
    db = sqlite3.connect(node.tables.path)
    db.execute("UPDATE rcpt SET dest='mallory@u.internal' WHERE local='info'")
    db.commit()
    db.close()
    found = c.ctl("node check mx1", code=1)
    assert "info" in found.out or "rcpt" in found.out, found
    c.ctl("node check mx1 --repair", code=(0, 1))
    assert forwards(node, "info@example.org").startswith("alice@")
    c.ctl("node check mx1", code=0)


@pytest.mark.spec("F-173", "R26", "S39")
@pytest.mark.parametrize("grown", [False, True], ids=["older", "grown past"])
def test_restored_controller_changes_nothing(site, grown):
    """A store of yesterday, also one that has since gone its own way past the node's revision."""
    c, node = site, site["mx1"]
    c.stop()
    backup = c.store + ".yesterday"
    shutil.copy2(c.store, backup)
    for more in ("-wal", "-shm"):
        if os.path.exists(c.store + more):
            shutil.copy2(c.store + more, backup + more)
    c.start()
    c.ctl("address add info@example.org to=alice")
    known = node.tables.rows()

    c.stop()
    node.stop()
    for more in ("", "-wal", "-shm"):
        if os.path.exists(c.store + more):
            os.unlink(c.store + more)
        if os.path.exists(backup + more):
            shutil.copy2(backup + more, c.store + more)
            shutil.chown(c.store + more, "mailcontroller", "mailcontroller")
    c.start()
    if grown:
        for i in range(5):
            c.ctl(f"address add other{i}@example.org to=bob --no-wait", code=(0, 7))
    node.start()
    wait_until(lambda: node.status()["state"] == "forked", lambda: f"the fork is shown: {node.status()}", 20)
    status = c.ctl("status", code=1)
    assert "fork" in status.out and "resync" in status.out + status.err, status
    said = c.ctl("address add late@example.org to=bob", code=7)
    assert "mx1" in said.out
    after = node.tables.rows()
    assert after["rcpt"] == known["rcpt"] and forwards(node, "info@example.org")
    assert "fork" in c.ctl("events").out
    # Nothing happens without the word; with it the controller's state counts.
    c.ctl("node resync mx1", code=(2, 6))
    c.ctl("node resync mx1 --force --yes")
    wait_until(lambda: forwards(node, "late@example.org"), "the admin decided")
    assert not forwards(node, "info@example.org")
    wait_until(lambda: node.status()["state"] == "online", "online again")


@pytest.mark.spec("F-173", "R25")
def test_second_copy_of_the_controller(site):
    """Both go on from the same state; the node stays with the one whose changes it has taken."""
    from harness import Cluster
    c, node = site, site["mx1"]
    c.stop()
    with Cluster(start=False) as copy:
        shutil.rmtree(copy.root)
        shutil.copytree(c.root, copy.root, ignore=lambda *_: ["mailctl.sock"])
        for folder, _, files in os.walk(c.root):
            for name in [folder] + [os.path.join(folder, f) for f in files]:
                s, there = os.stat(name), copy.root + name[len(c.root):]
                if os.path.exists(there):
                    os.chown(there, s.st_uid, s.st_gid)
        c.start()
        node.wait_online()
        c.ctl("address add info@example.org to=alice")
        known = node.tables.rows()["rcpt"]
        c.stop()                      # the first dies; the copy takes its address
        copy.start()
        copy.ctl("address add wrong@example.org to=bob --no-wait", code=(0, 7))
        wait_until(lambda: copy.status()["mx1"]["state"] == "forked", "the copy sees the fork", 20)
        assert node.tables.rows()["rcpt"] == known
        copy.stop()
        c.start()
        node.wait_online(20)
        c.ctl("address add more@example.org to=alice")


@pytest.mark.spec("F-175")
@pytest.mark.parametrize("how", ["changed row", "lost row", "extra row", "lost map", "changed map", "damaged mail.db", "lost mail.db"])
def test_spoilt_tables_are_mended_at_start(site, how):
    c, node = site, site["mx1"]
    c.ctl("address add info@example.org to=alice")
    right = node.tables.rows()
    node.stop()
    t = node.tables
    if "row" in how:
        db = sqlite3.connect(t.path)
        db.execute({"changed row": "UPDATE rcpt SET verdict='550 no' WHERE local='info'",
                    "lost row": "DELETE FROM rcpt WHERE local='info'",
                    "extra row": "INSERT INTO rcpt VALUES('evil', 'example.org', 'OK', 'mallory@u.internal', NULL)"}[how])
        db.commit()
        db.close()
    elif how == "lost map":
        os.unlink(f"{t.folder}/maps/alias.cf")
    elif how == "changed map":
        with open(f"{t.folder}/maps/alias.cf", "a") as f:
            f.write("query = SELECT 'mallory@u.internal'\n")
    elif how == "damaged mail.db":
        with open(t.path, "r+b") as f:
            f.seek(100)
            f.write(os.urandom(20000))
        for more in ("-wal", "-shm"):
            if os.path.exists(t.path + more):
                os.unlink(t.path + more)
    else:
        for more in ("", "-wal", "-shm"):
            if os.path.exists(t.path + more):
                os.unlink(t.path + more)
    node.start(wait=True)
    wait_until(lambda: _same(t, right), "mended", 10)
    wait_until(lambda: os.path.exists(f"{t.folder}/maps/alias.cf") and "mallory" not in open(f"{t.folder}/maps/alias.cf").read(),
               "the map is mended")
    assert forwards(node, "info@example.org").startswith("alice@")
    for user in ("postfix", "dovecot"):
        assert t.readable_as(user) is None
    wait_until(lambda: any(w in c.ctl("events").out for w in ("mended", "rebuilt", "written", "drift", "set aside")),
               lambda: f"reported: {c.ctl('events').out}")


def _same(tables, right):
    try:
        now = tables.rows()
    except sqlite3.Error:
        return False
    return all(now.get(t) == right[t] for t in ("domain", "rcpt", "expand", "userdb", "login", "gate"))


@pytest.mark.spec("F-175")
@pytest.mark.parametrize("how", ["garbage", "truncated", "lost", "spoilt rows"])
def test_damaged_node_db_is_set_aside_and_filled_again(site, how):
    c, node = site, site["mx1"]
    c.ctl("address add info@example.org to=alice")
    right = node.tables.rows()
    node.stop()
    path = node.node_db
    if how == "spoilt rows":
        db = sqlite3.connect(path)
        table = max((n for n, in db.execute("SELECT name FROM sqlite_schema WHERE type='table'")),
                    key=lambda n: sum(isinstance(v, bytes) for row in db.execute(f"SELECT * FROM {n} LIMIT 3") for v in row))
        db.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})")
        db.commit()
        db.close()
    else:
        for more in ("-wal", "-shm"):
            if os.path.exists(path + more):
                os.unlink(path + more)
        if how == "lost":
            os.unlink(path)
        else:
            size = os.path.getsize(path)
            with open(path, "r+b") as f:
                if how == "truncated":
                    f.truncate(size // 2 + 100)
                else:
                    f.write(os.urandom(size))
    node.start(wait=True)
    c.ctl("wait", timeout=20)
    wait_until(lambda: _same(node.tables, right), "filled again")
    c.ctl("address add more@example.org to=alice")


@pytest.mark.spec("F-183")
def test_every_fact_has_its_age(site):
    """Shown old after a minute; seen here by a node that is stopped, and by ages in the answer."""
    c, node = site, site["mx1"]
    wait_until(lambda: node.status().get("facts") or _show(c).get("facts"), "facts")
    shown = _show(c)
    assert shown["facts"], shown
    for fact in shown["facts"]:
        assert "age_ms" in fact and fact["age_ms"] < 60000, fact
        assert fact["state"] in ("good", "degraded", "bad", "unknown")
    assert "seen_ms" in shown
    first = shown["seen_ms"]
    node.agent.signal(signal.SIGSTOP)
    wait_until(lambda: _show(c)["seen_ms"] > max(first, 2500), "its age grows", 10)
    node.agent.signal(signal.SIGCONT)


def _show(c):
    said = c.ctl("node show mx1 -o json", code=(0, 1)).json
    return said["items"][0] if "items" in said else said


@pytest.mark.spec("F-183")
def test_nothing_is_green_by_default(cluster):
    """A node that has never joined, and one whose engine is away, are not shown as good."""
    c = cluster
    c.ctl("node add mx2")
    assert c.status()["mx2"]["state"] == "never-joined"
    assert c.ctl("status", code=1)
    c["mx1"].engine.stop()
    wait_until(lambda: any(f["state"] in ("bad", "unknown", "degraded") for f in _show(c).get("facts", [])),
               "the engine's absence is a fact", 10)


@pytest.mark.spec("R29")
def test_second_program_on_a_root_names_the_first(site):
    from harness import paths
    from harness.ctl import run
    c, node = site, site["mx1"]
    second = run([paths.AGENT, "--root", node.root, "--accounts", node.accounts], timeout=10)
    assert second.code == 6 and str(node.agent.pid) in second.err, second
    second = run([paths.CONTROLLER, "--root", c.root], timeout=10)
    assert second.code == 6 and str(c.controller.pid) in second.err, second
    c.ctl("address add info@example.org to=alice")
    assert forwards(node, "info@example.org")


@pytest.mark.spec("F-166")
def test_clean_stop_leaves_readable_tables(site):
    """PERSIST_WAL: after the agent's clean end Postfix still finds everything."""
    c, node = site, site["mx1"]
    c.ctl("address add info@example.org to=alice")
    assert node.agent.stop() == 0
    assert forwards(node, "info@example.org") == "alice@u.internal"
    assert node.tables.readable_as("dovecot") is None
    assert node.tables.readable_as("nobody") is not None
    for name, mode in (("mail.db", 0o640), ("mail.db-wal", 0o640), ("mail.db-shm", 0o640), (".", 0o750)):
        assert os.stat(f"{node.tables.folder}/{name}").st_mode & 0o777 == mode, name
