"""THREATS seen from the node: a controller that says anything (R21, R22, B34, S35, S37), without a real one."""
import hashlib
import json
import os
import shutil

import pytest

from harness import Cluster, wait_until
from harness.engine import digest_sum
from harness.wire import FakeController, body, every_body, fill, packed
import control_pb2
import desired_pb2
from system.rubbish import RUBBISH, field


def obj(kind, instance, name, /, **fields):
    o = desired_pb2.Object(name=name)
    if instance:
        o.instance_name = instance
    member = getattr(o, kind)
    member.SetInParent()
    for key, value in fields.items():
        fill(member, key, value)
    return o.SerializeToString(deterministic=True)


def state():
    return [obj("node", "", "mx1"), obj("instance", "", "main", node="mx1", hostname="mx1.example.org", user_domain="staff"),
            obj("user_domain", "", "staff", kind=0, node="mx1"), obj("domain", "main", "example.org"),
            obj("address", "main", "info@example.org", to=["user:alice"])]


def chain(n):
    return hashlib.sha256(b"%d" % n).digest()


class Talk:
    """A node whose controller is the test."""

    def __init__(self):
        self.cluster = Cluster(start=False)
        self.fake = FakeController(self.cluster.address)
        self.node = self.cluster.new_node("mx1")
        self.objects, self.revision = [], 0
        folder = os.path.join(self.node.root, "etc/mailnode/node")
        os.makedirs(folder)
        with open(folder + "/identity", "w") as f:
            json.dump(self.fake.identity("mx1"), f)
        os.chmod(folder + "/identity", 0o600)
        for path in (folder, folder + "/identity"):
            shutil.chown(path, "mailagent", "mailagent")
        os.chmod(folder, 0o700)
        self.node.start()

    def hello(self):
        hello = self.fake.expect("hello", 15).hello
        self.fake.send(body("standing", state=1, node="mx1", revision=hello.revision + 1, report_ms=1000))
        return hello

    def delta(self, new, to=None, digest=None, **more):
        """What leads from where it is to 'new' objects beside those that it has."""
        to = to or self.revision + 1
        objects = self.objects + new
        fields = {"from_revision": self.revision, "to_revision": to, "to_chain": chain(to),
                  "to_digest": digest_sum(objects) if digest is None else digest, "objects": new}
        if self.revision:
            fields["from_chain"] = chain(self.revision)
        fields.update(more)
        return body("delta", **fields)

    def applied(self):
        """The next 'applied' that is news: each session begins with what is in force already."""
        applied = self.fake.expect("applied", 15).applied
        while applied.revision == self.revision:
            applied = self.fake.expect("applied", 15).applied
        return applied

    def take(self, envelope):
        """Sends a good one and waits for its 'applied'."""
        if not envelope.HasField("last"):
            envelope.seq, envelope.last = 0, True
        self.fake.send(envelope)
        applied = self.applied()
        self.objects = self.objects + list(envelope.delta.objects)
        self.revision = envelope.delta.to_revision
        assert applied.revision == self.revision and applied.chain == chain(self.revision)
        assert applied.digest == digest_sum(self.objects)
        return applied

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.cluster.close(failing=kind is not None)
        self.fake.close()


@pytest.fixture
def talk():
    with Talk() as t:
        assert t.hello().revision == 0
        t.take(t.delta(state()))
        yield t


def still(talk, rows):
    assert talk.node.agent.running(), talk.node.agent.output()
    now = talk.node.tables.rows()
    for table in ("domain", "rcpt", "expand", "policy"):
        assert now[table] == rows[table], table


def goes_on(talk, name):
    """After whatever was said: a good delta is taken, if need be after a new Hello."""
    new = [obj("address", "main", f"{name}@example.org", to=["user:bob"])]
    talk.fake.send(body("standing", state=1, node="mx1", revision=talk.revision + 1, report_ms=1000))
    talk.take(talk.delta(new))
    assert talk.node.tables.lookup("alias", f"{name}@example.org")


@pytest.mark.spec("R22", "F-176", "B34")
@pytest.mark.parametrize("what", ["field of a kind", "kind", "value"])
def test_what_is_not_understood_is_refused_as_such(talk, what):
    rows = talk.node.tables.rows()
    new = {"field of a kind": field(1, b"main") + field(2, b"new@example.org") + field(21, field(1, b"user:alice") + field(99, b"x")),
           "kind": field(1, b"main") + field(2, b"new") + field(900, field(1, b"x")),
           "value": field(1, b"main") + field(23, b"\x18\x63")}[what]
    talk.fake.send(_last(talk.delta([new])))
    said = talk.fake.expect("refused").refused
    assert said.revision == talk.revision + 1 and said.why.code == control_pb2.UNSUPPORTED and said.schema == 1, said
    still(talk, rows)


def _last(envelope):
    envelope.seq, envelope.last = 0, True
    return envelope


@pytest.mark.spec("R21", "S37", "R26", "S39")
@pytest.mark.parametrize("what", ["another chain", "another start", "wrong digest", "unasked snapshot", "from the past", "replayed",
                                  "not canonical", "another node's", "second part only", "parts in disorder"])
def test_only_a_delta_that_fits_is_taken(talk, what):
    rows = talk.node.tables.rows()
    new = [obj("address", "main", "evil@example.org", to=["user:mallory"])]
    good = _last(talk.delta(new))
    if what == "another chain":
        good.delta.from_chain = chain(77)
    elif what == "another start":
        good.delta.from_revision += 5
        good.delta.to_revision += 5
    elif what == "wrong digest":
        good.delta.to_digest = bytes(32)
    elif what == "unasked snapshot":
        good.delta.from_revision = 0
        good.delta.ClearField("from_chain")
        good.delta.to_digest = digest_sum(new)
    elif what == "from the past":
        good.delta.to_revision = talk.revision
    elif what == "replayed":
        good = _last(body("delta", from_revision=0, to_revision=talk.revision, to_chain=chain(talk.revision),
                          to_digest=digest_sum(new), objects=new))
    elif what == "not canonical":
        good.delta.objects[0] = field(2, b"evil@example.org") + field(1, b"main") + field(21, field(1, b"user:mallory"))
        good.delta.to_digest = digest_sum(talk.objects + list(good.delta.objects))
    elif what == "another node's":
        good.delta.objects[0] = obj("instance", "", "other", node="mx9", hostname="evil.example.org", user_domain="staff")
        good.delta.to_digest = digest_sum(talk.objects + list(good.delta.objects))
        good.delta.objects.append(obj("address", "other", "evil@example.org", to=["user:mallory"]))
        good.delta.to_digest = digest_sum(talk.objects + list(good.delta.objects))
    elif what == "second part only":
        good.seq = 1
    elif what == "parts in disorder":
        good.last = False
        talk.fake.send(good)
        good = body("delta", objects=[obj("address", "main", "evil2@example.org", to=["user:mallory"])])
        good.seq, good.last = 5, True
    talk.fake.send(good)
    if what == "another node's":
        # A subscription is the controller's business; rows are those of this node's own instance alone.
        talk.fake.receive(2)
        assert not talk.node.tables.query("SELECT 1 FROM rcpt WHERE local='evil'")
        assert talk.node.agent.running()
        return
    said = talk.fake.receive(1)
    while said is not None:
        assert said.WhichOneof("body") != "applied" or said.applied.revision <= talk.revision, said
        said = talk.fake.receive(0.3)
    still(talk, rows)
    goes_on(talk, "after")


@pytest.mark.spec("S35")
def test_every_message_from_a_controller(talk):
    """What is not a controller's to say has no effect and no answer but a failure."""
    rows = talk.node.tables.rows()
    may = {"standing", "delta", "prepare", "hold", "task_start", "task_cancel", "task_ask", "task_seen", "ping", "trace_read",
           "failure", "done"}
    for name in every_body():
        if name in may:
            continue
        talk.fake.send(body(name))
        said = talk.fake.receive(0.05)
        while said is not None:
            assert said.WhichOneof("body") in ("failure", "report", "hello"), (name, said)
            said = talk.fake.receive(0.02)
    still(talk, rows)
    goes_on(talk, "after")


@pytest.mark.spec("S35", "B34")
def test_empty_messages_of_the_right_kind(talk):
    rows = talk.node.tables.rows()
    for name in ("standing", "delta", "prepare", "hold", "task_start", "task_cancel", "task_ask", "task_seen", "failure", "done"):
        talk.fake.send(_last(body(name)))
    talk.fake.send(body("ping"))
    talk.fake.expect("pong")
    still(talk, rows)
    goes_on(talk, "after")


@pytest.mark.spec("B34", "B35")
def test_rubbish_for_an_agent(talk):
    rows = talk.node.tables.rows()
    before = talk.node.agent.rss_kb()
    for octets in RUBBISH.values():
        talk.fake.raw(octets)
    talk.fake.raw(b"", b"", b"x")
    talk.fake.raw(*[b"x"] * 1000)
    talk.fake.send(body("ping"))
    talk.fake.expect("pong")
    still(talk, rows)
    assert talk.node.agent.rss_kb() < before + 60000
    goes_on(talk, "after")


@pytest.mark.spec("B36", "S37", "F-172")
def test_a_task_id_with_other_content_is_a_conflict(talk):
    task = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    start = {"task_id": task, "deadline_ms": 10000, "node_check": {"repair": False}}
    talk.fake.send(body("task_start", **start))
    first = talk.fake.expect("task_result").task_result
    assert first.task_id == task and first.state == control_pb2.SUCCEEDED, first
    talk.fake.send(body("task_start", **start))             # the same again: the stored result
    assert talk.fake.expect("task_result").task_result == first
    start["node_check"] = {"repair": True}
    talk.fake.send(body("task_start", **start))
    said = talk.fake.receive(5)
    while said.WhichOneof("body") == "report" or (said.HasField("task_result") and said.task_result == first):
        said = talk.fake.receive(5)
    failure = said.failure if said.HasField("failure") else said.task_result.why
    assert failure.code == control_pb2.CONFLICT, said


@pytest.mark.spec("F-166", "R21")
def test_hello_says_what_was_stored(talk):
    """kill -9 and back: revision, chain and digest are read, not remembered; nothing is asked for twice."""
    talk.node.kill()
    talk.node.start()
    hello = talk.hello()
    assert (hello.revision, hello.chain, hello.digest) == (talk.revision, chain(talk.revision), digest_sum(talk.objects))
    assert hello.applied_revision == talk.revision
    goes_on(talk, "after")


@pytest.mark.spec("F-166")
def test_a_large_delta_in_parts_is_one_transaction(talk):
    """Cut off in the middle: nothing of it."""
    rows = talk.node.tables.rows()
    new = [obj("address", "main", f"p{i}@example.org", to=["user:alice"]) for i in range(2000)]
    whole = talk.delta(new)
    parts = []
    for i in range(0, 2000, 500):
        part = body("delta", objects=new[i:i + 500])
        if i == 0:
            for name in ("from_revision", "to_revision", "to_chain", "to_digest", "from_chain"):
                setattr(part.delta, name, getattr(whole.delta, name))
        part.id, part.seq, part.last = 500, i // 500, i == 1500
        parts.append(part)
    for part in parts[:3]:
        talk.fake.send(part)
    talk.node.kill()
    talk.node.start()
    assert talk.hello().revision == talk.revision
    still(talk, rows)
    for part in parts:
        part.id = 501
        talk.fake.send(part)
    assert talk.applied().revision == talk.revision + 1
    assert len(talk.node.tables.query("SELECT 1 FROM rcpt WHERE local LIKE 'p%'")) == 2000
