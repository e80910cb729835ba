/* trace_search.h - which mail went from a sender to a recipient, and what became of it, from the lines that Postfix wrote
 *
 * One attempt for each recipient of each message, with the last that was said of it; one for each time that a client was
 * refused or put off, which has no queue id where nothing had been accepted yet.  The newest TRACE_FOUND_MAX are kept.
 * Lines are hostile (trace_line.h): addresses are compared as a whole, in any case, or by what is behind their '@'.
 *
 * Order of calls: search_new, search_line for each line from the oldest, search_tell.
 */
#pragma once
#include "base/error.h"
#include "tasks/trace_line.h"

#include <stdint.h>

enum {
    TRACE_FOUND_MAX = 1000,
    TRACE_LIVE_MAX = 100000, /* messages on their way whose sender is remembered; the oldest is forgotten */
    TRACE_WORDS_MAX = 500,
};

typedef struct SearchWish {
    const char *from, *to; /* LOCAL@DOMAIN, @DOMAIN, from also "<>"; NULL: whoever, one of them is there */
    uint64_t since, until; /* seconds since 1970, both included; when the last of it was said */
} SearchWish;

/* Printable ASCII, whatever a peer wrote, the rest as \xNN. */
typedef struct Attempt {
    uint64_t time;
    const char *result;        /* "delivered", "put off" ...; a constant */
    char id[TRACE_ID_MAX + 1]; /* "-": it had none yet */
    char *from;                /* "" is the null sender; NULL: not known any more */
    char *to;                  /* NULL: not known yet, or there was none */
    char *orig_to;             /* what a client had written, where that is another address */
    uint64_t tries;            /* deliveries that were tried */
    char *words;               /* of the server, or ours to the client */
} Attempt;

typedef struct Search Search;

/* INVALID: an address that is none, neither of them, since behind until. */
CHECKED Error *search_new(const SearchWish *wish, Search **ret_search);
void search_free(Search **search);

void search_line(Search *search, const char *line, const struct tm *now); /* 'now' is local, as the logs are */

typedef Error *SearchHeard(void *context, const Attempt *attempt);
CHECKED Error *search_tell(Search *search, SearchHeard *heard, void *context); /* by their times; ends at an error */
bool search_full(const Search *search);                                        /* older ones are not told */

/* All of it, as trace_node() does it. */
CHECKED Error *search_node(const char *root, Search *search, SearchHeard *heard, void *context, bool *ret_more);
