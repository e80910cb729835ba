-- mail.db: what Postfix and Dovecot read live.  One row per definition, never per user and domain.
-- Tables of the daemons first; account, member, gone come from the directory; edge and standing are the agent's own.

CREATE TABLE state(one INTEGER PRIMARY KEY CHECK (one = 1),
                   revision INTEGER NOT NULL, digest BLOB NOT NULL,
                   instance TEXT, complete INTEGER NOT NULL, away INTEGER NOT NULL);

-- NULL is open.  known: nobody is answered yet; rest: the directory is away, unknown names are put off.
CREATE TABLE gate(one INTEGER PRIMARY KEY CHECK (one = 1), known TEXT, rest TEXT);

-- login: what applies to every login without a row of its own; quota and spam_retention stand in for NULL in userdb.
-- senders: 'users', or 'groups' where members of a destination may send from an address, too.
-- creators: who may make public mailboxes, with all rights, as dovecot-acl has it.
CREATE TABLE policy(one INTEGER PRIMARY KEY CHECK (one = 1),
                    quota INTEGER NOT NULL, spam_retention INTEGER NOT NULL, login TEXT, senders TEXT NOT NULL,
                    creators TEXT NOT NULL);

-- class '-' '-u' '-g' '-ug': its switches; '!' the pseudo-domains.  verdict: for names without a row in rcpt.
CREATE TABLE domain(name TEXT PRIMARY KEY, class TEXT NOT NULL, verdict TEXT NOT NULL, catchall TEXT) WITHOUT ROWID;

-- scope: a domain (specific) or a class; '-' sorts before letters and digits, so the specific row wins by key order.
CREATE TABLE rcpt(local TEXT NOT NULL, scope TEXT NOT NULL, verdict TEXT NOT NULL, dest TEXT NOT NULL, senders TEXT,
                  PRIMARY KEY (local, scope)) WITHOUT ROWID;

-- key 'u=alice': a user who forwards; 'g=sales': a group; 'g=sales==0.001f': one of its buckets.  Nothing leads back.
CREATE TABLE expand(key TEXT NOT NULL, target TEXT NOT NULL, PRIMARY KEY (key, target)) WITHOUT ROWID;

-- Who may relay without a login: the addresses between low and high, as '4' and four times four decimal digits, or '8' and
-- 32 hexadecimal ones.
CREATE TABLE relay_client(network TEXT PRIMARY KEY, low TEXT NOT NULL, high TEXT NOT NULL) WITHOUT ROWID;

-- Logins that the policy's answer is not for: closed ones, and those that may use any sender.
CREATE TABLE login(name TEXT PRIMARY KEY, action TEXT NOT NULL) WITHOUT ROWID;

-- login: 1 may log in.  NULL: as the policy says.
CREATE TABLE userdb(name TEXT PRIMARY KEY, uuid TEXT NOT NULL, login INTEGER NOT NULL,
                    quota INTEGER, spam_retention INTEGER, acl_groups TEXT) WITHOUT ROWID;

-- A public mailbox: the key in its recipient p=KEY@u.internal, its folder on the disk, and its rights as dovecot-acl has them.
CREATE TABLE public(name TEXT PRIMARY KEY, key TEXT NOT NULL, folder TEXT NOT NULL, acl TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX public_key ON public(key);

-- src is computed from dst.  src: the objects 'a:info@example.org' 'd:example.org', the forwards of user 'u:alice'.
-- dst: 'u:alice' 'g:sales' whether they are there and open; 'U:alice' 'G:sales' where their mail ends;
-- 'd:example.org' whether it is ours, and its switches; 'l:info' whatever info means; 'p:Sales' a public mailbox.
CREATE TABLE edge(src TEXT NOT NULL, dst TEXT NOT NULL, PRIMARY KEY (src, dst)) WITHOUT ROWID;
CREATE INDEX edge_dst ON edge(dst, src);

-- What others see of 'u:alice' and 'g:sales': as long as it stays the same, they need not be looked at.
CREATE TABLE standing(name TEXT PRIMARY KEY, facts TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE account(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, uuid TEXT NOT NULL, name TEXT NOT NULL,
                     full_name TEXT, enabled INTEGER NOT NULL, UNIQUE (kind, uuid));
CREATE INDEX account_name ON account(kind, name);

CREATE TABLE member(grp INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
                    PRIMARY KEY (grp, kind, name)) WITHOUT ROWID;
CREATE INDEX member_name ON member(kind, name, grp);

-- Names that left the directory, since when (seconds of the wall clock): put off for ten minutes, then unknown.
CREATE TABLE gone(kind TEXT NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
