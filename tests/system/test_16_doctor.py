"""doctor, node check and settings of the configuration, with agents that the test plays."""
import json
import re

import pytest

from harness import Cluster, wait_until
from harness.holder import Holder, Refusal
import control_pb2
import report_pb2

FINDINGS = [{"severity": report_pb2.BAD, "where": "port 25", "text": "held by exim4, pid 812"},
            {"severity": report_pb2.DEGRADED, "where": "clock", "text": "3 s off\x1b[31m"}]


@pytest.fixture
def two():
    with Cluster() as c:
        with Holder(c, "mx1") as one, Holder(c, "mx2") as other:
            c.one, c.other = one, other
            yield c


def test_doctor_asks_all_nodes_at_once(two):
    c = two
    said = c.ctl("doctor")
    assert said.out == "nothing found on 2 nodes\n"
    assert all(h.tasks[0].WhichOneof("verb") == "node_doctor" for h in (c.one, c.other))
    c.one.findings = FINDINGS
    said = c.ctl("doctor", code=1)
    lines = [re.split(r" {2,}", line) for line in said.out.splitlines()]
    assert lines == [["NODE", "SEVERITY", "WHERE", "FINDING"], ["mx1", "bad", "port 25", "held by exim4, pid 812"],
                     ["mx1", "degraded", "clock", "3 s off\\x1b[31m"]], said
    assert c.ctl("doctor mx2").out == "nothing found on 1 node\n"
    items = c.ctl("doctor -o json", code=1).items
    assert items[0] == {"node": "mx1", "severity": "bad", "where": "port 25", "text": "held by exim4, pid 812"}
    assert json.loads(c.ctl("doctor mx2 -o json").out) == {"version": 1, "items": []}
    c.ctl("doctor mx7", code=4)


def test_nodes_that_are_not_reached_are_findings(two):
    c = two
    c.ctl("node add mx3")
    c.other.stop()
    wait_until(lambda: not c.online("mx2"), "mx2 is offline", 30)
    items = c.ctl("doctor -o json", code=1).items
    assert [(i["node"], i["severity"], i["where"]) for i in items] == [("mx2", "bad", "link"), ("mx3", "bad", "link")]
    assert "offline, last heard of" in items[0]["text"] and "never-joined" in items[1]["text"]
    c.one.findings = None
    said = c.ctl("doctor mx1 --timeout 300ms", code=1)
    assert "did not answer in time" in said.out
    c.ctl("node revoke mx3 --yes", code=4)
    c.ctl("node remove mx3 --yes")


def test_check_hands_on_whether_to_repair(two):
    c = two
    c.ctl("node check mx1")
    c.ctl("node check mx1 --repair")
    assert [t.node_check.repair for t in c.one.tasks] == [False, True]


@pytest.mark.spec("F-003")
def test_what_is_held_by_somebody_else_is_a_conflict(two):
    """The node says who holds the port: exit 6 with its words, and nothing is stored."""
    c = two
    c.ctl("user-domain add staff kind=internal node=mx1")
    c.ctl("instance add main node=mx1 hostname=mx1.example.org user-domain=staff mail-domain=example.org")
    before = c.revision
    c.one.refusal = Refusal(control_pb2.CONFLICT, "port 25 of 127.0.1.1 is in use by exim4, pid 812", "end it, or say listen=")
    said = c.ctl("instance set main listen=127.0.1.1", code=6)
    assert "mx1: port 25 of 127.0.1.1 is in use by exim4, pid 812" in said.err and "hint: end it, or say listen=" in said.err
    assert c.revision == before
    c.one.refusal = None
    c.ctl("instance set main listen=127.0.1.1")


@pytest.mark.spec("F-167")
def test_settings_filter_and_tls_come_and_go(two):
    c = two
    c.ctl("user-domain add staff kind=internal node=mx1")
    c.ctl("instance add main node=mx1 hostname=mx1.example.org user-domain=staff mail-domain=example.org")
    before = c.export()
    for noun in ("settings", "filter", "tls"):
        said = c.ctl(f"{noun} show")
        assert "these are the defaults" in said.err and said.out.startswith(noun), said
    for line, wrong in (("settings set delay-warning=5d", "delay-warning '5d': must be less than queue-lifetime, which is 5d"),
                        ("filter set deny=5.99", "spam-flag '6': must be less than deny, which is 5.99"),
                        ("filter set spam-flag=6,5", "spam-flag '6,5': write 6.5"),
                        ("tls set follow-key=/etc/k.pem", "follow-certificate is missing"),
                        ("tls set follow-key=k.pem follow-certificate=/c", "follow-key 'k.pem': no absolute path"),
                        ("settings set junk-folder=inbox", "junk-folder 'inbox': INBOX is there already")):
        said = c.ctl(line, code=3)
        assert wrong in said.err, said
    assert c.export() == before
    for line in ("settings set message-size=50M junk-folder=Spam", "filter set spam-flag=5.5",
                 "tls set follow-certificate=/etc/c.pem follow-key=/etc/k.pem"):
        said = c.ctl(line)
        assert "in force on mx1" in said.out, said
    stated = {i["kind"]: i for i in c.export()}
    assert stated["settings"] == {"kind": "settings", "instance": "main", "message_size": "50M", "junk_folder": "Spam"}
    assert stated["filter"]["spam_flag"] == 5.5
    assert "spam-flag             5.5" in c.ctl("filter show").out
    said = c.ctl("export").out
    c.ctl("apply -f - --prune --yes", stdin=said)
    assert c.ctl("export").out == said
    c.ctl("settings set message-size= junk-folder=Junk")
    c.ctl("filter set spam-flag=6")
    c.ctl("tls set follow-certificate=none follow-key=")
    assert c.export() == before
