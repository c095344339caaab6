/* SPDX-License-Identifier: Apache-2.0 */
/* shown: the buddy system of this process that others may look at from outside. */
#ifndef QUIRE_PAGES_SHOWN_H
#define QUIRE_PAGES_SHOWN_H

struct quire_buddy;

/* Names it in `quire_zones_layout`; NULL: none. */
void buddy_show(const struct quire_buddy *buddy);

#endif
