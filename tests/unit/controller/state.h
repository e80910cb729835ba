/* state.h - a store in a folder of its own, and changes written as one line
 *
 *     say("add domain main example.org; add address - info@example.org to=alice")
 *
 * Verb, kind, instance ("-": left out), name ("-": none), fields with =, += or -=.
 */
#pragma once
#include "change.h"

#include "base/alloc.h"
#include "model/edit.h"

#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64], path[96];
static Store *store;
static WorkRules rules;   /* of the next change */
static uint64_t revision; /* of the last one; 0: nothing changed */
static Buf warned, kept;  /* what came of it, as words */
static Names asked;       /* nodes whose configuration it touched */
static const char *said;  /* the line at hand, for failures */

static inline void ok(Error *err)
{
    if (err)
        fail_msg("%s\n%s: %s", said ? said : "", error_code_name(err->code), err->what);
}

/* words: all that lie between '|' stand in what is said or in the hint. */
static inline void fails(Error *err, ErrorCode code, const char *words)
{
    DEFER(xfree) char *list = xstrdup(words);
    char *rest = NULL;

    if (!err) {
        fail_msg("%s\nwent well, wanted: %s", said ? said : "", words);
        return; /* not reached */
    }
    DEFER(xfree) char *all = xasprintf("%s\nhint: %s", err->what, err->hint ? err->hint : "");
    for (char *word = strtok_r(list, "|", &rest); word; word = strtok_r(NULL, "|", &rest))
        if (err->code != code || !strstr(all, word))
            fail_msg("%s\n%s: %s\nwanted %s: %s", said ? said : "", error_code_name(err->code), all,
                     error_code_name(code), word);
    if (strchr(err->what, '\n'))
        fail_msg("more than one line: %s", err->what);
    error_free(&err);
}

static inline int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/unit-controller-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/store.db", folder);
    ok(store_open(path, &store));
    rules = (WorkRules){.keep_n = 100, .keep_bytes = 1 << 20};
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    store_free(&store);
    DIR *dir = opendir(folder);
    if (!dir)
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        DEFER(xfree) char *file = xasprintf("%s/%s", folder, entry->d_name);
        unlink(file);
    }
    closedir(dir);
    rmdir(folder);
    buf_done(&warned);
    buf_done(&kept);
    names_done(&asked);
    return 0;
}

/* ---- one line as edits ---- */

enum { EDITS_MAX = 16, FIELDS_MAX = 8 };

typedef struct Line {
    char *text;
    Mail__ObjectEdit edits[EDITS_MAX], *list[EDITS_MAX];
    Mail__Ref refs[EDITS_MAX];
    Mail__FieldEdit fields[EDITS_MAX][FIELDS_MAX], *field_list[EDITS_MAX][FIELDS_MAX];
    size_t n;
} Line;

static inline void line_done(Line *line)
{
    free(line->text);
}

static inline char *or_none(char *word)
{
    return word && strcmp(word, "-") != 0 ? word : NULL;
}

static inline void line_field(Line *line, char *word)
{
    Mail__ObjectEdit *edit = &line->edits[line->n];
    Mail__FieldEdit *field = &line->fields[line->n][edit->n_fields];
    char *value = strchr(word, '=');

    assert_non_null(value);
    mail__field_edit__init(field);
    field->op = MAIL__EDIT_OP__SET;
    if (value > word && (value[-1] == '+' || value[-1] == '-')) {
        field->op = value[-1] == '+' ? MAIL__EDIT_OP__APPEND : MAIL__EDIT_OP__TAKE;
        value[-1] = '\0';
    }
    *value++ = '\0';
    field->field = word;
    if (*value == '!') { /* a secret, beside the values */
        field->has_secret = true;
        field->secret = (ProtobufCBinaryData){strlen(value + 1), (uint8_t *)value + 1};
    } else {
        field->value = value;
    }
    line->field_list[line->n][edit->n_fields++] = field;
}

static inline void line_edit(Line *line, char *text)
{
    Mail__ObjectEdit *edit = &line->edits[line->n];
    Mail__Ref *ref = &line->refs[line->n];
    char *rest = NULL, *verb = strtok_r(text, " ", &rest);

    mail__object_edit__init(edit);
    mail__ref__init(ref);
    edit->verb = strcmp(verb, "add") == 0   ? MAIL__VERB__ADD
                 : strcmp(verb, "set") == 0 ? MAIL__VERB__MODIFY
                                            : MAIL__VERB__REMOVE;
    edit->ref = ref;
    ref->kind = strtok_r(NULL, " ", &rest);
    ref->instance = or_none(strtok_r(NULL, " ", &rest));
    ref->name = or_none(strtok_r(NULL, " ", &rest));
    edit->fields = line->field_list[line->n];
    for (char *word; (word = strtok_r(NULL, " ", &rest));)
        line_field(line, word);
    line->list[line->n] = edit;
    line->n++;
}

static inline void line_read(Line *line, const char *text)
{
    char *rest = NULL;

    *line = (Line){.text = xstrdup(text)};
    for (char *edit = strtok_r(line->text, ";", &rest); edit; edit = strtok_r(NULL, ";", &rest))
        line_edit(line, edit);
}

/* ---- doing it ---- */

static inline void words_of_kept(const Kept *one, Buf *out)
{
    ObjectRef ref = object_ref(one->after ? one->after : one->before);

    buf_printf(out, "%s%s%s", out->size ? ", " : "", !one->before ? "+" : !one->after ? "-" : "~", ref.name);
}

static inline void outcome_read(const Work *work)
{
    buf_clear(&warned);
    buf_clear(&kept);
    names_done(&asked);
    for (size_t i = 0; i < work->n_warnings; i++)
        buf_printf(&warned, "%s%s", i ? "; " : "", work->warnings[i]);
    for (size_t i = 0; i < work->n_kept; i++)
        words_of_kept(&work->kept[i], &kept);
    for (size_t i = 0; i < work->nodes.n; i++)
        names_add(&asked, work->nodes.names[i]);
}

typedef Error *Doing(void *context, Work *work);

/* One change, one commit. */
static inline Error *do_change(Doing *doing, void *context)
{
    DEFER(work_done) Work work = {0};
    Author author = {.who = "test"};

    ok(store_begin(store));
    ok(change_begin(store));
    work_init(&work, store, &rules);
    Error *err = doing(context, &work);
    if (err) {
        ok(change_undo(store));
        store_rollback(store);
        return err;
    }
    outcome_read(&work);
    ok(change_end(store, &author, &revision));
    ok(store_commit(store));
    return NULL;
}

static inline Error *do_line(void *context, Work *work)
{
    Line *line = context;

    return change_work(work, line->list, line->n);
}

static inline Error *say(const char *text)
{
    DEFER(line_done) Line line = {0};

    said = text;
    line_read(&line, text);
    return do_change(do_line, &line);
}

/* ---- what is stored ---- */

static inline Error *state_add(void *context, const ObjectRef *ref, const void *bytes, size_t size)
{
    DEFER(object_free) Object *object = NULL;

    ok(object_unpack(bytes, size, &object));
    bool asleep = ref->kind == MAIL__OBJECT__BODY_ADDRESS && object->address->dormant;
    if (strcmp(ref->name, "postmaster@*") == 0 && strcmp(object->address->to[0], "public:Postmaster") == 0)
        return NULL;
    buf_printf(context, "%s%s%s", ((Buf *)context)->size ? " " : "", *ref->name ? ref->name : "policy",
               asleep ? "(asleep)" : "");
    return NULL;
}

/* Names of all objects of a kind (0: all), in order, but for the postmaster that every instance begins with. */
static inline void state_is(Kind kind, const char *wanted)
{
    DEFER(buf_done) Buf names = {0};

    ok(store_each(store, &(StoreFilter){.kind = kind}, state_add, &names));
    assert_string_equal(buf_text(&names), wanted);
}

static inline void field_is(Kind kind, const char *instance, const char *name, const char *field, const char *wanted)
{
    DEFER(object_free) Object *object = NULL;

    ok(store_get(store, &(ObjectRef){kind, instance, name}, 0, &object));
    assert_non_null(object);
    DEFER(xfree) char *text = field_text(object, meta_field(kind_info(kind)->meta, field));
    assert_string_equal(text, wanted);
}

/* A node, a user domain and one instance with a domain. */
static inline void site(void)
{
    ok(say("add node - mx1"));
    ok(say("add user-domain - staff kind=internal node=mx1"));
    ok(say("add instance - main node=mx1 hostname=mx1.example.org user-domain=staff; add domain main example.org"));
}
