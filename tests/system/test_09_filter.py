"""Sections 9 and 10: viruses and spam on their ways in (F-086, F-088, F-097, F-120; R05, R06)."""
import base64
import os
import re
import signal
import smtplib

import pytest

from harness import EICAR, GTUBE, Ledger, wait_until
from harness.mail import text_message

pytestmark = pytest.mark.xdist_group("filter")


def with_attachment(sender, recipients, octets, **headers):
    message = text_message(sender, recipients, **headers)
    message.add_attachment(octets, maintype="application", subtype="octet-stream", filename="a.bin")
    return message


def set_filter(mail, words):
    mail.cluster.ctl(f"filter set {words}", timeout=60)
    mail.wait_ready()


@pytest.mark.spec("F-086", "F-088")
@pytest.mark.parametrize("way", ["incoming", "submission", "submissions"])
@pytest.mark.parametrize("form", ["body", "attachment"])
def test_virus_is_discarded(mail, way, form):
    """Answered with 250, delivered to nobody, in the log by its signature's name; what comes after it arrives."""
    ledger = Ledger(mail)
    to, sender = ["bob@example.org"], "someone@remote.test" if way == "incoming" else "alice@example.org"
    virus = (text_message(sender, to, body=EICAR + "\n") if form == "body" else with_attachment(sender, to, EICAR.encode()))
    logged = mail.daemon_log("postfix").count("milter-discard")
    if way == "incoming":
        mail.deliver(sender, to, virus)
    else:
        mail.submit("alice", sender, to, virus, port=587 if way == "submission" else 465)
    wait_until(lambda: mail.daemon_log("postfix").count("milter-discard") > logged, "it is discarded, and logged")
    assert ledger.send(to, {"bob": 1}).startswith("250")
    ledger.settle()
    assert not [m for m in mail.mailbox("bob", "INBOX", "Junk") if EICAR.encode() in m or
                base64.b64encode(EICAR.encode())[:40] in m]
    assert re.search(r"(?i)eicar", mail.daemon_log("rspamd") + mail.daemon_log("clamd"))


@pytest.mark.spec("F-088")
def test_virus_is_rejected_where_that_is_wanted(mail):
    set_filter(mail, "infected=reject")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        mail.deliver("someone@remote.test", ["bob@example.org"], text_message("", ["bob@example.org"], body=EICAR + "\n"))
    assert refused.value.smtp_code == 554 and b"5.7.1" in refused.value.smtp_error
    set_filter(mail, "infected=")


@pytest.mark.spec("F-097")
def test_spam_test_is_refused_and_every_message_has_its_score(mail):
    ledger = Ledger(mail)
    assert ledger.send(["alice@example.org"], body=GTUBE + "\n").startswith("554 5.7.1")
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    newest = [m for m in mail.mailbox("alice", "INBOX", "Junk") if ledger.accepted[-1].encode() in m]
    assert re.search(rb"^X-Spam[a-z-]*: .*-?\d+\.\d+", newest[0], re.M | re.I), newest[0][:2000]


@pytest.mark.spec("F-120", "R05")
def test_filter_away_puts_mail_off(mail):
    """Nothing is accepted unfiltered, and it is back by itself."""
    ledger = Ledger(mail)
    folder = mail.path("run/mailnode/rspamd")
    mode = os.stat(folder).st_mode & 0o7777
    os.chmod(folder, 0o700)   # Postfix does not reach it
    try:
        assert ledger.send(["alice@example.org"]).startswith("451")
    finally:
        os.chmod(folder, mode)
    wait_until(lambda: mail.pid("rspamd"), "Rspamd runs")
    answers = []
    for _ in range(3):
        mail_pid = mail.pid("rspamd")
        os.kill(mail_pid, signal.SIGKILL)
        answers.append(ledger.send(["alice@example.org"], {"alice": 1}))
        wait_until(lambda: mail.pid("rspamd") not in (None, mail_pid), "started again")
    assert all(a.startswith(("451", "250")) for a in answers), answers
    mail.wait_ready()
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    for message in mail.mailbox("alice", "INBOX", "Junk"):
        if b"X-Ledger: ledger-" in message:
            assert re.search(rb"^X-Spam", message, re.M | re.I), "unfiltered"
    events = mail.cluster.ctl("events -o json").out
    assert "rspamd" in events


@pytest.mark.spec("R06", "F-086")
def test_scanner_away(mail):
    """Put off by default; 'pass' lets mail through."""
    ledger = Ledger(mail)
    folder = mail.path("run/mailnode/clamd")
    mode = os.stat(folder).st_mode & 0o7777
    os.chmod(folder, 0o700)
    try:
        assert ledger.send(["alice@example.org"]).startswith("451"), ledger.entries
        mail.cluster.ctl("filter set scanner-away=pass", timeout=60)
        wait_until(lambda: ledger.send(["alice@example.org"], {"alice": 1}).startswith("250"), "unscanned mail passes", 20)
    finally:
        os.chmod(folder, mode)
        mail.cluster.ctl("filter set scanner-away=", timeout=60)
    mail.wait_ready()
    ledger.settle()


@pytest.mark.spec("F-086")
def test_without_antivirus_clamd_ends_and_mail_flows(mail):
    ledger = Ledger(mail)
    set_filter_off = mail.cluster.ctl("filter set antivirus=no", timeout=60)
    assert set_filter_off.code == 0
    wait_until(lambda: mail.pid("clamd") is None, "clamd has ended")
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    assert "clamd" not in {n for n, f in mail.facts().items() if f["state"] == "good"}
    set_filter(mail, "antivirus=")
