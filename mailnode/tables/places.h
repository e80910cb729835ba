/* places.h - folders and sockets that two daemons must agree on, below ROOT
 *
 * Each is a format for one '%s', the root: PLACE_CURRENT "/dovecot/dovecot.conf".
 * engine/layout.c makes the folders with their owners.
 */
#pragma once

#define PLACE_ENGINE "%s/var/lib/mailnode/engine" /* root 0711; what is in it has modes of its own */
#define PLACE_CURRENT PLACE_ENGINE "/current"     /* link to gen/000123 */
#define PLACE_TABLES "%s/var/lib/mailnode/tables" /* mail.db, maps/ */
#define PLACE_RELAY PLACE_TABLES "/relay"         /* mailagent, group postfix, 2750: secrets.db */
#define PLACE_DKIM PLACE_TABLES "/dkim" /* mailagent, group _rspamd, 2750: a file for each domain that signs */
/* mailagent, group openldap, 2750: NAME-NUMBER.pem, the pair of a user domain with replicas (seal/replica.h) */
#define PLACE_REPLICATION "%s/var/lib/mailnode/replication"
#define PLACE_LOG "%s/var/log/mailnode" /* root 0755; NAME.log of each daemon */
#define PLACE_OVERRIDE "%s/etc/mailnode/override"

#define PLACE_MAIL "%s/var/lib/mailnode/mail"     /* vmail 0750; mail/NAME/Maildir */
#define PLACE_PUBLIC "%s/var/lib/mailnode/public" /* vmail 0750; public/.NAME.OF.FOLDER, a maildir each */
#define PLACE_USAGE "%s/var/lib/mailnode/usage"   /* vmail, group mailtables, 2750: NAME.usage, written by Dovecot */
#define PLACE_SHARES "%s/var/lib/mailnode/shares" /* mailagent, group mailtables, 2770: shares.db, written by Dovecot */
#define PLACE_QUEUE "%s/var/lib/mailnode/spool/postfix"   /* root 0755, as postfix wants its folders */
#define PLACE_POSTFIX_DATA "%s/var/lib/mailnode/postfix"  /* postfix 0750 */
#define PLACE_DOVECOT_STATE "%s/var/lib/mailnode/dovecot" /* root 0755 */
#define PLACE_SIEVE_COMPILED PLACE_DOVECOT_STATE "/sieve" /* vmail 0700: our scripts, compiled at the first delivery */
#define PLACE_RSPAMD_DATA "%s/var/lib/mailnode/rspamd"    /* _rspamd 0750 */
#define PLACE_REDIS_DATA "%s/var/lib/mailnode/redis"      /* redis 0750 */
#define PLACE_CLAMD_DATA "%s/var/lib/mailnode/clamav"     /* clamav 0755: signatures */
#define PLACE_UNBOUND_DATA "%s/var/lib/mailnode/unbound"  /* unbound 0750 */
#define PLACE_SLAPD_DATA "%s/var/lib/mailnode/slapd"      /* openldap 0700; slapd/DOMAIN/ one database each */

#define PLACE_WORK "%s/var/lib/mailnode/work" /* root 0711; on the file system of mail and public */
#define PLACE_TREE PLACE_WORK "/tree"         /* root 0700: what a backup is made of */
#define PLACE_LISTS PLACE_WORK "/lists"       /* root 0700: what snapshots say of themselves (tasks/snapshot_list.h) */
#define PLACE_RESTORE PLACE_WORK "/restore"   /* root 0711: a folder for each restore that is under way */
#define PLACE_ASIDE PLACE_ENGINE "/restored"  /* root 0711: databases of an instance's restore, on the disk of theirs */
#define PLACE_RESTIC "%s/var/lib/mailnode/restic"       /* mailbackup 0700: its cache, and its temporary files */
#define PLACE_REPOSITORIES "%s/var/lib/mailnode/backup" /* mailbackup 0700: where local repositories may be */
#define PLACE_BACKUP_FOLDERS "%s/etc/mailnode/node/backup-folders" /* root's; a folder a line, instead of that one */
#define PLACE_STAGE "%s/var/lib/mailnode/agent/stage"              /* mailagent 0700: its part of a backup */

#define PLACE_RUN "%s/run/mailnode"
#define PLACE_RUN_DOVECOT PLACE_RUN "/dovecot"                      /* base_dir; root 0755 */
#define PLACE_AUTH_SOCKET PLACE_RUN_DOVECOT "/auth-postfix"         /* SASL for smtpd: postfix 0600 */
#define PLACE_LMTP_SOCKET PLACE_RUN_DOVECOT "/lmtp"                 /* postfix 0600 */
#define PLACE_RUN_RSPAMD PLACE_RUN "/rspamd"                        /* _rspamd 0755 */
#define PLACE_MILTER_SOCKET PLACE_RUN_RSPAMD "/milter.sock"         /* group postfix 0660 */
#define PLACE_RSPAMD_CONTROLLER PLACE_RUN_RSPAMD "/controller.sock" /* group vmail 0660: Dovecot trains, root probes */
#define PLACE_RUN_REDIS PLACE_RUN "/redis"                          /* redis, group _rspamd, 2750 */
#define PLACE_REDIS_SOCKET PLACE_RUN_REDIS "/redis.sock"
#define PLACE_RUN_CLAMD PLACE_RUN "/clamd" /* clamav, group _rspamd, 2750 */
#define PLACE_CLAMD_SOCKET PLACE_RUN_CLAMD "/clamd.sock"
#define PLACE_RUN_SLAPD PLACE_RUN "/slapd" /* openldap 0755; the socket's peer credentials decide */
#define PLACE_LDAPI PLACE_RUN_SLAPD "/ldapi"

/* What only the node itself reaches, on NodeState.loopback. */
#define PORT_DNS 5335                            /* Unbound: 53 may be somebody else's */
#define DNS_READY_NAME "ready.mailnode.internal" /* A 127.0.0.1, answered by Unbound itself */
#define PORT_REINJECT 10027 /* smtpd without AUTH, filter and signing, for Dovecot's own mail (submission_host) */

/* The embedded directory: one suffix for each user domain. */
#define DIRECTORY_SUFFIX "dc=%s,dc=mailnode"
#define DIRECTORY_REPLICA "cn=replica," DIRECTORY_SUFFIX /* who copies it */
#define DIRECTORY_PEOPLE "ou=People"
#define DIRECTORY_GROUPS "ou=Groups"
