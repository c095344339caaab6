/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout: `quire layout`. What a conversion between two layouts costs: bytes, lines, pages, time.
 *
 *     --shape, --from, --to --quire_layout_conversion_init--> sizes
 *                           --layout_model--> lines and pages, by a model of cache and TLB
 *                           --layout_bench--> GB/s beside memcpy()
 *     --network FILE --layout_network--> the best layout for each operator
 *
 * Exit status 0; 125: the command line or the file can't be understood, or there is no memory.
 */
#include "base/size.h"
#include "cli/cli.h"
#include "cli/command_line.h"
#include "cli/json_text.h"
#include "cli/layout_bench.h"
#include "cli/layout_model.h"
#include "cli/layout_network.h"
#include "cli/table.h"
#include "observe/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BENCH_SECONDS 0.3
#define MAX_SHAPES 16

enum option_key { KEY_SHAPE = 256, KEY_FROM, KEY_TO, KEY_TYPE, KEY_BENCH, KEY_ISA, KEY_NETWORK };

struct arguments {
    const char *from_name, *to_name, *shape_text, *network_path;
    struct quire_model_shape shapes[MAX_SHAPES]; /* of a network's inputs */
    int64_t input_dims[MAX_SHAPES][QUIRE_LAYOUT_MAX_DIMS];
    size_t n_shapes;
    int64_t dims[QUIRE_LAYOUT_MAX_DIMS];
    uint32_t n_dims;
    enum quire_layout_type type;
    struct quire_layout_options options;
    bool has_type, benches, as_json;
};

struct answer {
    struct quire_layout_conversion conversion;
    struct layout_walk tiled, plain;
    int64_t walked[QUIRE_LAYOUT_MAX_DIMS]; /* the dimensions that the walks had */
    struct layout_speed speed;
    bool is_data; /* n c h w: there are views of a kernel */
};

static const struct argp_option option_list[] = {
    {"shape", KEY_SHAPE, "1x64x56x56", 0,
     "The tensor's dimensions, in the order n c h w or o i h w", 0},
    {"from", KEY_FROM, "LAYOUT", 0, "How it lies: nchw, nhwc, nchw4c, nchw8c, nchw16c, oihw, ...",
     0},
    {"to", KEY_TO, "LAYOUT", 0, "How it shall lie", 0},
    {"type", KEY_TYPE, "TYPE", 0, "Of its elements: f32, f16, bf16 or i8 (default: f32)", 0},
    {"bench", KEY_BENCH, NULL, 0, "Convert it here and now, beside memcpy()", 0},
    {"isa", KEY_ISA, "NAME", 0,
     "Instructions to use: portable, sse2, neon, avx2 or avx512 (default: the best here)", 0},
    {"network", KEY_NETWORK, "FILE", 0,
     "Find the best layout for each operator of a model (.onnx, .tflite) instead. --shape "
     "NAME=1x3x224x224 is of an input then",
     0},
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {0},
};

static const char documentation[] =
    "Tell what it costs to convert a tensor from one layout to another, and what a kernel that "
    "reads them touches."
    "\v"
    "A layout is named by its dimensions from the outermost to the innermost, then its blocks: "
    "nchw16c has 16 channels of a pixel side by side. Data has n images, c channels, h rows, w "
    "columns; weights have o output and i input channels.\n"
    "\n"
    "Examples:\n"
    "  quire layout --shape 1x64x56x56 --from nchw --to nchw16c --bench\n"
    "  quire layout --shape 256x256x3x3 --from oihw --to oihw16i16o\n"
    "  quire layout --network pose.tflite\n"
    "\n"
    "Exit status:\n"
    "  0    it is told\n"
    "  125  the command line can't be understood, or there is no memory";

/* The command line */

/* "1x64x56x56"; returns the number of dimensions. */
static uint32_t parse_dims(struct argp_state *state, const char *text, int64_t *dims)
{
    const char *at = text;
    uint32_t n = 0;

    do {
        char *end;
        errno = 0;
        int64_t dim = strtoll(at, &end, 10);
        bool is_last = *end == '\0';
        if (end == at || *at < '0' || *at > '9' || dim < 1 || (*end != 'x' && !is_last))
            argp_error(state, "--shape: '%s' is no shape such as 1x64x56x56, each 1 or more", text);
        if (errno != 0 || (uint64_t)dim > QUIRE_LAYOUT_MAX_BYTES)
            argp_error(state, "--shape: %s: a dimension is too large", text);
        if (n == QUIRE_LAYOUT_MAX_DIMS)
            argp_error(state, "--shape: %s: more than %d dimensions", text, QUIRE_LAYOUT_MAX_DIMS);
        dims[n++] = dim;
        if (is_last)
            return n;
        at = end + 1;
    } while (true);
}

static void parse_shape(struct argp_state *state, struct arguments *arguments, char *text)
{
    char *sign = strrchr(text, '=');

    if (sign == NULL) {
        arguments->shape_text = text;
        arguments->n_dims = parse_dims(state, text, arguments->dims);
        return;
    }
    if (arguments->n_shapes == MAX_SHAPES)
        argp_error(state, "more than %d shapes", MAX_SHAPES);
    *sign = '\0';
    int64_t *dims = arguments->input_dims[arguments->n_shapes];
    arguments->shapes[arguments->n_shapes++] = (struct quire_model_shape){
        text, parse_dims(state, sign + 1, dims), dims};
}

static enum quire_layout_type parse_type(struct argp_state *state, const char *text)
{
    for (int type = 0; type < QUIRE_LAYOUT_N_TYPES; type++)
        if (strcmp(quire_layout_type_name((enum quire_layout_type)type), text) == 0)
            return (enum quire_layout_type)type;
    argp_error(state, "there is no type '%s': f32, f16, bf16 and i8 are known", text);
    return QUIRE_LAYOUT_F32;
}

static enum quire_layout_isa parse_isa(struct argp_state *state, const char *text)
{
    for (int isa = 0; isa < QUIRE_LAYOUT_N_ISAS; isa++) {
        if (strcmp(quire_layout_isa_name((enum quire_layout_isa)isa), text) != 0)
            continue;
        if (!quire_layout_isa_is_here((enum quire_layout_isa)isa))
            argp_error(state, "--isa: this processor has no %s; the best here is %s", text,
                       quire_layout_isa_name(quire_layout_isa_best()));
        return (enum quire_layout_isa)isa;
    }
    argp_error(state, "--isa: '%s' is none of portable, sse2, neon, avx2 and avx512", text);
    return QUIRE_LAYOUT_BEST;
}

static void check_arguments(struct argp_state *state, const struct arguments *arguments)
{
    if (arguments->network_path != NULL) {
        if (arguments->shape_text != NULL || arguments->from_name != NULL ||
            arguments->to_name != NULL)
            argp_error(state, "--network finds the layouts: without --from and --to, and --shape "
                              "names an input, NAME=1x3x224x224");
        if (arguments->has_type || arguments->benches ||
            arguments->options.isa != QUIRE_LAYOUT_BEST)
            argp_error(state, "--network measures what the model has, with the best instructions "
                              "here: without --type, --bench and --isa");
        return;
    }
    if (arguments->n_shapes > 0)
        argp_error(state, "--shape NAME=... is an input's, of --network");
    if (arguments->shape_text == NULL)
        argp_error(state, "which tensor? give its shape: --shape 1x64x56x56");
    if (arguments->from_name == NULL || arguments->to_name == NULL)
        argp_error(state, "which layouts? give --from and --to, such as nchw and nchw16c");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;

    switch (key) {
    case KEY_SHAPE:
        parse_shape(state, arguments, argument);
        return 0;
    case KEY_FROM:
        arguments->from_name = argument;
        return 0;
    case KEY_TO:
        arguments->to_name = argument;
        return 0;
    case KEY_TYPE:
        arguments->type = parse_type(state, argument);
        arguments->has_type = true;
        return 0;
    case KEY_NETWORK:
        arguments->network_path = argument;
        return 0;
    case KEY_BENCH:
        arguments->benches = true;
        return 0;
    case KEY_ISA:
        arguments->options.isa = parse_isa(state, argument);
        return 0;
    case 'j':
        arguments->as_json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "'%s': everything is said by options", argument);
        return 0;
    case ARGP_KEY_END:
        check_arguments(state, arguments);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The answer */

static bool make_layout(const struct arguments *arguments, const char *name,
                        struct quire_layout *layout)
{
    int error = quire_layout_init(layout, name, arguments->type, arguments->n_dims,
                                  arguments->dims);

    if (error == -EOVERFLOW)
        cli_error("%s in %s is too large: a tensor has %u TiB at most", arguments->shape_text, name,
                  (unsigned)(QUIRE_LAYOUT_MAX_BYTES >> 40));
    else if (error != 0)
        cli_error("'%s' is no layout of %u dimension%s\n"
                  "names are such as nchw, nhwc, nchw16c, oihw, oihw16i16o, with blocks of %d at "
                  "most: `quire help layout'",
                  name, arguments->n_dims, arguments->n_dims == 1 ? "" : "s",
                  QUIRE_LAYOUT_MAX_BLOCK);
    return error == 0;
}

/* Whether both tensors can be had here: writing to what there is no memory for ends in a signal. */
static bool is_room_for(const struct quire_layout_conversion *conversion)
{
    uint64_t wanted = conversion->from_bytes + conversion->to_bytes, room = machine_whole_bytes("");
    struct machine_memory memory;
    char text[24], size[24];

    if (machine_memory("", &memory) == 0 && (room == 0 || memory.available_bytes < room))
        room = memory.available_bytes;
    if (room == 0 || wanted <= room)
        return true;
    cli_error(
        "--bench wants %s for both tensors, and there are %s: give a smaller --shape, or leave "
        "--bench out",
        size_format(wanted, text, sizeof text), size_format(room, size, sizeof size));
    return false;
}

static bool find_answer(const struct arguments *arguments, struct answer *answer)
{
    struct quire_layout from, to;

    if (!make_layout(arguments, arguments->from_name, &from) ||
        !make_layout(arguments, arguments->to_name, &to))
        return false;
    bool from_weights = strpbrk(arguments->from_name, "oOiI") != NULL;
    if (from_weights != (strpbrk(arguments->to_name, "oOiI") != NULL)) {
        cli_error("%s and %s: one is of data, the other of weights", arguments->from_name,
                  arguments->to_name);
        return false;
    }
    answer->is_data = !from_weights && from.n_dims == 4;
    int error = quire_layout_conversion_init(&answer->conversion, &from, &to, &arguments->options);
    if (error == 0 && arguments->benches && !is_room_for(&answer->conversion))
        return false;
    if (error == 0)
        error = layout_model_walk(&from, &to, &answer->tiled, &answer->plain, answer->walked);
    if (error == 0 && arguments->benches)
        error = layout_bench(&answer->conversion, BENCH_SECONDS, &answer->speed);
    if (error != 0)
        cli_error("cannot convert %s from %s to %s: %s", arguments->shape_text,
                  arguments->from_name, arguments->to_name, strerror(-error));
    return error == 0;
}

/* Telling */

static void add_number(struct table *table, uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    table_add(table, text);
}

static void add_walk(struct table *table, const char *name, const struct layout_walk *walk)
{
    char text[32];

    table_add(table, name);
    add_number(table, walk->n_lines);
    snprintf(text, sizeof text, "%" PRIu64 " (%.1fx)", walk->n_fetched,
             (double)walk->n_fetched / (double)walk->n_lines);
    table_add(table, text);
    add_number(table, walk->n_pages);
    add_number(table, walk->n_second);
    add_number(table, walk->n_walks);
}

static bool is_whole(const struct answer *answer)
{
    const struct quire_layout *from = &answer->conversion.from;

    return memcmp(answer->walked, from->dims, from->n_dims * sizeof from->dims[0]) == 0;
}

static bool print_walks(const struct answer *answer)
{
    static const char *const heads[] = {"", "lines", "fetched", "pages", "second TLB", "walks"};
    struct table table = {.n_columns = 6, .left = 1};

    printf("\nmodel      " LAYOUT_MODEL_TEXT "\n");
    if (!is_whole(answer)) {
        printf("           of the first %" PRId64, answer->walked[0]);
        for (uint32_t d = 1; d < answer->conversion.from.n_dims; d++)
            printf("x%" PRId64, answer->walked[d]);
        printf(" alone\n");
    }
    for (unsigned i = 0; i < table.n_columns; i++)
        table_add(&table, heads[i]);
    add_walk(&table, "tile by tile", &answer->tiled);
    add_walk(&table, "element by element", &answer->plain);
    bool is_good = table_print(&table, 0);
    table_free(&table);
    return is_good;
}

static bool print_views(const struct arguments *arguments, const struct answer *answer)
{
    struct table table = {.n_columns = 5, .left = 1};
    static const char *const heads[] = {"all channels of", "a pixel: lines", "pages",
                                        "3x3 pixels: lines", "pages"};

    putchar('\n');
    for (unsigned i = 0; i < table.n_columns; i++)
        table_add(&table, heads[i]);
    for (unsigned side = 0; side < 2; side++) {
        const struct quire_layout *layout = side == 0 ? &answer->conversion.from
                                                      : &answer->conversion.to;
        struct layout_view one, nine;
        layout_model_view(layout, 1, &one);
        layout_model_view(layout, 3, &nine);
        table_add(&table, side == 0 ? arguments->from_name : arguments->to_name);
        add_number(&table, one.n_lines);
        add_number(&table, one.n_pages);
        add_number(&table, nine.n_lines);
        add_number(&table, nine.n_pages);
    }
    bool is_good = table_print(&table, 0);
    table_free(&table);
    return is_good;
}

static uint64_t tail_bytes(const struct quire_layout *layout)
{
    return quire_layout_bytes(layout) -
           quire_layout_elements(layout) * quire_layout_type_bytes(layout->type);
}

static void print_side(const char *title, const char *name, const struct quire_layout *layout)
{
    char text[24];

    printf("%-10s %s, %s", title, name, size_format(quire_layout_bytes(layout), text, sizeof text));
    if (tail_bytes(layout) > 0)
        printf(", of which %s are tails: zeros",
               size_format(tail_bytes(layout), text, sizeof text));
    putchar('\n');
}

static double speed_of(uint64_t n_bytes, double seconds)
{
    return seconds > 0 ? (double)n_bytes / seconds / 1e9 : 0;
}

static void print_speed(const struct answer *answer)
{
    const struct layout_speed *speed = &answer->speed;
    double ours = speed_of(speed->n_bytes, speed->seconds);
    double copy = speed_of(speed->copied_bytes, speed->copy_seconds);
    char text[24];

    printf("\nmoved      %s read and written in %.4g us: %.1f GB/s (%s)\n",
           size_format(speed->n_bytes, text, sizeof text), speed->seconds * 1e6, ours,
           quire_layout_isa_name((enum quire_layout_isa)answer->conversion.isa));
    printf("memcpy     %.1f GB/s: the conversion has %.0f%% of it\n", copy,
           copy > 0 ? 100 * ours / copy : 0);
}

static bool print_answer(const struct arguments *arguments, const struct answer *answer)
{
    const struct quire_layout_conversion *conversion = &answer->conversion;
    char text[24];

    printf("shape      %s %s, %s\n", arguments->shape_text, quire_layout_type_name(arguments->type),
           size_format(quire_layout_elements(&conversion->from) *
                           quire_layout_type_bytes(arguments->type),
                       text, sizeof text));
    print_side("from", arguments->from_name, &conversion->from);
    print_side("to", arguments->to_name, &conversion->to);
    printf("in place   with %s beside it\n",
           size_format(quire_layout_in_place_bytes(conversion), text, sizeof text));
    if (arguments->benches)
        print_speed(answer);
    return print_walks(answer) && (!answer->is_data || print_views(arguments, answer));
}

/* JSON */

static json_t *walk_json(const struct layout_walk *walk)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "lines", (json_int_t)walk->n_lines,
                     "fetched_lines", (json_int_t)walk->n_fetched, "pages",
                     (json_int_t)walk->n_pages, "second_level_tlb_hits", (json_int_t)walk->n_second,
                     "page_table_walks", (json_int_t)walk->n_walks);
}

static json_t *side_json(const char *name, const struct quire_layout *layout, bool is_data)
{
    struct layout_view one = {0}, nine = {0};
    json_t *side = json_pack("{s:o, s:I, s:I}", "layout", json_text(name), "bytes",
                             (json_int_t)quire_layout_bytes(layout), "tail_bytes",
                             (json_int_t)tail_bytes(layout));

    if (is_data) {
        layout_model_view(layout, 1, &one);
        layout_model_view(layout, 3, &nine);
        json_object_set_new(side, "pixel",
                            json_pack("{s:I, s:I}", "lines", (json_int_t)one.n_lines, "pages",
                                      (json_int_t)one.n_pages));
        json_object_set_new(side, "pixels_3x3",
                            json_pack("{s:I, s:I}", "lines", (json_int_t)nine.n_lines, "pages",
                                      (json_int_t)nine.n_pages));
    }
    return side;
}

static json_t *dims_json(const int64_t *dims, uint32_t n_dims)
{
    json_t *list = json_array();

    for (uint32_t d = 0; d < n_dims; d++)
        json_array_append_new(list, json_integer(dims[d]));
    return list;
}

static bool print_json(const struct arguments *arguments, const struct answer *answer)
{
    const struct quire_layout_conversion *conversion = &answer->conversion;
    const struct layout_speed *speed = &answer->speed;
    json_t *root = json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:I, s:s, s:o}", "schema", "quire.layout/1", "shape",
        dims_json(arguments->dims, arguments->n_dims), "type",
        quire_layout_type_name(arguments->type), "from",
        side_json(arguments->from_name, &conversion->from, answer->is_data), "to",
        side_json(arguments->to_name, &conversion->to, answer->is_data), "in_place_bytes",
        (json_int_t)quire_layout_in_place_bytes(conversion), "isa",
        quire_layout_isa_name((enum quire_layout_isa)conversion->isa), "model",
        json_pack("{s:o, s:o, s:o}", "shape", dims_json(answer->walked, arguments->n_dims), "tiles",
                  walk_json(&answer->tiled), "elements", walk_json(&answer->plain)));

    if (arguments->benches) {
        double ours = speed_of(speed->n_bytes, speed->seconds);
        double copy = speed_of(speed->copied_bytes, speed->copy_seconds);
        json_object_set_new(root, "bench",
                            json_pack("{s:I, s:f, s:f, s:f, s:f}", "moved_bytes",
                                      (json_int_t)speed->n_bytes, "seconds", speed->seconds,
                                      "gigabytes_per_second", ours, "memcpy_gigabytes_per_second",
                                      copy, "share_of_memcpy", copy > 0 ? ours / copy : 0));
    }
    bool is_good = root != NULL && json_dumpf(root, stdout, JSON_INDENT(1)) == 0;
    putchar('\n');
    json_decref(root);
    return is_good;
}

int cli_layout(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_list, .parser = parse_option, .doc = documentation};
    static struct arguments arguments;
    struct answer answer = {0};

    command_line_parse(&parser, argc, argv, 0, &arguments);
    if (arguments.network_path != NULL) {
        const struct quire_model_options options = {arguments.shapes, arguments.n_shapes, 0};
        return layout_network(arguments.network_path, &options, arguments.as_json)
                   ? EXIT_SUCCESS
                   : CLI_EXIT_FAILED;
    }
    if (!find_answer(&arguments, &answer))
        return CLI_EXIT_FAILED;
    bool is_good = arguments.as_json ? print_json(&arguments, &answer)
                                     : print_answer(&arguments, &answer);
    if (!is_good)
        cli_error("cannot print: %s", strerror(ENOMEM));
    return is_good ? EXIT_SUCCESS : CLI_EXIT_FAILED;
}
