/* SPDX-License-Identifier: Apache-2.0 */
/* process: see process.h. */
#include "base/process.h"

#include "base/log.h"
#include "base/proc.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct stat_text {
    char text[512];
};

static bool read_stat(uint32_t pid, struct stat_text *stat)
{
    char path[32];
    log_format(path, sizeof path, "/proc/%u/stat", pid);
    return proc_read(path, stat->text, sizeof stat->text);
}

char process_state(uint32_t pid)
{
    struct stat_text stat;
    const char *state = read_stat(pid, &stat) ? proc_stat_field(stat.text, 3) : NULL;
    return (char)(state ? *state : 0);
}

uint32_t process_parent(uint32_t pid)
{
    struct stat_text stat;
    const char *parent = read_stat(pid, &stat) ? proc_stat_field(stat.text, 4) : NULL;
    return parent ? (uint32_t)proc_number(parent) : 0;
}

uint64_t process_start_time(uint32_t pid)
{
    struct stat_text stat;
    if (!read_stat(pid, &stat))
        return 0;
    const char *text = stat.text;
    const char *state = proc_stat_field(text, 3), *n_threads = proc_stat_field(text, 20);
    const char *start_time = proc_stat_field(text, 22);
    if (!state || !n_threads || !start_time)
        return 0;
    /* A process whose first thread alone has ended lives on. */
    if ((*state == 'Z' || *state == 'X') && proc_number(n_threads) <= 1)
        return PROCESS_IS_ZOMBIE;
    return proc_number(start_time);
}

uint32_t process_own_pid(void)
{
    char text[16];
    uint32_t pid = 0;
    ssize_t n = sys_readlinkat(AT_FDCWD, "/proc/self", text, sizeof text);
    for (ssize_t i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        pid = pid * 10 + (uint32_t)(text[i] - '0');
    return pid > 0 ? pid : (uint32_t)sys_getpid();
}

bool process_shares_pids(void)
{
    return process_own_pid() == (uint32_t)sys_getpid();
}

bool process_is_alive(uint32_t pid, uint64_t start_time)
{
    if (process_shares_pids() ? sys_kill((int)pid, 0) == -ESRCH : process_start_time(pid) == 0)
        return false;
    const uint64_t now = process_start_time(pid);
    if (now == PROCESS_IS_ZOMBIE)
        return false;
    return now == 0 || start_time == 0 || now == start_time;
}

static uint64_t read_namespace(const char *path)
{
    char text[32];
    ssize_t n = sys_readlinkat(AT_FDCWD, path, text, sizeof text - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *number = strchr(text, '['); /* pid:[4026531836] */
    return number ? proc_number(number + 1) : 0;
}

uint64_t process_pid_namespace(void)
{
    return read_namespace("/proc/self/ns/pid");
}

uint64_t process_pid_namespace_of(uint32_t pid)
{
    char path[48];
    log_format(path, sizeof path, "/proc/%u/ns/pid", pid);
    return read_namespace(path);
}
