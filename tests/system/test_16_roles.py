"""Section 16: who may do what (F-171), on the local socket by user id, over CURVE by key."""
import os
import subprocess

import pytest

from harness import paths
from harness.ctl import run
from harness.wire import PUBLISHED, fresh_keys

VIEWER, OPERATOR, ADMIN, LIMITED_OPERATOR, LIMITED_ADMIN, GROUP, NOBODY = range(20001, 20008)
WHO = ["viewer", "operator", "admin", "limited operator", "limited admin"]

# What is asked -> who may: v(iewer) o(perator) a(dmin), l: an operator limited to main, m: an admin limited to main.
# The address and policy are of main; 'second' is another instance.
TABLE = [
    ("status", "voalm"), ("export", "voalm"), ("history", "voalm"), ("events", "voalm"), ("task list", "voalm"),
    ("address list", "voalm"), ("node list", "voalm"), ("node show mx1", "voalm"), ("admin list", "voalm"), ("explain address.to", "voalm"),
    ("wait", "voalm"), ("diff --revision 1..2", "voalm"),
    ("address add {new}@example.org to=alice", "oalm"), ("address set info@example.org internal=yes", "oalm"),
    ("address remove info@example.org --if-exists", "oalm"),
    ("mailbox set alice quota=1G -i main", "oalm"), ("mailbox disable bob -i main", "oalm"),
    ("address add {new}@example.net to=alice", "oa"), ("mailbox set alice quota=1G -i second", "oa"),
    ("domain add {new}.example.org -i main", "am"), ("domain set example.org description={new}", "am"),
    ("domain set example.net description={new}", "a"),
    ("policy set default-quota=5G -i main", "am"), ("policy set default-quota=5G -i second", "a"),
    ("settings show", "voalm"), ("settings set message-size=90M -i main", "am"), ("filter set junk=x -i main", ""),
    ("filter set deny=20 -i main", "am"), ("filter set deny=20 -i second", "a"),
    ("tls set follow-key=/k follow-certificate=/c -i main", "am"), ("tls set follow-key= follow-certificate= -i second", "a"),
    ("user list -u staff", "voalm"), ("user add {new} -u staff", "oalm"), ("group set {new} members=alice -u staff", "oalm"),
    ("doctor mx1", "a"),
    ("destination list", "voalm"), ("plan list", "voalm"), ("backup status", "voalm"),
    ("destination add {new} repository=local:/srv/backup", "a"), ("plan remove nobody --if-exists", "a"),
    ("instance set main description=x", ""), ("instance set main running=yes hostname={new}.example.org", "am"),
    ("instance set second hostname={new}.example.org", "a"),
    ("node set mx1 description={new}", "a"), ("node add {new}", "a"), ("node revoke mx9 --yes", "a"),
    ("node resync mx1", "a"), ("node check mx1", "a"), ("user-domain set staff listen=127.0.0.1", "a"),
    ("admin add {new} role=viewer uid=33333", "a"), ("admin remove nobody-here --if-exists", "a"),
    ("revert {last}", "a"), ("rollback {last} -i main --yes", "am"), ("apply -f -", "a"),
]


def people(c):
    c.ctl(f"admin add viewer role=viewer uid={VIEWER}")
    c.ctl(f"admin add operator role=operator uid={OPERATOR}")
    c.ctl(f"admin add boss role=admin uid={ADMIN}")
    c.ctl(f"admin add helpdesk role=operator uid={LIMITED_OPERATOR} instances=main")
    c.ctl(f"admin add chief role=admin uid={LIMITED_ADMIN} instances=main")


@pytest.mark.spec("F-171", "S42")
@pytest.mark.nodes(2)
def test_every_verb_for_every_role(cluster):
    """Allowed is what is not answered 'denied' (6 with that word); what is denied changes nothing."""
    c = cluster.site()
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    c.ctl("node add mx9")
    people(c)
    uids = {"v": VIEWER, "o": OPERATOR, "a": ADMIN, "l": LIMITED_OPERATOR, "m": LIMITED_ADMIN}
    wrong, n = [], 0
    for line, may in TABLE:
        for letter, uid in uids.items():
            if "{last}" in line:
                c.ctl("address add last@example.org to=alice --may-exist")
                c.ctl(f"address set last@example.org description=n{n}")
            n += 1
            last = c.revision
            ask = line.format(new=f"n{n}", last=last)
            stdin = f"version: 1\nitems:\n  - kind: address\n    instance: main\n    name: x{n}@example.org\n    to: [user:alice]\n"
            said = c.ctl(ask, uid=uid, code=None, stdin=stdin if line.startswith("apply") else None)
            denied = said.code == 6 and ("denied" in said.err or "may not" in said.err or "not allowed" in said.err or "role" in said.err)
            if denied == (letter in may) and may:
                wrong.append(f"{letter}: {ask}: exit {said.code}: {said.err.strip()}")
            if denied and c.revision != last:
                wrong.append(f"{letter}: {ask}: denied, and something changed")
            if not may and said.code == 0:
                wrong.append(f"{letter}: {ask}: should not exist")
    assert not wrong, "\n".join(wrong)


@pytest.mark.spec("F-171", "F-058")
@pytest.mark.nodes(2)
def test_who_may_add_a_public_mailbox_may_bring_it_back(cluster):
    """By its role, in its instances; 'revert' stays the admin's, also of the very same revision."""
    c = cluster.site()
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    people(c)
    may = {"main": (OPERATOR, ADMIN, LIMITED_OPERATOR, LIMITED_ADMIN), "second": (OPERATOR, ADMIN)}
    for instance, who in may.items():
        c.ctl(f"public-mailbox add Sales acl=user:alice:full -i {instance}")
        before = c.ctl(f"export -i {instance}").out
        for uid in (VIEWER, OPERATOR, ADMIN, LIMITED_OPERATOR, LIMITED_ADMIN):
            c.ctl(f"public-mailbox remove Sales -i {instance} --yes")
            gone = c.revision
            if uid in who:
                c.ctl(f"public-mailbox undelete Sales -i {instance}", uid=uid)
                assert c.ctl(f"export -i {instance}").out == before
                continue
            said = c.ctl(f"public-mailbox undelete Sales -i {instance}", uid=uid, code=6)
            assert "may not bring a public mailbox back" in said.err and c.revision == gone, said
            c.ctl(f"revert {gone}")
        c.ctl(f"public-mailbox remove Sales -i {instance} --yes")
        c.ctl(f"revert {c.revision}", uid=OPERATOR, code=6)


@pytest.mark.spec("F-171", "S42")
def test_user_without_an_entry_is_refused(site):
    c = site
    for line in ("status", "address list", "export", "address add x@example.org to=alice", "task list", "events"):
        said = c.ctl(line, uid=NOBODY, code=6)
        assert said.out == "" and len(said.err.strip().splitlines()) <= 2, said
    # A group's members may; and no longer when the entry is gone.
    c.ctl("admin add team role=viewer group=mailtables")
    import grp
    gid = grp.getgrnam("mailtables").gr_gid
    c.ctl("address list", uid=GROUP, gid=gid)
    c.ctl("address list", uid=GROUP, groups=[gid], code=(0, 6))
    c.ctl("address add x@example.org to=alice", uid=GROUP, gid=gid, code=6)
    c.ctl("admin remove team")
    c.ctl("address list", uid=GROUP, gid=gid, code=6)


@pytest.mark.spec("F-171")
def test_a_limited_admin_cannot_widen_itself(site):
    c = site
    people(c)
    for line in (f"admin set chief instances=", f"admin add x role=admin uid={LIMITED_ADMIN}", "admin set helpdesk role=admin"):
        c.ctl(line, uid=LIMITED_ADMIN, code=6)
        c.ctl(line.replace("chief", "helpdesk"), uid=LIMITED_OPERATOR, code=6)


def remote(c, tmp, keys, line, server_key=None):
    """mailctl-remote with a key pair of its own."""
    identity = os.path.join(tmp, f"admin-{keys[0][:4].encode().hex()}.json")
    import json
    with open(identity, "w") as f:
        json.dump({"public_key": keys[0], "secret_key": keys[1], "controller_key": server_key or c.key,
                   "endpoints": [c.endpoint], "node": "admin"}, f)
    os.chmod(identity, 0o600)
    return run([paths.REMOTE, "--identity", identity, *line.split()], timeout=30)


@pytest.mark.spec("F-171", "S32")
def test_remote_admins_by_key(site, tmp_path):
    c = site
    viewer, admin, stranger = fresh_keys(), fresh_keys(), fresh_keys()
    (tmp_path / "viewer.key").write_text(viewer[0] + "\n")
    (tmp_path / "admin.key").write_text(admin[0] + "\n")
    c.ctl(f"admin add far-viewer role=viewer key=@{tmp_path}/viewer.key")
    c.ctl(f"admin add far-admin role=admin key=@{tmp_path}/admin.key")
    assert remote(c, tmp_path, viewer, "address list").code == 0
    assert remote(c, tmp_path, viewer, "address add a@example.org to=alice").code == 6
    said = remote(c, tmp_path, admin, "address add a@example.org to=alice")
    assert said.code == 0 and "in force" in said.out, said
    said = remote(c, tmp_path, stranger, "status")
    assert said.code in (6, 8), said
    said = remote(c, tmp_path, admin, "status", server_key=fresh_keys()[0])
    assert said.code == 8, said
    c.ctl("admin remove far-admin")
    assert remote(c, tmp_path, admin, "address list").code in (6, 8)
    for public, _ in PUBLISHED:
        (tmp_path / "p.key").write_text(public)
        c.ctl(f"admin add evil role=admin key=@{tmp_path}/p.key", code=3)
    # A node's key is no admin's.
    node = c["mx1"].identity
    assert remote(c, tmp_path, (node["public_key"], node["secret_key"]), "status").code in (6, 8)


@pytest.mark.spec("B45")
@pytest.mark.parametrize("env", [{"HOME": None}, {"LANG": "tr_TR.UTF-8", "LC_ALL": "tr_TR.UTF-8"}, {"TZ": "Pacific/Apia"},
                                 {"TERM": None, "COLUMNS": "3"}, {"PATH": ""}, {"LC_ALL": "C"}], ids=lambda e: "-".join(e))
def test_environment_changes_nothing(site, env):
    c = site
    c.ctl("address add INFO@example.org to=alice", env=env)
    assert c.ctl("address list -o name", env=env).names == ["info@example.org", "postmaster@*"]
    plain = c.ctl("export").out
    assert c.ctl("export", env=env).out == plain


@pytest.mark.spec("B45")
def test_umask_closed_streams_and_broken_pipes(site):
    c = site
    env = {"MAILNODE_ROOT": c.root, "PATH": os.environ["PATH"]}
    ctl = str(paths.MAILCTL)
    done = subprocess.run(["bash", "-c", f"{ctl} address add a@example.org to=alice <&-"], env=env)
    assert done.returncode == 0
    subprocess.run(["bash", "-c", f"{ctl} address add b@example.org to=alice >&- 2>&-"], env=env)
    assert "b@example.org" in c.ctl("address list -o name").names
    c.ctl("apply -f -", stdin="version: 1\nitems:\n" + "".join(
        f"  - {{kind: address, instance: main, name: x{i}@example.org, to: [user:alice]}}\n" for i in range(3000)))
    done = subprocess.run(["bash", "-c", f"{ctl} address list | head -1; exit ${{PIPESTATUS[0]}}"], env=env,
                          capture_output=True, text=True, timeout=20)
    assert done.returncode in (0, 1, 10, 141) and "Sanitizer" not in done.stderr, done
    full = subprocess.run(["bash", "-c", f"{ctl} export > /dev/full"], env=env, capture_output=True, text=True)
    assert full.returncode == 10 and full.stderr.startswith("mailctl: "), full
    # Programs started with umask 000 make no file that others may write.
    os.umask(0)
    try:
        c.restart()
        c["mx1"].stop()
        c["mx1"].start(wait=True)
        c.ctl("address add c@example.org to=alice")
    finally:
        os.umask(0o022)
    for folder, _, files in os.walk(c.folder):
        for name in files:
            path = os.path.join(folder, name)
            if not name.endswith((".log", ".json", ".sock")) and "mailctl" not in name and "main.cf" not in name:
                assert os.stat(path).st_mode & 0o027 in (0, 0o40 & 0o027) or os.stat(path).st_mode & 0o007 == 0, path
                by_group = 0 if os.path.basename(folder) == "shares" else 0o020   # there Dovecot's dict process writes, too
                assert os.stat(path).st_mode & (0o002 | by_group) == 0, path
