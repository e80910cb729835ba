/* rendered.h - everything that a generation is, in one file: gen/000123/rendered (root, 0600)
 *
 * The texts as they were written (against which files edited by hand are compared), the objects that they were rendered
 * from, what each daemon must be restarted for, the certificate, the overrides; at the end a SHA-256 over all of it.
 * A later program that would render other texts still knows these, and adopts the daemons that run with them.
 */
#pragma once
#include "base/path.h"
#include "render/fileset.h"

typedef struct Rendered {
    Buf prepare;      /* EnginePrepare, packed */
    Path certificate; /* folder of the pair; "": none */
    Digest overrides; /* of their names and texts */
    FileSet *files;   /* owned */
    Digest texts;     /* over the files and what is restarted for: equal when nothing has to be loaded anew */
} Rendered;

void rendered_done(Rendered *rendered);

/* 'files' as the renderers made them, not as they were read back. */
void rendered_pack(const Rendered *rendered, Buf *out);
Digest rendered_texts(const FileSet *files); /* what 'texts' will be */

/* Gives files whose digests (of files and of restarts) are the same in every later program.  DAMAGED. */
CHECKED Error *rendered_unpack(const Buf *bytes, Rendered *ret_rendered);
