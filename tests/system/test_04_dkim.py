"""Section 4: what users submit is signed so that an independent verifier (dkimpy) accepts it, and nothing else is signed."""
import base64
import grp
import json
import os
import pwd
import re
import smtplib
import subprocess

import dkim
import pytest

from harness import Cluster, MailNode, wait_until
from harness import cluster as clusters
from harness.mail import TIMEOUT_S, text_message, tls_context
from harness.program import may_read
from harness.sink import PORT, Sink

pytestmark = pytest.mark.xdist_group("dkim")

HEAD = b"From: alice@example.org\r\nTo: x@far.test\r\nSubject: signed\r\n"
EIGHT_BIT = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"


class Outside:
    """The world: a server that keeps what reaches it, and the DNS that domains publish their keys in."""

    def __init__(self, node):
        self.node = node
        self.sink = Sink(node.cluster.addresses[7])

    def submit(self, octets, sender="alice@example.org", port=587):
        """As alice, octet by octet; what reached the outside of it."""
        before = len(self.sink.messages)
        smtp = (smtplib.SMTP_SSL(self.node.address, 465, "client.test", timeout=TIMEOUT_S, context=tls_context()) if port == 465
                else smtplib.SMTP(self.node.address, port, "client.test", TIMEOUT_S))
        with smtp:
            if port == 587:
                smtp.starttls(context=tls_context())
            smtp.login("alice", self.node.passwords["alice"])
            smtp.sendmail(sender, ["x@far.test"], octets, mail_options=["BODY=8BITMIME"])
        return self.next(before)

    def next(self, before):
        wait_until(lambda: len(self.sink.messages) > before, "it leaves")
        return self.sink.messages[before].octets

    def record(self, domain):
        return self.node.cluster.ctl(f"dkim show {domain} --format raw").out.strip()

    def verifies(self, octets):
        """By the keys that mailctl says, and by nothing else."""
        def txt(name, timeout=None):
            selector, _, domain = name.decode().rstrip(".").partition("._domainkey.")
            return self.record(domain).encode() if selector == "default" else None
        return dkim.verify(octets, dnsfunc=txt)


def signatures(octets):
    """d= of each signature in a message's header."""
    header = re.sub(rb"\r\n[ \t]+", b" ", octets.partition(b"\r\n\r\n")[0])
    return [re.search(rb"[;: ]d=([^; ]+)", line).group(1).decode() for line in header.split(b"\r\n")
            if line.lower().startswith(b"dkim-signature:")]


@pytest.fixture(scope="module")
def mail_shared():
    """Its way outside leads to the sink."""
    with Cluster(nodes=1, node=MailNode) as c:
        c.mail_site().ctl(f"relay add default host={c.addresses[7]} port={PORT} tls=off")
        clusters.live.remove(c)   # lives longer than one test
        yield c
        clusters.live.append(c)


@pytest.fixture
def outside(mail):
    world = Outside(mail)
    yield world
    world.sink.close()


def generation(node):
    return node.generation(), node.pids()


@pytest.mark.spec("F-035", "F-040")
@pytest.mark.parametrize("port", [587, 465])
def test_what_users_submit_verifies(outside, port):
    for name, octets in {
        "plain": HEAD + b"\r\nHello.\r\n",
        "8-bit": HEAD + EIGHT_BIT + "\r\nGrüße aus Köln\r\n".encode(),
        "long lines": HEAD + b"\r\n" + b"x" * 999 + b"\r\n" + b"word " * 5000 + b"\r\n",
        "empty body": HEAD + b"\r\n",
        "no body": HEAD,
        "blank lines": HEAD + b"\r\n\r\n \t\r\n\r\n\r\n",
        "dots": HEAD + b"\r\n.\r\n..\r\n.x\r\n",
    }.items():
        got = outside.submit(octets, port=port)
        assert signatures(got) == ["example.org"] and outside.verifies(got), (name, got)


@pytest.mark.spec("F-035", "S29")
def test_a_signature_ends_with_what_was_signed(outside):
    """A From, a Subject or a line that somebody adds on the way is not covered."""
    got = outside.submit(HEAD + b"\r\nHello.\r\n")
    assert b" l=" not in got.partition(b"\r\n\r\n")[0]
    for altered in (b"From: boss@example.org\r\n" + got, b"Subject: other\r\n" + got, got + b"more\r\n",
                    got.replace(b"Subject: signed", b"Subject: resigned")):
        assert not outside.verifies(altered)


@pytest.mark.spec("F-037", "F-039", "F-036", "F-022")
def test_new_domains_off_gone_and_back(mail, outside):
    """Each step is in force with the word of mailctl: the next message is as it says.  No daemon is reloaded for any."""
    c, before = mail.cluster, generation(mail)
    logs = {d: len(mail.daemon_log(d)) for d in ("postfix", "dovecot", "rspamd")}

    def signed(domain):
        got = outside.submit(HEAD.replace(b"example.org", domain.encode()) + b"\r\nHello.\r\n", f"alice@{domain}")
        assert not signatures(got) or (signatures(got) == [domain] and outside.verifies(got)), got
        return bool(signatures(got))

    new = ["one.test", "two.test", "xn--drei-loa.test"]
    for domain in new:
        assert not signed(domain)   # nobody's yet
        c.ctl(f"domain add {domain} -i main")
        assert signed(domain)
    keys = [outside.record(d) for d in [*new, "example.org"]]
    assert len(set(keys)) == 4

    c.ctl("dkim disable one.test")
    assert [signed(d) for d in new] == [False, True, True] and c.ctl("dkim disable one.test").code == 0
    assert c.ctl("domain show one.test -o json").json["items"][0]["dkim"] is False
    mail.stop()
    mail.start(wait=True)
    c.restart()
    wait_until(lambda: c.online("mx1"), "the node is back")
    assert [signed(d) for d in new] == [False, True, True]
    c.ctl("dkim enable one.test")
    assert signed("one.test") and outside.record("one.test") == keys[0]

    c.ctl("domain remove two.test --yes")
    assert not signed("two.test")
    assert c.ctl("dkim show two.test", code=4).out == ""
    c.ctl("domain add two.test -i main")
    assert signed("two.test") and outside.record("two.test") == keys[1]
    removed = c.revision
    c.ctl("domain remove two.test --yes")
    c.ctl(f"revert {removed + 1}")
    assert signed("two.test") and outside.record("two.test") == keys[1]
    c.ctl("domain remove two.test --purge --yes")
    c.ctl("domain add two.test -i main")
    assert signed("two.test") and outside.record("two.test") != keys[1]
    assert [outside.record(d) for d in ("one.test", "example.org")] == [keys[0], keys[3]]

    for domain in new:
        c.ctl(f"domain remove {domain} --purge --yes")
    assert generation(mail) == before
    for daemon, at in logs.items():
        assert "reload" not in mail.daemon_log(daemon)[at:].lower()


@pytest.mark.spec("F-041", "S29", "S20")
def test_only_one_from_address_of_a_domain_of_ours(outside):
    for line in (b"a@sub.example.org", b"a@example.net", b"a@example.org.evil.test", b"a@evil.test", b"a@org",
                 b"alice@example.org, bob@example.org", b"alice@example.org, x@evil.test", b"x@evil.test, alice@example.org",
                 b"g: alice@example.org;", b"alice@example.org@evil.test", b"alice@evil.test (alice@example.org)",
                 b'"alice@example.org" <x@evil.test>', b"=?utf-8?q?alice=40example=2Eorg?=", b"alice@../dkim/example.org",
                 b"alice@/etc/passwd", b"alice@.", b"alice@.example.org", b"alice@[127.0.0.1]", b"alice@example.org\r\nFrom: x@evil.test",
                 b"x@evil.test\r\nFrom: alice@example.org", b"alice@example.org\r\nfrom: alice@example.org", b"<>"):
        got = outside.submit(b"From: " + line + b"\r\nSubject: s\r\n\r\nHello.\r\n")
        assert signatures(got) == [], got
    for line in (b"ALICE <alice@EXAMPLE.org>", b"alice@example.org (x@evil.test)", b'"x@evil.test" <alice@example.org>',
                 b"alice@example.org\r\nSender: x@evil.test\r\nReply-To: x@evil.test"):
        got = outside.submit(b"From: " + line + b"\r\nSubject: s\r\n\r\nHello.\r\n")
        assert signatures(got) == ["example.org"] and outside.verifies(got), got


@pytest.mark.spec("F-040")
def test_what_was_not_submitted_is_not_signed(mail, outside):
    """Forwarded from port 25, an automatic reply, a bounce: From says example.org each time, or nothing."""
    c, sink = mail.cluster, outside.sink
    c.ctl(f"address add away@example.org to=away@far.test")
    n = len(sink.messages)
    mail.deliver("someone@remote.test", ["away@example.org"],
                 text_message("alice@example.org", ["away@example.org"]))
    assert signatures(outside.next(n)) == []

    n = len(sink.messages)   # what Sieve sends goes by the node's own door
    with smtplib.SMTP(mail.address, 10027, "client.test", TIMEOUT_S) as smtp:
        smtp.sendmail("alice@example.org", ["x@far.test"], HEAD + b"Auto-Submitted: auto-replied\r\n\r\nAway.\r\n")
    assert signatures(outside.next(n)) == []

    n = len(sink.messages)   # outside says no after the server of this node has taken it: a bounce to outside
    c.ctl(f"address add gone@example.org to=refused@far.test")
    mail.deliver("sender@far.test", ["gone@example.org"])
    bounce = outside.next(n)
    assert b"MAILER-DAEMON" in bounce and signatures(bounce) == []
    for name in ("away", "gone"):
        c.ctl(f"address remove {name}@example.org")


@pytest.mark.spec("F-038", "B42", "B01")
def test_show(mail, outside):
    c = mail.cluster
    raw = outside.record("example.org")
    tags = dict(tag.strip().split("=", 1) for tag in raw.split(";"))
    assert list(tags) == ["v", "k", "p"] and tags["v"] == "DKIM1" and tags["k"] == "rsa"

    zone = c.ctl("dkim show example.org --format zone").out
    assert zone == c.ctl("dkim show example.org").out
    name, kind, strings = re.fullmatch(r"(\S+)\.\s+IN\s+TXT\s+\(((?:\s*\"[^\"\\]*\")+)\s*\)\s*", zone).group(1), "TXT", \
        re.findall(r'"([^"]*)"', zone)
    assert name == "default._domainkey.example.org" and kind == "TXT"
    assert "".join(strings) == raw and all(len(s) <= 255 for s in strings) and len(strings) == 2

    shown = c.ctl("dkim show example.org -o json").json
    assert shown["name"] == name and shown["value"] == raw and shown["dkim"] is True and shown["selector"] == "default"

    # p= is the public half of the key in use.
    with open(mail.path("var/lib/mailnode/tables/dkim/example.org")) as f:
        selector, key = f.read().split("\n", 1)
    public = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=key.encode(), capture_output=True, check=True)
    assert selector == "default" and base64.b64encode(public.stdout).decode() == tags["p"]
    text = subprocess.run(["openssl", "pkey", "-noout", "-text"], input=key.encode(), capture_output=True, check=True).stdout
    assert b"2048 bit" in text

    assert "no.test" in c.ctl("dkim show no.test", code=4).err
    assert c.ctl("dkim show no.test", code=4).out == ""
    c.ctl("dkim show not_a_domain", code=3)
    c.ctl("dkim show example.org --format bind", code=2)
    c.ctl("dkim enable no.test", code=4)
    c.ctl("dkim disable no.test", code=4)


@pytest.mark.spec("S29", "S41", "F-038")
def test_private_keys_are_read_by_the_filter_alone(mail):
    """Nothing prints one, and no other user of the machine opens its file."""
    c = mail.cluster
    folder = mail.path("var/lib/mailnode/tables/dkim")
    path = os.path.join(folder, "example.org")
    st = os.stat(path)
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o640, pwd.getpwnam("mailagent").pw_uid, grp.getgrnam("_rspamd").gr_gid)
    assert may_read("_rspamd", path)
    for user in ("postfix", "dovecot", "vmail", "redis", "clamav", "nobody", "mailcontroller"):
        assert not may_read(user, path), user

    with open(path) as f:
        inner = f.read().split("-----")[2].replace("\n", "")
    pieces = [inner[i:i + 40] for i in range(40, len(inner) - 80, 40)]
    # Changed and removed as well: each way in which a key moves is in the logs by now.
    c.ctl("domain add leak.test -i main")
    newest = c.revision
    with open(os.path.join(folder, "leak.test")) as f:
        inner = f.read().split("-----")[2].replace("\n", "")
    pieces += [inner[i:i + 40] for i in range(40, len(inner) - 80, 40)]
    said = [c.ctl(words, code=None) for words in (
        "export", "export -o json", "dkim show leak.test -o json", "domain show leak.test -o json", "history", "events",
        f"diff --revision {newest - 1}..{newest}", f"diff --revision {newest - 1}..{newest} -o json", "status -v -o json",
        "domain remove leak.test --purge --yes --dry-run", "explain dkim-key.private-key", "doctor mx1 -o json")]
    texts = [a.out + a.err for a in said]
    assert any("(hidden)" in t for t in texts)
    c.ctl("domain remove leak.test --purge --yes")
    for log in (c.log, mail.log, mail.engine_log):
        with open(log, errors="replace") as f:
            texts.append(f.read())
    texts += [mail.daemon_log(d) for d in ("rspamd", "postfix", "dovecot")]
    for text in texts:
        flat = text.replace("\n", "").replace("\\n", "")
        assert "PRIVATE KEY" not in text and not any(p in flat for p in pieces)
    with open(c.store, "rb") as f:
        store = f.read()
    with open(mail.path("var/lib/mailnode/agent/node.db"), "rb") as f:
        store += f.read()
    assert b"PRIVATE KEY" not in store


@pytest.mark.spec("F-175", "F-036")
def test_what_was_done_to_the_files_by_hand_is_undone(mail, outside):
    folder = mail.path("var/lib/mailnode/tables/dkim")
    mine = os.path.join(folder, "example.org")
    with open(mine) as f:
        before = f.read()
    mail.stop()
    for name, text in (("example.org", "default\nnonsense"), ("evil.test", before), (".half", "x")):
        with open(os.path.join(folder, name), "w") as f:
            f.write(text)
    os.chmod(mine, 0o644)
    with pytest.raises(smtplib.SMTPDataError) as refused:   # never unsigned, where it should be signed
        outside.submit(HEAD + b"\r\nHello.\r\n")
    assert refused.value.smtp_code == 451
    mail.start(wait=True)
    wait_until(lambda: sorted(os.listdir(folder)) == ["example.org"], lambda: f"mended: {os.listdir(folder)}")
    with open(mine) as f:
        assert f.read() == before and os.stat(mine).st_mode & 0o777 == 0o640
    assert outside.verifies(outside.submit(HEAD + b"\r\nHello.\r\n"))
    assert "DKIM keys mended" in mail.cluster.ctl("events").out


@pytest.mark.spec("F-037", "F-039", "F-035")
def test_keys_of_a_file_with_many_domains(mail):
    """A change waits for a few keys; of more domains than that the others get theirs afterwards, and it says so.  No file
    states a key."""
    c = mail.cluster
    folder = mail.path("var/lib/mailnode/tables/dkim")

    def items(n):
        return [{"kind": "domain", "instance": "main", "name": f"d{i:02}.test", "user_addresses": False} for i in range(n)]

    c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": items(8)}), timeout=90)
    assert len(os.listdir(folder)) == 9
    before = c.export()
    assert not [i for i in before if i["kind"] == "dkim_key"]
    stated = {"kind": "dkim-key", "instance": "main", "name": "d00.test/other", "private_key": "(hidden)", "public_key": "AAAA"}
    said = c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": [stated]}), code=3)
    assert "never by hand" in said.err or "stored" in said.err, said
    said = c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": items(30)}), timeout=90)
    assert "DKIM keys" in said.err + said.out, said
    wait_until(lambda: len(os.listdir(folder)) == 31, lambda: f"{len(os.listdir(folder))} of 31 sign", 90)
    keys = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as f:
            keys.add(f.read())
    assert len(keys) == 31
    kept = [i for i in c.export() if i["kind"] != "domain" or i["name"] == "example.org"]
    c.ctl("apply -f - --prune --yes", stdin=json.dumps({"version": 1, "items": kept}), timeout=60)
    assert os.listdir(folder) == ["example.org"]
