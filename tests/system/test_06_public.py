"""Section 6: public mailboxes, with real IMAP clients on the real daemons."""
import imaplib
import json
import os
import re
import threading
import time

import pytest

from harness import wait_until
from harness.mail import Ledger

NOBODY = "lrswipkxtea"


def quoted(name):
    """As an IMAP string; names in modified UTF-7 are ASCII."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def mutf7(name):
    """RFC 3501 5.1.3, by Python's own codec for UTF-16."""
    import base64
    out, other = "", ""
    for c in name + "\0":
        if " " <= c <= "~" or c == "\0":
            if other:
                out += "&" + base64.b64encode(other.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
                other = ""
            out += "&-" if c == "&" else c
        else:
            other += c
    return out[:-1]


def listed(imap):
    """Names below Public/ as LIST has them, without those that only lead to others."""
    names = set()
    kind, lines = imap.link.list('""', '"Public/*"')
    assert kind == "OK", lines
    for line in lines:
        if isinstance(line, tuple):   # a literal
            head, name = line[0].decode(), line[1].decode()
            head = head[:head.rindex("{")]
        elif line:
            text = line.decode()
            match = re.fullmatch(r'(\(.*?\) "/") (.*)', text)
            head, name = match.group(1), match.group(2)
            if name.startswith('"'):
                name = re.sub(r"\\(.)", r"\1", name[1:-1])
        else:
            continue
        if "\\NonExistent" not in head and "\\Noselect" not in head:
            names.add(name.removeprefix("Public/"))
    return names


def rights(imap, name):
    """{identifier: letters} by GETACL."""
    kind, data = imap.link._simple_command("GETACL", quoted("Public/" + mutf7(name)))
    if kind != "OK":
        return None
    _, answers = imap.link._untagged_response(kind, data, "ACL")
    text = answers[-1].decode()
    words = re.findall(r'"(?:[^"\\]|\\.)*"|\S+', text)[1:]
    words = [re.sub(r"\\(.)", r"\1", w[1:-1]) if w.startswith('"') else w for w in words]
    # c and d are those of RFC 2086, which servers add (RFC 4314 2.1.1).
    return {who: "".join(sorted(set(has) - set("cd"))) for who, has in zip(words[::2], words[1::2]) if has}


def letters(text):
    return "".join(sorted(text))


def opens(imap, name):
    try:
        return imap.link.select(quoted("Public/" + mutf7(name)), readonly=True)[0] == "OK"
    except imaplib.IMAP4.abort:
        return None


def messages(imap, name):
    assert opens(imap, name), name
    _, found = imap.link.search(None, "ALL")
    return [imap.link.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in found[0].split()]


def folder(node, name):
    return node.path("var/lib/mailnode/public", "." + mutf7(name).replace("/", "."))


class PublicLedger(Ledger):
    """Public mailboxes beside those of users: named 'public:NAME'."""

    def found(self):
        out = super().found()
        for name in {u for _, boxes in self.entries.values() for u in boxes if u.startswith("public:")}:
            for part in ("new", "cur"):
                place = os.path.join(folder(self.node, name[7:]), part)
                for file in os.listdir(place) if os.path.isdir(place) else []:
                    with open(os.path.join(place, file), "rb") as f:
                        found = re.search(rb"^X-Ledger: *(\S+)", f.read(), re.I | re.M)
                    id = found.group(1).decode() if found else None
                    if id in self.entries:
                        boxes = out.setdefault(id, {})
                        boxes[name] = boxes.get(name, 0) + 1
        return out


def reloads(node):
    """What a reload or restart would change: the processes, and what they say of reloads in their logs."""
    return (node.pids(), node.generation(), node.daemon_log("postfix").count("reload"),
            node.daemon_log("dovecot").count("SIGHUP"))


@pytest.fixture
def public(mail):
    """The node with a group; nothing of it is left."""
    c = mail.cluster
    before = reloads(mail)
    c.ctl("group add sales members=bob")
    wait_until(lambda: mail.tables.query("SELECT acl_groups FROM userdb WHERE name='bob'")[0][0] == "sales", "the group is known")
    yield mail
    for name in c.ctl("public-mailbox list -o name").out.splitlines():
        if name != "Postmaster":
            c.ctl(["public-mailbox", "remove", name, "--yes"])
    c.ctl("group remove sales --yes")
    assert reloads(mail) == before, "all of it is data: no daemon was touched"


@pytest.mark.spec("F-053", "F-056", "F-074", "F-057")
def test_created_seen_and_delivered_to(public):
    """GETACL shows what was stated; others do not see it; its address works in every domain; nobody needs a right to send."""
    node, c = public, public.cluster
    ledger = PublicLedger(node)
    c.ctl("public-mailbox add Sales acl=user:alice:full,group:sales:read address=sales@*")
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert "Sales" in listed(alice) and "Sales" in listed(bob)
        assert rights(alice, "Sales") == {"alice": letters("lrswipkxtea"), "$sales": letters("lrs")}
        assert rights(bob, "Sales") is None   # who may not administer it is not told
    ledger.send(["sales@example.org", "Sales+tag@example.org"], {"public:Sales": 1})
    c.ctl("domain add later.example")
    ledger.send(["sales+x@later.example"], {"public:Sales": 1})
    ledger.send(["sales@example.org"], {"public:Sales": 1}, sender="alice@example.org", X_Spam="Yes")
    ledger.settle()
    c.ctl("domain remove later.example --yes")
    with node.imap("bob") as bob:
        got = messages(bob, "Sales")
        assert len(got) == 3
        assert any(b"X-Original-To: sales+x@later.example" in m for m in got), got[0].decode()
        assert bob.link.append(quoted("Public/Sales"), None, None, b"Subject: no\r\n\r\nno\r\n")[0] == "NO"

    c.ctl("public-mailbox set Sales acl=user:bob:lr")
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert listed(alice) == set() and not opens(alice, "Sales")
        assert listed(bob) == {"Sales"} and opens(bob, "Sales")
    c.ctl("public-mailbox remove Sales --yes")
    assert node.rcpt("sales@example.org").startswith("550 5.1.1")
    with node.imap("bob") as bob:
        assert listed(bob) == set()
    c.ctl("public-mailbox add Sales acl=anyone:read address=none")
    with node.imap("alice") as alice:
        assert len(messages(alice, "Sales")) == 3, "its mail stayed"


@pytest.mark.spec("F-056", "B13")
def test_names_that_others_hold(public):
    """Refused with the ways out; each way works; removing takes the address along."""
    c = public.cluster
    c.ctl("address add taken@example.org to=alice")
    for command, words in {
        "public-mailbox add Alice": "address: user alice has this name",
        "public-mailbox add sales": "address: group sales has this name",
        "public-mailbox add Taken": "address: taken@example.org is there already",
        "public-mailbox add 'Über uns'": "address Über uns@*",
    }.items():
        said = c.ctl(command, code=(3, 6))
        assert words in said.err and "address=none" in said.err, said
    assert c.ctl("public-mailbox list -o name").out.split() == ["Postmaster"]
    c.ctl("public-mailbox add Alice address=alice@*")
    assert public.tables.query("SELECT dest FROM rcpt WHERE local='alice' AND scope='-u'")[0][0].startswith("p=")
    c.ctl("public-mailbox add 'Über uns' address=about@example.org")
    c.ctl("public-mailbox add Nowhere address=none")
    c.ctl("address add both@* to='public:Über uns',user:bob")
    c.ctl("address add nothing@* to=public:Missing", code=4)
    c.ctl("domain set example.org catch-all='public:Über uns'")
    assert "catch-all" in c.ctl("public-mailbox remove 'Über uns' --yes", code=6).err
    assert public.rcpt("whoever@example.org").startswith("250")
    assert {name: table(c)[name][1] for name in ("Alice", "Nowhere", "Über uns")} == {
        "Alice": "alice@*", "Nowhere": "no address", "Über uns": "about@example.org,both@*,*@example.org"}
    c.ctl("domain set example.org catch-all=public:Nowhere")
    assert table(c)["Nowhere"][1] == "*@example.org"
    c.ctl("domain set example.org catch-all=")
    c.ctl("public-mailbox remove 'Über uns' --yes")
    c.ctl("public-mailbox remove Alice --yes")
    left = c.ctl("address list -o name").out.split()
    assert "about@example.org" not in left and "alice@*" not in left and "both@*" in left
    assert c.ctl("address show both@*").out.split()[-1] != "public:Über uns"
    c.ctl("address remove both@*")
    c.ctl("address remove taken@example.org")
    c.ctl("public-mailbox remove Nowhere --yes")


@pytest.mark.spec("F-057")
def test_unknown_owners_are_refused_and_a_list_is_never_partial(public):
    node, c = public, public.cluster
    c.ctl("public-mailbox add Board acl=user:alice:full,user:bob:read")
    for acl in ("user:nobody:read", "group:nobody:read", "user:alice:nonsense", "user:alice:full,user:alice:read", "alice"):
        c.ctl(f"public-mailbox set Board acl={acl}", code=(3, 4))
    with node.imap("alice") as alice:
        assert rights(alice, "Board") == {"alice": letters(NOBODY), "bob": letters("lrs")}
        seen, stop = [], threading.Event()

        def poll():
            while not stop.is_set():
                seen.append(tuple(sorted((rights(alice, "Board") or {}).items())))

        thread = threading.Thread(target=poll)
        thread.start()
        for i in range(6):
            c.ctl(f"public-mailbox set Board acl=user:alice:full,{'group:sales:write' if i % 2 else 'user:bob:read'}")
            time.sleep(0.3)   # the reader looks at both
        stop.set()
        thread.join()
    full = ("alice", letters(NOBODY))
    assert set(seen) == {(full, ("bob", letters("lrs"))), (("$sales", letters("lrswikt")), full)}, set(seen)


@pytest.mark.spec("F-054")
def test_members_of_groups_also_in_live_sessions(public):
    """Added: at the next login.  Removed: within 60 s, where a mailbox is open in a session; others' sessions stay."""
    node, c = public, public.cluster
    c.ctl("group add inner members=alice")
    c.ctl("public-mailbox add Team acl=group:sales:read,group:inner:read")
    node.deliver("someone@remote.test", ["team@example.org"])
    with node.imap("bob") as bob, node.imap("alice") as alice:
        wait_until(lambda: len(messages(bob, "Team")) == 1, "delivered", every=0.05)
        assert len(messages(alice, "Team")) == 1
        c.ctl("group set sales members=")
        wait_until(lambda: not reads(bob), "bob's open mailbox is closed to him", 60, every=0.05)
        assert reads(alice), "she has lost nothing"
        with node.imap("bob") as again:
            assert listed(again) == set() and not opens(again, "Team")
        c.ctl("group set sales members=bob")
        wait_until(lambda: node.tables.query("SELECT acl_groups FROM userdb WHERE name='bob'")[0][0] == "sales", "he is back")

        def is_in():
            with node.imap("bob") as again:
                return listed(again) == {"Team"}
        wait_until(is_in, "he sees it at his next login", 10, every=0.1)
        c.ctl("public-mailbox set Team acl=group:sales:read")
        assert not reads(alice), "with the answer: what she read is no longer hers"
    c.ctl("group remove inner --yes")


def reads(imap):
    """Does this session still read the mailbox that it has open?"""
    try:
        return imap.link.fetch("1", "(BODY.PEEK[])")[0] == "OK"
    except (imaplib.IMAP4.error, OSError):
        return False


ODD = ["a", "with space", "a  b", "quote\"d", "back\\slash", "it's", "per%cent", "star*", "#hash", "{5}", "(paren)", "[bracket]",
       "a&b", "&", "ampersand&-", "Ünïcödé", "日本語", "📬 post", "e\u0301", "~home", "mid~tilde", ".", "..", "../../etc", "a/b",
       "a/b/c/d/e/f/g", "a//b", "/a", "a/", "INBOX", "inbox/x", "x/INBOX", "cur", "new/tmp", "x" * 200, "x" * 201,
       "ü" * 90, " lead", "trail ", "tab\tname", "line\nbreak", "nul\x01", "right\u202eleft", "!$%^", "v1.2", "-rf",
       "dovecot-acl", "${x}", "%u", "`id`", "';drop"]


@pytest.mark.spec("F-053", "F-056", "F-074", "B28")
def test_odd_names(public):
    """Each is refused in one clear line, or right on the disk, in LIST, in GETACL and for delivery."""
    node, c = public, public.cluster
    ledger, taken, refused = PublicLedger(node), [], []
    for i, name in enumerate(ODD):
        said = c.ctl(["public-mailbox", "add", name, "acl=user:alice:full", f"address=odd{i}@*"], code=None)
        if said.code == 0:
            taken.append((i, name))
        else:
            refused.append(name)
            assert said.code in (2, 3) and len(said.err.splitlines()) <= 2 and "mailctl" in said.err, (name, said)
    assert {".", "..", "../../etc", "a//b", "/a", "a/", "INBOX", "star*", "per%cent", "~home", "tab\tname", "line\nbreak",
            "v1.2", "x" * 201} <= set(refused), refused
    assert {"with space", "quote\"d", "back\\slash", "a&b", "日本語", "📬 post", "a/b/c/d/e/f/g", "x" * 200, "cur", "#hash",
            "mid~tilde", "{5}"} <= {n for _, n in taken}, refused
    for i, name in taken:
        ledger.send([f"odd{i}@example.org"], {"public:" + composed(name): 1})
    ledger.settle()
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert listed(alice) == {mutf7(composed(n)) for _, n in taken}
        assert listed(bob) == set()
        for _, name in taken:
            assert rights(alice, composed(name)) == {"alice": letters(NOBODY)}, name
            assert len(messages(alice, composed(name))) == 1, name


def composed(name):
    import unicodedata
    return unicodedata.normalize("NFC", name)


@pytest.mark.spec("F-083")
def test_postmaster_is_there_from_the_beginning(mail):
    """Made with the instance; it cannot be removed, nor changed so that nobody here reads it."""
    node, c = mail, mail.cluster
    assert c.ctl("address show postmaster@* -o yaml").out.count("public:Postmaster") == 1
    ledger = PublicLedger(node)
    ledger.send(["postmaster@example.org"], {"public:Postmaster": 1})
    c.ctl("domain add other.example")
    ledger.send(["Postmaster@other.example"], {"public:Postmaster": 1})
    ledger.settle()
    for command in ("public-mailbox remove Postmaster --yes", "address remove postmaster@*",
                    "address set postmaster@* to=out@far.example.com"):
        assert "postmaster" in c.ctl(command, code=(3, 6)).err
    c.ctl("address set postmaster@* to=user:alice")
    c.ctl("public-mailbox remove Postmaster --yes")
    ledger.send(["postmaster@other.example"], {"alice": 1})
    ledger.settle()
    c.ctl("public-mailbox add Postmaster address=none")
    c.ctl("address set postmaster@* to=public:Postmaster")
    c.ctl("domain remove other.example --yes")


def seen(imap, name):
    """Which messages the session sees as read, one 0 or 1 each."""
    assert imap.link.select(quoted("Public/" + name), readonly=True)[0] == "OK", name
    _, answers = imap.link.fetch("1:*", "(FLAGS)")
    return [int(b"\\Seen" in a) for a in answers if a]


@pytest.mark.spec("F-141")
def test_read_marks_are_everybodys_or_each_ones(mail):
    """Shared: what she reads he has read.  Private: each begins with those, and has his own from then on.  Switching there and
    back loses no mail and no mark."""
    node, c = mail, mail.cluster
    ledger = PublicLedger(node)
    c.ctl("public-mailbox add Marks acl=user:alice:full,user:bob:lrs")
    for _ in range(2):
        ledger.send(["marks@example.org"], {"public:Marks": 1})
    ledger.settle()

    def read(user, number, how="+FLAGS"):
        with node.imap(user) as imap:
            assert imap.link.select(quoted("Public/Marks"))[0] == "OK"
            assert imap.link.store(str(number), how, r"(\Seen)")[0] == "OK"

    def marks():
        out = {}
        for user in ("alice", "bob"):
            with node.imap(user) as imap:
                out[user] = seen(imap, "Marks")
        return out

    def switch(to):
        c.ctl(f"settings set shared-seen={to}", timeout=60)
        node.wait_ready()
    read("alice", 1)
    assert marks() == {"alice": [1, 0], "bob": [1, 0]}
    switch("no")
    assert marks() == {"alice": [1, 0], "bob": [1, 0]}, "each begins with what was read"
    read("alice", 2)
    assert marks() == {"alice": [1, 1], "bob": [1, 0]}
    read("bob", 1, "-FLAGS")
    assert marks() == {"alice": [1, 1], "bob": [0, 0]}
    with node.imap("alice") as imap:   # other flags are everybody's
        assert imap.link.select(quoted("Public/Marks"))[0] == "OK"
        assert imap.link.store("2", "+FLAGS", r"(\Flagged)")[0] == "OK"
    with node.imap("bob") as imap:
        assert imap.link.select(quoted("Public/Marks"), readonly=True)[0] == "OK"
        assert rb"\Flagged" in imap.link.fetch("2", "(FLAGS)")[1][0]
    ledger.settle()
    switch("yes")
    assert marks() == {"alice": [1, 0], "bob": [1, 0]}, "those from before"
    switch("no")
    assert marks() == {"alice": [1, 1], "bob": [0, 0]}
    switch("")
    ledger.settle()
    assert "shared" in c.ctl("settings set shared-seen=perhaps", code=3).err
    c.ctl("public-mailbox remove Marks --yes")


@pytest.mark.spec("F-058")
def test_removed_and_brought_back(mail):
    """Asked first; back with mail, rights and addresses by one command, as long as nothing else has its place."""
    node, c = mail, mail.cluster
    ledger = PublicLedger(node)
    c.ctl("public-mailbox add Gone/Deep acl=user:alice:full,user:bob:read address=gone@*")
    c.ctl("address add also@example.org to=alice,public:Gone/Deep")
    ledger.send(["gone@example.org"], {"public:Gone/Deep": 1})
    ledger.send(["also@example.org"], {"public:Gone/Deep": 1, "alice": 1})
    ledger.settle()
    before = c.ctl("export -i main").out
    refused = c.ctl("public-mailbox remove Gone/Deep", code=2)
    assert "--yes" in refused.err and c.ctl("export -i main").out == before, refused
    c.ctl("public-mailbox remove Gone/Deep --yes")
    with node.imap("alice") as imap:
        assert "Gone/Deep" not in listed(imap)
    assert node.rcpt("gone@example.org").startswith("550")
    assert c.ctl("public-mailbox undelete Gone/Deep --dry-run", code=1).out.count("Gone/Deep") >= 1
    assert "is back" in c.ctl("public-mailbox undelete Gone/Deep").out
    assert c.ctl("export -i main").out == before
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert len(messages(alice, "Gone/Deep")) == 2 == len(messages(bob, "Gone/Deep"))
        assert rights(alice, "Gone/Deep") == {"alice": letters(NOBODY), "bob": letters("lrs")}
    ledger.send(["also@example.org"], {"public:Gone/Deep": 1, "alice": 1})
    ledger.settle()

    assert "is there" in c.ctl("public-mailbox undelete Gone/Deep", code=6).err
    assert "does not exist" in c.ctl("public-mailbox undelete Never/Was", code=4).err
    c.ctl("public-mailbox remove Gone/Deep --yes")
    c.ctl("address add gone@* to=bob")   # its address is another's meanwhile
    taken = c.ctl("public-mailbox undelete Gone/Deep", code=6)
    assert "gone@*" in taken.err and "Gone/Deep" not in c.ctl("public-mailbox list -o name").out
    c.ctl("address remove gone@*")
    again = c.ctl("public-mailbox undelete Gone/Deep", code=6)   # who gave it to bob, and took it, is to say
    assert "changed again" in again.err and "hint: revert" in again.err
    c.ctl("public-mailbox add Gone/Deep acl=user:alice:read address=none")
    with node.imap("alice") as alice:
        assert len(messages(alice, "Gone/Deep")) == 3, "its mail returns with the name in any case"
    c.ctl("public-mailbox remove Gone/Deep --yes")
    c.ctl("address remove also@example.org")


def said(imap, *words):
    """OK, NO or BAD."""
    try:
        return imap.link._simple_command(*words)[0]
    except imaplib.IMAP4.error:
        return "BAD"


def table(c):
    """{name: (acl, addresses)} as 'public-mailbox list' prints them."""
    lines = [re.split(r"  +", line.rstrip()) for line in c.ctl("public-mailbox list").out.splitlines()[1:]]
    return {line[0]: (line[-2], line[-1]) for line in lines}


def made(c, *names, timeout=60):
    wait_until(lambda: set(names) <= set(table(c)), lambda: f"{names} are listed: {table(c)}", timeout, every=0.1)


@pytest.mark.spec("F-055", "F-056")
def test_made_by_imap(public):
    """By those of the policy at the top, by those with 'k' below; listed with rights and address; managed like others."""
    node, c = public, public.cluster
    ledger = PublicLedger(node)
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert said(alice, "CREATE", '"Public/Early"') == "NO", "by default nobody may"
        for wrong in ("public:Postmaster", "x@example.org", "role:all"):
            assert "public-creators" in c.ctl(f"policy set public-creators={wrong}", code=3).err
        for wrong in ("user:nobody", "nobody", "group:nobody", "user:alice, group:nobody", "user:sales"):
            missing = c.ctl(["policy", "set", f"public-creators={wrong}"], code=4)
            assert missing.err.startswith("mailctl: policy set: public-creators '") and "does not exist" in missing.err, missing
        assert "nobody" not in c.ctl("policy show").out
        c.ctl("policy set public-creators-=user:nobody")   # who is gone can be taken away
        c.ctl("policy set public_creators=alice")
        wait_until(lambda: said(alice, "CREATE", '"Public/Plans"') == "OK", "alice may", 10, every=0.2)
        assert said(bob, "CREATE", '"Public/Bobs"') == "NO"
        made(c, "Plans")
        assert table(c)["Plans"] == ("user:alice:full", "plans@*")
        last = json.loads(c.ctl("history public-mailbox/Plans -o json").out)
        assert "users of mx1" in str(last) and "IMAP" in str(last), last
        assert rights(alice, "Plans") == {"alice": letters(NOBODY)} and rights(bob, "Plans") is None
        assert listed(bob) == set() and listed(alice) == {"Plans"}, "what others have stays theirs"
        ledger.send(["plans@example.org"], {"public:Plans": 1})
        ledger.settle()

        # nested, by who has 'k' there; with the rights of the one above
        assert said(alice, "SETACL", '"Public/Plans"', "bob", "lrsk") == "OK"
        wait_until(lambda: said(bob, "CREATE", '"Public/Plans/2027/Autumn"') == "OK", "bob may below", 10, every=0.2)
        made(c, "Plans/2027/Autumn")
        assert table(c)["Plans/2027/Autumn"] == ("user:alice:full,user:bob:lrsk", "no address")
        assert said(bob, "CREATE", '"Public/Bobs"') == "NO"
        assert said(bob, "DELETE", '"Public/Plans/2027/Autumn"') == "NO", "without the right x"

    # mailctl manages it; who loses a right loses his session
    c.ctl("public-mailbox set Plans/2027/Autumn acl=user:bob:read")
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert listed(bob) == {"Plans", "Plans/2027/Autumn"}
        assert listed(alice) == {"Plans"}, "creators have no right to what is another's"
    c.ctl("public-mailbox remove Plans/2027/Autumn --yes")
    c.ctl("public-mailbox set Plans acl=")
    with node.imap("alice") as alice, node.imap("bob") as bob:
        assert listed(alice) == listed(bob) == set(), "nobody: not even creators"
    c.ctl("public-mailbox set Plans acl=user:alice:full")

    with node.imap("alice") as alice, node.imap("bob") as bob:
        # names that are taken, or no local part
        c.ctl("address add held@example.org to=bob")
        names = {"Bob": "no address", "SALES": "no address", "Held": "no address", "Änderung": "no address",
                            "With Space": "no address", "Free": "free@*"}
        for name in names:
            assert said(alice, "CREATE", quoted("Public/" + mutf7(name))) == "OK"
        made(c, *names)
        assert {name: table(c)[name][1] for name in names} == names
        c.ctl("address remove held@example.org")
        assert node.rcpt("free@example.org").startswith("250")

        # names that the model does not have are told, and stay with their owner
        assert said(alice, "CREATE", '"Public/INBOX"') == "OK"
        wait_until(lambda: "public folders without a name" in c.ctl("events").out, "it is told", 30, every=0.2)
        assert "INBOX" not in table(c)

        # by IMAP what is listed is emptied, never unlisted; another name is another mailbox
        assert said(alice, "DELETE", '"Public/Free"') == "OK"
        wait_until(lambda: os.path.isdir(folder(node, "Free")), "it is back, empty", 30, every=0.1)
        assert "Free" in table(c)
        assert said(alice, "RENAME", '"Public/Plans"', '"Public/Ideas"') == "OK"
        made(c, "Ideas")
        assert table(c)["Ideas"] == ("user:alice:full", "ideas@*") and len(messages(alice, "Ideas")) == 1
        wait_until(lambda: opens(alice, "Plans"), "the old one is there", 30, every=0.1)
        assert messages(alice, "Plans") == []
        assert said(alice, "DELETE", '"Public/INBOX"') == "OK"

        # by a group of the policy
        c.ctl("policy set public-creators=group:sales")
        assert not os.path.exists(folder(node, "Late"))
        wait_until(lambda: said(alice, "CREATE", '"Public/Late"') == "NO" or said(alice, "DELETE", '"Public/Late"') != "OK",
                   "alice may no more", 10, every=0.2)
    with node.imap("bob") as bob:
        wait_until(lambda: said(bob, "CREATE", '"Public/Groups"') == "OK", "a member may", 10, every=0.2)
        made(c, "Groups")
        assert table(c)["Groups"] == ("group:sales:full", "groups@*")
    c.ctl("policy set public-creators=")
