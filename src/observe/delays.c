/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delays: see delays.h.
 *
 *   kernel, at the end of a task ── netlink ── delays_drain() ── pid, parent, what it waited
 *                                                                     '- by parents: below whom
 *
 * A message is queued before the parent can learn of the end, so after a wait(2) it is there. Whose
 * child a task was the message tells, too; one whose parent ended before it has been adopted by
 * init, and is found only if it was seen before (`pids`).
 *
 * Invariant D1: messages are looked at within their length, whatever they say.
 */
#include "observe/delays.h"

#include "base/sys.h"
#include "observe/source.h"

#include <errno.h>
#include <linux/genetlink.h>
#include <linux/taskstats.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h> /* wants sys/socket.h */

#define QUEUE_BYTES (4 << 20)
#define MAX_DEPTH 64
#define MAX_TASKS ((size_t)1 << 20) /* 72 MiB of them */
#define ANSWER_MS 1000

struct ended {
    int pid, parent;
    size_t order;
    struct delay_sums waited;
};

struct delays {
    int fd;
    uint16_t family;
    struct ended *list;
    size_t n, room;
    bool is_lossy;
};

struct request {
    struct nlmsghdr head;
    struct genlmsghdr generic;
    char attributes[64];
};

/* Sends one request with one text attribute. */
static int send_request(int fd, uint16_t type, uint8_t command, uint16_t attribute,
                        const char *text)
{
    struct request request = {
        .head = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .generic = {.cmd = command, .version = 1}};
    size_t n_text = strlen(text) + 1;
    const struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + n_text), .nla_type = attribute};
    const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

    if (NLA_HDRLEN + n_text > sizeof request.attributes)
        return -E2BIG;
    memcpy(request.attributes, &head, sizeof head);
    memcpy(request.attributes + NLA_HDRLEN, text, n_text);
    request.head.nlmsg_len = (uint32_t)(NLMSG_LENGTH(GENL_HDRLEN) + NLA_ALIGN(head.nla_len));
    ssize_t n = sendto(fd, &request, request.head.nlmsg_len, 0, (const struct sockaddr *)&kernel,
                       sizeof kernel);
    return n < 0 ? -errno : 0;
}

/* The attribute of a type among n bytes of them; NULL: there is none. D1. */
static const void *find_attribute(const char *at, size_t n, uint16_t type, size_t *n_value)
{
    struct nlattr head;

    while (n >= sizeof head) {
        memcpy(&head, at, sizeof head);
        if (head.nla_len < sizeof head || head.nla_len > n)
            return NULL;
        if ((head.nla_type & NLA_TYPE_MASK) == type) {
            *n_value = head.nla_len - NLA_HDRLEN;
            return at + NLA_HDRLEN;
        }
        size_t step = NLA_ALIGN(head.nla_len);
        if (step > n)
            return NULL;
        at += step;
        n -= step;
    }
    return NULL;
}

static void take_task(struct delays *delays, const char *attributes, size_t n_bytes)
{
    struct taskstats stats = {0};
    size_t n;
    const void *nested = find_attribute(attributes, n_bytes, TASKSTATS_TYPE_AGGR_PID, &n);
    const void *found = nested != NULL ? find_attribute(nested, n, TASKSTATS_TYPE_STATS, &n) : NULL;

    if (found == NULL)
        return;
    memcpy(&stats, found, n < sizeof stats ? n : sizeof stats); /* older kernels tell less */
    if (delays->n == MAX_TASKS ||
        !source_grow(&delays->list, &delays->room, delays->n + 1, sizeof *delays->list)) {
        delays->is_lossy = true;
        return;
    }
    size_t order = delays->n++;
    delays->list[order] = (struct ended){.pid = (int)stats.ac_pid,
                                         .parent = (int)stats.ac_ppid,
                                         .order = order,
                                         .waited = {.swap_in = stats.swapin_delay_total,
                                                    .thrashing = stats.thrashing_delay_total,
                                                    .block_io = stats.blkio_delay_total,
                                                    .reclaim = stats.freepages_delay_total,
                                                    .compaction = stats.compact_delay_total,
                                                    .copies = stats.wpcopy_delay_total}};
}

/* One message: 1: it answers a request, with *error; 0: it is about a task, or about nothing. */
static int take_message(struct delays *delays, const struct nlmsghdr *head, const char *body,
                        size_t n, int *error)
{
    size_t n_value;

    if (head->nlmsg_type == NLMSG_ERROR) {
        if (n >= sizeof *error)
            memcpy(error, body, sizeof *error);
        return 1;
    }
    if (n < GENL_HDRLEN)
        return 0;
    if (head->nlmsg_type == GENL_ID_CTRL) {
        const void *id = find_attribute(body + GENL_HDRLEN, n - GENL_HDRLEN, CTRL_ATTR_FAMILY_ID,
                                        &n_value);
        if (id != NULL && n_value >= sizeof delays->family)
            memcpy(&delays->family, id, sizeof delays->family);
    } else if (head->nlmsg_type == delays->family) {
        take_task(delays, body + GENL_HDRLEN, n - GENL_HDRLEN);
    }
    return 0;
}

/* All messages of one datagram. As take_message(). */
static int take_datagram(struct delays *delays, const char *at, size_t n, int *error)
{
    struct nlmsghdr head;
    int answered = 0;

    while (n >= sizeof head) {
        memcpy(&head, at, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > n)
            break;
        answered |= take_message(delays, &head, at + NLMSG_HDRLEN, head.nlmsg_len - NLMSG_HDRLEN,
                                 error);
        size_t step = NLMSG_ALIGN(head.nlmsg_len) < n ? NLMSG_ALIGN(head.nlmsg_len) : n;
        at += step;
        n -= step;
    }
    return answered;
}

/* Receives until nothing is there, or a request is answered. 1, 0, or a negative errno. */
static int receive(struct delays *delays, int *error)
{
    static const size_t buffer_bytes = 32768;
    char *buffer = malloc(buffer_bytes);
    int result = buffer == NULL ? -ENOMEM : 0;

    while (result == 0) {
        ssize_t n = recv(delays->fd, buffer, buffer_bytes, MSG_DONTWAIT);
        if (n >= 0)
            result = take_datagram(delays, buffer, (size_t)n, error);
        else if (errno == ENOBUFS)
            delays->is_lossy = true;
        else if (errno != EINTR) {
            result = errno == EAGAIN ? 0 : -errno;
            break;
        }
    }
    free(buffer);
    return result;
}

static int wait_for_answer(struct delays *delays)
{
    struct pollfd polled = {.fd = delays->fd, .events = POLLIN};
    int error = 0, result = receive(delays, &error);

    while (result == 0) {
        int n = poll(&polled, 1, ANSWER_MS);
        if (n == 0 || (n < 0 && errno != EINTR))
            return -ETIMEDOUT;
        result = receive(delays, &error);
    }
    return result < 0 ? result : error;
}

/* "0-7": all processors that there may be. */
static int register_all(struct delays *delays)
{
    char mask[32];

    snprintf(mask, sizeof mask, "0-%ld", sysconf(_SC_NPROCESSORS_CONF) - 1);
    int error = send_request(delays->fd, delays->family, TASKSTATS_CMD_GET,
                             TASKSTATS_CMD_ATTR_REGISTER_CPUMASK, mask);
    return error < 0 ? error : wait_for_answer(delays);
}

int delays_open(struct delays **result)
{
    struct delays *delays = calloc(1, sizeof *delays);
    const struct sockaddr_nl own = {.nl_family = AF_NETLINK};
    int queue_bytes = QUEUE_BYTES;

    *result = NULL;
    if (delays == NULL)
        return -ENOMEM;
    delays->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    int error = delays->fd < 0 ? -errno : 0;
    if (error == 0 && bind(delays->fd, (const struct sockaddr *)&own, sizeof own) != 0)
        error = -errno;
    if (error == 0 &&
        setsockopt(delays->fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue_bytes, sizeof queue_bytes) != 0)
        setsockopt(delays->fd, SOL_SOCKET, SO_RCVBUF, &queue_bytes, sizeof queue_bytes);
    if (error == 0)
        error = send_request(delays->fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME,
                             TASKSTATS_GENL_NAME);
    if (error == 0)
        error = wait_for_answer(delays);
    if (error == 0 && delays->family == 0)
        error = -ENOENT;
    if (error == 0)
        error = register_all(delays);
    if (error < 0) {
        delays_close(delays);
        return error;
    }
    *result = delays;
    return 0;
}

void delays_drain(struct delays *delays)
{
    int error;

    if (receive(delays, &error) < 0)
        delays->is_lossy = true;
}

void delays_close(struct delays *delays)
{
    if (delays == NULL)
        return;
    if (delays->fd >= 0)
        close(delays->fd);
    free(delays->list);
    free(delays);
}

/* By pid; of those that had the same number one after the other, in the order in which they ended.
 */
static int compare(const void *a, const void *b)
{
    const struct ended *x = a, *y = b;

    if (x->pid != y->pid)
        return x->pid < y->pid ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* The last of that number. */
static const struct ended *find(const struct delays *delays, int pid)
{
    size_t low = 0, high = delays->n;

    while (low < high) { /* to behind all of it */
        size_t middle = (low + high) / 2;
        if (delays->list[middle].pid <= pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && delays->list[low - 1].pid == pid ? &delays->list[low - 1] : NULL;
}

static bool has(const int *pids, size_t n, int pid)
{
    size_t low = 0, high = n;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (pids[middle] < pid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && pids[low] == pid;
}

static bool is_below(const struct delays *delays, const struct ended *task, int ancestor,
                     const int *pids, size_t n)
{
    for (unsigned depth = 0; task != NULL && depth < MAX_DEPTH; depth++) {
        if (task->parent == ancestor || has(pids, n, task->pid) || has(pids, n, task->parent))
            return true;
        task = find(delays, task->parent);
    }
    return false;
}

/* False: it is more than there can be, and was not added. */
static bool add(uint64_t *sum, uint64_t ns, uint64_t most_ns)
{
    if (ns > most_ns)
        return false;
    *sum += ns;
    return true;
}

bool delays_below(struct delays *delays, int ancestor, const int *pids, size_t n, uint64_t most_ns,
                  struct delay_sums *sums)
{
    bool is_whole;

    delays_drain(delays);
    is_whole = !delays->is_lossy;
    *sums = (struct delay_sums){0};
    if (delays->n > 1)
        qsort(delays->list, delays->n, sizeof *delays->list, compare);
    for (size_t i = 0; i < delays->n; i++) {
        const struct ended *task = &delays->list[i];
        if (!is_below(delays, task, ancestor, pids, n))
            continue;
        is_whole &= add(&sums->swap_in, task->waited.swap_in, most_ns);
        is_whole &= add(&sums->thrashing, task->waited.thrashing, most_ns);
        is_whole &= add(&sums->block_io, task->waited.block_io, most_ns);
        is_whole &= add(&sums->reclaim, task->waited.reclaim, most_ns);
        is_whole &= add(&sums->compaction, task->waited.compaction, most_ns);
        is_whole &= add(&sums->copies, task->waited.copies, most_ns);
        sums->n_tasks++;
    }
    return is_whole;
}
