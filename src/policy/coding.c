/* SPDX-License-Identifier: Apache-2.0 */
/* coding: see coding.h. */
#include "policy/coding.h"

#include "base/sys.h"

#define FRACTION 16u
#define MOST_GAIN (1u << 20)

bool coding_samples(struct coding *coding)
{
    const uint32_t n = coding->n_pages++;
    return n % (n < CODING_INTERVAL ? CODING_INTERVAL / CODING_FIRST : CODING_INTERVAL) == 0;
}

static uint32_t average(uint32_t old, uint32_t bytes, uint32_t weight)
{
    const int32_t change = (int32_t)(bytes * FRACTION) - (int32_t)old;
    return (uint32_t)((int32_t)old + change / (int32_t)weight);
}

/* In 1/1024. A codec that leaves nothing of a page's size is as good as any. */
static uint32_t gain(const struct coding *coding)
{
    const uint32_t whole = (uint32_t)SYS_PAGE_SIZE * FRACTION;
    const uint32_t quick = whole - coding->quick_bytes, dense = whole - coding->dense_bytes;
    if (coding->dense_bytes >= coding->quick_bytes)
        return 1024;
    return quick == 0 ? MOST_GAIN : (uint32_t)((uint64_t)dense * 1024 / quick);
}

void coding_note(struct coding *coding, uint32_t quick_bytes, uint32_t dense_bytes, bool is_short)
{
    if (coding->n_samples < CODING_WEIGHT)
        coding->n_samples++;
    coding->quick_bytes = average(coding->quick_bytes, quick_bytes, coding->n_samples);
    coding->dense_bytes = average(coding->dense_bytes, dense_bytes, coding->n_samples);
    if (coding->n_samples < CODING_FIRST)
        return;
    const uint32_t needed = is_short ? CODING_SHORT_GAIN : CODING_GAIN;
    coding->dense = gain(coding) + (coding->dense ? CODING_SLACK : 0) > needed;
}
