"""Three nodes with all real daemons exchange mail: found by DNS, and by relay rules; what goes round in circles comes back once."""
import json
import os
import re
import subprocess
import threading

import pytest

from harness import Cluster, MailNode, cluster as clusters, paths, wait_until
from harness.ctl import run
from harness.dns import Dns
from harness.mail import text_message
from harness.program import Program
from harness.smarthost import Smarthost

pytestmark = pytest.mark.xdist_group("nodes")
NAMES = {"mx1": ("one", "alice"), "mx2": ("two", "bob"), "mx3": ("three", "carol")}   # node: its instance and domain, its user


def signed(folder, ca, name, host):
    """A certificate for 'host', signed by the CA; (certificate, key)."""
    certificate, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    by = ["-CA", ca[0], "-CAkey", ca[1]] if ca else ["-addext", "basicConstraints=critical,CA:TRUE"]
    request = os.path.join(folder, f"{name}.req")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-subj", f"/CN={host}"]
    if not ca:
        subprocess.run(["openssl", "req", "-x509", "-days", "2", *new, *by, "-out", certificate], check=True, capture_output=True)
        return certificate, key
    with open(request + ".ext", "w") as f:
        f.write(f"subjectAltName=DNS:{host}\n")
    subprocess.run(["openssl", "req", "-new", *new, "-out", request], check=True, capture_output=True)
    subprocess.run(["openssl", "x509", "-req", "-days", "2", "-in", request, *by, "-CAcreateserial", "-extfile", request + ".ext",
                    "-out", certificate], check=True, capture_output=True)
    return certificate, key


class AskingNode(MailNode):
    """Its daemons ask the name server of the test."""

    def start_engine(self, crash=None, wait=True, env=None):
        self.patterns_take()
        self.mail_engine = Program(f"mail-engine of {self.name}",
                                   [*self.cluster.dns.in_front_of, paths.ENGINE, "--root", self.root], self.engine_log,
                                   {"MAILNODE_BOOT_ID": self.boot_id, "MAILNODE_PROBE_MS": "3000"})
        wait_until(lambda: os.path.exists(self.engine_socket) or not self.mail_engine.running(), "mail-engine listens")
        assert self.mail_engine.running(), self.mail_engine.output()
        return self


@pytest.fixture(scope="module")
def three():
    """one.test, two.test and three.test, each on a node of its own; the first two are in DNS, and nobody else is."""
    c = Cluster(node=AskingNode, nodes=0)
    clusters.live.remove(c)   # lives longer than one test
    c.dns = Dns(c.addresses[7], {}, c.folder)
    c.authority = signed(c.folder, None, "ca", "CA of the test")
    os.chmod(c.authority[0], 0o644)
    try:
        for node in NAMES:   # rounds are short, and a CA of the test is among those of the machine
            c.new_node(node).override("postfix.d/site.cf", f"hopcount_limit = 8\nsmtp_tls_CAfile = {c.authority[0]}\n")
            c[node].join()
            c[node].start(wait=True)
        for node, name in (("mx1", "one"), ("mx2", "two")):
            c.dns.records[f"{name}.test"] = [("MX", 10, f"mail.{name}.test")]
            c.dns.records[f"mail.{name}.test"] = [("A", c[node].address)]
        serving = [threading.Thread(target=c.mail_site, args=(n, f"{i}.test", i, (user,))) for n, (i, user) in NAMES.items()]
        for thread in serving:
            thread.start()
        for thread in serving:
            thread.join()
        yield c
    finally:
        clusters.live.append(c)
        c.close()
        c.dns.close()


def rule(c, instance, domain, to, tls="off"):
    c.ctl(f"relay add recipient {domain} -i {instance} host={c[to].address} tls={tls}")


def subjects(box, user):
    return sorted(re.search(rb"^Subject: (.*?)\r?$", m, re.M)[1].decode() for m in box.mailbox(user))


def came_back(box, user):
    return [s for s in subjects(box, user) if s.startswith("Undelivered Mail")]


def nothing_waits(c):
    return all(c[node].queue_empty() for node in NAMES)


@pytest.mark.spec("F-129")
def test_three_nodes_exchange_mail(three):
    """Everybody writes to both others: two nodes find each other in DNS, the third is known by rules alone."""
    c = three
    rule(c, "one", "three.test", "mx3")
    rule(c, "two", "three.test", "mx3", tls="encrypt")
    rule(c, "three", "one.test", "mx1", tls="encrypt")
    rule(c, "three", "two.test", "mx2")
    everybody = {user: f"{user}@{instance}.test" for instance, user in NAMES.values()}
    for node, (instance, user) in NAMES.items():
        others = [a for u, a in everybody.items() if u != user]
        c[node].submit(user, everybody[user], others, text_message(everybody[user], others, f"from {user}"))

    def seen():
        return {user: subjects(c[node], user) for node, (_, user) in NAMES.items()}
    wanted = {user: [f"from {u}" for u in sorted(everybody) if u != user] for user in everybody}
    wait_until(lambda: seen() == wanted, lambda: f"each once: {seen()}", 30)
    wait_until(lambda: nothing_waits(c), "nothing waits", 15)
    assert seen() == wanted
    assert {("one.test", "MX"), ("two.test", "MX")} <= set(c.dns.asked), c.dns.asked
    assert ("three.test", "MX") not in c.dns.asked, "a rule names its server"


@pytest.mark.spec("F-048", "F-129")
def test_what_goes_in_circles_comes_back_once(three):
    """Two nodes that each have a rule to the other; two users who forward to each other: one message to the sender, and peace."""
    c = three
    for instance, domain, to in (("one", "loop.test", "mx2"), ("two", "loop.test", "mx1")):
        rule(c, instance, domain, to)
    for instance, client in (("one", "mx2"), ("two", "mx1")):
        c.ctl(f"relay-client add {c[client].address} -i {instance}")
    c["mx1"].submit("alice", "alice@one.test", ["x@loop.test"], text_message("alice@one.test", ["x@loop.test"], "round"))
    wait_until(lambda: came_back(c["mx1"], "alice"), "it comes back", 45)
    wait_until(lambda: nothing_waits(c), "nothing waits", 15)
    assert len(came_back(c["mx1"], "alice")) == 1

    c.ctl("mailbox set alice forward=bob@two.test keep-copy=no -i one")
    c.ctl("mailbox set bob forward=alice@one.test keep-copy=no -i two")
    before = len(c["mx1"].mailbox("alice")), len(c["mx2"].mailbox("bob"))
    for instance in ("one", "two"):   # where the test above did not
        c.ctl(f"relay add recipient three.test -i {instance} host={c['mx3'].address} tls=off", code=(0, 6))
    c["mx3"].submit("carol", "carol@three.test", ["alice@one.test"], text_message("carol@three.test", ["alice@one.test"], "round"))
    wait_until(lambda: came_back(c["mx3"], "carol"), "it comes back", 45)
    wait_until(lambda: nothing_waits(c), "nothing waits", 15)
    assert len(came_back(c["mx3"], "carol")) == 1
    assert before == (len(c["mx1"].mailbox("alice")), len(c["mx2"].mailbox("bob"))), "and no copies on the way"
    for user, instance in (("alice", "one"), ("bob", "two")):
        c.ctl(f"mailbox set {user} forward= keep-copy= -i {instance}")


def trace(c, wanted, *more, code=0):
    """The document, once the lines of all that is over are written."""
    return json.loads(c.ctl("trace", "-o", "json", *more, "--", wanted, code=code).out)


def steps(document, *nodes):
    return [(s["node"], s["step"]) for s in document["items"] if s["step"] and s["node"] in nodes]


@pytest.mark.spec("F-002")
def test_the_way_of_a_message_over_nodes(three):
    """Asked for by any of its names, a message's way is the same: filtered, expanded and relayed on one node, delivered on the
    next, bounced where nobody is; who is away is named, and a Message-ID that looks like an address is none."""
    c = three
    c.ctl("address add team@one.test to=alice,bob@two.test,nobody@two.test -i one")
    message = text_message("carol@three.test", ["team@one.test"], "traced")
    message.replace_header("Message-ID", "<traced.1@three.test>")
    posed = text_message("remote@else.test", ["bob@two.test"], "posed")
    posed.replace_header("Message-ID", "<team@one.test>")
    c.ctl(f"relay add recipient one.test -i three host={c['mx1'].address} tls=off", code=(0, 6))
    c["mx3"].submit("carol", "carol@three.test", ["team@one.test"], message)
    c["mx2"].deliver("remote@else.test", ["bob@two.test"], posed)
    wait_until(lambda: "traced" in subjects(c["mx2"], "bob") and "posed" in subjects(c["mx2"], "bob"), "delivered", 30)
    wait_until(lambda: nothing_waits(c), "nothing waits", 30)

    def whole():
        said = trace(c, "<traced.1@three.test>")
        return said if len([s for s in said["items"] if s["step"] == "done"]) >= 3 else None
    said = wait_until(whole, "all is written", 30)
    assert said["away"] == [] and said["more"] is False
    here = [s for s in said["items"] if s["step"]]
    order = [(s["node"], s["step"]) for s in here]
    for earlier, later in ((("mx3", "accepted"), ("mx3", "delivered")), (("mx1", "accepted"), ("mx1", "delivered")),
                           (("mx1", "bounced"), ("mx1", "told sender")), (("mx2", "accepted"), ("mx2", "delivered"))):
        assert order.index(earlier) < order.index(later), order
    assert {n for n, what in order if what == "filter"} == {"mx1", "mx2", "mx3"}, order
    assert [s["time"] for s in said["items"]] == sorted(s["time"] for s in said["items"])
    told = [s["text"] for s in here if s["node"] == "mx1" and s["step"] == "delivered"]
    assert any("orig_to=<team@one.test>" in text for text in told) and any("bob@two.test" in text for text in told), told
    assert not any("posed" in s["text"] or "remote@else.test" in s["text"] for s in said["items"])
    for node in NAMES:   # a queue id is one node's, and the way is the same
        queue_id = next(s["queue_id"] for s in here if s["node"] == node and s["step"] == "accepted")
        assert {s["queue_id"] for s in trace(c, queue_id)["items"]} == {s["queue_id"] for s in said["items"]}, node
    table = c.ctl("trace", "traced.1@three.test").out.splitlines()
    assert table[0].split() == ["TIME", "NODE", "STEP", "PROGRAM", "QUEUE-ID", "TEXT"] and len(table) == len(said["items"]) + 1
    assert {s["node"] for s in trace(c, "traced.1@three.test", "--node", "mx2")["items"]} == {"mx2"}
    # One way of the posing message, by its queue id: not the mail of that address.
    posing = [s["queue_id"] for s in trace(c, "remote@else.test")["items"]]
    assert len(set(posing)) == 1, posing

    for wanted, code, words in (("never.was@three.test", 4, "no line of the logs"), ("a\x1b[2Jb", 3, "printable"), ("a\nb", 3, "printable"),
                                ("x" * 1001, 3, "at most 1000"), ("ünicode@one.test", 3, "printable")):
        refused = c.ctl("trace", "--", wanted, code=code)
        assert words in refused.err and refused.out == "" and "\x1b" not in refused.err, refused
        assert len(refused.err.splitlines()) == 1 + refused.err.count("hint: "), refused
    assert c.ctl("trace", "--node", "mx9", "x@y.test", code=4).out == ""
    # By sender and recipient, on every node that the mail came to.
    def between(*words, code=0):
        said = json.loads(c.ctl("trace", "-o", "json", *words, code=code).out)
        return said, {(i["node"], i["result"], i.get("orig_to", i["to"])) for i in said["items"]}
    asked = ["from=Carol@three.test", "to=@TWO.test", "since=1h"]
    wanted = {("mx1", "delivered", "team@one.test"), ("mx1", "bounced", "team@one.test"),
              ("mx2", "delivered", "bob@two.test"), ("mx2", "refused", "nobody@two.test")}
    wait_until(lambda: wanted <= between(*asked)[1], lambda: f"on each node: {between(*asked)[1]}", 30)
    assert {n for n, *_ in between(*asked, "--node", "mx2")[1]} == {"mx2"}
    c["mx3"].agent.kill()
    try:
        wait_until(lambda: not c.online("mx3"), "seen as away", 60)
        said, here = between("from=carol@three.test", "to=team@one.test", code=7)
        assert [a["node"] for a in said["away"]] == ["mx3"] and {n for n, *_ in here} == {"mx1"}, said
        assert "mx3" in c.ctl("trace to=never.was@three.test", code=11).err
        without = c.ctl("trace", "traced.1@three.test", code=7)
        assert "not asked: mx3: offline" in without.err and "mx1" in without.out and "mx2" in without.out, without
        document = trace(c, "traced.1@three.test", code=7)
        assert [a["node"] for a in document["away"]] == ["mx3"] and steps(document, "mx1") == [o for o in order if o[0] == "mx1"]
        assert "mx3" in c.ctl("trace", "never.was@three.test", code=11).err
    finally:
        c["mx3"].start_agent()
        wait_until(lambda: c.online("mx3"), "back", 30)
    c.ctl("address remove team@one.test -i one")


@pytest.mark.spec("F-134", "S30")
def test_verify_wants_the_name_and_the_chain(three):
    """By tls=verify mail goes to who has a certificate of that name from a CA that the machine trusts, and to nobody else."""
    c, mail = three, three["mx1"]
    pairs = {"good": signed(c.folder, c.authority, "good", "smart.test"), "name": signed(c.folder, c.authority, "name", "other.test"),
             "chain": signed(c.folder, signed(c.folder, None, "ca2", "another CA"), "chain", "smart.test")}
    c.dns.records["smart.test"] = [("A", "127.0.0.1")]
    opened = {}
    try:
        for what, pair in pairs.items():
            opened[what] = Smarthost("127.0.0.1", 0, pair=pair)
            c.ctl(f"relay add recipient {what}.test -i one host=smart.test port={opened[what].port} user=u-{what} password=-",
                  stdin=f"pw-{what}")
            mail.submit("alice", "alice@one.test", [f"x@{what}.test"], text_message("alice@one.test", [f"x@{what}.test"]))
        wait_until(lambda: opened["good"].recipients() == ["x@good.test"], lambda: mail.daemon_log("postfix")[-2000:], 30)
        wait_until(lambda: len([q for q in mail.queue() if q.startswith("deferred/")]) == 2, lambda: f"two wait: {mail.queue()}", 30)
        assert opened["good"].logins == [("u-good", "pw-good", True)]
        for what in ("name", "chain"):
            host = opened[what]
            assert host.lines and not host.logins and not [line for line in host.lines if line.startswith("MAIL")], what
        assert "Server certificate not" in mail.daemon_log("postfix")
    finally:
        for host in opened.values():
            host.close()
        run(["/usr/sbin/postsuper", "-c", os.path.join(mail.generation(), "postfix"), "-d", "ALL"])
    wait_until(mail.queue_empty, "the queue is empty", 30)
    assert "192.0.2.1" in c.ctl("relay add recipient ip.test -i one host=192.0.2.1", code=3).err, "no certificate is for an address"
