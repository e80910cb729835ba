"""Section 3 on the running Postfix: switches, unknown names, a directory that is away (F-023, F-026, F-028)."""
import os
import subprocess
import time

import pytest

from harness import Ledger, wait_until

pytestmark = pytest.mark.xdist_group("domains")


@pytest.mark.spec("F-023")
def test_user_addresses_flip_in_an_open_session(mail):
    """The session that was answered 250 is answered 550 after the switch, and 250 again: no cache decides."""
    with mail.smtp() as smtp:
        for value, answer in (("yes", "250"), ("no", "550 5.1.1"), ("yes", "250")):
            mail.cluster.ctl(f"domain set example.org user-addresses={value}")
            for user in ("alice", "bob"):
                assert smtp.rcpt(f"{user}@example.org").startswith(answer), (value, user)


@pytest.mark.spec("F-023", "F-026")
def test_new_domain_serves_a_session_that_was_refused(mail):
    with mail.smtp() as smtp:
        assert smtp.rcpt("alice@example.net").startswith("554 5.7.1")
        mail.cluster.ctl("domain add example.net -i main")
        assert smtp.rcpt("alice@example.net").startswith("250")
        assert smtp.rcpt("nobody@example.net").startswith("550 5.1.1")
        mail.cluster.ctl("domain remove example.net --yes")
        assert smtp.rcpt("alice@example.net").startswith("554 5.7.1")


@pytest.mark.spec("F-026", "S25")
def test_what_is_refused_leaves_nothing_behind(mail):
    ledger = Ledger(mail)
    assert ledger.send(["nobody@example.org"]).startswith("550 5.1.1")
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()
    assert "bounce" not in mail.daemon_log("postfix").replace("bounce_", "")


@pytest.mark.spec("F-028", "R34")
def test_directory_away(mail):
    """Known names go on, unknown ones get 451, never 5xx; after it is back, within ten seconds, all is as before."""
    socket = mail.path("run/mailnode/slapd")
    mode = os.stat(socket).st_mode & 0o7777
    assert mail.rcpt("nobody@example.org").startswith("550")
    mail.cluster.ctl("domain add caught.test catch-all=user:bob -i main")
    assert mail.rcpt("nobody@caught.test").startswith("250")
    os.chmod(socket, 0o700)   # the socket is there, and nobody but root reaches it
    subprocess.run(["pkill", "-9", "-P", str(mail.agent.pid), "mail-ldap"], check=True)   # what it holds is no way any more
    try:
        wait_until(lambda: mail.rcpt("nobody@example.org").startswith("451"), "unknown names are put off", 45)
        ledger = Ledger(mail)
        assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
        assert ledger.send(["nobody@example.org"]).startswith("451")
        assert ledger.send(["nobody@caught.test"]).startswith("451"), "never the catch-all"
        ledger.settle()
        wait_until(lambda: mail.facts()["accounts"]["state"] != "good", "it is said")
    finally:
        os.chmod(socket, mode)
    back = time.monotonic()
    wait_until(lambda: mail.rcpt("nobody@example.org").startswith("550"), "as before", 15)
    assert time.monotonic() - back < 10
    assert mail.rcpt("nobody@caught.test").startswith("250")
    mail.cluster.ctl("domain remove caught.test --yes")
