"""Section 16: how a node becomes one of us, and how it ceases to be."""
import base64
import os
import time

import pytest

from harness import Cluster, wait_until
from harness.wire import CurvePeer, body, fresh_keys
import control_pb2


def token_of(text):
    text = text.strip()
    return control_pb2.TokenText.FromString(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def token_text(token):
    return base64.urlsafe_b64encode(token.SerializeToString(deterministic=True)).decode().rstrip("=")



@pytest.mark.spec("F-164", "S40")
@pytest.mark.nodes(0)
def test_token_is_for_one_use(cluster):
    c = cluster
    token = c.ctl("node add mx1").out
    node = c.new_node("mx1")
    node.join(token)
    node.start(wait=True)
    again = c.new_node("mx9").join(token, code=None)
    assert again.code == 6 and not os.path.exists(c["mx9"].root + "/etc/mailnode/node/identity"), again
    assert "\n" not in again.err.strip().split("\nhint:")[0], again
    assert node.status()["state"] == "online"


@pytest.mark.spec("F-164", "S40")
@pytest.mark.nodes(0)
def test_token_guess_other_name_and_replacement(cluster):
    """A guess, a token under another name, and one that a newer token replaced are all refused, alike, and counted."""
    c = cluster
    first = c.ctl("node add mx1").out
    c.ctl("node add mx2")
    good = token_of(first)

    guess = control_pb2.TokenText.FromString(good.SerializeToString())
    guess.secret = os.urandom(32)
    other = control_pb2.TokenText.FromString(good.SerializeToString())
    other.node = "mx2"
    said = {}
    for name, token in (("guess", guess), ("other", other)):
        node = c.new_node(name)
        said[name] = node.join(token_text(token), code=6).err.replace("mx2", "mx1")
    assert said["guess"] == said["other"]

    newer = c.ctl("node replace mx1 --yes").out
    assert c.new_node("old").join(first, code=6)
    c.new_node("mx1").join(newer)

    events = c.ctl("events -o json").out
    assert events.count("token") >= 3 or events.count("join") >= 3, events


@pytest.mark.spec("F-164", "S40")
@pytest.mark.nodes(0)
def test_token_expires(cluster):
    """Its hour is over: seen by setting the stored time back."""
    import sqlite3
    c = cluster
    token = c.ctl("node add mx1").out
    c.stop()
    db = sqlite3.connect(c.store)
    (table, column), = db.execute("SELECT m.name, p.name FROM sqlite_schema m, pragma_table_info(m.name) p "
                                  "WHERE m.name LIKE '%token%' AND p.name LIKE 'expires%' AND m.type='table'").fetchall()
    stored = db.execute(f"SELECT * FROM {table}").fetchall()
    assert not any(token_of(token).secret in (v if isinstance(v, bytes) else str(v).encode()) for row in stored for v in row)
    db.execute(f"UPDATE {table} SET {column} = ?", (int(time.time()) - 1,))
    db.commit()
    db.close()
    c.start()
    refused = c.new_node("mx1").join(token, code=6)
    assert "expired" in refused.err, refused


@pytest.mark.spec("F-164", "S40")
@pytest.mark.nodes(0)
def test_secrets_stay_out_of_sight(cluster):
    """Not in an argument vector, a log, the history, the export; files only their owner reads."""
    c = cluster
    token = c.ctl("node add mx1").out.strip()
    node = c.new_node("mx1")
    node.join(token)
    node.start(wait=True)
    secret, key = token_of(token).secret, node.identity["secret_key"]
    seen = c.tails() + c.ctl("history -o json").out + c.ctl("export").out + c.ctl("events -o json").out
    for pid in (c.controller.pid, node.agent.pid):
        seen += open(f"/proc/{pid}/cmdline", errors="replace").read() + open(f"/proc/{pid}/environ", errors="replace").read()
    for value in (token, key, c.identity["secret_key"], secret.hex(), base64.b64encode(secret).decode()):
        assert value not in seen
    store = open(c.store, "rb").read()
    assert secret not in store and key.encode() not in store
    for path, mode in ((node.root + "/etc/mailnode/node/identity", 0o600), (c.root + "/etc/mailnode/controller/identity", 0o600),
                       (node.node_db, 0o600)):
        assert os.stat(path).st_mode & 0o777 == mode, path


@pytest.mark.spec("F-164", "S32")
@pytest.mark.nodes(1)
def test_join_makes_its_own_key_and_the_token_is_worthless_later(cluster):
    c = cluster
    node = c["mx1"]
    with c.peer(keys=fresh_keys(), door="enrol") as peer:
        peer.send(body("join", node="mx1", secret=os.urandom(32), release="1.0.0"))
        assert peer.expect("failure").failure.code == control_pb2.DENIED
        # An enrolment connection is good for nothing else.
        peer.send(body("hello", schema=1, revision=0, boot_id="x"))
        said = peer.receive(2)
        assert said is None or said.WhichOneof("body") == "failure", said
    assert node.status()["state"] == "online"


@pytest.mark.spec("F-165", "S32")
@pytest.mark.nodes(2)
def test_revoked_node_is_heard_no_more(cluster):
    c = cluster.site()
    node = c["mx2"]
    keys = (node.identity["public_key"], node.identity["secret_key"])
    node.stop()
    with c.peer(keys) as peer:
        assert peer.handshake()
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id, applied_revision=0))
        peer.expect("standing")
        peer.expect("delta")
        c.ctl("node revoke mx2 --yes")
        before = c.status()["mx2"]
        # On the connection that is still there.
        peer.send(body("report", release="9.9.9", wanted_revision=99, applied_revision=99, config_revision=99))
        peer.send(body("applied", revision=1, chain=bytes(32), digest=bytes(32)))
        peer.send(body("hello", schema=1, revision=0, boot_id=node.boot_id))
        c.ctl("user-domain set staff replicas=mx2 listen=127.0.0.1", code=None)  # would be sent to it
        said = peer.receive(1)
        while said is not None:
            assert said.WhichOneof("body") == "failure", said
            said = peer.receive(0.5)
        after = c.status()["mx2"]
        assert after["state"] == before["state"] == "revoked"
        assert after.get("release") == before.get("release") and after["applied_revision"] == before["applied_revision"]
    with c.peer(keys) as peer:
        assert not peer.handshake(2)
    # mail on it goes on: its tables stay
    assert node.tables.query("SELECT 1")


@pytest.mark.spec("F-165")
@pytest.mark.nodes(1)
def test_replaced_node_gives_its_place_to_a_new_machine(cluster):
    c = cluster.site()
    old = c["mx1"]
    old_keys = old.identity["public_key"], old.identity["secret_key"]
    token = c.ctl("node replace mx1 --yes").out
    old.stop()
    old.engine.stop()
    os.rename(old.root, old.root + ".old")
    new = c.new_node("mx1")
    new.join(token)
    new.start(wait=True)
    c.ctl("wait", timeout=20)
    assert new.tables.query("SELECT name FROM domain WHERE name='example.org'")
    with c.peer(old_keys) as peer:
        assert not peer.handshake(2)


@pytest.mark.spec("F-174", "R27", "S38")
@pytest.mark.nodes(1)
def test_clone_is_refused_while_the_original_lives(cluster):
    import shutil
    c = cluster.site()
    node = c["mx1"]
    clone = c.new_node("clone")
    shutil.rmtree(clone.root)
    node.agent.signal(19)  # SIGSTOP: a copy of a quiet disk
    shutil.copytree(node.root, clone.root, ignore=lambda *_: ["engine.sock"])
    for folder, _, files in os.walk(node.root):
        for name in [folder] + [os.path.join(folder, f) for f in files]:
            s, there = os.stat(name), clone.root + name[len(node.root):]
            if os.path.exists(there):
                os.chown(there, s.st_uid, s.st_gid)
    node.agent.signal(18)
    clone.start()
    wait_until(lambda: c.status()["mx1"]["state"] == "cloned", "the clone is shown", 20)
    assert "clone" in c.ctl("status", code=None).out
    assert "clone" in c.ctl("events").out
    c.ctl("address add info@example.org to=alice")
    assert node.tables.lookup("alias", "info@example.org")
    assert not clone.tables.query("SELECT 1 FROM rcpt WHERE local='info'")
    # The original dies: then the other one is let in.
    node.stop()
    wait_until(lambda: clone.tables.query("SELECT 1 FROM rcpt WHERE local='info'"), "the other takes over", 40)


@pytest.mark.spec("F-174")
@pytest.mark.nodes(1)
def test_restarted_node_is_no_clone(cluster):
    """kill -9 and back at once, before its old connection was seen dead: the newer one counts."""
    c = cluster.site()
    for _ in range(3):
        c["mx1"].kill()
        c["mx1"].start()
    c.ctl("address add info@example.org to=alice")
    assert c["mx1"].status()["state"] == "online"


@pytest.mark.spec("S36")
@pytest.mark.nodes(2)
def test_identity_is_the_key_never_a_field(cluster):
    """mx2 speaks of mx1: only mx2's own standing can change."""
    c = cluster.site()
    node = c["mx2"]
    node.stop()
    keys = (node.identity["public_key"], node.identity["secret_key"])
    before = c.status()["mx1"]
    with CurvePeer(c.endpoint, c.key, keys) as peer:
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=c["mx1"].boot_id))
        assert peer.expect("standing").standing.node == "mx2"
        peer.send(body("refused", revision=before["revision"], why={"code": 7, "what": "no"}))
        peer.send(body("task_result", task_id="0" * 26, state=2))
        peer.send(body("report", release="6.6.6", applied_revision=1))
        wait_until(lambda: c.status()["mx2"].get("release") == "6.6.6", "the report arrived")
    after = c.status()["mx1"]
    for field in ("state", "force", "revision", "applied_revision", "release"):
        assert after.get(field) == before.get(field)
