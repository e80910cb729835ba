/* names.h - a set of names that keeps the order in which they came */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <uthash.h>

typedef struct Name {
    UT_hash_handle hh;
    char text[];
} Name;

/* Zeroes are an empty set. */
typedef struct Names {
    Name *first; /* in order: first, first->hh.next ... */
} Names;

bool names_add(Names *names, const char *text); /* false: it was there */
bool names_have(const Names *names, const char *text);
size_t names_count(const Names *names);
void names_sort(Names *names); /* from now on in the order of their octets */
void names_done(Names *names); /* empty again */
