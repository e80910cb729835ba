#include "render/plainconf.h"
#include "render/render.h"
#include "tables/places.h"

#include <stdint.h>

/* A message as the filter sees it: the limit counts what the client sent, our own Received comes on top. */
enum { HEADER_BYTES = 1024 * 1024 };

/* Of clamd's sizes; it takes a greater number for 4 GiB with a warning. */
#define CLAMD_SIZE_MAX UINT32_MAX
#define CLAMD_FILE_MAX INT32_MAX /* and it scans no single file beyond 2 GiB */

/* In the file as hex: its text would make scanners fall upon the program.  Anywhere in a file, so that words before it
 * in a body do not hide it. */
const char clamd_own_signatures[] = "Mailnode.Eicar-Test:0:*:"
                                    "58354f2150254041505b345c505a58353428505e2937434329377d2445494341522d"
                                    "5354414e444152442d414e544956495255532d544553542d46494c452124482b482a\n";

static uint64_t at_most(uint64_t value, uint64_t most)
{
    return value < most ? value : most;
}

/* Nothing that Postfix takes is larger than what is scanned.  What is unpacked counts again at each depth; a file in a zip
 * may be as large as all of the scan, because clamd passes over a larger one without a word.  The scan as a whole ends before
 * the filter stops waiting (rspamd.c). */
static void limits(PlainConf *conf, uint64_t message_size)
{
    uint64_t message = message_size + HEADER_BYTES;

    plainconf_number(conf, "StreamMaxLength", message);
    plainconf_number(conf, "MaxFileSize", at_most(4 * message, CLAMD_FILE_MAX));
    plainconf_number(conf, "MaxScanSize", at_most(4 * message, CLAMD_SIZE_MAX));
    plainconf_number(conf, "MaxScanTime", 60000);
    plainconf_word(conf, "AlertExceedsMax", "yes"); /* otherwise what is over a limit is as good as clean */
    plainconf_number(conf, "MaxThreads", 8);
}

/* For Rspamd alone; the folder has the group, too. */
static void listener(PlainConf *conf, const char *root)
{
    plainconf_text(conf, "LocalSocket", PLACE_CLAMD_SOCKET, root);
    plainconf_word(conf, "LocalSocketGroup", "_rspamd");
    plainconf_word(conf, "LocalSocketMode", "660");
    plainconf_word(conf, "FixStaleSocket", "yes");
}

static void signatures(PlainConf *conf, const char *root)
{
    plainconf_text(conf, "DatabaseDirectory", PLACE_CLAMD_DATA, root);
    plainconf_text(conf, "TemporaryDirectory", PLACE_CLAMD_DATA, root);
    plainconf_word(conf, "OfficialDatabaseOnly", "no");
    plainconf_word(conf, "ConcurrentDatabaseReload", "yes");
    plainconf_number(conf, "SelfCheck", 600);
}

void render_clamd(const NodeState *state, FileSet *out)
{
    PlainConf conf = plainconf_in(out, "clamd/clamd.conf", "clamav", PLAIN_CLAMD);

    plainconf_comment(&conf, "clamd of this node: the virus scanner behind Rspamd");
    plainconf_word(&conf, "Foreground", "yes");
    plainconf_word(&conf, "User", "clamav");
    plainconf_word(&conf, "LogTime", "yes");
    plainconf_word(&conf, "ExitOnOOM", "yes");
    listener(&conf, state->root);
    signatures(&conf, state->root);
    limits(&conf, state->settings->message_size);
}
