"""Section 3 (and F-012 of section 2): domains, stated, listed, removed and back."""
import json
import time

import pytest

from harness.postfix import fates


@pytest.mark.spec("F-012")
@pytest.mark.nodes(2)
def test_primary_domain_and_one_instance_per_domain(cluster):
    c = cluster.site()
    domain = [i for i in c.export() if i["kind"] == "domain"]
    assert [d["name"] for d in domain] == ["example.org"]
    assert fates(c["mx1"].tables, ["alice@example.org"])["alice@example.org"].reply == "OK"
    c.ctl("instance add second node=mx2 hostname=mx2.example.net user-domain=staff mail-domain=example.net")
    said = c.ctl("domain add example.org -i second", code=6)
    assert "main" in said.err
    # An instance whose primary domain is taken is not there at all.
    c.ctl("node add mx3")
    said = c.ctl("instance add third node=mx3 hostname=mx3.example.net user-domain=staff mail-domain=example.org", code=6)
    assert "main" in said.err and "third" not in c.ctl("instance list -o name").names
    # Only the right node has the rows.
    assert not c["mx2"].tables.query("SELECT 1 FROM domain WHERE name='example.org'")
    assert c["mx2"].tables.query("SELECT 1 FROM domain WHERE name='example.net'")


@pytest.mark.spec("F-003")
@pytest.mark.nodes(1)
def test_second_instance_on_a_node_is_refused_by_name(cluster):
    c = cluster.site()
    said = c.ctl("instance add two node=mx1 hostname=b.example.org user-domain=staff mail-domain=example.net", code=6)
    assert "main" in said.err
    c.ctl("instance add two hostname=b.example.org user-domain=staff mail-domain=example.net")
    assert "main" in c.ctl("instance move two node=mx1", code=6).err


@pytest.mark.spec("F-010")
def test_instance_needs_what_it_names(cluster):
    said = cluster.ctl("instance add main node=mx1 hostname=mx1.example.org user-domain=staff mail-domain=example.org", code=4)
    assert "staff" in said.err
    assert cluster.export() == [i for i in cluster.export() if i["kind"] == "node"]


@pytest.mark.spec("F-011", "B09")
def test_host_names(cluster):
    c = cluster
    c.ctl("user-domain add staff kind=internal node=mx1")
    for bad in ("localhost", "-a.example.org", "a_b.example.org", "a..example.org", "1" * 64 + ".org", ("a." * 130) + "org",
                "a b.example.org", "*.example.org", "10.0.0.1", "xn--a.example.org"):
        said = c.ctl(["instance", "add", "main", "node=mx1", f"hostname={bad}", "user-domain=staff", "mail-domain=example.org"],
                     code=3)
        assert "hostname" in said.err, said
    c.ctl("instance add main node=mx1 hostname=Mäil.Example.ORG user-domain=staff mail-domain=example.org")
    assert [i for i in c.export() if i["kind"] == "instance"][0]["hostname"] == "xn--mil-qla.example.org"


@pytest.mark.spec("F-020", "R43")
def test_ten_thousand_domains(site):
    c = site
    items = [{"kind": "domain", "instance": "main", "name": f"d{i:05}.example.org", "dkim": False}
             for i in range(10000)]   # their keys would be made for a quarter of an hour
    c.ctl("apply -f -", stdin=json.dumps({"version": 1, "items": items}), timeout=60)
    started = time.monotonic()
    listed = c.ctl("domain list -o name").names
    took = time.monotonic() - started
    assert len(listed) == 10001 and took < 2, took
    keys = ["alice@d00000.example.org", "alice@d09999.example.org", "nobody@d05000.example.org"]
    got = fates(c["mx1"].tables, keys)
    assert [got[k].code for k in keys] == ["OK", "OK", "550"]


@pytest.mark.spec("F-021", "B09")
def test_names_in_every_form(site):
    c = site
    c.ctl("domain add Exämple.ORG")
    shown = c.ctl("domain list").out
    assert "xn--exmple-cua.org" in shown and "exämple.org" in shown
    for twin in ("exämple.org", "EXÄMPLE.org", "xn--exmple-cua.org", "XN--EXMPLE-CUA.ORG", "exa\u0308mple.org", "Example.ORG"):
        said = c.ctl(["domain", "add", twin], code=6)
        assert "exists" in said.err, said
    c.ctl("domain show exämple.org")
    c.ctl("address add info@EXÄMPLE.org to=alice")
    assert "info@xn--exmple-cua.org" in c.ctl("address list -o name").names
    for bad in ("org", "a..org", ".org", "example.org.", "xn--0.org", "exa mple.org", "a" * 64 + ".org", "127.0.0.1", "exam_ple.org"):
        said = c.ctl(["domain", "add", bad], code=None)
        assert said.code == 3 or (bad.endswith(".") and said.code == 6), said


@pytest.mark.spec("F-022")
def test_removed_domain_leaves_its_addresses_dormant(site):
    c = site
    c.ctl("domain add example.net")
    c.ctl("address add info@example.net to=alice")
    c.ctl("address add other@example.net to=bob internal=yes description=kept")
    t = c["mx1"].tables
    before = c.export()
    assert t.lookup("alias", "info@example.net")

    c.ctl("domain remove example.net --yes")
    assert fates(t, ["info@example.net"])["info@example.net"].code == "554"
    exported = {i["name"]: i for i in c.export() if i["kind"] == "address"}
    assert exported["info@example.net"]["dormant"] is True and exported["other@example.net"]["description"] == "kept"
    again = c.ctl("apply -f -", stdin=c.ctl("export").out)   # the identity, with a removed domain, too
    assert c.ctl("diff -f -", stdin=c.ctl("export").out).out.strip() == "", again

    c.ctl("domain add example.net")
    assert c.export() == before
    assert fates(t, ["info@example.net"])["info@example.net"].boxes == {"alice@u.internal"}
    assert t.lookup("known", "other@example.net") == "internal_only"

    c.ctl("domain remove example.net --purge --yes")
    c.ctl("domain add example.net")
    assert [i["name"] for i in c.export() if i["kind"] == "address"] == ["postmaster@*"]


@pytest.mark.spec("F-022", "F-023", "F-026")
def test_switches_of_a_domain(site):
    c, t = site, site["mx1"].tables
    assert fates(t, ["alice@example.org", "sales@example.org"])["alice@example.org"].reply == "OK"
    assert fates(t, ["sales@example.org"])["sales@example.org"].reply.startswith("550 5.1.1")
    c.ctl("domain set example.org user-addresses=no group-addresses=yes")
    got = fates(t, ["alice@example.org", "sales@example.org"])
    assert got["alice@example.org"].reply.startswith("550 5.1.1") and got["sales@example.org"].reply == "OK"
    rows = c["mx1"].tables.query("SELECT count(*) FROM rcpt")
    c.ctl("domain set example.org user-addresses=yes")
    assert c["mx1"].tables.query("SELECT count(*) FROM rcpt") == rows  # a switch writes one row, not one per user


@pytest.mark.spec("F-030", "F-051")
def test_what_is_not_there_is_named(site):
    c = site
    before = c.ctl("status -o json").json["revision"]
    said = c.ctl("domain set exmaple.org user-addresses=no", code=4)
    assert "exmaple.org" in said.err and "example.org" in said.err  # the nearest name
    said = c.ctl("mailbox set alice quota=5G forward=not-an-address", code=3)
    assert "forward" in said.err
    assert c.ctl("status -o json").json["revision"] == before
    assert not [i for i in c.export() if i["kind"] == "mailbox"]
