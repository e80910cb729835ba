/* queries.h - what the daemons ask of mail.db: one text, for the map files, the renderer and the tests
 *
 * %s %u %d are Postfix's (sqlite_table(5)): whole key, local part, domain; it quotes
 * them.  A query with %d is not made for a key without a domain.  %Ln is Dovecot's.
 */
#pragma once

/* The pseudo-domains: mailboxes, and keys of expand.  Nobody can address them: class '!' refuses them at RCPT. */
#define MAILBOX_DOMAIN "u.internal"
#define EXPAND_DOMAIN "x.internal"

/* Looked up through the map 'expand' as each daemon's uid; no user, group or address can have this key. */
#define CANARY_KEY "canary="
#define CANARY_TARGET "canary@" MAILBOX_DOMAIN

/* The winner of F-079 for %u@%d.  Through the row of the domain, so that a class is never taken for a domain's name. */
#define QUERY_BEST(column)                                                                                             \
    "SELECT r." column " FROM domain d CROSS JOIN rcpt r ON r.local='%u' AND r.scope IN (d.name, d.class)"             \
    " WHERE d.name='%d' ORDER BY r.scope DESC LIMIT 1"

/* Without a row in gate the tables are empty: that must not answer 554. */
#define QUERY_GATE                                                                                                     \
    "SELECT known FROM gate WHERE known IS NOT NULL AND '%d'<>''"                                                      \
    " UNION ALL SELECT '451 4.3.0 no tables' WHERE '%d'<>'' AND NOT EXISTS (SELECT 1 FROM gate)"
#define QUERY_OURS "SELECT 'OK' FROM domain WHERE name='%d' AND class<>'!'"
#define QUERY_KNOWN QUERY_BEST("verdict")
#define QUERY_REST                                                                                                     \
    "SELECT CASE class WHEN '!' THEN verdict ELSE coalesce((SELECT rest FROM gate), verdict) END"                      \
    " FROM domain WHERE name='%d'"
#define QUERY_ALIAS QUERY_BEST("dest")
#define QUERY_ALIAS_DOMAINS "SELECT 'OK' FROM domain WHERE name='%s' AND class<>'!'"
#define QUERY_EXPAND "SELECT target FROM expand WHERE key='%u'"
/* Meets only the '@domain' probe: '%s' of any other key is no domain's name without its first character. */
#define QUERY_CATCHALL                                                                                                 \
    "SELECT catchall FROM domain WHERE name=substr('%s',2) AND substr('%s',1,1)='@' AND catchall IS NOT NULL"
#define QUERY_SENDERS QUERY_BEST("senders")
/* A session outlives its account: who is no user any more may not submit.  While the tables are not complete that is
 * nobody's fault: 451. */
#define QUERY_LOGIN                                                                                                    \
    "SELECT action FROM login WHERE name='%s'"                                                                         \
    " UNION ALL SELECT CASE WHEN EXISTS (SELECT 1 FROM gate WHERE known IS NULL)"                                      \
    " THEN '554 5.7.1 this login is no user any more' ELSE '451 4.3.0 mail tables are not complete yet' END"           \
    " WHERE NOT EXISTS (SELECT 1 FROM userdb WHERE name='%s')"                                                         \
    " AND NOT EXISTS (SELECT 1 FROM login WHERE name='%s')"                                                            \
    " UNION ALL SELECT login FROM policy WHERE login IS NOT NULL AND EXISTS (SELECT 1 FROM userdb WHERE name='%s')"    \
    " AND NOT EXISTS (SELECT 1 FROM login WHERE name='%s')"

/* Dovecot's userdb.  0 bytes is no limit; an autoexpunge of 0 is off. */
#define QUERY_USERDB                                                                                                   \
    "SELECT u.name AS user, '*:bytes=' || coalesce(u.quota, p.quota) AS quota_rule, u.acl_groups AS acl_groups,"       \
    " coalesce(u.spam_retention, p.spam_retention) || 's' AS \"namespace/inbox/mailbox/Junk/autoexpunge\""             \
    " FROM userdb u CROSS JOIN policy p WHERE u.name='%Ln'"
#define QUERY_USERDB_ITERATE "SELECT name AS user FROM userdb"
