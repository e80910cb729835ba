#include "model/repository.h"

#include "base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *text, *normal, *error;
} cases[] = {
    {"local:/srv/backup", "local:/srv/backup", NULL},
    {"local:/srv/backup/", "local:/srv/backup", NULL},
    {"local:/srv/Sicherung für alle", "local:/srv/Sicherung für alle", NULL},
    {"sftp:backup@vault.example.org:/srv/restic/", "sftp:backup@vault.example.org:/srv/restic", NULL},
    {"sftp:vault:restic", "sftp:vault:restic", NULL},
    {"sftp://backup@[2001:db8::7]:2222//srv/restic", "sftp://backup@[2001:db8::7]:2222//srv/restic", NULL},
    {"rest:https://vault.example.org:8000/mail/", "rest:https://vault.example.org:8000/mail", NULL},
    {"rest:http://127.0.0.1:18090/", "rest:http://127.0.0.1:18090", NULL},
    {"s3:s3.amazonaws.com/bucket", "s3:s3.amazonaws.com/bucket", NULL},
    {"s3:https://minio.example.org:9000/bucket/mail", "s3:https://minio.example.org:9000/bucket/mail", NULL},
    {"b2:bucket:mail/main", "b2:bucket:mail/main", NULL},
    {"b2:bucket:", "b2:bucket:", NULL},
    {"azure:container:/", "azure:container:", NULL},
    {"gs:bucket:/mail", "gs:bucket:/mail", NULL},
    {"swift:container:/mail", "swift:container:/mail", NULL},

    {"", NULL, "no kind of repository"},
    {"/srv/backup", NULL, "no kind of repository"},
    {"https://vault.example.org/", NULL, "no kind of repository"},
    {"rclone:remote:repo", NULL, "no kind of repository"}, /* restic would start a program */
    {"LOCAL:/srv", NULL, "no kind of repository"},
    {"local:srv", NULL, "no absolute path"},
    {"local:", NULL, "no absolute path"},
    {"local:/", NULL, "nothing between two '/', or at the end"},
    {"local:/srv/../etc", NULL, "'..' between two '/', or at the end"},
    {"local:/srv/./x", NULL, "'.' between two '/', or at the end"},
    {"local:/srv\n/x", NULL, "'<U+000A>' is not allowed: nothing that cannot be seen"},
    {"sftp:-oProxyCommand=x:/srv", NULL, "a host that begins with '-'"},
    {"sftp:u@-oProxyCommand=x:/srv", NULL, "a host that begins with '-'"},
    {"sftp:-u@host:/srv", NULL, "no login before '@'"},
    {"sftp:user:pass@host:/srv", NULL, "a password in the address"},
    {"sftp://user:pass@host/srv", NULL, "a password in the address"},
    {"sftp://-host/srv", NULL, "a host that begins with '-'"},
    {"sftp:@host:/srv", NULL, "no login before '@'"},
    {"sftp:host", NULL, "no folder behind the host"},
    {"sftp:host:", NULL, "no folder"},
    {"sftp:host:/../etc", NULL, "'..' in the folder"},
    {"sftp://host:0/srv", NULL, "no port behind ':' of the host"},
    {"sftp://host:99999/srv", NULL, "no port behind ':' of the host"},
    {"sftp://[::1/srv", NULL, "'[' without an IPv6 address and ']'"},
    {"sftp:host name:/srv", NULL, "' ' is not allowed: letters, digits and what a URL has"},
    {"rest:vault.example.org", NULL, "no URL behind rest:"},
    {"rest:http://user:pass@host/", NULL, "a login in the address"},
    {"rest:http://user@host/", NULL, "a login in the address"},
    {"rest:http://-host/", NULL, "a host that begins with '-'"},
    {"rest:http:///x", NULL, "no host"},
    {"rest:http://host/a/../b", NULL, "'..' in the path"},
    {"rest:http://host/x?y", NULL, "'?' is not allowed: letters, digits and what a URL has"},
    {"s3:s3.amazonaws.com", NULL, "no bucket"},
    {"s3:AK:SK@s3.amazonaws.com/b", NULL, "a login in the address"},
    {"s3:http://host\\evil/b", NULL, "'\\' is not allowed: letters, digits and what a URL has"},
    {"b2:", NULL, "no bucket or container with ':' behind it"},
    {"b2:bucket", NULL, "no bucket or container with ':' behind it"},
    {"b2:-x:y", NULL, "no bucket or container with ':' behind it"},
    {"gs:bucket:/a/..", NULL, "'..' in the path"},
};

static void each_address(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DEFER(xfree) char *normal = NULL, *again = NULL;
        DEFER(error_free) Error *err = repository_normalise(cases[i].text, &normal);
        const char *said = err ? err->what : NULL;

        if (!cases[i].error != !said || (said && strcmp(said, cases[i].error) != 0))
            fail_msg("'%s': said '%s', not '%s'", cases[i].text, said ? said : "nothing",
                     cases[i].error ? cases[i].error : "nothing");
        if (err)
            continue;
        assert_string_equal(normal, cases[i].normal);
        assert_null(repository_normalise(normal, &again));
        assert_string_equal(again, normal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_address)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
