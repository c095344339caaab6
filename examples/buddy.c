/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages of a device behind a buddy system: memory that the CPU can't even touch, with a watermark
 * that asks for room before it is too late, and a cache that makes single pages cheap.
 *
 *    cc buddy.c $(pkg-config --cflags --libs quire) && ./a.out
 */
#include <quire/buddy.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define DEVICE_PAGES 16384u /* 64 MiB */
#define FIRMWARE 100u       /* page of the device's firmware, */
#define FIRMWARE_PAGES 50u  /* which must not be handed out */
#define N_TEXTURES 300u

static bool is_short;

static void watch(void *context, unsigned zone, bool is_low)
{
    is_short = is_low;
    printf("the device's memory is %s\n", is_low ? "short" : "plentiful again");
}

static struct quire_buddy *open_device(void)
{
    struct quire_buddy_zone zone = {0, DEVICE_PAGES, "Device"};
    struct quire_buddy_config config = {.max_order = 10, /* 4 MiB */
                                        .n_zones = 1,
                                        .zones = &zone,
                                        .watermarks = QUIRE_BUDDY_LINUX_WATERMARKS};
    size_t n_bytes = quire_buddy_metadata_bytes(&config);
    void *metadata = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct quire_buddy *buddy;
    if (metadata == MAP_FAILED || quire_buddy_init(&config, metadata, n_bytes, &buddy) != 0 ||
        quire_buddy_reserve(buddy, FIRMWARE, FIRMWARE_PAGES) != 0)
        return NULL;
    quire_buddy_watch(buddy, watch, NULL);
    return buddy;
}

/* Textures of 256 KiB until the device is short; returns how many. */
static unsigned upload_textures(struct quire_buddy *buddy, quire_page *textures)
{
    unsigned n = 0;
    while (n < N_TEXTURES && !is_short && quire_buddy_alloc(buddy, NULL, 6, &textures[n]) == 0)
        n++;
    return n;
}

/* Single pages, as for page tables: through a cache most of these take no lock. */
static int use_single_pages(struct quire_buddy *buddy)
{
    void *memory = aligned_alloc(QUIRE_BUDDY_ALIGNMENT, quire_buddy_cache_bytes());
    struct quire_buddy_cache *cache;
    if (memory == NULL || quire_buddy_cache_init(buddy, NULL, 0, memory, &cache) != 0)
        return -ENOMEM;
    for (unsigned i = 0; i < 100000; i++) {
        quire_page page;
        int result = quire_buddy_cache_alloc(cache, 0, &page);
        if (result == 0)
            result = quire_buddy_cache_free(cache, page, 0);
        if (result != 0)
            return result;
    }
    printf("%zu pages were in the cache\n", quire_buddy_cache_drain(cache));
    free(memory);
    return 0;
}

int main(void)
{
    static quire_page textures[N_TEXTURES];
    char text[4096];
    struct quire_buddy *buddy = open_device();
    if (buddy == NULL)
        return 1;
    unsigned n = upload_textures(buddy, textures);
    printf("%u textures are on the device\n", n);
    for (unsigned i = 0; i < n; i += 2) /* every other one goes */
        if (quire_buddy_free(buddy, textures[i], 6) != 0)
            return 1;
    if (use_single_pages(buddy) != 0)
        return 1;
    if (quire_buddy_free(buddy, textures[0], 6) != -EINVAL) /* it is free already: found out */
        return 1;
    quire_buddy_print(buddy, text, sizeof text);
    printf("%s2 MiB blocks: %d of 1000 free pages are of no use for them\n", text,
           quire_buddy_unusable_index(buddy, 0, 9));
    return quire_buddy_validate(buddy) == 0 ? 0 : 1;
}
