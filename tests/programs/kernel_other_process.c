/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_other_process: another process looks into evicted memory, by process_vm_readv and
 * process_vm_writev, which work, and /proc/PID/mem, where a debugger may be told EIO instead.
 */
#include "helper.h"

#include <fcntl.h>
#include <sys/uio.h>

enum { N_BYTES = 5 * 4096 + 99 };

static int to_child[2], from_child[2];

static void ask(char what)
{
    char answer;
    EXPECT(write(to_child[1], &what, 1) == 1);
    EXPECT(read(from_child[0], &answer, 1) == 1 && answer == what);
}

/* The one who is looked at: presses when told to, and checks what was written to it. */
static int looked_at(char *memory)
{
    char what;
    while (read(to_child[0], &what, 1) == 1) {
        if (what == 'p')
            press();
        if (what == 'c')
            pattern_check(memory, N_BYTES, 2, "what process_vm_writev wrote");
        EXPECT(write(from_child[1], &what, 1) == 1);
        if (what == 'q')
            return 0;
    }
    return 1;
}

static void by_call(pid_t pid, char *theirs, char *mine)
{
    struct iovec local = {mine, N_BYTES}, remote = {theirs, N_BYTES};
    ask('p');
    ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);
    if (n < 0 && (errno == ENOSYS || errno == EPERM))
        helper_lacks("process_vm_readv");
    EXPECT(n == N_BYTES);
    pattern_check(mine, N_BYTES, 1, "process_vm_readv");
    pattern_fill(mine, N_BYTES, 2);
    ask('p');
    EXPECT(process_vm_writev(pid, &local, 1, &remote, 1, 0) == N_BYTES);
    ask('c');
}

static void by_file(pid_t pid, char *theirs, char *mine)
{
    char name[64];
    snprintf(name, sizeof name, "/proc/%d/mem", (int)pid);
    int fd = open(name, O_RDONLY);
    EXPECT(fd >= 0);
    ask('p');
    memset(mine, 0, N_BYTES);
    /* The kernel does not wait for a pager here: what it gives is right, or it says EIO. */
    ssize_t n = pread(fd, mine, N_BYTES, (off_t)(uintptr_t)theirs);
    EXPECT(n >= 0 || errno == EIO);
    pattern_check(mine, n > 0 ? (size_t)n : 0, 2, "reading /proc/PID/mem");
    close(fd);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    char *memory = malloc(N_BYTES);
    EXPECT(memory && pipe(to_child) == 0 && pipe(from_child) == 0);
    pattern_fill(memory, N_BYTES, 1);
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0)
        _exit(looked_at(memory));
    char *mine = malloc(N_BYTES);
    EXPECT(mine);
    by_call(pid, memory, mine);
    by_file(pid, memory, mine);
    ask('q');
    expect_exit(pid, 0);
    pattern_check(memory, N_BYTES, 1, "this process's own memory");
    return helper_done();
}
