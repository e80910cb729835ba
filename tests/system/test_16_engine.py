"""Section 16, the engine: configuration that is refused, daemons that die, programs that are replaced (F-167, F-176 to F-178)."""
import imaplib
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import Cluster, Ledger, MailNode, wait_until
from harness.mailnode import DAEMONS
from harness.program import end_all, session_pids

# Each group has a worker of its own; tests with a node of their own wait for no other.
pytestmark = pytest.mark.xdist_group("engine")
dying = pytest.mark.xdist_group("engine-dying")
own = pytest.mark.xdist_group("engine-own")

BROKEN = {  # override, what a daemon says of it, what must be named
    "postfix syntax": ("postfix.d/site.cf", "message_size_limit\n", "site.cf"),
    "postfix unknown": ("postfix.d/site.cf", "no_such_parameter_at_all = 1\n", "no_such_parameter_at_all"),
    "postfix restriction": ("postfix.d/site.cf", "smtpd_client_restrictions = no_such_restriction\n", "site.cf"),
    "postfix ours": ("postfix.d/site.cf", "queue_directory = /tmp\n", "queue_directory"),
    "dovecot syntax": ("dovecot.d/site.conf", "service imap {\n", "site.conf"),
    "dovecot unknown": ("dovecot.d/site.conf", "no_such_setting = 1\n", "no_such_setting"),
    "dovecot ours": ("dovecot.d/site.conf", "mail_uid = root\n", "mail_uid"),
    "rspamd syntax": ("rspamd.d/site.conf", "x {{{ = ;\n", "site"),
}


def stand(node):
    return node.generation(), node.pids()


@pytest.mark.spec("F-167", "F-178", "R32")
@pytest.mark.parametrize("what", BROKEN)
def test_bad_override_is_named(mail, what):
    """Not the revision is blamed; the last good state is in force; without the override the same change goes through."""
    file, text, named = BROKEN[what]
    c, before = mail.cluster, stand(mail)
    path = mail.override(file, text)
    try:
        said = c.ctl("settings set queue-lifetime=48h", code=5, timeout=90)
        assert named in said.err and "override" in said.err and "mx1" in said.err, said
        assert stand(mail) == before and mail.rcpt("alice@example.org").startswith("250")
    finally:
        os.unlink(path)
    assert c.ctl("settings set queue-lifetime=48h", timeout=90).code == 0
    assert re.search(r"^maximal_queue_lifetime = (48h|172800s|2d)$", mail.rendered("postfix/main.cf"), re.M)
    c.ctl("settings set queue-lifetime=", timeout=90)


@pytest.mark.spec("F-167")
def test_override_that_is_good_is_in_force(mail):
    path = mail.override("postfix.d/site.cf", "smtpd_client_connection_count_limit = 77\n")
    try:
        mail.cluster.ctl("settings set queue-lifetime=47h", timeout=90)
        text = mail.rendered("postfix/main.cf")
        assert text.count("smtpd_client_connection_count_limit") == 1 and "= 77" in text
    finally:
        os.unlink(path)
        mail.cluster.ctl("settings set queue-lifetime=", timeout=90)
    assert "= 77" not in mail.rendered("postfix/main.cf")


@pytest.mark.spec("F-167", "F-162")
def test_setting_is_in_force_when_it_is_said_to_be(mail):
    mail.cluster.ctl("settings set message-size=2000000", timeout=90)
    with mail.smtp() as smtp:
        assert "SIZE 2000000" in smtp.ehlo
        assert smtp.say("MAIL FROM:<x@remote.test> SIZE=2000001").startswith("552")
    mail.cluster.ctl("settings set message-size=", timeout=90)
    with mail.smtp() as smtp:
        assert "SIZE 100000000" in smtp.ehlo


@pytest.mark.spec("F-178", "R31")
@pytest.mark.parametrize("file", ["postfix/main.cf", "dovecot/dovecot.conf"])
def test_file_changed_by_hand_is_shown_and_put_right(mail, file):
    path = os.path.join(mail.generation(), file)
    with open(path) as f:
        good = f.read()
    with open(path, "a") as f:
        f.write("# by hand\n")
    found = mail.cluster.ctl("node check mx1", code=1, timeout=60)
    assert os.path.basename(file) in found.out and "by hand" in found.out, found
    with open(path) as f:
        assert f.read() != good, "looking changes nothing"
    mended = mail.cluster.ctl("node check mx1 --repair", code=0, timeout=90)
    assert "(repaired)" in mended.out, mended
    with open(path) as f:
        assert f.read() == good
    mail.wait_ready()
    assert mail.cluster.ctl("node check mx1", code=None, timeout=60).out.count("by hand") == 0


@pytest.mark.spec("F-178", "R31")
def test_file_changed_by_hand_is_seen_without_being_asked(mail):
    mail.kill_engine()
    with open(os.path.join(mail.generation(), "dovecot/dovecot.conf"), "a") as f:
        f.write("# by hand\n")
    mail.start_engine()
    mail.wait_ready()
    wait_until(lambda: "dovecot/dovecot.conf is not as generation" in mail.cluster.ctl("node show mx1", code=None).out,
               "node show names the file", 60)
    assert "configuration changed by hand" in mail.cluster.ctl("events").out
    mail.cluster.ctl("node check mx1 --repair", code=0, timeout=90)
    wait_until(lambda: "is not as generation" not in mail.cluster.ctl("node show mx1", code=None).out, "put right", 60)


@pytest.mark.spec("F-178", "R31")
def test_lost_file_is_found_and_put_back(mail):
    path = os.path.join(mail.generation(), "postfix/master.cf")
    os.unlink(path)
    assert "master.cf" in mail.cluster.ctl("node check mx1", code=1, timeout=60).out
    mail.cluster.ctl("node check mx1 --repair", code=(0, 1), timeout=90)
    assert os.path.exists(path)
    mail.wait_ready()


@dying
@pytest.mark.spec("F-177", "R03", "R05", "R06")
@pytest.mark.parametrize("daemon", DAEMONS)
def test_daemon_that_dies_is_back(mail, daemon):
    before = mail.pids()
    os.kill(before[daemon], signal.SIGKILL)
    wait_until(lambda: mail.pid(daemon) not in (None, before[daemon]), f"{daemon} is started again", 20)
    mail.wait_ready()
    after = mail.pids()
    assert {d: p for d, p in after.items() if d != daemon} == {d: p for d, p in before.items() if d != daemon}
    wait_until(lambda: re.search(rf"{daemon}.*(signal 9|killed|ended)", mail.cluster.ctl("events").out, re.I), "an event says why")
    ledger = Ledger(mail)
    wait_until(lambda: ledger.send(["alice@example.org"], {"alice": 1}).startswith("250"), "mail flows", 20)
    ledger.settle()


def uids(node, user):
    """(UIDVALIDITY, {UID: the ledger's id}) as a mail client has them."""
    with node.imap(user) as imap:
        imap.link.select("INBOX", readonly=True)
        validity = imap.link.response("UIDVALIDITY")[1][0]
        _, data = imap.link.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (X-LEDGER)])")
        return validity, {int(re.search(rb"UID (\d+)", d[0]).group(1)): d[1].split(b":", 1)[-1].strip() for d in data if isinstance(d, tuple)}


def dovecot_processes(node, comm):
    """Of this node's Dovecot, by the name of the program; the master bears the name 'dovecot'."""
    found = []
    for pid in session_pids(node.pid("dovecot") or 0):
        try:
            with open(f"/proc/{pid}/comm") as f:
                found += [pid] if f.read().strip() == comm else []
        except OSError:   # it has gone since
            pass
    return found


@dying
@pytest.mark.spec("R04", "F-177")
def test_dovecot_killed_under_load(mail):
    """Its master, lmtp, auth and imap, again and again while mail comes in and is read: what was answered with 250 is there, no
    answer is a 5xx, none is lost, and what a client knows by its UID stays that."""
    chance, ledger, stop, killed = random.Random(4), Ledger(mail), threading.Event(), []
    for _ in range(3):
        ledger.send(["alice@example.org", "bob@example.org"], {"alice": 1, "bob": 1})
    ledger.settle()
    seen = [uids(mail, "alice")]
    assert len(seen[0][1]) >= 3

    def traffic():
        while not stop.is_set():
            ledger.send(["alice@example.org", "bob@example.org"], {"alice": 1, "bob": 1}, body="x" * chance.randrange(1, 30000))

    def reading():
        while not stop.is_set():
            try:
                seen.append(uids(mail, "alice"))
            except (OSError, imaplib.IMAP4.error):
                stop.wait(0.05)   # it is away: not what is asked here
    others = [threading.Thread(target=t) for t in (traffic, traffic, reading)]
    for other in others:
        other.start()
    try:
        for comm in ["lmtp", "auth", "imap", "lmtp", "dovecot"] * 3:
            n = len(ledger.accepted)
            wait_until(lambda: len(ledger.accepted) > n + 2, "mail flows", 60)
            wait_until(lambda: dovecot_processes(mail, comm), f"{comm} runs", 30, every=0.01)
            pid = chance.choice(dovecot_processes(mail, comm) or [0])
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed.append(comm)
    finally:
        stop.set()
        for other in others:
            other.join()
    assert len(set(killed)) == 4, killed
    mail.wait_ready()
    answers = [answer for answer, _ in ledger.entries.values()]
    assert not [a for a in answers if a.startswith("5")], answers
    assert len(ledger.accepted) > 30

    def all_there():
        mail.flush()
        return mail.queue_empty()
    wait_until(all_there, lambda: f"the queue is empty: {mail.queue()}", 90, every=1)
    ledger.settle(30, again=2)   # lmtp died after it had written, before it said so
    for user in ("alice", "bob"):
        assert not [m for m in mail.mailbox(user) if b"Undelivered" in m]
    after = uids(mail, "alice")
    assert len(seen) > 5
    for validity, known in seen:
        assert validity == after[0] and known.items() <= after[1].items()
    assert len(after[1]) >= len(ledger.accepted)


@dying
@pytest.mark.spec("F-177", "R44")
@pytest.mark.parametrize("daemon", ["redis", "rspamd", "dovecot", "postfix"])
def test_stopped_daemon_goes_on(mail, daemon):
    """SIGSTOP of the main process: found, and continued, not killed."""
    pid = mail.pid(daemon)
    os.kill(pid, signal.SIGSTOP)

    def running():
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "T"
    wait_until(running, f"{daemon} is continued", 60)
    assert mail.pid(daemon) == pid
    mail.wait_ready()


@dying
@pytest.mark.spec("F-177")
def test_crash_loop_takes_nobody_along(mail):
    """clamd cannot start: it is tried with longer and longer waits; everybody else keeps his process."""
    folder = mail.path("var/lib/mailnode/clamav")
    away = folder + ".away"
    others = {d: p for d, p in mail.pids().items() if d != "clamd"}
    os.rename(folder, away)
    try:
        os.kill(mail.pid("clamd"), signal.SIGKILL)
        wait_until(lambda: mail.facts()["clamd"]["state"] == "bad", "it is shown", 30)
        deadline = time.monotonic() + 3
        starts = mail.daemon_log("clamd").count("\n")
        while time.monotonic() < deadline:
            assert {d: mail.pid(d) for d in others} == others
            time.sleep(0.2)
        assert mail.daemon_log("clamd").count("\n") - starts < 200, "no busy loop"
        assert mail.rcpt("alice@example.org").startswith("250")
    finally:
        os.rename(away, folder)
    mail.wait_ready(timeout=90)


@dying
@pytest.mark.spec("F-176", "R03")
def test_our_programs_may_be_replaced(mail):
    """Restart of each, and kill -9 of each and of all: no session ends, no daemon is another, mail is accepted all the while."""
    before = mail.pids()
    ledger = Ledger(mail)
    imap, smtp = mail.imap("alice"), mail.smtp()
    stop = threading.Event()
    answers = []

    def traffic():
        while not stop.is_set():
            answers.append(ledger.send(["bob@example.org"], {"bob": 1}))
    sender = threading.Thread(target=traffic)
    sender.start()
    try:
        for end_engine in (mail.stop_engine, mail.kill_engine):
            end_engine()
            mail.kill()
            mail.cluster.kill()
            assert mail.pids() == before
            mail.cluster.start()
            mail.start()
            mail.wait_online()
            mail.wait_ready()
            assert mail.pids() == before
    finally:
        stop.set()
        sender.join()
    assert imap.link.noop()[0] == "OK" and smtp.say("NOOP").startswith("250")
    imap.close()
    smtp.close()
    assert answers and all(a.startswith("250") for a in answers), [a for a in answers if not a.startswith("250")]
    ledger.settle(60)


@dying
@pytest.mark.spec("F-176")
def test_mail_flows_without_any_program_of_ours(mail):
    c = mail.cluster
    mail.kill_engine()
    mail.kill()
    c.kill()
    ledger = Ledger(mail)
    for _ in range(5):
        assert ledger.send(["alice@example.org", "bob@example.org"], {"alice": 1, "bob": 1}).startswith("250")
    mail.submit("alice", "alice@example.org", ["bob@example.org"])
    ledger.settle()
    c.start()
    mail.start()
    mail.wait_online()
    mail.wait_ready()


@own
@pytest.mark.spec("R07", "F-166", "F-176")
def test_everything_killed_at_once(mail_own):
    """As a power cut: all processes, all daemons.  Whatever was answered with 250 is delivered, and the state is the same."""
    node, c = mail_own, mail_own.cluster
    chance = random.Random(7)
    ledger = Ledger(node)
    c.ctl("settings set queue-lifetime=24h", timeout=90)
    export = c.export()
    for _ in range(3):
        stop = threading.Event()

        def traffic():
            while not stop.is_set():
                ledger.send(["alice@example.org"], {"alice": 1})
        before = len(ledger.accepted)
        sender = threading.Thread(target=traffic)
        sender.start()
        wait_until(lambda: len(ledger.accepted) > before + chance.randrange(1, 4), "mail flows", 60)   # in the middle of more
        node.kill_engine()
        node.kill()
        c.kill()
        pids = [p for sid in node.pids().values() for p in session_pids(sid)]
        end_all(chance.sample(pids, len(pids)))
        stop.set()
        sender.join()
        c.start()
        node.start()
        node.wait_online()
        node.wait_ready(timeout=60)
    assert c.export() == export
    assert len(ledger.accepted) > 3
    node.flush()
    ledger.settle(90, again=3)   # once for each cut


@dying
@pytest.mark.spec("R44")
def test_sigterm_ends_the_engine_soon(mail):
    started = time.monotonic()
    mail.stop_engine()
    assert time.monotonic() - started < 10
    mail.start_engine()
    mail.wait_ready()


def takes_mail(node):
    try:
        return (node.rcpt("alice@example.org") or "").startswith("250")
    except (OSError, AssertionError):
        return False


@own
@pytest.mark.spec("R08")
@pytest.mark.parametrize("file", ["run/postfix", "run/dovecot", "current-objects"])
def test_torn_file_of_our_own_is_survived(mail_own, file):
    """Cut to nothing and to half while nobody looks: said, mended, and mail goes on."""
    node = mail_own
    path = (os.path.join(node.generation(), "objects") if file == "current-objects"
            else node.path("var/lib/mailnode/engine", file))
    with open(path, "rb") as f:
        whole = f.read()
    for part in (b"", whole[:len(whole) // 2], b"\0" * len(whole)):
        node.kill_engine()
        with open(path, "wb") as f:
            f.write(part)
        node.start_engine()
        wait_until(lambda: takes_mail(node), "mail goes on", 90)   # what is reported may be of the life before, and one restarts
        node.wait_ready(timeout=90)
        if file == "current-objects":
            path = os.path.join(node.generation(), "objects")


@pytest.mark.spec("F-167", "R33")
def test_daemon_that_does_not_come_up_is_taken_back(mail):
    """The checker is content, the start is not: the last good generation is in force again, in the daemon's own words."""
    before = mail.generation()
    path = mail.override("dovecot.d/site.conf", "service stats {\n  user = nosuchuser\n}\n")
    try:
        said = mail.cluster.ctl("settings set queue-lifetime=46h", code=5, timeout=120)
        assert "taken back" in said.err and "with override/dovecot.d/site.conf: dovecot" in said.err, said
    finally:
        os.unlink(path)
    assert mail.generation() == before
    mail.wait_ready()
    assert mail.rcpt("alice@example.org").startswith("250")


@pytest.mark.spec("F-155", "R37", "B43")
def test_followed_certificate(mail):
    """A pair that does not match is refused and the old one stays; a good one is served; a renewed one, too."""
    folder = mail.path("etc/mailnode/tls")
    os.makedirs(folder, mode=0o755, exist_ok=True)

    def pair(name, days="30"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days,
                        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{folder}/{name}.key",
                        "-out", f"{folder}/{name}.pem"], check=True, capture_output=True)
        return f"{folder}/{name}.pem", f"{folder}/{name}.key"

    def served():
        done = subprocess.run(["openssl", "s_client", "-connect", f"{mail.address}:993"], input="", capture_output=True, text=True)
        return re.search(r"subject=CN = (\S+)", done.stdout).group(1)
    one, two = pair("one.example.org"), pair("two.example.org")
    c, old = mail.cluster, served()
    said = c.ctl(f"tls set follow-certificate={one[0]} follow-key={two[1]}", code=5, timeout=90)
    assert "match" in said.err and served() == old, said
    said = c.ctl(f"tls set follow-certificate={one[0]}", code=3)
    assert "follow-key" in said.err
    said = c.ctl("tls set follow-certificate=/etc/shadow follow-key=/etc/shadow", code=5, timeout=90)
    assert "root:" not in said.err and served() == old
    c.ctl(f"tls set follow-certificate={one[0]} follow-key={one[1]}", timeout=90)
    assert served() == "one.example.org"
    imap = mail.imap("alice")
    os.replace(two[1], one[1])
    os.replace(two[0], one[0])
    wait_until(lambda: served() == "two.example.org", "the renewed pair is served", 75, every=0.5)
    assert imap.link.noop()[0] == "OK", "no session drops"
    imap.close()
    c.ctl("tls set follow-certificate= follow-key=", timeout=90)
    assert served() == old


@own
@pytest.mark.spec("F-167", "F-003")
def test_port_taken_while_the_engine_was_away(mail_own):
    """Somebody sits on a port when the daemons come back: he is named in the facts; free again, mail is back by itself."""
    node = mail_own
    node.kill_engine()
    end_all([p for sid in node.pids().values() for p in session_pids(sid)])
    holder = None

    def take():
        nonlocal holder
        try:
            holder = socket.create_server((node.address, 25))
            return True
        except OSError:
            return False
    wait_until(take, "port 25 is ours")
    node.start_engine()
    wait_until(lambda: re.search(rf"port 25 .*python3.*{os.getpid()}", str(node.facts())), "the holder is named", 30, every=0.2)
    holder.close()
    node.wait_ready(timeout=60)


@own
@pytest.mark.spec("F-176", "F-003")
def test_three_nodes_one_controller():
    """Each with an instance and a domain of its own; a change to one touches that one only."""
    with Cluster(nodes=3, node=MailNode) as c:
        for i, domain in enumerate(("example.org", "example.net", "example.com")):
            c.mail_site(f"mx{i + 1}", domain, f"i{i + 1}", users=(f"user{i + 1}",))
        nodes = list(c.nodes.values())
        before = [(n.generation(), n.pids()) for n in nodes]
        c.ctl("settings set -i i2 message-size=5M", timeout=90)
        after = [(n.generation(), n.pids()) for n in nodes]
        assert after[0] == before[0] and after[2] == before[2] and after[1][0] != before[1][0]
        for i, node in enumerate(nodes):
            domain = ("example.org", "example.net", "example.com")[i]
            ledger = Ledger(node)
            assert ledger.send([f"user{i + 1}@{domain}"], {f"user{i + 1}": 1}).startswith("250")
            ledger.settle()
            with node.smtp() as smtp:
                assert ("SIZE 5000000" in smtp.ehlo) == (i == 1)
                assert smtp.rcpt("user9@" + domain).startswith("550")


@pytest.mark.spec("F-176")
def test_instance_stop_and_start(mail):
    c = mail.cluster
    c.ctl("instance set main running=no", timeout=90)
    wait_until(lambda: set(mail.pids()) <= {"slapd"}, "only the directory runs")
    with pytest.raises(OSError):
        socket.create_connection((mail.address, 25), 2)
    c.ctl("instance set main running=yes", timeout=90)
    mail.wait_ready()
    assert mail.rcpt("alice@example.org").startswith("250")
