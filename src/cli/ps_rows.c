/* SPDX-License-Identifier: Apache-2.0 */
/* ps_rows: see ps_rows.h. */
#include "cli/ps_rows.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64 /* of a tree; also ends a circle of parents, which only a forged /proc has */

static bool grow(void *array, size_t *room, size_t n, size_t element_bytes)
{
    void *old, *grown;

    if (n <= *room)
        return true;
    memcpy(&old, array, sizeof old);
    grown = reallocarray(old, n * 2, element_bytes);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *room = n * 2;
    return true; /* cppcheck-suppress memleak ; it is the array's */
}

static int compare_pid(const void *key, const void *row)
{
    int pid = *(const int *)key, other = ((const struct ps_row *)row)->process->pid;

    return pid < other ? -1 : pid > other;
}

static uint64_t add(uint64_t sum, uint64_t figure)
{
    return quire_observe_known(figure) ? sum + figure : sum;
}

/* Each process's memory counts for it and for all above it. Rows are sorted by pid here. */
static void sum_trees(struct ps_view *view)
{
    for (size_t i = 0; i < view->n; i++) {
        const struct quire_observe_process *process = view->rows[i].process;
        struct ps_row *above = &view->rows[i];
        for (unsigned depth = 0; above != NULL && depth < MAX_DEPTH; depth++) {
            above->tree_pss = add(above->tree_pss, process->pss);
            above->tree_rss = add(above->tree_rss, process->rss);
            view->rows[i].depth = depth;
            above = bsearch(&above->process->parent, view->rows, view->n, sizeof *view->rows,
                            compare_pid);
        }
    }
}

static bool passes(const struct ps_order *order, const struct ps_row *row)
{
    for (unsigned i = 0; i < order->n_filters; i++)
        if (!ps_filter_passes(&order->filters[i], row))
            return false;
    return order->all || !row->process->is_kernel_thread;
}

static const struct ps_order *sorting; /* qsort(3) has no context */

static int compare_rows(const void *a, const void *b)
{
    const struct ps_row *x = a, *y = b;
    int result;

    if (sorting->sort->kind == PS_TEXT) {
        char left[PS_TEXT_BYTES], right[PS_TEXT_BYTES];
        sorting->sort->text(x, left, sizeof left);
        sorting->sort->text(y, right, sizeof right);
        result = strcmp(left, right);
    } else {
        double left = ps_column_value(sorting->sort, x), right = ps_column_value(sorting->sort, y);
        result = left > right ? -1 : left < right; /* the most first */
        if (strcmp(sorting->sort->name, "pid") == 0)
            result = -result;
    }
    if (result == 0)
        result = x->process->pid < y->process->pid ? -1 : x->process->pid > y->process->pid;
    return sorting->reverse ? -result : result;
}

static void emit(struct ps_view *view, size_t *n, long row, unsigned depth)
{
    for (; row >= 0; row = view->next[row]) {
        view->ordered[*n] = view->rows[row];
        view->ordered[(*n)++].depth = depth;
        if (depth < MAX_DEPTH)
            emit(view, n, view->first_child[row], depth + 1);
    }
}

struct place {
    int pid;
    long row;
};

static int compare_places(const void *a, const void *b)
{
    int x = ((const struct place *)a)->pid, y = ((const struct place *)b)->pid;

    return x < y ? -1 : x > y;
}

/* Parents before their children; siblings keep their order. */
static bool order_tree(struct ps_view *view)
{
    struct place *places = calloc(view->n + 1, sizeof *places);
    long roots = -1;
    size_t n = 0;

    if (places == NULL || view->rows == NULL ||
        !grow(&view->first_child, &view->links_room, view->n, sizeof *view->first_child) ||
        !grow(&view->next, &view->next_room, view->n, sizeof *view->next) ||
        !grow(&view->ordered, &view->ordered_room, view->n, sizeof *view->ordered)) {
        free(places);
        return false;
    }
    for (size_t i = 0; i < view->n; i++) {
        places[i] = (struct place){view->rows[i].process->pid, (long)i};
        view->first_child[i] = -1;
    }
    qsort(places, view->n, sizeof *places, compare_places);
    for (size_t i = view->n; i-- > 0;) {
        struct place key = {view->rows[i].process->parent, 0};
        const struct place *parent = bsearch(&key, places, view->n, sizeof key, compare_places);
        long *list = parent != NULL && parent->row != (long)i ? &view->first_child[parent->row]
                                                              : &roots;
        view->next[i] = *list;
        *list = (long)i;
    }
    free(places);
    emit(view, &n, roots, 0);
    view->n = n; /* whoever is in a circle of parents is left out */
    memcpy(view->rows, view->ordered, n * sizeof *view->rows);
    return true;
}

bool ps_rows_arrange(struct ps_view *view, const struct quire_observe_processes *processes,
                     const struct ps_order *order)
{
    size_t n = 0;

    if (!grow(&view->rows, &view->room, processes->n + 1, sizeof *view->rows) || view->rows == NULL)
        return false;
    view->n = processes->n;
    for (size_t i = 0; i < processes->n; i++)
        view->rows[i] = (struct ps_row){.process = &processes->list[i]};
    sum_trees(view);
    for (size_t i = 0; i < view->n; i++) {
        if (!order->tree)
            view->rows[i].depth = 0;
        if (passes(order, &view->rows[i]))
            view->rows[n++] = view->rows[i];
    }
    view->n = n;
    sorting = order;
    qsort(view->rows, view->n, sizeof *view->rows, compare_rows);
    if (order->tree && !order_tree(view))
        return false;
    if (order->limit > 0 && view->n > order->limit)
        view->n = order->limit;
    return true;
}

void ps_rows_free(struct ps_view *view)
{
    free(view->rows);
    free(view->ordered);
    free(view->first_child);
    free(view->next);
    *view = (struct ps_view){.n = 0};
}
