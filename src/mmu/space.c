/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space: areas say what may be, page tables say what is; see quire/space.h.
 *
 *     not in an area          refused
 *     area, not mapped        a frame of zeros is mapped            (demand zero)
 *     mapped without W, and   private: the frame's last user takes W, others copy   (copy on write)
 *     the area has it
 *
 * Invariants:
 *   S1  areas rise by address and do not overlap
 *   S2  what the tables map lies in an area, and has its rights, or these without writing
 *   S3  references[f] is the number of pages, of all spaces, that map frame f; a table has 0
 *   S4  a frame that several private pages map is not writable in any
 *   S5  the TLB never holds more rights than the tables: what takes away flushes
 */
#include "base/log.h"
#include "mmu/format.h"
#include "mmu/space_areas.h"

#include <quire/space.h>

#include <errno.h>
#include <string.h>

#define WRITES ((uint32_t)(QUIRE_MMU_SW | QUIRE_MMU_UW))

/* Frames */

static unsigned order_of(uint64_t n_bytes)
{
    unsigned order = 0;
    while ((uint64_t)QUIRE_SPACE_FRAME_BYTES << order < n_bytes)
        order++;
    return order;
}

static uint64_t take(void *context, uint64_t n_bytes)
{
    struct quire_space_memory *memory = context;
    const struct quire_image_range *hint = NULL;
    quire_page page;

    if (quire_buddy_alloc(memory->buddy, NULL, order_of(n_bytes), &page) != 0)
        return 0;
    uint64_t address = memory->start + (uint64_t)page * QUIRE_SPACE_FRAME_BYTES;
    if (image_at(memory->image, address, n_bytes, &hint) == NULL) {
        (void)!quire_buddy_free(memory->buddy, page, order_of(n_bytes));
        return 0;
    }
    memset(hint->bytes + (address - hint->start), 0, n_bytes);
    return address;
}

static quire_page frame_of(const struct quire_space_memory *memory, uint64_t address)
{
    return (quire_page)((address - memory->start) / QUIRE_SPACE_FRAME_BYTES);
}

static void give(void *context, uint64_t address, uint64_t n_bytes)
{
    struct quire_space_memory *memory = context;
    (void)!quire_buddy_free(memory->buddy, frame_of(memory, address), order_of(n_bytes));
}

uint64_t quire_space_take_table(struct quire_space_memory *memory, uint64_t n_bytes)
{
    return take(memory, n_bytes);
}

void quire_space_give_table(struct quire_space_memory *memory, uint64_t address, uint64_t n_bytes)
{
    give(memory, address, n_bytes);
}

static void drop_frame(struct quire_space *space, uint64_t address)
{
    uint32_t *references = &space->memory->references[frame_of(space->memory, address)];

    if (--*references == 0) /* S3 */
        give(space->memory, address, space->page_bytes);
}

static struct quire_mmu_frames frames_of(struct quire_space *space)
{
    return (struct quire_mmu_frames){take, give, space->memory};
}

static unsigned page_shift(const struct quire_space *space)
{
    return (unsigned)__builtin_ctz(space->page_bytes);
}

static void flush(struct quire_space *space, uint64_t va)
{
    space->counts.n_flushes++;
    if (space->tlb != NULL)
        quire_tlb_flush_page(space->tlb, space->asid, va);
}

/* Areas */

int quire_space_init(struct quire_space *space, struct quire_space_memory *memory,
                     const struct quire_mmu *mmu, struct quire_tlb *tlb, uint32_t asid,
                     struct quire_space_area *areas, uint32_t max_areas)
{
    uint64_t sizes = quire_mmu_page_sizes(mmu);

    if (sizes == 0 || (memory->start & 0xffff) != 0)
        return -EINVAL;
    *space = (struct quire_space){.memory = memory,
                                  .mmu = *mmu,
                                  .tlb = tlb,
                                  .asid = asid,
                                  .page_bytes = (uint32_t)(sizes & -sizes),
                                  .areas = areas,
                                  .max_areas = max_areas};
    return 0;
}

int quire_space_map(struct quire_space *space, uint64_t va, uint64_t n_bytes, uint32_t rights,
                    bool is_shared)
{
    struct quire_mmu_answer first, last;

    if (!space_is_range(space, va, n_bytes))
        return -EINVAL;
    quire_mmu_translate(&space->mmu, va, &first, NULL);
    quire_mmu_translate(&space->mmu, va + (n_bytes - 1), &last, NULL);
    if (first.reason == QUIRE_MMU_NOT_CANONICAL || last.reason == QUIRE_MMU_NOT_CANONICAL)
        return -EINVAL;
    uint32_t at = space_first_above(space, va);
    if (at < space->n_areas && space->areas[at].va <= va + (n_bytes - 1))
        return -EEXIST;
    if (space->n_areas == space->max_areas)
        return -ENOSPC;
    struct quire_space_area area = {va, n_bytes, rights, is_shared};
    space_insert_area(space, at, &area);
    return 0;
}

/* The pages of a range that are mapped. They are looked for again and again: each() must not see
 * its tables change. */
struct found {
    uint64_t va[64], address[64];
    unsigned n;
    unsigned max;
};

static bool note(void *context, const struct quire_mmu_mapping *mapping)
{
    struct found *found = context;

    if (mapping->reason == QUIRE_MMU_OK) {
        found->va[found->n] = mapping->va;
        found->address[found->n++] = mapping->address;
    }
    return found->n < found->max;
}

static void unmap_pages(struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    const struct quire_mmu_limits limits = {.range = {va, va + (n_bytes - 1)}};
    struct quire_mmu_frames frames = frames_of(space);
    struct found found = {.max = 64};

    do {
        found.n = 0;
        (void)!quire_mmu_each(&space->mmu, &limits, note, &found);
        for (unsigned i = 0; i < found.n; i++) {
            (void)!quire_mmu_unmap(&space->mmu, space->memory->image, &frames, found.va[i]);
            flush(space, found.va[i]);
            drop_frame(space, found.address[i]);
        }
    } while (found.n > 0);
}

int quire_space_unmap(struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    if (!space_is_range(space, va, n_bytes))
        return -EINVAL;
    if (!space_has_room(space, va, n_bytes))
        return -ENOSPC;
    space_split(space, va);
    if (va + n_bytes != 0)
        space_split(space, va + n_bytes);
    unmap_pages(space, va, n_bytes);
    uint32_t at = space_first_above(space, va);
    while (at < space->n_areas && space->areas[at].va <= va + (n_bytes - 1))
        space_remove_area(space, at);
    return 0;
}

void quire_space_deinit(struct quire_space *space)
{
    while (space->n_areas > 0) {
        unmap_pages(space, space->areas[0].va, space->areas[0].n_bytes);
        space_remove_area(space, 0);
    }
}

/* What a page has: the area's rights, and writing only if the frame is its own or shared (S4). */
static uint32_t page_rights(const struct quire_space *space, const struct quire_space_area *area,
                            uint64_t address)
{
    bool is_own = area->is_shared ||
                  space->memory->references[frame_of(space->memory, address)] == 1;
    return is_own ? area->rights : area->rights & ~WRITES;
}

/* Changes a page's rights and keeps its flags. */
static int set_rights(struct quire_space *space, uint64_t va, uint32_t rights)
{
    struct quire_mmu_answer answer;

    quire_mmu_translate(&space->mmu, va, &answer, NULL);
    uint32_t flags = answer.rights & (QUIRE_MMU_ACCESSED | QUIRE_MMU_DIRTY);
    int error = quire_mmu_protect(&space->mmu, space->memory->image, va, rights | flags);
    flush(space, va); /* S5 */
    return error;
}

/* Gives each page of a range its rights anew. */
static void renew_rights(struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    struct quire_mmu_limits limits = {.range = {va, va + (n_bytes - 1)}};
    struct found found = {.max = 1};

    for (;;) { /* one page at a time, each above the last */
        found.n = 0;
        (void)!quire_mmu_each(&space->mmu, &limits, note, &found);
        if (found.n == 0)
            return;
        const struct quire_space_area *area = space_find_area(space, found.va[0]);
        if (area != NULL)
            (void)!set_rights(space, found.va[0], page_rights(space, area, found.address[0]));
        uint64_t next = found.va[0] + space->page_bytes;
        if (next - 1 >= limits.range.last)
            return;
        limits.range.first = next;
    }
}

/* For formats whose tables are in no order, page by page. */
static void renew_each(struct quire_space *space, uint64_t va, uint64_t n_bytes)
{
    bool is_tree = space->mmu.mode != QUIRE_MMU_PPC32 && space->mmu.mode != QUIRE_MMU_INVERTED;

    if (is_tree) {
        renew_rights(space, va, n_bytes);
        return;
    }
    for (uint64_t at = 0; at < n_bytes; at += space->page_bytes)
        renew_rights(space, va + at, space->page_bytes);
}

int quire_space_protect(struct quire_space *space, uint64_t va, uint64_t n_bytes, uint32_t rights)
{
    if (!space_is_range(space, va, n_bytes))
        return -EINVAL;
    if (!space_is_covered(space, va, n_bytes))
        return -ENOENT;
    if (!space_has_room(space, va, n_bytes))
        return -ENOSPC;
    space_split(space, va);
    if (va + n_bytes != 0)
        space_split(space, va + n_bytes);
    for (uint32_t at = space_first_above(space, va);
         at < space->n_areas && space->areas[at].va <= va + (n_bytes - 1); at++)
        space->areas[at].rights = rights;
    renew_each(space, va, n_bytes);
    return 0;
}

/* Faults */

static int map_frame(struct quire_space *space, const struct quire_space_area *area, uint64_t va,
                     uint64_t address)
{
    struct quire_mmu_frames frames = frames_of(space);
    uint32_t *references = &space->memory->references[frame_of(space->memory, address)];

    ++*references;
    int error = quire_mmu_map(&space->mmu, space->memory->image, &frames, va, address,
                              page_shift(space), page_rights(space, area, address));
    if (error != 0)
        --*references;
    return error;
}

static int fill_zero(struct quire_space *space, const struct quire_space_area *area, uint64_t va)
{
    uint64_t address = take(space->memory, space->page_bytes);

    if (address == 0)
        return -ENOMEM;
    int error = map_frame(space, area, va, address);
    if (error != 0)
        give(space->memory, address, space->page_bytes);
    else
        space->counts.n_zero_fills++;
    return error;
}

static void copy_frame(struct quire_space_memory *memory, uint64_t to, uint64_t from, uint64_t n)
{
    const struct quire_image_range *source = NULL, *target = NULL;

    if (image_at(memory->image, from, n, &source) != NULL &&
        image_at(memory->image, to, n, &target) != NULL)
        memcpy(target->bytes + (to - target->start), source->bytes + (from - source->start), n);
}

/* A write to a page that has lost W for being shared. */
static int copy_on_write(struct quire_space *space, const struct quire_space_area *area,
                         uint64_t va, uint64_t old)
{
    struct quire_mmu_frames frames = frames_of(space);

    if (space->memory->references[frame_of(space->memory, old)] == 1) {
        space->counts.n_reuses++;
        return set_rights(space, va, area->rights);
    }
    uint64_t address = take(space->memory, space->page_bytes);
    if (address == 0)
        return -ENOMEM;
    copy_frame(space->memory, address, old, space->page_bytes);
    int error = quire_mmu_unmap(&space->mmu, space->memory->image, &frames, va);
    if (error == 0) { /* its tables were there a moment ago, so they can be again */
        error = map_frame(space, area, va, address);
        flush(space, va);
        drop_frame(space, old);
    }
    if (error != 0)
        give(space->memory, address, space->page_bytes);
    else
        space->counts.n_copies++;
    return error;
}

/* Resolves a page fault. 0: try again; -EFAULT: it is refused. */
static int fault(struct quire_space *space, uint64_t va, enum quire_mmu_access access, bool is_user)
{
    const struct quire_space_area *area = space_find_area(space, va);
    uint64_t page = va & ~(uint64_t)(space->page_bytes - 1);
    struct quire_mmu_answer answer;

    if (area == NULL || (area->rights >> (is_user ? 3 : 0) >> access & 1) == 0)
        return -EFAULT;
    quire_mmu_translate(&space->mmu, page, &answer, NULL); /* the tables, not the TLB */
    if (answer.reason == QUIRE_MMU_NOT_PRESENT || answer.reason == QUIRE_MMU_NO_MATCH)
        return fill_zero(space, area, page);
    if (answer.reason != QUIRE_MMU_OK)
        return -EFAULT;
    if (quire_mmu_check(&space->mmu, &answer, access, is_user) == QUIRE_MMU_NOT_ACCESSED ||
        quire_mmu_check(&space->mmu, &answer, access, is_user) == QUIRE_MMU_NOT_DIRTY)
        return set_rights(space, page, /* the hardware leaves them to software */
                          page_rights(space, area, answer.address) | QUIRE_MMU_ACCESSED |
                              (access == QUIRE_MMU_WRITE ? (uint32_t)QUIRE_MMU_DIRTY : 0));
    bool may_write = (answer.rights & WRITES & area->rights) != 0;
    if (access != QUIRE_MMU_WRITE || may_write || area->is_shared)
        return -EFAULT;
    return copy_on_write(space, area, page, answer.address);
}

int quire_space_access(struct quire_space *space, uint64_t va, enum quire_mmu_access access,
                       bool is_user, uint64_t *address)
{
    struct quire_mmu_answer answer;
    int error = 0;

    space->counts.n_accesses++;
    for (unsigned n = 0; n < 4; n++) { /* a fill, a copy, a flag, and then it goes */
        if (space->tlb != NULL)
            quire_tlb_translate(space->tlb, &space->mmu, space->asid, va, &answer);
        else
            quire_mmu_translate(&space->mmu, va, &answer, NULL);
        if (quire_mmu_check(&space->mmu, &answer, access, is_user) == QUIRE_MMU_OK) {
            int n_changed = quire_mmu_touch(&space->mmu, space->memory->image, va, access);
            if (n_changed > 0 && space->tlb != NULL) /* that the TLB knows of them, too */
                quire_tlb_flush_page(space->tlb, space->asid, va);
            *address = answer.address;
            return n_changed < 0 ? n_changed : 0;
        }
        error = fault(space, va, access, is_user);
        if (error != 0)
            break;
    }
    space->counts.n_refused++;
    return error != 0 ? error : -EFAULT;
}

static int transfer(struct quire_space *space, uint64_t va, void *out, const void *in, size_t n)
{
    for (size_t done = 0; done < n;) {
        uint64_t address, at = va + done, page = space->page_bytes;
        size_t piece = (size_t)(page - (at & (page - 1)));
        piece = piece < n - done ? piece : n - done;
        int error = quire_space_access(space, at, in != NULL ? QUIRE_MMU_WRITE : QUIRE_MMU_READ,
                                       true, &address);
        if (error == 0 && in != NULL)
            error = quire_image_write(space->memory->image, address, (const char *)in + done,
                                      piece);
        else if (error == 0)
            error = quire_image_read(space->memory->image, address, (char *)out + done, piece,
                                     NULL);
        if (error != 0)
            return error;
        done += piece;
    }
    return 0;
}

int quire_space_read(struct quire_space *space, uint64_t va, void *bytes, size_t n_bytes)
{
    return transfer(space, va, bytes, NULL, n_bytes);
}

int quire_space_write(struct quire_space *space, uint64_t va, const void *bytes, size_t n_bytes)
{
    return transfer(space, va, NULL, bytes, n_bytes);
}

/* Sharing */

int quire_space_share(struct quire_space *from, struct quire_space *to, uint64_t va,
                      uint64_t n_bytes)
{
    struct quire_space_area *area = space_find_area(from, va);

    if (!space_is_range(from, va, n_bytes) || from->memory != to->memory ||
        from->page_bytes != to->page_bytes)
        return -EINVAL;
    if (area == NULL || area->va + area->n_bytes - va < n_bytes)
        return -ENOENT;
    if (!space_has_room(from, va, n_bytes))
        return -ENOSPC;
    int error = quire_space_map(to, va, n_bytes, area->rights, true);
    if (error != 0)
        return error;
    space_split(from, va);
    if (va + n_bytes != 0)
        space_split(from, va + n_bytes);
    area = space_find_area(from, va);
    for (uint64_t at = va; at - va < n_bytes && error == 0; at += from->page_bytes) {
        struct quire_mmu_answer answer;
        quire_mmu_translate(&from->mmu, at, &answer, NULL);
        bool is_cow = answer.reason == QUIRE_MMU_OK && !area->is_shared &&
                      from->memory->references[frame_of(from->memory, answer.address)] > 1;
        if (answer.reason != QUIRE_MMU_OK)
            error = fill_zero(from, area, at);
        else if (is_cow) /* a copy of its own first, which is what both then have */
            error = copy_on_write(from, area, at, answer.address);
        quire_mmu_translate(&from->mmu, at, &answer, NULL);
        if (error == 0)
            error = map_frame(to, space_find_area(to, at), at, answer.address);
    }
    if (error == 0) {
        area->is_shared = true;
        renew_each(from, va, n_bytes);
    } else {
        (void)!quire_space_unmap(to, va, n_bytes);
        renew_each(from, va, n_bytes);
    }
    return error;
}

/* One area's pages into the clone. */
static int clone_area(struct quire_space *from, struct quire_space *to,
                      const struct quire_space_area *area)
{
    int error = quire_space_map(to, area->va, area->n_bytes, area->rights, area->is_shared);

    for (uint64_t at = 0; at < area->n_bytes && error == 0; at += from->page_bytes) {
        struct quire_mmu_answer answer;
        quire_mmu_translate(&from->mmu, area->va + at, &answer, NULL);
        if (answer.reason == QUIRE_MMU_OK)
            error = map_frame(to, area, area->va + at, answer.address);
        else if (area->is_shared) { /* or each would fill a frame of its own */
            error = fill_zero(from, area, area->va + at);
            quire_mmu_translate(&from->mmu, area->va + at, &answer, NULL);
            if (error == 0)
                error = map_frame(to, area, area->va + at, answer.address);
        }
    }
    return error;
}

int quire_space_clone(struct quire_space *from, struct quire_space *to)
{
    int error = 0;

    if (to->n_areas != 0 || from->memory != to->memory || from->page_bytes != to->page_bytes)
        return -EINVAL;
    if (to->max_areas < from->n_areas)
        return -ENOSPC;
    for (uint32_t i = 0; i < from->n_areas && error == 0; i++)
        error = clone_area(from, to, &from->areas[i]);
    if (error != 0)
        quire_space_deinit(to);
    for (uint32_t i = 0; i < from->n_areas; i++) /* S4: the parent's lose W, too */
        renew_each(from, from->areas[i].va, from->areas[i].n_bytes);
    return error;
}

/* Validation */

struct check {
    struct quire_space *space;
    const char *wrong;
};

static bool check_mapping(void *context, const struct quire_mmu_mapping *mapping)
{
    struct check *check = context;
    const struct quire_space *space = check->space;
    const struct quire_space_area *area = space_find_area(space, mapping->va);
    uint64_t frame = (mapping->address - space->memory->start) / QUIRE_SPACE_FRAME_BYTES;

    if (mapping->reason != QUIRE_MMU_OK || area == NULL ||
        area->va + area->n_bytes - mapping->va < mapping->n_bytes)
        check->wrong = "a page lies outside of the areas (S2)";
    else if (frame >= space->memory->n_frames || space->memory->references[frame] == 0)
        check->wrong = "a page's frame is not counted (S3)";
    else if ((mapping->rights & QUIRE_MMU_UW & ~area->rights) != 0 && (area->rights & WRITES) == 0)
        check->wrong = "a page may be written to and its area not (S2)";
    else if (!area->is_shared && space->memory->references[frame] > 1 &&
             (mapping->rights & QUIRE_MMU_UW) != 0)
        check->wrong = "a frame that several have is writable (S4)";
    return check->wrong == NULL;
}

int quire_space_validate(struct quire_space *space)
{
    const struct quire_mmu_limits all = {.range = {0, UINT64_MAX}};
    struct check check = {.space = space};

    for (uint32_t i = 1; i < space->n_areas; i++)
        if (space->areas[i - 1].va + (space->areas[i - 1].n_bytes - 1) >= space->areas[i].va)
            check.wrong = "areas overlap (S1)";
    (void)!quire_mmu_each(&space->mmu, &all, check_mapping, &check);
    if (check.wrong == NULL)
        return 0;
    log_error("address space %u: %s", space->asid, check.wrong);
    return -EUCLEAN;
}
