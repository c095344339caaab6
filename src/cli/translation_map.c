/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translation_map: all mappings (--map, --svg), which of them lead to a frame (--reverse), and
 * bytes by virtual address (--read).
 */
#include "cli/cli.h"
#include "cli/out_file.h"
#include "cli/picture.h"
#include "cli/translation.h"
#include "cli/translation_picture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_DRAWN 4000 /* of which the picture takes the largest */
#define PIECE_BYTES 65536

struct listing {
    const struct translation *translation;
    uint64_t n, n_bad, n_bytes;
    struct translation_band *bands; /* NULL: nothing is drawn */
    size_t n_bands;
    bool is_rising;
    uint64_t last_va;
};

static void print_mapping(const struct listing *listing, const struct quire_mmu_mapping *mapping)
{
    char rights[TRANSLATION_RIGHTS_BYTES], size[16];
    uint64_t last = mapping->va + (mapping->n_bytes - 1);

    if (mapping->reason != QUIRE_MMU_OK) {
        printf("0x%" PRIx64 "-0x%" PRIx64 " - %s %s 0x%" PRIx64 "\n", mapping->va, last,
               quire_mmu_reason_name((enum quire_mmu_reason)mapping->reason),
               quire_mmu_level_name(&listing->translation->mmu, mapping->level), mapping->entry);
        return;
    }
    printf("0x%" PRIx64 "-0x%" PRIx64 " 0x%" PRIx64 "-0x%" PRIx64 " %s %s\n", mapping->va, last,
           mapping->address, mapping->address + (mapping->n_bytes - 1),
           translation_size(mapping->page_shift, size),
           translation_rights(listing->translation, mapping->rights, rights));
}

static void print_json_mapping(const struct listing *listing,
                               const struct quire_mmu_mapping *mapping)
{
    char rights[TRANSLATION_RIGHTS_BYTES];

    printf("%s\n    {\"va\": \"0x%" PRIx64 "\", \"bytes\": %" PRIu64 ", ",
           listing->n + listing->n_bad > 0 ? "," : "", mapping->va, mapping->n_bytes);
    if (mapping->reason != QUIRE_MMU_OK)
        printf("\"pa\": null, \"reason\": \"%s\", \"entry\": \"0x%" PRIx64 "\"}",
               quire_mmu_reason_name((enum quire_mmu_reason)mapping->reason), mapping->entry);
    else
        printf("\"pa\": \"0x%" PRIx64 "\", \"page_bytes\": %" PRIu64 ", \"rights\": \"%s\"}",
               mapping->address, mapping->page_shift != 0 ? (uint64_t)1 << mapping->page_shift : 0,
               translation_rights(listing->translation, mapping->rights, rights));
}

/* The largest so many, unsorted: a small one makes room. */
static void keep_band(struct listing *listing, const struct quire_mmu_mapping *mapping)
{
    struct translation_band band = {mapping->va, mapping->address, mapping->n_bytes,
                                    mapping->rights};

    if (listing->n_bands < MAX_DRAWN) {
        listing->bands[listing->n_bands++] = band;
        return;
    }
    size_t least = 0;
    for (size_t i = 1; i < MAX_DRAWN; i++)
        if (listing->bands[i].n_bytes < listing->bands[least].n_bytes)
            least = i;
    if (listing->bands[least].n_bytes < band.n_bytes)
        listing->bands[least] = band;
}

static bool list_one(void *context, const struct quire_mmu_mapping *mapping)
{
    struct listing *listing = context;

    if (listing->translation->as_json)
        print_json_mapping(listing, mapping);
    else
        print_mapping(listing, mapping);
    if (mapping->reason != QUIRE_MMU_OK) {
        listing->n_bad++;
        return !ferror(stdout);
    }
    listing->n++;
    listing->n_bytes += mapping->n_bytes;
    if (listing->bands != NULL)
        keep_band(listing, mapping);
    return !ferror(stdout);
}

static bool draw(const struct listing *listing)
{
    char title[64];

    snprintf(title, sizeof title, "quire translate: %s",
             quire_mmu_mode_name(listing->translation->mmu.mode));
    return picture_translation(listing->translation->svg_path, title, listing->bands,
                               listing->n_bands);
}

static int tell_end(int error, const char *what)
{
    if (error == -E2BIG)
        cli_error("%s: stopped after %u tables: they seem to hold one another\n"
                  "look at a part of the addresses by --range, or check the root",
                  what, 1u << 24);
    return error == -E2BIG ? EXIT_FAILURE : EXIT_SUCCESS;
}

int translation_map(const struct translation *translation)
{
    struct listing listing = {.translation = translation};

    if (translation->svg_path != NULL) {
        listing.bands = calloc(MAX_DRAWN, sizeof listing.bands[0]);
        if (listing.bands == NULL) {
            cli_error("cannot draw: out of memory");
            return CLI_EXIT_FAILED;
        }
    }
    if (translation->as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"mode\": \"%s\",\n  \"mappings\": [",
               quire_mmu_mode_name(translation->mmu.mode));
    int error = quire_mmu_each_merged(&translation->mmu, &translation->limits, list_one, &listing);
    if (translation->as_json)
        printf("%s],\n  \"mapped_bytes\": %" PRIu64 ",\n  \"bad_entries\": %" PRIu64
               ",\n  \"complete\": %s\n}\n",
               listing.n + listing.n_bad > 0 ? "\n  " : "", listing.n_bytes, listing.n_bad,
               error == 0 ? "true" : "false");
    int status = tell_end(error, "--map");
    if (status == EXIT_SUCCESS && listing.n == 0)
        status = EXIT_FAILURE;
    if (listing.bands != NULL && !draw(&listing))
        status = CLI_EXIT_FAILED;
    free(listing.bands);
    return status;
}

/* --reverse */

struct search {
    const struct translation *translation;
    const uint64_t *addresses;
    size_t n;
    struct found {
        uint64_t va;
        size_t which;
        struct quire_mmu_mapping mapping;
    } * found;
    size_t n_found, max_found;
    bool is_full;
};

static bool look_up(void *context, const struct quire_mmu_mapping *mapping)
{
    struct search *search = context;

    for (size_t i = 0; i < search->n && mapping->reason == QUIRE_MMU_OK; i++) {
        uint64_t at = search->addresses[i] - mapping->address;
        if (at >= mapping->n_bytes)
            continue;
        if (search->n_found == search->max_found) {
            size_t max = search->max_found == 0 ? 64 : 2 * search->max_found;
            struct found *larger = realloc(search->found, max * sizeof *larger);
            search->is_full = larger == NULL;
            if (larger == NULL)
                return false;
            search->found = larger;
            search->max_found = max;
        }
        search->found[search->n_found++] = (struct found){mapping->va + at, i, *mapping};
    }
    return true;
}

static bool print_found(const struct search *search, size_t which, bool is_first)
{
    const struct translation *translation = search->translation;
    char rights[TRANSLATION_RIGHTS_BYTES], size[16];
    uint64_t address = search->addresses[which];
    bool is_any = false;

    if (translation->as_json)
        printf("%s\n    {\"pa\": \"0x%" PRIx64 "\", \"mapped_at\": [", is_first ? "" : ",",
               address);
    for (size_t i = 0; i < search->n_found; i++) {
        const struct found *found = &search->found[i];
        if (found->which != which)
            continue;
        translation_rights(translation, found->mapping.rights, rights);
        if (translation->as_json)
            printf("%s{\"va\": \"0x%" PRIx64 "\", \"page_bytes\": %" PRIu64 ", \"rights\": \"%s\"}",
                   is_any ? ", " : "", found->va, (uint64_t)1 << found->mapping.page_shift, rights);
        else
            printf("0x%" PRIx64 " 0x%" PRIx64 " %s %s\n", address, found->va,
                   translation_size(found->mapping.page_shift, size), rights);
        is_any = true;
    }
    if (translation->as_json)
        fputs("]}", stdout);
    else if (!is_any)
        printf("0x%" PRIx64 " - not-mapped\n", address);
    return is_any;
}

int translation_reverse(const struct translation *translation, const uint64_t *addresses, size_t n)
{
    struct search search = {.translation = translation, .addresses = addresses, .n = n};
    bool is_all = true;
    int error = quire_mmu_each(&translation->mmu, &translation->limits, look_up, &search);

    if (search.is_full) {
        cli_error("--reverse: out of memory");
        free(search.found);
        return CLI_EXIT_FAILED;
    }
    if (translation->as_json)
        printf("{\n  \"version\": \"" QUIRE_VERSION "\",\n  \"mode\": \"%s\",\n  \"frames\": [",
               quire_mmu_mode_name(translation->mmu.mode));
    for (size_t i = 0; i < n; i++)
        is_all &= print_found(&search, i, i == 0);
    if (translation->as_json)
        puts("\n  ]\n}");
    free(search.found);
    int status = tell_end(error, "--reverse");
    return status == EXIT_SUCCESS && !is_all ? EXIT_FAILURE : status;
}

/* --read */

static const char *why(int error)
{
    switch (error) {
    case -ENODATA:
        return "where the image's file is cut off";
    case -ENOENT:
        return "whose page the dump has left out";
    case -EIO:
    case -ENOTSUP:
        return "whose page in the dump can't be unpacked";
    default:
        return "which is not in the image";
    }
}

static int read_piece(const struct translation *translation, uint64_t va, unsigned char *bytes,
                      size_t n_bytes)
{
    const struct quire_mmu *mmu = &translation->mmu;
    struct quire_mmu_answer answer;
    size_t n_done;

    quire_mmu_translate(mmu, va, &answer, NULL);
    enum quire_mmu_reason reason = translation->has_access
                                       ? quire_mmu_check(mmu, &answer, translation->access,
                                                         translation->is_user)
                                       : (enum quire_mmu_reason)answer.reason;
    if (reason != QUIRE_MMU_OK) {
        cli_error("--read: 0x%" PRIx64 ": %s: %s", va, quire_mmu_reason_name(reason),
                  quire_mmu_reason_text(reason));
        return EXIT_FAILURE;
    }
    uint64_t page = (uint64_t)1 << answer.page_shift, left = page - (va & (page - 1));
    if (answer.page_shift == 0)
        left = mmu->limit - va;
    if (left < n_bytes)
        n_bytes = left;
    int error = quire_image_read(translation->image, answer.address, bytes, n_bytes, &n_done);
    if (error != 0 && n_done == 0) {
        cli_error("--read: 0x%" PRIx64 " is at physical address 0x%" PRIx64 ", %s", va,
                  answer.address, why(error));
        return EXIT_FAILURE;
    }
    return -(int)n_done;
}

static bool grow(unsigned char **bytes, size_t *max, size_t n)
{
    if (n + PIECE_BYTES <= *max)
        return true;
    size_t larger_max = *max == 0 ? 4 * PIECE_BYTES : 2 * *max;
    unsigned char *larger = realloc(*bytes, larger_max);
    if (larger == NULL)
        return false;
    *bytes = larger;
    *max = larger_max;
    return true;
}

/* Nothing is written unless all of it can be read: half an answer would look like a whole one. */
int translation_read(const struct translation *translation, uint64_t va, uint64_t n_bytes)
{
    unsigned char *bytes = NULL;
    size_t n = 0, max = 0;
    int status = EXIT_SUCCESS;

    while (n < n_bytes && status == EXIT_SUCCESS) {
        size_t piece = n_bytes - n < PIECE_BYTES ? n_bytes - n : PIECE_BYTES;
        if (!grow(&bytes, &max, n)) {
            cli_error("--read: out of memory after %zu bytes", n);
            status = CLI_EXIT_FAILED;
            break;
        }
        int result = read_piece(translation, va + n, bytes + n, piece);
        if (result > 0)
            status = result;
        else
            n += (size_t)-result;
    }
    if (status == EXIT_SUCCESS && translation->out_path != NULL) {
        int error = out_file_write((const char *)bytes, n, translation->out_path);
        if (error != 0)
            cli_error("cannot write %s: %s", translation->out_path, strerror(-error));
        status = error != 0 ? CLI_EXIT_FAILED : EXIT_SUCCESS;
    } else if (status == EXIT_SUCCESS) {
        fwrite(bytes, 1, n, stdout);
    }
    free(bytes);
    return status;
}
