"""Section 2: from 'instance add' to mail for the users of one directory (F-010 to F-015)."""
import re
import socket
import ssl
import subprocess

import pytest

from harness import wait_until
from harness.mail import tls_context

pytestmark = pytest.mark.xdist_group("first")


def served_names(address, port):
    """Names in the certificate that is shown."""
    with socket.create_connection((address, port), 10) as raw, tls_context().wrap_socket(raw) as tls:
        pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
    text = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=pem, capture_output=True, text=True,
                          check=True).stdout
    return set(re.findall(r"DNS:([^\s,]+)", text))


@pytest.mark.spec("F-011")
def test_host_name_is_banner_helo_and_certificate(mail):
    with mail.smtp() as smtp:
        assert smtp.banner.startswith("220 mx1.example.org ESMTP")
        assert smtp.ehlo.startswith("250-mx1.example.org")
    assert served_names(mail.address, 993) == served_names(mail.address, 465) == {"mx1.example.org"}
    assert re.search(r"^smtp_helo_name = (\$myhostname|mx1\.example\.org)$|^myhostname = mx1\.example\.org$",
                     mail.rendered("postfix/main.cf"), re.M)


@pytest.mark.spec("F-012", "F-014", "F-026")
def test_users_are_accepted_and_others_are_not(mail):
    with mail.smtp() as smtp:
        for known in ("alice@example.org", "ALICE@Example.ORG", "alice+tag@example.org", "bob@example.org"):
            assert smtp.rcpt(known).startswith("250"), known
        assert smtp.rcpt("nobody@example.org").startswith("550 5.1.1")
        assert smtp.rcpt("alice@foreign.test").startswith("554 5.7.1")


@pytest.mark.spec("F-013", "F-014")
def test_new_user_receives_and_logs_in_without_reload(mail):
    c = mail.cluster
    assert mail.rcpt("dora@example.org").startswith("550 5.1.1")
    before = mail.pids(), mail.generation()
    mail.add_user("dora", full_name="Dora D.")
    wait_until(lambda: mail.rcpt("dora@example.org").startswith("250"), "dora receives", 5)
    mail.deliver("someone@remote.test", ["dora@example.org"])
    wait_until(lambda: mail.mailbox("dora"), "delivered")
    with mail.imap("dora") as imap:
        assert len(imap.messages()) == 1
    assert (mail.pids(), mail.generation()) == before
    c.ctl("user remove dora --yes")
    wait_until(lambda: mail.rcpt("dora@example.org").startswith("450"), "who left a moment ago is put off, not refused", 5)
    with pytest.raises(Exception, match="AUTHENTICATIONFAILED|UNAVAILABLE"):
        mail.imap("dora").close()
    del mail.passwords["dora"]
    assert mail.mailbox("dora"), "her mail stays"


@pytest.mark.spec("F-015")
def test_the_same_again_loads_nothing(mail):
    c = mail.cluster

    def stand():
        return mail.generation(), mail.pids(), c.revision, [mail.daemon_log(d).count("eload") for d in ("postfix", "dovecot")]
    before = stand()
    for _ in range(3):
        c.ctl(f"instance add main node=mx1 hostname=mx1.example.org user-domain=people-mx1 mail-domain=example.org "
              f"listen={mail.address} --may-exist")
        c.ctl("settings set message-size=100M")
    assert stand() == before


@pytest.mark.spec("F-010")
def test_instance_without_directory_is_refused(mail):
    said = mail.cluster.ctl("instance set main user-domain=poeple-mx1", code=4)
    assert "poeple-mx1" in said.err and "people-mx1" in said.err, said
