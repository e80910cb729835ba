/* look.h - what the engine sees of its own configuration: certificate, overrides, files of the generation, each minute
 *
 * What is wrong is told once, and is a fact for as long as it is so.
 */
#pragma once
#include "engine/generation.h"
#include "engine/happened.h"

typedef struct Look Look;

/* Both outlive it. */
Look *look_new(const char *root, Happened *happened);
void look_free(Look **look);

void look_again(Look *look, const Generation *in_force);               /* NULL: nothing is in force */
void look_certificate_refused(Look *look, const char *why);            /* NULL: the followed pair is good */
bool look_certificate_due(const Look *look);                           /* another pair than the one in force is there */
bool look_overrides_changed(const Look *look, const char **ret_words); /* since they were read for what is in force */

/* "generation", "certificate", "overrides", "files" (where they differ).  Borrowed until the next call; since_ms: of the generation. */
size_t look_facts(Look *look, const Generation *in_force, Msec since_ms, Mail__Fact *const **ret_facts);
