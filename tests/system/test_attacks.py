"""THREATS: attacks on the links (S32 to S37)."""
import itertools
import time

import pytest

from harness import wait_until
from harness.wire import PUBLISHED, Closed, body, every_body, fresh_keys
import control_pb2

# Who may say what, by the words of control.proto: everything else must have no effect and no answer but a failure.
ADMIN_ASKS = {"change", "apply_begin", "apply_part", "apply_end", "list", "get_history", "get_diff", "revert", "rollback", "undelete",
              "get_status", "get_events", "node_token", "node_revoke", "node_resync", "task_new", "get_tasks", "task_wait",
              "task_stop", "wait", "directory", "tables_read",
              "backup_read", "trace_read", "store_copy", "secrets_read"}
NODE_SAYS = {"hello", "applied", "refused", "prepared", "failure", "done", "task_progress", "task_result", "report", "pong",
             "accounts", "tables_rows", "backup_rows", "store_copy_read", "trace_rows"}


@pytest.mark.spec("S35")
def test_the_sets_are_of_the_proto():
    assert ADMIN_ASKS | NODE_SAYS <= set(every_body())


@pytest.mark.spec("S32", "S33")
@pytest.mark.parametrize("how", ["random key", "published key", "server's own key", "null", "plain", "wrong server key"])
def test_only_known_keys_pass_the_handshake(site_shared, how):
    c = site_shared
    before = c.ctl("export").out
    keys, mechanism, server = None, "curve", c.key
    if how == "published key":
        keys = PUBLISHED[0]
    elif how == "server's own key":
        keys = (c.identity["public_key"], c.identity["secret_key"])
    elif how in ("null", "plain"):
        mechanism = how
    elif how == "wrong server key":
        server = fresh_keys()[0]
    from harness.wire import CurvePeer
    with CurvePeer(c.endpoint, server, keys, mechanism=mechanism) as peer:
        assert not peer.handshake(1.5)
    if how == "published key":
        for pair in PUBLISHED:
            with c.peer(pair, door="enrol") as peer:
                assert not peer.handshake(1.5)
    assert c.ctl("export").out == before


@pytest.mark.spec("S32")
def test_refused_handshakes_are_counted(site_shared):
    c = site_shared
    with c.peer(fresh_keys()) as peer:
        assert not peer.handshake(2)
    wait_until(lambda: "refused" in c.ctl("events", code=None).out or "refused" in c.ctl("status", code=None).out or
               "refused" in open(c.log).read(), "an admin can see it")


def silent_or_failure(peer, deadline=0.15):
    """Everything that comes within the time is a failure, if anything comes."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        try:
            said = peer.receive(max(0.01, end - time.monotonic()))
        except Closed:
            return True
        if said is not None and said.WhichOneof("body") not in ("failure", "greeting", "standing", "delta", "prepare", "ping",
                                                               "task_ask", "task_start"):
            return said
    return True


@pytest.mark.spec("S35", "S36")
@pytest.mark.parametrize("state", ["before hello", "after hello"])
def test_every_message_from_a_node(site_shared, state):
    c = site_shared
    node = c["mx2"]
    node.stop()
    keys = (node.identity["public_key"], node.identity["secret_key"])
    before = c.ctl("export").out
    wrong = []
    with c.peer(keys) as peer:
        assert peer.handshake()
        if state == "after hello":
            peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id))
            peer.expect("standing")
        for name in every_body():
            if name in NODE_SAYS:
                continue
            peer.send(body(name))
            said = silent_or_failure(peer, 0.05)
            if said is not True:
                wrong.append((name, said))
    assert not wrong and c.controller.running(), wrong
    assert c.ctl("export").out == before
    node.start(wait=True)


@pytest.mark.spec("S35")
@pytest.mark.parametrize("state", ["before greeting", "greeted", "stranger"])
def test_every_message_on_the_local_socket(site_shared, state):
    """Reply types sent as requests, node verbs from an admin: a failure or the end of the connection."""
    c = site_shared
    before = c.ctl("export").out
    wrong = []
    for name in every_body():
        if name in ADMIN_ASKS and state == "greeted" or name == "greeting":
            continue
        with c.link(greet=state != "before greeting", uid=29999 if state == "stranger" else None) as link:
            try:
                link.send(body(name))
            except Closed:
                continue
            said = silent_or_failure(link, 0.05)
            if said is not True:
                wrong.append((name, said))
    assert not wrong, wrong
    assert c.ctl("export").out == before


@pytest.mark.spec("S35")
def test_every_message_at_the_enrolment_door(site_shared):
    c = site_shared
    before = c.ctl("export").out
    wrong = []
    with c.peer(fresh_keys(), door="enrol") as peer:
        assert peer.handshake()
        for name in every_body():
            peer.send(body(name))
            said = silent_or_failure(peer, 0.05)
            if said is not True:
                wrong.append((name, said))
    assert not wrong, wrong
    assert c.ctl("export").out == before


@pytest.mark.spec("S35", "F-171")
def test_every_message_of_a_remote_viewer(site_shared, tmp_path):
    """Over CURVE by an admin key that may only read: nothing changes whatever it says."""
    c = site_shared
    keys = fresh_keys()
    (tmp_path / "k").write_text(keys[0])
    c.ctl(f"admin add far role=viewer key=@{tmp_path}/k")
    try:
        before, status = c.ctl("export").out, c.status()
        with c.peer(keys) as peer:
            assert peer.handshake()
            peer.send(body("greeting", protocol=1, release="test", program="test"))
            reads = {"list", "get_history", "get_diff", "get_status", "get_events", "get_tasks", "task_wait", "wait"}
            for name in every_body():
                if name in reads:
                    continue
                peer.send(body(name))
            time.sleep(0.2)
        assert c.ctl("export").out == before
        assert {n: s["state"] for n, s in c.status().items()} == {n: s["state"] for n, s in status.items()}
    finally:
        c.ctl("admin remove far")


@pytest.mark.spec("S36", "S32")
def test_a_node_gets_only_what_is_its_own(site_shared):
    c = site_shared
    node = c["mx2"]
    node.stop()
    with c.peer((node.identity["public_key"], node.identity["secret_key"])) as peer:
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id))
        peer.expect("standing")
        delta = peer.expect("delta").delta
        import desired_pb2
        got = [desired_pb2.Object.FromString(o) for o in delta.objects]
        assert {o.name for o in got if o.HasField("node")} == {"mx2"}
        assert not [o for o in got if o.HasField("domain") or o.HasField("instance") or o.HasField("admin")]
    node.start(wait=True)


@pytest.mark.spec("F-055", "S36")
def test_a_node_makes_public_mailboxes_of_its_own_and_not_many(site_shared):
    """What it says that users made by IMAP: only what is a public mailbox, never over what is there, so many within a minute."""
    c = site_shared
    node = c["mx1"]
    before = set(c.ctl("export").out.splitlines())
    c.ctl("public-mailbox add Board acl=user:bob:read")
    c.ctl("address add taken@example.org to=bob")
    node.stop()
    hostile = ["", "../x", "a.b", "INBOX", "a*", "/a", "a//b", "x" * 300, "line\nbreak", "\u202e", " lead", "e\u0301"]
    with c.peer((node.identity["public_key"], node.identity["secret_key"])) as peer:
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id))
        peer.expect("standing")
        while not (delta := peer.expect("delta")).last:
            pass
        report = body("report", made=[{"name": n, "acl": ["anyone:full"], "taken": False} for n in hostile] +
                      [{"name": "Board", "acl": ["anyone:full"]}, {"name": "Taken", "acl": ["anyone:read"]},
                       {"name": "Bad", "acl": ["anyone:everything"]}, {"name": "Twice", "acl": ["user:bob:read", "user:bob:full"]}] +
                      [{"name": f"Flood{i}", "acl": ["user:bob:read"]} for i in range(200)])
        peer.send(report)   # not yet at the newest revision
        said = delta.delta
        peer.send(body("applied", revision=said.to_revision, chain=said.to_chain, digest=said.to_digest,
                       config_revision=said.to_revision))
        report.ClearField("id")
        peer.send(report)
        wait_until(lambda: "Flood0" in c.ctl("public-mailbox list -o name").out, "some are made")
        peer.send(body("report", made=[{"name": "Later", "acl": []}]))
        assert silent_or_failure(peer, 0.3) is True
    names = set(c.ctl("public-mailbox list -o name").out.split()) - {"Postmaster"}
    made = {n for n in names if n.startswith("Flood")}
    assert names - made == {"Board", "Taken"} and 0 < len(made) <= 60, names
    assert "user:bob:read" in c.ctl("public-mailbox show Board").out and "anyone" not in c.ctl("public-mailbox show Board").out
    addresses = set(c.ctl("address list -o name").out.split())
    assert "taken@*" not in addresses and "flood0@*" in addresses
    node.start(wait=True)
    for name in names:
        c.ctl(f"public-mailbox remove {name} --yes")
    c.ctl("address remove taken@example.org")
    assert set(c.ctl("export").out.splitlines()) == before, "and nothing else"


@pytest.mark.spec("S37", "R21")
def test_replay_of_an_admins_words_to_the_enrolment_and_node_doors(site_shared):
    """A recorded change is worth nothing anywhere but on the link that it was said on."""
    c = site_shared
    before = c.ctl("export").out
    change = body("change", edits=[{"verb": control_pb2.ADD, "ref": {"kind": "address", "instance": "main", "name": "r@example.org"},
                                    "fields": [{"field": "to", "value": "alice"}]}])
    with c.peer(fresh_keys(), door="enrol") as peer:
        assert peer.handshake()
        for _ in range(3):
            copy = change.__class__.FromString(change.SerializeToString())
            peer.send(copy)
        assert silent_or_failure(peer, 0.3) is True
    assert c.ctl("export").out == before


@pytest.mark.spec("S42")
def test_a_flood_of_local_connections(site_shared):
    """A user without an entry opens all he can: others are served."""
    import socket
    c = site_shared
    held = []
    for _ in range(400):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(1)
        try:
            s.connect(c.socket)
        except OSError:
            break
        held.append(s)
    wait_until(lambda: c.ctl("status", code=None, timeout=30).code in (0, 1), "served again", 30)
    for s in held:
        s.close()
    c.ctl("status", code=(0, 1))
