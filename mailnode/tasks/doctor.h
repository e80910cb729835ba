/* doctor.h - is this node healthy?  A table of looks, each a function
 *
 * Nothing is assumed: what could not be looked at is a finding of its own (UNKNOWN).  A look changes nothing and asks
 * nobody outside of the node.  Those with a user run in a child with that user's rights; what they see is what a daemon
 * would.
 */
#pragma once
#include "engine/change.h"
#include "engine/supervise.h"
#include "tasks/findings.h"

typedef struct DoctorView {
    const char *root;
    const char *system; /* before /sys and /etc of the machine: "" but in tests */
    InForce in_force;
    Supervise *supervise;
    Msec now;
    const char *user; /* whose eyes these are; NULL: root's */
} DoctorView;

typedef struct Doctor Doctor;

Doctor *doctor_new(const char *root, Change *change, Supervise *supervise);
void doctor_free(Doctor **doctor);
bool doctor_run(Doctor *doctor, Msec now, Findings *out); /* true: all has been looked at */
void doctor_wait(const Doctor *doctor, Waiter *wake);
size_t doctor_looks(void); /* how many there are */

/* ---- the looks ---- */

/* doctor_ports.c */
void look_ports(const DoctorView *view, Findings *out);   /* held by somebody else */
void look_answers(const DoctorView *view, Findings *out); /* wanted, and nobody answers */

/* doctor_rights.c: what a daemon must read and write, and what nobody else may */
void look_rights(const DoctorView *view, Findings *out);
void look_rights_of_nobody(const DoctorView *view, Findings *out);

/* doctor_system.c */
void look_profiles(const DoctorView *view, Findings *out); /* AppArmor */
void look_disk(const DoctorView *view, Findings *out);
void look_clock(const DoctorView *view, Findings *out);

/* doctor_versions.c */
void look_versions(const DoctorView *view, Findings *out);
