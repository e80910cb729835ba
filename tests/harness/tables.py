"""What the daemons would see: rows of mail.db and answers of postmap -q, asked as Postfix's uid."""
import functools
import grp
import os
import pwd
import sqlite3
import subprocess

from .program import environment

POSTMAP = "/usr/sbin/postmap"


class Tables:
    def __init__(self, root, folder):
        self.folder = os.path.join(root, "var/lib/mailnode/tables")
        self.path = os.path.join(self.folder, "mail.db")
        self._postfix = os.path.join(folder, "postfix")

    def query(self, sql, *args):
        """Rows of mail.db, read only."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)
        try:
            return db.execute(sql, args).fetchall()
        finally:
            db.close()

    def rows(self):
        """Everything that is an answer, for comparing two states: {table: sorted rows}."""
        db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5, isolation_level=None)
        try:
            db.execute("BEGIN")   # all of one moment
            names = [n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE type='table' AND name NOT LIKE 'sqlite_%'")]
            return {n: sorted(db.execute(f"SELECT * FROM {n}").fetchall(), key=repr) for n in names}
        finally:
            db.close()

    def map(self, name):
        return f"sqlite:{self.folder}/maps/{name}.cf"

    def lookup(self, name, key):
        """postmap -q KEY sqlite:.../NAME.cf as uid postfix; None when there is no answer."""
        return self.lookups(name, [key]).get(key)

    def lookups(self, name, keys):
        """One postmap for many keys: {key: answer} of those that have one."""
        done = subprocess.run([POSTMAP, "-c", self._config(), "-q", "-", self.map(name)],
                              input="".join(k + "\n" for k in keys), capture_output=True, text=True, timeout=60,
                              env=environment(), **_as("postfix"))
        if done.returncode not in (0, 1) or done.stderr:
            raise AssertionError(f"postmap {name}: exit {done.returncode}: {done.stderr}")
        return dict(line.split("\t", 1) for line in done.stdout.splitlines())

    def readable_as(self, user):
        """Can this user's uid read the revision row?  Its own words when not."""
        done = subprocess.run(["/usr/bin/sqlite3", "-readonly", self.path, "SELECT count(*) FROM domain"],
                              capture_output=True, text=True, timeout=30, env=environment(), **_as(user))
        return None if done.returncode == 0 else done.stderr

    def _config(self):
        """A main.cf of the test's own: nothing of /etc/postfix but where its maps are."""
        if not os.path.exists(self._postfix):
            os.makedirs(self._postfix)
            with open(self._postfix + "/main.cf", "w") as f:
                f.write("compatibility_level = 3.6\ninet_interfaces = 127.0.0.1\nmeta_directory = /etc/postfix\n"
                        "shlib_directory = /usr/lib/postfix\nmaillog_file = /dev/stdout\n")
            old = os.stat(self._postfix + "/main.cf").st_mtime - 10  # programs wait until it is 2 s old
            os.utime(self._postfix + "/main.cf", (old, old))
        return self._postfix


@functools.cache
def _as(user):
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid,
            "extra_groups": [g.gr_gid for g in grp.getgrall() if user in g.gr_mem]}
