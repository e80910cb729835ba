"""Section 1: what is up is what answers, one instance on a node, and the route of a message (F-001, F-002, F-003)."""
import json
import os
import re
import signal
import socket

import pytest

from harness import Cluster, MailNode, paths, wait_until
from harness.ctl import run
from harness.mail import Talk
from harness.mailnode import DAEMONS
from harness.sink import Sink

pytestmark = pytest.mark.xdist_group("product")

GREETING = {25: r"220 mx1\.example\.org ESMTP", 143: r"\* OK", 110: r"\+OK", 4190: r'"IMPLEMENTATION"', 587: r"220 mx1\.example\.org ESMTP"}
WRAPPED = {465: r"220 mx1\.example\.org ESMTP", 993: r"\* OK", 995: r"\+OK"}


@pytest.mark.spec("F-001")
def test_every_service_answers_and_has_a_version(mail):
    for port, greeting in {**GREETING, **WRAPPED}.items():
        with Talk(mail.address, port, tls=port in WRAPPED) as talk:
            assert re.match(greeting, talk.line() or ""), port
    wait_until(lambda: all(re.search(r"^ready, .*\d+\.\d+", mail.facts()[d]["text"]) for d in DAEMONS),
               lambda: f"ready, with a version: {mail.facts()}")
    assert all(mail.facts()[d]["state"] == "good" for d in DAEMONS)
    shown = mail.cluster.ctl("node show mx1").out
    assert all(re.search(rf"^\s*{d}\s.*\d+\.\d+", shown, re.M) for d in DAEMONS), shown


@pytest.mark.spec("F-003", "R30")
def test_taken_port_is_refused_by_name():
    """Before anything is written, also when the holder is a stranger; free again, the same command works."""
    with Cluster(nodes=1, node=MailNode) as c:
        box = c["mx1"]
        c.ctl("user-domain add people kind=internal node=mx1")
        add = (f"instance add main node=mx1 hostname=mx1.example.org user-domain=people mail-domain=example.org "
               f"listen={box.address}")
        before, generation = c.revision, box.generation()
        for port in (25, 993):
            with socket.create_server((box.address, port)):
                said = c.ctl(add, code=6)
                assert re.search(rf"port {port} .*{re.escape(box.address)}.* in use by python3(\.\d+)?, pid {os.getpid()}\b",
                                 said.err), said
                assert "mx1" in said.err
            assert (c.revision, box.generation()) == (before, generation)
        c.ctl(add, timeout=90)
        box.wait_ready()


@pytest.mark.spec("F-003")
def test_second_instance_is_refused_by_name(mail):
    said = mail.cluster.ctl("instance add second node=mx1 hostname=mx.example.net user-domain=people-mx1 mail-domain=example.net",
                            code=6)
    assert "main" in said.err and "mx1" in said.err, said


@pytest.mark.spec("F-003", "R29")
def test_second_engine_names_the_first(mail):
    done = run([paths.ENGINE, "--root", mail.root])
    assert done.code == 6 and str(mail.mail_engine.pid) in done.err, done
    done = mail.halt()   # nor are the daemons ended behind its back
    assert done.code == 6 and str(mail.mail_engine.pid) in done.err, done
    assert mail.ready()


@pytest.mark.spec("F-003")
def test_engine_wants_root_and_a_root_folder():
    done = run([paths.ENGINE, "--root", "/tmp/" + "x" * 60])
    assert done.code in (2, 3) and "40" in done.err, done
    done = run([paths.ENGINE, "--root", "/"], uid=65534)
    assert done.code != 0 and "root" in done.err, done


@pytest.mark.spec("F-001")
def test_status_shows_the_node_as_good(mail):
    status = json.loads(mail.cluster.ctl("status -o json").out)
    assert [n["force"] for n in status["nodes"]] == ["in-force"], status


# ---- trace

def trace(mail, wanted, code=0):
    """[(what, text)] in the order of the answer."""
    said = run([paths.ENGINE, "trace", "--root", mail.root, "--", wanted])
    assert code is None or said.code == code, said
    lines = said.out.splitlines()
    assert all(re.match(r"\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines), said
    assert lines == sorted(lines, key=lambda line: line[:14])
    return [(line[16:27].strip(), line[29:]) for line in lines]


def whats(steps):
    return [what for what, _ in steps if what]


@pytest.mark.spec("F-002")
def test_route_of_a_message(mail):
    """Two recipients, one here and one outside, who is refused there: the route by queue id, Message-ID and each address."""
    with Sink(mail.cluster.addresses[7]) as sink:
        mail.cluster.ctl(f"relay add default host={sink.address} port={sink.port} tls=off")
        mail.cluster.ctl("address add both@example.org to=bob,refused@far.test")
        message = mail.deliver("someone@remote.test", ["both@example.org"])
        wait_until(lambda: sink.messages and mail.queue_empty(), "told and gone", 30)
        id = message["Message-ID"]
        steps = wait_until(lambda: "done" in whats(s := trace(mail, id)) and s, "the log is written")
        order = whats(steps)
        for earlier, later in (("accepted", "queued"), ("queued", "delivered"), ("queued", "bounced"), ("bounced", "told sender")):
            assert order.index(earlier) < order.index(later), order
        assert "filter" in order and any("someone@remote.test" in text for what, text in steps if what == "delivered")
        queue_id = steps[0][1].split()[1]
        for other in (queue_id, id.strip("<>"), "someone@remote.test", "BOTH@example.org", "refused@far.test"):
            assert trace(mail, other) == steps, other
    mail.cluster.ctl("address remove both@example.org")
    mail.cluster.ctl("relay remove default")
    # Refused and put off: by address.
    assert mail.rcpt("unheard.of@example.org").startswith("550")
    assert wait_until(lambda: whats(trace(mail, "unheard.of@example.org", code=None)), "written") == ["refused"]
    rspamd = mail.pid("rspamd")
    os.kill(rspamd, signal.SIGKILL)
    with mail.smtp() as smtp:
        answers, last = smtp.message("late@remote.test", ["bob@example.org"], b"Subject: late\r\n\r\nlate\r\n.\r\n")
    if any((a or "").startswith("451") for a in [*answers, last]):   # not yet back
        assert set(wait_until(lambda: whats(trace(mail, "late@remote.test", code=None)), "written")) & {"filter", "put off", "refused"}
    trace(mail, "example.org", code=4)
    trace(mail, "--help", code=4)
    trace(mail, "a\nb", code=3)
