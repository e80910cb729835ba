/* mastercf.h - the writer of Postfix's master.cf
 *
 *     mastercf_service(cf, "smtp", "unix", MASTERCF_PRIVATE, "-", "-", "smtp");
 *     mastercf_listener(cf, "192.0.2.1", 587, "smtpd");
 *     mastercf_option(cf, "smtpd_tls_security_level", "encrypt");
 *
 * No service runs in a chroot: what the daemons look up lies outside.
 *
 * Source: master(5).
 */
#pragma once
#include "render/fileset.h"

typedef struct MasterCf MasterCf;

typedef enum MasterCfAccess { MASTERCF_PRIVATE, MASTERCF_PUBLIC } MasterCfAccess;

MasterCf *mastercf_new(FileSet *out, const char *path, const char *group);
void mastercf_free(MasterCf **cf);

/* All texts are ours.  wakeup and limit as in the columns: "-", "300", "1000?"; command with its arguments. */
void mastercf_service(MasterCf *cf, const char *name, const char *type, MasterCfAccess access, const char *wakeup,
                      const char *limit, const char *command);

/* address NULL: all.  Refused when it is no numeric address. */
void mastercf_listener(MasterCf *cf, const char *address, unsigned port, const char *command);

/* Of the service before it.  The value is data: "$name" is the only way to another parameter. */
void mastercf_option(MasterCf *cf, const char *name, const char *value);
