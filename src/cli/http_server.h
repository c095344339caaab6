/* SPDX-License-Identifier: Apache-2.0 */
/* http_server: a small server of one page, for a monitoring system that comes to fetch it. */
#ifndef QUIRE_CLI_HTTP_SERVER_H
#define QUIRE_CLI_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct http_page {
    char *body; /* the server frees it; NULL: it can't be made */
    size_t n_bytes;
    const char *content_type; /* a constant */
};

/* Makes the page for a client that says what it accepts: the value of Accept, or "". */
typedef void http_make_page(void *context, const char *accept, struct http_page *page);

struct http_server {
    int fd;           /* that listens */
    char address[80]; /* where, with the port that it got */
};

/*
 * Listens at "HOST:PORT", a numeric address or "localhost"; port 0: any that is free. 0 or a
 * negative errno; -EINVAL: it is no such address.
 */
int http_server_listen(const char *address, struct http_server *server);

/* Serves until a signal asks to end (figures_catch_signals()). 0 or a negative errno. */
int http_server_run(struct http_server *server, http_make_page *make, void *context);

void http_server_close(struct http_server *server);

/* Whether only this machine can reach the address. */
bool http_server_is_loopback(const char *address);

#endif
