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
#define QUERY_BEST_FROM                                                                                                \
    " FROM domain d CROSS JOIN rcpt r ON r.local='%u' AND r.scope IN (d.name, d.class)"                                \
    " WHERE d.name='%d' ORDER BY r.scope DESC LIMIT 1"
#define QUERY_BEST(column) "SELECT r." column QUERY_BEST_FROM

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
/* In place of a list of senders: every user.  No user can have this name. */
#define SENDERS_ANYONE "anyone="
#define QUERY_SENDERS                                                                                                  \
    "SELECT CASE r.senders WHEN '" SENDERS_ANYONE                                                                      \
    "' THEN (SELECT group_concat(name) FROM userdb) ELSE r.senders END" QUERY_BEST_FROM
/* Is this address one of a relay client's?  Postfix asks with the whole address (IPv4 also where it came in IPv6's
 * clothes), and with the client's host name: what is neither digits and dots nor has a colon is no address.  '::' is
 * written out ('0:' as often as groups are missing; of the empty one at an end comes a group by itself), then the address
 * is taken apart as a list of JSON, each group as four characters behind the number of them.  A short text: Postfix has
 * it prepared anew for each answer. */
#define IS_CLIENT_ADDRESS " WHERE ('%s' GLOB '*:*' OR '%s' NOT GLOB '*[^0-9.]*')"
#define CLIENT_FROM                                                                                                     \
    " FROM (SELECT count(*)||group_concat(substr('0000'||value,-4),'') AS k FROM json_each('[\"'||"                     \
    "replace(replace(replace('%s','::',':'||substr('0:0:0:0:0:0:',1,2*(8-length('%s')+length(replace('%s',':','')))))," \
    "':','\",\"'),'.','\",\"')||'\"]')) CROSS JOIN relay_client ON k BETWEEN low AND high"
#define QUERY_CLIENTS "SELECT 'OK'" CLIENT_FROM IS_CLIENT_ADDRESS " LIMIT 1"
/* For an internal address that takes no mail just now: to strangers it is internal, whatever else it is (SPEC F-081). */
#define QUERY_STRANGERS "SELECT coalesce((SELECT 'DUNNO'" CLIENT_FROM " LIMIT 1), 'internal_only')" IS_CLIENT_ADDRESS

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

/* ---- secrets.db: where mail that leaves goes (relays.h) ---- */

/* Before all rules: an address of ours that leads nowhere any more shall not leave by one. */
#define QUERY_OWN "SELECT 'error:5.1.1 no such address' FROM domain WHERE name='%d' AND class<>'!'"
/* Postfix asks for the address, the domain, and .domain of each domain above it, longest first. */
#define QUERY_TRANSPORT "SELECT nexthop FROM relay WHERE kind='r' AND subject='%s'"
/* For senders it does not ask for .domain: the first probe, the whole address, is answered for all of them, in the order
 * of F-131a: as it is, without its tag, its domain, what lies above that, the nearest first.  Without a table of SQLite's
 * own making (WITH RECURSIVE, IN with ORDER BY): two of them in one statement cost more than all the rest, since their
 * memory goes back to the system each time. */
#define SENDER_RULE "FROM relay WHERE kind='s' AND subject"
#define QUERY_SENDER_TRANSPORT                                                                                         \
    "SELECT nexthop FROM (SELECT nexthop, 0 AS n " SENDER_RULE "='%s'"                                                 \
    " UNION ALL SELECT nexthop, 1 " SENDER_RULE "=substr('%u', 1, instr('%u', '+') - 1) || '@%d'"                      \
    " UNION ALL SELECT nexthop, 2 " SENDER_RULE "='@%d'"                                                               \
    " UNION ALL SELECT nexthop, 1000 - length(subject) " SENDER_RULE " BETWEEN '@.' AND '@/'"                          \
    " AND substr('%d', 1 - length(subject))=substr(subject, 2)) ORDER BY n LIMIT 1"
#define QUERY_DEFAULT_RULE "SELECT nexthop FROM relay WHERE kind='d' AND subject='' AND '%s'<>''"
/* A destination in brackets that has no login any more: the message is on its way since before its rule changed, and shall
 * come back with the new one, not be tried without.  The statement itself fails then, which Postfix takes for "later". */
#define QUERY_RELAY_LOGIN                                                                                              \
    "SELECT login FROM login WHERE dest='%s'"                                                                          \
    " UNION ALL SELECT json('gone') WHERE substr('%s', 1, 1)='[' AND NOT EXISTS (SELECT 1 FROM login WHERE dest='%s')"

/* Nobody may be told "no such user" because a table was lost, or while a name that left the directory is put off: the
 * statement itself fails then, "malformed JSON" in Dovecot's log, and Dovecot puts off login and delivery.  'columns':
 * NULLs behind the first, as many as the query has. */
#define QUERY_OR_PUT_OFF(columns)                                                                                      \
    " UNION ALL SELECT json('put off: ' || o.open)" columns                                                            \
    " FROM (SELECT count(*) AS open FROM gate WHERE known IS NULL) o"                                                  \
    " WHERE (o.open=0 OR EXISTS (SELECT 1 FROM gone WHERE kind='u' AND name='%Ln'))"                                   \
    " AND NOT EXISTS (SELECT 1 FROM userdb WHERE name='%Ln')"

/* Dovecot's userdb.  0 bytes is no limit.  sieve_user_email: whom automatic replies are from; a user without an address
 * gets none.  How long his junk is kept is no field of his: autoexpunge would open that folder with each login and each
 * delivery (engine/junk.h). */
#define QUERY_USERDB_FIELDS                                                                                            \
    "SELECT u.name AS user, '*:bytes=' || coalesce(u.quota, p.quota) AS quota_rule, u.acl_groups AS acl_groups,"       \
    " u.name || '@' || (SELECT min(name) FROM domain WHERE class IN ('-u','-ug')) AS sieve_user_email"
#define QUERY_USERDB_FROM " FROM userdb u CROSS JOIN policy p WHERE u.name='%Ln'"
/* Deliveries to a public mailbox come for p=KEY, whose INBOX it is.  Without the plugin acl no list of rights is asked
 * (F-074; an empty 'acl' is read as 'yes'), and where the junk rule would be is nothing.  The renderer writes the folder that they lie in between BEGIN and END: of what mail.db says only a name is
 * taken. */
/* mail_home once more, for who looks for what another shares.  default_fields would be the other way: then the cache of auth
 * has another key, and is not emptied user by user. */
#define QUERY_USERDB_HOME_BEGIN ", '"
#define QUERY_USERDB_HOME_END "/%Ln' AS home"
#define QUERY_USERDB_PLAIN ", NULL AS mail, NULL AS mail_plugins, NULL AS sieve_before"
#define QUERY_USERDB_PUBLIC_BEGIN " UNION ALL SELECT 'p=' || b.key, NULL, NULL, NULL, NULL, 'maildir:"
#define QUERY_USERDB_PUBLIC_END                                                                                               \
    "/' || b.folder, 'quota', 'file:/nonexistent/rules' FROM public b WHERE b.key=substr('%Ln',3) AND substr('%Ln',1,2)='p='" \
    " AND b.folder GLOB '.[^./]*' AND b.folder NOT GLOB '*/*' AND b.folder NOT GLOB '*..*'"
#define QUERY_USERDB_END QUERY_OR_PUT_OFF(", NULL, NULL, NULL, NULL, NULL, NULL, NULL")
#define QUERY_USERDB_ITERATE "SELECT name AS user FROM userdb"

/* Dovecot's first passdb: who may log in at all, by which name; the directory has the password.  A login is NAME, or
 * NAME@DOMAIN of a domain in which users have addresses; %n and the cache know NAME alone, so the domain is that of the
 * login as it was typed.  %{secured} is 'secured' for a connection from one of the node's own addresses to itself, which
 * Dovecot takes for as good as TLS: it is not.  smtpd has said so already. */
#define QUERY_PASSDB                                                                                                   \
    "SELECT u.name AS user, u.name AS ldap_bind, NULL AS password, 'Y' AS noauthenticate"                              \
    " FROM userdb u WHERE u.name='%Ln' AND u.login=1"                                                                  \
    " AND ('%L{orig_domain}'='' OR EXISTS"                                                                             \
    " (SELECT 1 FROM domain d WHERE d.name='%L{orig_domain}' AND d.class IN ('-u','-ug')))"                            \
    " AND ('%{secured}'='TLS' OR '%s' NOT IN ('imap','pop3','sieve'))" QUERY_OR_PUT_OFF(", NULL, NULL, NULL")
