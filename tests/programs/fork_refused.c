/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_refused: more forks fail than a run can have processes, as where a limit of processes is
 * met; what was set aside for their children is had back, and the next fork works.
 */
#include "helper.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { N_REFUSED = 600, KEPT_BYTES = 1 << 20 };

/* For the calling thread, for good: EAGAIN for whatever makes a process. */
static void refuse_forks(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        helper_lacks("seccomp filters");
}

static void *fork_in_vain(void *unused)
{
    (void)unused;
    refuse_forks();
    for (int i = 0; i < N_REFUSED; i++) {
        errno = 0;
        EXPECT(fork() == -1 && errno == EAGAIN);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    helper_init(argc, argv);
    char *kept = map_pages(KEPT_BYTES);
    pattern_fill(kept, KEPT_BYTES, 3);
    press();
    EXPECT(pthread_create(&thread, NULL, fork_in_vain, NULL) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    pid_t pid = fork();
    EXPECT(pid >= 0);
    if (pid == 0) {
        pattern_check(kept, KEPT_BYTES, 3, "what a child inherits");
        _exit(7);
    }
    expect_exit(pid, 7);
    return helper_done();
}
