/* scene.h - one mail.db with its folder, its people and its objects; what is said of them, and what is asked of it */
#pragma once
#include "fake.h"

static Folder folder;
static Stated stated;
static Tables *tables;
static uint64_t revision;

/* ---- a directory: "alice bob !carol" (!: disabled there), and "sales=alice,g:inner inner=bob" ---- */

static const char *people = "", *groups = "";

UNUSED static void give_user(const char *word)
{
    DEFER(xfree) char *uuid = xasprintf("uuid-%s", word + (*word == '!'));

    ok(tables_account_user(tables,
                           &(AccountUser){.uuid = uuid, .name = word + (*word == '!'), .enabled = *word != '!'}));
}

static void give_group(char *word)
{
    char *equal = strchr(word, '=');
    DEFER(xfree) char *uuid = NULL;
    const char *users[64], *nested[64];
    AccountGroup group = {.users = users, .groups = nested};

    *equal = '\0';
    for (char *p = equal + 1; *p; p++)
        *p = *p == '~' ? ' ' : *p; /* words end at a blank */
    uuid = xasprintf("uuid-g-%s", word);
    group.uuid = uuid;
    group.name = word;
    for (char *name = strtok(equal + 1, ","); name; name = strtok(NULL, ",")) {
        if (strncmp(name, "g:", 2) == 0)
            nested[group.n_groups++] = name + 2;
        else
            users[group.n_users++] = name;
    }
    ok(tables_account_group(tables, &group));
}

static void each_word(const char *list, void (*each)(char *word))
{
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, " ");
        char *word = xstrndup(p, len);
        each(word);
        free(word);
        p += len + (p[len] != '\0');
    }
}

static void give_user_word(char *word)
{
    give_user(word);
}

UNUSED static void give_people(void)
{
    ok(tables_accounts_begin(tables));
    each_word(people, give_user_word);
    each_word(groups, give_group);
    ok(tables_accounts_end(tables));
}

/* ---- commits ---- */

static TablesView view;
static const char *used = ""; /* "bob:500 carol:10" octets */

static uint64_t usage_said(void *self, const char *name)
{
    size_t len = strlen(name);

    (void)self;
    for (const char *word = used; *word; word += strcspn(word, " "), word += *word == ' ')
        if (strncmp(word, name, len) == 0 && word[len] == ':')
            return strtoull(word + len + 1, NULL, 10);
    return 0;
}

static TablesView view_now(void)
{
    TablesView now = fake_view(&stated);

    now.usage = usage_said;
    return now;
}

UNUSED static void begin(void)
{
    ok(tables_begin(tables));
}

UNUSED static void commit(void)
{
    Digest digest = {{1, 2, 3}};

    view = view_now();
    ok(tables_commit(tables, &view, ++revision, &digest));
}

UNUSED static void all(void)
{
    begin();
    give_people();
    ok(tables_touch_all(tables));
    commit();
}

UNUSED static void touch(Kind kind, const char *name)
{
    ok(tables_touch(tables, &(ObjectRef){kind, "main", name}));
}

UNUSED static void changed(Kind kind, const char *name)
{
    begin();
    touch(kind, name);
    commit();
}

UNUSED static void directory(const char *new_people, const char *new_groups)
{
    people = new_people;
    groups = new_groups;
    begin();
    give_people();
    commit();
}

/* Whatever was done before, it is what comes out of nothing. */
UNUSED static void nothing_to_mend(void)
{
    DEFER(xfree) char *example = NULL;
    size_t n = 99;

    view = view_now();
    ok(tables_audit(tables, &view, &n, &example));
    if (n)
        fail_msg("%zu rows differ: %s", n, example);
}

/* ---- questions ---- */

UNUSED static void is(const char *recipient, const char *wanted)
{
    DEFER(xfree) char *answer = fate(tables->db, recipient);
    const char *got = answer ? answer : "nothing";

    if (strncmp(got, wanted, strlen(wanted)) != 0 || (strchr(wanted, '@') && strcmp(got, wanted) != 0))
        fail_msg("%s: %s, wanted %s", recipient, got, wanted);
}

UNUSED static void says(const char *query, const char *key, const char *wanted)
{
    DEFER(xfree) char *got = ask(tables->db, query, key);

    if (!got != !wanted || (got && wanted && strcmp(got, wanted) != 0))
        fail_msg("%s: %s, wanted %s", key, got ? got : "nothing", wanted ? wanted : "nothing");
}

UNUSED static int64_t number(const char *sql)
{
    int64_t n = -1;

    ok(sql_number(tables->db, sql, &n));
    return n;
}

UNUSED static int setup(void **state)
{
    bool rebuilt = true;

    (void)state;
    folder = folder_new();
    people = "alice bob carol dave eve";
    groups = "sales=alice,bob";
    used = "";
    revision = 0;
    stated = (Stated){.instance = "main"};
    ok(tables_open(folder.text, (gid_t)-1, &tables, &rebuilt));
    assert_false(rebuilt);
    state_domain(&stated, "example.org", true, false, NULL);
    return 0;
}

UNUSED static int teardown(void **state)
{
    (void)state;
    tables_free(&tables);
    stated_done(&stated);
    folder_remove(folder.text);
    return 0;
}
