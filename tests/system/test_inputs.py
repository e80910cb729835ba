"""THREATS: bad inputs on the wire and on the command line (B34, B35, B44, B01, B05, B11), slow peers (R20), messages out of order (R21)."""
import json
import struct
import time

import pytest

from harness import wait_until
from harness.wire import Closed, Envelope, body, frame, packed
import control_pb2
import desired_pb2
from system.rubbish import RUBBISH, field


def memory_kb(c):
    return c.controller.rss_kb()


@pytest.mark.spec("B34")
@pytest.mark.parametrize("name", RUBBISH)
def test_rubbish_on_the_local_socket(site_shared, name):
    """Refused or answered with a failure; the next one is served; memory stays."""
    c = site_shared
    before = memory_kb(c)
    with c.link() as link:
        try:
            link.raw(frame(RUBBISH[name]))
            said = link.receive(1)
            assert said is None or said.WhichOneof("body") == "failure", said
        except Closed:
            pass
    with c.link() as link:
        assert link.call(body("get_status"))[-1].HasField("status")
    assert c.controller.running() and memory_kb(c) < before + 60000


@pytest.mark.spec("B35", "B34")
def test_frames_of_wrong_length(site_shared):
    c = site_shared
    for octets in (struct.pack("<I", 0), struct.pack("<I", 1 << 20 | 1) + b"x", struct.pack("<I", 0xffffffff) + b"x" * 100,
                   struct.pack("<I", 100)[:2], struct.pack("<I", 100) + b"x" * 50, b"GET / HTTP/1.0\r\n\r\n"):
        for greet in (True, False):
            with c.link(greet=greet) as link:
                try:
                    link.raw(octets)
                    said = link.receive(0.2)
                    assert said is None or said.WhichOneof("body") in ("failure", "greeting"), said
                except Closed:
                    pass
    c.ctl("status", code=(0, 1))


@pytest.mark.spec("B34")
def test_silent_and_foreign_versions(site_shared):
    c = site_shared
    with c.link(greet=False) as link:
        link.send(body("greeting", protocol=99, release="9", program="test"))
        said = [link.receive(2)]
        try:
            said.append(link.receive(2))
        except Closed:
            pass
        words = " ".join(str(s) for s in said)
        assert "99" in words and "1" in words
    with c.link(greet=False) as link:   # a request before the greeting
        link.send(body("get_status"))
        try:
            for _ in range(3):
                said = link.receive(1)
                assert said is None or not said.HasField("status")
        except Closed:
            pass


@pytest.mark.spec("B34", "B35", "S34")
def test_rubbish_over_curve(site_shared):
    """From an enrolled key: counted and passed over; others are served, the peer's own good messages too."""
    c = site_shared
    node = c["mx2"]
    node.stop()
    before = memory_kb(c)
    with c.peer((node.identity["public_key"], node.identity["secret_key"])) as peer:
        assert peer.handshake()
        for octets in RUBBISH.values():
            peer.raw(octets)
        peer.raw(b"", b"")
        peer.raw(*[b"x"] * 1000)
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id))
        assert peer.expect("standing", 10).standing.node == "mx2"
    assert memory_kb(c) < before + 100000
    c.ctl("address add curve@example.org to=alice --may-exist")
    node.start(wait=True)


@pytest.mark.spec("B35", "S34")
def test_a_frame_of_a_gigabyte_and_a_flood(site_shared):
    """Raw TCP to the port: half-open connections, a huge ZMTP frame: bounded memory, real nodes are served."""
    import socket
    c = site_shared
    before = memory_kb(c)
    floods = []
    for _ in range(300):
        s = socket.create_connection((c.address, 6464), 5)
        s.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(15))
        floods.append(s)
    big = socket.create_connection((c.address, 6464), 5)
    big.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(31) + b"\x02" + struct.pack(">Q", 1 << 30))
    try:
        for _ in range(64):
            big.sendall(bytes(1 << 16))
    except OSError:
        pass
    c.ctl("address add flood@example.org to=alice --may-exist")
    assert memory_kb(c) < before + 100000
    for s in floods:
        s.close()
    big.close()


@pytest.mark.spec("R20")
@pytest.mark.nodes(2)
def test_a_peer_that_never_reads(cluster):
    """A follower that does not read gets one gap; an agent that does not read slows nobody."""
    c = cluster.site()
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    lazy = c["mx2"]
    lazy.agent.signal(19)
    with c.link() as deaf, c.link() as second:
        deaf.send(body("get_events", follow=True))
        deaf.socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF
        second.send(body("list"))
        before = memory_kb(c)
        for i in range(100):
            c.ctl(f"address add a{i}@example.org to=alice")
            c.ctl(f"address add a{i}@example.net to=alice --no-wait", code=(0, 7))
        assert memory_kb(c) < before + 30000
    lazy.agent.signal(18)
    c.ctl("wait", timeout=40)
    assert lazy.tables.lookup("alias", "a99@example.net")


@pytest.mark.spec("R20", "B35")
def test_one_octet_at_a_time(site_shared):
    c = site_shared
    with c.link() as link:
        octets = frame(packed(Envelope(version=1, id=5, get_status=control_pb2.GetStatus())))
        for i in range(len(octets)):
            link.raw(octets[i:i + 1])
            time.sleep(0.005)
        assert link.receive(5).HasField("status")


def node_peer(c, node):
    node.stop()
    peer = c.peer((node.identity["public_key"], node.identity["secret_key"]))
    assert peer.handshake()
    return peer


@pytest.mark.spec("R21", "S37", "F-166")
@pytest.mark.nodes(1)
def test_replayed_and_reordered_words_of_a_node(cluster):
    """Applied again, from the future, with another digest, in reply to nothing: nothing is believed that was not sent."""
    c = cluster.site()
    node = c["mx1"]
    with node_peer(c, node) as peer:
        peer.send(body("hello", schema=1, release="1.0.0", revision=0, boot_id=node.boot_id))
        peer.expect("standing")
        delta = peer.expect("delta").delta
        for revision, chain, digest in ((delta.to_revision + 50, delta.to_chain, delta.to_digest),
                                        (delta.to_revision, bytes(32), delta.to_digest),
                                        (delta.to_revision, delta.to_chain, bytes(32)),
                                        (delta.to_revision, b"short", b""), (0, b"", b"")):
            peer.send(body("applied", revision=revision, chain=chain, digest=digest))
        said = c.ctl("wait --timeout 500ms", code=None)
        assert said.code == 7, said
        for _ in range(3):
            peer.send(body("applied", revision=delta.to_revision, chain=delta.to_chain, digest=delta.to_digest,
                           config_revision=delta.to_revision))
    assert c.controller.running()
    node.start(wait=True)
    c.ctl("address add info@example.org to=alice")
    assert node.tables.lookup("alias", "info@example.org")


@pytest.mark.spec("R22", "F-176")
@pytest.mark.nodes(1)
def test_a_node_of_another_schema_is_pending_with_the_version(cluster):
    c = cluster.site()
    node = c["mx1"]
    with node_peer(c, node) as peer:
        peer.send(body("hello", schema=0, release="0.9.0", revision=0, boot_id=node.boot_id))
        wait_until(lambda: "standing=too-old" in c.controller.output(), "it was heard")   # before that, what the agent had said counts
        said = c.ctl("wait --timeout 1s", code=7)
        assert "mx1" in said.out + said.err
    with node_peer(c, node) as peer:
        peer.send(body("hello", schema=1, release="0.9.0", revision=0, boot_id=node.boot_id))
        peer.expect("standing")
        delta = peer.expect("delta").delta
        peer.send(body("refused", revision=delta.to_revision, schema=1,
                       why={"code": control_pb2.UNSUPPORTED, "what": "address info: field 'colour' is not known here"}))
        wait_until(lambda: "colour" in c.ctl("status", code=None).out, "its words are shown")
        assert c.ctl("wait --timeout 1s", code=7)


@pytest.mark.spec("R22", "B34")
def test_objects_with_unknown_fields_are_not_stored(site_shared):
    c = site_shared
    good = desired_pb2.Object(instance_name="main", name="u@example.org")
    good.address.to.append("user:alice")
    raw = packed_object(good)
    bad = {"unknown field of the object": raw + field(900, b"x"),
           "unknown kind": field(1, b"main") + field(2, b"n") + field(700, b""),
           "unknown field of the body": field(1, b"main") + field(2, b"u@example.org") +
           field(21, field(1, b"user:alice") + field(99, b"x")),
           "not canonical": field(2, b"u@example.org") + field(1, b"main") + field(21, field(1, b"user:alice")),
           "not normal": packed_object(_named(good, "U@EXAMPLE.org")), "no body": field(1, b"main") + field(2, b"n"),
           "empty": b"", "noise": b"\xff" * 40}
    before = c.ctl("export").out
    for name, octets in bad.items():
        with c.link() as link:
            assert link.call(body("apply_begin", manner={"no_wait": True}))[-1].HasField("done")
            link.send(body("apply_part", objects=[octets], places=["x:1"]))
            said = link.call(body("apply_end"))[-1]
            assert said.HasField("failure") or said.outcome.revision == 0 or name == "not normal", (name, said)
    assert c.ctl("export").out == before


def packed_object(o):
    return o.SerializeToString(deterministic=True)


def _named(o, name):
    other = desired_pb2.Object.FromString(packed_object(o))
    other.name = name
    return other


@pytest.mark.spec("B44", "B01", "B11", "B05")
def test_hostile_names_never_reach_the_terminal(site_shared):
    c = site_shared
    evil = ["a\x1b[31mb", "a\nb", "a\rb", "a\x07b", "a\tb", "\x9b31m", "a\u202eb", "../../etc/passwd", "/etc/passwd", ".", ".."]
    for name in evil:
        for line in (["address", "add", name, "to=alice"], ["domain", "show", name], ["node", "show", name], ["task", "show", name],
                     ["node", "set", "mx1", "description=" + name], [name], ["address", name], ["explain", name]):
            said = c.ctl(line, code=None)
            if line[:2] == ["node", "set"] and said.code == 0:
                c.ctl("node set mx1 description=")
            for text in (said.out, said.err):
                assert not any(ch in text for ch in "\x1b\x07\r\t\x9b"), (line, said)
            assert said.code in (2, 3, 4, 6) or line[:2] == ["node", "set"], (line, said)
            assert len(said.err.strip().splitlines()) <= 2, said
    # Octets that are no UTF-8.
    import subprocess
    done = subprocess.run([c.ctl._program(None), b"address", b"add", b"a\xff@example.org", b"to=alice", b"-o", b"json"],
                          env={"MAILNODE_ROOT": c.root}, capture_output=True)
    assert done.returncode == 3
    json.loads(done.stderr.decode().strip().splitlines()[-1])
    # A hostile actor's words in reports and events: what a node says is escaped, and -o json stays valid.
    node = c["mx2"]
    with node_peer(c, node) as peer:
        peer.send(body("hello", schema=1, release="1.\x1b[0m", revision=0, boot_id="b\x1b"))
        peer.expect("standing")
        peer.send(body("report", release="1\x1b[31m\n2", facts=[{"name": "f\x1b", "state": 0, "text": "\x1b]52;c;eA==\x07\n", "age_ms": 1}],
                       happenings=[{"number": 1, "severity": 1, "what": "w\x1b[2J", "text": "line\nforged\r", "age_ms": 1}]))
        wait_until(lambda: "forged" in c.ctl("events", code=None).out, "the event arrived")
        for line in ("status", "node show mx2", "events", "node list"):
            text = c.ctl(line, code=(0, 1)).out
            assert not any(ch in text for ch in "\x1b\x07\r"), (line, text)
            json.loads(c.ctl(line + " -o json", code=(0, 1)).out.splitlines()[0] if line == "events" else
                       c.ctl(line + " -o json", code=(0, 1)).out)
        assert "\x1b" not in open(c.log, errors="replace").read()
    node.start(wait=True)
