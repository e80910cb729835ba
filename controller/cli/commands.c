#include "commands.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "model/nearest.h"
#include "model/object.h"

#include <assert.h>
#include <string.h>

#define BIT(flag) (UINT64_C(1) << (flag))

enum {
    GLOBAL = BIT(FLAG_OUTPUT) | BIT(FLAG_SOCKET) | BIT(FLAG_IDENTITY) | BIT(FLAG_HELP) | BIT(FLAG_VERSION),
    CHANGING = BIT(FLAG_MESSAGE) | BIT(FLAG_DRY_RUN) | BIT(FLAG_NO_WAIT) | BIT(FLAG_TIMEOUT),
    ADDING = CHANGING | BIT(FLAG_MAY_EXIST),
    REMOVING = CHANGING | BIT(FLAG_IF_EXISTS),
    ASKING = BIT(FLAG_YES),
    PAGING = BIT(FLAG_LIMIT) | BIT(FLAG_AFTER) | BIT(FLAG_FILTER),
    SCOPED = BIT(FLAG_INSTANCE),
    PEOPLE = SCOPED | BIT(FLAG_USER_DOMAIN),
};

const Flag flags[N_FLAGS] = {
    [FLAG_INSTANCE] = {"instance", 'i', "NAME",
                       "which instance; not needed where there is one, or where the key says it"},
    [FLAG_OUTPUT] = {"output", 'o', "FORM", "table, json, yaml or name"},
    [FLAG_SOCKET] = {"socket", 0, "PATH", "where the controller listens"},
    [FLAG_IDENTITY] = {"identity", 0, "FILE", "key pair and controller of a remote admin (mailctl-remote)"},
    [FLAG_HELP] = {"help", 'h', NULL, "help on the words so far"},
    [FLAG_VERSION] = {"version", 0, NULL, "the release"},
    [FLAG_MESSAGE] = {"message", 'm', "TEXT", "why, for the history"},
    [FLAG_DRY_RUN] = {"dry-run", 0, NULL, "say what would change, and change nothing"},
    [FLAG_NO_WAIT] = {"no-wait", 0, NULL, "return as soon as it is stored"},
    [FLAG_TIMEOUT] = {"timeout", 0, "SPAN",
                      "how long to wait: 500ms, 30s, 5m; without it 30s, doctor 1m, a task until its end"},
    [FLAG_MAY_EXIST] = {"may-exist", 0, NULL, "what is there already is no error"},
    [FLAG_IF_EXISTS] = {"if-exists", 0, NULL, "what is not there is no error"},
    [FLAG_YES] = {"yes", 0, NULL, "do not ask"},
    [FLAG_PURGE] = {"purge", 0, NULL, "forget its addresses and its DKIM key, too"},
    [FLAG_PRUNE] = {"prune", 0, NULL, "remove what the file does not have, within its instances and kinds"},
    [FLAG_FILE] = {"file", 'f', "FILE", "objects in YAML or JSON; - is stdin"},
    [FLAG_REVISION] = {"revision", 0, "A..B", "between these two revisions; A.. is up to now"},
    [FLAG_NODE] = {"node", 0, "NAME", "of this node only"},
    [FLAG_LIMIT] = {"limit", 0, "N", "at most so many"},
    [FLAG_AFTER] = {"after", 0, "NAME", "page on behind this name"},
    [FLAG_FILTER] = {"filter", 0, "PREFIX", "names that begin so"},
    [FLAG_BEFORE] = {"before", 0, "REVISION", "page on below this revision"},
    [FLAG_FOLLOW] = {"follow", 0, NULL, "go on with what happens from now on"},
    [FLAG_DETACH] = {"detach", 0, NULL, "return as soon as the task is stored"},
    [FLAG_REPAIR] = {"repair", 0, NULL, "put right what is found"},
    [FLAG_FORCE] = {"force", 0, NULL,
                    "over a fork: what the node alone knows is given up; or let everybody relay; or do not look at "
                    "free space"},
    [FLAG_VERBOSE] = {"verbose", 'v', NULL, "also the settings, and where each came from"},
    [FLAG_USER_DOMAIN] = {"user-domain", 'u', "NAME",
                          "which directory; without it that of the instance, or the only one"},
    [FLAG_FORMAT] = {"format", 0, "FORM", "raw: the value alone; zone: a record for a zone file"},
    [FLAG_STATE] = {"state", 0, "STATE", "only those: enabled, disabled or orphan"},
    [FLAG_INIT] = {"init", 0, NULL, "make the repository where there is none; never over one that is there"},
    [FLAG_ADOPT] = {"adopt", 0, NULL, "also from a backup of another hostname or user domain"},
    [FLAG_WITH_SECRETS] = {"with-secrets", 0, "FILE", "into this new file, for you alone, with the values of secrets"},
    [FLAG_SCAN] = {"scan", 0, NULL, "look for viruses before anything is seen; infected messages are left out"},
};

#define ADD(NOUN, KEY, WORDS, EXAMPLE)                                                                                 \
    {                                                                                                                  \
        .noun = NOUN, .verb = "add", .key = KEY, .kind = NOUN, .fields = "*", .edit = MAIL__VERB__ADD,                 \
        .done = "added", .words = WORDS, .example = EXAMPLE, .run = run_add
#define SET(NOUN, KEY, EXAMPLE)                                                                                        \
    {                                                                                                                  \
        .noun = NOUN, .verb = "set", .key = KEY, .kind = NOUN, .fields = "*", .edit = MAIL__VERB__MODIFY,              \
        .done = "changed", .words = "change fields; FIELD= clears one, FIELD+= and FIELD-= edit a list",               \
        .example = EXAMPLE, .run = run_change
#define LIST(NOUN, FLAGS, EXAMPLE)                                                                                     \
    {                                                                                                                  \
        .noun = NOUN, .verb = "list", .kind = NOUN, .flags = (FLAGS), .words = "all of them, sorted",                  \
        .example = EXAMPLE, .run = run_list                                                                            \
    }
#define SHOW(NOUN, KEY, FLAGS, EXAMPLE)                                                                                \
    {                                                                                                                  \
        .noun = NOUN, .verb = "show", .key = KEY, .kind = NOUN, .flags = (FLAGS), .words = "all its fields",           \
        .example = EXAMPLE, .run = run_show                                                                            \
    }
#define REMOVE(NOUN, KEY, WORDS, EXAMPLE)                                                                              \
    {                                                                                                                  \
        .noun = NOUN, .verb = "remove", .key = KEY, .kind = NOUN, .edit = MAIL__VERB__REMOVE, .done = "removed",       \
        .words = WORDS, .example = EXAMPLE, .run = run_remove

/* clang-format off */
const Command commands[] = {
    {.noun = "controller", .verb = "init", .fields = "listen", .words = "make this machine the controller of a new cluster",
     .example = "controller init listen=192.0.2.1:6464", .run = run_controller_init},
    {.noun = "controller", .verb = "backup", .key = "FILE", .fields = "password",
     .words = "all that makes the controller, sealed under a password, as one file; read back before it has its name",
     .example = "controller backup /root/controller.sealed password=@backup.pw", .run = run_controller_backup},
    {.noun = "controller", .verb = "restore", .key = "FILE", .fields = "password",
     .words = "make this machine the controller that the file is of; nodes that know more are shown as forked",
     .example = "controller restore /root/controller.sealed password=@backup.pw", .run = run_controller_restore},

    ADD("admin", "NAME", "let a user, a group or a remote key use mailctl",
        "admin add helpdesk role=operator group=helpdesk instances=main"), .flags = ADDING},
    SET("admin", "NAME", "admin set helpdesk role=viewer"), .flags = CHANGING},
    LIST("admin", PAGING, "admin list"),
    SHOW("admin", "NAME", 0, "admin show helpdesk"),
    REMOVE("admin", "NAME", "take the right away", "admin remove helpdesk"), .flags = REMOVING},

    {.noun = "node", .verb = "add", .key = "NAME", .kind = "node", .fields = "*", .flags = ADDING, .edit = MAIL__VERB__ADD,
     .words = "admit a machine; prints its join token: one use, one hour", .example = "node add mx1 > mx1.token",
     .run = run_node_add},
    {.noun = "node", .verb = "replace", .key = "NAME", .kind = "node", .flags = ASKING | BIT(FLAG_MESSAGE),
     .loses = "the machine that is mx1 now is heard no more when the new one has joined",
     .words = "give a node's place to a new machine; prints its join token", .example = "node replace mx1 > mx1.token",
     .run = run_node_add},
    SET("node", "NAME", "node set mx1 description='rack 7'"), .flags = CHANGING},
    LIST("node", PAGING, "node list"),
    {.noun = "node", .verb = "show", .key = "NAME", .kind = "node", .words = "one with its state and its facts, each with its age",
     .example = "node show mx1", .run = run_node_show},
    {.noun = "node", .verb = "check", .key = "NAME", .kind = "node",
     .flags = BIT(FLAG_REPAIR) | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT),
     .words = "compare what is in force with what should be; a task", .example = "node check mx1 --repair", .run = run_node_check},
    {.noun = "node", .verb = "revoke", .key = "NAME", .kind = "node", .flags = ASKING, .done = "revoked",
     .loses = "its key, and the one to directories that it had a copy of, are worth nothing from now on; mail on it goes on",
     .words = "hear it no more and send it nothing", .example = "node revoke mx1", .run = run_node_revoke},
    {.noun = "node", .verb = "resync", .key = "NAME", .kind = "node", .flags = ASKING | BIT(FLAG_FORCE),
     .loses = "what the node alone knows is given up", .words = "send it everything again",
     .example = "node resync mx1 --force", .run = run_node_resync},
    REMOVE("node", "NAME", "forget a machine that nothing is placed on", "node remove mx1"), .flags = REMOVING | ASKING,
     .loses = "it is heard no more; what is on its disk stays there"},

    {.noun = "instance", .verb = "add", .key = "NAME", .kind = "instance", .fields = "* mail-domain", .flags = ADDING,
     .edit = MAIL__VERB__ADD, .done = "added", .words = "one mail service with its primary domain",
     .example = "instance add main node=mx1 hostname=mx1.example.org user-domain=staff mail-domain=example.org",
     .run = run_instance_add},
    SET("instance", "NAME", "instance set main hostname=mail.example.org"), .flags = CHANGING},
    {.noun = "instance", .verb = "start", .key = "NAME", .kind = "instance", .flags = CHANGING, .edit = MAIL__VERB__MODIFY,
     .stands_for = "running=yes", .done = "started", .words = "let its daemons run", .example = "instance start main",
     .run = run_change},
    {.noun = "instance", .verb = "stop", .key = "NAME", .kind = "instance", .flags = CHANGING, .edit = MAIL__VERB__MODIFY,
     .stands_for = "running=no", .done = "stopped", .words = "stop its daemons", .example = "instance stop main",
     .run = run_change},
    {.noun = "instance", .verb = "move", .key = "NAME", .kind = "instance", .fields = "node", .flags = CHANGING,
     .edit = MAIL__VERB__MODIFY, .done = "moved", .words = "place it on another node", .example = "instance move main node=mx2",
     .run = run_instance_move},
    LIST("instance", PAGING, "instance list"),
    SHOW("instance", "NAME", 0, "instance show main"),
    REMOVE("instance", "NAME", "forget it with all its objects; mail on the node is not touched", "instance remove main"),
     .flags = REMOVING | ASKING, .loses = "its domains, addresses and settings go along; 'mailctl revert' brings them back"},

    ADD("user-domain", "NAME", "a directory of users and groups", "user-domain add staff kind=internal node=mx1"), .flags = ADDING},
    SET("user-domain", "NAME", "user-domain set staff listen=192.0.2.11 replicas+=mx2"), .flags = CHANGING},
    LIST("user-domain", PAGING, "user-domain list"),
    {.noun = "user-domain", .verb = "show", .key = "NAME", .kind = "user-domain",
     .words = "all its fields, and how old its mirrors are", .example = "user-domain show staff", .run = run_user_domain_show},
    {.noun = "user-domain", .verb = "accept", .key = "NAME", .kind = "user-domain", .flags = ASKING | SCOPED, .done = "accepted",
     .loses = "users that its directory no longer has are forgotten; their mail stays",
     .words = "take a mirror that was held back because most users were missing", .example = "user-domain accept staff",
     .run = run_user_domain_accept},
    REMOVE("user-domain", "NAME", "forget a directory that no instance uses", "user-domain remove staff"),
     .flags = REMOVING | ASKING, .loses = "its users are no longer known"},

    {.noun = "user", .verb = "add", .key = "NAME", .fields = "full-name password password-hash locked", .flags = PEOPLE | BIT(FLAG_MAY_EXIST),
     .edit = MAIL__VERB__ADD, .done = "added to", .words = "someone in an internal directory; a terminal is asked for the password",
     .example = "user add alice full-name='Alice A.' password=@alice.pw", .run = run_account_change},
    {.noun = "user", .verb = "set", .key = "NAME", .fields = "full-name password password-hash locked", .flags = PEOPLE | BIT(FLAG_IF_EXISTS),
     .edit = MAIL__VERB__MODIFY, .done = "changed in", .words = "change fields, or the password; FIELD= clears one",
     .example = "user set alice password=-", .run = run_account_change},
    {.noun = "user", .verb = "list", .flags = PEOPLE | BIT(FLAG_LIMIT) | BIT(FLAG_AFTER), .words = "all of a directory, sorted",
     .example = "user list -u staff", .run = run_account_list},
    {.noun = "user", .verb = "show", .key = "NAME", .flags = PEOPLE, .words = "one with all that the directory says",
     .example = "user show alice", .run = run_account_show},
    {.noun = "user", .verb = "senders", .key = "NAME", .flags = SCOPED | BIT(FLAG_LIMIT) | BIT(FLAG_AFTER),
     .words = "the addresses that SMTP lets this login send from; the header From is not checked",
     .example = "user senders alice", .run = run_user_senders},
    {.noun = "user", .verb = "import", .key = "FILE", .flags = PEOPLE | BIT(FLAG_MAY_EXIST) | BIT(FLAG_DRY_RUN),
     .words = "users and groups of FILE.csv or FILE.ldif, hashes of passwords too; all of it, or nothing if a line is wrong",
     .example = "user import staff.csv --dry-run", .run = run_user_import},
    {.noun = "user", .verb = "remove", .key = "NAME", .flags = PEOPLE | ASKING | BIT(FLAG_IF_EXISTS), .edit = MAIL__VERB__REMOVE,
     .done = "removed from", .loses = "the account goes with its password and memberships; its mail stays",
     .words = "take it out of the directory; its mail stays", .example = "user remove alice", .run = run_account_change},

    {.noun = "group", .verb = "add", .key = "NAME", .fields = "members", .flags = PEOPLE | BIT(FLAG_MAY_EXIST),
     .edit = MAIL__VERB__ADD, .done = "added to", .words = "a group of users in an internal directory",
     .example = "group add sales members=alice,bob", .run = run_account_change},
    {.noun = "group", .verb = "set", .key = "NAME", .fields = "members", .flags = PEOPLE | BIT(FLAG_IF_EXISTS),
     .edit = MAIL__VERB__MODIFY, .done = "changed in", .words = "change who belongs to it; members+= and members-= edit the list",
     .example = "group set sales members+=carol", .run = run_account_change},
    {.noun = "group", .verb = "list", .flags = PEOPLE | BIT(FLAG_LIMIT) | BIT(FLAG_AFTER), .words = "all of a directory, sorted",
     .example = "group list", .run = run_account_list},
    {.noun = "group", .verb = "show", .key = "NAME", .flags = PEOPLE, .words = "one with its members", .example = "group show sales",
     .run = run_account_show},
    {.noun = "group", .verb = "remove", .key = "NAME", .flags = PEOPLE | ASKING | BIT(FLAG_IF_EXISTS),
     .edit = MAIL__VERB__REMOVE, .done = "removed from", .loses = "the group goes; its members stay",
     .words = "take it out of the directory; its members stay", .example = "group remove sales", .run = run_account_change},

    ADD("domain", "DOMAIN", "a mail domain; its sleeping addresses wake up", "domain add example.org -i main"),
     .flags = ADDING | SCOPED | ASKING},
    SET("domain", "DOMAIN", "domain set example.org catch-all=user:alice"), .flags = CHANGING | SCOPED},
    LIST("domain", PAGING | SCOPED, "domain list"),
    SHOW("domain", "DOMAIN", SCOPED, "domain show example.org"),
    REMOVE("domain", "DOMAIN", "refuse its mail; its addresses sleep until it is added again", "domain remove example.org"),
     .flags = REMOVING | ASKING | SCOPED | BIT(FLAG_PURGE), .loses = "mail to it is refused from now on; stored mail stays"},

    {.noun = "dkim", .verb = "show", .key = "DOMAIN", .kind = "domain", .flags = SCOPED | BIT(FLAG_FORMAT),
     .words = "the record to publish in DNS, so that others can check its signatures", .example = "dkim show example.org",
     .run = run_dkim_show},
    {.noun = "dkim", .verb = "enable", .key = "DOMAIN", .kind = "domain", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "dkim=yes", .done = "signed", .words = "sign what its users submit",
     .example = "dkim enable example.org", .run = run_change},
    {.noun = "dkim", .verb = "disable", .key = "DOMAIN", .kind = "domain", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "dkim=no", .done = "no longer signed",
     .words = "sign it no more; the key is kept", .example = "dkim disable example.org", .run = run_change},

    ADD("address", "LOCAL@DOMAIN", "where the mail of an address goes; LOCAL@* is in every domain",
        "address add info@example.org to=alice,bob"), .flags = ADDING | SCOPED},
    SET("address", "LOCAL@DOMAIN", "address set info@example.org to+=carol"), .flags = CHANGING | SCOPED},
    LIST("address", PAGING | SCOPED, "address list --filter info"),
    SHOW("address", "LOCAL@DOMAIN", SCOPED, "address show info@example.org"),
    REMOVE("address", "LOCAL@DOMAIN", "its mail is refused from now on", "address remove info@example.org"),
     .flags = REMOVING | SCOPED},

    {.noun = "public-mailbox", .verb = "add", .key = "NAME", .kind = "public-mailbox", .fields = "* address",
     .flags = ADDING | SCOPED, .edit = MAIL__VERB__ADD, .done = "added",
     .words = "a mailbox of nobody, below Public/, with the address NAME@*",
     .example = "public-mailbox add Sales acl=group:sales:write,user:alice:full", .run = run_public_add},
    {.noun = "public-mailbox", .verb = "set", .key = "NAME", .kind = "public-mailbox", .fields = "*", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .done = "changed", .words = "change who may do what, in one step",
     .example = "public-mailbox set Sales acl+=user:bob:read", .run = run_named_set},
    LIST("public-mailbox", PAGING | SCOPED, "public-mailbox list"),
    SHOW("public-mailbox", "NAME", SCOPED, "public-mailbox show Sales"),
    REMOVE("public-mailbox", "NAME", "take it from everybody, with its addresses; its mail stays, and returns with the name",
           "public-mailbox remove Sales"),
     .flags = REMOVING | ASKING | SCOPED, .loses = "nobody sees it, and its addresses are refused, from now on; its mail stays, and "
              "for 30 days 'undelete' brings it back"},
    {.noun = "public-mailbox", .verb = "undelete", .key = "NAME", .kind = "public-mailbox", .flags = CHANGING | SCOPED,
     .done = "is back", .words = "one that was removed in the last 30 days, with its rights, addresses and mail; who may add it may do this",
     .example = "public-mailbox undelete Sales", .run = run_public_undelete},

    {.noun = "mailbox", .verb = "list", .flags = PAGING | SCOPED | BIT(FLAG_STATE),
     .words = "every user's, with state, usage and quota, and those whose user is gone", .example = "mailbox list --state disabled",
     .run = run_mailbox_list},
    {.noun = "mailbox", .verb = "show", .key = "USER", .kind = "mailbox", .flags = SCOPED,
     .words = "what is stated of it, and how it stands", .example = "mailbox show alice", .run = run_mailbox_show},
    SET("mailbox", "USER", "mailbox set alice quota=5G forward=alice@example.net"), .flags = CHANGING | SCOPED},
    {.noun = "mailbox", .verb = "enable", .key = "USER", .kind = "mailbox", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "enabled=yes", .done = "enabled", .words = "open it for mail and login",
     .example = "mailbox enable alice", .run = run_change},
    {.noun = "mailbox", .verb = "claim", .key = "USER", .kind = "mailbox", .flags = ASKING | SCOPED, .done = "claimed",
     .loses = "the mail in it is another person's of the same name; who has the name now reads it",
     .words = "give a mailbox to the new person of its name", .example = "mailbox claim alice", .run = run_mailbox_claim},
    {.noun = "mailbox", .verb = "disable", .key = "USER", .kind = "mailbox", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "enabled=no", .done = "disabled",
     .words = "close it for mail and login; nothing is deleted", .example = "mailbox disable alice", .run = run_change},

    ADD("relay", "recipient|sender|default [SUBJECT]", "where mail that leaves goes instead of to its domain's servers",
        "relay add sender example.org host=smtp.example.net port=587 user=us password=@relay.pw"), .flags = ADDING | SCOPED},
    SET("relay", "recipient|sender|default [SUBJECT]", "relay set sender example.org password=-"), .flags = CHANGING | SCOPED},
    {.noun = "relay", .verb = "enable", .key = "recipient|sender|default [SUBJECT]", .kind = "relay", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "enabled=yes", .done = "enabled", .words = "use it from the next message on",
     .example = "relay enable default", .run = run_change},
    {.noun = "relay", .verb = "disable", .key = "recipient|sender|default [SUBJECT]", .kind = "relay", .flags = CHANGING | SCOPED,
     .edit = MAIL__VERB__MODIFY, .stands_for = "enabled=no", .done = "disabled", .words = "as if it were not there",
     .example = "relay disable default", .run = run_change},
    LIST("relay", PAGING | SCOPED, "relay list"),
    SHOW("relay", "recipient|sender|default [SUBJECT]", SCOPED, "relay show recipient .example.com"),
    REMOVE("relay", "recipient|sender|default [SUBJECT]", "its mail goes by other rules, or to its domain's servers",
           "relay remove recipient example.com"), .flags = REMOVING | SCOPED},

    SHOW("policy", NULL, SCOPED, "policy show"),
    {.noun = "policy", .verb = "set", .kind = "policy", .fields = "*", .flags = CHANGING | SCOPED, .edit = MAIL__VERB__MODIFY,
     .done = "changed", .words = "change fields; FIELD= clears one, FIELD+= and FIELD-= edit a list",
     .example = "policy set default-quota=5G", .run = run_named_set},

    SHOW("settings", NULL, SCOPED, "settings show"),
    SET("settings", NULL, "settings set message-size=50M queue-lifetime=3d delay-warning=4h"), .flags = CHANGING | SCOPED},

    SHOW("filter", NULL, SCOPED, "filter show"),
    SET("filter", NULL, "filter set spam-flag=5.5 infected=reject"), .flags = CHANGING | SCOPED},

    SHOW("tls", NULL, SCOPED, "tls show"),
    SET("tls", NULL, "tls set follow-certificate=/etc/ssl/mail.pem follow-key=/etc/ssl/private/mail.key"),
     .flags = CHANGING | SCOPED},

    ADD("relay-client", "ADDRESS[/BITS]", "let an address or a network send to everybody without a login",
        "relay-client add 192.0.2.0/24 description='printers'"), .flags = ADDING | SCOPED | BIT(FLAG_FORCE)},
    LIST("relay-client", PAGING | SCOPED, "relay-client list"),
    REMOVE("relay-client", "ADDRESS[/BITS]", "it is outside again from now on", "relay-client remove 192.0.2.0/24"),
     .flags = REMOVING | SCOPED},

    {.noun = "destination", .verb = "add", .key = "NAME", .kind = "destination", .fields = "*", .flags = ADDING | BIT(FLAG_INIT),
     .edit = MAIL__VERB__ADD, .done = "added", .words = "where backups go; its password is made if it is not given",
     .example = "destination add vault repository=sftp:backup@vault.example.org:/srv/mail ssh-key=@key --init",
     .run = run_destination_add},
    SET("destination", "NAME", "destination set vault upload-limit=2M"), .flags = CHANGING},
    {.noun = "destination", .verb = "check", .key = "NAME", .kind = "destination",
     .flags = SCOPED | BIT(FLAG_INIT) | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT),
     .words = "open the repository of each instance, from its node; a task", .example = "destination check vault --init",
     .run = run_destination_check},
    LIST("destination", PAGING, "destination list"),
    SHOW("destination", "NAME", 0, "destination show vault"),
    REMOVE("destination", "NAME", "no plan may name it; what lies there stays", "destination remove vault"), .flags = REMOVING},
    {.noun = "destination", .verb = "recovery-sheet", .key = "NAME", .kind = "destination", .flags = ASKING,
     .loses = "the password and the logins of the backups are shown: whoever sees them reads all mail in them",
     .words = "what opens its repositories without a controller: for paper, or a safe",
     .example = "destination recovery-sheet vault --yes > vault.sheet", .run = run_recovery_sheet},

    ADD("plan", "NAME", "when backups run, whereto, and what is kept of them",
        "plan add nightly destinations=vault schedule='daily 02:30' keep-daily=14"), .flags = ADDING},
    SET("plan", "NAME", "plan set nightly destinations+=far schedule='Mon..Sat 23:00' time-zone=Europe/Berlin"), .flags = CHANGING},
    LIST("plan", PAGING, "plan list"),
    SHOW("plan", "NAME", 0, "plan show nightly"),
    REMOVE("plan", "NAME", "its snapshots stay where they are", "plan remove nightly"), .flags = REMOVING},

    {.noun = "backup", .verb = "run", .key = "PLAN", .key_optional = true, .kind = "plan",
     .flags = SCOPED | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT), .words = "now, on each node that it covers; without a name all plans",
     .example = "backup run nightly", .run = run_backup_run},
    {.noun = "backup", .verb = "status", .key = "PLAN", .key_optional = true, .kind = "plan", .flags = SCOPED,
     .words = "the last finished run of each plan, how old the last good one is and its snapshot; 1 when one is not good",
     .example = "backup status", .run = run_backup_status},
    {.noun = "backup", .verb = "verify", .key = "PLAN", .key_optional = true, .kind = "plan",
     .flags = SCOPED | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT), .words = "restore a part on trial and compare it; a task",
     .example = "backup verify nightly", .run = run_backup_verify},

    {.noun = "snapshot", .verb = "list", .fields = "destination mailbox", .flags = SCOPED,
     .words = "what a destination holds, newest first; with mailbox= only where that is in",
     .example = "snapshot list destination=vault mailbox=user:alice", .run = run_snapshot_list},
    {.noun = "snapshot", .verb = "folders", .key = "SNAPSHOT", .fields = "destination mailbox filter", .flags = SCOPED,
     .words = "the folders of a mailbox in one of them, with messages and size",
     .example = "snapshot folders latest destination=vault mailbox=user:alice filter=project", .run = run_snapshot_folders},
    {.noun = "snapshot", .verb = "export", .key = "SNAPSHOT", .fields = "destination", .flags = SCOPED,
     .words = "what was stated for the node then, for apply; secrets are not shown",
     .example = "snapshot export latest destination=vault > site.yaml", .run = run_snapshot_export},

    {.noun = "restore", .verb = "folder", .fields = "mailbox folder destination snapshot at",
     .flags = SCOPED | ASKING | BIT(FLAG_SCAN) | BIT(FLAG_FORCE) | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT),
     .words = "one folder with what is below it, from a backup into \"Restored folder\" of its mailbox; a task",
     .example = "restore folder mailbox=user:alice folder=Projects destination=vault snapshot=latest", .run = run_restore_folder},
    {.noun = "restore", .verb = "instance", .key = "NAME", .kind = "instance", .fields = "destination snapshot",
     .flags = BIT(FLAG_ADOPT) | BIT(FLAG_DETACH) | BIT(FLAG_TIMEOUT),
     .words = "all mail, people and what the filter had learned, of a stopped instance, onto its node, which has none; a task",
     .example = "restore instance main destination=vault snapshot=latest", .run = run_restore_instance},

    {.noun = "task", .verb = "list", .words = "long work, newest first", .example = "task list", .run = run_task_list},
    {.noun = "task", .verb = "show", .key = "ID", .words = "one with what it found",
     .example = "task show 01K8S5ZQ7B2M4N6P8R0T1V3X5Y", .run = run_task_show},
    {.noun = "task", .verb = "wait", .key = "ID", .flags = BIT(FLAG_TIMEOUT), .words = "until it has ended",
     .example = "task wait 01K8S5ZQ7B2M4N6P8R0T1V3X5Y", .run = run_task_wait},
    {.noun = "task", .verb = "cancel", .key = "ID", .words = "ask it to stop",
     .example = "task cancel 01K8S5ZQ7B2M4N6P8R0T1V3X5Y", .run = run_task_cancel},

    {.verb = "status", .flags = BIT(FLAG_NODE) | BIT(FLAG_VERBOSE), .words = "how every node stands; 1 when something is to be seen",
     .example = "status", .run = run_status},
    {.verb = "doctor", .key = "NODE", .key_optional = true, .kind = "node", .flags = BIT(FLAG_TIMEOUT),
     .words = "what is not as it should be, on one node or on all; 1 when something is found", .example = "doctor mx1",
     .run = run_doctor},
    {.verb = "wait", .key = "REVISION", .key_optional = true, .flags = BIT(FLAG_TIMEOUT) | BIT(FLAG_NODE),
     .words = "until everything, or that revision, is in force everywhere", .example = "wait --timeout 2m", .run = run_wait},
    {.verb = "trace", .key = "ID", .key_optional = true, .fields = "from to since until", .flags = BIT(FLAG_NODE) | BIT(FLAG_LIMIT),
     .words = "the way of a message over all nodes, by Message-ID, queue id or address; or what went from= and to= somebody "
              "with its result, refused and put off too; 7 when a node could not be asked",
     .example = "trace from=@example.net to=info@example.org since=2h", .run = run_trace},
    {.verb = "events", .flags = BIT(FLAG_FOLLOW) | BIT(FLAG_LIMIT) | BIT(FLAG_NODE), .words = "what happened, oldest first",
     .example = "events --follow", .run = run_events},
    {.verb = "export", .flags = SCOPED | BIT(FLAG_WITH_SECRETS), .words = "the state as a file that apply takes back", .example = "export -i main > main.yaml",
     .run = run_export},
    {.verb = "diff", .flags = SCOPED | BIT(FLAG_FILE) | BIT(FLAG_REVISION) | BIT(FLAG_NODE) | BIT(FLAG_PRUNE),
     .words = "what a file would change, what changed, or what a node lacks; 1 when there is something",
     .example = "diff --revision 41..43", .run = run_diff},
    {.verb = "apply", .flags = CHANGING | ASKING | BIT(FLAG_FILE) | BIT(FLAG_PRUNE) | BIT(FLAG_FORCE), .done = "applied",
     .words = "bring the state to what a file says, as one revision", .example = "apply -f site.yaml --dry-run", .run = run_apply},
    {.verb = "history", .key = "KIND/KEY", .key_optional = true, .flags = SCOPED | BIT(FLAG_LIMIT) | BIT(FLAG_BEFORE),
     .words = "who changed what, when and why, newest first", .example = "history address/info@example.org", .run = run_history},
    {.verb = "revert", .key = "REVISION", .flags = CHANGING, .done = "reverted", .words = "undo that one change",
     .example = "revert 43", .run = run_revert},
    {.verb = "rollback", .key = "REVISION", .flags = CHANGING | ASKING | SCOPED, .done = "rolled back",
     .loses = "every later change of that instance is undone", .words = "take one instance back to how it was then",
     .example = "rollback 41 -i main", .run = run_rollback},
    {.verb = "explain", .key = "KIND[.FIELD]", .key_optional = true, .words = "what a field means: type, default, limits, since",
     .example = "explain address.to", .run = run_explain},
    {.verb = "completion", .key = "bash|zsh|fish", .words = "a script for your shell", .example = "completion bash",
     .run = run_completion},
    {.verb = "help", .key = "NOUN", .key_optional = true, .words = "this, or help on a noun", .example = "help address",
     .run = run_help},
    {.verb = "man", .hidden = true, .words = "the manual page as mdoc", .example = "man", .run = run_man},
    {.verb = "complete", .hidden = true, .key = "WORDS", .key_optional = true, .words = "what may follow these words",
     .example = "complete", .run = run_complete},
    {.verb = NULL},
};
/* clang-format on */

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

const Command *command_find(const char *noun, const char *verb)
{
    for (const Command *command = commands; command->verb; command++)
        if (same(command->noun, noun) && strcmp(command->verb, verb) == 0)
            return command;
    return NULL;
}

bool command_noun_known(const char *noun)
{
    for (const Command *command = commands; command->verb; command++)
        if (same(command->noun, noun))
            return true;
    return false;
}

const char *command_nearest(const char *noun, const char *word)
{
    const char *candidates[128];
    size_t n = 0;

    for (const Command *command = commands; command->verb; command++) {
        if (command->hidden || (noun && !same(command->noun, noun)))
            continue;
        assert(n < sizeof candidates / sizeof *candidates);
        candidates[n++] = !noun && command->noun ? command->noun : command->verb;
    }
    return nearest_of(word, candidates, n);
}

bool command_takes(const Command *command, FlagId flag)
{
    return (command->flags | GLOBAL) & BIT(flag);
}

const KindMeta *command_meta(const Command *command)
{
    const KindInfo *info = command->kind ? kind_by_name(command->kind) : NULL;

    return info ? info->meta : NULL;
}

typedef void EachField(void *context, const char *name, const FieldMeta *meta);

void command_each_field(const Command *command, void *context, EachField *each)
{
    const KindMeta *kind = command_meta(command);

    for (const char *word = command->fields; word && *word; word += strcspn(word, " ")) {
        word += strspn(word, " ");
        if (*word == '*') {
            for (size_t i = 0; kind && i < kind->n_fields; i++)
                if (!kind->fields[i].computed)
                    each(context, kind->fields[i].name, &kind->fields[i]);
            continue;
        }
        DEFER(xfree) char *name = xstrndup(word, strcspn(word, " "));
        each(context, name, kind ? meta_field(kind, name) : NULL);
    }
}

static bool field_same(const char *a, const char *b) /* '-' and '_' alike */
{
    for (; *a && *b; a++, b++)
        if (*a != *b && !((*a == '-' || *a == '_') && (*b == '-' || *b == '_')))
            return false;
    return *a == *b;
}

/* ---- fields that are no object's ---- */

static const PlainField plain_fields[] = {
    {.name = "listen", .words = "address and port for nodes"},
    {.name = "address", .words = "its own: LOCAL@*, LOCAL@DOMAIN or none; NAME@* where nothing is said"},
    {.name = "mail-domain", .words = "its primary domain"},
    {.name = "full-name", .words = "the name as people write it"},
    {.name = "password", .words = "@FILE takes it from there, - from stdin; a terminal is asked", .secret = true},
    {.name = "password-hash",
     .words = "a hash in its place, {SCHEME}...: @FILE or -; it is kept as it is",
     .secret = true},
    {.name = "locked", .words = "yes: no login; mail still arrives (mailbox disable stops both)", .values = "yes,no"},
    {.name = "members", .words = "users that belong to it", .list = true},
    {.name = "mailbox", .words = "user:NAME or public:NAME"},
    {.name = "destination", .words = "where the backups are"},
    {.name = "filter", .words = "only folders with this anywhere in their name, in any case"},
    {.name = "folder", .words = "with '/' between its levels; INBOX: the mailbox itself"},
    {.name = "snapshot", .words = "its id, or what it begins with, or latest"},
    {.name = "at",
     .words = "instead: as it was on that day, or at that time ('2026-11-17 14:30'), or so long ago (2h)"},
    {.name = "from", .words = "sender of the envelope: LOCAL@DOMAIN, @DOMAIN, or '<>' of bounces", .as_is = true},
    {.name = "to", .words = "recipient of the envelope: LOCAL@DOMAIN or @DOMAIN", .as_is = true},
    {.name = "since",
     .words = "a day, a time ('2026-11-17 14:30') or so long ago (2h, 7d); a day before until if not said"},
    {.name = "until", .words = "the end of a day, a time or so long ago; now if not said"},
};

const PlainField *plain_field(const char *name)
{
    for (size_t i = 0; i < sizeof plain_fields / sizeof *plain_fields; i++)
        if (field_same(plain_fields[i].name, name))
            return &plain_fields[i];
    return NULL;
}

bool command_field_secret(const Command *command, const char *field)
{
    const KindMeta *kind = command_meta(command);
    const FieldMeta *meta = kind ? meta_field(kind, field) : NULL;
    const PlainField *plain = meta ? NULL : plain_field(field);

    return meta ? meta->secret : plain && plain->secret;
}

bool command_field_as_is(const Command *command, const char *field)
{
    const PlainField *plain = command_meta(command) ? NULL : plain_field(field);

    return plain && plain->as_is;
}

typedef struct FieldSearch {
    const char *wanted;
    bool found;
    Nearest nearest;
} FieldSearch;

static void field_look(void *context, const char *name, const FieldMeta *meta)
{
    FieldSearch *search = context;

    (void)meta;
    search->found |= field_same(search->wanted, name);
    nearest_offer(&search->nearest, name);
}

bool command_has_field(const Command *command, const char *field)
{
    FieldSearch search = {.wanted = field};

    nearest_init(&search.nearest, field);
    command_each_field(command, &search, field_look);
    return search.found;
}

const char *command_field_nearest(const Command *command, const char *field)
{
    static char found[NEAREST_TEXT_MAX + 1];
    FieldSearch search = {.wanted = field};

    nearest_init(&search.nearest, field);
    command_each_field(command, &search, field_look);
    const char *name = nearest_found(&search.nearest);
    if (!name)
        return NULL;
    for (size_t i = 0; i <= strlen(name); i++)
        found[i] = (char)(name[i] == '_' ? '-' : name[i]);
    return found;
}

char *command_title(const Command *command)
{
    return command->noun ? xasprintf("%s %s", command->noun, command->verb) : xstrdup(command->verb);
}

char *command_synopsis(const Command *command)
{
    DEFER(xfree) char *title = command_title(command);
    DEFER(buf_done) Buf out = {0};

    buf_append_text(&out, title);
    if (command->key)
        buf_printf(&out, command->key_optional ? " [%s]" : " %s", command->key);
    if (command->fields && strcmp(command->fields, "node") == 0)
        buf_append_text(&out, " node=NODE");
    else if (command->fields && strcmp(command->fields, "listen") == 0)
        buf_append_text(&out, " listen=ADDRESS:PORT");
    else if (command->fields)
        buf_append_text(&out, " [FIELD=VALUE...]");
    return xstrdup(buf_text(&out));
}
