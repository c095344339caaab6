/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan_model: see plan_model.h.
 *
 *     --shape, --inplace, ... --> quire_model_open(), quire_model_schedule() --> buffers
 *                                                                            --> text, JSON, curve
 */
#include "cli/plan_model.h"

#include "base/size.h"
#include "base/sys.h"
#include "cli/cli.h"
#include "cli/json_text.h"
#include "cli/plan_costs.h"
#include "cli/table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_DIMS 32u
#define N_POINTS 9u /* of a curve */

enum option_key {
    KEY_SHAPE = 512,
    KEY_SUBGRAPH,
    KEY_IN_PLACE,
    KEY_REORDER,
    KEY_RECOMPUTE,
    KEY_OFFLOAD,
    KEY_BANDWIDTH,
    KEY_SPEED,
    KEY_COSTS,
    KEY_CURVE,
    KEY_WEIGHTS,
    KEY_PROFILE
};

static const struct argp_option option_list[] = {
    {"shape", KEY_SHAPE, "NAME=1x3x224x224", 0,
     "The shape of an input, of another tensor, or the length of a named dimension; again for more",
     0},
    {"subgraph", KEY_SUBGRAPH, "N", 0, "Which one of a TFLite file runs (default: 0)", 0},
    {"inplace", KEY_IN_PLACE, NULL, 0,
     "Let operators write over what nobody reads any more, and views share memory", 0},
    {"reorder", KEY_REORDER, NULL, 0, "Look for an order of the operators that needs less memory",
     0},
    {"recompute", KEY_RECOMPUTE, "BUDGET", 0,
     "Drop tensors and compute them again, until BUDGET is met", 0},
    {"offload", KEY_OFFLOAD, "BUDGET", 0,
     "Write buffers out and fetch them again, until BUDGET is met", 0},
    {"bandwidth", KEY_BANDWIDTH, "SIZE", 0, "Of offloading, a second each way (default: 1e9 bytes)",
     0},
    {"speed", KEY_SPEED, "NUMBER", 0, "Arithmetic operations a second (default: 1e10)", 0},
    {"costs", KEY_COSTS, "FILE", 0,
     "CSV, `operator,cost': what operators cost, in arithmetic operations (default: estimates)", 0},
    {"curve", KEY_CURVE, NULL, 0, "Instead of a plan: what each budget costs", 0},
    {"profile", KEY_PROFILE, "FILE", 0,
     "Draw what lives at each moment, before and after each technique", 0},
    {"weights", KEY_WEIGHTS, "SCHEME|SIZE", 0,
     "Instead of a plan: what the weights take, and lose, as f16, i8, u8, i4[:GROUP], "
     "sparse[:SHARE] or "
     "all of these; or what each has to become so that all fit in SIZE",
     0},
    {0},
};

/* The command line */

static void parse_shape(struct argp_state *state, struct plan_model_options *options, char *text)
{
    static int64_t dims[PLAN_MODEL_MAX_SHAPES][MAX_DIMS];
    char *sign = strrchr(text, '='), *at = sign == NULL ? text : sign + 1;
    uint32_t n = (uint32_t)options->model.n_shapes, rank = 0;
    if (n == PLAN_MODEL_MAX_SHAPES)
        argp_error(state, "more than %u shapes", PLAN_MODEL_MAX_SHAPES);
    while (sign != NULL && rank < MAX_DIMS && *at >= '0' && *at <= '9') {
        errno = 0;
        dims[n][rank] = strtoll(at, &at, 10);
        if (errno != 0 || dims[n][rank] > (int64_t)1 << 48)
            argp_error(state, "--shape %s: a dimension is too large", text);
        rank++;
        if (*at == 'x' && at[1] != '\0')
            at++;
        else
            break;
    }
    if (sign == NULL || rank == 0 || *at != '\0')
        argp_error(state, "--shape: '%s' is no NAME=1x3x224x224", text);
    *sign = '\0';
    options->shapes[n] = (struct quire_model_shape){text, rank, dims[n]};
    options->model.shapes = options->shapes;
    options->model.n_shapes++;
}

static uint64_t parse_bytes(struct argp_state *state, const char *option, const char *text)
{
    uint64_t bytes = 0;
    if (size_parse(text, 0, &bytes) != 0 || bytes == 0)
        argp_error(state, "%s: '%s' is no size above 0, such as 4096, 64K or 1.5G", option, text);
    return bytes;
}

static double parse_rate(struct argp_state *state, const char *option, const char *text)
{
    char *end;
    double rate = strtod(text, &end);
    if (text[0] < '.' || text[0] > '9' || *end != '\0' || !(rate >= 1 && rate <= 1e18))
        argp_error(state, "%s: '%s' is no number from 1 to 1e18", option, text);
    return rate;
}

/* As a size (2G), or as the numbers of --speed are written (1e9). */
static double parse_bandwidth(struct argp_state *state, const char *text)
{
    uint64_t bytes = 0;
    if (size_parse(text, 0, &bytes) == 0 && bytes > 0)
        return (double)bytes;
    char *end;
    double rate = strtod(text, &end);
    if (text[0] < '.' || text[0] > '9' || *end != '\0' || !(rate >= 1 && rate <= 1e18))
        argp_error(state, "--bandwidth: '%s' is no size above 0, such as 500M, 2G or 1e9", text);
    return rate;
}

static uint32_t parse_subgraph(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || number > UINT32_MAX)
        argp_error(state, "--subgraph: '%s' is no number from 0 to %" PRIu32, text, UINT32_MAX);
    return (uint32_t)number;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct plan_model_options *options = state->input;
    struct quire_model_wishes *wishes = &options->wishes;
    switch (key) {
    case KEY_SHAPE:
        parse_shape(state, options, argument);
        return 0;
    case KEY_SUBGRAPH:
        options->model.subgraph = parse_subgraph(state, argument);
        options->has_subgraph = true;
        return 0;
    case KEY_IN_PLACE:
        wishes->in_place = true;
        return 0;
    case KEY_REORDER:
        wishes->reorder = true;
        return 0;
    case KEY_RECOMPUTE:
        wishes->recompute_budget = parse_bytes(state, "--recompute", argument);
        return 0;
    case KEY_OFFLOAD:
        wishes->offload_budget = parse_bytes(state, "--offload", argument);
        return 0;
    case KEY_BANDWIDTH:
        wishes->bandwidth = parse_bandwidth(state, argument);
        return 0;
    case KEY_SPEED:
        wishes->speed = parse_rate(state, "--speed", argument);
        return 0;
    case KEY_COSTS:
        options->costs_path = argument;
        return 0;
    case KEY_CURVE:
        options->tells_curve = true;
        return 0;
    case KEY_PROFILE:
        options->profile_path = argument;
        return 0;
    case KEY_WEIGHTS:
        plan_weights_parse(state, &options->weights, argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp plan_model_argp = {.options = option_list, .parser = parse_option};

/* Reading */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), n_end = strlen(end);
    return n >= n_end && strcmp(text + n - n_end, end) == 0;
}

bool plan_model_is(const char *path)
{
    char head[8] = "";
    if (ends_with(path, ".onnx") || ends_with(path, ".tflite"))
        return true;
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false; /* what is read from a pipe is gone */
    FILE *file = fopen(path, "re");
    size_t n = file == NULL ? 0 : fread(head, 1, sizeof head, file);
    if (file != NULL)
        fclose(file);
    return n == sizeof head && memcmp(head + 4, "TFL3", 4) == 0;
}

static bool has_technique(const struct quire_model_wishes *wishes)
{
    return wishes->in_place || wishes->reorder || wishes->recompute_budget != 0 ||
           wishes->offload_budget != 0;
}

/* Half of the time is theirs, the other half the placement's. */
static int apply_techniques(const struct plan_model_options *options, struct plan_model *model)
{
    struct quire_model_wishes wishes = options->wishes;
    uint64_t start_ns = sys_now_ns();
    wishes.time_limit = options->time_limit / 2;
    wishes.costs = model->costs;
    quire_model_schedule_free(&model->schedule);
    int error = quire_model_schedule(model->model, &wishes, &model->schedule);
    model->seconds = (double)(sys_now_ns() - start_ns) / 1e9;
    return error;
}

bool plan_model_read(const char *path, const struct plan_model_options *options,
                     struct plan_model *model)
{
    char message[QUIRE_MODEL_MESSAGE_BYTES];
    struct quire_model_wishes wishes = {.speed = options->wishes.speed}; /* no technique */
    *model = (struct plan_model){0};
    int error = quire_model_open(path, &options->model, &model->model, message);
    if (error != 0) {
        cli_error("%s: %s", path, message);
        return false;
    }
    if (options->costs_path != NULL) {
        model->costs = plan_costs_read(options->costs_path, model->model);
        if (model->costs == NULL) {
            quire_model_close(model->model);
            model->model = NULL;
            return false;
        }
    }
    wishes.costs = model->costs;
    error = quire_model_schedule(model->model, &wishes, &model->schedule);
    model->plain_peak = model->schedule.live_peak;
    if (error == 0 && has_technique(&options->wishes))
        error = apply_techniques(options, model);
    if (error != 0) {
        cli_error("cannot make a schedule for %s: %s", path, strerror(-error));
        free(model->costs);
        quire_model_close(model->model);
        model->model = NULL;
    }
    return error == 0;
}

void plan_model_free(struct plan_model *model)
{
    quire_model_schedule_free(&model->schedule);
    quire_model_close(model->model);
    model->model = NULL;
    free(model->costs);
}

/* Telling */

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

void plan_model_print(const struct plan_model *model)
{
    const struct quire_model_schedule *schedule = &model->schedule;
    struct quire_model_facts facts;
    char text[24];
    quire_model_facts(model->model, &facts);
    printf("model      %s, %u operators, %.4g million arithmetic operations\n", facts.format,
           facts.n_operators, facts.cost / 1e6);
    printf("static     %s of weights and other constants\n",
           size_format(facts.static_bytes, text, sizeof text));
    printf("dynamic    %s if nothing shared memory",
           size_format(facts.dynamic_bytes, text, sizeof text));
    printf("; %s at one time", size_format(model->plain_peak, text, sizeof text));
    if (schedule->live_peak != model->plain_peak)
        printf(", now %s (%.1f%%)", size_format(schedule->live_peak, text, sizeof text),
               share((double)schedule->live_peak, (double)model->plain_peak));
    printf("\n           %s that one operator needs\n",
           size_format(schedule->floor, text, sizeof text));
    if (facts.n_bounds > 0)
        printf("           %u tensors depend on the data: their most counts\n", facts.n_bounds);
    if (facts.n_opaque > 0)
        printf("           %u sequences, strings and the like lie outside\n", facts.n_opaque);
    if (facts.n_conflicts > 0)
        printf("           %u shapes in the file are not what its operators make\n",
               facts.n_conflicts);
    if (schedule->n_shared > 0)
        printf("in place   %u tensors lie in the bytes of others\n", schedule->n_shared);
    if (schedule->order_bound > 0)
        printf("order      no other needs less than %s%s\n",
               size_format(schedule->order_bound, text, sizeof text),
               schedule->order_is_proved ? ": proved to be the best" : "");
    if (schedule->n_recomputed > 0)
        printf("recompute  %u operators run again, %.1f%% more work\n", schedule->n_recomputed,
               share(schedule->extra_cost, schedule->cost));
    if (schedule->n_offloaded > 0)
        printf("offload    %u trips, %s each way, waiting %.1f%% of %.3g ms\n",
               schedule->n_offloaded, size_format(schedule->moved_bytes, text, sizeof text),
               share(schedule->stall_seconds, schedule->seconds), schedule->seconds * 1e3);
}

/* That of the last technique: what the others have left is what it starts from. */
static uint64_t budget_of(const struct plan_model_options *options)
{
    const struct quire_model_wishes *wishes = &options->wishes;
    return wishes->offload_budget != 0 ? wishes->offload_budget : wishes->recompute_budget;
}

enum plan_budget plan_model_budget(const struct plan_model *model,
                                   const struct plan_model_options *options, uint64_t peak)
{
    uint64_t budget = budget_of(options);
    return budget == 0                      ? PLAN_BUDGET_NONE
           : peak <= budget                 ? PLAN_BUDGET_MET
           : model->schedule.least > budget ? PLAN_BUDGET_IMPOSSIBLE
                                            : PLAN_BUDGET_NOT_MET;
}

void plan_model_print_budget(const struct plan_model *model,
                             const struct plan_model_options *options, uint64_t peak)
{
    char budget[24], text[24];
    size_format(budget_of(options), budget, sizeof budget);
    switch (plan_model_budget(model, options, peak)) {
    case PLAN_BUDGET_NONE:
        break;
    case PLAN_BUDGET_MET:
        printf("budget     %s: met\n", budget);
        break;
    case PLAN_BUDGET_NOT_MET:
        printf("budget     %s: not met; %s is the least that was found\n", budget,
               size_format(peak, text, sizeof text));
        break;
    case PLAN_BUDGET_IMPOSSIBLE:
        printf("budget     %s: can't be met: %s have to be there at one time\n", budget,
               size_format(model->schedule.least, text, sizeof text));
        break;
    }
}

static json_t *build_tensors(const struct plan_model *model)
{
    static const char *const roles[] = {"activation", "input", "constant", "variable"};
    struct quire_model_facts facts;
    json_t *list = json_array();
    quire_model_facts(model->model, &facts);
    for (uint32_t i = 0; list != NULL && i < facts.n_tensors; i++) {
        struct quire_model_tensor tensor;
        quire_model_tensor(model->model, i, &tensor);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < tensor.rank && !tensor.is_opaque; d++)
            json_array_append_new(shape, json_integer((json_int_t)tensor.dims[d]));
        json_array_append_new(
            list, json_pack("{s:o, s:s, s:s, s:o, s:I, s:b, s:b, s:b}", "name",
                            json_text(tensor.name), "type", quire_model_type_name(tensor.type),
                            "role", roles[tensor.role], "shape", shape, "bytes",
                            (json_int_t)tensor.n_bytes, "output", (int)tensor.is_output, "bound",
                            (int)tensor.is_bound, "opaque", (int)tensor.is_opaque));
    }
    return list;
}

static json_t *build_steps(const struct plan_model *model)
{
    static const char *const actions[] = {"run", "recompute", "evict", "prefetch"};
    const struct quire_model_schedule *schedule = &model->schedule;
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < schedule->n_steps; i++) {
        const struct quire_model_step *step = &schedule->steps[i];
        struct quire_model_operator operator_ = {.type = "", .name = ""};
        bool runs = step->operator_ != QUIRE_MODEL_NONE;
        if (runs)
            quire_model_operator(model->model, step->operator_, &operator_);
        json_array_append_new(
            list, runs ? json_pack("{s:s, s:o, s:o}", "action", actions[step->action], "operator",
                                   json_text(operator_.type), "name", json_text(operator_.name))
                       : json_pack("{s:s, s:I}", "action", actions[step->action], "buffer",
                                   (json_int_t)step->buffer));
    }
    return list;
}

static json_t *build_places(const struct plan_model *model)
{
    const struct quire_model_schedule *schedule = &model->schedule;
    json_t *list = json_array();
    for (size_t i = 0; list != NULL && i < schedule->n_places; i++) {
        const struct quire_model_place *place = &schedule->places[i];
        json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "tensor", (json_int_t)place->tensor, "buffer",
                      (json_int_t)place->buffer, "offset", (json_int_t)place->offset, "lower",
                      (json_int_t)place->lower, "upper", (json_int_t)place->upper));
    }
    return list;
}

json_t *plan_model_json(const struct plan_model *model, const struct plan_model_options *options,
                        uint64_t peak)
{
    enum plan_budget budget = plan_model_budget(model, options, peak);
    const struct quire_model_schedule *schedule = &model->schedule;
    struct quire_model_facts facts;
    quire_model_facts(model->model, &facts);
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, "
        "s:b, s:b, s:o, s:o, s:o}",
        "format", facts.format, "operators", (json_int_t)facts.n_operators, "static_bytes",
        (json_int_t)facts.static_bytes, "dynamic_bytes", (json_int_t)facts.dynamic_bytes,
        "plain_peak_bytes", (json_int_t)model->plain_peak, "floor_bytes",
        (json_int_t)schedule->floor, "least_bytes", (json_int_t)schedule->least, "budget_bytes",
        (json_int_t)budget_of(options), "order_bound_bytes", (json_int_t)schedule->order_bound,
        "shared", (json_int_t)schedule->n_shared, "recomputed", (json_int_t)schedule->n_recomputed,
        "offloaded", (json_int_t)schedule->n_offloaded, "moved_bytes",
        (json_int_t)schedule->moved_bytes, "cost", schedule->cost, "extra_cost",
        schedule->extra_cost, "seconds", schedule->seconds, "stall_seconds",
        schedule->stall_seconds, "order_proved", (int)schedule->order_is_proved, "fits_budget",
        (int)(budget == PLAN_BUDGET_NONE || budget == PLAN_BUDGET_MET), "tensors",
        build_tensors(model), "steps", build_steps(model), "places", build_places(model));
}

/* The curve */

bool plan_model_is_wanted(const struct plan_model_options *options)
{
    const struct quire_model_wishes *wishes = &options->wishes;
    return plan_model_tells(options) || options->profile_path != NULL || wishes->in_place ||
           wishes->reorder || wishes->recompute_budget != 0 || wishes->offload_budget != 0 ||
           wishes->bandwidth != 0 || wishes->speed != 0 || options->costs_path != NULL ||
           options->model.n_shapes > 0 || options->has_subgraph;
}

bool plan_model_tells(const struct plan_model_options *options)
{
    return options->tells_curve || options->weights.wish != PLAN_WEIGHTS_NONE;
}

/* With three digits, in the unit of `most`: points of a curve lie close to each other. */
static const char *fine_size(uint64_t bytes, uint64_t most, char *text, size_t n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    while (most >> (10 * unit) >= 1024)
        unit++;
    snprintf(text, n_bytes, unit == 0 ? "%.0f %s" : "%.3f %s",
             (double)bytes / (double)((uint64_t)1 << (10 * unit)), units[unit]);
    return text;
}

static bool add_point(struct table *table, json_t *list, const struct plan_model *model,
                      const struct quire_model_wishes *wishes, const char *technique,
                      uint64_t budget)
{
    struct quire_model_schedule schedule;
    uint64_t most = model->schedule.live_peak; /* whose unit is that of all */
    char text[32];
    int error = quire_model_schedule(model->model, wishes, &schedule);
    if (error != 0) {
        cli_error("cannot make a schedule: %s", strerror(-error));
        return false;
    }
    double more = share(schedule.extra_cost, schedule.cost);
    double waits = share(schedule.stall_seconds, schedule.seconds - schedule.stall_seconds);
    if (list != NULL) {
        json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:f, s:I, s:f, s:b}", "technique",
                                              technique, "budget_bytes", (json_int_t)budget,
                                              "peak_bytes", (json_int_t)schedule.live_peak,
                                              "more_work_percent", more, "moved_bytes",
                                              (json_int_t)schedule.moved_bytes, "waiting_percent",
                                              waits, "fits_budget", (int)schedule.fits_budget));
    } else {
        table_add(table, technique);
        table_add(table, fine_size(budget, most, text, sizeof text));
        table_add(table, fine_size(schedule.live_peak, most, text, sizeof text));
        snprintf(text, sizeof text, "%.1f", more);
        table_add(table, text);
        table_add(table, fine_size(schedule.moved_bytes, most, text, sizeof text));
        snprintf(text, sizeof text, "%.1f", waits);
        table_add(table, text);
        table_add(table, schedule.fits_budget ? "yes" : "no");
    }
    quire_model_schedule_free(&schedule);
    return true;
}

static bool tell_curve(const struct plan_model_options *options, const struct plan_model *model,
                       bool as_json)
{
    struct table table = {.n_columns = 7, .left = 1};
    struct quire_model_wishes wishes = options->wishes;
    wishes.costs = model->costs;
    uint64_t most = model->schedule.live_peak, least = model->schedule.floor;
    json_t *list = as_json ? json_array() : NULL;
    bool is_good = true;
    static const char *const head[] = {"technique", "budget",    "peak", "more work %",
                                       "moved",     "waiting %", "met"};
    for (unsigned i = 0; !as_json && i < 7; i++)
        table_add(&table, head[i]);
    for (unsigned technique = 0; technique < 2; technique++) {
        for (unsigned i = 0; is_good && i < N_POINTS; i++) {
            uint64_t budget = most - (most - least) / (N_POINTS - 1) * i;
            budget = i == N_POINTS - 1 ? least : budget;
            wishes.recompute_budget = technique == 0 ? budget : 0;
            wishes.offload_budget = technique == 0 ? 0 : budget;
            wishes.time_limit = options->time_limit / (2 * N_POINTS);
            is_good = budget == 0 || add_point(&table, list, model, &wishes,
                                               technique == 0 ? "recompute" : "offload", budget);
            if (most == least)
                break; /* one operator needs all: nothing can be saved */
        }
    }
    if (is_good && as_json) {
        is_good = json_dumpf(list, stdout, JSON_INDENT(1)) == 0;
        putchar('\n');
    } else if (is_good) {
        is_good = table_print(&table, 0);
    }
    table_free(&table);
    json_decref(list);
    return is_good;
}

int plan_model_tell(const struct plan_model_options *options, const struct plan_model *model,
                    bool as_json)
{
    if (options->weights.wish != PLAN_WEIGHTS_NONE)
        return plan_weights_tell(&options->weights, model->model, as_json);
    return tell_curve(options, model, as_json) ? 0 : CLI_EXIT_FAILED;
}
