/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the size classes waste: computed, and held against what <quire/heap.h> says.
 *
 *    heap_classes          checks
 *    heap_classes print    prints the figures
 */
#include "base/checked.h"
#include "base/sys.h"
#include "heap/classes.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define STEP_BYTES 128u /* up to here a class every 16 bytes */
#define MEAN 4.1        /* percent, between 129 bytes and 32 KiB */

struct waste {
    double worst_percent, mean_percent; /* of the object */
    size_t worst_bytes, worst_request;
};

static struct waste waste_of(size_t from, size_t to)
{
    struct waste waste = {.worst_percent = 0};
    double sum = 0;

    for (size_t n = from; n <= to; n++) {
        size_t size = class_size(class_of(n)), lost = size - n;
        double percent = 100.0 * (double)lost / (double)size;
        sum += percent;
        if (lost > waste.worst_bytes)
            waste.worst_bytes = lost;
        if (percent > waste.worst_percent) {
            waste.worst_percent = percent;
            waste.worst_request = n;
        }
    }
    waste.mean_percent = sum / (double)(to - from + 1);
    return waste;
}

/* Of a large object: whole pages. */
static double worst_large_percent(void)
{
    double worst = 0;
    for (size_t n = CLASS_MAX_BYTES + 1; n < CLASS_MAX_BYTES * 8; n++) {
        size_t size = round_up(n, SYS_PAGE_SIZE);
        double percent = 100.0 * (double)(size - n) / (double)size;
        worst = percent > worst ? percent : worst;
    }
    return worst;
}

static double worst_tail_percent(enum class_span kind)
{
    double worst = 0;
    for (unsigned sclass = 1; sclass <= CLASS_COUNT; sclass++) {
        const struct class_shape *shape = &class_shapes[sclass];
        double n_bytes = (double)(shape->n_pages[kind] * SYS_PAGE_SIZE);
        double percent = 100.0 * (n_bytes - (double)(shape->n_objects[kind] * shape->size)) /
                         n_bytes;
        worst = percent > worst ? percent : worst;
    }
    return worst;
}

static int failed;

static void require(bool condition, const char *what)
{
    if (!condition)
        printf("heap_classes: not so: %s\n", what);
    failed |= !condition;
}

int main(int argc, char **argv)
{
    class_init();
    struct waste steps = waste_of(1, STEP_BYTES);
    struct waste rest = waste_of(STEP_BYTES + 1, CLASS_MAX_BYTES);
    double large = worst_large_percent(), first = worst_tail_percent(CLASS_SPAN_FIRST),
           tail = worst_tail_percent(CLASS_SPAN_LATER);

    if (argc > 1 && strcmp(argv[1], "print") == 0) {
        printf("1 to %u bytes: at most %zu bytes, %.1f %% in the mean\n", STEP_BYTES,
               steps.worst_bytes, steps.mean_percent);
        printf("to %u bytes: at most %.2f %% (a request of %zu), %.2f %% in the mean\n",
               CLASS_MAX_BYTES, rest.worst_percent, rest.worst_request, rest.mean_percent);
        printf(
            "large: at most %.2f %%; a span's tail: at most %.2f %%, of the first four %.2f %%\n",
            large, tail, first);
    }
    require(CLASS_COUNT == 72 && CLASS_MAX_BYTES == 32768, "72 classes up to 32 KiB");
    require(steps.worst_bytes < 16, "less than 16 bytes up to 128 bytes");
    require(rest.worst_percent <= 11.2 && rest.worst_percent > 11.0, "at most 11.1 % beyond");
    require(rest.mean_percent < MEAN + 0.05 && rest.mean_percent > MEAN - 0.05, "the mean");
    require(large <= 11.2, "at most 11.1 % of a large object");
    require(tail <= 100.0 / 32, "at most 1/32 of a span");
    require(first <= 100.0 / 16, "at most 1/16 of one of the first");
    return failed;
}
