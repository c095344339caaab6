/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn: vfork, posix_spawn with attributes and file actions, system and popen, from a process with
 * evicted memory; a vfork child writes to its parent's memory until it executes.
 */
#include "helper.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

static void by_vfork(char *evicted)
{
    for (volatile int i = 0; i < 5; i++) {
        press();
        pid_t pid = vfork();
        if (pid == 0) {
            /* Both are in the same memory: this faults in the child, for the parent. */
            evicted[(size_t)i * PAGE] = (char)('a' + i);
            execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
            _exit(99);
        }
        EXPECT(pid > 0 && evicted[(size_t)i * PAGE] == 'a' + i);
        expect_exit(pid, 7);
    }
    pid_t pid = vfork();
    if (pid == 0)
        _exit(8); /* ends without executing anything */
    expect_exit(pid, 8);
}

static void by_posix_spawn(void)
{
    posix_spawn_file_actions_t *actions = malloc(sizeof *actions);
    posix_spawnattr_t *attributes = malloc(sizeof *attributes);
    sigset_t mask;
    pid_t pid;
    EXPECT(actions && attributes && posix_spawn_file_actions_init(actions) == 0);
    EXPECT(posix_spawnattr_init(attributes) == 0);
    EXPECT(posix_spawn_file_actions_addopen(actions, 1, "spawned", O_CREAT | O_WRONLY, 0600) == 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    posix_spawnattr_setsigmask(attributes, &mask);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
    char *argv[] = {strdup("sh"), strdup("-c"), strdup("echo from a spawned shell"), NULL};
    press();
    EXPECT(posix_spawn(&pid, "/bin/sh", actions, attributes, argv, environ) == 0);
    expect_exit(pid, 0);
    char text[64] = {0};
    int fd = open("spawned", O_RDONLY);
    EXPECT(read(fd, text, sizeof text - 1) == 21 && strcmp(text, "from a spawned shell\n") == 0);
    close(fd);
    unlink("spawned");
    EXPECT(posix_spawn(&pid, "/nowhere/to/be/found", NULL, NULL, argv, environ) == ENOENT);
    posix_spawn_file_actions_destroy(actions);
    posix_spawnattr_destroy(attributes);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    char *evicted = calloc(8, PAGE);
    EXPECT(evicted);
    by_vfork(evicted);
    by_posix_spawn();

    press();
    int status = system("exit 9");
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 9);
    press();
    FILE *pipe = popen("seq 1 1000 | tail -1", "r");
    char line[32];
    EXPECT(pipe && fgets(line, sizeof line, pipe) && strcmp(line, "1000\n") == 0);
    EXPECT(pclose(pipe) == 0);

    /* The whole environment reaches a grandchild through two shells. */
    setenv("KEPT", "through", 1);
    status = system("sh -c 'test \"$KEPT\" = through' && sh -c 'exit 3'");
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    return helper_done();
}
