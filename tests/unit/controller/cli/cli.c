/* Whole runs of mailctl against a controller that says what the test wants: what is asked, what people and programs see. */
#include "cli.h"

#include "base/alloc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLIES_MAX = 6, WORDS_MAX = 16, OUTPUT_MAX = 8192 };

/* ---- a controller of our own ---- */

typedef Envelope Reply;

static const Reply interrupt; /* in its place somebody presses Ctrl-C */

static struct {
    const Reply *replies[REPLIES_MAX]; /* in order; NULL: the link breaks */
    size_t at;
    Error *(*refuses)(void); /* at open */
    Envelope *asked[REPLIES_MAX];
    size_t n_asked;
} controller;

static Error *fake_open(void *self)
{
    (void)self;
    return controller.refuses ? controller.refuses() : NULL;
}

/* Through octets, as over a socket: what cannot be packed or is not canonical is found here. */
static Envelope *copy_of(const Envelope *envelope)
{
    DEFER(buf_done) Buf bytes = {0};
    Envelope *copy = NULL;
    uint64_t id = 0;

    assert_null(envelope_pack(envelope, &bytes));
    Error *err = envelope_unpack(bytes.data, bytes.size, &copy, &id);
    if (err)
        fail_msg("%s", err->what);
    return copy;
}

static Error *fake_send(void *self, Envelope *envelope)
{
    (void)self;
    assert_true(controller.n_asked < REPLIES_MAX);
    if (!envelope->id) {
        envelope->has_id = 1;
        envelope->id = controller.n_asked + 1;
    }
    controller.asked[controller.n_asked++] = copy_of(envelope);
    return NULL;
}

static Error *fake_next(void *self, Msec until, Envelope **ret_envelope)
{
    (void)self;
    if (until == 0)
        return NULL; /* between the parts of an apply */
    assert_true(controller.at < REPLIES_MAX);
    const Reply *reply = controller.replies[controller.at++];
    if (reply == &interrupt)
        raise(SIGINT);
    if (!reply)
        return error_new(ERROR_UNAVAILABLE, "the link broke");
    Envelope answer = *reply;
    answer.has_id = answer.has_in_reply_to = 1;
    answer.id = 100 + controller.at;
    answer.in_reply_to = controller.asked[controller.n_asked - 1]->id;
    *ret_envelope = copy_of(&answer);
    return NULL;
}

static void fake_close(void *self)
{
    (void)self;
}

static Error *fake_transport(const Cli *cli, Transport *ret_transport)
{
    (void)cli;
    *ret_transport = (Transport){
        .where = "/the/socket", .open = fake_open, .send = fake_send, .next = fake_next, .close = fake_close};
    return NULL;
}

static Error *nobody_there(void)
{
    return error_new(ERROR_UNAVAILABLE, "nobody listens at /the/socket");
}

static Error *newer_there(void)
{
    return error_new(ERROR_UNSUPPORTED, "the controller speaks protocol 2, mailctl 1");
}

static void controller_reset(void)
{
    for (size_t i = 0; i < controller.n_asked; i++)
        envelope_free(&controller.asked[i]);
    memset(&controller, 0, sizeof controller);
}

/* ---- one run ---- */

static char said_out[OUTPUT_MAX], said_err[OUTPUT_MAX];

static int redirect(int fd, int *ret_saved)
{
    int file = memfd_create("output", MFD_CLOEXEC);

    *ret_saved = dup(fd);
    dup2(file, fd);
    return file;
}

static void restore(int fd, int saved, int file, char *ret_text)
{
    ssize_t size = pread(file, ret_text, OUTPUT_MAX - 1, 0);

    ret_text[size > 0 ? size : 0] = '\0';
    dup2(saved, fd);
    close(saved);
    close(file);
}

static const CliProgram fake = {.name = "mailctl", .transport = fake_transport};

static int run(const char *line)
{
    char *text = xstrdup(line), *words[WORDS_MAX] = {(char *)"mailctl"};
    int n = 1, out_saved = -1, err_saved = -1;

    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        words[n++] = word;
    fflush(stdout);
    int out = redirect(STDOUT_FILENO, &out_saved), err = redirect(STDERR_FILENO, &err_saved);
    int code = cli_main(n, words, &fake);
    fflush(stdout);
    restore(STDOUT_FILENO, out_saved, out, said_out);
    restore(STDERR_FILENO, err_saved, err, said_err);
    free(text);
    return code;
}

static void expect(const char *line, int code, const char *out, const char *err)
{
    int got = run(line);

    if (got != code || strcmp(said_out, out) != 0 || strcmp(said_err, err) != 0)
        fail_msg("%s\nexit %d, wanted %d\nout:\n%swanted:\n%s\nerr:\n%swanted:\n%s", line, got, code, said_out, out,
                 said_err, err);
}

/* ---- replies ---- */

#define REPLY(case_, member_, value_)                                                                                  \
    {                                                                                                                  \
        .base = {.descriptor = &mail__envelope__descriptor}, .has_version = 1, .version = 1, .has_last = 1, .last = 1, \
        .body_case = case_, .member_ = value_                                                                          \
    }

static Mail__NodeOutcome in_force = {.base = {.descriptor = &mail__node_outcome__descriptor},
                                     .node = (char *)"mx1",
                                     .has_state = 1,
                                     .state = MAIL__FORCE_STATE__IN_FORCE,
                                     .has_took_ms = 1,
                                     .took_ms = 4};
static Mail__NodeOutcome offline = {.base = {.descriptor = &mail__node_outcome__descriptor},
                                    .node = (char *)"mx1",
                                    .has_state = 1,
                                    .state = MAIL__FORCE_STATE__PENDING,
                                    .why = (char *)"offline since 10:41"};
static Mail__NodeOutcome refused = {.base = {.descriptor = &mail__node_outcome__descriptor},
                                    .node = (char *)"mx1",
                                    .has_state = 1,
                                    .state = MAIL__FORCE_STATE__NODE_REFUSED,
                                    .why = (char *)"postconf\nfatal: line 12\x1b"};
#define OUTCOME(node_)                                                                                                 \
    {                                                                                                                  \
        .base = {.descriptor = &mail__outcome__descriptor}, .has_revision = 1, .revision = 43, .n_nodes = 1,           \
        .nodes = (Mail__NodeOutcome *[])                                                                               \
        {                                                                                                              \
            node_                                                                                                      \
        }                                                                                                              \
    }
static Mail__Outcome stored_there = OUTCOME(&in_force), stored_pending = OUTCOME(&offline),
                     taken_back = {.base = {.descriptor = &mail__outcome__descriptor},
                                   .has_revision = 1,
                                   .revision = 43,
                                   .n_nodes = 1,
                                   .nodes = (Mail__NodeOutcome *[]){&refused},
                                   .has_reverted_by = 1,
                                   .reverted_by = 44},
                     nothing = {.base = {.descriptor = &mail__outcome__descriptor}, .has_revision = 1};
static const Reply reply_there = REPLY(MAIL__ENVELOPE__BODY_OUTCOME, outcome, &stored_there);
static const Reply reply_pending = REPLY(MAIL__ENVELOPE__BODY_OUTCOME, outcome, &stored_pending);
static const Reply reply_taken_back = REPLY(MAIL__ENVELOPE__BODY_OUTCOME, outcome, &taken_back);
static const Reply reply_nothing = REPLY(MAIL__ENVELOPE__BODY_OUTCOME, outcome, &nothing);
static Reply reply_first; /* reply_pending that is not the last */

static Mail__Failure denied = {.base = {.descriptor = &mail__failure__descriptor},
                               .has_code = 1,
                               .code = MAIL__ERROR_NUMBER__DENIED,
                               .what = (char *)"role viewer may not change address"},
                     which = {.base = {.descriptor = &mail__failure__descriptor},
                              .has_code = 1,
                              .code = MAIL__ERROR_NUMBER__INVALID,
                              .what = (char *)"instance: which one?",
                              .hint = (char *)"-i main or -i second"},
                     hostile = {.base = {.descriptor = &mail__failure__descriptor},
                                .has_code = 1,
                                .code = MAIL__ERROR_NUMBER__NOT_FOUND,
                                .what = (char *)"address a\x1b[2J\nmailctl: done: does not exist"},
                     not_there = {.base = {.descriptor = &mail__failure__descriptor},
                                  .has_code = 1,
                                  .code = MAIL__ERROR_NUMBER__NOT_FOUND,
                                  .what = (char *)"mailbox alice does not exist"},
                     checker = {.base = {.descriptor = &mail__failure__descriptor},
                                .has_code = 1,
                                .code = MAIL__ERROR_NUMBER__REFUSED,
                                .what = (char *)"mx1 refused it, nothing was stored: postconf\nfatal: line 12"};
static const Reply reply_denied = REPLY(MAIL__ENVELOPE__BODY_FAILURE, failure, &denied);
static const Reply reply_which = REPLY(MAIL__ENVELOPE__BODY_FAILURE, failure, &which);
static const Reply reply_hostile = REPLY(MAIL__ENVELOPE__BODY_FAILURE, failure, &hostile);
static const Reply reply_not_there = REPLY(MAIL__ENVELOPE__BODY_FAILURE, failure, &not_there);
static const Reply reply_checker = REPLY(MAIL__ENVELOPE__BODY_FAILURE, failure, &checker);

/* ---- tests ---- */

static void changes_and_what_became_of_them(void **state)
{
    static const struct {
        const Reply *replies[3];
        const char *line;
        int code;
        const char *out, *err;
    } cases[] = {
        {{&reply_there},
         "address add info@example.org to=alice",
         0,
         "address info@example.org added: revision 43, in force on mx1 (4 ms)\n",
         ""},
        {{&reply_first, &reply_there},
         "address set info@example.org to=bob",
         0,
         "address info@example.org changed: revision 43, in force on mx1 (4 ms)\n",
         ""},
        {{&reply_pending},
         "address add info@example.org to=alice",
         7,
         "address info@example.org stored: revision 43; mx1 offline since 10:41, will follow\n",
         ""},
        {{&reply_nothing},
         "address add info@example.org to=alice --may-exist",
         0,
         "address info@example.org: nothing to change\n",
         ""},
        {{&reply_there},
         "mailbox disable alice",
         0,
         "mailbox alice disabled: revision 43, in force on mx1 (4 ms)\n",
         ""},
        {{&reply_there}, "policy set default-quota=5G", 0, "policy changed: revision 43, in force on mx1 (4 ms)\n", ""},
        {{&reply_there}, "wait", 0, "revision 43, in force on mx1 (4 ms)\n", ""},
        {{&reply_there},
         "address add info@example.org to=alice -o json",
         0,
         "{\n  \"version\": 1,\n  \"revision\": 43,\n  \"nodes\": [\n    {\n      \"node\": \"mx1\",\n"
         "      \"state\": \"in_force\",\n      \"ms\": 4\n    }\n  ]\n}\n",
         ""},
        {{&reply_there}, "address add info@example.org to=alice -o name", 0, "address info@example.org\n", ""},
        {{&reply_taken_back},
         "instance set main hostname=a.example.org",
         5,
         "",
         "mailctl: instance set: mx1 refused it, taken back by revision 44: postconf\n    fatal: line 12\\x1b\n"},
        {{&reply_checker},
         "instance set main hostname=a.example.org",
         5,
         "",
         "mailctl: instance set: mx1 refused it, nothing was stored: postconf\n    fatal: line 12\n"},
        {{&reply_denied},
         "address add info@example.org to=alice",
         6,
         "",
         "mailctl: address add: role viewer may not change address\n"},
        {{&reply_denied},
         "address add info@example.org to=alice -o json",
         6,
         "",
         "mailctl: address add: role viewer may not change address\n"
         "{\"error\":{\"code\":\"denied\",\"what\":\"address add: role viewer may not change address\",\"exit\":6}}\n"},
        {{&reply_which},
         "mailbox set alice quota=1G",
         2,
         "",
         "mailctl: mailbox set: instance: which one?\nhint: -i main or -i second\n"},
        {{&reply_hostile},
         "address remove a",
         4,
         "",
         "mailctl: address remove: a\\x1b[2J\\x0amailctl: done: does not exist\n"},
        {{NULL}, "address add info@example.org to=alice", 9, "", "mailctl: address add: the link broke\n"},
        {{NULL}, "address list", 8, "", "mailctl: address list: the link broke\n"},
        {{&reply_first, NULL},
         "address add info@example.org to=alice",
         7,
         "address info@example.org stored: revision 43; mx1 offline since 10:41, will follow\n",
         "warning: the controller went away before it was seen in force everywhere\n"},
        {{NULL},
         "domain remove example.org",
         2,
         "",
         "mailctl: domain remove: without a terminal it needs --yes (domain example.org: mail to it is refused from now on; "
         "stored mail stays)\nhint: the same with --yes\n"},
        {{NULL},
         "address set info@example.org",
         2,
         "",
         "mailctl: address set: nothing to set\nhint: mailctl address set info@example.org to+=carol\n"},
        {{NULL},
         "instance move main",
         2,
         "",
         "mailctl: instance move: node= is missing\nhint: mailctl instance move main node=NODE\n"},
        {{NULL},
         "address add a@b.example to=x --timeout 3",
         2,
         "",
         "mailctl: address add: --timeout: '3' is no span of time\nhint: write 500ms, 30s, 5m or 2h\n"},
        {{NULL},
         "address list -o xml",
         2,
         "",
         "mailctl: --output: 'xml' is no form\nhint: table, json, yaml or name\n"},
        {{NULL},
         "addres list -o json",
         2,
         "",
         "mailctl: unknown command 'addres'\nhint: did you mean address?\n"
         "{\"error\":{\"code\":\"usage\",\"what\":\"unknown command 'addres'\",\"hint\":\"did you mean address?\",\"exit\":2}}\n"},
        {{NULL}, "revert x", 2, "", "mailctl: revert: 'x' is no revision\nhint: mailctl history\n"},
        {{NULL},
         "rollback 4",
         2,
         "",
         "mailctl: rollback: -i INSTANCE is missing\nhint: mailctl rollback 4 -i INSTANCE\n"},
        {{NULL},
         "diff",
         2,
         "",
         "mailctl: diff: one of -f FILE, --revision A..B and --node NAME is wanted\nhint: mailctl diff --revision 41..43\n"},
        {{NULL}, "explain user.locked", 2, "", "mailctl: explain: unknown kind 'user'\nhint: see mailctl help user\n"},
        {{NULL}, "explain adress.to", 2, "", "mailctl: explain: unknown kind 'adress'\nhint: did you mean address?\n"},
        {{NULL},
         "explain address.too",
         2,
         "",
         "mailctl: explain: address: unknown field 'too'\nhint: did you mean address.to?\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        controller_reset();
        memcpy(controller.replies, cases[i].replies, sizeof cases[i].replies);
        expect(cases[i].line, cases[i].code, cases[i].out, cases[i].err);
        if (cases[i].code == 2 && cases[i].replies[0] != &reply_which && controller.n_asked)
            fail_msg("%s: wrong usage, and something was sent", cases[i].line);
    }
    controller_reset();
}

static void a_controller_that_is_not_there(void **state)
{
    (void)state;
    controller_reset();
    controller.refuses = nobody_there;
    expect("address add info@example.org to=alice", 8, "",
           "mailctl: address add: cannot reach the controller: nobody listens at /the/socket\n"
           "hint: is mail-controller running there?\n");
    controller.refuses = newer_there;
    expect("status", 10, "", "mailctl: status: the controller speaks protocol 2, mailctl 1\n");
    controller_reset();
}

/* The words of a line, as the controller gets them. */
static void what_is_asked(void **state)
{
    (void)state;
    controller_reset();
    controller.replies[0] = &reply_there;
    run("address set info@example.org to+=bob internal= --dry-run --timeout 2s -m why -i main");
    const Mail__Change *change = controller.asked[0]->change;
    assert_int_equal(change->n_edits, 1);
    assert_int_equal(change->edits[0]->verb, MAIL__VERB__MODIFY);
    assert_string_equal(change->edits[0]->ref->kind, "address");
    assert_string_equal(change->edits[0]->ref->name, "info@example.org");
    assert_string_equal(change->edits[0]->ref->instance, "main");
    assert_int_equal(change->edits[0]->n_fields, 2);
    assert_int_equal(change->edits[0]->fields[0]->op, MAIL__EDIT_OP__APPEND);
    assert_string_equal(change->edits[0]->fields[0]->value, "bob");
    assert_int_equal(change->edits[0]->fields[1]->op, MAIL__EDIT_OP__CLEAR);
    assert_null(change->edits[0]->fields[1]->value);
    assert_true(change->manner->dry_run && change->manner->wait_ms == 2000 && !change->manner->lenient);
    assert_string_equal(change->manner->message, "why");

    /* An instance and its primary domain are one change. */
    controller_reset();
    controller.replies[0] = &reply_there;
    run("instance add main node=mx1 mail-domain=example.org hostname=mx1.example.org --no-wait");
    change = controller.asked[0]->change;
    assert_int_equal(change->n_edits, 2);
    assert_int_equal(change->edits[0]->n_fields, 2);
    assert_string_equal(change->edits[1]->ref->kind, "domain");
    assert_string_equal(change->edits[1]->ref->name, "example.org");
    assert_string_equal(change->edits[1]->ref->instance, "main");
    assert_true(change->manner->no_wait);
    controller_reset();
}

/* A setting says which instance is meant, unless the key says it better. */
static void scope_of_keys(void **state)
{
    static const struct {
        const char *line, *instance; /* NULL: not sent */
    } cases[] = {
        {"address add info@example.org to=alice", NULL},
        {"address add info@* to=alice", "of-setting"},
        {"domain add example.org", "of-setting"},
        {"domain set example.org dkim=", NULL},
        {"domain set example.org catch-all=", NULL},
        {"mailbox set alice quota=1G", "of-setting"},
        {"mailbox set alice quota=1G -i other", "other"},
        {"address add info@example.org to=alice -i other", "other"},
        {"node set mx1 description=x", NULL},
    };

    (void)state;
    setenv("MAILCTL_INSTANCE", "of-setting", 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        controller_reset();
        controller.replies[0] = &reply_there;
        run(cases[i].line);
        if (!controller.n_asked)
            continue; /* a field that does not exist */
        const char *sent = controller.asked[0]->change->edits[0]->ref->instance;
        if (!sent != !cases[i].instance || (sent && strcmp(sent, cases[i].instance) != 0))
            fail_msg("%s: instance %s", cases[i].line, sent ? sent : "(none)");
    }
    unsetenv("MAILCTL_INSTANCE");
    controller_reset();
}

/* ---- objects that come back ---- */

typedef struct Part {
    ProtobufCBinaryData objects[2];
    Buf bytes[2];
    Mail__Listed listed;
    Reply reply;
} Part;

static void part_add(Part *part, const char *name, const char *to)
{
    DEFER(object_free) Object *object = object_new(MAIL__OBJECT__BODY_ADDRESS, "main", name);
    Mail__Address *address = object->address;
    size_t i = part->listed.n_objects++;

    address->to = xmalloc(sizeof *address->to);
    address->to[0] = xstrdup(to);
    address->n_to = 1;
    object_pack(object, &part->bytes[i]);
    part->objects[i] = (ProtobufCBinaryData){.data = part->bytes[i].data, .len = part->bytes[i].size};
}

static Part *part_new(const char *first, const char *second, bool last)
{
    Part *part = xcalloc(1, sizeof *part);

    mail__listed__init(&part->listed);
    part->listed.objects = part->objects;
    part_add(part, first, "user:alice");
    if (second)
        part_add(part, second, "user:bob");
    part->reply = (Reply)REPLY(MAIL__ENVELOPE__BODY_LISTED, listed, &part->listed);
    part->reply.has_last = part->reply.last = last;
    return part;
}

static void part_free(Part *part)
{
    for (size_t i = 0; i < 2; i++)
        buf_done(&part->bytes[i]);
    free(part);
}

static Mail__TablesRows no_orphans = {.base = {.descriptor = &mail__tables_rows__descriptor}};
static const Reply reply_no_orphans = REPLY(MAIL__ENVELOPE__BODY_TABLES_ROWS, tables_rows, &no_orphans);

static void lists(void **state)
{
    static const struct {
        const char *line, *out;
    } cases[] = {
        {"address list",
         "NAME                                  INSTANCE  TO          INTERNAL  DESCRIPTION  DORMANT\n"
         "a@example.org                         main      user:alice  no        -            no\n"
         "b@example.org                         main      user:bob    no        -            no\n"
         "c@xn--exmple-cua.org (c@ex\xc3\xa4mple.org)  main      user:alice  no        -            no\n"},
        {"address list -o name", "a@example.org\nb@example.org\nc@xn--exmple-cua.org\n"},
        {"address list -o yaml",
         "version: 1\nitems:\n"
         "  - kind: address\n    instance: main\n    name: a@example.org\n    to: [user:alice]\n"
         "  - kind: address\n    instance: main\n    name: b@example.org\n    to: [user:bob]\n"
         "  - kind: address\n    instance: main\n    name: c@xn--exmple-cua.org\n    to: [user:alice]\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Part *first = part_new("a@example.org", "b@example.org", false),
             *second = part_new("c@xn--exmple-cua.org", NULL, true);
        controller_reset();
        size_t n = i ? 0 : 1; /* for people it is asked first what leads nowhere */
        controller.replies[0] = &reply_no_orphans;
        controller.replies[n] = &first->reply;
        controller.replies[n + 1] = &second->reply;
        expect(cases[i].line, 0, cases[i].out, "");
        part_free(first);
        part_free(second);
    }
    controller_reset();
    controller.replies[0] = &reply_denied;
    expect(
        "address list -o json", 6, "",
        "mailctl: address list: role viewer may not change address\n"
        "{\"error\":{\"code\":\"denied\",\"what\":\"address list: role viewer may not change address\",\"exit\":6}}\n");
    controller_reset();
}

static void shows(void **state)
{
    Part *part = part_new("a@example.org", NULL, true);

    (void)state;
    controller_reset();
    controller.replies[0] = &part->reply;
    expect("address show A@Example.org", 0,
           "address a@example.org of main\n"
           "  to                    user:alice\n"
           "  internal              no\n"
           "  description           -\n"
           "  dormant               no\n",
           "");
    assert_string_equal(controller.asked[0]->list->name, "a@example.org");
    part_free(part);

    controller_reset();
    controller.replies[0] = &reply_not_there;
    expect("mailbox show alice -o json -i main", 0,
           "{\"version\":1,\"items\":[\n{\"kind\":\"mailbox\",\"instance\":\"main\",\"name\":\"alice\"}\n]}\n",
           "note: nothing is stated; these are the defaults\n");
    controller_reset();
    controller.replies[0] = &reply_hostile;
    expect("node show a", 4, "", "mailctl: node show: address a\\x1b[2J\\x0amailctl: done: does not exist\n");
    controller_reset();
    expect("address show a..b@example.org", 3, "", said_err);
    assert_int_equal(controller.n_asked, 0);
    assert_non_null(strstr(said_err, "a..b"));
}

/* ---- nodes ---- */

static void status_for_people_and_programs(void **state)
{
    Mail__Fact fact = {.base = {.descriptor = &mail__fact__descriptor},
                       .name = (char *)"tables",
                       .has_state = 1,
                       .state = MAIL__FACT_STATE__GOOD,
                       .text = (char *)"fine\x1b",
                       .has_age_ms = 1,
                       .age_ms = 61000};
    Mail__NodeStatus node = {.base = {.descriptor = &mail__node_status__descriptor},
                             .name = (char *)"mx1",
                             .has_state = 1,
                             .state = MAIL__NODE_STATE__ONLINE,
                             .has_force = 1,
                             .force = MAIL__FORCE_STATE__IN_FORCE,
                             .has_revision = 1,
                             .revision = 43,
                             .has_applied_revision = 1,
                             .applied_revision = 43,
                             .has_seen_ms = 1,
                             .seen_ms = 400,
                             .instance = (char *)"main",
                             .n_facts = 1,
                             .facts = (Mail__Fact *[]){&fact}};
    Mail__Status status = {.base = {.descriptor = &mail__status__descriptor},
                           .has_revision = 1,
                           .revision = 43,
                           .has_n_objects = 1,
                           .n_objects = 5,
                           .n_nodes = 1,
                           .nodes = (Mail__NodeStatus *[]){&node},
                           .who = (char *)"root",
                           .role = (char *)"admin"};
    const Reply reply = REPLY(MAIL__ENVELOPE__BODY_STATUS, status, &status);

    (void)state;
    controller_reset();
    controller.replies[0] = &reply;
    expect("", 0,
           "revision 43, 5 objects; you are root (admin)\n"
           "NODE  STATE   FORCE     REVISION  APPLIED  CONFIG  SEEN    INSTANCE  RELEASE\n"
           "mx1   online  in-force  43        43       0       400 ms  main      -\n"
           "mx1: tables old (1 min ago): fine\\x1b\n",
           "");
    controller_reset();
    controller.replies[0] = &reply;
    node.state = MAIL__NODE_STATE__NODE_FORKED;
    assert_int_equal(run("status -o json"), 1);
    json_t *json = json_loads(said_out, 0, NULL);
    assert_non_null(json);
    const json_t *shown = json_array_get(json_object_get(json, "nodes"), 0);
    assert_string_equal(json_string_value(json_object_get(shown, "state")), "forked");
    assert_string_equal(json_string_value(json_object_get(shown, "force")), "in-force");
    assert_int_equal(json_integer_value(json_object_get(shown, "config_revision")), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "revision")), 43);
    json_decref(json);
    controller_reset();
    controller.replies[0] = &reply;
    assert_int_equal(run("status"), 1);
    assert_non_null(strstr(said_out, "mailctl node resync mx1 --force"));
    controller_reset();
}

static void tokens_go_into_files(void **state)
{
    Mail__Token token = {.base = {.descriptor = &mail__token__descriptor},
                         .text = (char *)"abc-DEF_1",
                         .has_expires_s = 1,
                         .expires_s = 3600};
    const Reply reply = REPLY(MAIL__ENVELOPE__BODY_TOKEN, token, &token);

    (void)state;
    controller_reset();
    controller.replies[0] = &reply;
    expect("node add mx1 description=rack", 0, "abc-DEF_1\n",
           "node mx1: on the machine, within 60 min and once: mail-agent join FILE\n");
    assert_int_equal(controller.asked[0]->node_token->n_fields, 1);
    assert_false(controller.asked[0]->node_token->replace);
    controller_reset();
    controller.replies[0] = &reply;
    assert_int_equal(run("node replace mx1 --yes"), 0);
    assert_true(controller.asked[0]->node_token->replace);
    controller_reset();
    assert_int_equal(run("node replace mx1"), 2);
    assert_int_equal(controller.n_asked, 0);
}

static void tasks_and_their_ends(void **state)
{
    static const struct {
        Mail__TaskState state;
        int code;
        const char *word;
    } cases[] = {
        {MAIL__TASK_STATE__SUCCEEDED, 0, "succeeded: 12 rows"},  {MAIL__TASK_STATE__FOUND, 1, "found: 12 rows"},
        {MAIL__TASK_STATE__LOST, 7, "unknown: 12 rows"},         {MAIL__TASK_STATE__CANCELLED, 6, "cancelled: 12 rows"},
        {MAIL__TASK_STATE__NEVER_RAN, 11, "never-ran: 12 rows"}, {MAIL__TASK_STATE__FAILED, 6, "failed: 12 rows"},
    };
    Mail__Finding finding = {.base = {.descriptor = &mail__finding__descriptor},
                             .has_severity = 1,
                             .severity = MAIL__FACT_STATE__BAD,
                             .where = (char *)"rcpt info",
                             .text = (char *)"differs",
                             .has_repaired = 1,
                             .repaired = 1};
    Mail__TaskResult result = {.base = {.descriptor = &mail__task_result__descriptor},
                               .why = &denied,
                               .verdict = (char *)"12 rows",
                               .n_findings = 1,
                               .findings = (Mail__Finding *[]){&finding}};
    Mail__TaskInfo task = {.base = {.descriptor = &mail__task_info__descriptor},
                           .node = (char *)"mx1",
                           .verb = (char *)"node check",
                           .has_state = 1,
                           .result = &result};
    Mail__Tasks tasks = {
        .base = {.descriptor = &mail__tasks__descriptor}, .n_tasks = 1, .tasks = (Mail__TaskInfo *[]){&task}};
    const Reply reply = REPLY(MAIL__ENVELOPE__BODY_TASKS, tasks, &tasks);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        controller_reset();
        controller.replies[0] = &reply;
        task.state = cases[i].state;
        int code = run("node check mx1");
        if (code != cases[i].code || !strstr(said_out, cases[i].word) ||
            !strstr(said_out, "bad rcpt info: differs (repaired)\n"))
            fail_msg("%zu: exit %d: %s", i, code, said_out);
        assert_int_equal(strlen(controller.asked[0]->task_new->task_id), 26);
    }
    controller_reset();
    controller.replies[0] = NULL;
    assert_int_equal(run("node check mx1"), 9);
    assert_non_null(strstr(said_err, "hint: mailctl task show "));
    controller_reset();
}

/* It is stored, or has begun: Ctrl-C says so, and only ends the waiting. */
static void ctrl_c(void **state)
{
    static const struct {
        const char *line;
        bool stored;
        const char *words;
    } cases[] = {{"address add info@example.org to=alice", true,
                  "\nstored as revision 43, it goes on by itself: mailctl wait\n"},
                 {"node check mx1", false, "\nthe task goes on: mailctl task wait 0"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[OUTPUT_MAX];
        int status = 0, saved = -1, file = -1;
        controller_reset();
        controller.replies[0] = cases[i].stored ? &reply_first : &interrupt;
        controller.replies[1] = &interrupt;
        file = redirect(STDERR_FILENO, &saved);
        pid_t child = fork();
        if (child == 0) {
            char *words[WORDS_MAX] = {(char *)"mailctl"}, *line = strdup(cases[i].line);
            int n = 1;
            for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
                words[n++] = word;
            _exit(cli_main(n, words, &fake));
        }
        waitpid(child, &status, 0);
        restore(STDERR_FILENO, saved, file, text);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 130 ||
            strncmp(text, cases[i].words, strlen(cases[i].words)) != 0)
            fail_msg("%s: status %x: %s", cases[i].line, (unsigned)status, text);
    }
    controller_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_and_what_became_of_them),
        cmocka_unit_test(a_controller_that_is_not_there),
        cmocka_unit_test(what_is_asked),
        cmocka_unit_test(scope_of_keys),
        cmocka_unit_test(lists),
        cmocka_unit_test(shows),
        cmocka_unit_test(status_for_people_and_programs),
        cmocka_unit_test(tokens_go_into_files),
        cmocka_unit_test(tasks_and_their_ends),
        cmocka_unit_test(ctrl_c),
    };
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    dup2(null, STDIN_FILENO); /* no terminal */
    reply_first = reply_pending;
    reply_first.has_last = reply_first.last = 0;
    unsetenv("HOME");
    unsetenv("MAILNODE_ROOT");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
