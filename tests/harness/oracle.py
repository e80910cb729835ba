"""What must happen to a message, computed from what was stated and who is in the directory: the oracle.

Written from SPEC.md alone, never from the product's code: what both say is what was meant.

    world = World(domains={"example.org": Domain(groups=True)}, users={"alice": True}, ...)
    world.answer("alice+x@example.org")                   # '250', or the reply's first words: '550 5.1.1'
    world.copies("alice+x@example.org")                   # {"alice"}: mailboxes by name, the rest addresses outside

Names are lower case here, as SPEC says that case does not matter; recipients may be written as they like.
"""
import re
from dataclasses import dataclass, field

ACCEPTED, UNKNOWN, DISABLED, GONE = "250", "550 5.1.1", "550 5.2.1", "450"
INTERNAL, RELAY, CLOSED_LOGIN, FOREIGN_SENDER = "550 5.7.1", "554 5.7.1", "554 5.7.1", "553 5.7.1"


@dataclass
class Domain:
    users: bool = True            # user addresses
    groups: bool = False          # group addresses
    catch_all: str = None         # a destination


@dataclass
class Address:
    to: list                      # 'user:alice', 'group:sales', 'public:Support', 'x@far.test'
    internal: bool = False


@dataclass
class Mailbox:
    enabled: bool = True
    forward: list = field(default_factory=list)
    keep_copy: bool = True


@dataclass
class World:
    domains: dict = field(default_factory=dict)     # name -> Domain
    addresses: dict = field(default_factory=dict)   # (local, domain or '*') -> Address
    mailboxes: dict = field(default_factory=dict)   # user -> Mailbox, where it is not as usual
    users: dict = field(default_factory=dict)       # name -> may log in, by the directory
    groups: dict = field(default_factory=dict)      # name -> [user or 'g:group']
    gone: set = field(default_factory=set)          # users and groups ('g:NAME') that left a moment ago
    public: set = field(default_factory=set)        # public mailboxes
    match: str = "off"                              # sender-login-match
    exempt: set = field(default_factory=set)        # logins that it is not for

    # ---- what smtpd must say

    def answer(self, recipient, login=None, relay_client=False, sender=None):
        """RCPT's reply: its code, with the enhanced one where SPEC gives it.  login: who logged in on this session."""
        if login is not None and not self.may_submit(login):
            return CLOSED_LOGIN                                              # F-045
        if login is not None and sender and not self.may_send(login, sender):
            return FOREIGN_SENDER                                            # F-150
        local, _, domain = recipient.lower().rpartition("@")
        inside = login is not None or relay_client
        if domain in ("u.internal", "x.internal"):                           # nobody's domain, and no way around F-045
            return UNKNOWN if inside else RELAY
        if domain not in self.domains:
            return ACCEPTED if inside else RELAY                             # F-129
        kind, found = self.definition(local, domain)
        if kind == "none":
            return UNKNOWN                                                   # F-026
        open_, why = self.open(found.to)
        if kind in ("specific", "wildcard") and found.internal and not inside:
            return INTERNAL                                                  # F-081
        return ACCEPTED if open_ else why

    def may_submit(self, login):
        return self.users.get(login, False) and self.mailbox(login).enabled

    def may_send(self, login, sender):
        """F-150, F-151; the set is that of F-084."""
        if self.match == "off" or login in self.exempt:
            return True
        local, _, domain = sender.lower().rpartition("@")
        if domain not in self.domains:
            return False
        kind, found = self.definition(local, domain)
        if kind not in ("specific", "wildcard", "group", "user"):
            return False
        return any(kind == "user" and name == login or
                   kind == "group" and self.match == "include-groups" and login in self.members(name)
                   for kind, name in map(apart, found.to))

    def mailbox(self, user):
        return self.mailboxes.get(user, Mailbox())

    def definition(self, local, domain):
        """The one that applies (F-079), for the whole name first, then for what is before its tag (F-046)."""
        for name in [local] + ([local.split("+", 1)[0]] if "+" in local[1:] else []):
            if (name, domain) in self.addresses:
                return "specific", self.addresses[name, domain]
            if (name, "*") in self.addresses:
                return "wildcard", self.addresses[name, "*"]
            groups = self.domains[domain].groups and deliverable(name)
            users = self.domains[domain].users and deliverable(name)
            if groups and name in self.groups:
                return "group", Address([f"group:{name}"])
            if users and name in self.users:
                return "user", Address([f"user:{name}"])
            if groups and "g:" + name in self.gone or users and name in self.gone:   # for ten minutes known all the same
                return "gone", Address([f"group:{name}" if groups and "g:" + name in self.gone else f"user:{name}"])
        if self.domains[domain].catch_all:
            return "catch-all", Address([self.domains[domain].catch_all])
        return "none", None

    def open(self, destinations):
        """(can one of them be served?, the refusal when not): F-045, F-073.  What may be better soon is put off."""
        reasons = set()
        for to in destinations:
            kind, name = apart(to)
            if kind == "outside":
                domain = name.rpartition("@")[2]
                reply = self.answer(name, relay_client=True) if domain in self.domains else ACCEPTED
            elif kind == "public":
                reply = ACCEPTED if name in self.public else UNKNOWN
            elif kind == "user":
                reply = self._user_reply(name)
            else:
                reply = self._group_reply(name)
            if reply == ACCEPTED:
                return True, ACCEPTED
            reasons.add(reply)
        return False, next(r for r in (GONE, DISABLED, UNKNOWN) if r in reasons)

    def _user_reply(self, name):
        if name in self.users:
            return ACCEPTED if self.mailbox(name).enabled else DISABLED      # locked by the directory: its mail goes on
        return GONE if name in self.gone else UNKNOWN

    def _group_reply(self, name):
        if name in self.groups:
            members = self.members(name)
            if any(self._user_reply(m) == ACCEPTED for m in members):
                return ACCEPTED
            return GONE if any(m in self.gone for m in members) else DISABLED
        return GONE if "g:" + name in self.gone else UNKNOWN

    def members(self, group):
        """Users in it and in the groups below it; cycles end (F-024)."""
        seen, todo, users = set(), [group], set()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for member in self.groups.get(name, ()):
                if member.startswith("g:"):
                    todo.append(member[2:])
                else:
                    users.add(member)
        return users

    # ---- where the copies must be

    def copies(self, *recipients):
        """Of one message to these recipients, all accepted: each mailbox at most once (F-072)."""
        out = set()
        for recipient in recipients:
            local, _, domain = recipient.lower().rpartition("@")
            if domain not in self.domains:
                out.add(recipient)
                continue
            _, found = self.definition(local, domain)
            for to in found.to if found else ():
                out |= self._to(to)
        return out

    def _to(self, destination):
        kind, name = apart(destination)
        if kind == "outside":
            if name.rpartition("@")[2].lower() not in self.domains:
                return {name}
            return self._closure([("address", name.lower())])
        if kind == "public":
            return {f"public:{name}"} if name in self.public else set()
        if kind == "group":
            return set().union(*(self._user_copies(m) for m in self.members(name)))
        return self._user_copies(name)

    def _user_copies(self, user):
        """F-048: his mailbox and where he forwards to; who has no copy anywhere keeps it."""
        if self._user_reply(user) != ACCEPTED:
            return set()
        return self._closure([("user", user)]) or {user}

    def _closure(self, todo):
        """All that is reached, each step once: a loop ends."""
        seen, out = set(), set()
        while todo:
            step = todo.pop()
            if step in seen:
                continue
            seen.add(step)
            kind, name = step
            if kind == "user":
                if self._user_reply(name) == ACCEPTED:
                    mailbox = self.mailbox(name)
                    if mailbox.keep_copy or not mailbox.forward:
                        out.add(name)
                    todo += [("address", f) for f in mailbox.forward]
            elif kind == "public":
                out |= {f"public:{name}"} & {f"public:{p}" for p in self.public}
            elif kind == "group":
                todo += [("user", m) for m in self.members(name)]
            elif name.rpartition("@")[2].lower() not in self.domains:
                out.add(name)
            else:
                local, _, domain = name.lower().rpartition("@")
                _, found = self.definition(local, domain)
                todo += [("address", to) if apart(to)[0] == "outside" else apart(to) for to in (found.to if found else ())]
        return out

    # ---- what is stated, as 'apply' reads it

    def items(self, instance="main"):
        out = [{"kind": "domain", "instance": instance, "name": name, "user_addresses": d.users, "group_addresses": d.groups,
                **({"catch_all": d.catch_all} if d.catch_all else {})} for name, d in self.domains.items()]
        out += [{"kind": "address", "instance": instance, "name": f"{local}@{domain}", "to": a.to,
                 **({"internal": True} if a.internal else {})} for (local, domain), a in self.addresses.items()]
        out += [{"kind": "mailbox", "instance": instance, "name": user, **({} if m.enabled else {"enabled": False}),
                 **({"forward": m.forward, "keep_copy": m.keep_copy} if m.forward else {})}
                for user, m in self.mailboxes.items()]
        if self.match != "off" or self.exempt:
            out.append({"kind": "policy", "instance": instance, "sender_login_match": self.match,
                        **({"sender_login_exempt": sorted(self.exempt)} if self.exempt else {})})
        return out


def apart(destination):
    kind, _, name = destination.partition(":")
    return (kind, name) if kind in ("user", "group", "public") and name else ("outside", destination)


def deliverable(name):
    """F-085 and F-046: directory names outside have no address."""
    return (re.fullmatch(r"[a-z0-9._'+-]{1,64}", name) is not None and name[0] not in ".+" and name[-1] != "."
            and ".." not in name)
