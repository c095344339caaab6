/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure: runs a command and writes what it took: `measure FILE COMMAND [ARGUMENT...]`.
 *
 * FILE gets "wall_s cpu_s peak_kib faults": peak_kib is the largest resident set of any process of
 * the tree that was waited for, counted by the kernel (ru_maxrss). The kernel counts what a process
 * had before its exec too, so whoever starts it must be small, which Python is not. MEASURE_PRELOAD
 * becomes the command's LD_PRELOAD.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    const char *library = getenv("MEASURE_PRELOAD");
    struct rusage usage;
    int status;

    if (argc < 3)
        return 2;
    unsetenv("MEASURE_PRELOAD");
    double start = now();
    pid_t child = fork();
    if (child == 0) {
        if (library != NULL && *library != '\0')
            setenv("LD_PRELOAD", library, 1);
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return 2;
    double wall = now() - start;
    getrusage(RUSAGE_CHILDREN, &usage);
    FILE *file = fopen(argv[1], "w");
    if (file == NULL)
        return 2;
    fprintf(file, "%.6f %.6f %ld %ld\n", wall, seconds(usage.ru_utime) + seconds(usage.ru_stime),
            usage.ru_maxrss, usage.ru_minflt);
    fclose(file);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
