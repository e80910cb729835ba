"""The units of packaging/systemd: what they let a program write is what it writes."""
import os
import sqlite3

import pytest

from harness import paths, wait_until
from harness.program import Program

# As systemd does it: all is read-only but these; the user is the unit's, and has nothing of root.
SANDBOX = """root=$1; shift
mount --bind "$root" "$root" && for path; do mount --bind "$root$path" "$root$path" || exit 1; done
mount -o remount,ro,bind "$root" || exit 1
exec setpriv --reuid $ACCOUNT --regid $ACCOUNT --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all $PROGRAM --root "$root"
"""


def unit(name):
    with open(paths.TREE / "packaging/systemd" / name) as f:
        return dict(line.strip().split("=", 1) for line in f if "=" in line and not line.startswith("#"))


def in_unit(name, root, program, log, env=None):
    says = unit(name)
    writable = says["ReadWritePaths"].split() + ["/var/lib/" + says["StateDirectory"]]
    if "RuntimeDirectory" in says:
        writable.append("/run/" + says["RuntimeDirectory"])
    return Program(name, ["unshare", "-m", "bash", "-c", SANDBOX, "sandbox", root, *writable], log,
                   {"PROGRAM": program, "ACCOUNT": says["User"], **(env or {})})


def is_sandbox(program, root):
    with pytest.raises(OSError, match="Read-only"):
        open(f"/proc/{program.pid}/root{root}/outside", "w").close()


@pytest.mark.nodes(1)
def test_the_controller_writes_where_its_unit_lets_it(cluster):
    c = cluster.site()
    c.stop()
    c.controller = in_unit("mail-controller.service", c.root, f"{paths.CONTROLLER} --report-ms 200", c.log)
    c.wait_answers()
    is_sandbox(c.controller, c.root)
    c["mx1"].wait_online()
    c.ctl("address add units@example.org to=alice")
    c.ctl("domain add units.example.org")   # a key is made
    c["mx1"].stop()
    assert c.ctl("node replace mx1 --yes").out
    assert "Read-only" not in c.controller.output(), c.controller.output()


@pytest.mark.spec("F-179")
@pytest.mark.nodes(1)
def test_the_agent_writes_where_its_unit_lets_it(cluster):
    c = cluster.site()
    node = c["mx1"]
    node.stop()
    os.unlink(os.path.join(node.root, "var/lib/mailnode/shares/shares.db"))
    node.agent = in_unit("mail-agent.service", node.root, paths.AGENT, node.log, {"MAILNODE_BOOT_ID": node.boot_id})
    node.wait_online()
    is_sandbox(node.agent, node.root)
    c.ctl("address add units@example.org to=alice")
    c.ctl("relay add default host=smart.example.net user=us password=-", stdin="secret of relay")
    c.ctl("domain add units.example.org")
    c.ctl("node add mx2")
    c.ctl("user-domain set staff listen=127.0.0.1 replicas=mx2", code=7)   # mx2 has not joined
    state = os.path.join(node.root, "var/lib/mailnode")
    pairs = lambda: os.listdir(os.path.join(state, "replication"))   # noqa: E731
    wait_until(lambda: len(pairs()) == 1, "the pair is there")
    c.ctl("user-domain set staff listen= replicas=", code=7)
    wait_until(lambda: pairs() == [], "and gone", 20)
    assert os.listdir(os.path.join(state, "tables/dkim"))
    with sqlite3.connect(os.path.join(state, "shares/shares.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    c.ctl("wait --node mx1 --timeout 20s")
    for words in ("Read-only", "not listed", "error mail-agent"):
        assert words not in node.agent.output(), node.agent.output()
