/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_structs: system calls that read paths and write structures in evicted memory: open, stat,
 * getdents64, getcwd, readlink, uname, clock_gettime, getrandom, poll, epoll, ioctl, sigaction.
 */
#include "helper.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>

enum { N_FILES = 300 };

struct entry { /* what getdents64 writes: getdents(2) */
    uint64_t inode;
    int64_t offset;
    uint16_t length;
    uint8_t type;
    char name[];
};

static char *evicted; /* 32 pages */

static void list_raw(void)
{
    int fd = open("listed", O_RDONLY | O_DIRECTORY);
    int n_seen = 0;
    long n;
    press();
    while ((n = syscall(SYS_getdents64, fd, evicted + 104, 3 * PAGE)) > 0) {
        for (long at = 0; at < n;) {
            struct entry *e = (struct entry *)(void *)(evicted + 104 + at);
            n_seen += strncmp(e->name, "file-", 5) == 0;
            at += e->length;
        }
        press();
    }
    EXPECT(n == 0 && n_seen == N_FILES);
    close(fd);
}

static void directories(void)
{
    char *path = evicted + PAGE - 9; /* the name crosses into the next page */
    EXPECT(mkdir("listed", 0700) == 0);
    for (int i = 0; i < N_FILES; i++) {
        sprintf(path, "listed/file-%d", i);
        if (i % 100 == 0)
            press();
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        EXPECT(fd >= 0);
        close(fd);
    }
    list_raw();

    int n_seen = 0;
    DIR *directory = opendir("listed"); /* libc's own buffer, malloc'ed */
    EXPECT(directory);
    press();
    while (readdir(directory))
        n_seen++;
    EXPECT(n_seen == N_FILES + 2);
    closedir(directory);
    for (int i = 0; i < N_FILES; i++) {
        sprintf(path, "listed/file-%d", i);
        EXPECT(unlink(path) == 0);
    }
    EXPECT(rmdir("listed") == 0);
}

static void structures(void)
{
    struct stat *st = (void *)(evicted + 4 * PAGE);
    struct utsname *name = (void *)(evicted + 6 * PAGE);
    struct timespec *now = (void *)(evicted + 8 * PAGE);
    char *text = evicted + 10 * PAGE;
    press();
    EXPECT(stat("/", st) == 0 && S_ISDIR(st->st_mode));
    EXPECT(uname(name) == 0 && strcmp(name->sysname, "Linux") == 0);
    EXPECT(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, now) == 0 && now->tv_sec > 0);
    EXPECT(getcwd(text, PAGE) == text && text[0] == '/');
    press();
    EXPECT(readlink("/proc/self/exe", text, PAGE) > 0 && text[0] == '/');
    press();
    memset(text, 0, PAGE);
    press();
    EXPECT(getrandom(text, PAGE, 0) == (ssize_t)PAGE);
    size_t n_zero = 0;
    for (size_t i = 0; i < PAGE; i++)
        n_zero += text[i] == 0;
    EXPECT(n_zero < PAGE / 16);
}

static void handler(int signal)
{
    (void)signal;
}

static void descriptors(void)
{
    int pipes[2];
    EXPECT(pipe(pipes) == 0);
    int *n_waiting = (void *)(evicted + 12 * PAGE);
    struct pollfd *p = (void *)(evicted + 14 * PAGE);
    struct epoll_event *event = (void *)(evicted + 16 * PAGE);
    int epoll = epoll_create1(0);
    *p = (struct pollfd){.fd = pipes[0], .events = POLLIN};
    *event = (struct epoll_event){.events = EPOLLIN, .data.u64 = 0x1234567890};
    press();
    EXPECT(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], event) == 0);
    EXPECT(write(pipes[1], "abc", 3) == 3);
    EXPECT(ioctl(pipes[0], FIONREAD, n_waiting) == 0 && *n_waiting == 3);
    EXPECT(poll(p, 1, 1000) == 1 && p->revents == POLLIN);
    press();
    EXPECT(epoll_wait(epoll, event, 1, 1000) == 1 && event->data.u64 == 0x1234567890);

    struct sigaction *action = (void *)(evicted + 18 * PAGE);
    struct sigaction *old = (void *)(evicted + 20 * PAGE);
    action->sa_handler = handler;
    press();
    EXPECT(sigaction(SIGUSR1, action, NULL) == 0 && sigaction(SIGUSR1, NULL, old) == 0);
    EXPECT(old->sa_handler == handler);
    close(epoll);
    close(pipes[0]);
    close(pipes[1]);
}

int main(int argc, char **argv)
{
    helper_init(argc, argv);
    evicted = calloc(32, PAGE);
    EXPECT(evicted);
    directories();
    structures();
    descriptors();
    return helper_done();
}
