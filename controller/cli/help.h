/* help.h - help, as it follows from the table of commands: examples first, one screen */
#pragma once
#include <stdio.h>

/* noun NULL: of everything; verb NULL: of the noun (or of a verb that stands alone).  Words that name nothing: of everything. */
void help_print(FILE *out, const char *noun, const char *verb);
