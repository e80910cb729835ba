#include "model/name.h"

#include "base/alloc.h"
#include "base/utf8.h"
#include "model/acl.h"
#include "model/curve_key.h"
#include "model/meta.h"
#include "model/mutf7.h"
#include "model/repository.h"
#include "model/schedule.h"
#include "model/shown.h"
#include "model/validate.h"

#include <arpa/inet.h>
#include <assert.h>
#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unicase.h>
#include <uninorm.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static void lower_ascii(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

/* The first character of 'rest', as an error may show it. */
static Error *not_allowed(const char *rest, const char *what_is)
{
    size_t len = utf8_char_len(rest, strlen(rest));
    DEFER(xfree) char *one = xstrndup(rest, len ? len : 1);
    DEFER(xfree) char *seen = shown(one);

    return error_new(ERROR_INVALID, "'%s' is not allowed: %s", seen, what_is);
}

static Error *too_long(size_t len, size_t most)
{
    return error_new(ERROR_INVALID, "%zu octets: at most %zu", len, most);
}

static Error *visible_check(const char *text)
{
    for (size_t len; *text; text += len)
        if (character_hidden(character_at(text, &len)))
            return not_allowed(text, "nothing that cannot be seen");
    return NULL;
}

/* ---- names of ours ----------------------------------------------------------------- */

static Error *name_form(const char *text, char **ret_text)
{
    static const char words[] = "1 to 63 of a-z, 0-9 and '-', first a letter";
    DEFER(xfree) char *name = xstrdup(text);
    size_t len = strlen(name);

    lower_ascii(name);
    if (len == 0)
        return error_new(ERROR_INVALID, "empty: %s", words);
    size_t good = strspn(name, LOWER DIGITS "-");
    if (good < len)
        return not_allowed(name + good, words);
    if (len > NAME_MAX_LEN)
        return too_long(len, NAME_MAX_LEN);
    if (!strchr(LOWER, *name))
        return error_new(ERROR_INVALID, "the first is no letter: %s", words);
    *ret_text = name;
    name = NULL;
    return NULL;
}

/* ---- host and domain names --------------------------------------------------------- */

static Error *label_check(const char *label, size_t len)
{
    if (len == 0)
        return error_new(ERROR_INVALID, "an empty label");
    if (len > NAME_MAX_LEN)
        return error_new(ERROR_INVALID, "a label of %zu octets: at most %d", len, NAME_MAX_LEN);
    size_t good = strspn(label, LOWER DIGITS "-");
    if (good < len)
        return not_allowed(label + good, "host names have letters, digits, '-' and '.'");
    if (label[0] == '-' || label[len - 1] == '-')
        return error_new(ERROR_INVALID, "a label begins or ends with '-'");
    if (len >= 4 && label[2] == '-' && label[3] == '-' && strncmp(label, "xn", 2) != 0) /* RFC 5890 2.3.1 */
        return error_new(ERROR_INVALID, "a label has '--' in third place");
    return NULL;
}

static Error *labels_check(const char *name)
{
    size_t len = strlen(name), n_labels = 0;
    struct in_addr address;

    if (len == 0)
        return error_new(ERROR_INVALID, "empty");
    if (len > NAME_FQDN_LEN)
        return too_long(len, NAME_FQDN_LEN);
    const char *last = name;
    for (const char *at = name;; at += strcspn(at, ".") + 1) {
        Error *err = label_check(at, strcspn(at, "."));
        if (err)
            return err;
        n_labels++;
        last = at;
        if (!at[strcspn(at, ".")])
            break;
    }
    if (n_labels < 2)
        return error_new(ERROR_INVALID, "a name with a dot in it is needed");
    if (strspn(last, DIGITS) == strlen(last) || inet_aton(name, &address))
        return error_new(ERROR_INVALID, "an address, not a name");
    return NULL;
}

static bool has_alabel(const char *name)
{
    for (const char *at = name; at; at = strchr(at, '.') ? strchr(at, '.') + 1 : NULL)
        if (strncasecmp(at, "xn--", 4) == 0)
            return true;
    return false;
}

enum { IDN_FLAGS = IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES };

static Error *idn_look_up(const char *name, char **ret_ascii)
{
    uint8_t *ascii = NULL;

    int rc = idn2_lookup_u8((const uint8_t *)name, &ascii, IDN_FLAGS);
    if (rc == IDN2_TOO_BIG_LABEL || rc == IDN2_TOO_BIG_DOMAIN)
        return error_new(ERROR_INVALID, "too long as A-labels: at most %d octets, %d a label", NAME_FQDN_LEN,
                         NAME_MAX_LEN);
    if (rc != IDN2_OK)
        return error_new(ERROR_INVALID, "no international name: %s", idn2_strerror(rc));
    *ret_ascii = xstrdup((const char *)ascii);
    idn2_free(ascii);
    return NULL;
}

/* libidn2 takes A-labels that no U-label makes: there and back it must be the same. */
static Error *alabels_check(const char *ascii)
{
    static const char nothing[] = "an A-label that means nothing";
    DEFER(xfree) char *back = NULL;
    char *people = NULL;

    int rc = idn2_to_unicode_8z8z(ascii, &people, IDN_FLAGS);
    if (rc != IDN2_OK || !people)
        return error_new(ERROR_INVALID, "%s: %s", nothing, idn2_strerror(rc));
    bool still = has_alabel(people);
    Error *err = still ? NULL : idn_look_up(people, &back);
    idn2_free(people);
    if (!err && (!back || strcmp(back, ascii) != 0))
        err = error_new(ERROR_INVALID, "%s", nothing);
    return err;
}

static bool is_ascii(const char *text)
{
    while (*text > 0)
        text++;
    return *text == '\0';
}

/* The tables of a node keep mailboxes and expansions under these: as somebody's destination they would pass every rule. */
static Error *ours_check(const char *name)
{
    static const char *const ours[] = {"u.internal", "x.internal"};

    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (strcmp(name, ours[i]) == 0)
            return error_new(ERROR_INVALID, "%s is used inside a node", name);
    return NULL;
}

enum { FQDN_INPUT_LEN = 4 * NAME_FQDN_LEN }; /* U-labels are longer; libidn2 is not given a megabyte */

static Error *ascii_form(const char *text, char **ret_name)
{
    if (!is_ascii(text)) {
        Error *err = visible_check(text); /* libidn2 drops what cannot be seen */
        return err ? err : idn_look_up(text, ret_name);
    }
    *ret_name = xstrdup(text);
    lower_ascii(*ret_name);
    return NULL;
}

static Error *fqdn_form(const char *text, char **ret_text)
{
    DEFER(xfree) char *name = NULL;
    size_t len = strlen(text);

    if (len > FQDN_INPUT_LEN)
        return too_long(len, NAME_FQDN_LEN);
    if (len > 1 && text[len - 1] == '.')
        return error_hint(error_new(ERROR_INVALID, "a dot at the end"), "write %.*s", (int)len - 1, text);
    Error *err = ascii_form(text, &name);
    if (err || !name)
        return err;
    err = labels_check(name);
    if (!err && has_alabel(name))
        err = alabels_check(name);
    if (!err)
        err = ours_check(name);
    if (err)
        return err;
    *ret_text = name;
    name = NULL;
    return NULL;
}

/* ---- addresses --------------------------------------------------------------------- */

bool address_split(const char *address, size_t *ret_local_len, const char **ret_domain)
{
    const char *at = strchr(address, '@');

    if (!at || strchr(at + 1, '@'))
        return false;
    *ret_local_len = (size_t)(at - address);
    *ret_domain = at + 1;
    return true;
}

static Error *local_check(const char *local, size_t len, const char *allowed, const char *what_is)
{
    size_t good = strspn(local, allowed);

    if (len == 0)
        return error_new(ERROR_INVALID, "nothing before '@'");
    if (good < len)
        return not_allowed(local + good, what_is);
    if (len > NAME_LOCAL_LEN)
        return error_new(ERROR_INVALID, "%zu octets before '@': at most %d", len, NAME_LOCAL_LEN);
    if (local[0] == '.' || local[len - 1] == '.')
        return error_new(ERROR_INVALID, "a dot first or last before '@'");
    for (size_t i = 1; i < len; i++)
        if (local[i] == '.' && local[i - 1] == '.')
            return error_new(ERROR_INVALID, "two dots in a row before '@'");
    return NULL;
}

typedef struct AddressForm {
    const char *allowed, *what_is;
    bool wildcard;
} AddressForm;

/* SPEC.md F-085. */
static const AddressForm ours = {
    UPPER LOWER DIGITS "._-'",
    "before '@' stand letters, digits and . _ - '",
    true,
};
/* Elsewhere: no quotes, and nothing by which old mailers route: % ! | / */
static const AddressForm elsewhere = {
    UPPER LOWER DIGITS "._-'+=&#~",
    "before '@' stand letters, digits and . _ - ' + = & # ~",
    false,
};

static Error *behind_at(const char *text, const AddressForm *form, char **ret_domain)
{
    if (!form->wildcard || strcmp(text, "*") != 0)
        return error_in(fqdn_form(text, ret_domain), "domain");
    *ret_domain = xstrdup("*");
    return NULL;
}

static Error *address_form(const char *text, const AddressForm *form, char **ret_text)
{
    DEFER(xfree) char *domain = NULL;
    const char *behind;
    size_t local_len;

    if (!address_split(text, &local_len, &behind))
        return error_new(ERROR_INVALID, "%s", strchr(text, '@') ? "more than one '@'" : "'@' is missing");
    Error *err = local_check(text, local_len, form->allowed, form->what_is);
    if (!err)
        err = behind_at(behind, form, &domain);
    if (err || !domain)
        return err;
    if (local_len + 1 + strlen(domain) > NAME_ADDRESS_LEN)
        return too_long(local_len + 1 + strlen(domain), NAME_ADDRESS_LEN);
    *ret_text = xasprintf("%.*s@%s", (int)local_len, text, domain);
    lower_ascii(*ret_text);
    return NULL;
}

Error *address_key_normalise(const char *text, char **ret_text)
{
    Error *err = utf8_valid(text, strlen(text)) ? NULL : error_new(ERROR_INVALID, "not UTF-8");

    if (!err)
        err = address_form(text, &ours, ret_text);
    if (err && !strchr(text, '@'))
        return error_hint(err, "write LOCAL@DOMAIN, or LOCAL@* for every domain");
    return err;
}

Error *sought_address_check(const char *text, bool null_too)
{
    size_t len = strlen(text);
    const char *at = strrchr(text, '@');

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || (unsigned char)text[i] >= 0x7f)
            return error_new(ERROR_INVALID, "what is to be found in logs has only printable ASCII");
    if (len > NAME_SOUGHT_LEN)
        return too_long(len, NAME_SOUGHT_LEN);
    if (null_too && strcmp(text, "<>") == 0)
        return NULL;
    DEFER(xfree) char *seen = shown(text);
    if (at && at[1] && !strchr(at, '>') && text[0] != '<')
        return NULL;
    return error_hint(error_new(ERROR_INVALID, "'%s' is no address", seen),
                      null_too ? "write LOCAL@DOMAIN, @DOMAIN, or '<>' for the sender of bounces"
                               : "write LOCAL@DOMAIN, or @DOMAIN for all of it");
}

/* ---- texts ------------------------------------------------------------------------- */

static Error *spaces_check(const char *text)
{
    size_t len = strlen(text);

    if (len && (text[0] == ' ' || text[len - 1] == ' '))
        return error_new(ERROR_INVALID, "a space first or last");
    return NULL;
}

/* NFC, in lower case if wanted; the text is valid UTF-8. */
static char *composed(const char *text, bool lower)
{
    size_t len = 0;
    uint8_t *made = lower ? u8_tolower((const uint8_t *)text, strlen(text), NULL, UNINORM_NFC, NULL, &len)
                          : u8_normalize(UNINORM_NFC, (const uint8_t *)text, strlen(text), NULL, &len);

    char *copy = xstrndup(made ? (const char *)made : "", len);
    free(made);
    return copy;
}

char *text_folded(const char *text)
{
    return composed(text, true);
}

static Error *text_form(const char *text, char **ret_text)
{
    Error *err = visible_check(text);

    if (!err)
        err = spaces_check(text);
    if (!err)
        *ret_text = composed(text, false);
    return err;
}

/* As a directory names it, folded: F-046 takes case to be nothing. */
static Error *account_form(const char *text, char **ret_text)
{
    if (!*text)
        return error_new(ERROR_INVALID, "names nobody");
    if (strlen(text) > NAME_ACCOUNT_LEN)
        return too_long(strlen(text), NAME_ACCOUNT_LEN);
    if (strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return error_new(ERROR_INVALID, "no name of a user or group");
    const char *bad = strpbrk(text, "@/");
    if (bad)
        return not_allowed(bad, "no name of a user or group has it");
    Error *err = visible_check(text);
    if (!err)
        err = spaces_check(text);
    if (!err)
        *ret_text = composed(text, true);
    return err;
}

/* ---- networks ------------------------------------------------------------------------ */

bool network_read(const char *text, Network *ret_network)
{
    const char *slash = strchr(text, '/');
    DEFER(xfree) char *address = slash ? xstrndup(text, (size_t)(slash - text)) : xstrdup(text);
    Network network = {.bits = 0};

    if (inet_pton(AF_INET, address, network.octets) == 1)
        network.n_octets = 4;
    else if (inet_pton(AF_INET6, address, network.octets) == 1)
        network.n_octets = 16;
    else
        return false;
    size_t n_digits = slash ? strspn(slash + 1, DIGITS) : 0;
    if (slash && (n_digits < 1 || n_digits > 3 || slash[1 + n_digits] || (n_digits > 1 && slash[1] == '0')))
        return false;
    network.bits = slash ? (unsigned)strtoul(slash + 1, NULL, 10) : 8 * (unsigned)network.n_octets;
    if (network.bits > 8 * network.n_octets)
        return false;
    *ret_network = network;
    return true;
}

/* The address of the whole without the bits behind the prefix; a network of one is an address. */
static char *network_text(const Network *network)
{
    unsigned char octets[16] = {0};
    char number[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < network->n_octets && 8 * i < network->bits; i++) {
        unsigned left = network->bits - 8 * (unsigned)i;
        octets[i] = left < 8 ? network->octets[i] & (unsigned char)(0xff << (8 - left)) : network->octets[i];
    }
    inet_ntop(network->n_octets == 4 ? AF_INET : AF_INET6, octets, number, sizeof number);
    return network->bits == 8 * network->n_octets ? xstrdup(number) : xasprintf("%s/%u", number, network->bits);
}

/* SPEC.md F-149: nothing is stored that the servers would skip, or read in another way. */
static Error *network_form(const char *text, char **ret_text)
{
    Network network;

    if (!network_read(text, &network))
        return error_hint(error_new(ERROR_INVALID, "no numeric IPv4 or IPv6 address, and no network of them"),
                          "write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32");
    struct in6_addr six;
    memcpy(&six, network.octets, sizeof six);
    if (network.n_octets == 16 && network.bits >= 96 && IN6_IS_ADDR_V4MAPPED(&six)) {
        Network four = {.n_octets = 4, .bits = network.bits - 96};
        memcpy(four.octets, network.octets + 12, 4);
        DEFER(xfree) char *as_four = network_text(&four);
        return error_hint(error_new(ERROR_INVALID, "IPv4 addresses in IPv6's clothes"), "write %s", as_four);
    }
    DEFER(xfree) char *normal = network_text(&network);
    Network read = {.bits = 0};
    if (!network_read(normal, &read) || memcmp(read.octets, network.octets, network.n_octets) != 0)
        return error_hint(error_new(ERROR_INVALID, "bits are set behind the first %u", network.bits), "write %s",
                          normal);
    *ret_text = normal;
    normal = NULL;
    return NULL;
}

/* ---- files and folders --------------------------------------------------------------- */

/* Each level of a path or folder is something, and neither this one nor the one above. */
static Error *levels_check(const char *text, const char *where)
{
    for (const char *at = text;; at += strcspn(at, "/") + 1) {
        size_t len = strcspn(at, "/");
        if (len == 0)
            return error_new(ERROR_INVALID, "nothing %s", where);
        if (at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.')))
            return error_new(ERROR_INVALID, "'%.*s' %s", (int)len, at, where);
        if (!at[len])
            return NULL;
    }
}

/* The bytes as they are: a name in another form than NFC is another file. */
static Error *path_form(const char *text, char **ret_text)
{
    if (*text != '/')
        return error_hint(error_new(ERROR_INVALID, "no absolute path"), "write /PATH/OF/THE/FILE");
    Error *err = visible_check(text);
    if (!err)
        err = spaces_check(text);
    if (!err)
        err = levels_check(text + 1, "between two '/', or at the end");
    if (!err)
        *ret_text = xstrdup(text);
    return err;
}

static Error *folder_check(const char *folder)
{
    const char *bad = strpbrk(folder, "*%");

    if (bad)
        return not_allowed(bad, "it stands for any folder"); /* RFC 3501 6.3.8 */
    if (*folder == '~')
        return not_allowed(folder, "first it means a home directory");
    if (strncasecmp(folder, "INBOX", 5) == 0 && (folder[5] == '\0' || folder[5] == '/'))
        return error_new(ERROR_INVALID, "INBOX is there already, and is another"); /* RFC 3501 5.1: in any case */
    return levels_check(folder, "as a level of a folder");
}

static Error *folder_form(const char *text, char **ret_text)
{
    Error *err = visible_check(text);

    if (!err)
        err = spaces_check(text);
    if (err)
        return err;
    DEFER(xfree) char *folder = composed(text, false);
    err = folder_check(folder);
    if (err)
        return err;
    *ret_text = folder;
    folder = NULL;
    return NULL;
}

/* Of a public mailbox: its levels are one name on the disk, with '.' between them (Maildir++). */
static Error *public_form(const char *text, char **ret_text)
{
    DEFER(xfree) char *folder = NULL;
    const char *dot = strchr(text, '.');

    if (!*text)
        return error_new(ERROR_INVALID, "names no mailbox");
    if (dot)
        return not_allowed(dot, "write '/' between the levels of a public mailbox, and no dot");
    Error *err = folder_form(text, &folder);
    if (err || !folder)
        return err;
    DEFER(xfree) char *on_disk = mutf7_of(folder);
    size_t len = strlen(folder) > strlen(on_disk) ? strlen(folder) : strlen(on_disk);
    if (len > NAME_PUBLIC_LEN)
        return too_long(len, NAME_PUBLIC_LEN);
    *ret_text = folder;
    folder = NULL;
    return NULL;
}

static Error *acl_form(const char *text, char **ret_text)
{
    DEFER(acl_done) AclEntry entry = {.name = NULL};
    char *name = NULL;

    Error *err = acl_read(text, &entry);
    if (!err && entry.name)
        err = account_form(entry.name, &name);
    if (err)
        return err;
    xfree(&entry.name);
    entry.name = name;
    *ret_text = acl_text(&entry);
    return NULL;
}

/* ---- the rest ---------------------------------------------------------------------- */

static Error *destination_form(const char *text, char **ret_text)
{
    static const char *const prefixes[] = {"user:", "group:"};
    DEFER(xfree) char *account = NULL;

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t len = strlen(prefixes[i]);
        if (strncmp(text, prefixes[i], len) != 0)
            continue;
        Error *err = account_form(text + len, &account);
        if (!err)
            *ret_text = xasprintf("%s%s", prefixes[i], account);
        return err;
    }
    if (strncmp(text, "public:", 7) == 0) {
        Error *err = public_form(text + 7, &account);
        if (!err)
            *ret_text = xasprintf("public:%s", account);
        return err;
    }
    if (strchr(text, '@'))
        return address_form(text, &elsewhere, ret_text);
    if (strchr(text, ':'))
        return error_hint(error_new(ERROR_INVALID, "no such kind of destination"),
                          "write user:NAME, group:NAME, public:NAME or NAME@DOMAIN");
    Error *err = account_form(text, &account);
    if (!err)
        *ret_text = xasprintf("user:%s", account);
    return err;
}

static Error *ip_form(const char *text, char **ret_text)
{
    char number[INET6_ADDRSTRLEN];
    struct in6_addr six;
    struct in_addr four;

    if (inet_pton(AF_INET, text, &four) == 1) {
        *ret_text = xstrdup(inet_ntop(AF_INET, &four, number, sizeof number));
        return NULL;
    }
    if (inet_pton(AF_INET6, text, &six) != 1)
        return error_new(ERROR_INVALID, "no numeric IPv4 or IPv6 address");
    if (IN6_IS_ADDR_V4MAPPED(&six)) {
        Error *err = error_new(ERROR_INVALID, "an IPv4 address in IPv6's clothes");
        return error_hint(err, "write %s", inet_ntop(AF_INET, &six.s6_addr[12], number, sizeof number));
    }
    *ret_text = xstrdup(inet_ntop(AF_INET6, &six, number, sizeof number));
    return NULL;
}

/* ---- relay rules ----------------------------------------------------------------- */

static Error *host_form(const char *text, char **ret_text)
{
    if (strchr(text, ':') || strspn(text, DIGITS ".") == strlen(text))
        return ip_form(text, ret_text);
    return fqdn_form(text, ret_text);
}

/* An address, a domain, or .domain: what lies below it (SPEC F-132). */
static Error *subject_form(const char *text, char **ret_text)
{
    DEFER(xfree) char *domain = NULL;

    if (strchr(text, '@'))
        return address_form(text, &elsewhere, ret_text);
    Error *err = fqdn_form(text + (*text == '.'), &domain);
    if (!err && domain)
        *ret_text = xasprintf("%s%s", *text == '.' ? "." : "", domain);
    return err;
}

static Error *relay_form(const char *text, char **ret_text)
{
    static const char *const types[] = {"recipient", "sender"};
    DEFER(xfree) char *subject = NULL;

    if (strcmp(text, "default") == 0) {
        *ret_text = xstrdup(text);
        return NULL;
    }
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        size_t len = strlen(types[i]);
        if (strncmp(text, types[i], len) != 0 || text[len] != '/')
            continue;
        Error *err = subject_form(text + len + 1, &subject);
        if (!err && subject)
            *ret_text = xasprintf("%s/%s", types[i], subject);
        return err;
    }
    return error_hint(error_new(ERROR_INVALID, "no kind of rule"),
                      "recipient/SUBJECT, sender/SUBJECT or default; a subject is an address, a domain, or .domain for "
                      "what lies below it");
}

/* ---- DKIM keys ----------------------------------------------------------------------- */

/* RFC 6376 3.1: labels of a domain name, with dots between them; it becomes a part of a name of DNS. */
static Error *selector_check(const char *selector)
{
    for (const char *label = selector;; label++) {
        size_t len = strcspn(label, "."), good = strspn(label, UPPER LOWER DIGITS "-");
        if (len == 0 || len > NAME_MAX_LEN || good < len || label[0] == '-' || label[len - 1] == '-')
            return error_hint(error_new(ERROR_INVALID, "no selector"),
                              "labels of letters, digits and '-', with dots between them: default, s2026.mail");
        label += len;
        if (!*label)
            return NULL;
    }
}

Error *dkim_key_normalise(const char *text, char **ret_text)
{
    const char *slash = strchr(text, '/');
    DEFER(xfree) char *domain = NULL;

    if (!slash)
        return error_hint(error_new(ERROR_INVALID, "'/' is missing"), "DOMAIN/SELECTOR, as example.org/" DKIM_SELECTOR);
    DEFER(xfree) char *typed = xstrndup(text, (size_t)(slash - text));
    Error *err = fqdn_form(typed, &domain);
    if (err || !domain)
        return err;
    err = selector_check(slash + 1);
    if (!err && strlen(domain) + strlen("._domainkey.") + strlen(slash + 1) > NAME_FQDN_LEN)
        err = error_new(ERROR_INVALID, "too long for a name of DNS");
    if (!err)
        *ret_text = xasprintf("%s%s", domain, slash);
    return err;
}

/* ---- all of them --------------------------------------------------------------------- */

/* Whether there is such a zone, the node knows that runs the plan. */
static Error *zone_form(const char *text, char **ret_text)
{
    Error *err = schedule_zone_form(text);

    if (!err)
        *ret_text = xstrdup(text);
    return err;
}

static Error *key_form(const char *text, char **ret_text)
{
    if (!curve_key_form(text))
        return error_new(ERROR_INVALID, "no CURVE public key: %d characters of Z85", CURVE_KEY_LEN);
    if (curve_key_is_published(text))
        return error_new(ERROR_INVALID, "a test key from ZeroMQ's manual: everybody has its secret");
    *ret_text = xstrdup(text);
    return NULL;
}

Error *text_normalise(Mail__FieldType type, const char *text, char **ret_text)
{
    if (!utf8_valid(text, strlen(text)))
        return error_new(ERROR_INVALID, "not UTF-8");
    switch (type) {
    case MAIL__FIELD_TYPE__NAME:
        return name_form(text, ret_text);
    case MAIL__FIELD_TYPE__FQDN:
        return fqdn_form(text, ret_text);
    case MAIL__FIELD_TYPE__DESTINATION:
        return destination_form(text, ret_text);
    case MAIL__FIELD_TYPE__ADDRESS:
        return address_form(text, &elsewhere, ret_text);
    case MAIL__FIELD_TYPE__IP:
        return ip_form(text, ret_text);
    case MAIL__FIELD_TYPE__NETWORK:
        return network_form(text, ret_text);
    case MAIL__FIELD_TYPE__ACCOUNT:
        return account_form(text, ret_text);
    case MAIL__FIELD_TYPE__CURVE_KEY:
        return key_form(text, ret_text);
    case MAIL__FIELD_TYPE__PATH:
        return path_form(text, ret_text);
    case MAIL__FIELD_TYPE__FOLDER:
        return folder_form(text, ret_text);
    case MAIL__FIELD_TYPE__HOST:
        return host_form(text, ret_text);
    case MAIL__FIELD_TYPE__RELAY_SUBJECT:
        return relay_form(text, ret_text);
    case MAIL__FIELD_TYPE__PUBLIC_NAME:
        return public_form(text, ret_text);
    case MAIL__FIELD_TYPE__ACL:
        return acl_form(text, ret_text);
    case MAIL__FIELD_TYPE__REPOSITORY:
        return repository_normalise(text, ret_text);
    case MAIL__FIELD_TYPE__SCHEDULE:
        return schedule_read(text, NULL, ret_text);
    case MAIL__FIELD_TYPE__TIME_ZONE:
        return zone_form(text, ret_text);
    default:
        return text_form(text, ret_text);
    }
}

/* ---- names of objects -------------------------------------------------------------- */

/* Words that say "not set" where such a name is referred to. */
static Error *reserved_check(const char *name)
{
    static const char *const reserved[] = {"none", "default"};

    for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
        if (strcmp(name, reserved[i]) == 0)
            return error_new(ERROR_INVALID, "a word with another meaning");
    return NULL;
}

static Error *key_normalise(const KindInfo *info, const char *name, char **ret_name)
{
    DEFER(xfree) char *normal = NULL;
    Error *err;

    if (info->kind == MAIL__OBJECT__BODY_ADDRESS)
        return address_key_normalise(name, ret_name);
    if (info->kind == MAIL__OBJECT__BODY_DKIM_KEY)
        return dkim_key_normalise(name, ret_name);
    err = text_normalise(info->meta->name, name, &normal);
    if (!err && normal && info->meta->name == MAIL__FIELD_TYPE__NAME)
        err = reserved_check(normal);
    if (err)
        return err;
    *ret_name = normal;
    normal = NULL;
    return NULL;
}

Error *name_normalise(Kind kind, const char *name, char **ret_name)
{
    const KindInfo *info = kind_info(kind);
    assert(info);

    if (info->meta->single) {
        if (name && *name)
            return error_new(ERROR_INVALID, "%s has no name: there is one in each instance", info->name);
        *ret_name = xstrdup("");
        return NULL;
    }
    Error *err = key_normalise(info, name ? name : "", ret_name);
    DEFER(xfree) char *seen = err ? shown(name) : NULL;
    return error_in(err, "%s %s", info->name, seen && *seen ? seen : "''");
}

char *name_for_people(const char *name)
{
    char *people = NULL;
    size_t local_len = 0;
    const char *domain = name;

    if (!address_split(name, &local_len, &domain))
        domain = name;
    if (!has_alabel(domain) || idn2_to_unicode_8z8z(domain, &people, IDN_FLAGS) != IDN2_OK)
        return xstrdup(name);
    char *whole = xasprintf("%.*s%s", (int)(domain - name), name, people);
    idn2_free(people);
    return whole;
}
