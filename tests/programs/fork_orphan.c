/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork_orphan: a process goes on after its parent, and its parent's parent, have ended; what it
 * inherited, evicted before or after the fork, must stay.
 */
#include "helper.h"

enum { N_BYTES = 8 << 20 };

int main(int argc, char **argv)
{
    int done[2];
    helper_init(argc, argv);
    unsigned char *own = map_pages(N_BYTES);
    pattern_fill(own, N_BYTES, 3);
    press();
    EXPECT(pipe(done) == 0);
    for (int round = 0; round < 3; round++) {
        pid_t pid = fork();
        EXPECT(pid >= 0);
        if (pid == 0) {
            pattern_fill(own, N_BYTES / 2, 4);
            pid_t orphan = fork();
            EXPECT(orphan >= 0);
            if (orphan > 0)
                _exit(5); /* its memory goes with it */
            while (getppid() == pid)
                usleep(1000);
            press();
            pattern_check(own, N_BYTES / 2, 4, "inherited from a parent that is gone");
            unsigned char *rest = own + N_BYTES / 2;
            for (size_t i = 0; i < N_BYTES / 2; i++)
                EXPECT(rest[i] == pattern_byte(3, i + N_BYTES / 2));
            pattern_fill(own, N_BYTES, 6);
            press();
            pattern_check(own, N_BYTES, 6, "an orphan's own");
            EXPECT(write(done[1], "!", 1) == 1);
            _exit(0);
        }
        expect_exit(pid, 5);
        if (round == 1)
            press();
    }
    close(done[1]);
    char mark;
    for (int i = 0; i < 3; i++)
        EXPECT(read(done[0], &mark, 1) == 1 && mark == '!');
    pattern_check(own, N_BYTES, 3, "the first process's own");
    return helper_done();
}
