/* SPDX-License-Identifier: Apache-2.0 */
/* ring_list: `quire ring stat` and `quire ring ls`. */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/figures.h"
#include "cli/ring.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *full_name(enum quire_ring_full full)
{
    static const char *const names[] = {"wait", "fail", "overwrite"};
    return names[full];
}

static const char *kind_name(enum quire_ring_kind kind)
{
    return kind == QUIRE_RING_ONE_TO_ONE ? "one-to-one" : "many-to-many";
}

/* Frames in the ring now. Overwriting, those that are gone are not counted as out yet. */
static uint64_t n_waiting(const struct quire_ring_stats *stats)
{
    const uint64_t n = stats->n_in - stats->n_out;
    return n < stats->config.n_frames ? n : stats->config.n_frames;
}

static json_t *stats_json(const char *name, const struct quire_ring_stats *stats)
{
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i}", "name", name, "kind",
        kind_name(stats->config.kind), "full", full_name(stats->config.full), "frames",
        (json_int_t)stats->config.n_frames, "frame_bytes", (json_int_t)stats->config.frame_bytes,
        "waiting_frames", (json_int_t)n_waiting(stats), "in_frames", (json_int_t)stats->n_in,
        "out_frames", (json_int_t)stats->n_out, "lost_frames", (json_int_t)stats->n_lost,
        "skipped_frames", (json_int_t)stats->n_skipped, "producers", (int)stats->n_producers,
        "consumers", (int)stats->n_consumers, "died", (int)stats->n_died);
}

static bool print_json(const char *name, const struct quire_ring_stats *stats, bool is_compact)
{
    json_t *json = json_pack("{s:s, s:s}", "schema", "quire.ring/1", "version", QUIRE_VERSION);
    json_t *figures = stats_json(name, stats);

    if (json_object_update(json, figures) != 0) {
        json_decref(json);
        json = NULL;
    }
    json_decref(figures);
    return figures_print_json(json, is_compact);
}

static void print_stats(const char *name, const struct quire_ring_stats *stats)
{
    const uint64_t frame_bytes = stats->config.frame_bytes;
    char size[32], waiting[32];

    printf("ring:       %s\n", name);
    printf("kind:       %s, %s when full\n", kind_name(stats->config.kind),
           full_name(stats->config.full));
    printf("size:       %s: %llu frame%s of %llu byte%s\n",
           size_format(stats->config.n_frames * frame_bytes, size, sizeof size),
           (unsigned long long)stats->config.n_frames, stats->config.n_frames == 1 ? "" : "s",
           (unsigned long long)frame_bytes, frame_bytes == 1 ? "" : "s");
    printf("waiting:    %s: %llu frame%s\n",
           size_format(n_waiting(stats) * frame_bytes, waiting, sizeof waiting),
           (unsigned long long)n_waiting(stats), n_waiting(stats) == 1 ? "" : "s");
    printf("in, out:    %llu, %llu frames\n", (unsigned long long)stats->n_in,
           (unsigned long long)stats->n_out);
    printf("lost:       %llu frames, %llu skipped\n", (unsigned long long)stats->n_lost,
           (unsigned long long)stats->n_skipped);
    printf("members:    %u producers, %u consumers, %u died\n", stats->n_producers,
           stats->n_consumers, stats->n_died);
}

/* One line a look: what went through since the last. */
static void print_change(const struct quire_ring_stats *stats,
                         const struct quire_ring_stats *before)
{
    printf("%12llu %12llu %12llu %10llu %9u %9u\n", (unsigned long long)n_waiting(stats),
           (unsigned long long)(stats->n_in - before->n_in),
           (unsigned long long)(stats->n_out - before->n_out),
           (unsigned long long)(stats->n_lost - before->n_lost), stats->n_producers,
           stats->n_consumers);
}

/* Whether the name is still this ring's. */
static bool is_there(const char *name, ino_t memory)
{
    struct quire_share_opened share;
    struct stat status;

    if (quire_share_open(name, &share) != 0)
        return false;
    const bool is_same = share.n_fds == RING_N_FDS &&
                         fstat(share.fds[RING_FD_MEMORY], &status) == 0 && status.st_ino == memory;
    quire_share_close_opened(&share);
    return is_same;
}

/* Until its name has gone, or a signal asks to end. Not connected in between: a ring stays while
 * somebody is. */
static int watch(const char *name, struct ring_open *open, struct quire_ring_stats before,
                 bool as_json)
{
    struct quire_ring_stats stats;
    struct stat memory;

    if (fstat(open->share.fds[RING_FD_MEMORY], &memory) != 0)
        return EXIT_FAILURE;
    quire_share_close_opened(&open->share);
    figures_catch_signals();
    if (!as_json)
        puts("     waiting         in/s        out/s     lost/s producers consumers");
    while (figures_sleep_ms(1000) && is_there(name, memory.st_ino)) {
        if (quire_ring_stats(&open->ring, &stats) != 0)
            return EXIT_FAILURE;
        if (!as_json)
            print_change(&stats, &before);
        else if (!print_json(name, &stats, true))
            return EXIT_FAILURE;
        fflush(stdout);
        before = stats;
    }
    return EXIT_SUCCESS;
}

int ring_stat(int argc, char **argv)
{
    bool as_json = false, watches = false;
    const char *name = ring_parse_name(argc, argv,
                                       "Show the figures of a ring."
                                       "\v"
                                       "Exit status:\n"
                                       "  0    they were shown\n"
                                       "  1    there is no such ring\n"
                                       "  125  the command line can't be understood",
                                       &as_json, &watches);
    struct quire_ring_stats stats;
    struct ring_open open;
    int status = EXIT_SUCCESS;

    if (ring_open(name, QUIRE_RING_OBSERVER, &open) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    if (quire_ring_stats(&open.ring, &stats) != 0) {
        cli_error("ring '%s': its header is damaged", name);
        status = EXIT_FAILURE;
    } else if (watches) {
        status = watch(name, &open, stats, as_json);
    } else if (as_json) {
        status = print_json(name, &stats, false) ? EXIT_SUCCESS : EXIT_FAILURE;
    } else {
        print_stats(name, &stats);
    }
    ring_close(&open);
    return status;
}

/* Opened in passing; what is no ring, or has just gone, is passed over. */
static bool look_at(const char *name, struct quire_ring_stats *stats)
{
    struct quire_share_opened share;
    struct quire_ring ring;
    void *memory;
    size_t n_bytes;
    bool writable, found = false;

    if (quire_share_open(name, &share) != 0)
        return false;
    if (strcmp(share.tag, RING_TAG) == 0 && share.n_fds == RING_N_FDS &&
        quire_share_map(share.fds[RING_FD_MEMORY], &memory, &n_bytes, &writable) == 0) {
        found = quire_ring_attach(memory, n_bytes, QUIRE_RING_OBSERVER, &ring) == 0 &&
                quire_ring_stats(&ring, stats) == 0;
        munmap(memory, n_bytes);
    }
    quire_share_close_opened(&share);
    return found;
}

static int is_published(const struct dirent *entry)
{
    return strncmp(entry->d_name, QUIRE_SHARE_PREFIX, strlen(QUIRE_SHARE_PREFIX)) == 0;
}

static void list_one(const char *name, json_t *all, bool *has_head)
{
    struct quire_ring_stats stats;

    if (!look_at(name, &stats))
        return;
    if (all != NULL) {
        json_array_append_new(all, stats_json(name, &stats));
        return;
    }
    if (!*has_head)
        puts("name                      frames frame bytes      waiting producers consumers");
    *has_head = true;
    printf("%-20s %12llu %11u %12llu %9u %9u\n", name, (unsigned long long)stats.config.n_frames,
           stats.config.frame_bytes, (unsigned long long)n_waiting(&stats), stats.n_producers,
           stats.n_consumers);
}

static int list(struct dirent *const *entries, int n, bool as_json)
{
    json_t *all = as_json ? json_array() : NULL;
    bool has_head = false;

    for (int i = 0; i < n; i++)
        list_one(entries[i]->d_name + strlen(QUIRE_SHARE_PREFIX), all, &has_head);
    if (!as_json)
        return EXIT_SUCCESS;
    json_t *json = json_pack("{s:s, s:s, s:o}", "schema", "quire.rings/1", "version", QUIRE_VERSION,
                             "rings", all);
    return figures_print_json(json, false) ? EXIT_SUCCESS : EXIT_FAILURE;
}

int ring_ls(int argc, char **argv)
{
    const bool as_json = ring_parse_json(
        argc, argv,
        "List the rings of the user, and clear away names that were left behind."
        "\v"
        "Exit status:\n"
        "  0    they were listed\n"
        "  1    the directory of the names can't be read\n"
        "  125  the command line can't be understood");
    char path[PATH_MAX];

    struct dirent **entries = NULL;
    int n = 0, fd = quire_share_directory(path, sizeof path, false);

    if (fd >= 0) {
        close(fd);
        n = scandir(path, &entries, is_published, alphasort);
        fd = n < 0 ? -errno : fd;
    }
    if (fd < 0 && fd != -ENOENT) { /* no directory: no ring */
        cli_error("the names in %s can't be read: %s", path, strerror(-fd));
        return EXIT_FAILURE;
    }
    const int status = list(entries, n < 0 ? 0 : n, as_json);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return status;
}
