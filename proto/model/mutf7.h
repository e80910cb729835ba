/* mutf7.h - names of folders as they stand on the disk
 *
 * Source: RFC 3501 5.1.3: printable ASCII stands for itself, '&' is "&-", all else is
 * UTF-16 in base64 with ',' for '/' between '&' and '-'.
 */
#pragma once

char *mutf7_of(const char *utf8); /* valid UTF-8; owned by the caller */

/* The UTF-8 that mutf7_of would write so; NULL: nothing would be, so this is no such name. */
char *mutf7_read(const char *on_disk);
