/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server: HTTP/1.0 and 1.1, GET and HEAD, one request a connection, one thread.
 *
 *   accept ── READING ── head complete ──> WRITING ── all sent ──> ENDING ── closed by the client
 *                '- refused: 4xx ───────────^                         '- or after a while
 *
 * Nothing a client does can hold up another one: descriptors never block, and
 *   H1  at most MAX_CLIENTS connections; the oldest is dropped for one more
 *   H2  a request's head has at most MAX_HEAD bytes; a body is not read
 *   H3  a connection lasts at most MOST_MS, however little of it moves
 * so that memory is bounded by MAX_CLIENTS pages. The page is made once for all who ask at about
 * the same time: that is its maker's part (export.c).
 *
 * Source: RFC 9112 (HTTP/1.1), RFC 9110.
 */
#include "cli/http_server.h"

#include "cli/figures.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CLIENTS 32u
#define MAX_HEAD 8192u
#define MOST_MS 10000u

enum state { FREE, READING, WRITING, ENDING };

struct client {
    enum state state;
    int fd;
    uint64_t since_ms;
    char head[MAX_HEAD + 1];
    size_t n_head;
    char *answer; /* head and body */
    size_t n_answer, n_sent;
};

struct serving {
    struct http_server *server;
    http_make_page *make;
    void *context;
    struct client clients[MAX_CLIENTS];
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void drop(struct client *client)
{
    close(client->fd);
    free(client->answer);
    client->answer = NULL;
    client->state = FREE;
}

/* "HOST:PORT" or "[HOST]:PORT" into its parts. */
static bool split(const char *address, char *host, size_t n_host, const char **port)
{
    const char *colon = strrchr(address, ':');
    const char *start = address, *end = colon;

    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        strtoul(colon + 1, NULL, 10) > 65535)
        return false;
    if (*start == '[') {
        start++;
        if (--end < start || *end != ']')
            return false;
    }
    if (end == start || (size_t)(end - start) >= n_host)
        return false;
    snprintf(host, n_host, "%.*s", (int)(end - start), start);
    *port = colon + 1;
    return true;
}

/* NULL: it is no numeric address; no name is looked up but this machine's own. */
static struct addrinfo *resolve(const char *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[64];
    const char *port;

    if (!split(address, host, sizeof host, &port))
        return NULL;
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof host, "127.0.0.1");
    return getaddrinfo(host, port, &hints, &found) == 0 ? found : NULL;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return ntohl(in.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
}

bool http_server_is_loopback(const char *address)
{
    struct addrinfo *found = resolve(address);
    bool result = found != NULL && is_loopback(found->ai_addr);

    if (found != NULL)
        freeaddrinfo(found);
    return result;
}

static void note_address(struct http_server *server)
{
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
    socklen_t n = sizeof own;
    char host[64] = "?", port[8] = "?";

    if (getsockname(server->fd, (struct sockaddr *)&own, &n) == 0)
        getnameinfo((struct sockaddr *)&own, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(server->address, sizeof server->address,
             own.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int http_server_listen(const char *address, struct http_server *server)
{
    struct addrinfo *found = resolve(address);
    int error = 0, yes = 1;

    if (found == NULL)
        return -EINVAL;
    server->fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server->fd < 0 || setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(server->fd, found->ai_addr, found->ai_addrlen) != 0 ||
        listen(server->fd, (int)MAX_CLIENTS) != 0)
        error = -errno;
    freeaddrinfo(found);
    if (error == 0)
        note_address(server);
    else if (server->fd >= 0)
        close(server->fd);
    return error;
}

void http_server_close(struct http_server *server)
{
    close(server->fd);
}

/* Head and body in one piece, so that there is one thing to send. */
static void answer(struct client *client, const char *status, const char *extra,
                   const struct http_page *page, bool has_body)
{
    char head[512];
    int n_head = snprintf(head, sizeof head,
                          "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s"
                          "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                          status, page->content_type, page->n_bytes, extra);
    size_t n_body = has_body ? page->n_bytes : 0;

    client->answer = malloc((size_t)n_head + n_body);
    if (client->answer == NULL) {
        drop(client);
        return;
    }
    memcpy(client->answer, head, (size_t)n_head);
    memcpy(client->answer + n_head, page->body, n_body);
    client->n_answer = (size_t)n_head + n_body;
    client->n_sent = 0;
    client->state = WRITING;
}

static void refuse(struct client *client, const char *status, const char *extra, bool has_body)
{
    char text[128];

    snprintf(text, sizeof text, "%s\n", status);
    const struct http_page page = {text, strlen(text), "text/plain; charset=utf-8"};
    answer(client, status, extra, &page, has_body);
}

/* The value of a field, into `value`; "" when there is none. */
static void take_field(const char *head, const char *name, char *value, size_t n_bytes)
{
    size_t n_name = strlen(name);

    value[0] = '\0';
    for (const char *line = strchr(head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, n_name) != 0 || line[n_name] != ':')
            continue;
        line += n_name + 1;
        line += strspn(line, " \t");
        snprintf(value, n_bytes, "%.*s", (int)strcspn(line, "\r\n"), line);
        return;
    }
}

static void serve_page(struct serving *serving, struct client *client, bool has_body)
{
    struct http_page page = {NULL, 0, ""};
    char accept[512];

    take_field(client->head, "accept", accept, sizeof accept);
    serving->make(serving->context, accept, &page);
    if (page.body != NULL)
        answer(client, "200 OK", "", &page, has_body);
    else
        refuse(client, "500 Internal Server Error", "", has_body);
    free(page.body);
}

static void serve_root(struct client *client, bool has_body)
{
    static char text[] = "<!DOCTYPE html><html lang=\"en\"><title>quire export</title>"
                         "<p>Figures: <a href=\"/metrics\">/metrics</a></p></html>\n";
    const struct http_page page = {text, sizeof text - 1, "text/html; charset=utf-8"};

    answer(client, "200 OK", "", &page, has_body);
}

/* "METHOD TARGET HTTP/1.x" */
static void handle(struct serving *serving, struct client *client)
{
    char method[16], target[256], version[16], rest;
    size_t n_line = strcspn(client->head, "\r\n");

    client->head[n_line] = client->head[n_line] == '\0' ? '\0' : '\n';
    if (strlen(client->head) != client->n_head ||
        sscanf(client->head, "%15[A-Z] %255[!-~] %15[!-~]%c", method, target, version, &rest) !=
            4 ||
        rest != '\n') {
        refuse(client, "400 Bad Request", "", true);
        return;
    }
    bool has_body = strcmp(method, "HEAD") != 0;
    target[strcspn(target, "?#")] = '\0';
    if (strncmp(version, "HTTP/1.", 7) != 0)
        refuse(client, "505 HTTP Version Not Supported", "", true);
    else if (has_body && strcmp(method, "GET") != 0)
        refuse(client, "405 Method Not Allowed", "Allow: GET, HEAD\r\n", true);
    else if (strcmp(target, "/metrics") == 0)
        serve_page(serving, client, has_body);
    else if (strcmp(target, "/") == 0)
        serve_root(client, has_body);
    else
        refuse(client, "404 Not Found", "", has_body);
}

static void receive(struct serving *serving, struct client *client)
{
    ssize_t n = recv(client->fd, client->head + client->n_head, MAX_HEAD - client->n_head, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(client);
        return;
    }
    client->n_head += (size_t)n;
    client->head[client->n_head] = '\0';
    if (memmem(client->head, client->n_head, "\r\n\r\n", 4) != NULL ||
        memmem(client->head, client->n_head, "\n\n", 2) != NULL)
        handle(serving, client);
    else if (client->n_head == MAX_HEAD) /* H2 */
        refuse(client, "431 Request Header Fields Too Large", "", true);
}

/* What the client still sends is read and forgotten: to close at once might take the answer from
 * it.
 */
static void end(struct client *client)
{
    char bytes[4096];
    ssize_t n = recv(client->fd, bytes, sizeof bytes, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        drop(client);
}

static void transmit(struct client *client)
{
    ssize_t n = send(client->fd, client->answer + client->n_sent, client->n_answer - client->n_sent,
                     MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        drop(client);
        return;
    }
    client->n_sent += (size_t)n;
    if (client->n_sent < client->n_answer)
        return;
    shutdown(client->fd, SHUT_WR);
    free(client->answer);
    client->answer = NULL;
    client->state = ENDING;
}

/* A free place, or that of the oldest: H1. */
static struct client *place(struct serving *serving)
{
    struct client *oldest = &serving->clients[0];

    for (unsigned i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &serving->clients[i];
        if (client->state == FREE)
            return client;
        if (client->since_ms < oldest->since_ms)
            oldest = client;
    }
    drop(oldest);
    return oldest;
}

static void take_client(struct serving *serving)
{
    int fd = accept4(serving->server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    struct client *client = place(serving);
    client->fd = fd;
    client->state = READING;
    client->since_ms = now_ms();
    client->n_head = 0;
}

static void step(struct serving *serving, struct client *client, short events)
{
    if (now_ms() - client->since_ms >= MOST_MS) /* H3 */
        drop(client);
    else if (events == 0)
        return;
    else if (client->state == READING)
        receive(serving, client);
    else if (client->state == WRITING)
        transmit(client);
    else
        end(client);
}

int http_server_run(struct http_server *server, http_make_page *make, void *context)
{
    struct serving *serving = calloc(1, sizeof *serving);
    int error = 0;

    if (serving == NULL)
        return -ENOMEM;
    serving->server = server;
    serving->make = make;
    serving->context = context;
    for (;;) {
        struct pollfd polled[MAX_CLIENTS + 1] = {{.fd = server->fd, .events = POLLIN}};
        bool is_waiting = false;
        for (unsigned i = 0; i < MAX_CLIENTS; i++) {
            const struct client *client = &serving->clients[i];
            polled[i + 1] = (struct pollfd){.fd = client->state == FREE ? -1 : client->fd,
                                            .events = client->state == WRITING ? POLLOUT : POLLIN};
            is_waiting = is_waiting || client->state != FREE;
        }
        error = figures_poll(polled, MAX_CLIENTS + 1, is_waiting ? 500 : -1);
        if (error < 0)
            break;
        for (unsigned i = 0; i < MAX_CLIENTS; i++)
            if (serving->clients[i].state != FREE)
                step(serving, &serving->clients[i], polled[i + 1].revents);
        if (polled[0].revents != 0)
            take_client(serving);
    }
    for (unsigned i = 0; i < MAX_CLIENTS; i++)
        if (serving->clients[i].state != FREE)
            drop(&serving->clients[i]);
    free(serving);
    return error == -EINTR ? 0 : error;
}
