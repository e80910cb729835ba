/* Files of accounts, as CSV and as LDIF: refused line by line, or what is taken can be written into a directory. */
#include "fuzz.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/account.h"
#include "people_file.h"

#include <string.h>

static void wrong(void *context, const char *words)
{
    (void)context;
    REQUIRE(strncmp(words, "f:", 2) == 0);
}

static void taken(const PeopleFile *file)
{
    for (size_t i = 0; i < file->n; i++) {
        const FileAccount *account = &file->accounts[i];
        DEFER(error_free) Error *err = account_name_check(account->name);
        REQUIRE(!err && account->line > 0);
        REQUIRE(!account->full_name || utf8_valid(account->full_name, strlen(account->full_name)));
        for (size_t k = 0; k < account->n_others; k++)
            REQUIRE(*account->others[k] && utf8_valid(account->others[k], strlen(account->others[k])));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (memchr(data, '\0', size) || !utf8_valid((const char *)data, size))
        return 0; /* people_file_read has said so */
    for (int ldif = 0; ldif < 2; ldif++) {
        PeopleFile file = {.path = "f", .wrong = wrong, .text = xmalloc(size + 1), .size = size};
        if (size)
            memcpy(file.text, data, size);
        file.text[size] = '\0';
        (ldif ? people_ldif_read : people_csv_read)(&file);
        if (!file.n_wrong)
            taken(&file);
        people_file_done(&file);
    }
    return 0;
}
