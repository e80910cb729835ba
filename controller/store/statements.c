#include "store/statements.h"

/* The expression of index object_domain, to the letter. */
#define DOMAIN_OF "substr(name, instr(name, '@') + 1)"
#define DOMAIN_OF_3 "substr(?3, instr(?3, '@') + 1)"

const char *const statements[N_SQL] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_CHANGE] = "SAVEPOINT change",
    [SQL_CHANGE_END] = "RELEASE change",
    [SQL_CHANGE_UNDO] = "ROLLBACK TO change",

    [SQL_GET] = "SELECT bytes FROM object WHERE kind=?1 AND instance=?2 AND name=?3",
    [SQL_GET_THEN] = "SELECT bytes FROM object WHERE kind=?1 AND instance=?2 AND name=?3 AND from_revision<=?4"
                     " UNION ALL SELECT bytes FROM past"
                     " WHERE kind=?1 AND instance=?2 AND name=?3 AND from_revision<=?4 AND to_revision>?4",
    [SQL_OF_KIND] = "SELECT bytes FROM object WHERE kind=?1",
    [SQL_OF_INSTANCE] = "SELECT bytes FROM object WHERE kind=?1 AND instance=?2",
    /* Without the instance.  The unary plus: SQLite would put ?3 into the expression, and miss the index. */
    [SQL_OF_PLAIN_NAME] = "SELECT bytes FROM object INDEXED BY object_domain"
                          " WHERE kind=?1 AND " DOMAIN_OF "=?3 AND +name=?3",
    /* The same for LOCAL@DOMAIN: from one instance that has something of that domain to the next. */
    [SQL_OF_NAME] = "WITH RECURSIVE i(instance) AS ("
                    "SELECT min(instance) FROM object WHERE kind=?1 AND " DOMAIN_OF "=" DOMAIN_OF_3
                    " UNION ALL SELECT (SELECT min(object.instance) FROM object"
                    " WHERE kind=?1 AND " DOMAIN_OF "=" DOMAIN_OF_3 " AND object.instance>i.instance)"
                    " FROM i WHERE instance IS NOT NULL)"
                    " SELECT o.bytes FROM i CROSS JOIN object o ON o.kind=?1 AND o.instance=i.instance AND o.name=?3",

    [SQL_STATED] = "SELECT from_revision, bytes FROM object WHERE kind=?1 AND instance=?2 AND name=?3",
    [SQL_ENDED] = "SELECT from_revision, bytes FROM past"
                  " WHERE kind=?1 AND instance=?2 AND name=?3 AND to_revision=?4",
    [SQL_OBJECT_ADD] = "INSERT INTO object(kind, instance, name, scope, from_revision, bytes) VALUES(?,?,?,?,?,?)",
    [SQL_OBJECT_SET] = "UPDATE object SET from_revision=?4, bytes=?5 WHERE kind=?1 AND instance=?2 AND name=?3",
    [SQL_OBJECT_DROP] = "DELETE FROM object WHERE kind=?1 AND instance=?2 AND name=?3",
    [SQL_PAST_ADD] = "INSERT INTO past(kind, instance, name, from_revision, to_revision, scope, bytes)"
                     " VALUES(?,?,?,?,?,?,?)",
    [SQL_PAST_DROP] = "DELETE FROM past WHERE kind=?1 AND instance=?2 AND name=?3 AND from_revision=?4",
    [SQL_REVISION_ADD] = "INSERT INTO revision(number, time, who, message, via, n_changed, chain)"
                         " VALUES(?,?,?,?,?,?,?)",
    [SQL_SCOPE] = "SELECT id, digest, n_objects FROM scope WHERE name=?1",
    [SQL_SCOPE_ADD] = "INSERT INTO scope(name, digest, n_objects, revision) VALUES(?1, ?2, 0, 0)",
    [SQL_SCOPE_SET] = "UPDATE scope SET digest=?2, n_objects=?3, revision=?4 WHERE id=?1",
    [SQL_TOUCHED_ADD] = "INSERT INTO touched(scope, revision, kinds) VALUES(?1, ?2, ?3)",
    [SQL_SUBSCRIPTION_ADD] = "INSERT INTO subscription(node, scope, kind, instance, name, from_revision)"
                             " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_SUBSCRIPTION_REOPEN] = "UPDATE subscription SET to_revision=NULL"
                                " WHERE node=?1 AND scope=?2 AND kind=?3 AND instance=?4 AND name=?5"
                                " AND to_revision=?6",
    [SQL_SUBSCRIPTION_CLOSE] = "UPDATE subscription SET to_revision=?6"
                               " WHERE node=?1 AND scope=?2 AND kind=?3 AND instance=?4 AND name=?5"
                               " AND to_revision IS NULL AND from_revision<?6",
    [SQL_SUBSCRIPTION_DROP] = "DELETE FROM subscription"
                              " WHERE node=?1 AND scope=?2 AND kind=?3 AND instance=?4 AND name=?5"
                              " AND from_revision=?6",

    [SQL_SECRET] = "SELECT scope, sealed FROM secret WHERE id=?1",
    [SQL_SECRET_NEWEST] = "SELECT id FROM secret ORDER BY id DESC LIMIT 1",
    /* SQLite keeps the highest that was ever given; a number that is written beside it raises it. */
    [SQL_SECRET_NEXT] = "SELECT seq FROM sqlite_sequence WHERE name='secret'",
    [SQL_SECRET_ADD] = "INSERT INTO secret(id, scope, sealed) VALUES(?1, ?2, ?3)",
    [SQL_SECRET_DROP] = "DELETE FROM secret WHERE id=?1",

    [SQL_HEAD] = "SELECT number, chain FROM revision ORDER BY number DESC LIMIT 1",
    [SQL_OLDEST] = "SELECT min(number) FROM revision",
    [SQL_N_OBJECTS] = "SELECT total(n_objects) FROM scope",
    [SQL_HISTORY] = "SELECT number, time, who, message, via, n_changed FROM revision"
                    " WHERE number<?1 ORDER BY number DESC LIMIT ?2",
    [SQL_HISTORY_OF] = "SELECT r.number, r.time, r.who, r.message, r.via, r.n_changed FROM ("
                       "SELECT from_revision AS n FROM object WHERE kind=?1 AND instance=?2 AND name=?3"
                       " UNION SELECT from_revision FROM past WHERE kind=?1 AND instance=?2 AND name=?3"
                       " UNION SELECT to_revision FROM past WHERE kind=?1 AND instance=?2 AND name=?3)"
                       " JOIN revision r ON r.number=n WHERE n<?4 ORDER BY n DESC LIMIT ?5",
    [SQL_CHANGED_SINCE] = "SELECT min(n) FROM ("
                          "SELECT from_revision AS n FROM object WHERE kind=?1 AND instance=?2 AND name=?3"
                          " UNION ALL SELECT from_revision FROM past WHERE kind=?1 AND instance=?2 AND name=?3"
                          " UNION ALL SELECT to_revision FROM past WHERE kind=?1 AND instance=?2 AND name=?3)"
                          " WHERE n>?4",
    /* What may differ between two revisions: versions that ended between them, and that began between them, be they of
     * today or of the past. */
    [SQL_DIFF_SCOPES] = "SELECT scope, kinds FROM touched WHERE revision>?1 AND revision<=?2",
    [SQL_DIFF_BEGUN] = "SELECT instance, name FROM object"
                       " WHERE scope=?1 AND kind=?2 AND from_revision>?3 AND from_revision<=?4",
    [SQL_DIFF_ENDED] = "SELECT instance, name FROM past"
                       " WHERE scope=?1 AND kind=?2 AND to_revision>?3 AND to_revision<=?4",
    [SQL_DIFF_PASSED] = "SELECT instance, name FROM past"
                        " WHERE scope=?1 AND kind=?2 AND from_revision>?3 AND from_revision<=?4",
    [SQL_CHAIN] = "SELECT chain FROM revision WHERE number=?1",
    [SQL_HORIZON] = "SELECT max(number) FROM revision WHERE time<=?1",
    [SQL_FORGET_PAST] = "DELETE FROM past WHERE to_revision<=?1",
    /* The last move of a node up to the horizon stays: it says where the node should stand. */
    [SQL_FORGET_SUBSCRIPTIONS] = "DELETE FROM subscription WHERE to_revision<=?1 AND EXISTS("
                                 "SELECT 1 FROM subscription later WHERE later.node=subscription.node AND"
                                 " ((later.from_revision>subscription.to_revision AND later.from_revision<=?1)"
                                 " OR (later.to_revision>subscription.to_revision AND later.to_revision<=?1)))",
    [SQL_FORGET_TOUCHED] = "DELETE FROM touched WHERE revision<?1 AND EXISTS("
                           "SELECT 1 FROM touched later WHERE later.scope=touched.scope"
                           " AND later.revision>touched.revision AND later.revision<=?1)",
    [SQL_FORGET_REVISIONS] = "DELETE FROM revision WHERE number<?1",

    [SQL_NODE_SCOPES] = "SELECT c.name, c.digest FROM subscription s CROSS JOIN scope c ON c.id=s.scope"
                        " WHERE s.node=?1 AND s.to_revision IS NULL GROUP BY s.scope",
    [SQL_NODE_SCOPES_THEN] = "SELECT c.name, c.digest FROM subscription s CROSS JOIN scope c ON c.id=s.scope"
                             " WHERE s.node=?1 AND s.from_revision<=?2 AND (s.to_revision IS NULL OR s.to_revision>?2)"
                             " GROUP BY s.scope",
    [SQL_NODE_REVISION] = "SELECT max(max(s.from_revision, CASE WHEN s.to_revision<=?2 THEN s.to_revision ELSE 0 END,"
                          " CASE WHEN s.to_revision<=?2 THEN 0 ELSE coalesce((SELECT max(t.revision) FROM touched t"
                          " WHERE t.scope=s.scope AND t.revision<=?2), 0) END))"
                          " FROM subscription s WHERE s.node=?1 AND s.from_revision<=?2",
    [SQL_NODES_TOUCHED] =
        "SELECT s.node FROM touched t CROSS JOIN subscription s ON s.scope=t.scope"
        " WHERE t.revision=?1 AND s.from_revision<=?1 AND (s.to_revision IS NULL OR s.to_revision>=?1)"
        " UNION SELECT node FROM subscription WHERE from_revision=?1"
        " UNION SELECT node FROM subscription WHERE to_revision=?1",
    [SQL_NODES] = "SELECT DISTINCT node FROM subscription WHERE to_revision IS NULL ORDER BY node",
    [SQL_SUMS] = "SELECT scope, bytes FROM object",
    [SQL_SCOPES] = "SELECT id, name, digest, n_objects FROM scope ORDER BY id",
    /* Has it now, had it then: by all that says so. */
    [SQL_DELTA_SCOPES] = "SELECT c.id, c.name, c.revision, max(s.to_revision IS NULL),"
                         " max(s.from_revision<=?2 AND (s.to_revision IS NULL OR s.to_revision>?2))"
                         " FROM subscription s CROSS JOIN scope c ON c.id=s.scope WHERE s.node=?1 GROUP BY s.scope",
    [SQL_DELTA_REMOVED] = "SELECT instance, name FROM past p"
                          " WHERE scope=?1 AND kind=?2 AND to_revision>?3 AND from_revision<=?3 AND NOT EXISTS("
                          "SELECT 1 FROM object o WHERE o.kind=p.kind AND o.instance=p.instance AND o.name=p.name)",
    [SQL_DELTA_OBJECTS] = "SELECT bytes FROM object WHERE scope=?1 AND kind=?2 AND from_revision>?3",

    [SQL_KEYS] = "SELECT node, public_key, revoked, joined, last_seen FROM node_key",
    [SQL_KEY_HOLDER] = "SELECT node FROM node_key WHERE public_key=?1",
    [SQL_KEY_SET] = "REPLACE INTO node_key(node, public_key, revoked, joined, last_seen) VALUES(?1, ?2, 0, ?3, 0)",
    [SQL_KEY_REVOKE] = "UPDATE node_key SET revoked=1 WHERE node=?1",
    [SQL_KEY_FORGET] = "DELETE FROM node_key WHERE node=?1",
    [SQL_KEY_SEEN] = "UPDATE node_key SET last_seen=?2 WHERE node=?1 AND last_seen<?2",
    [SQL_TOKEN] = "SELECT hash, expires FROM token WHERE node=?1",
    [SQL_TOKEN_ADD] = "REPLACE INTO token(node, hash, expires) VALUES(?1, ?2, ?3)",
    [SQL_TOKEN_DROP] = "DELETE FROM token WHERE node=?1",
    [SQL_HAPPENING] = "SELECT number FROM happening WHERE node=?1",
    [SQL_HAPPENING_SET] = "REPLACE INTO happening(node, number) VALUES(?1, ?2)",
    [SQL_HAPPENING_FORGET] = "DELETE FROM happening WHERE node=?1",
    [SQL_TASK_PUT] = "INSERT INTO task(id, bytes) VALUES(?1, ?2) ON CONFLICT(id) DO UPDATE SET bytes=excluded.bytes",
    [SQL_TASK_TRIM] = "DELETE FROM task WHERE number<=(SELECT max(number) FROM task)-?1",
    [SQL_TASK] = "SELECT bytes FROM task WHERE id=?1",
    [SQL_TASKS] = "SELECT bytes FROM task ORDER BY number DESC LIMIT ?1",
    [SQL_EVENT_NEWEST] = "SELECT max(number) FROM event",
    [SQL_EVENT_ADD] = "INSERT INTO event(number, node, bytes) VALUES(?1, ?2, ?3)",
    [SQL_EVENT_TRIM] = "DELETE FROM event WHERE number<=?1",
    [SQL_EVENTS] = "SELECT bytes FROM (SELECT number, bytes FROM event WHERE number>?1"
                   " ORDER BY number DESC LIMIT ?2) ORDER BY number",
    [SQL_EVENTS_OF] = "SELECT bytes FROM (SELECT number, bytes FROM event WHERE number>?1 AND node=?3"
                      " ORDER BY number DESC LIMIT ?2) ORDER BY number",
};
