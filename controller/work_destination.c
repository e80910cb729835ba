#include "work_destination.h"

#include "work_secret.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

enum { GROUPS = 8, GROUP_LETTERS = 4, LETTERS = GROUPS * GROUP_LETTERS, TEXT_LEN = LETTERS + GROUPS - 1 };

/* 160 bits as people can copy them from paper: Crockford's base 32 in groups of four. */
static Error *password_make(char out[TEXT_LEN])
{
    static const char letters[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t chance[LETTERS];
    size_t at = 0;

    if (getrandom(chance, sizeof chance, 0) != (ssize_t)sizeof chance)
        return error_system("getrandom");
    for (size_t i = 0; i < LETTERS; i++) {
        if (i && i % GROUP_LETTERS == 0)
            out[at++] = '-';
        out[at++] = letters[chance[i] & 31];
    }
    explicit_bzero(chance, sizeof chance);
    assert(at == TEXT_LEN);
    return NULL;
}

static bool says_password(const Mail__ObjectEdit *edit)
{
    for (size_t i = 0; i < edit->n_fields; i++)
        if (edit->fields[i]->field && strcmp(edit->fields[i]->field, "password") == 0)
            return true;
    return false;
}

Error *destination_password(Work *work, Object *object, const Mail__ObjectEdit *edit)
{
    char text[TEXT_LEN];

    if (object->body_case != MAIL__OBJECT__BODY_DESTINATION || says_password(edit))
        return NULL;
    Error *err = password_make(text);
    if (err)
        return err;
    DEFER(secret_free) Secret *password = secret_new(text, sizeof text);
    explicit_bzero(text, sizeof text);
    return work_secret_set(work, object, meta_field(kind_info(object->body_case)->meta, "password"), password);
}
