"""Section 14: what mail programs meet (F-153, F-154, F-156, F-163; S05, S06)."""
import base64
import re
import socket

import pytest

from harness.mail import Smtp, Talk

pytestmark = pytest.mark.xdist_group("clients")

PLAIN = {143: "imap", 110: "pop3", 587: "smtp", 4190: "sieve"}
WRAPPED = {993: "imap", 995: "pop3", 465: "smtp"}


class Client(Talk):
    """The four protocols' beginnings, one shape: greeting, capabilities, STARTTLS, AUTH."""

    def __init__(self, address, port, protocol, tls=False):
        super().__init__(address, port, tls)
        self.protocol = protocol
        if protocol == "sieve":
            self.offered = self._sieve_reply()
        else:
            self.offered = (self.reply() if protocol == "smtp" else self.line()) or ""
            self.offered += "\n" + self.capabilities()

    def _sieve_reply(self):
        lines = []
        while True:
            line = self.line()
            if line is None:
                return "\n".join(lines) + "\nhung up"
            lines.append(line)
            if re.match(r"(OK|NO|BYE)\b", line):
                return "\n".join(lines)

    def _until(self, end):
        lines = []
        while (line := self.line()) is not None:
            lines.append(line)
            if re.match(end, line):
                break
        return "\n".join(lines)

    def capabilities(self):
        if self.protocol == "smtp":
            return self.say("EHLO client.test") or ""
        if self.protocol == "imap":
            self.write("a CAPABILITY\r\n")
            return self._until(r"a ")
        if self.protocol == "pop3":
            self.write("CAPA\r\n")
            return self._until(r"\.$|-ERR")
        self.write("CAPABILITY\r\n")
        return self._sieve_reply()

    def starttls(self):
        self.write({"smtp": "STARTTLS\r\n", "imap": "s STARTTLS\r\n", "pop3": "STLS\r\n", "sieve": "STARTTLS\r\n"}[self.protocol])
        answer = self._sieve_reply() if self.protocol == "sieve" else self.line()
        assert re.match(r"220|s OK|\+OK|OK", answer), answer
        self.start_tls()
        if self.protocol == "sieve":
            self.offered = self._sieve_reply()   # said anew by itself: RFC 5804 2.2
        else:
            self.offered = self.capabilities()
        return self

    def auth(self, mechanism, user, password):
        """True: in; False: refused; the words of the answer in self.said."""
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        if mechanism == "PLAIN":
            command = {"smtp": f"AUTH PLAIN {plain}", "imap": f"l AUTHENTICATE PLAIN {plain}", "pop3": f"AUTH PLAIN {plain}",
                       "sieve": f'AUTHENTICATE "PLAIN" "{plain}"'}[self.protocol]
            steps = []
        else:
            command = {"smtp": f"AUTH {mechanism}", "imap": f"l AUTHENTICATE {mechanism}", "pop3": f"AUTH {mechanism}",
                       "sieve": f'AUTHENTICATE "{mechanism}"'}[self.protocol]
            steps = [base64.b64encode(v.encode()).decode() for v in (user, password)]
        self.write(command + "\r\n")
        good = {"smtp": r"235", "imap": r"l OK", "pop3": r"\+OK", "sieve": r"OK"}[self.protocol]
        bad = {"smtp": r"[45]", "imap": r"l (NO|BAD)", "pop3": r"-ERR", "sieve": r"NO|BYE"}[self.protocol]
        while True:
            self.said = self.line()
            if self.said is None or re.match(bad, self.said):
                return False
            if re.match(good, self.said):
                return True
            if self.protocol == "smtp" and not self.said.startswith("334") or self.protocol == "imap" and self.said.startswith("*"):
                continue
            if not steps:
                return False
            step = steps.pop(0)
            self.write((f'"{step}"' if self.protocol == "sieve" else step) + "\r\n")


def mechanisms(offered, protocol):
    if protocol == "imap":
        return set(re.findall(r"AUTH=([A-Z0-9-]+)", offered))
    pattern = {"smtp": r"^250[- ]AUTH[ =](.*)$", "pop3": r"^SASL ?(.*)$", "sieve": r'^"SASL" "(.*)"'}[protocol]
    return {m for line in re.findall(pattern, offered, re.M) for m in line.split()}


@pytest.mark.spec("F-153", "F-154", "F-163", "S06")
@pytest.mark.parametrize("port", PLAIN)
def test_login_only_after_starttls(mail, port):
    """From the node's own network, too: nothing is offered and nothing accepted before TLS; PLAIN and LOGIN after it."""
    protocol = PLAIN[port]
    password = mail.passwords["alice"]
    with Client(mail.address, port, protocol) as client:
        assert not mechanisms(client.offered, protocol), client.offered
        for mechanism in ("PLAIN", "LOGIN"):
            assert not client.auth(mechanism, "alice", password), client.said
    if protocol in ("imap", "pop3"):
        with Client(mail.address, port, protocol) as client:
            assert re.search(r"LOGINDISABLED", client.offered) or protocol == "pop3", client.offered
            client.write(f'l LOGIN alice "{password}"\r\n' if protocol == "imap" else f"USER alice\r\nPASS {password}\r\n")
            assert re.match(r"l (NO|BAD)|-ERR|\* BAD", client.line() or "-ERR")
    for mechanism in ("PLAIN", "LOGIN"):
        with Client(mail.address, port, protocol) as client:
            client.starttls()
            assert mechanisms(client.offered, protocol) == {"PLAIN", "LOGIN"}, client.offered
            assert client.auth(mechanism, "alice", password), client.said


@pytest.mark.spec("F-163")
@pytest.mark.parametrize("port", WRAPPED)
def test_login_over_implicit_tls(mail, port):
    protocol = WRAPPED[port]
    for mechanism in ("PLAIN", "LOGIN"):
        with Client(mail.address, port, protocol, tls=True) as client:
            assert mechanisms(client.offered, protocol) == {"PLAIN", "LOGIN"}, client.offered
            assert client.auth(mechanism, "alice", mail.passwords["alice"]), client.said
    for wrong in (("alice", "wrong"), ("nobody", "wrong"), ("alice@foreign.test", mail.passwords["alice"]), ("alice", "")):
        with Client(mail.address, port, protocol, tls=True) as client:
            assert not client.auth("PLAIN", *wrong), wrong
    for mechanism in ("CRAM-MD5", "DIGEST-MD5", "ANONYMOUS", "EXTERNAL"):
        with Client(mail.address, port, protocol, tls=True) as client:
            assert not client.auth(mechanism, "alice", mail.passwords["alice"]), mechanism


@pytest.mark.spec("F-163")
def test_login_with_an_address_of_ours(mail):
    with Client(mail.address, 993, "imap", tls=True) as client:
        assert client.auth("PLAIN", "alice@example.org", mail.passwords["alice"]), client.said
    with Client(mail.address, 993, "imap", tls=True) as client:
        assert client.auth("PLAIN", "ALICE", mail.passwords["alice"]), client.said


@pytest.mark.spec("F-156", "S06")
def test_port_25_knows_no_login(mail):
    with Smtp(mail.address) as smtp:
        assert "AUTH" not in smtp.ehlo
        assert smtp.say("AUTH PLAIN AGFsaWNlAHB3").startswith(("502", "503"))
        smtp.starttls()
        assert "AUTH" not in smtp.ehlo
        assert smtp.say("AUTH PLAIN AGFsaWNlAHB3").startswith(("502", "503"))
        assert smtp.say("VRFY alice").startswith(("252", "502"))


@pytest.mark.spec("F-154")
def test_no_other_port_accepts_logins(mail):
    """What listens on the node's address: the eight ports of mail, and what only the node itself may use."""
    with open("/proc/net/tcp") as f:
        packed = "".join(f"{int(o):02X}" for o in reversed(mail.address.split(".")))
        ports = {int(local.split(":")[1], 16) for local, state in
                 (line.split()[1:4:2] for line in f.readlines()[1:]) if state == "0A" and local.startswith(packed + ":")}
    assert {25, 110, 143, 465, 587, 993, 995, 4190} <= ports
    inner = ports - {25, 110, 143, 465, 587, 993, 995, 4190}
    assert inner <= {5335, 10027}, inner
    if 10027 in inner:
        with Smtp(mail.address, 10027) as smtp:
            assert "AUTH" not in smtp.ehlo
            answer = smtp.rcpt("someone@elsewhere.test")
            assert answer is not None


@pytest.mark.spec("S05")
@pytest.mark.parametrize("port", [25, *PLAIN])
def test_commands_injected_before_tls_are_discarded(mail, port):
    """What came in plain text behind STARTTLS is not answered after the handshake."""
    protocol = PLAIN.get(port, "smtp")
    client = Client(mail.address, port, protocol)
    command = {"smtp": "STARTTLS\r\nRSET\r\n", "imap": "s STARTTLS\r\nx NOOP\r\n", "pop3": "STLS\r\nNOOP\r\n",
               "sieve": 'STARTTLS\r\nNOOP "x"\r\n'}[protocol]
    client.write(command)
    answer = client._sieve_reply() if protocol == "sieve" else client.line()
    if protocol != "smtp":   # Dovecot takes it for the handshake, which it is not
        assert re.match(r"s OK|\+OK|OK", answer), answer
        with pytest.raises(OSError):
            client.start_tls()
        return
    if re.match(r"[45]", answer):   # Postfix: pipelining where there must be none
        return
    assert answer.startswith("220"), answer
    client.start_tls()
    client.write("QUIT\r\n")
    assert client.line().startswith("221") and client.line() is None, "QUIT alone is answered"
