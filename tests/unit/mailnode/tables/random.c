/* Recomputing everything is right; the increment is tested against it.  Random changes of objects and accounts, each
 * committed as an increment; then all rows are those of a database that was computed from nothing.
 *
 *     TABLES_SEED=1234 TABLES_STEPS=100000 unit-mailnode-tables-random
 */
#include "fake.h"

#include <time.h>

enum { STEPS = 400, N_USERS = 9, N_GROUPS = 5, SCRATCH_EVERY = 20 };

static const char *const domain_names[] = {"example.org", "example.net", "far.example.com"};
static const char *const locals[] = {"alice", "bob", "sales", "info", "a+b", "a", "staff"};
static const char *const user_names[] = {"alice", "bob", "carol", "sales", "a+b", "a", "b c", "ALICE", "info"};
static const char *const group_names[] = {"sales", "staff", "inner", "Sales", "bob"};
static const char *const externals[] = {"x@far.example.com", "y@else.example.com",   "alice@example.org",
                                        "bob@example.net",   "info+tag@example.org", "sales@example.org",
                                        "a+b@example.net",   "nobody@example.org"};

#define PICK(list) (list)[below(sizeof(list) / sizeof *(list))]

static unsigned seed;

static unsigned below(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

/* ---- the world ---- */

typedef struct Person {
    bool there, enabled;
    const char *name;
} Person;

typedef struct Circle {
    const char *name;
    bool there;
    bool users[N_USERS], groups[N_GROUPS]; /* by index into the lists of names */
} Circle;

static Stated stated;
static Person persons[N_USERS];
static Circle circles[N_GROUPS];
static bool away;

static const char *instance(void)
{
    return stated.instance;
}

/* ---- changes ---- */

static void touch(Tables *tables, Kind kind, const char *name)
{
    ok(tables_touch(tables, &(ObjectRef){kind, "main", name}));
}

static char *destinations(void)
{
    Buf text = {0};

    for (unsigned i = 0, n = 1 + below(3); i < n; i++) {
        const char *comma = i ? "," : "";
        switch (below(3)) {
        case 0:
            buf_printf(&text, "%suser:%s", comma, PICK(user_names));
            break;
        case 1:
            buf_printf(&text, "%sgroup:%s", comma, PICK(group_names));
            break;
        default:
            buf_printf(&text, "%s%s", comma, PICK(externals));
            break;
        }
    }
    char *list = xstrdup(buf_text(&text));
    buf_done(&text);
    return list;
}

static void change_domain(Tables *tables)
{
    const char *name = PICK(domain_names);
    DEFER(xfree) char *catch_all = below(2) ? destinations() : NULL;

    if (catch_all && strchr(catch_all, ','))
        *strchr(catch_all, ',') = '\0';
    if (below(5) == 0)
        stated_remove(&stated, MAIL__OBJECT__BODY_DOMAIN, name);
    else
        state_domain(&stated, name, below(2), below(2), catch_all);
    touch(tables, MAIL__OBJECT__BODY_DOMAIN, name);
}

static void change_address(Tables *tables)
{
    DEFER(xfree) char *name = xasprintf("%s@%s", PICK(locals), below(3) ? PICK(domain_names) : "*");
    DEFER(xfree) char *to = destinations();

    if (below(4) == 0)
        stated_remove(&stated, MAIL__OBJECT__BODY_ADDRESS, name);
    else
        state_address(&stated, name, to, below(4) == 0);
    size_t i = stated_find(&stated, MAIL__OBJECT__BODY_ADDRESS, name);
    if (i != SIZE_MAX && below(8) == 0)
        stated.objects[i]->address->has_dormant = stated.objects[i]->address->dormant = true;
    touch(tables, MAIL__OBJECT__BODY_ADDRESS, name);
}

static void change_mailbox(Tables *tables)
{
    DEFER(xfree) char *name = name_fold(PICK(user_names));
    DEFER(xfree)
    char *forward =
        below(3) ? below(2) ? xasprintf("%s,%s", PICK(externals), PICK(externals)) : xstrdup(PICK(externals)) : NULL;

    if (below(5) == 0) {
        stated_remove(&stated, MAIL__OBJECT__BODY_MAILBOX, name);
    } else {
        Mail__Mailbox *mailbox = state_mailbox(&stated, name, below(4) != 0, forward, below(2));
        mailbox->has_quota = below(2);
        mailbox->quota = below(3);
    }
    touch(tables, MAIL__OBJECT__BODY_MAILBOX, name);
}

static void change_policy(Tables *tables)
{
    if (below(4) == 0)
        stated_remove(&stated, MAIL__OBJECT__BODY_POLICY, "");
    else
        state_policy(&stated, (Mail__SenderLoginMatch)below(3), below(2) ? PICK(user_names) : NULL);
    touch(tables, MAIL__OBJECT__BODY_POLICY, "");
}

/* ---- the directory: whole, or piece by piece ---- */

static void give_user(Tables *tables, int i)
{
    DEFER(xfree) char *uuid = xasprintf("u%d", i);

    if (persons[i].there)
        ok(tables_account_user(tables,
                               &(AccountUser){.uuid = uuid, .name = persons[i].name, .enabled = persons[i].enabled}));
}

static void give_group(Tables *tables, int i)
{
    DEFER(xfree) char *uuid = xasprintf("g%d", i);
    const char *users[N_USERS], *groups[N_GROUPS];
    AccountGroup group = {.uuid = uuid, .name = circles[i].name, .users = users, .groups = groups};

    for (int k = 0; k < N_USERS; k++)
        if (circles[i].users[k])
            users[group.n_users++] = user_names[k];
    for (int k = 0; k < N_GROUPS; k++)
        if (circles[i].groups[k])
            groups[group.n_groups++] = group_names[k];
    if (circles[i].there)
        ok(tables_account_group(tables, &group));
}

static void give_all(Tables *tables)
{
    ok(tables_accounts_begin(tables));
    for (int i = 0; i < N_USERS; i++)
        give_user(tables, i);
    for (int i = 0; i < N_GROUPS; i++)
        give_group(tables, i);
    ok(tables_accounts_end(tables));
}

static void change_user(Tables *tables, bool piece)
{
    int i = (int)below(N_USERS);
    DEFER(xfree) char *uuid = xasprintf("u%d", i);

    persons[i].there = below(4) != 0;
    persons[i].enabled = below(4) != 0;
    persons[i].name = below(3) ? user_names[i] : PICK(user_names);
    if (piece && persons[i].there)
        give_user(tables, i);
    else if (piece)
        ok(tables_account_user_gone(tables, uuid));
}

static void change_group(Tables *tables, bool piece)
{
    int i = (int)below(N_GROUPS);
    DEFER(xfree) char *uuid = xasprintf("g%d", i);

    circles[i].there = below(5) != 0;
    circles[i].name = below(3) ? group_names[i] : PICK(group_names);
    circles[i].users[below(N_USERS)] = below(2);
    circles[i].users[below(N_USERS)] = below(2);
    circles[i].groups[below(N_GROUPS)] = below(2);
    if (piece && circles[i].there)
        give_group(tables, i);
    else if (piece)
        ok(tables_account_group_gone(tables, uuid));
}

/* Ten minutes pass for some of those who left. */
static void time_passes(Tables *tables)
{
    DEFER(xfree)
    char *sql = xasprintf("UPDATE gone SET at=%lld WHERE substr(name, 1, 1) >= '%c'",
                          (long long)time(NULL) - GONE_S - 1, 'a' + (int)below(20));

    ok(sql_exec(tables->db, sql));
    tables->gone_first = 1;
}

static void change(Tables *tables, bool whole)
{
    switch (below(16)) {
    case 0:
    case 1:
        change_domain(tables);
        break;
    case 2:
    case 3:
    case 4:
        change_address(tables);
        break;
    case 5:
    case 6:
    case 7:
        change_mailbox(tables);
        break;
    case 8:
        change_policy(tables);
        break;
    case 9:
    case 10:
    case 11:
        change_user(tables, !whole);
        break;
    case 12:
    case 13:
        change_group(tables, !whole);
        break;
    case 14:
        time_passes(tables);
        break;
    default:
        if (below(4) == 0)
            stated.instance = instance() ? NULL : "main";
        away = below(4) == 0;
        ok(tables_directory_away(tables, away));
        break;
    }
}

/* ---- comparing ---- */

static int append_row(void *text, int n, char **cells, char **names)
{
    (void)names;
    for (int i = 0; i < n; i++)
        buf_printf(text, "%s%s", cells[i] ? cells[i] : "(null)", i + 1 < n ? " | " : "\n");
    return 0;
}

static char *rows_of(Tables *tables, const char *table)
{
    DEFER(xfree) char *sql = xasprintf("SELECT * FROM %s ORDER BY 1, 2", table);
    Buf text = {0};

    assert_int_equal(sqlite3_exec(tables->db, sql, append_row, &text, NULL), SQLITE_OK);
    char *rows = xstrdup(buf_text(&text));
    buf_done(&text);
    return rows;
}

static void first_difference(const char *table, const char *is, const char *should, unsigned started, int step)
{
    const char *a = is, *b = should;

    if (strcmp(is, should) == 0)
        return;
    while (*a == *b) {
        if (*a == '\n') {
            is = a + 1;
            should = b + 1;
        }
        a++, b++;
    }
    fail_msg("seed %u, step %d, table %s: '%.*s', should be '%.*s'", started, step, table, (int)strcspn(is, "\n"), is,
             (int)strcspn(should, "\n"), should);
}

static void same_as_from_nothing(Tables *tables, unsigned started, int step)
{
    static const char *const names[] = {"gate",  "policy", "domain", "rcpt",    "expand",
                                        "login", "userdb", "edge",   "standing"};
    Folder folder = folder_new();
    TablesView view = fake_view(&stated);
    DEFER(xfree) char *attach = xasprintf("ATTACH '%s' AS was", tables->path);
    Tables *scratch = NULL;
    bool rebuilt;

    ok(tables_open(folder.text, (gid_t)-1, &scratch, &rebuilt));
    ok(sql_exec(scratch->db, attach)); /* who left is not to be had from elsewhere */
    ok(sql_exec(scratch->db, "INSERT INTO main.gone SELECT * FROM was.gone"));
    ok(sql_exec(scratch->db, "DETACH was"));
    ok(tables_begin(scratch));
    give_all(scratch);
    ok(tables_directory_away(scratch, away));
    ok(tables_touch_all(scratch));
    ok(tables_commit(scratch, &view, 1, &(Digest){{1}}));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        DEFER(xfree) char *is = rows_of(tables, names[i]), *should = rows_of(scratch, names[i]);
        first_difference(names[i], is, should, started, step);
    }
    tables_free(&scratch);
    folder_remove(folder.text);
}

static void nothing_to_mend(Tables *tables, unsigned started, int step)
{
    TablesView view = fake_view(&stated);
    DEFER(xfree) char *example = NULL;
    size_t n = 0;

    ok(tables_audit(tables, &view, &n, &example));
    if (n)
        fail_msg("seed %u, step %d: %zu rows differ: %s", started, step, n, example);
}

static unsigned number_of(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static void increments_add_up(void **state)
{
    unsigned started = number_of("TABLES_SEED", (unsigned)time(NULL)), steps = number_of("TABLES_STEPS", STEPS);
    Folder folder = folder_new();
    Tables *tables = NULL;
    bool rebuilt;

    (void)state;
    print_message("seed %u\n", started);
    seed = started;
    stated = (Stated){.instance = "main"};
    for (int i = 0; i < N_USERS; i++)
        persons[i] = (Person){false, true, user_names[i]};
    for (int i = 0; i < N_GROUPS; i++)
        circles[i] = (Circle){.name = group_names[i]};
    ok(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt));
    for (unsigned step = 1; step <= steps; step++) {
        bool whole = below(3) == 0;
        ok(tables_begin(tables));
        for (unsigned i = 0, n = 1 + below(4); i < n; i++)
            change(tables, whole);
        if (whole || step == 1)
            give_all(tables);
        TablesView view = fake_view(&stated);
        ok(tables_commit(tables, &view, step, &(Digest){{1}}));
        nothing_to_mend(tables, started, (int)step);
        if (step % SCRATCH_EVERY == 0)
            same_as_from_nothing(tables, started, (int)step);
    }
    tables_free(&tables);
    stated_done(&stated);
    folder_remove(folder.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(increments_add_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
