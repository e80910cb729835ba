"""Section 1: the route of one message through a node (F-002), from what its daemons wrote."""
import os
import re
import signal

import pytest

from harness import wait_until
from harness.ctl import run
from harness.paths import ENGINE
from harness.sink import Sink

pytestmark = pytest.mark.xdist_group("trace")


def trace(mail, wanted, code=0):
    """[(what, text)] in the order of the answer."""
    said = run([ENGINE, "trace", "--root", mail.root, "--", wanted])
    assert code is None or said.code == code, said
    lines = said.out.splitlines()
    assert all(re.match(r"\d\d-\d\d \d\d:\d\d:\d\d  ", line) for line in lines), said
    assert lines == sorted(lines, key=lambda line: line[:14])
    return [(line[16:27].strip(), line[29:]) for line in lines]


def whats(steps):
    return [what for what, _ in steps if what]


@pytest.mark.spec("F-002")
def test_route_of_a_message(mail_own):
    """Two recipients, one here and one outside, who is refused there: the route by queue id, Message-ID and each address."""
    mail = mail_own
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
    # Refused and put off: by address.
    assert mail.rcpt("nobody@example.org").startswith("550")
    assert wait_until(lambda: whats(trace(mail, "nobody@example.org", code=None)), "written") == ["refused"]
    rspamd = mail.pid("rspamd")
    os.kill(rspamd, signal.SIGKILL)
    with mail.smtp() as smtp:
        answers, last = smtp.message("late@remote.test", ["bob@example.org"], b"Subject: late\r\n\r\nlate\r\n.\r\n")
    if any((a or "").startswith("451") for a in [*answers, last]):   # not yet back
        assert set(wait_until(lambda: whats(trace(mail, "late@remote.test", code=None)), "written")) & {"filter", "put off", "refused"}
    trace(mail, "example.org", code=4)
    trace(mail, "--help", code=4)
    trace(mail, "a\nb", code=3)
    mail.wait_ready()
