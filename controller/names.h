/* names.h - a set of names, in order */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct Names {
    char **names; /* owned, sorted, each once */
    size_t n, room;
} Names;

void names_add(Names *names, const char *name); /* copies */
bool names_has(const Names *names, const char *name);
void names_done(Names *names); /* empty again */
