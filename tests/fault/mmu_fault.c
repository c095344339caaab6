/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can fail around images and address spaces fails, each time another call: opening, looking at
 * and mapping a file, memory for the list of ranges, frames for tables and pages. It is told, with
 * a message; what was there before is as it was; nothing is left behind.
 *
 * The linker puts the functions below in the place of libc's (-Wl,--wrap).
 */
#include "kdump_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <quire/space.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "leaks.h"

/* The nth call from now on fails; 0: none. */
static unsigned countdown;
static bool has_fired;
static long n_live; /* allocations */

static bool fails(void)
{
    if (countdown == 0 || --countdown != 0)
        return false;
    has_fired = true;
    return true;
}

static void fail_in(unsigned nth)
{
    countdown = nth;
    has_fired = false;
}

void *__real_malloc(size_t n_bytes);
void *__real_calloc(size_t n, size_t n_bytes);
void *__real_realloc(void *old, size_t n_bytes);
void __real_free(void *memory);
int __real_open64(const char *path, int flags, ...);
int __real_fstat64(int fd, struct stat *info);
void *__real_mmap64(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t n_bytes);
void *__wrap_calloc(size_t n, size_t n_bytes);
void *__wrap_realloc(void *old, size_t n_bytes);
void __wrap_free(void *memory);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_fstat64(int fd, struct stat *info);
void *__wrap_mmap64(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t n_bytes) /* which realloc(NULL, n) may become */
{
    void *memory = fails() ? NULL : __real_malloc(n_bytes);
    n_live += memory != NULL;
    return memory;
}

void *__wrap_calloc(size_t n, size_t n_bytes)
{
    void *memory = fails() ? NULL : __real_calloc(n, n_bytes);
    n_live += memory != NULL;
    return memory;
}

void *__wrap_realloc(void *old, size_t n_bytes)
{
    void *memory = fails() ? NULL : __real_realloc(old, n_bytes);
    n_live += memory != NULL && old == NULL;
    return memory;
}

void __wrap_free(void *memory)
{
    n_live -= memory != NULL;
    __real_free(memory);
}

int __wrap_open64(const char *path, int flags, ...)
{
    errno = EMFILE;
    return fails() ? -1 : __real_open64(path, flags, 0);
}

int __wrap_fstat64(int fd, struct stat *info)
{
    errno = EIO;
    return fails() ? -1 : __real_fstat64(fd, info);
}

void *__wrap_mmap64(void *at, size_t n_bytes, int prot, int flags, int fd, off_t offset)
{
    errno = ENODEV;
    return fails() ? MAP_FAILED : __real_mmap64(at, n_bytes, prot, flags, fd, offset);
}

/* Images */

/* A LiME file of 20 ranges, so that the list of them has to grow twice. */
static void make_file(char *path)
{
    int fd = mkstemp(path);

    REQUIRE(fd >= 0);
    for (uint64_t i = 0; i < 20; i++) {
        uint64_t header[4] = {0x14c694d45, i << 16, (i << 16) + 4095, 0};
        char bytes[4096];
        memset(bytes, (int)i, sizeof bytes);
        REQUIRE(write(fd, header, sizeof header) == sizeof header);
        REQUIRE(write(fd, bytes, sizeof bytes) == sizeof bytes);
    }
    close(fd);
}

/* The same as a kdump-compressed file. */
static void make_kdump(char *path)
{
    int fd = mkstemp(path);

    REQUIRE(fd >= 0 && kdump_write(fd, 20, 16));
    close(fd);
}

/* Adds the file to an image that has a range already. 0 or the error. */
static int add(struct quire_image *image, const char *path, char *message)
{
    const struct quire_image_range *ranges;
    unsigned char byte = 0;
    size_t n_before = quire_image_ranges(image, &ranges);
    int error = quire_image_add_file(image, path, 0, QUIRE_IMAGE_AUTO, message);

    REQUIRE(quire_image_ranges(image, &ranges) == n_before + (error == 0 ? 20 : 0));
    REQUIRE(quire_image_read(image, 1 << 24, &byte, 1, NULL) == 0 && byte == 'x');
    REQUIRE(quire_image_read(image, 7 << 16, &byte, 1, NULL) == (error == 0 ? 0 : -EFAULT));
    REQUIRE(error != 0 || byte == 7 || byte == kdump_byte(7 * 16));
    return error;
}

static unsigned fail_each_of_an_image(const char *path)
{
    static char memory[] = "x";
    unsigned n_fds = count_fds();

    for (unsigned nth = 1;; nth++) {
        struct quire_image *image = NULL;
        char message[QUIRE_IMAGE_MESSAGE_BYTES] = "";
        fail_in(nth);
        int error = quire_image_new(&image);
        bool is_made = error == 0;
        if (is_made)
            error = quire_image_add_memory(image, 1 << 24, memory, 1, false);
        if (error == 0) {
            error = add(image, path, message);
            REQUIRE((error != 0) == (message[0] != '\0'));
        }
        bool fired = has_fired;
        fail_in(0);
        REQUIRE(fired == (error != 0));
        REQUIRE(count_mappings("quire-image") == (error == 0));
        if (is_made)
            quire_image_free(image);
        REQUIRE(count_fds() == n_fds && count_mappings("quire-image") == 0 && n_live == 0);
        if (!fired)
            return nth - 1;
    }
}

/* The second part of a split dump: whatever fails, the first one stays alone and as it was. */
static unsigned fail_each_of_a_part(void)
{
    for (unsigned nth = 1;; nth++) {
        char paths[2][32] = {"/tmp/quire-image-XXXXXX", "/tmp/quire-image-XXXXXX"};
        char message[QUIRE_IMAGE_MESSAGE_BYTES];
        struct quire_image *image;
        unsigned char byte = 0;
        for (unsigned i = 0; i < 2; i++) {
            int fd = mkstemp(paths[i]);
            REQUIRE(fd >= 0 && kdump_write_part(fd, 20, 16, true, i * 100, i == 0 ? 100 : 305));
            close(fd);
        }
        REQUIRE(quire_image_new(&image) == 0);
        REQUIRE(quire_image_add_file(image, paths[0], 0, QUIRE_IMAGE_AUTO, message) == 0);
        fail_in(nth);
        int error = quire_image_add_file(image, paths[1], 0, QUIRE_IMAGE_AUTO, message);
        bool fired = has_fired;
        fail_in(0);
        REQUIRE(fired == (error != 0) && (error != 0) == (message[0] != '\0'));
        REQUIRE(quire_image_check_parts(image, message) == (error != 0 ? -ENODATA : 0));
        REQUIRE(quire_image_read(image, 96 * 4096, &byte, 1, NULL) == 0 && byte == kdump_byte(96));
        REQUIRE(quire_image_read(image, 112 * 4096, &byte, 1, NULL) == (error != 0 ? -ENODATA : 0));
        REQUIRE(error != 0 || byte == kdump_byte(112));
        quire_image_free(image);
        unlink(paths[0]);
        unlink(paths[1]);
        REQUIRE(count_mappings("quire-image") == 0 && n_live == 0);
        if (!fired)
            return nth - 1;
    }
}

/* Address spaces: with 1 frame, 2, 3 ... until all that is done fits. */

#define MAX_FRAMES 64u
#define START ((uint64_t)1 << 20)
#define BASE 0x7f0000000000u
#define RIGHTS (QUIRE_MMU_SR | QUIRE_MMU_SW | QUIRE_MMU_UR | QUIRE_MMU_UW)

static struct quire_space_memory memory;
static struct quire_space_area areas[3][8];

static void require_fits(int error, bool *fits)
{
    REQUIRE(error == 0 || error == -ENOMEM);
    *fits &= error == 0;
}

static void check_page(struct quire_space *space, unsigned page, unsigned char value)
{
    unsigned char byte;
    if (quire_space_read(space, BASE + page * 4096ul, &byte, 1) == 0)
        REQUIRE(byte == value);
}

static bool write_page(struct quire_space *space, unsigned page, unsigned char value, bool *fits)
{
    int error = quire_space_write(space, BASE + page * 4096ul, &value, 1);
    require_fits(error, fits);
    REQUIRE(quire_space_validate(space) == 0);
    return error == 0;
}

/* What was written is read, whatever else there was no room for. */
static bool use(struct quire_space spaces[3])
{
    bool fits = true, written[4];

    REQUIRE(quire_space_map(&spaces[0], BASE, 4 << 12, RIGHTS, false) == 0);
    for (unsigned i = 0; i < 4; i++)
        written[i] = write_page(&spaces[0], i, (unsigned char)(i + 1), &fits);
    require_fits(quire_space_clone(&spaces[0], &spaces[1]), &fits);
    if (spaces[1].n_areas > 0 && written[1])
        write_page(&spaces[1], 1, 100, &fits);
    require_fits(quire_space_share(&spaces[0], &spaces[2], BASE + (2 << 12), 1 << 12), &fits);
    for (unsigned i = 0; i < 4; i++)
        if (written[i])
            check_page(&spaces[0], i, (unsigned char)(i + 1));
    if (written[2])
        check_page(&spaces[2], 2, 3);
    for (unsigned i = 0; i < 3; i++)
        REQUIRE(quire_space_validate(&spaces[i]) == 0);
    return fits;
}

/* False: there are too few frames, even for the roots. */
static bool open_spaces(struct quire_space spaces[3], uint64_t roots[3])
{
    unsigned n = 0;
    struct quire_mmu mmu;

    while (n < 3 && (roots[n] = quire_space_take_table(&memory, 4096)) != 0) {
        REQUIRE(quire_mmu_init_mode(&mmu, memory.image, QUIRE_MMU_X86_48, roots[n], 48) == 0);
        REQUIRE(quire_space_init(&spaces[n], &memory, &mmu, NULL, n, areas[n], 8) == 0);
        n++;
    }
    for (unsigned i = 0; n < 3 && i < n; i++)
        quire_space_give_table(&memory, roots[i], 4096);
    return n == 3;
}

static bool run_with(uint32_t n_frames)
{
    static unsigned char bytes[MAX_FRAMES * 4096] __attribute__((aligned(4096)));
    const struct quire_buddy_zone zone = {0, n_frames, "frames"};
    const struct quire_buddy_config config = {.max_order = 0, .n_zones = 1, .zones = &zone};
    static unsigned char metadata[1 << 16] __attribute__((aligned(4096)));
    static uint32_t references[MAX_FRAMES];
    struct quire_buddy_counts counts;
    struct quire_space spaces[3];
    uint64_t roots[3];
    bool fits = false;

    memset(metadata, 0, sizeof metadata);
    memory = (struct quire_space_memory){
        .start = START, .n_frames = n_frames, .references = references};
    REQUIRE(quire_buddy_init(&config, metadata, sizeof metadata, &memory.buddy) == 0);
    REQUIRE(quire_image_new(&memory.image) == 0);
    REQUIRE(quire_image_add_memory(memory.image, START, bytes, sizeof bytes, true) == 0);
    if (open_spaces(spaces, roots)) {
        fits = use(spaces);
        for (unsigned i = 0; i < 3; i++)
            quire_space_deinit(&spaces[i]);
        for (unsigned i = 0; i < 3; i++)
            quire_space_give_table(&memory, roots[i], 4096);
    }
    REQUIRE(quire_buddy_counts(memory.buddy, 0, &counts) == 0 && counts.n_allocated == 0);
    for (uint32_t i = 0; i < n_frames; i++)
        REQUIRE(references[i] == 0);
    quire_image_free(memory.image);
    return fits;
}

int main(void)
{
    char path[] = "/tmp/quire-image-XXXXXX", kdump[] = "/tmp/quire-image-XXXXXX";
    uint32_t n_frames = 1;

    make_file(path);
    /* the image, its first range, open, fstat, mmap, the list of pieces, the list of files, two
     * more lists of ranges */
    REQUIRE(fail_each_of_an_image(path) == 9);
    unlink(path);
    make_kdump(kdump);
    /* and: the reader, the cache's tables and pages, both bitmaps, ranks, the part, notes */
    REQUIRE(fail_each_of_an_image(kdump) == 17);
    unlink(kdump);
    /* open, fstat, mmap, the lists of pieces and of files, its bitmap, the list of parts */
    REQUIRE(fail_each_of_a_part() == 7);
    while (!run_with(n_frames))
        REQUIRE(++n_frames <= MAX_FRAMES);
    /* 3 roots; 3 tables below each; 4 pages, the copy that the child writes to, and the one that is
     * made of a page that the child has before it is shared */
    REQUIRE(n_frames == 3 + 9 + 6);
    return 0;
}
