"""Section 13: rules of the instance that are data: clients that may relay."""
import base64
import re

import pytest

from harness import Ledger, wait_until
from harness.mail import EICAR, text_message

pytestmark = pytest.mark.xdist_group("mailboxes")

INSIDE, NETWORK, OUTSIDE = "127.88.0.5", "127.88.0.0/16", "127.89.0.5"


def loads(node):
    """How often Postfix was started or read its configuration anew."""
    return len(re.findall(r"master\[\d+\]: (?:reload|daemon started)", node.daemon_log("postfix"))), node.pid("postfix")


@pytest.mark.spec("F-149", "F-082", "F-081", "S08")
def test_relay_clients(mail):
    """What is listed relays and reaches internal addresses, at once and in open sessions; nobody else does, and no daemon
    is told."""
    c, before = mail.cluster, loads(mail)
    c.ctl("address add board@* to=alice internal=yes")
    ledger = Ledger(mail)
    with mail.smtp(source=INSIDE) as listed, mail.smtp(source=OUTSIDE) as other:
        for rule in (None, INSIDE, None, NETWORK):   # few: after ten refusals smtpd slows down
            if rule:
                c.ctl(f"relay-client add {rule}")
            for smtp, may in ((listed, bool(rule)), (other, False)):
                for recipient, refused in (("x@far.test", "554 5.7.1"), ("BOARD+tag@Example.Org", "550 5.7.1")):
                    answer = smtp.rcpt(recipient)
                    assert answer.startswith("250" if may else refused), (rule, smtp, recipient, answer)
                assert smtp.rcpt("alice@example.org").startswith("250")
            if rule:
                c.ctl(f"relay-client remove {rule}")
        assert listed.rcpt("nobody@example.org").startswith("550 5.1.1")
    # Logged-in users reach them too; a message of a listed client is filtered, and no login of anybody.
    c.ctl(f"relay-client add {NETWORK} description=printers")
    mail.submit("bob", "bob@example.org", ["board@example.org"], text_message("bob", ["board@example.org"], "by login"))
    mail.deliver("printer@example.org", ["board@example.org"], text_message("p@example.org", ["b"], "by address"), source=INSIDE)
    mail.deliver("printer@example.org", ["board@example.org"],
                 text_message("p@example.org", ["b"], "infected", EICAR), source=INSIDE)
    assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
    ledger.settle()

    def subjects():
        return sorted(s for m in mail.mailbox("alice") for s in re.findall(rb"^Subject: (by .*|infected)\r?$", m, re.M))
    wait_until(lambda: len(subjects()) == 2, lambda: f"both are there: {subjects()}")
    assert subjects() == [b"by address", b"by login"]
    assert not [m for m in mail.mailbox("alice") if b"by address" in m and b"DKIM-Signature" in m]
    shown = c.ctl("relay-client list -o json").json["items"]
    assert [(i["name"], i["description"]) for i in shown] == [(NETWORK, "printers")]
    c.ctl(f"relay-client remove {NETWORK}")
    c.ctl("address remove board@*")
    assert loads(mail) == before, "as data, nothing is loaded anew"


@pytest.mark.spec("F-081")
def test_strangers_learn_only_that_it_is_internal(mail):
    """Whatever else an internal address is just now; a login and a relay client are told that."""
    c = mail.cluster

    def told(source, address):
        with mail.smtp(source=source) as smtp:
            return smtp.rcpt(address)
    mail.add_user("eve")
    mail.wait_user("eve")
    mail.add_user("frank")
    mail.wait_user("frank")
    c.ctl("domain add example.net -i main")
    for name, to in (("shut", "user:bob"), ("full", "user:eve"), ("left", "user:frank"), ("nowhere", "user:ghost")):
        c.ctl(f"address add {name}@* to={to} internal=yes")
    c.ctl("address add plain@* to=user:bob")
    c.ctl(f"relay-client add {INSIDE}")
    mail.deliver("x@far.test", ["eve@example.org"], text_message("x@far.test", ["eve"], "room", ("y" * 70 + "\n") * 40))
    wait_until(lambda: mail.mailbox("eve"), "eve has a message")
    c.ctl("mailbox set eve quota=1K")
    c.ctl("mailbox disable bob")
    c.ctl("user remove frank --yes")
    said = {"shut": "550 5.2.1", "full": "452 4.2.2", "left": "450 4.2.1", "nowhere": "550 5.1.1"}
    wait_until(lambda: mail.rcpt("eve@example.org").startswith("452"), "her mailbox is full")
    for name, reply in said.items():
        for address in (f"{name}@example.org", f"{name.upper()}+Tag@Example.Net"):
            assert told(OUTSIDE, address).startswith("550 5.7.1"), address
            assert told(INSIDE, address).startswith(reply), address
            with mail.smtp(587).starttls() as smtp:
                word = base64.b64encode(f"\0alice\0{mail.passwords['alice']}".encode()).decode()
                assert smtp.say(f"AUTH PLAIN {word}").startswith("235")
                assert smtp.rcpt(address).startswith(reply), address
    assert told(OUTSIDE, "plain@example.org").startswith("550 5.2.1"), "what is not internal is told"
    c.ctl("mailbox enable bob")
    assert told(OUTSIDE, "shut@example.org").startswith("550 5.7.1")
    assert told(INSIDE, "shut@example.org").startswith("250")
    for name in (*said, "plain"):
        c.ctl(f"address remove {name}@*")
    for command in ("mailbox set eve quota=", f"relay-client remove {INSIDE}", "domain remove example.net --purge --yes", "user remove eve --yes"):
        c.ctl(command)


@pytest.mark.spec("F-149", "B10")
def test_relay_clients_as_written(mail):
    """Host bits are refused with what is right; /0 needs to be meant; IPv6 in every spelling, asked as Postfix does."""
    c = mail.cluster
    for wrong, right in (("10.1.2.3/24", "10.1.2.0/24"), ("2001:db8::1/32", "2001:db8::/32"), ("10.0.0.1/31", "10.0.0.0/31"),
                         ("::ffff:10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3/120", "10.1.2.0/24")):
        said = c.ctl(["relay-client", "add", wrong], code=3)
        assert f"write {right}" in said.err, said
    for wrong in ("", "10.1.2", "10.1.2.0/33", "10.1.2.0/", "10.1.2.0/08", "10.1.2.0/-1", "10.1.2.0/+8", "10.1.2.0/24/8",
                  "2001:db8::/129", "fe80::1%lo", "0x7f.1", "127.1", "printer.example.org", "10.1.2.0 /24", "\x1b[31m", "*"):
        said = c.ctl(["relay-client", "add", "--", wrong], code=(2, 3))
        assert "\x1b" not in said.err, said
    for everybody in ("0.0.0.0/0", "::/0"):
        said = c.ctl(["relay-client", "add", everybody], code=3)
        assert "--force" in said.err, said
        c.ctl(["relay-client", "add", everybody, "--force"])
    assert mail.tables.lookups("clients", ["203.0.113.9", "2001:db8::9"]).keys() == {"203.0.113.9", "2001:db8::9"}
    for everybody in ("0.0.0.0/0", "::/0"):
        c.ctl(["relay-client", "remove", everybody])

    listed = ["10.1.2.0/23", "192.0.2.7", "2001:DB8:0:0:1::/80", "2001:db8:a::9", "::1", "2001:db8:b:c::/62"]
    inside = ["10.1.2.0", "10.1.3.255", "192.0.2.7", "2001:db8:0:0:1::", "2001:db8::1:2:3:4", "2001:db8:0:0:1:ffff:ffff:ffff",
              "2001:db8:a::9", "::1", "2001:db8:b:f:1::", "2001:db8:b:c::"]
    outside = ["10.1.1.255", "10.1.4.0", "10.1", "10", "192.0.2.70", "192.0.2.6", "2001:db8:0:0:2::", "2001:db8::1", "::2", "::",
               "2001:db8:a::9:1", "2001:db8:a::", "2001:db8:b:10::", "2001:db8", "2001:db8:", "unknown", "client.test",
               "a.10.1.2", ".10.1.2.3", "10.1.2.3.example", "face:b00c", "x@10.1.2.3", "10.1.2.3' OR '1'='1"]
    for network in listed:
        c.ctl(["relay-client", "add", network])
    assert set(mail.tables.lookups("clients", inside + outside)) == set(inside)
    names = c.ctl("relay-client list -o name").names
    assert names == sorted(["10.1.2.0/23", "192.0.2.7", "2001:db8:0:0:1::/80", "2001:db8:a::9", "::1", "2001:db8:b:c::/62"])
    for name in names:
        c.ctl(["relay-client", "remove", name])
