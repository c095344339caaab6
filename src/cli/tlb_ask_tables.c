/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tlb_ask_tables: what an address and the tables for it look like.
 *
 * Sources: A. Silberschatz, P. Galvin, G. Gagne, "Operating System Concepts", chapter "Main
 * memory"; A. Tanenbaum, H. Bos, "Modern Operating Systems", 3.3 and 3.5.3 (page size); D. Knuth,
 * "The Art of Computer Programming", volume 3, 6.4 (chaining).
 */
#include "cli/cli.h"
#include "cli/tlb.h"

#include <stdio.h>
#include <string.h>

#define MAX_LEVELS 64
#define PIECES_BYTES 256

/* An address: the bits of each level's index, the highest first, and of the offset. */
struct split {
    unsigned bits[MAX_LEVELS], n_levels, offset;
};

static double power(double exponent)
{
    return ldexp(1, (int)exponent);
}

static unsigned log2_of(double power_of_two)
{
    int exponent;

    frexp(power_of_two, &exponent);
    return (unsigned)exponent - 1;
}

static bool is_power(double value)
{
    int exponent;

    return value >= 1 && frexp(value, &exponent) == 0.5;
}

/* "10 | 10 | 12" */
static const char *pieces(const struct split *split, char *text)
{
    size_t n = 0;

    for (unsigned i = 0; i < split->n_levels && n < PIECES_BYTES; i++)
        n += (size_t)snprintf(text + n, PIECES_BYTES - n, "%u | ", split->bits[i]);
    if (n < PIECES_BYTES)
        snprintf(text + n, PIECES_BYTES - n, "%u", split->offset);
    return text;
}

static bool check_pte(const struct tlb_options *options, double page)
{
    double pte = options->amount[TLB_PTE];

    if (is_power(pte) && pte * 2 <= page)
        return true;
    cli_error("--pte %.10g: for tables of a page (%s) an entry's size is a power of two, and at "
              "least two fit",
              pte, tlb_bytes(page, TLB_TEXT));
    return false;
}

/* The bits of the page number, of --va-bits and --page. */
static bool page_number_bits(const struct tlb_options *options, unsigned *bits)
{
    unsigned va_bits = (unsigned)options->amount[TLB_VA_BITS], offset = log2_of(options->pages[0]);

    if (offset >= va_bits) {
        cli_error("--page: a page of %s has %u bits of offset, an address only %u in all",
                  tlb_bytes(options->pages[0], TLB_TEXT), offset, va_bits);
        return false;
    }
    *bits = va_bits - offset;
    return true;
}

/* Tables of a page each; what is left over goes to the highest level. */
static void split_by_page(unsigned number_bits, unsigned level_bits, struct split *split)
{
    split->n_levels = (number_bits + level_bits - 1) / level_bits;
    for (unsigned i = 0; i < split->n_levels; i++)
        split->bits[i] = level_bits;
    split->bits[0] = number_bits - (split->n_levels - 1) * level_bits;
}

/* So many levels: as even as can be, what is left over to the lowest ones. */
static bool split_evenly(unsigned number_bits, unsigned n_levels, struct split *split)
{
    if (n_levels > number_bits) {
        cli_error("--levels %u: there are only %u bits to divide", n_levels, number_bits);
        return false;
    }
    split->n_levels = n_levels;
    for (unsigned i = 0; i < n_levels; i++)
        split->bits[i] = number_bits / n_levels + (i >= n_levels - number_bits % n_levels);
    return true;
}

/* By --split; or by --va-bits and --page, with --levels, or with tables of a page by --pte. */
static bool find_split(const struct tlb_options *options, struct split *split)
{
    unsigned number_bits;

    if (options->n_split > 0) {
        if (options->n_split < 2) {
            cli_error("--split: give the bits of an index at least, and of the offset: 20,12");
            return false;
        }
        if (tlb_has(options, TLB_VA_BITS) || options->n_pages > 0 || tlb_has(options, TLB_LEVELS)) {
            cli_error("--split says it all: leave out --va-bits, --page and --levels");
            return false;
        }
        split->n_levels = options->n_split - 1;
        for (unsigned i = 0; i < split->n_levels; i++)
            split->bits[i] = options->split[i];
        split->offset = options->split[split->n_levels];
        return true;
    }
    if (!tlb_has(options, TLB_VA_BITS) || options->n_pages == 0) {
        cli_error(
            "--ask %s needs --split 10,10,12, or --va-bits 32 --page 4K and --levels or --pte",
            options->question);
        return false;
    }
    if (!page_number_bits(options, &number_bits))
        return false;
    split->offset = log2_of(options->pages[0]);
    if (tlb_has(options, TLB_LEVELS))
        return split_evenly(number_bits, (unsigned)fmin(options->amount[TLB_LEVELS], 1000), split);
    if (!tlb_has(options, TLB_PTE))
        return split_evenly(number_bits, 1, split);
    if (!check_pte(options, options->pages[0]))
        return false;
    split_by_page(number_bits, log2_of(options->pages[0] / options->amount[TLB_PTE]), split);
    return true;
}

bool tlb_ask_levels(const struct tlb_options *options, struct derivation *derivation)
{
    double page = options->pages[0], pte = options->amount[TLB_PTE];
    struct split split = {.offset = log2_of(page)};
    char text[PIECES_BYTES];
    unsigned number_bits;

    if (!page_number_bits(options, &number_bits) || !check_pte(options, page))
        return false;
    unsigned level_bits = log2_of(page / pte);
    split_by_page(number_bits, level_bits, &split);
    derivation_step(derivation, "offset", NULL, "log2 %s = %u bits", tlb_bytes(page, TLB_TEXT),
                    split.offset);
    derivation_step(derivation, "page number", NULL, "%.0f - %u = %u bits: %s pages",
                    options->amount[TLB_VA_BITS], split.offset, number_bits,
                    tlb_count(power(number_bits), TLB_TEXT));
    derivation_step(derivation, "a table", "a table is one page", "%s / %s = %s entries: %u bits",
                    tlb_bytes(page, TLB_TEXT), tlb_bytes(pte, TLB_TEXT),
                    tlb_count(page / pte, TLB_TEXT), level_bits);
    derivation_step(derivation, "levels", NULL, "%u / %u, rounded up = %u", number_bits, level_bits,
                    split.n_levels);
    derivation_step(derivation, "address", "indices from the highest level on, then the offset",
                    "%s", pieces(&split, text));
    derivation_step(derivation, "in one level", NULL, "%s entries x %s = %s a process",
                    tlb_count(power(number_bits), TLB_TEXT), tlb_bytes(pte, TLB_TEXT),
                    tlb_bytes(power(number_bits) * pte, TLB_TEXT));
    derivation_step(derivation, "at least", "one page mapped", "%u tables x %s = %s",
                    split.n_levels, tlb_bytes(page, TLB_TEXT),
                    tlb_bytes(split.n_levels * page, TLB_TEXT));
    derivation_answer(derivation, "levels", split.n_levels);
    derivation_answer(derivation, "offset_bits", split.offset);
    derivation_answer(derivation, "page_number_bits", number_bits);
    derivation_answer(derivation, "index_bits", level_bits);
    derivation_answer(derivation, "top_index_bits", split.bits[0]);
    derivation_answer(derivation, "entries_per_table", page / pte);
    derivation_answer(derivation, "single_level_entries", power(number_bits));
    derivation_answer(derivation, "single_level_bytes", power(number_bits) * pte);
    derivation_answer(derivation, "least_bytes", split.n_levels * page);
    return true;
}

static const char *table_count(double n, struct tlb_text *text)
{
    snprintf(text->buffer, sizeof text->buffer, "%.10g table%s", n, n == 1 ? "" : "s");
    return text->buffer;
}

bool tlb_ask_size(const struct tlb_options *options, struct derivation *derivation)
{
    double pte = options->amount[TLB_PTE], processes = tlb_or(options, TLB_PROCESSES, 1);
    struct split split = {.n_levels = 0};
    char text[PIECES_BYTES], what[32];
    double bytes = 0;
    unsigned bits = 0;

    if (!find_split(options, &split))
        return false;
    for (unsigned i = 0; i < split.n_levels; i++)
        bits += split.bits[i];
    double n = power(bits), page = power(split.offset);
    if (tlb_has(options, TLB_USED) && options->amount[TLB_USED] > n * page) {
        cli_error("--used: an address space of %u bits has %s", bits + split.offset,
                  tlb_bytes(n * page, TLB_TEXT));
        return false;
    }
    derivation_step(derivation, "address", NULL, "%s", pieces(&split, text));
    if (tlb_has(options, TLB_USED)) {
        n = ceil(options->amount[TLB_USED] / page);
        derivation_step(derivation, "pages", "side by side, from a table's begin on",
                        "%s / %s = %s", tlb_bytes(options->amount[TLB_USED], TLB_TEXT),
                        tlb_bytes(page, TLB_TEXT), tlb_count(n, TLB_TEXT));
    }
    for (unsigned i = split.n_levels; i-- > 0;) {
        double entries = power(split.bits[i]), tables = ceil(n / entries);
        snprintf(what, sizeof what, "level %u", split.n_levels - i);
        derivation_step(derivation, what, i + 1 == split.n_levels ? "maps pages" : NULL,
                        "%s / %s entries = %s x %s = %s", tlb_count(n, TLB_TEXT),
                        tlb_count(entries, TLB_TEXT), table_count(tables, TLB_TEXT),
                        tlb_bytes(entries * pte, TLB_TEXT),
                        tlb_bytes(tables * entries * pte, TLB_TEXT));
        bytes += tables * entries * pte;
        n = tables;
    }
    derivation_step(derivation, "together", NULL, "%s a process", tlb_bytes(bytes, TLB_TEXT));
    if (processes > 1)
        derivation_step(derivation, "of all", NULL, "%.0f x %s = %s", processes,
                        tlb_bytes(bytes, TLB_TEXT), tlb_bytes(processes * bytes, TLB_TEXT));
    derivation_answer(derivation, "levels", split.n_levels);
    derivation_answer(derivation, "bytes", bytes);
    derivation_answer(derivation, "all_bytes", processes * bytes);
    return true;
}

bool tlb_ask_split(const struct tlb_options *options, struct derivation *derivation)
{
    struct split split = {.n_levels = 0};
    char text[PIECES_BYTES], what[32], key[32];
    uint64_t address = options->address;
    unsigned left = 0;

    if (!find_split(options, &split))
        return false;
    for (unsigned i = 0; i < split.n_levels; i++)
        left += split.bits[i];
    unsigned n_bits = left + split.offset;
    if (n_bits < 64 && address >> n_bits != 0) {
        cli_error("--address 0x%llx has more than %u bits", (unsigned long long)address, n_bits);
        return false;
    }
    derivation_step(derivation, "address", NULL, "%s bits", pieces(&split, text));
    uint64_t number = split.offset < 64 ? address >> split.offset : 0;
    derivation_step(derivation, "page number", NULL, "0x%llx / %s = %llu (0x%llx)",
                    (unsigned long long)address, tlb_bytes(power(split.offset), TLB_TEXT),
                    (unsigned long long)number, (unsigned long long)number);
    for (unsigned i = 0; i < split.n_levels; i++) {
        left -= split.bits[i];
        uint64_t index = number >> left;
        if (split.bits[i] < 64)
            index &= ((uint64_t)1 << split.bits[i]) - 1;
        snprintf(what, sizeof what, "index %u", split.n_levels - i);
        snprintf(key, sizeof key, "index_%u", split.n_levels - i);
        derivation_step(derivation, what, i == 0 ? "of the highest level" : NULL,
                        "bits %u to %u: %llu (0x%llx)", left + split.offset,
                        left + split.offset + split.bits[i] - 1, (unsigned long long)index,
                        (unsigned long long)index);
        derivation_answer(derivation, key, (double)index);
    }
    uint64_t offset = split.offset < 64 ? address & (((uint64_t)1 << split.offset) - 1) : address;
    derivation_step(derivation, "offset", NULL, "%llu (0x%llx)", (unsigned long long)offset,
                    (unsigned long long)offset);
    derivation_answer(derivation, "page_number", (double)number);
    derivation_answer(derivation, "offset", (double)offset);
    return true;
}

/* One side of `bits`: so many pages, or frames, of a size; false: neither was given. */
static bool answer_bits(const struct tlb_options *options, struct derivation *derivation,
                        const char *what, double n)
{
    double page = options->pages[0], bits = ceil(log2(n)) + log2(page);
    char key[32];

    derivation_step(derivation, what, NULL, "log2(%s x %s) = %.0f + %.0f = %.0f bits",
                    tlb_count(n, TLB_TEXT), tlb_bytes(page, TLB_TEXT), ceil(log2(n)), log2(page),
                    bits);
    snprintf(key, sizeof key, "%s_bits", what);
    derivation_answer(derivation, key, bits);
    return true;
}

bool tlb_ask_bits(const struct tlb_options *options, struct derivation *derivation)
{
    double page = options->pages[0];
    bool some = false;
    unsigned number_bits;

    if (tlb_has(options, TLB_PAGES))
        some |= answer_bits(options, derivation, "logical", options->amount[TLB_PAGES]);
    if (tlb_has(options, TLB_VA_BITS)) {
        if (!page_number_bits(options, &number_bits))
            return false;
        derivation_step(derivation, "pages", NULL, "2^(%.0f - %.0f) = %s",
                        options->amount[TLB_VA_BITS], log2(page),
                        tlb_count(power(number_bits), TLB_TEXT));
        derivation_answer(derivation, "pages", power(number_bits));
        some = true;
    }
    if (tlb_has(options, TLB_FRAMES))
        some |= answer_bits(options, derivation, "physical", options->amount[TLB_FRAMES]);
    if (tlb_has(options, TLB_RAM)) {
        double frames = ceil(options->amount[TLB_RAM] / page);
        derivation_step(derivation, "frames", NULL, "%s / %s = %s",
                        tlb_bytes(options->amount[TLB_RAM], TLB_TEXT), tlb_bytes(page, TLB_TEXT),
                        tlb_count(frames, TLB_TEXT));
        derivation_answer(derivation, "frames", frames);
        some |= answer_bits(options, derivation, "physical", frames);
    }
    if (!some)
        cli_error("--ask bits needs --pages or --va-bits, or --frames or --ram");
    return some;
}

bool tlb_ask_inverted(const struct tlb_options *options, struct derivation *derivation)
{
    double page = options->pages[0], pte = options->amount[TLB_PTE], ram = options->amount[TLB_RAM],
           frames = ceil(ram / page), processes = tlb_or(options, TLB_PROCESSES, 1);
    unsigned number_bits;

    derivation_step(derivation, "entries", "one for each frame, whatever the processes are",
                    "%s / %s = %s", tlb_bytes(ram, TLB_TEXT), tlb_bytes(page, TLB_TEXT),
                    tlb_count(frames, TLB_TEXT));
    derivation_step(derivation, "table", NULL, "%s x %s = %s", tlb_count(frames, TLB_TEXT),
                    tlb_bytes(pte, TLB_TEXT), tlb_bytes(frames * pte, TLB_TEXT));
    derivation_step(derivation, "of memory", NULL, "%s / %s = %s", tlb_bytes(pte, TLB_TEXT),
                    tlb_bytes(page, TLB_TEXT), tlb_ratio_text(frames * pte / ram, TLB_TEXT));
    derivation_answer(derivation, "entries", frames);
    derivation_answer(derivation, "bytes", frames * pte);
    derivation_answer(derivation, "share_of_ram", frames * pte / ram);
    if (!tlb_has(options, TLB_VA_BITS))
        return true;
    if (!page_number_bits(options, &number_bits))
        return false;
    double plain = power(number_bits);
    derivation_step(derivation, "in one level", "the conventional table, for comparison",
                    "%s entries x %s x %.0f processes = %s", tlb_count(plain, TLB_TEXT),
                    tlb_bytes(pte, TLB_TEXT), processes,
                    tlb_bytes(plain * pte * processes, TLB_TEXT));
    derivation_answer(derivation, "single_level_entries", plain);
    derivation_answer(derivation, "single_level_bytes", plain * pte * processes);
    return true;
}

bool tlb_ask_hashed(const struct tlb_options *options, struct derivation *derivation)
{
    double page = options->pages[0], pte = options->amount[TLB_PTE],
           n = ceil(options->amount[TLB_USED] / page), buckets = options->amount[TLB_BUCKETS],
           load = n / buckets, found = 1 + (n - 1) / (2 * buckets), missed = load + exp(-load);

    derivation_step(derivation, "pages", NULL, "%s / %s = %s",
                    tlb_bytes(options->amount[TLB_USED], TLB_TEXT), tlb_bytes(page, TLB_TEXT),
                    tlb_count(n, TLB_TEXT));
    derivation_step(derivation, "entries", NULL, "%s x %s = %s", tlb_count(n, TLB_TEXT),
                    tlb_bytes(pte, TLB_TEXT), tlb_bytes(n * pte, TLB_TEXT));
    derivation_step(derivation, "load", NULL, "%s / %s = %.6g entries a bucket",
                    tlb_count(n, TLB_TEXT), tlb_count(buckets, TLB_TEXT), load);
    derivation_step(derivation, "when mapped", "chains, a hash that spreads evenly",
                    "1 + (n - 1) / 2m = %.6g entries looked at in the mean", found);
    derivation_step(derivation, "when not", NULL, "a + e^-a = %.6g", missed);
    derivation_answer(derivation, "entries", n);
    derivation_answer(derivation, "bytes", n * pte);
    derivation_answer(derivation, "load", load);
    derivation_answer(derivation, "probes", found);
    derivation_answer(derivation, "probes_unmapped", missed);
    if (tlb_has(options, TLB_MEMORY)) {
        double ns = found * options->amount[TLB_MEMORY];
        derivation_step(derivation, "a walk", NULL, "%.6g x %s = %s", found,
                        tlb_nanoseconds(options->amount[TLB_MEMORY], TLB_TEXT),
                        tlb_nanoseconds(ns, TLB_TEXT));
        derivation_answer(derivation, "walk_ns", ns);
    }
    return true;
}

static double overhead(double used, double pte, double page)
{
    return used * pte / page + page / 2;
}

static void note_overhead(struct derivation *derivation, const char *what, double used, double pte,
                          double page)
{
    derivation_step(derivation, what, NULL, "%s of table + %s in the last page = %s",
                    tlb_bytes(used * pte / page, TLB_TEXT), tlb_bytes(page / 2, TLB_TEXT),
                    tlb_bytes(overhead(used, pte, page), TLB_TEXT));
}

bool tlb_ask_page_size(const struct tlb_options *options, struct derivation *derivation)
{
    double used = options->amount[TLB_USED], pte = options->amount[TLB_PTE],
           best = sqrt(2 * used * pte), below = power(floor(log2(best))), above = 2 * below,
           nearest = overhead(used, pte, below) <= overhead(used, pte, above) ? below : above;

    derivation_step(derivation, "overhead",
                    "s used, e an entry, p a page; half of the last is lost", "s e / p + p / 2");
    derivation_step(derivation, "least", "where its derivative -s e / p^2 + 1/2 is 0",
                    "p = sqrt(2 s e) = sqrt(2 x %s x %s) = %s", tlb_bytes(used, TLB_TEXT),
                    tlb_bytes(pte, TLB_TEXT), tlb_bytes(best, TLB_TEXT));
    note_overhead(derivation, tlb_bytes(nearest, TLB_TEXT), used, pte, nearest);
    for (unsigned i = 0; i < options->n_pages; i++)
        if (options->pages[i] != nearest)
            note_overhead(derivation, tlb_bytes(options->pages[i], TLB_TEXT), used, pte,
                          options->pages[i]);
    derivation_answer(derivation, "optimum_bytes", best);
    derivation_answer(derivation, "page_bytes", nearest);
    derivation_answer(derivation, "overhead_bytes", overhead(used, pte, nearest));
    return true;
}
