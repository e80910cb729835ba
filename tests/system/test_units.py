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
exec setpriv --reuid mailagent --regid mailagent --init-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$AGENT" --root "$root"
"""


def unit(name):
    with open(paths.TREE / "packaging/systemd" / name) as f:
        return dict(line.strip().split("=", 1) for line in f if "=" in line and not line.startswith("#"))


@pytest.mark.spec("F-179", "F-055", "F-164")
@pytest.mark.nodes(1)
def test_the_agent_writes_where_its_unit_lets_it(cluster):
    c = cluster.site()
    node = c["mx1"]
    node.stop()
    os.unlink(os.path.join(node.root, "var/lib/mailnode/shares/shares.db"))
    says = unit("mail-agent.service")
    writable = says["ReadWritePaths"].split() + ["/var/lib/" + says["StateDirectory"]]
    node.agent = Program("agent in its unit", ["unshare", "-m", "bash", "-c", SANDBOX, "sandbox", node.root, *writable], node.log,
                         {"MAILNODE_BOOT_ID": node.boot_id, "AGENT": str(paths.AGENT)})
    node.wait_online()
    with pytest.raises(OSError):   # it is a sandbox
        open(f"/proc/{node.agent.pid}/root{node.root}/outside", "w").close()

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
