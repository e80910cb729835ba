"""What mail itself costs, beside Postfix and Dovecot as an admin sets them up by hand, in one run (see test_speed.py)."""
import os
import re
import signal
import statistics
import subprocess
import time

import pytest

from harness import Cluster, paths, wait_until
from harness.slapd import Slapd
from harness.stock import PASSWORD, Stock
from test_speed import row

pytestmark = pytest.mark.spec()
ROUNDS, MESSAGES, SENDERS, LOGINS = 5, 150, 4, 60
PEOPLE, GROUPS, GROUP_SIZE = 10000, 500, 50


@pytest.fixture(scope="module")
def node(mail_shared):
    return mail_shared["mx1"]


def pair(node):
    """The certificate that the node serves, and its key."""
    text = node.rendered("dovecot/dovecot.conf")
    return tuple(re.search(rf"(?m)^\s*ssl_{what} = <(\S+)", text).group(1) for what in ("cert", "key"))


def stock(node, tmp_path, users, **more):
    address = node.cluster.addresses[6]
    root = os.path.join(node.cluster.folder, tmp_path)
    os.mkdir(root)
    return Stock(root, address, users, pair(node), **more)


# ---- deliveries

def there(homes):
    return sum(len(files) for home in homes for folder, _, files in os.walk(home) if os.path.basename(folder) == "new")


def deliveries(address, homes):
    """In a second, from the first connection to the last message in its folder."""
    wanted = there(homes) + MESSAGES * SENDERS
    began = time.monotonic()
    senders = [subprocess.Popen(["/usr/sbin/smtp-source", "-m", str(MESSAGES), "-l", "4000", "-f", "someone@remote.test",
                                 "-t", f"{('alice', 'bob')[i % 2]}@example.org", f"inet:{address}:25"]) for i in range(SENDERS)]
    for sender in senders:
        assert sender.wait(120) == 0
    wait_until(lambda: there(homes) >= wanted, lambda: f"{there(homes)} of {wanted}", 120, every=0.02)
    return MESSAGES * SENDERS / (time.monotonic() - began)


def filter_off(node):
    """By hand: the product has no such switch."""
    path = os.path.join(node.generation(), "postfix/main.cf")
    with open(path) as f:
        text = re.sub(r"(?m)^smtpd_milters =.*\n([ \t].*\n)*", "smtpd_milters =\n", f.read())
    with open(path, "w") as f:
        f.write(text)
    old = time.time() - 60   # Postfix waits until it is not new
    os.utime(path, (old, old))
    os.kill(node.pid("postfix"), signal.SIGHUP)


def test_deliveries(node):
    filter_off(node)
    ours_at = [node.path("var/lib/mailnode/mail", u) for u in ("alice", "bob")]
    with stock(node, "stock-mail", ["alice", "bob"]).start() as floor:
        floor_at = [os.path.join(floor.root, "mail", u) for u in ("alice", "bob")]
        deliveries(node.address, ours_at), deliveries(floor.address, floor_at)
        pairs = [(deliveries(node.address, ours_at), deliveries(floor.address, floor_at)) for _ in range(ROUNDS)]
    per_s = [statistics.median(p[i] for p in pairs) for i in (0, 1)]
    row("a delivery, filter off : Postfix with hash maps, LMTP", 1000 / per_s[0], 1000 / per_s[1], 1 / 0.95)


# ---- logins

def login_ms(address, password, count):
    done = subprocess.run([paths.BUILD / "bench/bench-login", address, "alice", password, str(count), "1"], capture_output=True,
                          text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_logins(node):
    """From LOGIN to its OK.  Ours with a warm cache; the other with a script that asks the same directory for the groups."""
    password = node.passwords["alice"]
    socket = node.path("run/mailnode/slapd/ldapi").replace("/", "%2F")
    suffix = re.search(r'(?m)^\s*suffix\s+"?([^"\s]+)', node.rendered("slapd/slapd.conf")).group(1)
    script = f'ldapsearch -Y EXTERNAL -Q -LLL -H "ldapi://{socket}" -b "{suffix}" "(memberUid=$USER)" cn >/dev/null 2>&1'
    with stock(node, "stock-login", ["alice"], post_login=script).start(postfix=False) as floor:
        login_ms(node.address, password, 5), login_ms(floor.address, PASSWORD, 2)
        ours = statistics.median(login_ms(node.address, password, LOGINS) for _ in range(ROUNDS))
        theirs = statistics.median(login_ms(floor.address, PASSWORD, 10) for _ in range(ROUNDS))
    row("a login, warm : one with a script that asks the directory", ours, theirs, 1 / 20)


# ---- mirror

def entries(slapd):
    for i in range(PEOPLE):
        yield (f"dn: uid=person{i:05},{slapd.people}\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: person{i:05}\n"
               f"cn: Person {i}\nsn: {i}\nuidNumber: {30000 + i}\ngidNumber: 20000\nhomeDirectory: /\n\n")
    for g in range(GROUPS):
        members = "".join(f"memberUid: person{(g * 37 + i * 101) % PEOPLE:05}\n" for i in range(GROUP_SIZE))
        yield f"dn: cn=group{g:03},{slapd.groups}\nobjectClass: posixGroup\ncn: group{g:03}\ngidNumber: {50000 + g}\n{members}\n"


def test_mirror():
    """All of a directory into the tables, from the agent's start, against reading it in pages and throwing it away."""
    with Cluster(nodes=1) as c:
        c.site()
        node = c["mx1"]
        node.stop()
        node.slapd = slapd = Slapd(node)
        slapd.load()
        subprocess.run(["/usr/sbin/slapadd", "-q", "-w", "-f", slapd.conf, "-b", slapd.suffix], input="".join(entries(slapd)),
                       text=True, check=True, user="openldap", group="openldap", extra_groups=[], capture_output=True)
        slapd.start()

        def all_known():
            try:
                return node.tables.query("SELECT count(*) FROM account") == [(PEOPLE + GROUPS,)]
            except Exception:   # not made yet
                return False

        def ours():
            node.stop()
            for name in os.listdir(node.tables.folder):
                if name.startswith("mail.db"):
                    os.unlink(os.path.join(node.tables.folder, name))
            began = time.monotonic()
            node.start(accounts=False)
            wait_until(all_known, "all are known", 60, every=0.005)
            return 1000 * (time.monotonic() - began)

        def floor():
            began = time.monotonic()
            for base in (slapd.people, slapd.groups):
                found = slapd.search("-E", "pr=1000/noprompt", "-s", "one", "*", "+", base=base, user="mailagent")
                assert found.returncode == 0 and found.stdout.count("\ndn: ") + 1 in (PEOPLE, GROUPS), found.stderr
            return 1000 * (time.monotonic() - began)
        ours(), floor()
        pairs = [(ours(), floor()) for _ in range(3)]
        row("mirror of 10,000 users, 500 groups : reading it in pages", statistics.median(p[0] for p in pairs),
            statistics.median(p[1] for p in pairs), 3)
