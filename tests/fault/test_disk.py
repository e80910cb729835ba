"""R10: the disk is full at a commit; R08/R09: own files that are torn or flipped."""
import os

import pytest

from harness import Cluster, wait_until
from harness.disk import SmallDisk


def big(c, n):
    """A change that does not fit into what a database has left of its pages."""
    import json
    items = [{"kind": "address", "instance": "main", "name": f"big{n}x{i}@example.org", "to": ["user:alice"],
              "description": "x" * 190} for i in range(400)]
    return c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": items}), code=None, timeout=90)


@pytest.mark.spec("R10")
def test_controllers_disk_is_full():
    with Cluster(start=False) as c:
        with SmallDisk(c, os.path.join(c.root, "var/lib/mailnode")) as disk:
            c.init()
            c.start()
            c.add_node("mx1")
            c.site()
            before = c.export()
            disk.fill()
            said = [big(c, i) for i in range(3)]
            assert all(s.code == 10 for s in said[-1:]), said
            assert len(said[-1].err.strip().splitlines()) <= 2 and "full" in said[-1].err or "space" in said[-1].err, said[-1]
            assert c.controller.running()
            assert c.ctl("status", code=(0, 1)) and len(c.export()) >= len(before)
            disk.free()
            assert big(c, 9).code == 0
            c.ctl("address add info@example.org to=alice")
            assert c["mx1"].tables.lookup("alias", "info@example.org")
            c.stop()
            c["mx1"].stop()


@pytest.mark.spec("R10")
def test_nodes_disk_is_full():
    with Cluster() as c:
        node = c.new_node("mx1")
        with SmallDisk(c, os.path.join(node.root, "var/lib/mailnode")) as disk:
            node.join()
            node.start(wait=True)
            c.site()
            c.ctl("address add info@example.org to=alice")
            disk.fill()
            codes = []
            for i in range(3):
                items = c.ctl(["apply", "-f", "-", "--timeout", "3s"], code=None, stdin="version: 1\nitems:\n" + "".join(
                    f"  - {{kind: address, instance: main, name: f{i}x{k}@example.org, to: [user:alice], description: {'x' * 190}}}\n"
                    for k in range(400)))
                codes.append(items.code)
            assert codes[-1] == 7, items
            assert node.tables.lookup("alias", "info@example.org"), "what was there still answers"
            wait_until(lambda: any(f["state"] in ("bad", "degraded") for f in
                                   c.ctl("node show mx1 -o json", code=(0, 1)).json["items"][0].get("facts", [])) or
                       "space" in c.ctl("events", code=None).out or "full" in c.ctl("events", code=None).out or
                       not node.agent.running(), "it is shown")
            assert node.agent.running(), node.agent.output()
            disk.free()
            wait_until(lambda: node.tables.lookup("alias", "f2x399@example.org"), "applied by itself", 60)
            c.ctl("wait", timeout=40)
            node.stop()


@pytest.mark.spec("R09", "R08")
@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "readable by others"])
@pytest.mark.parametrize("who", ["controller", "node"])
def test_spoilt_identity_is_named(cluster, who, how):
    c = cluster
    node = c["mx1"]
    path = (c.root + "/etc/mailnode/controller/identity") if who == "controller" else node.root + "/etc/mailnode/node/identity"
    (c if who == "controller" else node).stop()
    octets = open(path, "rb").read()
    stat = os.stat(path)
    if how == "readable by others":
        os.chmod(path, 0o644)
    else:
        spoilt = {"flipped": octets.replace(b'"', b"\x00", 3), "truncated": octets[:len(octets) // 2], "empty": b""}[how]
        with open(path, "wb") as f:
            f.write(spoilt)
    if who == "controller":
        c.start(wait=False)
        ended = c.controller
    else:
        ended = node.start().agent
    assert ended.wait() not in (0, -9, -11, -6)
    assert "identity" in ended.output() and len(ended.output().strip().splitlines()) <= 4, ended.output()
    with open(path, "wb") as f:
        f.write(octets)
    os.chmod(path, stat.st_mode & 0o777)
    c.start() if who == "controller" else node.start()
    node.wait_online()


@pytest.mark.spec("R08", "R09")
@pytest.mark.parametrize("how", ["garbage", "truncated"])
def test_damaged_store_is_named_and_left_alone(site, how):
    c = site
    c.ctl("address add info@example.org to=alice")
    c.stop()
    for more in ("-wal", "-shm"):
        if os.path.exists(c.store + more):
            os.unlink(c.store + more)
    octets = open(c.store, "rb").read()
    with open(c.store, "r+b") as f:
        if how == "truncated":
            f.truncate(len(octets) // 2)
        else:
            f.seek(4096)
            f.write(os.urandom(len(octets) - 4096))
    spoilt = open(c.store, "rb").read()
    c.start(wait=False)
    assert c.controller.wait() == 10
    assert "store.db" in c.controller.output(), c.controller.output()
    assert open(c.store, "rb").read()[:len(spoilt)] == spoilt   # what a person may still want to read is not touched
    assert c["mx1"].tables.lookup("alias", "info@example.org")
    with open(c.store, "wb") as f:
        f.write(octets)
    c.start()
    c["mx1"].wait_online()
