/* SPDX-License-Identifier: Apache-2.0 */
/* protection: see protection.h. */
#include "policy/protection.h"

static uint32_t clamp(uint32_t n)
{
    if (n < PROTECTION_LEAST_OFF)
        return PROTECTION_LEAST_OFF;
    return n < PROTECTION_MOST_OFF ? n : PROTECTION_MOST_OFF;
}

static void end_window(struct protection *protection)
{
    uint32_t next = clamp(protection->next_off);
    if (protection->n_written * PROTECTION_SHARE > protection->n_protected) {
        protection->n_off = next;
        protection->next_off = clamp(next * 2);
    } else {
        protection->next_off = clamp(next / 2);
    }
    protection->n_protected = protection->n_written = 0;
}

bool protection_wanted(struct protection *protection, uint32_t n_pages)
{
    if (protection->n_off > 0) {
        protection->n_off -= n_pages < protection->n_off ? n_pages : protection->n_off;
        return false;
    }
    protection->n_protected += n_pages;
    if (protection->n_protected >= PROTECTION_WINDOW)
        end_window(protection);
    return protection->n_off == 0;
}

void protection_failed(struct protection *protection)
{
    protection->n_written++;
}
