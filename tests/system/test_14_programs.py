"""Section 14 with programs that people use: swaks, curl, mbsync (isync) and neomutt send by submission and read it back."""
import os
import shlex
import subprocess
import uuid

import pytest

from harness import wait_until
from harness.mail import text_message
from harness.program import environment

pytestmark = pytest.mark.xdist_group("programs")


def run(argv, folder, stdin="", **env):
    """As a person would run it, with a home of the test's own."""
    done = subprocess.run([str(a) for a in argv], input=stdin, capture_output=True, text=True, timeout=60, cwd=folder,
                          env=environment({"HOME": str(folder), "LC_ALL": "C.UTF-8", **env}))
    assert done.returncode == 0, f"{argv[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def secret(folder, name, text):
    """A file that nobody else reads: passwords are in no argument vector."""
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write(text)
    return path


@pytest.fixture
def mark():
    return f"mark-{uuid.uuid4()}"


def arrived(mail, user, mark):
    wait_until(lambda: any(mark.encode() in m for m in mail.mailbox(user)), f"{mark} is in {user}'s mailbox", 30)


@pytest.mark.spec("F-153")
def test_swaks(mail, tmp_path, mark):
    """STARTTLS on 587, TLS on 465; without a login nothing is taken."""
    config = secret(tmp_path, ".swaksrc", f"auth-user alice\nauth-password {mail.passwords['alice']}\nauth PLAIN\n")
    for more in (["--port", "587", "--tls"], ["--port", "465", "--tls-on-connect"]):
        said = run(["swaks", "--config", config, "--server", mail.address, *more, "--from", "alice@example.org",
                    "--to", "bob@example.org", "--header", f"Subject: {mark}{more[1]}", "--hide-informational"], tmp_path)
        assert "235 2.7.0" in said and "250 2.0.0 Ok: queued as" in said, said
        arrived(mail, "bob", mark + more[1])
    refused = subprocess.run(["swaks", "--server", mail.address, "--port", "587", "--tls", "--from", "alice@example.org",
                              "--to", "bob@example.org"], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                             stdin=subprocess.DEVNULL, env=environment({"HOME": "/nonexistent"}))
    assert refused.returncode != 0 and "530 5.7.0" in refused.stdout, refused.stdout


@pytest.mark.spec("F-153")
def test_curl(mail, tmp_path, mark):
    """smtp with STARTTLS; imaps and pop3s read the same octets."""
    message = text_message("alice@example.org", ["bob@example.org"], mark, "Grüße.\n")
    (tmp_path / "message").write_bytes(message.as_bytes(policy=message.policy.clone(cte_type="8bit", linesep="\r\n")))
    def config(user):
        return secret(tmp_path, user + ".curl", f'user = "{user}:{mail.passwords[user]}"\ninsecure\nsilent\nshow-error\n')
    run(["curl", "-K", config("alice"), "--ssl-reqd", "--url", f"smtp://{mail.address}:587/client.test", "--mail-from", "alice@example.org",
         "--mail-rcpt", "bob@example.org", "--upload-file", "message"], tmp_path)
    arrived(mail, "bob", mark)
    bob = config("bob")
    found = run(["curl", "-K", bob, "--url", f"imaps://{mail.address}/INBOX?SUBJECT%20{mark}"], tmp_path)
    uid = found.split()[-1]
    by_imap = run(["curl", "-K", bob, "--url", f"imaps://{mail.address}/INBOX/;MAILINDEX={uid}"], tmp_path)
    assert mark in by_imap and "\r\n" not in by_imap and by_imap.rstrip().endswith("Grüße.")
    by_starttls = run(["curl", "-K", bob, "--ssl-reqd", "--url", f"imap://{mail.address}/INBOX/;MAILINDEX={uid}"], tmp_path)
    number = run(["curl", "-K", bob, "--url", f"pop3s://{mail.address}/"], tmp_path).split("\n")
    by_pop = run(["curl", "-K", bob, "--url", f"pop3s://{mail.address}/{[n for n in number if n.strip()][-1].split()[0]}"], tmp_path)
    assert by_imap == by_starttls == by_pop


@pytest.mark.spec("F-153")
def test_mbsync(mail, tmp_path, mark):
    """What comes is fetched once; what is written at home is stored on the server, with its flags."""
    mail.submit("alice", "alice@example.org", ["bob@example.org"], None)
    mail.deliver("someone@remote.test", ["bob@example.org"], None)
    wait_until(mail.queue_empty, "delivered")
    secret(tmp_path, "password", mail.passwords["bob"])
    os.mkdir(tmp_path / "home")
    config = secret(tmp_path, "mbsyncrc", f"""IMAPAccount node
Host {mail.address}
User bob
PassCmd "cat password"
SSLType IMAPS
CertificateFile {tmp_path / "certificate.pem"}

IMAPStore far
Account node

MaildirStore near
Path {tmp_path}/home/
Inbox {tmp_path}/home/INBOX

Channel all
Far :far:
Near :near:
Patterns INBOX Synced
Create Both
Sync All
SyncState *
""")
    certificate = run(["openssl", "s_client", "-connect", f"{mail.address}:993", "-showcerts"], tmp_path)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    (tmp_path / "certificate.pem").write_text(certificate[certificate.index(begin):certificate.index(end)] + end + "\n")
    run(["mbsync", "-c", config, "all"], tmp_path)

    def near():
        return [p for part in ("new", "cur") for p in (tmp_path / "home/INBOX" / part).iterdir()]
    assert len(near()) == len(mail.mailbox("bob")) >= 2
    folder = tmp_path / "home/Synced"
    for part in ("cur", "new", "tmp"):
        os.makedirs(folder / part)
    (folder / "cur" / "1.mark:2,FS").write_text(f"From: bob@example.org\nSubject: {mark}\n\nWritten at home.\n")
    run(["mbsync", "-c", config, "all"], tmp_path)
    run(["mbsync", "-c", config, "all"], tmp_path)
    assert len(near()) == len(mail.mailbox("bob"))
    with mail.imap("bob") as imap:
        assert [m for m in imap.messages("Synced") if mark.encode() in m and b"Written at home." in m]
        _, data = imap.link.fetch("1", "(FLAGS)")
        assert b"\\Flagged" in data[0] and b"\\Seen" in data[0], data


@pytest.mark.spec("F-153")
def test_neomutt(mail, tmp_path, mark):
    """Sends with an attachment by TLS on 465, reads the INBOX and copies from it into a new folder."""
    (tmp_path / "note.txt").write_text(f"attached {mark}\n")

    def config(user):
        return secret(tmp_path, user + ".muttrc", f"""set ssl_force_tls = yes
set certificate_file = "{tmp_path}/accepted"
set ssl_verify_host = no
set ssl_verify_dates = no
set smtp_url = "smtps://{user}@{mail.address}:465/"
set smtp_pass = "{mail.passwords[user]}"
set smtp_authenticators = "plain"
set imap_user = "{user}"
set imap_pass = "{mail.passwords[user]}"
set folder = "imaps://{mail.address}/"
set spool_file = "+INBOX"
set from = "{user}@example.org"
set use_envelope_from = yes
set hostname = "client.test"
set confirm_append = no
set quit = yes
set delete = yes
set move = no
unset wait_key
""")
    shown = run(["openssl", "s_client", "-connect", f"{mail.address}:465", "-showcerts"], tmp_path)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    (tmp_path / "accepted").write_text(shown[shown.index(begin):shown.index(end)] + end + "\n")
    run(["neomutt", "-n", "-F", config("alice"), "-s", mark, "-a", "note.txt", "--", "bob@example.org"], tmp_path, stdin="Hello.\n",
        TERM="dumb")
    arrived(mail, "bob", mark)
    reading = shlex.join(["neomutt", "-n", "-F", config("bob"), "-e",
                          f"push '<limit>~s {mark}<enter><first-entry><copy-message>+Kept<enter>y<sync-mailbox><quit>'"])
    run(["script", "-qec", reading, "/dev/null"], tmp_path, TERM="xterm")   # it wants a terminal
    with mail.imap("bob") as imap:
        assert any(mark.encode() in m for m in imap.messages("Kept")), imap.folders()
