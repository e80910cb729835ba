#include "tables/standing.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *word;
    Presence presence;
    Standing standing;
    bool forwards;
} words[] = {
    {"open", PRESENCE_THERE, STANDING_OPEN, false},    {"full", PRESENCE_THERE, STANDING_FULL, false},
    {"forward", PRESENCE_THERE, STANDING_OPEN, true},  {"closed", PRESENCE_THERE, STANDING_CLOSED, false},
    {"waiting", PRESENCE_THERE, STANDING_GONE, false}, /* there twice, or a group whose members are gone */
    {"gone", PRESENCE_GONE, STANDING_GONE, false},
};

enum { N_WORDS = sizeof words / sizeof *words };

void seen_done(Seen *seen)
{
    free(seen->facts);
    *seen = (Seen){.presence = PRESENCE_NONE, .standing = STANDING_NOBODY};
}

static size_t word_len(const char *facts)
{
    return strcspn(facts, "\n");
}

Seen seen_of(const char *facts)
{
    Seen nobody = {.presence = PRESENCE_NONE, .standing = STANDING_NOBODY};

    for (size_t i = 0; facts && i < N_WORDS; i++)
        if (strlen(words[i].word) == word_len(facts) && strncmp(words[i].word, facts, word_len(facts)) == 0)
            return (Seen){words[i].presence, words[i].standing, words[i].forwards, NULL};
    return nobody;
}

const char *seen_word(Presence presence, Standing standing, bool forwards)
{
    for (size_t i = 0; i < N_WORDS; i++)
        if (words[i].presence == presence && words[i].standing == standing && words[i].forwards == forwards)
            return words[i].word;
    return NULL;
}

bool seen_same_word(const char *facts, const char *others)
{
    if (!facts || !others)
        return facts == others;
    return word_len(facts) == word_len(others) && strncmp(facts, others, word_len(facts)) == 0;
}

Error *seen_get(Sql *sql, char kind, const char *name, Seen *ret_seen)
{
    DEFER(xfree) char *key = xasprintf("%c:%s", kind, name);
    sqlite3_stmt *get = NULL;
    bool got = false;

    Error *err = sql_start(sql, SQL_FACTS, &get, "t", key);
    if (!err)
        err = sql_row(sql, get, &got);
    if (err)
        return err;
    *ret_seen = seen_of(got ? sql_column(get, 0) : NULL);
    ret_seen->facts = got ? xstrdup(sql_column(get, 0)) : NULL;
    sqlite3_reset(get);
    return NULL;
}
