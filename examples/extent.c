/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of records, placed by quire/extent.h and saved with their placement.
 *
 *     0        sizeof(struct head)                  DATA_AT
 *     | head: names and handles | space's metadata | records ...                          |
 *
 * The program makes a file, deletes two records of three, compacts the rest a few KiB at a time,
 * cuts the file to what is used, closes it, opens it again and reads every record back.
 *
 *     cc -o extent extent.c $(pkg-config --cflags --libs quire) && ./extent /tmp/records
 */
#include <errno.h>
#include <quire/extent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_RECORDS 200
#define DATA_AT (32u << 10) /* records begin here; head and metadata fit below */
#define STEP_BYTES (8u << 10)

struct head {
    quire_extent records[MAX_RECORDS]; /* 0: none. Handles stay, wherever the record moves */
};

struct store {
    FILE *file;
    struct head head;
    unsigned char *metadata; /* of the space */
    struct quire_extent_space *space;
};

#define METADATA_BYTES (DATA_AT - sizeof(struct head))

static void check(int ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "extent: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void check_error(int error, const char *what)
{
    errno = -error;
    check(error == 0, what);
}

static void transfer(struct store *store, uint64_t offset, void *bytes, size_t n, int is_write)
{
    check(fseek(store->file, (long)offset, SEEK_SET) == 0, "seek");
    size_t done = is_write ? fwrite(bytes, 1, n, store->file) : fread(bytes, 1, n, store->file);
    check(done == n, is_write ? "write" : "read");
}

/* Where everything is, is saved with the file: the metadata has no pointers in it. */
static void save(struct store *store)
{
    transfer(store, 0, &store->head, sizeof store->head, 1);
    transfer(store, sizeof store->head, store->metadata, quire_extent_saved_bytes(store->space), 1);
    check(fflush(store->file) == 0, "flush");
}

static void open_store(struct store *store, const char *path, int is_new)
{
    store->file = fopen(path, is_new ? "w+b" : "r+b");
    check(store->file != NULL, path);
    store->metadata = aligned_alloc(QUIRE_EXTENT_ALIGNMENT, DATA_AT);
    check(store->metadata != NULL, "memory");
    if (is_new) {
        struct quire_extent_config config = {1 << 20, MAX_RECORDS, QUIRE_EXTENT_TLSF};
        memset(&store->head, 0, sizeof store->head);
        check_error(quire_extent_init(&config, store->metadata, METADATA_BYTES, &store->space),
                    "a new space");
        return;
    }
    transfer(store, 0, &store->head, sizeof store->head, 0);
    check(fread(store->metadata, 1, METADATA_BYTES, store->file) > 0, "read");
    check_error(quire_extent_open(store->metadata, METADATA_BYTES, &store->space),
                "the file's space");
}

static void close_store(struct store *store)
{
    save(store);
    check(fclose(store->file) == 0, "close");
    free(store->metadata);
}

/* Record i is so long and has such bytes that a mistake would show. */
static size_t record_bytes(unsigned i)
{
    return 200 + i * 37 % 5000;
}

static void put(struct store *store, unsigned i)
{
    unsigned char bytes[8192];
    uint64_t offset;
    memset(bytes, (int)(i + 1), record_bytes(i));
    int error = quire_extent_alloc(store->space, record_bytes(i), 8, &store->head.records[i],
                                   &offset);
    check_error(error, "room for a record");
    transfer(store, DATA_AT + offset, bytes, record_bytes(i), 1);
}

static int is_whole(struct store *store, unsigned i)
{
    unsigned char bytes[8192], expected[8192];
    struct quire_extent_piece piece;
    check_error(quire_extent_find(store->space, store->head.records[i], &piece), "a record");
    transfer(store, DATA_AT + piece.offset, bytes, piece.length, 0);
    memset(expected, (int)(i + 1), piece.length);
    return piece.length == record_bytes(i) && memcmp(bytes, expected, piece.length) == 0;
}

/* Called by quire_extent_compact() for each record that it wants lower. */
static int move(void *context, quire_extent extent, uint64_t from, uint64_t to, uint64_t length)
{
    unsigned char bytes[8192];
    (void)extent;
    transfer(context, DATA_AT + from, bytes, length, 0);
    transfer(context, DATA_AT + to, bytes, length, 1);
    return 0;
}

static void report(struct store *store, const char *when)
{
    struct quire_extent_stats stats;
    quire_extent_stats(store->space, &stats);
    printf(
        "%-16s %3u records, %6llu bytes used, %2u holes, largest %7llu, fragmentation %4.1f %%\n",
        when, stats.n_extents, (unsigned long long)stats.n_used, stats.n_holes,
        (unsigned long long)stats.largest, 100 * quire_extent_fragmentation(&stats));
}

static void compact(struct store *store)
{
    struct quire_extent_compaction step = {.budget = STEP_BYTES, .move = move, .context = store};
    unsigned n_steps = 0;
    int result;
    do { /* a server would do other work between steps */
        result = quire_extent_compact(store->space, &step);
        save(store);
        n_steps++;
    } while (result == -EAGAIN);
    check_error(result, "compaction");
    printf("compacted in %u steps\n", n_steps);
}

static bool find_end(void *context, const struct quire_extent_piece *piece)
{
    if (piece->extent != 0)
        *(uint64_t *)context = piece->offset + piece->length;
    return true;
}

static void shrink(struct store *store)
{
    uint64_t end = 0;
    quire_extent_each(store->space, find_end, &end);
    check_error(quire_extent_set_length(store->space, end), "a shorter space");
    save(store);
    check(ftruncate(fileno(store->file), (off_t)(DATA_AT + end)) == 0, "a shorter file");
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "records";
    struct store store;
    open_store(&store, path, 1);
    for (unsigned i = 0; i < MAX_RECORDS; i++)
        put(&store, i);
    report(&store, "filled");
    for (unsigned i = 0; i < MAX_RECORDS; i++) {
        if (i % 3 == 0)
            continue;
        check_error(quire_extent_free(store.space, store.head.records[i]), "a record's end");
        store.head.records[i] = 0;
    }
    report(&store, "two thirds gone");
    compact(&store);
    report(&store, "compacted");
    shrink(&store);
    close_store(&store);

    open_store(&store, path, 0);
    report(&store, "opened again");
    for (unsigned i = 0; i < MAX_RECORDS; i++)
        if (store.head.records[i] != 0 && !is_whole(&store, i)) {
            fprintf(stderr, "extent: record %u is not what it was\n", i);
            return 1;
        }
    puts("every record is whole");
    close_store(&store);
    return 0;
}
