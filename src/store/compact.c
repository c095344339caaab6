/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compact: what a change of sizes leaves of the pool's blocks is gathered, block by block.
 *
 *   class 1872  |XXXXXXXX| |X  X    | |XX XXX X|      the emptiest block's objects move into
 *                              \________^              others' free slots, and its memory is any
 *                                                     class's
 *
 * All of it happens under the owner's lock, and is little: a block's worth of bytes at most. Who
 * reads an object without the lock has marked its page, so its owner says no to the move; and what
 * is listed for the file stays where its batch knows it (B2). A block that can't be emptied for
 * such reasons is emptied another time.
 */
#include "store/inside.h"

#include <string.h>

static void move(struct store *store, uint64_t from, store_relocate_fn *relocate, void *context)
{
    size_t capacity;
    uint64_t to;
    const struct object_header *object = pool_object(&store->pool, from, &capacity);
    const size_t n_bytes = OBJECT_HEADER_BYTES + object->n_bytes;
    if (object->state != OBJECT_KEPT || pool_take_other(&store->pool, from, n_bytes, &to) != 0)
        return;
    memcpy(pool_object(&store->pool, to, &capacity), object, n_bytes);
    const bool moved = relocate(context, object->page, ref_of_slot(from), ref_of_slot(to));
    pool_give(&store->pool, moved ? from : to);
}

bool store_compact(struct store *store, store_relocate_fn *relocate, void *context)
{
    struct pool *pool = &store->pool;
    const uint32_t index = pool_emptiest(pool);
    if (index == POOL_NONE)
        return false;
    const struct pool_block *block = &pool->blocks[index];
    for (int at = pool_next_used(block, 0); at >= 0;
         at = (unsigned)at + 1 < POOL_SLOTS ? pool_next_used(block, (unsigned)at + 1) : -1)
        move(store, (uint64_t)index << REF_SLOT_BITS | (unsigned)at, relocate, context);
    return block->n_used == 0;
}
