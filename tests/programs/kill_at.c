/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill_at: kills one process of a tree, at any of its system calls. Used by cases/killed.py.
 *
 *   kill_at K DELAY_NS SIZE_MIB RESULTS    K 0: nobody is killed; says how many stops there were
 *
 * The tree, run under ptrace with Quire's threads in it:
 *
 *   parent: fills, forks, changes, checks -- child: checks, changes, forks -- grandchild: checks
 *
 * Each appends a line to the file RESULTS when it has found all as it should be. The process of the
 * thread that makes the Kth stop (at the entry or the exit of a system call) gets SIGKILL there, or
 * DELAY_NS later while everything goes on. When all have ended this program, which is a part of the
 * run, reaps what they left in the control block, and everything there must add up to what it has
 * itself.
 */
#include "base/control.h"
#include "base/sys.h"
#include "helper.h"
#include "store/swap.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ptrace.h>
#include <time.h>

enum { N_ROUNDS = 1, PATIENCE_SECONDS = 500, MEND_SECONDS = 120, MOST_REST_PAGES = 512 };

static const char *results;
static size_t n_bytes;

static void note(const char *who)
{
    char line[32];
    int n = snprintf(line, sizeof line, "%s\n", who);
    int fd = open(results, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    EXPECT(fd >= 0 && write(fd, line, (size_t)n) == n);
    close(fd);
}

static void change(unsigned char *memory, uint64_t seed)
{
    for (uint64_t round = 0; round < N_ROUNDS; round++) {
        pattern_check(memory, n_bytes, seed + round, "its memory");
        pattern_fill(memory, n_bytes, seed + round + 1);
    }
    pattern_check(memory, n_bytes, seed + N_ROUNDS, "its memory, in the end");
}

static void end_child(pid_t pid)
{
    int status;
    EXPECT(waitpid(pid, &status, 0) == pid);
    EXPECT((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
}

static void live_as_child(unsigned char *memory)
{
    pid_t grandchild = fork();
    EXPECT(grandchild >= 0);
    if (grandchild == 0) {
        pattern_check(memory, n_bytes, 1, "a grandchild's");
        note("grandchild");
        _exit(0);
    }
    change(memory, 1);
    end_child(grandchild);
    note("child");
    _exit(0);
}

static void live(void)
{
    unsigned char *memory = malloc(n_bytes);
    EXPECT(memory);
    pattern_fill(memory, n_bytes, 1);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0)
        live_as_child(memory);
    change(memory, 1);
    end_child(child);
    note("parent");
    _exit(0);
}

/*
 * Takes no memory, here and in all that is done while others are traced: to wait for room, which
 * they would have to make while they wait for this process, would be the end.
 */
static int process_of(int tid)
{
    char path[64], text[1024] = "";
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    EXPECT(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    const char *line = strstr(text, "\nTgid:");
    return line ? atoi(line + 6) : 0;
}

static void kill_process_of(int tid, uint64_t delay_ns)
{
    int process = process_of(tid);
    if (delay_ns > 0) {
        ptrace(PTRACE_CONT, tid, NULL, NULL);
        sys_sleep_ns(delay_ns);
    }
    if (process > 0) /* its last thread may have ended by itself meanwhile */
        kill(process, SIGKILL);
}

/* What a stopped thread is to get when it goes on: no signals of ptrace's own. */
static int signal_of(int status)
{
    int signal = WSTOPSIG(status);
    bool is_own = status >> 16 != 0 || signal == (SIGTRAP | 0x80) || signal == SIGSTOP;
    return is_own ? 0 : signal;
}

/*
 * Until all have ended. How many stops at system calls there were; the Kth is somebody's last.
 * *n_forks: how many forks there had been by then.
 */
static unsigned long trace(pid_t root, unsigned long k, uint64_t delay_ns, unsigned *n_forks)
{
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACECLONE |
                         PTRACE_O_TRACEVFORK;
    unsigned long n = 0;
    int status, tid;
    EXPECT(waitpid(root, &status, 0) == root && WIFSTOPPED(status));
    EXPECT(ptrace(PTRACE_SETOPTIONS, root, NULL, (void *)options) == 0);
    ptrace(PTRACE_SYSCALL, root, NULL, NULL);
    while ((tid = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status))
            continue;
        bool at_call = WSTOPSIG(status) == (SIGTRAP | 0x80);
        n += at_call;
        if (n < k || k == 0)
            *n_forks += status >> 8 == (SIGTRAP | PTRACE_EVENT_FORK << 8);
        if (at_call && n == k)
            kill_process_of(tid, delay_ns);
        else /* after the kill nobody needs to stop any more */
            ptrace(k > 0 && n > k ? PTRACE_CONT : PTRACE_SYSCALL, tid, NULL,
                   (void *)(intptr_t)signal_of(status));
    }
    EXPECT(errno == ECHILD);
    return n;
}

static void release_swap(void *control, unsigned slot)
{
    struct swap_space *space = control_swap_space(control);
    if (space)
        swap_release_owner(space, slot);
}

/* Sums that do not hold yet, or NULL. */
static const char *what_is_wrong(struct control *control)
{
    static char text[128];
    for (int kind = 0; kind < CONTROL_N_KINDS; kind++) {
        int64_t sum = 0, held = atomic_load(&control->held[kind]);
        for (unsigned i = 0; i < CONTROL_SLOTS; i++)
            sum += atomic_load(&control->slot[i].held[kind]);
        snprintf(text, sizeof text, "of kind %d %lld pages are held, the slots say %lld", kind,
                 (long long)held, (long long)sum);
        if (held != sum || (kind == CONTROL_FILE && held != 0))
            return text;
    }
    snprintf(text, sizeof text, "%lld pages are held by nobody", (long long)control_held(control));
    return control_held(control) > MOST_REST_PAGES ? text : NULL;
}

static void check_control(void)
{
    struct control *control;
    const char *path = getenv(CONTROL_ENVIRONMENT), *wrong = NULL;
    if (!path) /* a plain run */
        return;
    EXPECT(control_attach(path, &control) == 0);
    control_reap(control, release_swap, control);
    for (unsigned i = 0; i < MEND_SECONDS * 20; i++) {
        if (!(wrong = what_is_wrong(control)))
            break;
        usleep(50000);
    }
    if (wrong)
        fail("control block: %s", wrong);
    struct swap_space *space = control_swap_space(control);
    EXPECT(space && swap_validate(space) == 0);
    EXPECT(swap_used_bytes(space) == 0);
}

static void hang(int signal)
{
    (void)signal;
    fail("hangs: not all have ended after %d s", PATIENCE_SECONDS);
}

int main(int argc, char **argv)
{
    EXPECT(argc == 5);
    unsigned long k = strtoul(argv[1], NULL, 10);
    uint64_t delay_ns = strtoul(argv[2], NULL, 10);
    n_bytes = strtoul(argv[3], NULL, 10) * MIB;
    results = argv[4];
    signal(SIGALRM, hang);
    alarm(PATIENCE_SECONDS);
    pid_t root = fork();
    EXPECT(root >= 0);
    if (root == 0) {
        EXPECT(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        live();
    }
    unsigned n_forks = 0;
    unsigned long n = trace(root, k, delay_ns, &n_forks);
    check_control();
    printf("OK %lu %u\n", n, n_forks);
    return 0;
}
