"""Section 16: the desired state, its text form and its history (F-169, F-170)."""
import json

import pytest

from harness import Cluster, wait_until
import desired_pb2


def revision(c):
    return c.ctl("status -o json", code=None).json["revision"]


def apply(c, items, flags="", code=0, **more):
    return c.ctl(f"apply -f - {flags}", stdin=json.dumps({"version": 1, "items": items}), code=code, **more)


def address(name, *to, **more):
    return {"kind": "address", "instance": "main", "name": name, "to": list(to), **more}


@pytest.mark.spec("F-169")
def test_history_tells_who_when_what(site):
    c = site
    c.ctl("address add info@example.org to=alice -m 'first address'")
    c.ctl("address set info@example.org to=bob")
    rows = c.ctl("history -o json").items
    assert [r["revision"] for r in rows] == sorted((r["revision"] for r in rows), reverse=True)
    assert rows[1]["message"] == "first address" and rows[0]["who"] == "root" and rows[0]["time"] and rows[0]["count"] == 1
    of_one = c.ctl("history address/info@example.org -o json").items
    assert [r["revision"] for r in of_one] == [rows[0]["revision"], rows[1]["revision"]]
    a, b = rows[1]["revision"], rows[0]["revision"]
    shown = c.ctl(f"diff --revision {a}..{b}", code=1).out
    assert "user:alice" in shown and "user:bob" in shown and shown.lstrip()[0] in "~-+"
    assert c.ctl(f"diff --revision {b}..{b}", code=0).out == ""


@pytest.mark.spec("F-169")
def test_revert_and_its_conflict(site):
    c = site
    c.ctl("address add info@example.org to=alice")
    c.ctl("address set info@example.org to=bob")
    changed = revision(c)
    c.ctl("address add other@example.org to=carol")
    c.ctl(f"revert {changed}")
    assert c["mx1"].tables.lookup("alias", "info@example.org").startswith("alice@")
    assert c["mx1"].tables.lookup("alias", "other@example.org")
    # Touched since: a conflict that names both.
    c.ctl("address set info@example.org to=carol")
    later = revision(c)
    before = c.export()
    said = c.ctl(f"revert {changed}", code=6)
    assert str(changed) in said.err and "info@example.org" in said.err, (said, later)
    assert c.export() == before


@pytest.mark.spec("F-169")
@pytest.mark.nodes(2)
def test_rollback_takes_one_instance_back(cluster):
    c = cluster.site()
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    then = revision(c)
    c.ctl("address add info@example.org to=alice")
    c.ctl("address add info@example.net to=alice")
    c.ctl("domain set example.org user-addresses=no")
    c.ctl("policy set default-quota=5G -i main")
    assert c.ctl(f"rollback {then}", code=2)
    c.ctl(f"rollback {then} -i main --yes")
    left = {(i["kind"], i.get("name")): i for i in c.export()}
    assert ("address", "info@example.net") in left and ("address", "info@example.org") not in left
    assert left["domain", "example.org"].get("user_addresses", True) is True
    assert c["mx1"].tables.lookup("alias", "info@example.org") is None
    assert c["mx2"].tables.lookup("alias", "info@example.net")


@pytest.mark.spec("F-169")
def test_removed_instance_comes_back_whole(site):
    c = site
    c.ctl("address add info@example.org to=alice,bob")
    c.ctl("policy set default-quota=5G")
    before, rows = c.export(), c["mx1"].tables.rows()
    c.ctl("instance remove main --yes")
    assert not c["mx1"].tables.query("SELECT 1 FROM domain WHERE class<>'!'")
    c.ctl(f"revert {revision(c)}")
    assert c.export() == before
    after = c["mx1"].tables.rows()
    for table in ("domain", "rcpt", "expand", "policy"):
        assert after[table] == rows[table]


def everything(c):
    """Each kind, with every field set somewhere, and names in other scripts."""
    c.site(domains=["example.org", "exämple.net", "gone.example.org"])
    c.ctl("node set mx1 description='Räck 7: \"left\"; # no comment'")
    c.ctl("admin add helpdesk role=operator uid=12345 instances=main")
    c.ctl("admin add team role=viewer group=nogroup")
    c.ctl("address add info@* to=alice,group:sales,x@far.example.com internal=yes description='yes'")
    c.ctl(["address", "add", "o'neil@exämple.net", "to=bob"])
    c.ctl("address add kept@gone.example.org to=bob")
    c.ctl("domain remove gone.example.org --yes")
    c.ctl("mailbox set alice enabled=no forward=a@b.example.com,c@d.example.com keep-copy=no quota=1536Mi spam-retention=3d")
    c.ctl("mailbox set bob quota=unlimited spam-retention=off")
    c.ctl("policy set default-quota=500M spam-retention=20d sender-login-match=include-groups sender-login-exempt=alice public-creators=alice,group:sales")
    c.ctl("domain set example.org user-addresses=no group-addresses=yes catch-all=user:bob description='no'")
    c.ctl("instance set main listen=127.0.0.1,::1 running=no")


@pytest.mark.spec("F-170")
@pytest.mark.parametrize("form", ["yaml", "json"])
def test_export_apply_export_is_the_identity(cluster, form):
    """Into the same controller, and into an empty one."""
    c = cluster
    everything(c)
    first, at = c.ctl(f"export -o {form}").out, revision(c)
    c.ctl("apply -f -", stdin=first)
    assert revision(c) == at, "the same again makes no revision"
    with Cluster() as other:
        other.ctl("apply -f - --no-wait", stdin=first, code=(0, 7))
        assert other.ctl(f"export -o {form}").out == first
    assert c.ctl("diff -f -", stdin=first).out == ""


@pytest.mark.spec("F-170")
def test_apply_removes_only_with_prune(site):
    c = site
    for name in ("a", "b", "c"):
        c.ctl(f"address add {name}@example.org to=alice")
    apply(c, [address("a@example.org", "user:bob")])
    assert c.ctl("address list -o name").names == ["a@example.org", "b@example.org", "c@example.org", "postmaster@*"]
    said = apply(c, [address("a@example.org", "user:carol")], "--prune --dry-run", code=1).out
    assert "b@example.org" in said and "c@example.org" in said and "- " in said
    assert len(c.ctl("address list -o name").names) == 4
    apply(c, [address("a@example.org", "user:carol")], "--prune --yes")
    assert c.ctl("address list -o name").names == ["a@example.org", "postmaster@*"]   # which must always be there
    assert c.ctl("domain list -o name").names == ["example.org"]  # a kind that the file does not name


ERRORS = [  # a file, and what the one line must hold
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: sales\n    to: [user:alice]\n", ["-:3", "sales", "@"]),
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n    too: [user:alice]\n", ["-:6", "too", "to"]),
    ("version: 1\nitems:\n  - kind: adress\n    name: a@example.org\n", ["adress", "address"]),
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n    to: [user:alice]\n    to: [user:bob]\n", ["-:7", "to"]),
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n    to: {a: b}\n", ["-:6", "to"]),
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n    to: [[[[[[[[[[[[x]]]]]]]]]]]]\n", ["-:6"]),
    ("version: 1\nitems:\n  - &x\n    kind: address\n  - *x\n", ["-:3"]),
    ("version: 9\nitems: []\n", ["version", "9"]),
    ("version: 1\nitems: []\nmore: 1\n", ["-:3", "more"]),
    ("version: 1\nversion: 1\nitems: []\n", ["-:2", "version"]),
    ("version: 1\nitems:\n  - kind: address\n    instance: main\n    name: a@example.org\n    to: [user:alice]\n    internal: maybe\n", ["-:7", "internal", "maybe"]),
    ("version: 1\nitems:\n - [\n", ["-:"]),
    ('{"version": 1, "items": []} trailing', ["-:1"]),
    ('{"version": 1, "items": [], "items": []}', ["items"]),
    ('{"version": 1, "items": [{"kind": "address", "kind": "address"}]}', ["kind"]),
    ("\ufeffversion: 1\nitems: []\n", ["BOM"]),
    ("", []),
    ("just text", []),
    ("- a\n- b\n", []),
    ("version: 1\nitems:\n  - kind: address\n    instance: nowhere\n    name: a@example.org\n    to: [user:alice]\n", ["-:3", "nowhere"]),
]


@pytest.mark.spec("F-170", "B37")
def test_errors_of_a_file_name_line_and_field(site):
    c = site
    before = c.export()
    wrong = []
    for text, words in ERRORS:
        said = c.ctl("apply -f -", stdin=text, code=None)
        first = said.err.strip().splitlines()[0] if said.err.strip() else ""
        if said.code not in (3, 4) or not first.startswith("mailctl: ") or not all(w in said.err for w in words):
            wrong.append((text, words, said))
    assert not wrong, "\n".join(map(repr, wrong))
    assert c.export() == before
    # CRLF and comments are fine.
    c.ctl("apply -f -", stdin="# site\r\nversion: 1\r\nitems:\r\n  - kind: address  # one\r\n    instance: main\r\n"
          "    name: crlf@example.org\r\n    to: [user:alice]\r\n")
    # One bad item among good ones: nothing of it.
    apply(c, [address(f"x{i}@example.org", "user:alice") for i in range(50)] + [address("x@nowhere.example", "user:alice")],
          code=(3, 4))
    assert not [n for n in c.ctl("address list -o name").names if n.startswith("x")]


@pytest.mark.spec("B37", "F-170")
def test_a_file_of_100_mb_is_refused(site, tmp_path):
    big = tmp_path / "big.yaml"
    with open(big, "w") as f:
        f.write("version: 1\nitems:\n")
        line = "  - {kind: address, instance: main, name: a@example.org, to: [user:alice]}\n"
        for _ in range(100_000_000 // (len(line) * 1000) + 1):
            f.write(line * 1000)
    big.chmod(0o644)
    said = site.ctl(f"apply -f {big}", code=3, timeout=120)
    assert "big.yaml" in said.err
    # One scalar of 50 MB, and brackets without end.
    for text in ("version: 1\nitems:\n  - kind: " + "x" * 50_000_000, '{"version": 1, "items": ' + "[" * 5_000_000):
        big.write_text(text)
        site.ctl(f"apply -f {big}", code=3, timeout=120)


@pytest.mark.spec("F-170")
def test_hundred_thousand_objects_are_one_revision(site):
    c = site
    before = revision(c)
    apply(c, [address(f"a{i:06}@example.org", "user:alice") for i in range(100000)], timeout=120)
    assert revision(c) == before + 1
    assert c["mx1"].tables.query("SELECT count(*) FROM rcpt WHERE scope='example.org'")[0][0] == 100000
    # It goes and comes as one, too.
    c.ctl(f"revert {before + 1}", timeout=120)
    assert c["mx1"].tables.query("SELECT count(*) FROM rcpt WHERE scope='example.org'")[0][0] == 0


@pytest.mark.spec("F-169")
def test_two_admins_on_different_fields_do_not_undo_each_other(site):
    import threading
    c = site
    c.ctl("address add info@example.org to=alice")
    fields = ["internal=yes", "description=one", "to+=bob", "to+=carol"]
    threads = [threading.Thread(target=c.ctl, args=(f"address set info@example.org {f}",)) for f in fields]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    shown = [i for i in c.export() if i["kind"] == "address"][0]
    assert shown["internal"] is True and shown["description"] == "one"
    assert sorted(shown["to"]) == ["user:alice", "user:bob", "user:carol"]


@pytest.mark.spec("F-170")
def test_dry_run_changes_nothing_and_says_what_would(site):
    c = site
    before = revision(c)
    said = c.ctl("address add info@example.org to=alice --dry-run", code=1)
    assert "+ " in said.out and "info@example.org" in said.out
    assert revision(c) == before and not c["mx1"].tables.lookup("alias", "info@example.org")
    c.ctl("address add info@example.org to=alice")
    assert c.ctl("address add info@example.org to=alice --may-exist --dry-run", code=0)
    c.ctl("address remove nobody@example.org --if-exists")
    c.ctl("address add info@example.org to=alice --may-exist")
    c.ctl("address add info@example.org to=alice", code=6)


@pytest.mark.spec("F-029", "F-167")
def test_refused_configuration_is_not_stored(site):
    """Asked of the engine before the commit: its words, exit 5, nothing stored; a later, good change applies."""
    c, engine = site, site["mx1"].engine
    before, objects = revision(c), engine.objects
    engine.refuse_prepare("postconf: fatal: override/postfix.d/site.cf, line 12: missing '='")
    said = c.ctl("instance set main hostname=mail.example.org", code=5)
    assert "line 12: missing '='" in said.err and revision(c) == before and engine.objects == objects
    c.ctl("address add info@example.org to=alice")  # a table asks no engine
    engine.relent()
    c.ctl("instance set main hostname=mail.example.org")
    assert [o.instance.hostname for o in engine.stated() if o.HasField("instance")] == ["mail.example.org"]


@pytest.mark.spec("F-167")
@pytest.mark.nodes(2)
def test_every_field_of_the_configuration_reaches_prepare(cluster):
    """Nothing of class config can be stated that the engine is not given."""
    c, engine = cluster.site(), cluster["mx1"].engine
    c.ctl("node set mx1 description=rack")
    c.ctl("instance set main listen=127.0.0.1 running=no")
    c.ctl("user-domain set staff replicas=mx2 listen=127.0.0.1")
    c.ctl("settings set message-size=50M queue-lifetime=48h delay-warning=4h junk=no junk-folder=Spam login-mode=security"
          " over-quota=reject restore-reserve=2Gi shared-seen=no")
    c.ctl("filter set antivirus=no infected=reject scanner-away=pass spam-flag=5.5 deny=12")
    c.ctl("tls set follow-certificate=/etc/ssl/mail.pem follow-key=/etc/ssl/mail.key")
    seen = {}
    for stated in engine.stated():
        member = getattr(stated, stated.WhichOneof("body"))
        seen.setdefault(member.DESCRIPTOR.name, set()).update(field.name for field, _ in member.ListFields())
    for name in ("Node", "Instance", "UserDomain", "Settings", "Filter", "Tls"):
        fields = {f.name for f in desired_pb2.DESCRIPTOR.message_types_by_name[name].fields}
        assert seen[name] == fields, (name, fields - seen[name])


@pytest.mark.spec("F-167", "F-029")
def test_refused_after_the_commit_is_taken_back(site):
    """The node was away when it was asked: a reverting revision, exit 5 for who waits, visible in the history."""
    c, node = site, site["mx1"]
    node.engine.refuse_switch("smtpd does not come up")
    said = c.ctl("instance set main hostname=mail.example.org", code=5)
    assert "smtpd does not come up" in said.err + said.out
    shown = [i for i in c.export() if i["kind"] == "instance"][0]
    assert shown["hostname"] == "mx1.example.org"
    assert any("refused by mx1" in (r.get("via") or "") for r in c.ctl("history -o json").items)
    node.engine.relent()
    c.ctl("instance set main hostname=mail2.example.org")


@pytest.mark.spec("F-167")
def test_a_held_node_takes_tables_and_shows_both_numbers(site):
    """Refused after later changes to the same object: the configuration stays, tables flow."""
    c, node = site, site["mx1"]
    node.stop()
    node.engine.refuse_prepare("no")
    c.ctl("instance set main hostname=a.example.org --no-wait", code=(0, 7))
    c.ctl("instance set main hostname=b.example.org --no-wait", code=(0, 7))
    c.ctl("instance set main running=no --no-wait", code=(0, 7))
    c.ctl("address add info@example.org to=alice --no-wait", code=(0, 7))
    node.start()
    wait_until(lambda: node.tables.lookup("alias", "info@example.org"), "tables flow")
    wait_until(lambda: node.status()["config_revision"] < node.status()["applied_revision"] or
               any("refused" in (r.get("via") or "") for r in c.ctl("history -o json").items), "held, or taken back")
    node.engine.relent()
    c.ctl("instance set main hostname=c.example.org running=yes")
    wait_until(lambda: [o.instance.hostname for o in node.engine.stated() if o.HasField("instance")] == ["c.example.org"],
               "a good change applies")


@pytest.mark.spec("R22", "B38")
@pytest.mark.parametrize("which", ["controller", "node"])
def test_a_newer_database_is_refused_with_both_numbers(site, which):
    import sqlite3
    c, node = site, site["mx1"]
    path = c.store if which == "controller" else node.node_db
    (c if which == "controller" else node).stop()
    db = sqlite3.connect(path)
    here = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {here + 1}")
    db.commit()
    db.close()
    if which == "controller":
        c.start(wait=False)
        ended = c.controller
    else:
        ended = node.start().agent
    assert ended.wait() == 10 or ended.process.returncode == 7
    assert str(here) in ended.output() and str(here + 1) in ended.output()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == here + 1
