/* SPDX-License-Identifier: Apache-2.0 */
/* space_areas: which parts of an address space are mapped, apart from what the tables say. */
#ifndef QUIRE_MMU_SPACE_AREAS_H
#define QUIRE_MMU_SPACE_AREAS_H

#include <quire/space.h>

/* The number of the first area that ends above va. */
uint32_t space_first_above(const struct quire_space *space, uint64_t va);

/* The area that va lies in, or NULL. */
struct quire_space_area *space_find_area(const struct quire_space *space, uint64_t va);

/* Whether it is made of pages, not empty, and does not wrap. */
bool space_is_range(const struct quire_space *space, uint64_t va, uint64_t n_bytes);

/* There is room, and it belongs there. */
void space_insert_area(struct quire_space *space, uint32_t at, const struct quire_space_area *area);
void space_remove_area(struct quire_space *space, uint32_t at);

/* Cuts the area that va lies in before va, unless it begins there; there is room. */
void space_split(struct quire_space *space, uint64_t va);

/* Whether there is room to cut both ends of a range. */
bool space_has_room(const struct quire_space *space, uint64_t va, uint64_t n_bytes);

/* Whether every byte of it lies in an area. */
bool space_is_covered(const struct quire_space *space, uint64_t va, uint64_t n_bytes);

#endif
