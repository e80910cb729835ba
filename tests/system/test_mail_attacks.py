"""THREATS on the running daemons: smuggling, open relays, other protocols, local users (S01, S03, S04, S07, S41; B03, B04)."""
import base64
import grp
import os
import pwd
import stat
import subprocess

import pytest

from harness import Ledger, wait_until
from harness.mail import Smtp, Talk
from harness.program import may_read

pytestmark = pytest.mark.xdist_group("attacks")

ENDS = {"lf-dot-crlf": b"\n.\r\n", "cr-dot-crlf": b"\r.\r\n", "crlf-dot-lf": b"\r\n.\n", "lf-dot-lf": b"\n.\n",
        "crlf-dot-crcrlf": b"\r\n.\r\r\n", "nul-dot": b"\r\n\0.\r\n", "dot-nul": b"\r\n.\0\r\n", "cr-dot-cr": b"\r.\r"}


def smuggled(smtp, sender, to, end, id):
    """One DATA whose text tries to end early and begin a second message."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{to}>", "DATA"):
        answer = smtp.say(command)
        assert answer and answer[0] in "23", (command, answer)
    inner = f"MAIL FROM:<admin@example.org>\r\nRCPT TO:<{to}>\r\nDATA\r\nX-Smuggled: {id}\r\nSubject: inner {id}\r\n\r\ninner\r\n"
    smtp.write(f"Subject: outer {id}\r\n\r\nouter".encode() + end + inner.encode() + b"\r\n.\r\nQUIT\r\n")
    answer = smtp.reply()
    while smtp.reply() is not None:   # until all of it has been taken, one way or the other
        pass
    return answer


@pytest.mark.spec("S01", "B30")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("port", [25, 587, 465])
def test_smuggling(mail, end, port):
    """One message, or a refusal; never a second envelope."""
    id = f"{end}-{port}"
    smtp = Smtp(mail.address, port, tls=port == 465)
    if port == 587:
        smtp.starttls()
    sender = "someone@remote.test"
    if port != 25:
        token = base64.b64encode(f"\0alice\0{mail.passwords['alice']}".encode()).decode()
        assert smtp.say(f"AUTH PLAIN {token}").startswith("235")
        sender = "alice@example.org"
    answer = smuggled(smtp, sender, "bob@example.org", ENDS[end], id)
    smtp.close()
    if answer and answer.startswith("250"):
        wait_until(lambda: any(f"outer {id}".encode() in m for m in mail.mailbox("bob", "INBOX", "Junk")), "the outer one arrived")
    wait_until(mail.queue_empty, "queue empty")
    heads = [m.replace(b"\r\n", b"\n").split(b"\n\n", 1)[0] for m in mail.mailbox("bob", "INBOX", "Junk")]
    assert not [h for h in heads if f"inner {id}".encode() in h], "a second message came of it"


@pytest.mark.spec("S03")
@pytest.mark.parametrize("port", [25, 587])
def test_talking_before_the_greeting_or_the_answer(mail, port):
    with Talk(mail.address, port) as talk:
        talk.reply()
        talk.write("EHLO client.test\r\nMAIL FROM:<x@remote.test>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\n")
        answers = []
        while (answer := talk.reply()) is not None and len(answers) < 6:
            answers.append(answer)
        assert any(a.startswith(("554", "503", "530")) for a in answers) and not any(a.startswith("354") for a in answers), answers


@pytest.mark.spec("S04")
def test_http_is_hung_up_on(mail):
    with Talk(mail.address, 25) as talk:
        talk.reply()
        talk.write("POST / HTTP/1.1\r\nHost: mx1.example.org\r\nContent-Length: 60\r\n\r\n"
                   "MAIL FROM:<x@remote.test>\r\nRCPT TO:<alice@example.org>\r\n")
        answers = [talk.reply(), talk.reply()]
        assert answers[0] is None or answers[0].startswith(("221", "554", "500")) and answers[1] is None, answers


RELAYED = ["victim@elsewhere.test", "victim%elsewhere.test@example.org", "elsewhere.test!victim@example.org",
           "@example.org:victim@elsewhere.test", '"victim@elsewhere.test"@example.org', "victim@[127.0.0.1]",
           "victim@elsewhere.test@example.org", "victim", '"victim@elsewhere.test"', "victim@sub.example.org",
           "victim@example.org.", "alice@sub.example.org", "victim@[IPv6:::1]", "<victim@elsewhere.test>",
           "victim@example.org@elsewhere.test", '"victim"@elsewhere.test', "alice@u.internal", "alice@x.internal",
           "u=alice@x.internal", "members@x.internal", "canary=@x.internal", "postmaster@u.internal",
           "victim%elsewhere.test", "elsewhere.test!victim"]
SENDERS = ["", "someone@remote.test", "alice@example.org", "alice@u.internal"]


@pytest.mark.spec("S07", "S08")
@pytest.mark.parametrize("source", ["outside", "the node itself"])
def test_open_relay_matrix(mail, source):
    """Nothing but mail for our own users is taken from anybody without a login, whatever its form."""
    for sender in SENDERS:
        for some in (RELAYED[:12], RELAYED[12:]):   # after twenty errors the server hangs up
            with mail.smtp(source=mail.address if source == "the node itself" else None) as smtp:
                for recipient in some:
                    answer = smtp.rcpt(recipient, sender)
                    assert answer and answer[0] in "45", (sender, recipient, answer)
                assert smtp.rcpt("bob@example.org", sender).startswith("250"), sender


@pytest.mark.spec("S07")
@pytest.mark.parametrize("port", [587, 465])
def test_submission_without_login_takes_nothing(mail, port):
    smtp = Smtp(mail.address, port, tls=port == 465)
    if port == 587:
        assert smtp.say("MAIL FROM:<alice@example.org>").startswith("530")
        smtp.starttls()
    for recipient in ("victim@elsewhere.test", "bob@example.org"):
        answer = smtp.rcpt(recipient, "alice@example.org")
        assert answer[0] == "5", (recipient, answer)
    smtp.close()


@pytest.mark.spec("S41")
def test_local_users_read_nothing(mail):
    """As nobody: no rendered file, no table, no mail, no key."""
    assert may_read("root", os.path.join(mail.generation(), "postfix/main.cf"))
    open_to_all = []
    for top in ("etc/mailnode", "var/lib/mailnode", "run/mailnode"):
        for folder, _, names in os.walk(mail.path(top)):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    mode = os.lstat(path).st_mode
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(mode) and may_read_quick("nobody", path):
                    open_to_all.append(path)
    allowed = ("etc/mailnode/override/", "var/lib/mailnode/clamav/", "var/lib/mailnode/spool/postfix/pid/",
               "var/lib/mailnode/dovecot/instances", "run/mailnode/dovecot/master.pid")
    found = [os.path.relpath(p, mail.root) for p in open_to_all]
    assert not [p for p in found if not p.startswith(allowed)], found
    for user in ("nobody", "vmail", "_rspamd", "clamav"):
        keys = [p for p in mail.readable_by(user) if p.endswith((".pem", ".key")) or "objects" in p]
        assert not keys, (user, keys)


def may_read_quick(user, path):
    """By modes, without a process for each of a thousand files; what looks open is then asked of the kernel."""
    entry = pwd.getpwnam(user)
    groups = {entry.pw_gid} | {g.gr_gid for g in grp.getgrall() if user in g.gr_mem}
    parts = path.split("/")
    for i in range(2, len(parts)):
        st = os.stat("/".join(parts[:i]))
        if not (st.st_mode & 1 or st.st_gid in groups and st.st_mode & 0o10 or st.st_uid == entry.pw_uid and st.st_mode & 0o100):
            return False
    st = os.stat(path)
    looks = st.st_mode & 4 or st.st_gid in groups and st.st_mode & 0o40 or st.st_uid == entry.pw_uid and st.st_mode & 0o400
    return bool(looks) and may_read(user, path)


@pytest.mark.spec("S41")
def test_secrets_are_not_in_what_a_local_user_can_see(mail):
    """Argument vectors of all our processes; no password of a user anywhere on the disk but hashed."""
    arguments = b""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                arguments += f.read()
        except OSError:
            continue
    for password in mail.passwords.values():
        assert password.encode() not in arguments
        found = subprocess.run(["grep", "-rlaF", "--", password, mail.root], capture_output=True, text=True).stdout
        assert not found, found


# One for each way out of a quoted name; what each writer makes of all others the tests of golden/ read back.
HOSTILE_FOLDERS = ['a"b\\', "a#b", "a}b{", "!include x"]


@pytest.mark.spec("B03", "B04", "S09")
@pytest.mark.parametrize("folder", HOSTILE_FOLDERS)
def test_junk_folder_is_data(mail, folder):
    """Stored and read back as it is, or refused before anything changed: the daemons know no new setting by it."""
    c = mail.cluster
    before = mail.generation()
    said = c.ctl(["settings", "set", f"junk-folder={folder}"], code=None, timeout=60)
    assert said.code in (0, 3, 5), said
    if said.code:
        assert mail.generation() == before and "junk-folder" in said.err, said
        return
    try:
        mail.wait_ready()
        shown = c.ctl("settings show -o json").json
        assert folder in str(shown) or folder in str(shown).encode().decode("unicode_escape"), shown
        with mail.imap("alice") as imap:
            listed = "\n".join(imap.folders())
        assert "Junk" in listed or "\\\\Junk" in listed, listed
        ledger = Ledger(mail)
        assert ledger.send(["alice@example.org"], {"alice": 1}).startswith("250")
        ledger.settle()
    finally:
        c.ctl("settings set junk-folder=", timeout=60)


@pytest.mark.spec("B02", "B03")
@pytest.mark.parametrize("text", ["${myhostname}", "$(id)", "`id`", "a; rm -rf /", "{{ x }}", "%s%n%u", '"; } service x {', "$S{x}"])
def test_descriptions_reach_no_daemon(mail, text):
    before = mail.generation()
    mail.cluster.ctl(["domain", "set", "example.org", f"description={text}"])
    assert mail.cluster.ctl("domain show example.org -o json").items[0]["description"] == text
    assert mail.generation() == before and mail.rcpt("alice@example.org").startswith("250")
