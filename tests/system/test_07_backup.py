"""SPEC 7: backups, on a node with real mail: what a run saves, and what it says when it cannot."""
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import pytest

from harness import paths, wait_until
from harness.jobs import Jobs, PASSWORD
from harness.mail import text_message
from harness.wire import body
import control_pb2

pytestmark = pytest.mark.xdist_group("backup")

DONE, FOUND, FAILED = control_pb2.SUCCEEDED, control_pb2.FOUND, control_pb2.FAILED


def local(node, name):
    return "local:" + node.path("var/lib/mailnode/backup", name)


def restic(node, name, *words):
    """What lies in a local repository of instance main, looked at past the product."""
    env = {"RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": node.path("tmp-restic"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["restic", "-r", node.path("var/lib/mailnode/backup", name, "main"), "--no-lock", *words], env=env,
                          capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def files(node, name):
    return set(restic(node, name, "ls", "latest").splitlines())


def messages(paths):
    """Base names of messages: what stays when a flag is set or a folder changed."""
    return [os.path.basename(p).split(":")[0] for p in paths if os.path.basename(os.path.dirname(p)) in ("cur", "new")]


def on_disk(node, user):
    base = node.path("var/lib/mailnode/mail", user)
    return [os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names]


def vault(node, name, **plan):
    jobs = Jobs(node, {name: local(node, name)}, **plan)
    made = jobs.run(destination_check={"destination": name, "init": True})
    assert made.state == DONE and "an empty repository was made" in made.verdict, made
    return jobs


@pytest.mark.spec("F-158")
def test_F_158_made_once_and_never_over_anything(mail):
    jobs = Jobs(mail, {"once": local(mail, "once")})
    missing = jobs.run(destination_check={"destination": "once"})
    assert missing.state == FAILED and missing.why.what.startswith("once: list snapshots: there is no repository"), missing
    assert "destination check once --init" in missing.why.hint
    assert not os.path.exists(mail.path("var/lib/mailnode/backup/once")), "looking made something"
    assert "was made" in jobs.run(destination_check={"destination": "once", "init": True}).verdict
    with open(mail.path("var/lib/mailnode/backup/once/main/config"), "rb") as f:
        config = f.read()
    again = jobs.run(destination_check={"destination": "once", "init": True})
    assert (again.state, again.verdict) == (DONE, "once: the repository opens, no snapshot yet"), again
    wrong = Jobs(mail, {"once": {"repository": local(mail, "once"), "secrets": {"password": "another"}}})
    refused = wrong.run(destination_check={"destination": "once", "init": True})
    assert refused.state == FAILED and "wrong password" in refused.why.what, refused
    with open(mail.path("var/lib/mailnode/backup/once/main/config"), "rb") as f:
        assert f.read() == config
    outside = Jobs(mail, {"out": "local:/etc/mailnode-backup"}).run(destination_check={"destination": "out", "init": True})
    assert outside.state == FAILED and "outside the folders for backups" in outside.why.what, outside
    assert not os.path.exists("/etc/mailnode-backup")


@pytest.mark.spec("F-160")
def test_F_160_a_run_and_its_verdict(mail):
    mail.deliver("someone@remote.test", ["alice@example.org"], text_message("someone@remote.test", ["alice@example.org"]))
    wait_until(lambda: messages(on_disk(mail, "alice")), "it is delivered")
    jobs = vault(mail, "first", keep_last=1)
    stage = mail.path("var/lib/mailnode/agent/stage")
    os.makedirs(stage, 0o700, exist_ok=True)
    shutil.chown(stage, "mailagent", "mailagent")
    for name, octets in (("state-7", b"state at revision 7"), ("controller-7", b"sealed")):
        with open(os.path.join(stage, name), "wb") as f:
            f.write(octets)
    jobs.staged = {"staged": "state-7", "staged_copy": "controller-7", "copy": {"revision": 42, "time": 1767225600}}
    good = jobs.run(backup_run={"plan": "nightly"})
    assert good.state == DONE and not good.findings, good
    assert re.fullmatch(r"first: snapshot [0-9a-f]{8}, \d+ messages in \d+ mailboxes, [\d.]+ k?B, [\d.]+ [kM]?B new, checked; "
                        "controller at revision 42", good.verdict), good.verdict
    saved = files(mail, "first")
    assert {"/state/manifest", "/state/redis.rdb", "/state/directory-people-mx1.ldif", "/state/objects"} <= saved, sorted(saved)
    assert sorted(messages(p for p in saved if p.startswith("/mail/alice/"))) == sorted(messages(on_disk(mail, "alice")))
    assert "uid=alice" in restic(mail, "first", "dump", "latest", "/state/directory-people-mx1.ldif")
    assert restic(mail, "first", "dump", "latest", "/state/objects") == "state at revision 7"
    assert restic(mail, "first", "dump", "latest", "/state/controller") == "sealed"
    assert restic(mail, "first", "dump", "latest", "/state/redis.rdb").startswith("REDIS")
    snapshot, = json.loads(restic(mail, "first", "snapshots", "--json"))
    assert (snapshot["hostname"], snapshot["tags"]) == ("main", ["mailnode", "plan=nightly"])

    jobs.staged["copy_trouble"] = "the controller was not reached"
    again = jobs.run(backup_run={"plan": "nightly", "destination": "first"})
    assert again.state == DONE and again.verdict.endswith(   # upkeep has its own time
        " new, 1 forgotten; controller at revision 42 of 2026-01-01 00:00 UTC, none newer: the controller was not reached"), again
    jobs.staged = {"staged": "state-7"}

    kept = mail.path("var/lib/mailnode/work/upkeep")   # a week is over
    with open(kept) as f:
        lines = f.read()
    with open(kept, "w") as f:
        f.write(re.sub(r"^\d+ prune first$", "1767225600 prune first", lines, flags=re.M))
    weekly = jobs.run(backup_run={"plan": "nightly"})
    assert weekly.state == DONE and ", pruned" in weekly.verdict and ", checked" not in weekly.verdict, weekly

    os.unlink(os.path.join(stage, "state-7"))   # what belongs to it is not there: not good, but the mail is saved
    bad = jobs.run(backup_run={"plan": "nightly"})
    assert bad.state == FAILED and bad.why.what.startswith("everything else was saved, but: state of the node: "), bad
    assert "snapshot" in bad.verdict and "forgotten" not in bad.verdict
    assert len(json.loads(restic(mail, "first", "snapshots", "--json"))) == 2


@pytest.mark.spec("R41", "F-160", "F-063")
def test_R41_one_that_fails_does_not_keep_the_others(mail):
    vault(mail, "works")
    jobs = Jobs(mail, {"works": local(mail, "works"), "gone": local(mail, "gone"), "away": "rest:http://127.0.0.1:1/mail"})
    mixed = jobs.run(backup_run={"plan": "nightly"})
    assert mixed.state == FAILED and mixed.verdict.startswith("works: snapshot "), mixed
    told = {f.where: f.text.splitlines()[0] for f in mixed.findings}
    assert told == {"away": "away: backup: the storage does not answer", "gone": "gone: backup: there is no repository"}, told
    assert not os.path.exists(mail.path("var/lib/mailnode/backup/gone"))
    assert jobs.run(backup_run={"plan": "nightly", "destination": "other"}).why.what == "plan nightly has no destination other"


@pytest.mark.spec("F-063", "F-064", "F-065", "B41")
def test_F_064_asked_by_mailctl(mail):
    """From mailctl over controller, agent and mail-engine to restic and back."""
    c = mail.cluster
    mail.deliver("someone@remote.test", ["alice@example.org"], text_message("someone@remote.test", ["alice@example.org"]))
    wait_until(lambda: messages(on_disk(mail, "alice")), "it is delivered")
    vault(mail, "asked").run(backup_run={"plan": "nightly"})
    for name, repository in [("asked", local(mail, "asked")), ("dead", "rest:http://127.0.0.1:1/x")]:
        fields = [control_pb2.FieldEdit(field="repository", op=control_pb2.SET, value=repository),
                  control_pb2.FieldEdit(field="password", op=control_pb2.SET, secret=PASSWORD.encode())]
        edit = control_pb2.ObjectEdit(verb=control_pb2.ADD, ref=control_pb2.Ref(kind="destination", name=name), fields=fields)
        with c.link() as link:
            assert link.call(body("change", edits=[edit], manner={"wait_ms": 20000}))[-1].HasField("outcome")
    snapshot, = json.loads(restic(mail, "asked", "snapshots", "--json"))
    listed, = c.ctl("snapshot list destination=asked mailbox=user:alice -o json", timeout=60).json["items"]
    assert (listed["id"], listed["plan"]) == (snapshot["id"], "nightly")
    folders = c.ctl("snapshot folders latest destination=asked mailbox=user:alice filter=NBO -o json", timeout=60).json
    assert folders["snapshot"] == snapshot["id"] and [f["name"] for f in folders["items"]] == ["INBOX"]
    assert f"is not in snapshot {snapshot['id'][:12]}" in c.ctl("snapshot folders latest destination=asked mailbox=user:nobody",
                                                             timeout=60, code=4).err
    assert "connection refused" in c.ctl("snapshot list destination=dead", timeout=60, code=11).err
    assert "destination= is missing" in c.ctl("snapshot list", code=2).err


@pytest.mark.spec("R41", "S45")
def test_S45_what_was_spoilt_is_seen(mail):
    jobs = vault(mail, "spoilt", check_data=100)
    assert jobs.run(backup_run={"plan": "nightly"}).state == DONE
    assert jobs.run(backup_verify={"plan": "nightly"}).verdict == "spoilt: no errors, 100% of the data read"
    for folder, _, names in os.walk(mail.path("var/lib/mailnode/backup/spoilt/main/data")):
        for name in names:
            os.chmod(os.path.join(folder, name), 0o600)
            with open(os.path.join(folder, name), "r+b") as f:
                f.seek(40)
                f.write(b"XXXX")
    seen = jobs.run(backup_verify={"plan": "nightly"})
    assert seen.state == FAILED and seen.why.what.startswith("spoilt: check: the repository is damaged\n"), seen


def test_mail_that_moves_during_a_run(mail):
    """Delivered, flagged, moved and expunged meanwhile: what was there before and after is in the snapshot, and in the next
    one, when all rests, each message is there once."""
    jobs = vault(mail, "moving")
    with mail.imap("bob") as imap:
        for folder in ("One", "Two"):
            imap.link.create(folder)
        for n in range(120):
            imap.link.append("One" if n % 2 else "Two", "", None, text_message("a@remote.test", ["bob@example.org"], f"m{n}").as_bytes())
    before, stop = messages(on_disk(mail, "bob")), threading.Event()

    def writer(name, other):
        with mail.imap("bob") as imap:
            for n in range(100000):
                if stop.is_set():
                    return
                imap.link.select(name)
                imap.link.store("1:20", "-FLAGS" if n % 2 else "+FLAGS", "(\\Seen)")
                imap.link.uid("MOVE", f"{imap.link.uid('SEARCH', 'ALL')[1][0].split()[n % 7].decode()}", other)
                imap.link.append(name, "", None, text_message("a@remote.test", ["bob@example.org"], "more").as_bytes())
                if n % 5 == 0:
                    imap.link.store("2", "+FLAGS", "(\\Deleted)")
                    imap.link.expunge()
    writers = [threading.Thread(target=writer, args=pair) for pair in (("One", "Two"), ("Two", "One"))]
    for thread in writers:
        thread.start()
    try:
        result = jobs.run(backup_run={"plan": "nightly"})
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    assert result.state == DONE, result
    assert set(messages(on_disk(mail, "bob"))) != set(before), "nothing moved"
    stayed = set(before) & set(messages(on_disk(mail, "bob")))
    saved = messages(p for p in files(mail, "moving") if p.startswith("/mail/bob/"))
    assert stayed and not stayed - set(saved), f"lost: {stayed - set(saved)}"
    assert jobs.run(backup_run={"plan": "nightly"}).state == DONE
    assert sorted(messages(p for p in files(mail, "moving") if p.startswith("/mail/bob/"))) == sorted(messages(on_disk(mail, "bob")))


@pytest.mark.spec("S10")
def test_S10_programs_and_arguments_of_a_run(mail):
    """No program but the planned ones, and no secret among the arguments; a cancelled run leaves no process and no lock."""
    jobs = vault(mail, "traced")
    path = mail.path("strace-backup")
    tracer = subprocess.Popen(["strace", "-f", "-q", "-s", "4096", "-e", "trace=execve", "-e", "signal=none", "-o", path, "-p",
                               str(mail.mail_engine.pid)], stderr=subprocess.PIPE, text=True)

    def traced():
        with open(f"/proc/{mail.mail_engine.pid}/status") as f:
            return "TracerPid:\t0" not in f.read()
    wait_until(lambda: tracer.poll() is not None or traced(), "strace watches")
    try:
        assert jobs.run(backup_run={"plan": "nightly"}).state == DONE
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
    with open(path, errors="replace") as f:
        said = f.read()
    assert PASSWORD not in said
    ran = {os.path.basename(p) for p in re.findall(r'execve\("([^"]+)"', said)}
    assert {"restic", "slapcat", "exe"} <= ran | {"exe"}, ran
    assert not ran & {"sh", "bash", "dash", "ssh", "rclone", "env"}, ran
    assert '"restic", "backup", "--json", "--ignore-ctime", "--host=main", "--tag=mailnode", "--tag=plan=nightly", "--", ' \
           '"mail", "public", "state"]' in said
    os.unlink(path)

    job = jobs.start(backup_run={"plan": "nightly"})
    tree = mail.path("var/lib/mailnode/work/tree")
    wait_until(lambda: restics(tree), "restic runs")
    job.close()
    wait_until(lambda: not restics(tree), "it ended")
    wait_until(lambda: not os.listdir(mail.path("var/lib/mailnode/backup/traced/main/locks")), "its lock is gone")


@pytest.mark.spec("R41")
def test_R41_who_is_waited_for_is_said(mail):
    """A restic that is not ours is at the repository: the wait has a line that moves and says for whom, and the log has it once."""
    jobs = vault(mail, "held")
    other = subprocess.Popen(["setpriv", "--reuid=mailbackup", "--regid=mailbackup", "--clear-groups", "restic", "-r",
                              mail.path("var/lib/mailnode/backup/held/main"), "--no-cache", "-q", "backup", "--stdin"],
                             stdin=subprocess.PIPE, env={"RESTIC_PASSWORD": PASSWORD, "PATH": "/usr/bin:/bin"})
    job = None
    try:
        locks = mail.path("var/lib/mailnode/backup/held/main/locks")
        wait_until(lambda: [n for n in os.listdir(locks) if "tmp" not in n], "it holds its lock")
        job = jobs.start(backup_verify={"plan": "nightly"})
        while not job.progress:
            assert not job.hear_progress().last, "it ended"
        assert job.progress[0].of == 600 and re.fullmatch(
            rf"s of waiting for a lock of the repository that is held by PID {other.pid} on \S+ by mailbackup .*",
            job.progress[0].unit), job.progress
        other.communicate(b"saved")
        assert job.result().verdict.startswith("held: no errors")
    finally:
        other.kill()
        other.wait()
        if job:
            job.close()
    with open(mail.engine_log) as f:
        assert len(re.findall(rf"repository is locked, waiting destination=held by=.PID {other.pid} on ", f.read())) == 1


def points():
    try:
        said = subprocess.run([paths.ENGINE, "--crash-points"], capture_output=True, text=True, check=True, timeout=10).stdout
        return [p for p in said.split() if p.startswith("backup.")]
    except (OSError, subprocess.SubprocessError):
        return []


@pytest.mark.spec("R02", "R41")
def test_a_run_dies_anywhere(mail):
    """kill -9 at each of its points, and while restic runs: the next run is good, and so is the repository."""
    jobs = vault(mail, "dies", check_data=100)
    assert len(points()) > 5
    for point in points():
        jobs.die(point, backup_run={"plan": "nightly"})
    job = jobs.start(crash="none", backup_run={"plan": "nightly"})
    tree = mail.path("var/lib/mailnode/work/tree")
    wait_until(lambda: restics(tree), "restic runs")
    job.process.kill()
    job.process.wait()
    job.close()
    wait_until(lambda: not restics(tree), "restic ended, too")
    good = jobs.run(backup_run={"plan": "nightly"})
    assert good.state == DONE and not good.findings, good
    assert jobs.run(backup_verify={"plan": "nightly"}).state == DONE
    assert not os.listdir(mail.path("var/lib/mailnode/backup/dies/main/locks"))


def restics(tree):
    """Processes of restic that stand in this tree."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() == "restic" and os.readlink(f"/proc/{pid}/cwd") == tree:
                    found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.spec("F-158", "F-159", "F-160")
def test_by_mailctl_and_by_itself(mail):
    """The same by the commands: a repository is made when asked for, a plan runs by itself, and its standing is what restic said."""
    ctl = mail.cluster.ctl
    made = ctl(f"destination add here repository={local(mail, 'here')} --init", timeout=120)
    assert "destination check here --init of mx1: succeeded" in made.out and "was made" in made.out, made
    ctl(f"destination add nowhere repository={local(mail, 'nowhere')}")
    missing = ctl("destination check nowhere", code=4, timeout=120)
    assert "there is no repository" in missing.err and "make it: mailctl destination check nowhere --init" in missing.err, missing
    ctl("plan add soon destinations=here schedule='*:*:0/5' jitter=off")

    def standing(plan="soon"):
        items = ctl(f"backup status {plan} -o json", code=(0, 1)).items
        return items[0] if items else {}
    wait_until(lambda: standing().get("state") == "good", lambda: f"it runs by itself: {standing()}", 90)
    made = standing()["snapshot"]   # the whole id; people are shown what begins it
    assert re.fullmatch("[0-9a-f]{64}", made) and f"snapshot {made[:8]}, " in standing()["text"], standing()
    ctl("plan set soon schedule='daily 02:30'")
    wait_until(lambda: not standing()["running"], "the last one ends", 60)
    assert "succeeded" in ctl("backup run soon", timeout=120).out
    newest = ctl("snapshot list destination=here -o json").items[0]["id"]
    assert standing()["snapshot"] == newest != made
    assert newest[:8] in ctl("backup status soon").out and newest not in ctl("backup status soon").out
    task = ctl("task list -o json").items[0]["task_id"]
    shown = ctl(f"task show {task} -o json").items[0]
    assert shown["saved"] == [{"destination": "here", "snapshot": newest}] and newest[:8] in ctl(f"task show {task}").out
    assert ctl("snapshot export latest destination=here").out == ctl("export").out
    ctl("plan add bad destinations=nowhere schedule='daily 02:30'")
    assert "there is no repository" in ctl("backup run bad", code=4, timeout=120).err
    assert standing("bad")["state"] == "bad" and "there is no repository" in standing("bad")["text"]
    for line in ("plan remove bad", "plan remove soon", "destination remove here", "destination remove nowhere"):
        ctl(line)
