/* curve_key.h - is it a CURVE key as text?  Source: RFC 32 of ZeroMQ (Z85), zmq_curve(7) */
#pragma once
#include <stdbool.h>

enum { CURVE_KEY_LEN = 40 };

bool curve_key_form(const char *text); /* 40 characters of Z85 */

/* One of the test keys whose secrets are printed in zmq_curve(7), as key or as secret: nobody's, so everybody's. */
bool curve_key_is_published(const char *text);
