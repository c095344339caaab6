/* SPDX-License-Identifier: Apache-2.0 */
/* classes: the sizes in which small objects come. */
#ifndef QUIRE_HEAP_CLASSES_H
#define QUIRE_HEAP_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#define CLASS_COUNT 72u         /* classes are numbered from 1; 0 is no class */
#define CLASS_MAX_BYTES 32768u  /* the largest small object */
#define CLASS_UNIT_SHIFT 4      /* every size is a multiple of 16 bytes, the alignment of malloc */
#define CLASS_MAX_OBJECTS 4096u /* in one span */

enum class_span { CLASS_SPAN_FIRST, CLASS_SPAN_LATER, CLASS_N_SPANS };

struct class_shape {
    uint64_t reciprocal; /* ceil(2^40 / size): divides an offset in a span by the size */
    uint32_t size;       /* bytes */
    uint16_t n_pages[CLASS_N_SPANS];   /* of a span */
    uint16_t n_objects[CLASS_N_SPANS]; /* in such a span */
    uint16_t max_cached;               /* objects in one thread's cache */
};

extern struct class_shape class_shapes[CLASS_COUNT + 1];
extern uint8_t class_by_units[(CLASS_MAX_BYTES >> CLASS_UNIT_SHIFT) + 1];

void class_init(void);

static inline unsigned class_of(size_t n_bytes) /* n_bytes <= CLASS_MAX_BYTES */
{
    return class_by_units[(n_bytes + 15) >> CLASS_UNIT_SHIFT];
}

static inline size_t class_size(unsigned sclass)
{
    return class_shapes[sclass].size;
}

/* offset / size, for offsets inside a span. */
static inline size_t class_index(unsigned sclass, size_t offset)
{
    return (size_t)((offset * class_shapes[sclass].reciprocal) >> 40);
}

#endif
