/* replay.c - runs a fuzzer over files and folders once: for builds without libFuzzer */
#include "fuzz.h"

#include "base/buf.h"
#include "base/error.h"
#include "base/path.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

enum { INPUT_MAX = 64 * 1024 * 1024 };

static size_t n_inputs;

static bool run_file(const char *path)
{
    DEFER(buf_done) Buf input = {0};
    DEFER(error_free) Error *err = file_read(path, INPUT_MAX, &input);

    if (err) {
        fprintf(stderr, "replay: %s\n", err->what);
        return false;
    }
    /* Named before it runs: the last name printed is the one that ended the program. */
    printf("%s (%zu octets)\n", path, input.size);
    fflush(stdout);
    /* A copy of exactly this size: an octet read beyond it is seen by AddressSanitizer. */
    uint8_t *exact = malloc(input.size ? input.size : 1);
    if (!exact)
        return false;
    if (input.size)
        memcpy(exact, input.data, input.size);
    LLVMFuzzerTestOneInput(exact, input.size);
    free(exact);
    n_inputs++;
    return true;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool run_folder(const char *path)
{
    struct dirent **entries;
    int n = scandir(path, &entries, not_hidden, alphasort);
    bool good = n >= 0;

    if (n < 0)
        fprintf(stderr, "replay: %s cannot be read\n", path);
    for (int i = 0; i < n; i++) {
        char name[PATH_SIZE];
        bool fits = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name) < (int)sizeof name;
        good = fits && run_file(name) && good;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return good;
}

int main(int argc, char **argv)
{
    bool good = true;

    for (int i = 1; i < argc; i++) {
        struct stat st;
        bool folder = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode);
        good = (folder ? run_folder(argv[i]) : run_file(argv[i])) && good;
    }
    if (!n_inputs)
        fprintf(stderr, "replay: no input\n");
    return good && n_inputs ? 0 : 1;
}
