"""Section 1: what is up is what answers, one instance on a node, and the route of a message (F-001, F-002, F-003)."""
import json
import os
import re
import signal
import smtplib
import socket
import time

import pytest

from harness import GTUBE, Cluster, MailNode, paths, wait_until
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


# ---- search

def search(mail, *words, code=0):
    """[(result, from, to as written, text)], oldest first."""
    said = mail.cluster.ctl("trace", "-o", "json", *words, code=code)
    document = json.loads(said.out) if said.out else {"items": []}
    assert [i["time"] for i in document["items"]] == sorted(i["time"] for i in document["items"])
    return [(i["result"], i.get("from"), i.get("orig_to", i.get("to")), i["text"]) for i in document["items"]]


def finds(mail, wanted, *words):
    """Waits until the log says so: (result, from, to) of all that is found, in any order."""
    def found():
        return sorted(row[:3] for row in search(mail, *words, code=None))
    wait_until(lambda: found() == sorted(wanted), lambda: f"{words}: {found()} instead of {sorted(wanted)}")


@pytest.mark.spec("F-002")
def test_search_by_sender_and_recipient(mail):
    """What was accepted, with its result for each recipient, and what was refused or put off, at each stage of SMTP."""
    c = mail.cluster
    mail.add_user("quinn")
    wait_until(lambda: mail.rcpt("quinn@example.org", sender="probe@seek.test").startswith("250"), "quinn receives", 5)
    c.ctl("address add seek@example.org to=bob,far@away.test,refused@away.test,later@away.test")
    with Sink(c.addresses[7]) as sink:
        c.ctl(f"relay add default host={sink.address} port={sink.port} tls=off")
        mail.deliver("One@seek.test", ["SEEK@example.org", "alice@example.org"])
        wait_until(lambda: len(sink.messages) >= 2, "sent on, and the sender told", 30)
    mine = [("delivered", "One@seek.test", "SEEK@example.org"), ("delivered", "One@seek.test", "SEEK@example.org"),
            ("bounced", "One@seek.test", "SEEK@example.org"), ("deferred", "One@seek.test", "SEEK@example.org")]
    finds(mail, [*mine, ("delivered", "One@seek.test", "alice@example.org")], "from=one@SEEK.test")
    finds(mail, mine, "to=seek@EXAMPLE.org")
    finds(mail, mine[:1], "from=@seek.test", "to=far@away.test")
    finds(mail, [("delivered", "", "One@seek.test")], "from=<>", "to=@seek.test")
    words = {result: text for result, _, to, text in search(mail, "to=@away.test")}
    assert "550" in words["bounced"] and "451" in words["deferred"], words
    # Refused and put off: no recipient, a sender that is another's, spam, and who left a moment ago.
    assert mail.rcpt("nobody.here@example.org", sender="two@seek.test").startswith("550")
    c.ctl("user remove quinn --yes")
    wait_until(lambda: mail.rcpt("quinn@example.org", sender="three@seek.test").startswith("450"), "who left is put off", 5)
    with mail.smtp() as smtp:
        assert smtp.message("four@seek.test", ["bob@example.org"], f"Subject: x\r\n\r\n{GTUBE}\r\n.\r\n".encode())[1].startswith("554")
        forged = '"; from=<five@seek.test> to=<bob@example.org> proto=ESMTP helo=<d>"@seek2.test'
        assert smtp.rcpt("nobody.here@example.org", sender=forged).startswith("550")
        assert smtp.rcpt("x@elsewhere.test", sender="six@seek.test").startswith("554")
    finds(mail, [("refused", "two@seek.test", "nobody.here@example.org")], "from=two@seek.test")
    wait_until(lambda: "put off" in {r for r, *_ in search(mail, "from=three@seek.test", "to=quinn@example.org", code=None)}, "is found")
    finds(mail, [("refused", "four@seek.test", "bob@example.org")], "from=four@seek.test")
    finds(mail, [("refused", "six@seek.test", "x@elsewhere.test")], "from=six@seek.test")
    finds(mail, [("refused", forged, "nobody.here@example.org")], "from=@seek2.test")
    assert search(mail, "from=five@seek.test", code=4) == []
    with pytest.raises(smtplib.SMTPRecipientsRefused):   # of one who is logged in, which the line ends with
        mail.submit("bob", "bob@example.org", ["seventh@example.org"])
    finds(mail, [("refused", "bob@example.org", "seventh@example.org")], "to=seventh@example.org")
    # What was found is followed by its queue id.
    queue_id = json.loads(c.ctl("trace -o json to=far@away.test").out)["items"][0]["queue_id"]
    assert "orig_to=<SEEK@example.org>" in c.ctl("trace", queue_id).out
    table = c.ctl("trace from=@seek.test --limit 2")
    assert table.out.split("\n")[0].split() == ["TIME", "NODE", "RESULT", "TRIES", "QUEUE-ID", "FROM", "TO", "TEXT"]
    assert len(table.out.splitlines()) == 3 and "there is more before these 2: narrow it" in table.err, table
    assert re.match(r"from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d to ", table.err)
    c.ctl("queue delete --all --yes", code=None)
    c.ctl("address remove seek@example.org")
    c.ctl("relay remove default")
    del mail.passwords["quinn"]


def stamp(ago):
    return time.strftime("%b %e %H:%M:%S", time.localtime(time.time() - ago))


@pytest.mark.spec("F-002")
def test_search_in_a_window_of_rotated_logs(mail):
    """Older parts of the log count, and nothing in them does harm: lines without end, octets that are no text, made-up fields."""
    day, old, path = 24 * 3600, "postfix/smtp[1]: OLDOLD1: ", mail.path("var/log/mailnode", "postfix.log.2")
    with open(path, "wb") as f:
        f.write(b"x" * 300000 + b"to=<victim@window.test>, status=sent (ok)\n" + bytes(range(1, 10)) + b"\xff\xfe\n")
        f.write(f"{stamp(3 * day)} mx1 postfix/qmgr[1]: OLDOLD1: from=<a@window.test>, size=1, nrcpt=1 (queue active)\n".encode())
        f.write(f"{stamp(3 * day)} mx1 {old}to=<late@window.test>, relay=none, dsn=4.0.0, status=deferred (\x1b[2Jlater)\n".encode())
        f.write(f"{stamp(2 * day)} mx1 {old}to=<late@window.test>, relay=none, dsn=2.0.0, status=sent (ok)\n".encode())
        f.write(f"{stamp(3600)} mx1 {old}to=<new@window.test>, relay=none, status=bounced (no, status=sent (ok))\n".encode())
        f.write(f"{stamp(3600)} mx1 postfix/smtpd[1]: NOQUEUE: reject: RCPT from h[::1]: 450 4.1.1 \x1b]0;t\x07no; ".encode() +
                b"from=<" + b"\x1b[2J" * 3000 + b"@window.test> to=<new@window.test> proto=ESMTP\n")
    try:
        assert [r[0] for r in search(mail, "to=@window.test")] == ["bounced", "put off"]
        assert [r[:2] for r in search(mail, "to=@window.test", "since=4d", "until=2h")] == [("delivered", "a@window.test")]
        found = search(mail, "to=late@window.test", "since=4d", f"until={time.strftime('%F %T', time.localtime(time.time() - 60 * 3600))}")
        assert found == [("deferred", "a@window.test", "late@window.test", "(\\x1b[2Jlater)")]
        assert search(mail, "to=late@window.test", code=4) == []
        said = mail.cluster.ctl("trace to=@window.test since=2000-01-01")
        assert len(said.out.splitlines()) == 4 and not set("\x1b\x07\xff") & set(said.out + said.err), said
        assert len(max(said.out.splitlines(), key=len)) < 2000
    finally:
        os.unlink(path)


WRONG = [   # words, exit code, what is said
    ([], 2, "nothing to look for"),
    (["since=1h"], 2, "nothing to look for"),
    (["x@y.test", "from=a@b.test"], 2, "is followed whole"),
    (["x@y.test", "--limit", "3"], 2, "is followed whole"),
    (["from=a@b.test", "x@y.test"], 2, "stray word"),
    (["from=a@b.test", "from=c@d.test"], 2, "from is there twice"),
    (["from=a@b.test", "whence=c@d.test"], 2, "unknown field 'whence'"),
    (["from+=a@b.test"], 2, "list"),
    (["from="], 3, "from: '' is no address"),
    (["from=alice"], 3, "from: 'alice' is no address"),
    (["to=<>"], 3, "to: '<>' is no address"),
    (["to=a@b\x1b[2J"], 3, "to: what is to be found in logs has only printable ASCII"),
    (["to=" + "x" * 400 + "@b.test"], 3, "to: "),
    (["to=a@b.test", "since=yesterday"], 3, "since: 'yesterday': write 2026-11-17"),
    (["to=a@b.test", "until=2026-13-40"], 3, "until: '2026-13-40'"),
    (["to=a@b.test", "since=1h", "until=2h"], 3, "is later than until"),
    (["to=a@b.test", "--limit", "0"], 3, "--limit: at least 1"),
    (["to=a@b.test", "--limit", "few"], 3, "--limit: 'few' is no number"),
    (["to=a@b.test", "-o", "name"], 2, "no names"),
    (["to=never.heard.of@b.test"], 4, "nothing of it in the logs"),
]


@pytest.mark.spec("F-002")
@pytest.mark.parametrize("words, code, says", WRONG)
def test_search_for_nothing_that_could_be(mail, words, code, says):
    said = mail.cluster.ctl("trace", *words, code=code)
    assert says in said.err and said.out == "" and "\x1b" not in said.err, said
    assert sum(line.startswith("mailctl: ") for line in said.err.splitlines()) == 1, said
