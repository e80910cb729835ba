"""What Postfix would do with a recipient, from the answers of postmap -q alone: the same probes in the same order.

Source: access(5), virtual(5), postconf(5) recipient_delimiter; ENGINE.md 2a has the maps and where they stand.
"""
from dataclasses import dataclass


@dataclass(frozen=True)
class Fate:
    """RCPT's answer to somebody outside ('OK' or a reply), and where an accepted one ends."""
    reply: str
    boxes: frozenset = frozenset()

    @property
    def code(self):
        return self.reply[:3] if self.reply[:1].isdigit() else self.reply


def fates(tables, recipients):
    """{recipient: Fate}.  Recipients are already lower case, as cleanup folds them for the maps."""
    replies = _replies(tables, recipients)
    accepted = [r for r in recipients if replies[r] == "OK"]
    boxes = _expanded(tables, accepted)
    return {r: Fate(replies[r], boxes.get(r, frozenset())) for r in recipients}


def _probes(recipient):
    """user+tag@domain, then user@domain."""
    local, _, domain = recipient.rpartition("@")
    base = local.split("+", 1)[0]
    return [recipient] + ([f"{base}@{domain}"] if "+" in local and base else [])


def _replies(tables, recipients):
    keys = list(dict.fromkeys(p for r in recipients for p in _probes(r)))
    answers = {name: tables.lookups(name, keys) for name in ("gate", "ours", "known", "rest")}

    def first(name, recipient):
        return next((answers[name][p] for p in _probes(recipient) if p in answers[name]), None)

    def reply(recipient):
        gate = first("gate", recipient)
        if gate:
            return gate
        if not first("ours", recipient):
            return "554 5.7.1 relay access denied"
        known = first("known", recipient)
        if known and known.startswith("internal_"):
            return "550 5.7.1 internal address"
        if known == "over_quota":
            return "452 4.2.2 mailbox is full, try again"
        return known or first("rest", recipient) or "OK"

    return {r: reply(r) for r in recipients}


def _expanded(tables, recipients, rounds=12):
    """virtual_alias_maps, until nothing changes."""
    boxes = {r: {r} for r in recipients}
    known = {}
    for _ in range(rounds):
        ask = {a for group in boxes.values() for a in group} - known.keys()
        if not ask:
            break
        known.update(_aliases(tables, sorted(ask)))
        for recipient, group in boxes.items():
            boxes[recipient] = {t for a in group for t in known.get(a, [a])}
    else:
        raise AssertionError(f"expansion does not end: {boxes}")
    while True:  # what is known already may still lead on
        after = {r: {t for a in g for t in known.get(a, [a])} for r, g in boxes.items()}
        if after == boxes:
            return {r: frozenset(g) for r, g in boxes.items()}
        boxes = after


def _aliases(tables, addresses):
    probes = {a: _probes(a) + ["@" + a.rpartition("@")[2]] for a in addresses}
    keys = list(dict.fromkeys(p for ps in probes.values() for p in ps))
    maps = [tables.lookups(name, keys) for name in ("alias", "expand", "catchall")]
    out = {}
    for address, ps in probes.items():
        hit = next((m[p] for p in ps for m in maps if p in m), None)
        out[address] = [t.strip() for t in hit.split(",")] if hit else [address]
    return out
