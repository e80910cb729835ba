#include "store/store_inside.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Before SQLite makes it with 0644; an empty file is none to it. */
static Error *file_make(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

    if (fd < 0)
        return error_in(error_system("create"), "%s", path);
    close(fd);
    return NULL;
}

static void sql_done(Sql *sql)
{
    sql_close(sql);
}

Error *store_copy(const char *path, const char *to)
{
    DEFER(sql_done) Sql sql = {0};
    DEFER(query_done) Query query = {0};
    bool row = false;

    Error *err = file_make(to);
    if (!err)
        err = sql_open(&sql, path);
    if (!err)
        err = query_text(&sql, "VACUUM INTO :to", &query);
    if (err)
        return err;
    query_bind(&query, ":to", to);
    return query_row(&query, &row);
}
