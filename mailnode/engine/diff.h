/* diff.h - two texts, line by line, for people
 *
 * Lines that are only in the first begin with "- ", only in the second with "+ "; what is alike is left out.  At most
 * DIFF_LINES_MAX lines; octets that a terminal would obey and broken UTF-8 are written as '?'.
 */
#pragma once
#include "base/buf.h"

enum { DIFF_LINES_MAX = 40 };

void diff_lines(const Buf *was, const Buf *is, Buf *out); /* without a newline at the end */
