"""How long mail stays in Junk (F-050, F-131): by the day on which it was saved there, whoever logs in or does not."""
import os
import subprocess
import time

import pytest

from harness import wait_until
from harness.clock import shifted
from harness.mail import text_message

pytestmark = pytest.mark.xdist_group("junk")
DAY = 86400


@pytest.fixture
def box(mail_own):
    mail_own.add_user("carol")
    mail_own.stop_engine()
    mail_own.start_engine(env={"MAILNODE_JUNK_MS": "500"})
    mail_own.wait_ready()
    yield mail_own


def doveadm(box, *words, stdin=None, env=None):
    return subprocess.run(["/usr/bin/doveadm", "-k", "-c", os.path.join(box.generation(), "dovecot/dovecot.conf"), *words], input=stdin,
                          env=env, check=True, capture_output=True).stdout.decode()


def save(box, user, folder, days_ago, subject, date="Mon, 01 Jan 2001 00:00:00 +0000"):
    """Saved on that day, by Dovecot itself.  Of a message that comes while another process writes the folder's cache Dovecot may
    lose that day, and goes by its file's time, which is now: such a one is saved again."""
    message = text_message("s@remote.test", [user], subject)
    message["Date"] = date
    for _ in range(10):
        doveadm(box, "save", "-u", user, "-m", folder, stdin=message.as_bytes(), env=shifted(box.cluster.folder, -int(days_ago * DAY)))
        one = "mailbox", folder, "subject", subject
        said = doveadm(box, "fetch", "-u", user, "date.saved", *one)
        today = time.strftime("%Y-%m-%d", time.localtime())
        if today not in said:   # or it is gone already
            return
        doveadm(box, "expunge", "-u", user, *one)
    raise AssertionError(f"no message that Dovecot knows the day of: {said}")


def there(box, user, *folders):
    return sorted(line[9:].decode().strip() for m in box.mailbox(user, *folders) for line in m.splitlines() if line.startswith(b"Subject: "))


def rounds(box, n=2):
    """So many whole rounds later.  A user with something to do is in each: that one is watched."""
    for _ in range(n):
        save(box, "carol", "Junk", 400, "beat")
        wait_until(lambda: "beat" not in there(box, "carol", "Junk"), "a round", 30)


@pytest.mark.spec("F-050", "F-131")
def test_junk_goes_by_the_day_it_was_saved(box):
    """Nobody logs in and nothing is delivered: fifteen days by default, a user's own days, and never; the sender's date means
    nothing, INBOX is not touched, and without a junk folder nothing goes."""
    ctl = box.cluster.ctl
    ctl("mailbox set bob spam-retention=3d")
    ctl("mailbox set carol spam-retention=off")
    today = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    for user in ("alice", "bob", "carol"):
        for folder, days, subject in (("INBOX", 400, "inbox"), ("Junk", 16, "sixteen"), ("Junk", 14, "fourteen"),
                                      ("Junk", 4, "four"), ("Junk", 2, "two")):
            save(box, user, folder, days, subject, today if days > 2 else "Mon, 01 Jan 2001 00:00:00 +0000")
    wait_until(lambda: there(box, "alice", "Junk") == ["four", "fourteen", "two"], lambda: there(box, "alice", "Junk"), 30)
    wait_until(lambda: there(box, "bob", "Junk") == ["two"], lambda: there(box, "bob", "Junk"), 30)
    ctl("mailbox set carol spam-retention=200d")
    rounds(box)
    assert there(box, "alice", "Junk") == ["four", "fourteen", "two"] and there(box, "bob", "Junk") == ["two"]
    assert there(box, "carol", "Junk") == ["four", "fourteen", "sixteen", "two"], "off until now, and younger than 200 days"
    assert all(there(box, user) == ["inbox"] for user in ("alice", "bob", "carol"))

    # A flag moves a file's time, and not the day on which it was saved; another policy is in force in the next round.
    folder = box.path("var/lib/mailnode/mail/alice/Maildir/.Junk")
    with box.imap("alice") as imap:
        assert imap.link.select("Junk")[0] == "OK"
        assert imap.link.store("1:*", "+FLAGS", r"(\Flagged)")[0] == "OK"
    assert all(os.stat(os.path.join(folder, "cur", name)).st_ctime > time.time() - DAY for name in os.listdir(os.path.join(folder, "cur")))
    ctl("policy set spam-retention=10d")
    wait_until(lambda: there(box, "alice", "Junk") == ["four", "two"], lambda: there(box, "alice", "Junk"), 30)
    ctl("policy set spam-retention=off")
    save(box, "alice", "Junk", 400, "old")
    rounds(box)
    assert there(box, "alice", "Junk") == ["four", "old", "two"]
    ctl("settings set junk=no", timeout=60)
    box.wait_ready()
    ctl("policy set spam-retention=1d")
    save(box, "carol", "Junk", 400, "kept")
    ends = time.monotonic() + 3   # six rounds: nothing that happens could be waited for
    while time.monotonic() < ends:
        assert there(box, "carol", "Junk").count("kept") == 1 and there(box, "alice", "Junk") == ["four", "old", "two"]
        time.sleep(0.2)
    ctl("settings set junk=yes", timeout=60)
    wait_until(lambda: there(box, "alice", "Junk") == [], lambda: there(box, "alice", "Junk"), 30)


@pytest.mark.spec("F-131")
def test_what_cannot_be_expunged_is_reported(box):
    """Of one user, by name; the others' goes all the same."""
    box.cluster.ctl("policy set spam-retention=off")
    for user in ("alice", "bob"):
        save(box, user, "Junk", 16, "sixteen")
    folder = box.path("var/lib/mailnode/mail/alice/Maildir/.Junk/cur")
    for name in os.listdir(folder.replace("/cur", "/new")):
        os.rename(os.path.join(folder.replace("/cur", "/new"), name), os.path.join(folder, name + ":2,"))
    os.chmod(folder, 0o500)
    try:
        box.cluster.ctl("policy set spam-retention=15d")
        wait_until(lambda: there(box, "bob", "Junk") == [], "the other one's goes", 30)
        said = wait_until(lambda: [e for e in box.cluster.ctl("events").out.splitlines() if "junk not emptied" in e], "reported", 30)
        assert "alice: " in said[0] and "bob" not in "".join(said) and there(box, "alice", "Junk") == ["sixteen"], said
    finally:
        os.chmod(folder, 0o700)
