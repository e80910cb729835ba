"""Section 7: destinations and plans as they are stated, when plans run, and how that is shown."""
import re
import sqlite3
import time

import pytest

import control_pb2
from harness import wait_until

pytestmark = pytest.mark.xdist_group("plans")


def written_everywhere(cluster, text):
    """Is it anywhere where it should not be: what mailctl shows, logs, files of the programs?"""
    shown = "".join(cluster.ctl(line).out for line in ("destination list", "destination show vault", "destination show vault -o json",
                                                       "export", "history", "events -o json"))
    return text in shown or text in open(cluster.log).read()


@pytest.mark.spec("F-158")
def test_a_destination_is_stated_without_its_secrets(site, tmp_path):
    (tmp_path / "env").write_text("AWS_ACCESS_KEY_ID=who\nAWS_SECRET_ACCESS_KEY=hush-hush\n")
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nkeykeykey\n-----END OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "password").write_text("correct horse\n")
    ctl = site.ctl
    ctl(f"destination add vault repository=s3:https://s3.example.org/mail/ password=@{tmp_path}/password env=@{tmp_path}/env "
        f"ssh-key=@{tmp_path}/key upload-limit=2M")
    item = ctl("destination show vault -o json").items[0]
    assert item["repository"] == "s3:https://s3.example.org/mail"
    assert item["password"] == item["env"] == item["ssh_key"] == "(hidden)"
    for secret in ("correct horse", "hush-hush", "keykeykey"):
        assert not written_everywhere(site, secret), secret

    made = ctl("destination add far repository=local:/srv/backup -o json").json   # nobody gave a password: it is made
    assert ctl("destination show far -o json").items[0]["password"] == "(hidden)"
    assert ctl("destination set far upload-limit=1M -o json").revision == made["revision"] + 1
    assert ctl("destination add far repository=local:/srv/backup upload-limit=1M --may-exist -o json").json["count"] == 0

    before = site.revision
    for url, words in (("rest:https://bk:s3cret@vault.example.org/", "a login in the address"),
                       ("sftp:bk:s3cret@vault.example.org:/srv", "a password in the address"),
                       ("sftp:-oProxyCommand=touch:/srv", "begins with '-'"),
                       ("local:/srv/../etc", "'..'"), ("local:srv", "no absolute path"), ("rclone:remote:x", "no kind of repository")):
        answer = ctl(["destination", "add", "bad", f"repository={url}"], code=3)
        assert words in answer.err, answer
    assert "hush" not in ctl("destination add bad repository=local:/x password=hush", code=2).err
    assert site.revision == before

    file = ctl("export").out   # as text and back: nothing changes, secrets are kept
    assert ctl("apply -f -", stdin=file, code=0) and site.revision == before


@pytest.mark.spec("F-159")
def test_plans_say_when_and_are_checked(site):
    ctl = site.ctl
    ctl("destination add vault repository=local:/srv/backup")
    ctl("destination add far repository=rest:https://vault.example.org/mail")
    for schedule, normal in (("hourly", "hourly"), ("daily 2:30", "daily 02:30"), ("weekly sunday 3:05", "weekly Sun 03:05"),
                             ("Mon..Fri *:0/20", "Mon..Fri *-*-* *:00/20:00"), ("*-*-1 4:00", "*-*-01 04:00:00")):
        ctl(["plan", "add", "some", "destinations=vault,far", f"schedule={schedule}"])
        assert ctl("plan show some -o json").items[0]["schedule"] == normal
        ctl("plan remove some")
    ctl("plan add nightly destinations=vault schedule='daily 02:30' time-zone=Europe/Berlin keep-daily=14 jitter=5m")
    ctl("plan add weekly destinations=far,vault instances=main schedule=weekly")   # several may exist
    before = site.revision
    for fields, words in (("schedule='daily 25:00'", "hour 25: 0 to 23"), ("schedule='10:00 Europe/Berlin'", "time-zone=Europe/Berlin"),
                          ("schedule='*-*~1'", "not taken"), ("schedule=sometimes", "no day of the week"),
                          ("time-zone=../../etc/passwd", "no name of a time zone"), ("destinations=nowhere", "nowhere does not exist"),
                          ("instances=other", "other does not exist"), ("destinations=", "destinations")):
        answer = ctl(f"plan set nightly {fields}", code=(3, 4))
        assert words in answer.err, answer
    answer = ctl("destination remove vault", code=6)   # both name it
    assert re.search("plan (nightly|weekly)", answer.err), answer
    assert site.revision == before
    ctl("plan set nightly time-zone=")
    assert "time_zone" not in ctl("plan show nightly -o json").items[0]


def standing(site, destination="vault"):
    """As 'backup status' shows it; its exit says whether all is good."""
    answer = site.ctl("backup status -o json", code=(0, 1))
    items = {i["destination"]: i for i in answer.items}
    assert answer.code == int(any(i["state"] != "good" for i in answer.items)), answer
    return items.get(destination, {})


def runs(node):
    return [(r.plan, r.destination) for r in node.engine.jobs("backup_run")]


def days_ago(node, days, **columns):
    """The agent is stopped: what it knows of the runs is so old."""
    then = int(time.time()) - days * 86400
    with sqlite3.connect(node.node_db) as db:
        for column in columns or ("since", "through"):
            db.execute(f"UPDATE backup SET {column} = ?", (then,))


def nightly(site):
    """A plan that the node knows, and that has not run yet."""
    site.ctl("destination add vault repository=local:/srv/backup")
    site.ctl("plan add nightly destinations=vault schedule='daily 02:30' jitter=off")
    wait_until(lambda: standing(site).get("state") == "never-ran", "the plan is known")
    return site["mx1"]


@pytest.mark.spec("F-159")
def test_a_run_without_mail_engine_is_put_off(site):
    """It has not begun, so it has not failed either: it does when mail-engine is back, not with the next night."""
    node = nightly(site)
    node.stop()
    node.engine.stop()
    days_ago(node, 9)
    node.start(engine=False, wait=True)
    assert not runs(node)
    node.engine.start()
    wait_until(lambda: standing(site).get("state") == "good", "the night is made up for", 30)
    assert "backup failed" not in site.ctl("events").out


@pytest.mark.spec("F-159")
def test_missed_runs_are_made_up_for_once(site):
    node = nightly(site)
    assert not runs(node)   # a new plan waits for its time
    node.stop()
    days_ago(node, 9)
    node.start(wait=True)
    wait_until(lambda: standing(site).get("state") == "good", "nine nights are made up for")
    assert runs(node) == [("nightly", "vault")]
    node.stop()
    node.start(wait=True)
    wait_until(lambda: standing(site).get("state") == "good", "it is remembered")
    assert runs(node) == [("nightly", "vault")]

    node.engine.job = lambda task: None   # the next one goes on and on, and its agent is killed
    node.stop()
    days_ago(node, 3, through=1)
    node.start(wait=True)
    wait_until(lambda: standing(site).get("running") and len(runs(node)) == 2, "it runs")
    node.kill()
    node.engine.job = lambda task: (control_pb2.SUCCEEDED, "good after all")
    node.start(wait=True)
    wait_until(lambda: standing(site).get("text") == "good after all", "it is begun again")
    assert len(runs(node)) == 3

    site.ctl("plan set nightly schedule='*:*:0/2'")   # by itself, and again and again
    wait_until(lambda: len(runs(node)) >= 5, "it comes round")
    site.ctl("plan add other destinations=vault schedule=hourly instances=main")
    site.ctl("plan remove nightly")
    wait_until(lambda: [i["plan"] for i in site.ctl("backup status -o json", code=1).items] == ["other"], "the other one")


@pytest.mark.spec("F-160", "X-05")
def test_status_is_the_verdict_of_the_last_finished_run(site):
    node, ctl = site["mx1"], site.ctl
    answer = ctl("backup status", code=1)
    assert "nothing is backed up" in answer.err
    ctl("destination add vault repository=local:/srv/backup")
    ctl("destination add far repository=rest:https://vault.example.org/mail")
    ctl("plan add nightly destinations=vault,far schedule='daily 02:30'")
    wait_until(lambda: standing(site).get("state") == "never-ran", "it says that it never ran")
    assert "last_good_ms" not in standing(site) and standing(site)["next_ms"] <= 86400_000

    node.engine.job = lambda task: ((control_pb2.SUCCEEDED, "3 mailboxes") if task.backup_run.destination == "vault"
                                    else (control_pb2.FAILED, "vault.example.org does not answer"))
    answer = ctl("backup run nightly", code=11)   # one went well, and is not kept by the other
    assert "succeeded: 3 mailboxes" in answer.out and "does not answer" in answer.out + answer.err
    good = standing(site)
    assert (good["state"], good["text"]) == ("good", "3 mailboxes") and good["last_good_ms"] < 60_000
    assert standing(site, "far")["state"] == "bad" and standing(site, "far")["text"] == "vault.example.org does not answer"
    assert ctl("status", code=1).out.count("nightly to far: vault.example.org does not answer") == 1   # the alarm, unasked

    node.engine.job = lambda task: None   # that one runs is no verdict
    ctl("backup run nightly --detach")
    wait_until(lambda: standing(site).get("running"), "it runs")
    assert (standing(site)["state"], standing(site)["text"]) == ("good", "3 mailboxes")
    assert "running" in ctl("backup status", code=1).out
    node.kill()
    node.engine.job = lambda task: (control_pb2.SUCCEEDED, "fine")
    node.start(wait=True)
    wait_until(lambda: standing(site)["text"] == "mail-agent ended while it ran", "what broke off has failed")
    assert standing(site)["state"] == "degraded"
    ctl("backup run nightly")
    assert standing(site)["state"] == standing(site, "far")["state"] == "good" and ctl("backup status").code == 0

    node.stop()   # away: the word is old, and no good
    days_ago(node, 5, good_at=1)
    wait_until(lambda: standing(site)["state"] == "old", "the node is away")
    assert "ago, mx1 is offline: fine" in standing(site)["text"]
    node.start(wait=True)   # twice the interval is two days
    wait_until(lambda: standing(site)["state"] == "bad", "too old")
    assert "no good run for 5d" in standing(site)["text"]
    assert "backup bad" in ctl("status", code=1).out
    wait_until(lambda: '"backup overdue"' in ctl("events -o json").out, "an event")
