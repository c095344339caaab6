/* SPDX-License-Identifier: Apache-2.0 */
/* figures: see figures.h. */
#include "cli/figures.h"

#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char *unknown(uint64_t figure)
{
    return figure == QUIRE_OBSERVE_DENIED ? "denied" : "-";
}

const char *figure_size(uint64_t bytes, struct figure_text *text)
{
    if (!quire_observe_known(bytes))
        return unknown(bytes);
    return size_format(bytes, text->buffer, sizeof text->buffer);
}

const char *figure_short(uint64_t bytes, bool exact, struct figure_text *text)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;

    if (!quire_observe_known(bytes))
        return unknown(bytes);
    if (exact || bytes < 1024) {
        snprintf(text->buffer, sizeof text->buffer, "%" PRIu64, bytes);
        return text->buffer;
    }
    double value = (double)bytes;
    for (; value >= 1023.5 && units[unit + 1] != '\0'; unit++)
        value /= 1024;
    snprintf(text->buffer, sizeof text->buffer, value < 9.95 ? "%.1f%c" : "%.0f%c", value,
             units[unit]);
    return text->buffer;
}

const char *figure_count(uint64_t count, struct figure_text *text)
{
    if (!quire_observe_known(count))
        return unknown(count);
    snprintf(text->buffer, sizeof text->buffer, "%" PRIu64, count);
    return text->buffer;
}

const char *figure_hundredths(uint64_t hundredths, struct figure_text *text)
{
    if (!quire_observe_known(hundredths))
        return unknown(hundredths);
    snprintf(text->buffer, sizeof text->buffer, "%" PRIu64 ".%02" PRIu64, hundredths / 100,
             hundredths % 100);
    return text->buffer;
}

const char *figure_rate(double rate, struct figure_text *text)
{
    static const char units[] = " kMG";
    unsigned unit = 0;

    for (; rate >= 9999.5 && units[unit + 1] != '\0'; unit++)
        rate /= 1000;
    snprintf(text->buffer, sizeof text->buffer, rate == 0 || rate >= 9.95 ? "%.0f%.*s" : "%.1f%.*s",
             rate, unit > 0, &units[unit]);
    return text->buffer;
}

json_t *figure_json(uint64_t figure)
{
    if (figure == QUIRE_OBSERVE_DENIED)
        return json_string("denied");
    return quire_observe_known(figure) ? json_integer((json_int_t)figure) : json_null();
}

static json_t *json_stall(const struct quire_observe_stall *stall)
{
    const uint64_t averages[] = {stall->average_10s, stall->average_60s, stall->average_300s};
    static const char *const names[] = {"avg10_percent", "avg60_percent", "avg300_percent"};
    json_t *json = json_pack("{s:o}", "total_us", figure_json(stall->total_us));

    for (unsigned i = 0; i < 3; i++)
        json_object_set_new(json, names[i],
                            quire_observe_known(averages[i]) ? json_real((double)averages[i] / 100)
                                                             : figure_json(averages[i]));
    return json;
}

json_t *figures_pressure_json(const struct quire_observe_pressure *pressure)
{
    return json_pack("{s:{s:o}, s:{s:o, s:o}, s:{s:o, s:o}}", "cpu", "some",
                     json_stall(&pressure->cpu_some), "memory", "some",
                     json_stall(&pressure->memory_some), "full", json_stall(&pressure->memory_full),
                     "io", "some", json_stall(&pressure->io_some), "full",
                     json_stall(&pressure->io_full));
}

bool figures_print_json(json_t *json, bool is_compact)
{
    bool good = json != NULL &&
                json_dumpf(json, stdout, is_compact ? JSON_COMPACT : JSON_INDENT(2)) == 0;

    putchar('\n');
    json_decref(json);
    if (!good && ferror(stdout) == 0)
        cli_error("cannot build the JSON: out of memory");
    return good;
}

enum { KEY_ROOT = 512 };

static const struct argp_option option_list[] = {
    {"json", 'j', NULL, 0, "Print JSON", 90},
    {"bytes", 'b', NULL, 0, "Print exact bytes in place of K, M, G", 90},
    {"root", KEY_ROOT, "DIR", 0,
     "Read a recorded machine: DIR/proc and DIR/sys in place of /proc and /sys", 90},
    {0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct figure_options *options = state->input;

    switch (key) {
    case 'j':
        options->as_json = true;
        return 0;
    case 'b':
        options->exact = true;
        return 0;
    case KEY_ROOT:
        options->root = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp figures_argp = {.options = option_list, .parser = parse_option};

struct quire_observe *figures_open(const struct figure_options *options)
{
    struct quire_observe *observe;
    int error = quire_observe_open(options->root, &observe);

    if (error < 0)
        cli_error("cannot read a machine in %s: %s", options->root != NULL ? options->root : "/",
                  strerror(-error));
    return observe;
}

int figures_failed(const struct quire_observe *observe, int error)
{
    const char *message = quire_observe_message(observe);

    if (error == -ENOMEM)
        cli_error("out of memory");
    else if (error == -EACCES || error == -EPERM)
        cli_error("%s\nthe kernel shows it to root only: try it with sudo", message);
    else if (error == -ENOENT)
        cli_error("%s\nthis kernel does not have it, or /proc is not mounted", message);
    else if (error == -EBADMSG)
        cli_error("%s\nit is not what the kernel writes there; was it recorded whole?", message);
    else
        cli_error("%s", message);
    return EXIT_FAILURE;
}

uint64_t figures_parse_seconds(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);

    if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 86400))
        return 0;
    return (uint64_t)(seconds * 1000 + 0.5);
}

unsigned long figures_parse_count(const char *text)
{
    char *end;

    errno = 0;
    unsigned long n = strtoul(text, &end, 10); /* which would take blanks and a sign */
    return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0' ? n : 0;
}

static volatile sig_atomic_t asked_to_end;

static void note_signal(int signal)
{
    asked_to_end = signal;
}

void figures_catch_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal}; /* no SA_RESTART: it ends the sleep */

    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* Blocked but for the wait itself, a signal can't fall between the question and the wait. */
static int wait_until(struct pollfd *polled, unsigned n, const struct timespec *timeout)
{
    sigset_t ending, old;

    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_BLOCK, &ending, &old);
    int result = asked_to_end ? -EINTR : ppoll(polled, n, timeout, &old);
    if (result == -1)
        result = -errno;
    sigprocmask(SIG_SETMASK, &old, NULL);
    return asked_to_end ? -EINTR : result == -EINTR ? 0 : result;
}

int figures_poll(struct pollfd *polled, unsigned n, int timeout_ms)
{
    const struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};

    for (unsigned i = 0; i < n; i++)
        polled[i].revents = 0;
    return wait_until(polled, n, timeout_ms < 0 ? NULL : &timeout);
}

bool figures_sleep_ms(uint64_t ms)
{
    uint64_t now_ns, end_ns = sys_now_ns() + ms * 1000000;

    while (!asked_to_end && (now_ns = sys_now_ns()) < end_ns) {
        uint64_t left_ns = end_ns - now_ns;
        const struct timespec left = {(time_t)(left_ns / 1000000000), (long)(left_ns % 1000000000)};
        wait_until(NULL, 0, &left);
    }
    return !asked_to_end;
}

void figures_allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

unsigned figures_width(void)
{
    return lines_width(stdout);
}
