/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pagemap: the ioctl of /proc/PID/pagemap, newer than Debian 12's headers.
 *
 * Source: Linux's Documentation/admin-guide/mm/pagemap.rst. Constants and layout are the kernel's
 * ABI.
 */
#ifndef QUIRE_BASE_PAGEMAP_H
#define QUIRE_BASE_PAGEMAP_H

#include <linux/fs.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#ifndef PAGEMAP_SCAN /* Linux 6.7 */
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_PFNZERO (1 << 5)
struct page_region {
    __u64 start;
    __u64 end;
    __u64 categories;
};
struct pm_scan_arg {
    __u64 size;
    __u64 flags;
    __u64 start;
    __u64 end;
    __u64 walk_end; /* out: where it stopped */
    __u64 vec;      /* of struct page_region */
    __u64 vec_len;
    __u64 max_pages;           /* stop after so many that match; 0: no bound */
    __u64 category_inverted;   /* these are wanted to be unset */
    __u64 category_mask;       /* all of these */
    __u64 category_anyof_mask; /* one of these; 0: no matter */
    __u64 return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

#endif
