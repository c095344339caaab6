/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schedules of random networks, executed. Every byte of every tensor has a content that follows
 * from what the operators mean (a view shows what it views, a concat what it joins, all else is
 * new); a machine with one arena carries out the schedule, step by step, and looks at each byte
 * when it is read. So whatever shares memory wrongly, is dropped too early, computed again from
 * what is gone, or fetched too late, is found out by what it destroys.
 *
 *     network --quire_model_schedule()--> steps, buffers, places --machine--> every read is intact
 *
 * The machine places buffers by itself, first fit, so it does not rely on the planner. Loops run
 * twice. Small networks are also ordered in all ways, which says what the best order needs.
 *
 * QUIRE_TEST_SEED replays a run; QUIRE_TEST_ROUNDS makes it longer.
 */
#include "model_random.h"

#include "tensor/model.h"
#include "tensor/units.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define MAX_TENSORS 160u
#define MAX_OPERATORS 64u
#define MAX_BYTES 4096u /* of a tensor */

static struct quire_model model;
static struct graph *const graph = &model.graph;
static char message[QUIRE_MODEL_MESSAGE_BYTES];
static struct quire_model_schedule schedule;
static struct quire_model_wishes wishes;
static uint32_t content[MAX_TENSORS][MAX_BYTES]; /* what each byte holds; the arena has the same */
static uint32_t *arena, *away;
static uint64_t *offsets, *away_at;
static size_t n_checked; /* steps behind which inputs were looked at */

/* Networks */

static char *name_of(const char *what, uint32_t i)
{
    return bump_format(&graph->bump, "%s%u", what, i);
}

static uint32_t new_tensor(uint32_t rank, const int64_t *dims)
{
    uint32_t tensor = graph_add_tensor(graph, name_of("t", graph->n_tensors), QUIRE_MODEL_I8);
    REQUIRE(tensor != GRAPH_NONE && tensor < MAX_TENSORS);
    REQUIRE(graph_set_shape(graph, &graph->tensors[tensor], rank, dims) == 0);
    return tensor;
}

static uint32_t new_operator(const char *type, uint32_t region, uint32_t n_in, const uint32_t *in,
                             uint32_t n_out, const uint32_t *out)
{
    uint32_t o = graph_add_operator(graph, type, name_of("o", graph->n_operators), region, n_in,
                                    n_out);
    REQUIRE(o != GRAPH_NONE);
    for (uint32_t i = 0; i < n_in; i++)
        graph->links[graph->operators[o].first_input + i] = in[i];
    for (uint32_t i = 0; i < n_out; i++)
        REQUIRE(graph_set_output(graph, o, i, out[i]) == 0);
    return o;
}

/* Of ints: the graph's copy. */
static void add_ints(uint32_t o, uint32_t i, const char *name, uint32_t n, const int64_t *ints)
{
    struct graph_attribute *attributes =
        (struct graph_attribute *)(uintptr_t)graph->operators[o].attributes;
    if (attributes == NULL)
        attributes = bump_take(&graph->bump, 4, sizeof *attributes);
    int64_t *copy = bump_take(&graph->bump, n, sizeof *copy);
    memcpy(copy, ints, n * sizeof *ints);
    attributes[i] = (struct graph_attribute){
        .name = name, .kind = GRAPH_INTS, .n = n, .ints = copy};
    graph->operators[o].attributes = attributes;
    graph->operators[o].n_attributes = i + 1;
}

/* A tensor that can be read in this region: an input, or made in it or around it. */
static uint32_t any_tensor(uint32_t region)
{
    for (;;) {
        uint32_t t = (uint32_t)draw(graph->n_tensors);
        uint32_t maker = graph->tensors[t].producer;
        bool is_there = graph->tensors[t].role == QUIRE_MODEL_INPUT || maker != GRAPH_NONE;
        uint32_t home = maker == GRAPH_NONE ? 0 : graph->operators[maker].region;
        bool is_begin = maker != GRAPH_NONE && graph->operators[maker].kind == GRAPH_BEGIN;
        if (is_there && !is_begin && graph_is_within(graph, region, home))
            return draw(3) == 0 || t + 6 > graph->n_tensors ? t : any_tensor(region);
    }
}

/* Three dimensions with one or two 1s in front: pieces along an axis may or may not be contiguous.
 */
static void draw_dims(int64_t *dims)
{
    dims[0] = draw(4) == 0 ? 2 : 1;
    dims[1] = (int64_t)(1 + draw(6));
    dims[2] = (int64_t)(1 + draw(40));
}

static uint32_t add_join(uint32_t region)
{
    uint32_t in[4] = {any_tensor(region)}, n = 1;
    int64_t dims[3], axis = 1;
    memcpy(dims, graph->tensors[in[0]].dims, sizeof dims);
    for (uint32_t tries = 0; tries < 30 && n < 4; tries++) {
        const struct graph_tensor *other = &graph->tensors[in[n] = any_tensor(region)];
        if (other->dims[0] != dims[0] || other->dims[2] != dims[2] || dims[1] + other->dims[1] > 24)
            continue;
        dims[1] += other->dims[1];
        n++;
    }
    if (dims[0] * dims[1] * dims[2] > MAX_BYTES)
        return GRAPH_NONE;
    uint32_t out = new_tensor(3, dims);
    uint32_t o = new_operator("Concat", region, n, in, 1, &out);
    add_ints(o, 0, "axis", 1, &axis);
    return o;
}

static uint32_t add_parts(uint32_t region)
{
    uint32_t in = any_tensor(region), out[2];
    int64_t dims[3], n = graph->tensors[in].dims[1];
    if (n < 2)
        return GRAPH_NONE;
    memcpy(dims, graph->tensors[in].dims, sizeof dims);
    int64_t cut = (int64_t)(1 + draw((uint64_t)n - 1));
    if (draw(2) == 0) {
        int64_t axes = 1;
        dims[1] = n - cut;
        out[0] = new_tensor(3, dims);
        uint32_t o = new_operator("Slice", region, 1, &in, 1, out);
        add_ints(o, 0, "starts", 1, &cut);
        add_ints(o, 1, "axes", 1, &axes);
        return o;
    }
    dims[1] = cut;
    out[0] = new_tensor(3, dims);
    dims[1] = n - cut;
    out[1] = new_tensor(3, dims);
    return new_operator("Split", region, 1, &in, 2, out);
}

/* Element by element, with a second input of its shape, or one that is broadcast. */
static uint32_t add_elementwise(uint32_t region)
{
    uint32_t in[2] = {any_tensor(region), 0}, n = 1;
    const int64_t *dims = graph->tensors[in[0]].dims;
    for (uint32_t tries = 0; tries < 20 && n == 1; tries++) {
        in[1] = any_tensor(region);
        const int64_t *other = graph->tensors[in[1]].dims;
        bool goes = other[0] <= dims[0] && (other[1] == 1 || other[1] == dims[1]) &&
                    (other[2] == 1 || other[2] == dims[2]) && other[0] == dims[0];
        n += goes;
    }
    if (draw(2) == 0 && n == 2 && graph->tensors[in[1]].n_bytes == 0) {
        uint32_t swap = in[0];
        in[0] = in[1];
        in[1] = swap;
    }
    uint32_t out = new_tensor(3, graph->tensors[in[0]].dims);
    return new_operator(n == 1 ? "Relu" : "Add", region, n, in, 1, &out);
}

static uint32_t add_other(uint32_t region)
{
    static const char *const types[] = {"Conv", "Softmax", "RandomNormalLike", "MatMul"};
    uint32_t in[3], n = (uint32_t)(1 + draw(3)), out;
    int64_t dims[3];
    for (uint32_t i = 0; i < n; i++)
        in[i] = any_tensor(region);
    draw_dims(dims);
    out = new_tensor(3, dims);
    return new_operator(types[draw(4)], region, n, in, 1, &out);
}

static uint32_t add_view(uint32_t region)
{
    uint32_t in = any_tensor(region);
    const int64_t *d = graph->tensors[in].dims;
    uint32_t out = new_tensor(3, (int64_t[]){1, d[0] * d[1], d[2]});
    return new_operator("Reshape", region, 1, &in, 1, &out);
}

static void add_any(uint32_t region)
{
    switch (draw(8)) {
    case 0:
    case 1:
        add_elementwise(region);
        break;
    case 2:
        add_join(region);
        break;
    case 3:
        add_parts(region);
        break;
    case 4:
        add_view(region);
        break;
    default:
        add_other(region);
        break;
    }
}

/* A loop, or what runs once, with a few operators inside. */
static void add_body(void)
{
    bool repeats = draw(2) == 0;
    uint32_t in = any_tensor(0), region = graph_add_region(graph, 0, repeats);
    uint32_t inner = new_tensor(3, graph->tensors[in].dims), outer;
    uint32_t begin = new_operator("Loop", 0, 1, &in, 1, &inner);
    graph->operators[begin].kind = GRAPH_BEGIN;
    graph->regions[region].begin = begin;
    uint32_t read[2] = {draw(4) == 0 ? in : inner,
                        any_tensor(region)}; /* or not what it is given */
    uint32_t made = new_tensor(3, graph->tensors[inner].dims);
    new_operator("Conv", region, 2, read, 1, &made);
    for (uint64_t n = draw(4); n > 0; n--)
        add_any(region);
    read[0] = graph->n_operators - 1 > begin
                  ? graph_outputs(graph, &graph->operators[graph->n_operators - 1])[0]
                  : made;
    outer = new_tensor(3, graph->tensors[read[0]].dims);
    uint32_t end = new_operator("Loop", 0, 1, read, 1, &outer);
    graph->operators[end].kind = GRAPH_END;
    graph->regions[region].end = end;
}

static void make_network(uint32_t n_operators)
{
    graph_free(graph);
    graph_init(graph, NULL, message);
    REQUIRE(graph_add_region(graph, GRAPH_NONE, false) == 0);
    for (uint64_t n = 1 + draw(3); n > 0; n--) {
        int64_t dims[3];
        draw_dims(dims);
        uint32_t input = new_tensor(3, dims);
        graph->tensors[input].role = QUIRE_MODEL_INPUT;
    }
    while (graph->n_operators < n_operators && graph->n_tensors < MAX_TENSORS - 24) {
        if (n_operators > 10 && draw(16) == 0)
            add_body();
        else
            add_any(0);
    }
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        uint32_t maker = graph->tensors[t].producer;
        bool is_outer = maker == GRAPH_NONE || (graph->operators[maker].region == 0 &&
                                                graph->operators[maker].kind != GRAPH_BEGIN);
        graph->tensors[t].is_output = is_outer && (draw(10) == 0 || t + 1 == graph->n_tensors);
    }
    for (uint32_t o = 0; o < graph->n_operators; o++)
        graph->operators[o].cost = (double)(1 + draw(1000));
    REQUIRE(graph_settle(graph) == 0);
    REQUIRE(graph_validate(graph) == 0);
}

/* What tensors hold */

static bool is(const struct graph_operator *o, const char *type)
{
    return strcmp(o->type, type) == 0;
}

static void copy_rows(uint32_t to, uint64_t to_row, uint32_t from, uint64_t from_row)
{
    const struct graph_tensor *a = &graph->tensors[to], *b = &graph->tensors[from];
    uint64_t width = (uint64_t)a->dims[2];
    uint64_t rows = (uint64_t)(a->dims[1] < b->dims[1] ? a->dims[1] : b->dims[1]);
    for (uint64_t batch = 0; batch < (uint64_t)a->dims[0]; batch++)
        memcpy(&content[to][(batch * (uint64_t)a->dims[1] + to_row) * width],
               &content[from][(batch * (uint64_t)b->dims[1] + from_row) * width],
               rows * width * sizeof(uint32_t));
}

static void set_contents(const struct graph_operator *o)
{
    const uint32_t *in = graph_inputs(graph, o), *out = graph_outputs(graph, o);
    if (is(o, "Reshape")) {
        memcpy(content[out[0]], content[in[0]], graph->tensors[in[0]].n_bytes * sizeof(uint32_t));
    } else if (is(o, "Slice")) {
        copy_rows(out[0], 0, in[0],
                  (uint64_t)(graph->tensors[in[0]].dims[1] - graph->tensors[out[0]].dims[1]));
    } else if (is(o, "Split")) {
        copy_rows(out[0], 0, in[0], 0);
        copy_rows(out[1], 0, in[0], (uint64_t)graph->tensors[out[0]].dims[1]);
    } else if (is(o, "Concat")) {
        uint64_t row = 0;
        for (uint32_t i = 0; i < o->n_inputs; i++) {
            copy_rows(out[0], row, in[i], 0);
            row += (uint64_t)graph->tensors[in[i]].dims[1];
        }
    } else {
        for (uint32_t i = 0; i < o->n_outputs; i++) {
            for (uint32_t b = 0; b < graph->tensors[out[i]].n_bytes; b++)
                content[out[i]][b] = out[i] * MAX_BYTES + b + 1;
        }
    }
}

static void set_all_contents(void)
{
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        for (uint32_t b = 0; b < graph->tensors[t].n_bytes; b++)
            content[t][b] = t * MAX_BYTES + b + 1;
    }
    for (uint32_t o = 0; o < graph->n_operators; o++)
        set_contents(&graph->operators[o]);
}

/* The machine */

static uint64_t place_buffers(void)
{
    uint64_t end = 0;
    for (size_t i = 0; i < schedule.n_buffers; i++) {
        const struct quire_tensor_buffer *a = &schedule.buffers[i];
        uint64_t at = 0;
        REQUIRE(a->lower < a->upper && a->lower >= 0);
        for (size_t k = 0; k < i; k++) { /* the lowest place that is free: start again behind it */
            const struct quire_tensor_buffer *b = &schedule.buffers[k];
            if (a->lower < b->upper && b->lower < a->upper && at < offsets[k] + b->size &&
                offsets[k] < at + a->size) {
                at = offsets[k] + b->size;
                k = (size_t)-1;
            }
        }
        offsets[i] = at;
        end = at + a->size > end ? at + a->size : end;
    }
    return end;
}

static uint32_t *find(uint32_t tensor, int64_t time)
{
    uint32_t *found = NULL;
    for (size_t i = 0; i < schedule.n_places; i++) {
        const struct quire_model_place *place = &schedule.places[i];
        const struct quire_tensor_buffer *buffer = &schedule.buffers[place->buffer];
        REQUIRE(place->offset + graph->tensors[place->tensor].n_bytes <= buffer->size);
        REQUIRE(place->lower >= buffer->lower && place->upper <= buffer->upper);
        if (place->tensor == tensor && place->lower <= time && time < place->upper)
            found = arena + offsets[place->buffer] + place->offset; /* the latest */
    }
    REQUIRE(found != NULL);
    return found;
}

static void check(uint32_t tensor, int64_t time)
{
    const uint32_t *bytes = find(tensor, time);
    for (uint32_t b = 0; b < graph->tensors[tensor].n_bytes; b++)
        REQUIRE(bytes[b] == content[tensor][b]);
}

static bool may_overwrite(const struct graph_operator *o, uint32_t in, uint32_t out)
{
    const struct graph_tensor *a = &graph->tensors[in], *b = &graph->tensors[out];
    return (is(o, "Relu") || is(o, "Add")) && memcmp(a->dims, b->dims, 3 * sizeof *a->dims) == 0;
}

/* Reads all inputs, writes all outputs; inputs have to be intact to the end, but for those that are
 * written over element by element. */
static void execute(const struct graph_operator *o, int64_t time)
{
    const uint32_t *in = graph_inputs(graph, o), *out = graph_outputs(graph, o);
    for (uint32_t i = 0; i < o->n_inputs; i++)
        check(in[i], time);
    for (uint32_t i = 0; i < o->n_outputs; i++) {
        uint32_t *bytes = find(out[i], time);
        memcpy(bytes, content[out[i]], graph->tensors[out[i]].n_bytes * sizeof *bytes);
    }
    for (uint32_t i = 0; i < o->n_inputs; i++) {
        if (o->n_outputs == 0 || !may_overwrite(o, in[i], out[0]) ||
            find(in[i], time) != find(out[0], time))
            check(in[i], time);
    }
    for (uint32_t i = 0; i < o->n_outputs; i++)
        check(out[i], time);
}

/* What is handed in is the caller's: as long as its buffer is there, nobody has written over it.
 * (In a loop's second round that memory is another's already.) */
static void check_inputs(int64_t time)
{
    if (time < (int64_t)n_checked)
        return;
    n_checked = (size_t)time + 1;
    for (size_t i = 0; i < schedule.n_places; i++) {
        const struct quire_model_place *place = &schedule.places[i];
        const struct quire_tensor_buffer *buffer = &schedule.buffers[place->buffer];
        const uint32_t *bytes = arena + offsets[place->buffer] + place->offset;
        if (graph->tensors[place->tensor].role != QUIRE_MODEL_INPUT || buffer->upper != time + 1)
            continue;
        for (uint32_t b = 0; b < graph->tensors[place->tensor].n_bytes; b++)
            REQUIRE(bytes[b] == content[place->tensor][b]);
    }
}

/* An output is no piece of what was handed in. */
static void check_outputs(void)
{
    for (size_t i = 0; i < schedule.n_places; i++) {
        for (size_t k = 0; k < schedule.n_places; k++) {
            const struct quire_model_place *a = &schedule.places[i], *b = &schedule.places[k];
            REQUIRE(a->buffer != b->buffer || a->tensor == b->tensor ||
                    !graph->tensors[a->tensor].is_output ||
                    graph->tensors[b->tensor].role != QUIRE_MODEL_INPUT);
        }
    }
}

static void move(const struct quire_model_step *s)
{
    const struct quire_tensor_buffer *buffer = &schedule.buffers[s->buffer];
    size_t n_bytes = buffer->size * sizeof *arena;
    if (s->action == QUIRE_MODEL_EVICT)
        memcpy(away + away_at[s->buffer], arena + offsets[s->buffer], n_bytes);
    else
        memcpy(arena + offsets[s->buffer], away + away_at[s->evicted], n_bytes);
}

/* The step of the Begin of a loop whose End this is; the loop goes round once more. */
static size_t begin_of(uint32_t end)
{
    for (uint32_t r = 1; r < graph->n_regions; r++) {
        if (graph->regions[r].end != end || !graph->regions[r].repeats)
            continue;
        for (size_t i = 0; i < schedule.n_steps; i++) {
            if (schedule.steps[i].operator_ == graph->regions[r].begin)
                return i;
        }
    }
    return SIZE_MAX;
}

static void run(void)
{
    static bool went_round[MAX_OPERATORS * 4];
    memset(went_round, 0, sizeof went_round);
    n_checked = 0;
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        if (graph->tensors[t].role == QUIRE_MODEL_INPUT)
            memcpy(find(t, 0), content[t], graph->tensors[t].n_bytes * sizeof *arena);
    }
    for (size_t i = 0; i < schedule.n_steps; i++) {
        const struct quire_model_step *s = &schedule.steps[i];
        step = (unsigned)i;
        if (s->action == QUIRE_MODEL_EVICT || s->action == QUIRE_MODEL_PREFETCH) {
            move(s);
            check_inputs((int64_t)i);
            continue;
        }
        const struct graph_operator *o = &graph->operators[s->operator_];
        if (o->kind == GRAPH_END && !went_round[s->operator_] &&
            begin_of(s->operator_) != SIZE_MAX) {
            went_round[s->operator_] = true;
            size_t begin = begin_of(s->operator_);
            const struct graph_operator *b = &graph->operators[schedule.steps[begin].operator_];
            for (uint32_t k = 0; k < b->n_outputs; k++) { /* handed over anew, where it was */
                uint32_t tensor = graph_outputs(graph, b)[k];
                memcpy(find(tensor, (int64_t)i), content[tensor],
                       graph->tensors[tensor].n_bytes * sizeof *arena);
            }
            i = begin; /* its body is next */
            continue;
        }
        execute(o, (int64_t)i);
        check_inputs((int64_t)i);
    }
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        if (graph->tensors[t].is_output)
            check(t, schedule.n_steps > 0 ? (int64_t)schedule.n_steps - 1 : 0);
    }
}

/* Schedules */

static void check_order(void)
{
    static uint32_t n_runs[MAX_OPERATORS * 4];
    memset(n_runs, 0, sizeof n_runs);
    for (size_t i = 0; i < schedule.n_steps; i++) {
        if (schedule.steps[i].action == QUIRE_MODEL_RUN)
            n_runs[schedule.steps[i].operator_]++;
        if (schedule.steps[i].action == QUIRE_MODEL_RECOMPUTE) {
            REQUIRE(n_runs[schedule.steps[i].operator_] > 0);
            REQUIRE(strncmp(graph->operators[schedule.steps[i].operator_].type, "Random", 6) != 0);
        }
    }
    for (uint32_t o = 0; o < graph->n_operators; o++)
        REQUIRE(n_runs[o] == 1);
}

static void check_peak(void)
{
    uint64_t most = 0;
    for (size_t i = 0; i <= schedule.n_steps; i++) {
        uint64_t live = 0;
        for (size_t b = 0; b < schedule.n_buffers; b++) {
            if (schedule.buffers[b].lower <= (int64_t)i && (int64_t)i < schedule.buffers[b].upper)
                live += schedule.buffers[b].size;
        }
        most = live > most ? live : most;
    }
    REQUIRE(most == schedule.live_peak);
    REQUIRE(schedule.live_peak >= schedule.floor);
    REQUIRE(schedule.live_peak >= schedule.least);
}

/* As work for the pager: every step touches the buffers of what it reads and makes, what is read
 * was written before or handed in, and within the budget of one step all can be done. */
static void check_work(void)
{
    struct quire_tensor_work work;
    struct quire_tensor_schedule moves;
    int error = quire_model_work(&model, &schedule, &work);
    REQUIRE(error == (schedule.n_offloaded > 0 ? -EINVAL : 0));
    if (error != 0)
        return;
    static bool is_there[MAX_TENSORS * 4];
    memset(is_there, false, sizeof is_there);
    for (size_t i = 0; i < schedule.n_places; i++) {
        const struct quire_model_place *place = &schedule.places[i];
        is_there[place->buffer] |= graph->tensors[place->tensor].role == QUIRE_MODEL_INPUT;
        REQUIRE(work.kept[place->buffer] || !graph->tensors[place->tensor].is_output);
    }
    size_t at = 0;
    for (uint32_t i = 0; i < schedule.n_steps; i++) {
        const struct graph_operator *o = &graph->operators[schedule.steps[i].operator_];
        for (uint32_t k = 0; k < o->n_inputs + o->n_outputs; k++, at++) {
            const struct quire_tensor_touch *touch = &work.touches[at];
            uint32_t tensor = k < o->n_inputs ? graph_inputs(graph, o)[k]
                                              : graph_outputs(graph, o)[k - o->n_inputs];
            const uint32_t *bytes = find(tensor, i), *start = arena + offsets[touch->buffer];
            REQUIRE(at < work.n_touches && touch->step == i);
            REQUIRE(bytes >= start && bytes <= start + work.sizes[touch->buffer]);
            REQUIRE(touch->overwrites == !is_there[touch->buffer]);
            REQUIRE(k >= o->n_inputs || is_there[touch->buffer]);
            is_there[touch->buffer] = true;
        }
    }
    REQUIRE(at == work.n_touches);
    REQUIRE(quire_tensor_schedule_make(&work, 0, 0, &moves) == 0);
    uint64_t floor = moves.floor_bytes;
    quire_tensor_schedule_free(&moves);
    REQUIRE(floor <= schedule.live_peak);
    REQUIRE(quire_tensor_schedule_make(&work, floor, 0, &moves) == 0 && moves.fits);
    quire_tensor_schedule_free(&moves);
    quire_model_work_free(&work);
}

/* Schedules, runs, and returns the peak. */
static uint64_t try_wishes(void)
{
    REQUIRE(quire_model_schedule(&model, &wishes, &schedule) == 0);
    size_t n = schedule.n_buffers + 1;
    uint64_t at = 0;
    offsets = calloc(n, sizeof *offsets);
    away_at = calloc(n, sizeof *away_at);
    for (size_t i = 0; i < schedule.n_buffers; i++) {
        away_at[i] = at;
        at += schedule.buffers[i].size;
    }
    arena = calloc(place_buffers() + 1, sizeof *arena);
    away = calloc(at + 1, sizeof *away);
    check_order();
    check_peak();
    check_outputs();
    check_work();
    run();
    free(arena);
    free(away);
    free(offsets);
    free(away_at);
    uint64_t peak = schedule.live_peak;
    bool has_budget = wishes.recompute_budget > 0 || wishes.offload_budget > 0;
    uint64_t budget = wishes.offload_budget > 0 ? wishes.offload_budget : wishes.recompute_budget;
    REQUIRE(has_budget || schedule.fits_budget);
    REQUIRE(!has_budget || schedule.fits_budget == (peak <= budget));
    quire_model_schedule_free(&schedule);
    return peak;
}

static void try_all_wishes(void)
{
    wishes = (struct quire_model_wishes){.reorder_states = 2000, .bandwidth = 1e3, .speed = 1e6};
    uint64_t plain = try_wishes();
    wishes.in_place = true;
    REQUIRE(try_wishes() <= plain);
    wishes.reorder = true;
    uint64_t both = try_wishes();
    REQUIRE(both <= plain);
    for (uint64_t part = 4; part <= 9; part += 5) {
        wishes.in_place = draw(2) == 0;
        wishes.reorder = draw(2) == 0;
        wishes.recompute_budget = plain * part / 10 + 1;
        REQUIRE(try_wishes() <= plain);
        wishes.recompute_budget = 0;
        wishes.offload_budget = plain * part / 10 + 1;
        REQUIRE(try_wishes() <= plain);
        wishes.recompute_budget = plain * 8 / 10 + 1;
        REQUIRE(try_wishes() <= plain);
        wishes.recompute_budget = wishes.offload_budget = 0;
    }
}

/* What a loop is handed has room up to its End, read or not: so the search has to reckon. */
static void check_units(void)
{
    struct units units;
    REQUIRE(units_init(&units, graph, false) == 0);
    for (uint32_t r = 1; r < graph->n_regions; r++) {
        const struct graph_operator *begin = &graph->operators[graph->regions[r].begin];
        uint64_t handed = 0;
        for (uint32_t i = 0; i < begin->n_outputs; i++)
            handed += graph->tensors[graph_outputs(graph, begin)[i]].n_bytes;
        REQUIRE(!graph->regions[r].repeats ||
                units.unit[units.unit_of[graph->regions[r].begin]].inner >= handed);
    }
    units_free(&units);
}

/* What the search for an order says of its peak is what its schedule takes. */
static void check_claims(void)
{
    check_units();
    wishes = (struct quire_model_wishes){.reorder = true, .reorder_states = 2000};
    REQUIRE(quire_model_schedule(&model, &wishes, &schedule) == 0);
    REQUIRE(schedule.order_bound <= schedule.live_peak);
    REQUIRE(schedule.order_is_proved == (schedule.order_bound == schedule.live_peak));
    REQUIRE(graph->n_regions == 1 || schedule.order_bound == 0);
    quire_model_schedule_free(&schedule);
}

/* The best order of a small network, by all orders */

static uint64_t lowest;

static uint64_t live_bytes(const bool *done, uint32_t now)
{
    uint64_t live = 0;
    for (uint32_t t = 0; t < graph->n_tensors; t++) {
        uint32_t maker = graph->tensors[t].producer;
        bool is_needed = graph->tensors[t].is_output, is_read = false;
        bool is_made = maker == GRAPH_NONE || done[maker] || maker == now;
        for (uint32_t o = 0; o < graph->n_operators; o++) {
            for (uint32_t i = 0; i < graph->operators[o].n_inputs; i++) {
                bool reads = graph_inputs(graph, &graph->operators[o])[i] == t;
                is_read = is_read || reads;
                is_needed = is_needed || (reads && !done[o]);
            }
        }
        bool passes_by = maker == now && !is_read; /* nobody ever reads it */
        if (is_made && (is_needed || passes_by))
            live += graph->tensors[t].n_bytes;
    }
    return live;
}

static void try_orders(bool *done, uint32_t n_done, uint64_t peak)
{
    if (peak >= lowest)
        return;
    if (n_done == graph->n_operators) {
        lowest = peak;
        return;
    }
    bool random_waits = false;
    for (uint32_t o = 0; o < graph->n_operators; o++) {
        const struct graph_operator *here = &graph->operators[o];
        bool is_random = strncmp(here->type, "Random", 6) == 0, is_ready = !done[o];
        for (uint32_t i = 0; i < here->n_inputs; i++) {
            uint32_t maker = graph->tensors[graph_inputs(graph, here)[i]].producer;
            is_ready = is_ready && (maker == GRAPH_NONE || done[maker]);
        }
        is_ready = is_ready && !(is_random && random_waits);
        random_waits = random_waits || (is_random && !done[o]);
        if (!is_ready)
            continue;
        uint64_t live = live_bytes(done, o);
        done[o] = true;
        try_orders(done, n_done + 1, live > peak ? live : peak);
        done[o] = false;
    }
}

static void try_small(void)
{
    bool done[MAX_OPERATORS] = {false};
    for (uint32_t t = 0; t < graph->n_tensors; t++) { /* an input that nobody reads goes at once */
        bool is_read = graph->tensors[t].producer != GRAPH_NONE || graph->tensors[t].is_output;
        for (uint32_t o = 0; o < graph->n_operators; o++) {
            for (uint32_t i = 0; i < graph->operators[o].n_inputs; i++)
                is_read = is_read || graph_inputs(graph, &graph->operators[o])[i] == t;
        }
        if (!is_read)
            return;
    }
    lowest = UINT64_MAX;
    try_orders(done, 0, 0);
    wishes = (struct quire_model_wishes){.reorder = true};
    REQUIRE(quire_model_schedule(&model, &wishes, &schedule) == 0);
    REQUIRE(schedule.order_bound <= lowest);
    REQUIRE(schedule.live_peak >= lowest);
    REQUIRE(schedule.order_is_proved);
    REQUIRE(schedule.live_peak == lowest);
    quire_model_schedule_free(&schedule);
}

int main(void)
{
    unsigned n_rounds = draw_from_seed(60);
    for (round_number = 0; round_number < n_rounds; round_number++) {
        make_network((uint32_t)(1 + draw(round_number % 2 == 0 ? MAX_OPERATORS - 10 : 12)));
        set_all_contents();
        try_all_wishes();
        check_claims();
        make_network((uint32_t)(1 + draw(7)));
        try_small();
    }
    graph_free(graph);
    return 0;
}
