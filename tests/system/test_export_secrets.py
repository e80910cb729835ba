"""export --with-secrets: a file for one admin, and a new controller that has all of it back."""
import contextlib
import json
import os
import sqlite3
import stat

import pytest

from harness import Cluster, paths
from harness.ctl import run
from harness.wire import body, fresh_keys
import control_pb2

CANARY = "ca%dnary"
SECRETS = {   # what a text form could stumble over; each has a canary
    ("relay", "main", "default"): {"password": "none"},
    ("relay", "main", "recipient/one.test"): {"password": CANARY % 1 + " \"it's\" \\ é: #{[&*!|>%@`"},
    ("relay", "main", "sender/example.org"): {"password": "- " + CANARY % 2 + "\t\x1b\n  two"},
    ("destination", "", "far"): {"password": "true", "env": "", "ssh-key": "-----BEGIN K-----\n" + CANARY % 3 + "\n-----END K-----\n"},
    ("destination", "", "cloud"): {"password": CANARY % 4, "env": "AWS_ACCESS_KEY_ID=A\nAWS_SECRET_ACCESS_KEY=" + CANARY % 5},
}
PLAIN = {
    "default": {"host": "smart.example.net", "user": "us"}, "recipient/one.test": {"host": "a.example.net", "user": "us"},
    "sender/example.org": {"host": "b.example.net", "user": "us"},
    "far": {"repository": "sftp:backup@vault.example.org:/srv/mail",
            "known-hosts": "vault.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx0m0ZQd5m3xw1u3oYgkqPWqkz3ZfXq6zZ7l3ZQnXkA"},
    "cloud": {"repository": "s3:https://s3.example.org/bucket"},
}


def stated(c):
    def edit(field, value, secret):
        return control_pb2.FieldEdit(field=field, op=control_pb2.SET, **({"secret": value.encode()} if secret else {"value": value}))
    edits = [control_pb2.ObjectEdit(verb=control_pb2.ADD, ref=control_pb2.Ref(kind=kind, instance=instance, name=name),
                                    fields=[edit(f, v, False) for f, v in PLAIN[name].items()] +
                                           [edit(f, v, True) for f, v in secrets.items() if v])
             for (kind, instance, name), secrets in SECRETS.items()]
    with c.link() as link:
        said = link.call(body("change", edits=edits, manner=control_pb2.Manner(no_wait=True)))
    assert said[-1].WhichOneof("body") == "outcome", said


def items(path):
    with open(path) as f:
        return {(i["kind"], i.get("instance", ""), i["name"] if "name" in i else ""): i for i in json.load(f)["items"]}


def nothing_said(c, *answers):
    told = c.tails() + "".join(a.out + a.err for a in answers)
    for line in ("export", "export -o json", "history -o json", "events -o json", "relay list -o json", "destination list -o json",
                 "diff --revision 1..", "destination show far", "task list"):
        said = c.ctl(line, code=(0, 1))
        told += said.out + said.err
    found = [n for n in range(1, 10) if CANARY % n in told]
    assert not found, found


def whole(c, tmp_path):
    """All that a file with secrets says, with their values."""
    path = str(tmp_path / f"whole{len(os.listdir(tmp_path))}.json")
    c.ctl(["export", "-o", "json", "--with-secrets", path])
    return items(path)


@pytest.mark.spec("F-170", "F-171")
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_new_controller_has_every_secret_back(cluster, tmp_path, form):
    """Relay logins and all of a destination, whatever signs they are of; nothing of them in an answer, an event or a log."""
    c, path = cluster.site(), str(tmp_path / f"site.{form}")
    stated(c)
    os.umask(0)
    try:
        said = c.ctl(["export", "-o", form, "--with-secrets", path])
    finally:
        os.umask(0o022)
    assert f"{path}: " in said.out or json.loads(said.out)["file"] == path
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.listdir(tmp_path) == [os.path.basename(path)]
    assert c.ctl("events").out.count("secrets shown") == len(SECRETS)
    nothing_said(c, said)
    before = whole(c, tmp_path)
    for (kind, instance, name), secrets in SECRETS.items():
        for field, value in secrets.items():
            assert before[kind, instance, name].get(field.replace("-", "_")) == (value or None), (name, field)

    revision = c.revision   # said again, it is nothing
    assert "nothing" in c.ctl(["apply", "-f", path]).out and c.revision == revision
    assert c.ctl(["diff", "-f", path]).out.strip() == ""
    with Cluster(nodes=0) as new:
        applied = new.ctl(["apply", "--no-wait", "-f", path], code=(0, 7))
        assert whole(new, tmp_path) == before
        nothing_said(new, applied)
        for c_ in (c, new):   # sealed in the store
            with open(os.path.join(c_.root, "var/lib/mailnode/controller/store.db"), "rb") as f:
                assert b"ca1nary" not in f.read() and sqlite3.connect(f.name).execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.spec("F-170")
def test_a_file_with_secrets_changes_them(cluster, tmp_path):
    """What differs is changed, what is (hidden) stays, what is left out goes; what is wrong is said without the value."""
    c, path = cluster.site(), tmp_path / "site.yaml"
    stated(c)
    relay = "  - {kind: relay, instance: main, name: default, host: smart.example.net, user: us, password: %s}\n"
    head = "version: 1\nsecrets: stated\nitems:\n"

    def applied(text, code=0):
        path.write_text(text)
        said = c.ctl(["apply", "--no-wait", "-f", str(path)], code=code)
        assert "nary" not in said.out + said.err, said
        return said

    applied(head + relay % '"ca6nary"', code=(0, 7))
    assert whole(c, tmp_path)["relay", "main", "default"]["password"] == "ca6nary"
    shown = c.ctl(["diff", "-f", str(path)])
    assert shown.out.strip() == ""
    path.write_text(head + relay % '"ca7nary"')
    shown = c.ctl(["diff", "-f", str(path)], code=1)
    assert "password: (hidden)" in shown.out and "nary" not in shown.out + shown.err, shown
    applied(head + relay % "(hidden)", code=(0, 7))
    assert whole(c, tmp_path)["relay", "main", "default"]["password"] == "ca6nary"
    revision = c.revision
    for text, says in ((f"version: 1\nitems:\n{relay % 'ca8nary'}", "site.yaml:3: relay default of main: password: a secret is not written here"),
                       (f"version: 1\nitems:\n{relay % 'ca8nary'}secrets: stated\n", "a secret is not written here"),
                       (f"version: 1\nitems: []\nsecrets: stated\n", "site.yaml:3: secrets: belongs before items"),
                       (f"version: 1\nsecrets: yes\nitems:\n{relay % 'ca8nary'}", "site.yaml:2: secrets: write secrets: stated"),
                       (head + relay % '"ca8nary', "no YAML"), (head + relay % '"ca8nary" "ca9nary"', "no YAML"),
                       (head + relay % "'ca8nary\\", "no YAML"), (head + relay % "[ca8nary]", "one value is wanted"),
                       (head + relay % '"' + "ca8nary" * 200 + '"', ""), (head + relay % '""', "password: empty"),
                       (head + (relay % ("ca8nary" * 200)), "password: 1400 octets: at most 1024"),
                       ('{"version":1,"secrets":"stated","items":[{"kind":"relay","password":"ca8nary}]}', "no JSON"),
                       ('{"version":1,"secrets":"stated","items":[{"kind":"relay","password":ca8nary}]}', "no JSON")):
        said = applied(text, code=3)
        assert says in said.err and c.revision == revision, (text, said)
    path.write_text(head + "  - {kind: relay, instance: main, name: default, host: smart.example.net}\n")
    c.ctl(["apply", "--no-wait", "-f", str(path)], code=(0, 7))
    assert "password" not in whole(c, tmp_path)["relay", "main", "default"]


@pytest.mark.spec("F-170", "F-179")
def test_what_the_controller_makes_is_not_stated(cluster, tmp_path):
    """The pair of a user domain with replicas is no part of a file, and one that a file states is left alone, and nowhere kept."""
    c, path = cluster.site(), tmp_path / "site.yaml"
    stated(c)
    c.ctl("node add mx2")
    c.ctl("user-domain set staff replicas=mx2 listen=127.0.0.1 --no-wait", code=(0, 7))

    def rows():
        with contextlib.closing(sqlite3.connect(c.store)) as db:
            return db.execute("SELECT id FROM secret ORDER BY id").fetchall()

    before, revision, count = rows(), c.revision, c.ctl("events").out.count("secrets shown")
    c.ctl(["export", "--with-secrets", str(path)])
    text = path.read_text()
    assert "PRIVATE" not in text and 'replication: "(hidden)"' in text and "ca1nary" in text
    assert c.ctl("events").out.count("secrets shown") == count + len(SECRETS)
    for pair in ("(hidden)", "ca6nary"):
        path.write_text(text.replace('replication: "(hidden)"', f'replication: "{pair}"'))
        assert "nothing" in c.ctl(["apply", "-f", str(path)]).out, pair
        assert (c.revision, rows()) == (revision, before), pair
    with Cluster(nodes=0) as new:   # it makes its own
        new.ctl(["apply", "--no-wait", "-f", str(path)], code=(0, 7))
        assert 'replication: "(hidden)"' in new.export("yaml")
        with contextlib.closing(sqlite3.connect(new.store)) as db:
            assert db.execute("SELECT count(*) FROM secret WHERE scope='user-domain/staff'").fetchone() == (1,)


@pytest.mark.spec("F-171", "S42")
def test_who_may_not_have_secrets_gets_no_file(cluster, tmp_path):
    """One line, no file, and an event that says who asked; over CURVE as on the machine itself."""
    c = cluster.site()
    stated(c)
    shared = os.path.join(c.folder, "shared")
    os.mkdir(shared)
    os.chmod(shared, 0o777)
    who = {"looker": ("viewer", 21001, ""), "helper": ("operator", 21002, ""), "chief": ("admin", 21003, "instances=main")}
    for name, (role, uid, more) in who.items():
        c.ctl(f"admin add {name} role={role} uid={uid} {more}")
        said = c.ctl(["export", "--with-secrets", f"{shared}/{name}"], code=6, uid=uid)
        assert said.out == "" and len(said.err.splitlines()) == 1 and f"{name} (uid {uid}) may not read secrets" in said.err, said
        assert os.listdir(shared) == []
        event = [e for e in c.ctl("events").out.splitlines() if "secrets refused" in e and name in e]
        assert len(event) == 1, event
    c.ctl(["export", "--with-secrets", f"{shared}/x"], code=6, uid=21009)   # nobody's: no event, which anybody could write
    assert c.ctl("events").out.count("secrets refused") == len(who) and "secrets shown" not in c.ctl("events").out
    nothing_said(c)
    far = {role: fresh_keys() for role in ("viewer", "admin")}
    for role, keys in far.items():
        c.ctl(f"admin add far-{role} role={role} key=-", stdin=keys[0])
        identity = tmp_path / role
        identity.write_text(json.dumps({"public_key": keys[0], "secret_key": keys[1], "controller_key": c.key,
                                        "endpoints": [c.endpoint], "node": "admin"}))
        identity.chmod(0o600)
    path = str(tmp_path / "far.json")
    remote = [paths.REMOTE, "export", "-o", "json", "--with-secrets", path, "--identity"]
    assert run([*remote, str(tmp_path / "viewer")], timeout=30).code == 6 and not os.path.exists(path)
    said = run([*remote, str(tmp_path / "admin")], timeout=30)
    assert said.code == 0 and stat.S_IMODE(os.stat(path).st_mode) == 0o600, said
    assert items(path) == whole(c, tmp_path)


@pytest.mark.spec("F-171")
def test_only_a_new_file_takes_secrets(cluster, tmp_path):
    c, there = cluster.site(), tmp_path / "there"
    stated(c)
    there.write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path, code, says in ((there, 6, "is there already"), (tmp_path / "link", 6, "is there already"), ("/dev/null", 6, "is there already"),
                             (tmp_path / "no" / "where", 10, "No such file"), ("-", 2, "the name of a new file"), ("", 2, "the name of a new file")):
        said = c.ctl(["export", "--with-secrets", str(path)], code=code)
        assert says in said.err and said.out == "", said
    assert there.read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["link", "there"] and os.path.islink(tmp_path / "link")
    assert "secrets shown" not in c.ctl("events").out   # nothing was asked for in vain
    c.ctl(["export", "-o", "name", "--with-secrets", str(tmp_path / "new")], code=2)
