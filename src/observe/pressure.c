/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pressure: /proc/pressure, pressure stall information.
 *
 *   some avg10=0.00 avg60=0.10 avg300=0.19 total=1514405183
 *   full ...
 *
 * Source: Linux's Documentation/accounting/psi.rst.
 */
#include "observe/procfs.h"
#include "observe/source.h"

#include <errno.h>
#include <string.h>

/* "NAME=N.NN" in hundredths, or "total=N". */
static bool take_value(const char **at, const char *name, bool is_average, uint64_t *value)
{
    size_t n = strlen(name);
    uint64_t fraction;

    *at += strspn(*at, " ");
    if (strncmp(*at, name, n) != 0 || (*at)[n] != '=')
        return false;
    *at += n + 1;
    if (!procfs_digits(at, value) || !quire_observe_known(*value))
        return false;
    if (!is_average)
        return true;
    const char *point = *at;
    if (*point != '.' || (++*at, !procfs_digits(at, &fraction)) || *at - point != 3 ||
        *value > 1000)
        return false;
    *value = *value * 100 + fraction;
    return true;
}

static int take_stall(struct quire_observe *observe, struct quire_observe_stall *stall)
{
    const char *at = observe->line + 4;

    if (take_value(&at, "avg10", true, &stall->average_10s) &&
        take_value(&at, "avg60", true, &stall->average_60s) &&
        take_value(&at, "avg300", true, &stall->average_300s) &&
        take_value(&at, "total", false, &stall->total_us))
        return 0;
    return source_bad(observe, "it should be avg10=N.NN avg60=N.NN avg300=N.NN total=N");
}

static int read_one(struct quire_observe *observe, const char *path,
                    struct quire_observe_stall *some, struct quire_observe_stall *full)
{
    int error = source_read(observe, path, true);
    uint64_t reason = source_reason(error);

    if (error == -ENOENT || error == -EOPNOTSUPP || error == -EACCES || error == -EPERM) {
        *some = (struct quire_observe_stall){reason, reason, reason, reason};
        if (full != NULL)
            *full = *some;
        return 0;
    }
    while (error == 0 && source_line(observe) != NULL) {
        if (strncmp(observe->line, "some ", 5) == 0)
            error = take_stall(observe, some);
        else if (strncmp(observe->line, "full ", 5) == 0 && full != NULL)
            error = take_stall(observe, full);
    }
    if (error == 0 && !quire_observe_known(some->total_us))
        error = source_lacks(observe, "line that begins with \"some\"");
    return error;
}

int quire_observe_pressure(struct quire_observe *observe, struct quire_observe_pressure *pressure)
{
    memset(pressure, 0xff, sizeof *pressure); /* all absent */
    int error = read_one(observe, "proc/pressure/cpu", &pressure->cpu_some, NULL);
    if (error == 0)
        error = read_one(observe, "proc/pressure/memory", &pressure->memory_some,
                         &pressure->memory_full);
    if (error == 0)
        error = read_one(observe, "proc/pressure/io", &pressure->io_some, &pressure->io_full);
    return error;
}
