-- The controller's store.  user_version: STORE_SCHEMA of store.h.
-- Texts of keys are never NULL: what has no instance has ''.

-- Every accepted change.  Row 1 is the first one; what is older than is kept has gone from the front.
CREATE TABLE revision(
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,              -- seconds since 1970
    who TEXT NOT NULL,
    message TEXT,
    via TEXT,
    n_changed INTEGER NOT NULL,         -- objects
    chain BLOB NOT NULL
);

-- Scopes by number: a hundred thousand rows name theirs.
CREATE TABLE scope(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    digest BLOB NOT NULL,               -- sum over its objects
    n_objects INTEGER NOT NULL,
    revision INTEGER NOT NULL           -- newest that changed it
);

CREATE TABLE touched(
    scope INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    kinds INTEGER NOT NULL,             -- bit N: objects of kind N were altered
    PRIMARY KEY(scope, revision)
) WITHOUT ROWID;
CREATE INDEX touched_revision ON touched(revision);

-- What is stated now.
CREATE TABLE object(
    kind INTEGER NOT NULL,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    scope INTEGER NOT NULL,
    from_revision INTEGER NOT NULL,
    bytes BLOB NOT NULL,                -- canonical
    PRIMARY KEY(kind, instance, name)
) WITHOUT ROWID;
CREATE INDEX object_changed ON object(scope, kind, from_revision);
-- Of an address what stands behind the '@', of everything else the whole name: the addresses of a domain,
-- and a domain without its instance.
CREATE INDEX object_domain ON object(kind, substr(name, instr(name, '@') + 1));

-- What was stated from one revision until another.  Apart from what is: lists of today do not pass it.
CREATE TABLE past(
    kind INTEGER NOT NULL,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER NOT NULL,
    scope INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY(kind, instance, name, from_revision)
) WITHOUT ROWID;
CREATE INDEX past_ended ON past(scope, kind, to_revision);
CREATE INDEX past_begun ON past(scope, kind, from_revision);

-- Which node needs which scope, and the object that says so.
CREATE TABLE subscription(
    node TEXT NOT NULL,
    scope INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    to_revision INTEGER,                -- NULL: now
    PRIMARY KEY(node, scope, kind, instance, name, from_revision)
) WITHOUT ROWID;
CREATE INDEX subscription_scope ON subscription(scope);
CREATE INDEX subscription_from ON subscription(from_revision);
CREATE INDEX subscription_to ON subscription(to_revision);

-- What secret fields of today's objects name by number.  Sealed under the key file beside the store; a number is never
-- given twice, and a row goes with the last object that names it.
CREATE TABLE secret(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    sealed BLOB NOT NULL
);

-- Facts about nodes: no part of the desired state.
CREATE TABLE node_key(
    node TEXT PRIMARY KEY,
    public_key TEXT UNIQUE,
    revoked INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE token(
    node TEXT PRIMARY KEY,
    hash BLOB NOT NULL,
    expires INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE happening(
    node TEXT PRIMARY KEY,
    number INTEGER NOT NULL             -- the highest that was taken
) WITHOUT ROWID;

CREATE TABLE task(
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    bytes BLOB NOT NULL                 -- TaskInfo
);
CREATE TABLE event(
    number INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    bytes BLOB NOT NULL                 -- EventInfo
);
CREATE INDEX event_node ON event(node);
