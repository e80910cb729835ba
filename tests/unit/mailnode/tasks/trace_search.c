/* What went between a sender and a recipient, from lines as Postfix writes them and as a hostile peer would like them read. */
#include "tasks/trace_search.h"

#include "expect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AT "Nov 28 19:09:18 mx1 postfix/"
#define QID "4jcKb20Grmz1cK60"
#define OTHER "4jcLTc2lr4z1cMmh"

static struct tm now = {.tm_year = 126, .tm_mon = 10, .tm_mday = 29, .tm_isdst = -1};

static Error *row_note(void *context, const Attempt *attempt)
{
    Buf *rows = context;

    buf_printf(rows, "%s%s %s>%s", rows->size ? "|" : "", attempt->result, attempt->from ? attempt->from : "?",
               attempt->to ? attempt->to : "?");
    if (attempt->orig_to)
        buf_printf(rows, "=%s", attempt->orig_to);
    if (attempt->tries > 1)
        buf_printf(rows, "*%d", (int)attempt->tries);
    return NULL;
}

/* "delivered a@b>c@d|..." of what is found. */
static void finds(const SearchWish *wish, const char *const *lines, size_t n, const char *expected)
{
    DEFER(search_free) Search *search = NULL;
    DEFER(buf_done) Buf rows = {0};

    ok(search_new(wish, &search));
    for (size_t i = 0; i < n; i++)
        search_line(search, lines[i], &now);
    ok(search_tell(search, row_note, &rows));
    assert_string_equal(rows.size ? buf_text(&rows) : "", expected);
}

#define FINDS(LINES, FROM, TO, EXPECTED)                                                                               \
    finds(&(SearchWish){.from = (FROM), .to = (TO), .until = UINT64_MAX}, LINES, sizeof(LINES) / sizeof *(LINES),      \
          EXPECTED)

static const char *const way[] = {
    AT "smtpd[30888]: " QID ": client=localhost[127.0.0.1]",
    AT "cleanup[31060]: " QID ": message-id=<bc5d511a@test>",
    AT "qmgr[30887]: " QID ": from=<someone@remote.test>, size=585, nrcpt=3 (queue active)",
    AT "lmtp[31100]: " QID
       ": to=<alice@u.internal>, orig_to=<info@example.org>, relay=x, dsn=2.0.0, status=sent (250 2.0.0)",
    AT "smtp[31101]: " QID ": to=<far@else.test>, relay=none, dsn=5.1.1, status=bounced (550 no)",
    AT "smtp[31101]: " QID ": to=<late@else.test>, relay=none, dsn=4.4.1, status=deferred (later)",
    AT "bounce[31102]: " QID ": sender non-delivery notification: " OTHER,
    AT "qmgr[30887]: " OTHER ": from=<>, size=2585, nrcpt=1 (queue active)",
    AT "qmgr[30887]: " QID ": from=<someone@remote.test>, size=585, nrcpt=3 (queue active)",
    AT "smtp[31101]: " QID ": to=<late@else.test>, relay=h[1.2.3.4]:25, dsn=2.0.0, status=sent (250 ok)",
    AT "qmgr[30887]: " QID ": removed",
};

static void test_ways(void **state)
{
    static const char all[] =
        "delivered someone@remote.test>alice@u.internal=info@example.org|"
        "bounced someone@remote.test>far@else.test|delivered someone@remote.test>late@else.test*2";
    (void)state;
    FINDS(way, "someone@remote.test", NULL, all);
    FINDS(way, "SOMEONE@Remote.test", NULL, all);
    FINDS(way, "@remote.TEST", NULL, all);
    FINDS(way, "@remote.test", "@example.org", "delivered someone@remote.test>alice@u.internal=info@example.org");
    FINDS(way, NULL, "alice@u.internal", "delivered someone@remote.test>alice@u.internal=info@example.org");
    FINDS(way, NULL, "@else.test",
          "bounced someone@remote.test>far@else.test|delivered someone@remote.test>late@else.test*2");
    FINDS(way, "<>", NULL, "queued >?");
    FINDS(way, "<>", "far@else.test", "");
    FINDS(way, NULL, "one@remote.test", "");
    FINDS(way, "@test", NULL, "");
    FINDS(way, "one@remote.test", NULL, "");
}

static void test_refusals(void **state)
{
    static const char *const lines[] = {
        AT
        "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 <no@example.org>: Recipient address rejected: no; "
        "from=<a@b.test> to=<no@example.org> proto=ESMTP helo=<c>",
        AT "submission/smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 451 4.3.0 <no@example.org>: later; from=<> "
           "to=<no@example.org> proto=ESMTP",
        AT "smtpd[1]: " QID ": reject: RCPT from unknown[::1]: 550 5.1.1 <x@example.org>: no; from=<a@b.test> "
           "to=<x@example.org> proto=ESMTP helo=<c> sasl_username=<alice>",
        AT
        "smtpd[1]: NOQUEUE: reject: MAIL from h[1.2.3.4]: 552 5.3.4 Message size exceeds fixed limit; from=<a@b.test> "
        "proto=ESMTP helo=<c>",
        AT "smtpd[1]: NOQUEUE: milter-reject: RCPT from h[1.2.3.4]: 451 4.7.1 later; from=<a@b.test> "
           "to=<no@example.org> proto=ESMTP helo=<c>",
        AT "cleanup[1]: " OTHER ": milter-reject: END-OF-MESSAGE from h[1.2.3.4]: 5.7.1 spam; from=<a@b.test> "
           "to=<x@example.org> proto=ESMTP helo=<c>",
        AT "cleanup[1]: " OTHER ": milter-reject: END-OF-MESSAGE from h[1.2.3.4]: 4.7.1 Try again; from=<a@b.test> "
           "to=<x@example.org> proto=ESMTP helo=<c>",
        AT "cleanup[1]: " OTHER ": milter-hold: END-OF-MESSAGE from h[1.2.3.4]: milter triggers HOLD action; "
           "from=<a@b.test> to=<y@example.org> proto=ESMTP helo=<c>",
        AT "smtpd[1]: NOQUEUE: lost connection after RCPT from h[1.2.3.4]",
    };
    (void)state;
    FINDS(lines, NULL, "no@example.org",
          "refused a@b.test>no@example.org|put off >no@example.org|put off a@b.test>no@example.org");
    FINDS(lines, "@b.test", "x@example.org",
          "refused a@b.test>x@example.org|refused a@b.test>x@example.org|put off a@b.test>x@example.org");
    FINDS(lines, "a@b.test", "y@example.org", "held a@b.test>y@example.org");
    FINDS(lines, "<>", NULL, "put off >no@example.org");
    FINDS(
        lines, "a@b.test", NULL,
        "refused a@b.test>no@example.org|refused a@b.test>x@example.org|refused a@b.test>?|put off a@b.test>no@example.org|"
        "refused a@b.test>x@example.org|put off a@b.test>x@example.org|held a@b.test>y@example.org");
}

static void test_ends(void **state)
{
    static const char *const lines[] = {
        AT "qmgr[1]: " QID ": from=<a@b.test>, size=5, nrcpt=2 (queue active)",
        AT "smtp[1]: " QID ": to=<c@d.test>, relay=none, dsn=4.4.1, status=deferred (later)",
        AT "smtp[1]: " QID ": to=<e@d.test>, relay=none, dsn=2.0.0, status=sent (ok)",
        AT "qmgr[1]: " QID ": from=<a@b.test>, status=expired, returned to sender",
        AT "qmgr[1]: " QID ": removed",
        AT "qmgr[1]: " OTHER ": from=<a@b.test>, size=5, nrcpt=2 (queue active)",
        AT "smtp[1]: " OTHER ": to=<f@d.test>, relay=none, dsn=4.4.1, status=deferred (later)",
        AT "postsuper[1]: " OTHER ": removed",
    };
    (void)state;
    FINDS(lines, "a@b.test", NULL, "expired a@b.test>c@d.test|delivered a@b.test>e@d.test|deleted a@b.test>f@d.test");
    FINDS(lines, NULL, "@d.test", "expired a@b.test>c@d.test|delivered a@b.test>e@d.test|deleted a@b.test>f@d.test");
}

/* What a peer wrote is never taken for a field of the daemon, and a server's words not for a result. */
static void test_hostile(void **state)
{
    static const char *const lines[] = {
        AT "qmgr[1]: AAAAAA1: from=<\"x>, to=<victim@example.org\"@b.test>, size=1, nrcpt=1 (queue active)",
        AT "lmtp[1]: AAAAAA1: to=<\"a>, orig_to=<victim@example.org>, status=sent (\"@b.test>, relay=none, "
           "status=bounced (no, status=sent (250 ok))",
        AT "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 <\"; from=<victim@example.org> to=<b@c> "
           "proto=ESMTP helo=<d>\"@b.test>: no; from=<a@b.test> to=<\"; from=<victim@example.org> to=<b@c> proto=ESMTP "
           "helo=<d>\"@b.test> proto=ESMTP helo=<c>",
        AT "smtpd[1]: NOQUEUE: reject: MAIL from h[1.2.3.4]: 550 5.1.1 no; from=<\"; from=<victim@example.org> "
           "proto=ESMTP\"@b.test> proto=ESMTP",
        AT "cleanup[1]: AAAAAA4: message-id=<x>, to=<victim@example.org>, status=sent (ok)",
        AT "smtpd[1]: AAAAAA6: client=h[1.2.3.4], to=<victim@example.org>, status=sent (ok)",
        "Nov 28 19:09:18 mx1 dovecot/x[1]: " QID ": to=<victim@example.org>, status=sent (ok)",
        "to=<victim@example.org>, status=sent (ok)",
        AT "smtp[1]: ../../x: to=<victim@example.org>, status=sent (ok)",
        AT "smtp[1: " QID ": to=<victim@example.org>, status=sent (ok)",
        AT "smtp[1]: " QID ": to=<victim@example.org, status=sent (ok)",
    };
    (void)state;
    FINDS(lines, "victim@example.org", NULL, "");
    FINDS(lines, NULL, "victim@example.org", "");
    FINDS(lines, NULL, "@example.org", "");
    FINDS(lines, "@b.test", NULL,
          "bounced \"x>, to=<victim@example.org\"@b.test>\"a>, orig_to=<victim@example.org>, status=sent (\"@b.test|"
          "refused a@b.test>\"; from=<victim@example.org> to=<b@c> proto=ESMTP helo=<d>\"@b.test|"
          "refused \"; from=<victim@example.org> proto=ESMTP\"@b.test>?");
}

static Error *row_look(void *context, const Attempt *attempt)
{
    (void)context;
    assert_string_equal(attempt->from, "a\\x1b[2J\\xff@b.test");
    assert_string_equal(attempt->id, "-");
    assert_string_equal(attempt->words, "550 5.1.1 \\x09no");
    assert_in_range(strlen(attempt->to), TRACE_WORDS_MAX, TRACE_WORDS_MAX + 4);
    return NULL;
}

static void test_shown(void **state)
{
    DEFER(search_free) Search *search = NULL;
    DEFER(buf_done) Buf line = {0};
    (void)state;

    ok(search_new(&(SearchWish){.to = "@example.org", .until = UINT64_MAX}, &search));
    buf_printf(&line, "%s",
               AT "smtpd[1]: NOQUEUE: reject: RCPT from h[1.2.3.4]: 550 5.1.1 \tno; "
                  "from=<a\x1b[2J\xff@b.test> to=<");
    for (int i = 0; i < 2000; i++)
        buf_printf(&line, "x");
    buf_printf(&line, "@example.org> proto=ESMTP");
    search_line(search, buf_text(&line), &now);
    ok(search_tell(search, row_look, NULL));
}

static void test_window(void **state)
{
    static const char *const lines[] = {
        "Nov 28 10:00:00 mx1 postfix/qmgr[1]: " QID ": from=<a@b.test>, size=5, nrcpt=2 (queue active)",
        "Nov 28 10:00:00 mx1 postfix/smtp[1]: " QID ": to=<c@d.test>, relay=none, dsn=2.0.0, status=sent (ok)",
        "Nov 28 12:00:00 mx1 postfix/smtp[1]: " QID ": to=<e@d.test>, relay=none, dsn=2.0.0, status=sent (ok)",
        "Nov 28 14:00:00 mx1 postfix/smtp[1]: " QID ": to=<f@d.test>, relay=none, dsn=2.0.0, status=sent (ok)",
        "Dec 28 12:00:00 mx1 postfix/smtp[1]: " QID ": to=<g@d.test>, relay=none, dsn=2.0.0, status=sent (ok)",
    };
    enum { N = sizeof lines / sizeof *lines };
    uint64_t noon = (uint64_t)trace_time("11-28 12:00:00", &now);
    (void)state;
    /* Who sent it was said before. */
    finds(&(SearchWish){"a@b.test", NULL, noon, noon}, lines, N, "delivered a@b.test>e@d.test");
    finds(&(SearchWish){NULL, "@d.test", noon + 1, UINT64_MAX}, lines, N, "delivered a@b.test>f@d.test");
    finds(&(SearchWish){NULL, "@d.test", 0, noon - 1}, lines, N, /* last year's first */
          "delivered a@b.test>g@d.test|delivered a@b.test>c@d.test");
}

static void test_newest(void **state)
{
    DEFER(search_free) Search *search = NULL;
    DEFER(buf_done) Buf rows = {0};
    char line[300];
    (void)state;

    ok(search_new(&(SearchWish){.to = "@d.test", .until = UINT64_MAX}, &search));
    for (int i = 0; i <= TRACE_FOUND_MAX; i++) {
        assert_false(search_full(search));
        snprintf(line, sizeof line, AT "smtp[1]: A%06d: to=<n%d@d.test>, relay=none, status=sent (ok)", i, i);
        search_line(search, line, &now);
    }
    assert_true(search_full(search));
    ok(search_tell(search, row_note, &rows));
    assert_null(strstr(buf_text(&rows), ">n0@d.test"));
    assert_non_null(strstr(buf_text(&rows), ">n1@d.test"));
    assert_non_null(strstr(buf_text(&rows), ">n1000@d.test"));
}

/* A sender that was forgotten, because too many came after, is not known, and costs nothing else. */
static void test_many_live(void **state)
{
    static const char last[] = AT "smtp[1]: A000000: to=<c@d.test>, relay=none, status=sent (ok)";
    DEFER(search_free) Search *search = NULL;
    DEFER(buf_done) Buf rows = {0};
    char line[300];
    (void)state;

    ok(search_new(&(SearchWish){.to = "@d.test", .until = UINT64_MAX}, &search));
    for (int i = 0; i <= TRACE_LIVE_MAX; i++) {
        snprintf(line, sizeof line, AT "qmgr[1]: A%06d: from=<a@b.test>, size=1", i);
        search_line(search, line, &now);
    }
    search_line(search, last, &now);
    ok(search_tell(search, row_note, &rows));
    assert_string_equal(buf_text(&rows), "delivered ?>c@d.test");
}

static void test_wish(void **state)
{
    static const struct {
        SearchWish wish;
        const char *error;
    } cases[] = {
        {{NULL, NULL, 0, 1}, "neither a sender nor a recipient"},
        {{"alice", NULL, 0, 1}, "from: 'alice' is no address"},
        {{"a@", NULL, 0, 1}, "from: 'a@' is no address"},
        {{NULL, "<>", 0, 1}, "to: '<>' is no address"},
        {{NULL, "", 0, 1}, "to: '' is no address"},
        {{NULL, "@", 0, 1}, "to: '@' is no address"},
        {{NULL, "<a@b>", 0, 1}, "to: '<a@b>' is no address"},
        {{NULL, "a\nb@c", 0, 1}, "printable"},
        {{"a@b", "c@d", 2, 1}, "since is later than until"},
    };
    Search *search = NULL;
    (void)state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fails(search_new(&cases[i].wish, &search), ERROR_INVALID, cases[i].error);
}

/* Every line cut at every place, and with each octet changed: nothing but an answer. */
static void test_broken(void **state)
{
    unsigned seed = 4711;
    (void)state;

    for (size_t i = 0; i < sizeof way / sizeof *way; i++)
        for (size_t len = 0; len <= strlen(way[i]); len++) {
            DEFER(search_free) Search *search = NULL;
            DEFER(buf_done) Buf rows = {0};
            char *cut = strndup(way[i], len);
            ok(search_new(&(SearchWish){.to = "@else.test", .until = UINT64_MAX}, &search));
            search_line(search, cut, &now);
            for (int change = 0; len && change < 8; change++) {
                seed = seed * 1103515245u + 12345u;
                cut[(seed >> 8) % len] = "<>\"\\:;, []=\x01\xff\x7f@A"[(seed >> 20) % 16];
                search_line(search, cut, &now);
            }
            ok(search_tell(search, row_note, &rows));
            free(cut);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ways),    cmocka_unit_test(test_refusals),  cmocka_unit_test(test_ends),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_shown),     cmocka_unit_test(test_window),
        cmocka_unit_test(test_newest),  cmocka_unit_test(test_many_live), cmocka_unit_test(test_wish),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
