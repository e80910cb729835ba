#include "engine/recover.h"

#include "base/log.h"
#include "generations.h"

/* Made of words: "1 2 3" are whole generations, "x2" is one whose texts are torn, "o2" one whose objects are; ">2" is the
 * link, "t2/1" a trial, "T" a torn one, "b1" the link back, "n4" one that was prepared, ">?" a link that leads elsewhere. */
static void build(const char *root, const char *words)
{
    DEFER(xfree) char *copy = xstrdup(words);
    char *rest = NULL;

    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        uint64_t number = strtoull(word + (*word < '0' || *word > '9'), NULL, 10);
        Path engine = path_in(root, "var/lib/mailnode/engine/current"),
             trial = path_in(root, "var/lib/mailnode/engine/trial");
        if (*word == '>' && word[1] == '?') {
            assert_int_equal(symlink("/etc", engine.text), 0);
        } else if (*word == '>') {
            ok(current_set(root, number));
        } else if (*word == 't') {
            ok(trial_begin(root, &(Trial){number, strtoull(strchr(word, '/') + 1, NULL, 10)}));
        } else if (*word == 'T') {
            ok(file_write(trial.text, "to", 2, 0600, (gid_t)-1));
        } else if (*word == 'n') {
            DEFER(rendered_done) Rendered rendered = rendered_of(number * 10, "new");
            ok(generation_write(root, number, &rendered));
        } else {
            generation_there(root, number, "x");
            if (*word == 'x')
                spoil(root, number, "rendered");
            if (*word == 'o')
                spoil(root, number, "objects");
        }
    }
}

static const struct {
    const char *words;
    uint64_t in_force;
    bool lost;
    const char *said; /* the last happening; "": none */
} cases[] = {
    {"", 0, false, ""},
    {"n1", 0, false, ""},
    {"1 >1", 1, false, ""},
    {"1 2 3 >2", 2, false, ""},
    /* each step of a switch from 1 to 2 */
    {"1 >1 n2", 1, false, ""},
    {"1 >1 n2 t2/1", 1, false, "switch taken back"},
    {"1 >1 t2/1 2", 1, false, "switch taken back"},
    {"1 t2/1 2 >2", 1, false, "switch taken back"},
    {"1 2 >2", 2, false, ""},
    /* of the first one */
    {"n1 t1/0", 0, false, "switch taken back"},
    {"t1/0 1", 0, false, "switch taken back"},
    {"t1/0 1 >1", 0, false, "switch taken back"},
    /* damage */
    {"1 2 >2 T", 2, false, "trial set aside"},
    {"1 2", 2, false, "older generation in force"},
    {"1 2 >?", 2, false, "older generation in force"},
    {"1 2 >7", 2, false, "older generation in force"},
    {"1 x2 >2", 1, false, "generation set aside"},
    {"x1 x2 >2", 0, true, "configuration lost"},
    {"1 o2 >2", 2, false, "objects damaged"},
    {"1 x2 t3/2 3 >3", 1, false, "generation set aside"},
};

static const char *last_said(Happened *happened)
{
    Mail__Happening *const *list = NULL;
    size_t n = happened_list(happened, 0, clock_ms(), &list);

    return n ? list[n - 1]->what : "";
}

static void check_row(size_t i)
{
    DEFER(happened_free) Happened *happened = happened_new();
    DEFER(generation_free) Generation *now = NULL;
    DEFER(xfree) char *root = root_make();
    bool lost = false;
    uint64_t linked = 0;

    build(root, cases[i].words);
    ok(recover(root, happened, &now, &lost));
    uint64_t number = now ? now->number : 0;
    if (number != cases[i].in_force || lost != cases[i].lost || strcmp(last_said(happened), cases[i].said) != 0)
        fail_msg("%s: generation %lu, lost %d, said '%s'", cases[i].words, (unsigned long)number, lost,
                 last_said(happened));
    assert_false(there(root, "trial"));
    assert_false(there(root, "current.back"));
    ok(current_read(root, &linked));
    if (!lost)
        assert_int_equal(linked, number);

    /* Once more changes nothing, and has nothing more to say of a switch. */
    DEFER(generation_free) Generation *again = NULL;
    ok(recover(root, happened, &again, &lost));
    assert_int_equal(again ? again->number : 0, number);
    folder_remove(root);
}

static void test_cases(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_ERROR);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_row(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
