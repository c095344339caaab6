/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that read and walk one compressed image, of more pages than its cache keeps: each gets
 * the bytes of the page that it asked for, whoever is about to replace it. */
#include "kdump_file.h"
#include "require.h"

#include <pthread.h>
#include <quire/mmu.h>
#include <stdio.h>

#define N_THREADS 4u
#define N_PAGES 40000u /* 156 MiB; 64 MiB are kept */
#define N_READS 60000u

static struct quire_image *image;

static void *work(void *which)
{
    uint64_t state = 0x9e3779b97f4a7c15u * ((uintptr_t)which + 1);
    unsigned char bytes[2 * KDUMP_PAGE];
    struct quire_mmu_answer answer;
    struct quire_mmu mmu;

    for (unsigned i = 0; i < N_READS; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        const uint64_t number = state % (i % 2 == 0 ? N_PAGES - 1 : 300); /* some more often */
        const uint64_t skip = state >> 40 & (KDUMP_PAGE - 1);
        REQUIRE(quire_image_read(image, number * KDUMP_PAGE + skip, bytes, KDUMP_PAGE, NULL) == 0);
        REQUIRE(bytes[0] == kdump_byte(number) &&
                bytes[KDUMP_PAGE - skip - 1] == kdump_byte(number));
        REQUIRE(skip == 0 || (bytes[KDUMP_PAGE - skip] == kdump_byte(number + 1) &&
                              bytes[KDUMP_PAGE - 1] == kdump_byte(number + 1)));
        if (i % 16 != 0)
            continue;
        REQUIRE(quire_mmu_init_mode(&mmu, image, QUIRE_MMU_X86_48, number * KDUMP_PAGE, 0) == 0);
        quire_mmu_translate(&mmu, 8 * (state & 511), &answer, NULL);
        REQUIRE(answer.entry_address != number * KDUMP_PAGE ||
                answer.entry == 0x0101010101010101u * kdump_byte(number));
    }
    return NULL;
}

int main(void)
{
    char path[] = "/tmp/quire-image-XXXXXX", message[QUIRE_IMAGE_MESSAGE_BYTES];
    pthread_t threads[N_THREADS];
    int fd = mkstemp(path);

    REQUIRE(fd >= 0 && kdump_write(fd, N_PAGES, 1));
    REQUIRE(quire_image_new(&image) == 0);
    int error = quire_image_add_file(image, path, 0, QUIRE_IMAGE_AUTO, message);
    close(fd);
    unlink(path);
    REQUIRE(error == 0 && message[0] == '\0');
    for (uintptr_t i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    for (unsigned i = 0; i < N_THREADS; i++)
        REQUIRE(pthread_join(threads[i], NULL) == 0);
    quire_image_free(image);
    return 0;
}
