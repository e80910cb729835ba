"""Clusters for tests: real programs, one folder, one loopback address, nothing left behind.

    from harness import Cluster

    with Cluster(nodes=2) as c:
        c.site()
        c.ctl("address add info@example.org to=alice")
        assert c["mx1"].tables.lookup("alias", "info@example.org") == "alice@u.internal"

Waits are for facts (wait_until, with a deadline), never for time.
"""
from .cluster import Cluster
from .ctl import Answer
from .engine import Engine
from .mail import EICAR, GTUBE, Ledger
from .mailnode import MailNode
from .node import Node
from .wait import wait_until

__all__ = ["Answer", "Cluster", "EICAR", "Engine", "GTUBE", "Ledger", "MailNode", "Node", "wait_until"]
