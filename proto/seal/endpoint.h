/* endpoint.h - how an address of the controller is written in identity files and tokens: tcp://ADDRESS:PORT */
#pragma once
#include <stdbool.h>

enum { ENDPOINT_LEN_MAX = 255, ENDPOINTS_MAX = 64 };

/* It has the form; whether anybody listens there is ZeroMQ's to find out. */
bool endpoint_valid(const char *endpoint);
