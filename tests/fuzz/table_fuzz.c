/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a table of buffers: refused with a reason, or the same after it was written and read
 * again; and if the planner takes it, the placement holds. */
#include <quire/tensor.h>

#include <stdlib.h>
#include <string.h>

#define MOST_BUFFERS 200u /* that are planned */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void compare(const struct quire_tensor_buffer *a, const struct quire_tensor_buffer *b)
{
    require(strcmp(a->name, b->name) == 0);
    require(a->lower == b->lower && a->upper == b->upper && a->size == b->size);
    require((a->alignment > 1 ? a->alignment : 1) == (b->alignment > 1 ? b->alignment : 1));
    require(a->group == b->group && a->spaces == b->spaces && a->weight == b->weight);
    require(a->n_gaps == b->n_gaps &&
            (a->n_gaps == 0 || memcmp(a->gaps, b->gaps, a->n_gaps * sizeof *a->gaps) == 0));
}

static void write_and_read(const struct quire_tensor_problem *problem, const uint64_t *offsets)
{
    struct quire_tensor_table again;
    char message[QUIRE_TENSOR_MESSAGE_BYTES], *text;
    size_t n_bytes;
    if (quire_tensor_table_write(problem, offsets, NULL, &text, &n_bytes) != 0)
        return;
    require(quire_tensor_table_read(text, n_bytes, &again, message) == 0);
    require(again.n_buffers == problem->n_buffers);
    for (size_t i = 0; i < again.n_buffers; i++) {
        compare(&problem->buffers[i], &again.buffers[i]);
        require(again.buffers[i].offset == offsets[i]);
    }
    quire_tensor_table_free(&again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    char message[QUIRE_TENSOR_MESSAGE_BYTES] = "";
    struct quire_tensor_table table;
    struct quire_tensor_fault fault;
    struct quire_tensor_plan plan;
    const struct quire_tensor_options options = {.max_steps = 2000};
    if (quire_tensor_table_read((const char *)data, n_bytes, &table, message) != 0) {
        require(message[0] != '\0');
        return 0;
    }
    struct quire_tensor_problem problem = {table.buffers, table.n_buffers, NULL, 0};
    if (table.n_buffers <= MOST_BUFFERS &&
        quire_tensor_place(&problem, &options, &plan, &fault) == 0) {
        uint64_t peak;
        require(quire_tensor_verify(&problem, plan.offsets, NULL, 0, 0, &peak, &fault) == 0);
        require(peak == plan.peak && plan.peak >= plan.bound);
        write_and_read(&problem, plan.offsets);
        quire_tensor_plan_free(&plan);
    }
    quire_tensor_table_free(&table);
    return 0;
}
