/* SPDX-License-Identifier: Apache-2.0 */
/* fields: files of "KEY VALUE" lines into structs of figures, by a table. Private to src/observe.
 */
#ifndef QUIRE_OBSERVE_FIELDS_H
#define QUIRE_OBSERVE_FIELDS_H

#include "observe/source.h"

enum field_rule {
    FIELD_NUMBER,  /* as it is */
    FIELD_KB,      /* "N kB" into bytes */
    FIELD_KB_BARE, /* "N", which means KiB */
    FIELD_PAGES,   /* pages into bytes */
    FIELD_ZONES,   /* the sum over KEY and KEY_ZONE: KEY_dma, KEY_normal ... */
    FIELD_KB_SUM,  /* as FIELD_KB, added up over all lines */
};

struct field {
    const char *key;
    unsigned offset; /* of a uint64_t in the struct */
    enum field_rule rule;
};

/* Makes every figure of the table absent, or denied. */
void fields_clear(const struct field *fields, unsigned n, void *into, uint64_t reason);

/*
 * Takes the lines of the file that was read. The key ends at `separator`. Keys that are not in the
 * table are passed over; figures that are not in the file stay as they are. 0 or -EBADMSG.
 */
int fields_take(struct quire_observe *observe, const struct field *fields, unsigned n,
                char separator, void *into);
/* One line of it. */
int fields_take_line(struct quire_observe *observe, const struct field *fields, unsigned n,
                     char separator, void *into, unsigned *next);

#endif
