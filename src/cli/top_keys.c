/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top_keys: what a key does. Prompts take all keys until Enter or Esc; then come those of a
 * recording, those of the page, and those that hold everywhere. A key is one row of a table.
 */
#include "cli/top.h"

#include "cli/figures.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void say(struct top *top, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct top *top, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(top->message, sizeof top->message, format, arguments);
    va_end(arguments);
}

int top_move(struct top *top, int64_t n)
{
    const struct sample *sample;

    top->feed->parts = top_parts(top);
    int error = feed_move(top->feed, n, &sample);
    if (error < 0)
        return error;
    top->sample = sample;
    if (!top_arrange(top))
        return -ENOMEM;
    top_follow_run(top);
    return 0;
}

/* ---- moving in time ---- */

static void move_in_time(struct top *top, int64_t n)
{
    top->is_paused = true;
    if (top_move(top, n) < 0)
        say(top, "%s", feed_message(top->feed));
}

static int64_t samples_in(const struct top *top, unsigned seconds)
{
    uint64_t interval_ms = top->feed->interval_ms > 0 ? top->feed->interval_ms : 1000;
    int64_t n = (int64_t)(seconds * 1000 / interval_ms);

    return n > 0 ? n : 1;
}

static bool time_key(struct top *top, int key)
{
    static const struct {
        int key, direction;
        unsigned seconds; /* 0: one sample */
    } moves[] = {{SCREEN_LEFT, -1, 0}, {SCREEN_RIGHT, 1, 0}, {',', -1, 0},   {'.', 1, 0},
                 {'[', -1, 60},        {']', 1, 60},         {'{', -1, 600}, {'}', 1, 600}};

    for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
        if (moves[i].key != key)
            continue;
        if (!top->feed->is_recorded)
            say(top, "only a recording (--replay FILE) can be moved in");
        else
            move_in_time(top, moves[i].direction *
                                  (moves[i].seconds > 0 ? samples_in(top, moves[i].seconds) : 1));
        return true;
    }
    if (!top->feed->is_recorded || (key != '0' && key != '$'))
        return false;
    move_in_time(top, key == '0' ? -(int64_t)top->feed->n_samples : (int64_t)top->feed->n_samples);
    return true;
}

/* ---- prompts ---- */

static void ask(struct top *top, enum top_prompt prompt, const char *input)
{
    top->prompt = prompt;
    snprintf(top->input, sizeof top->input, "%s", input);
}

static void ask_kill(struct top *top)
{
    const struct quire_observe_process *process = top_selected(top);

    if (!top->is_this_machine)
        say(top, "this is a recording: its processes can't be ended");
    else if (process != NULL) {
        top->kill_pid = process->pid;
        top->kill_start_ms = process->start_ms;
        ask(top, TOP_ASK_KILL, process->name);
    }
}

/* Sends the signal to the very process that was asked about: its number may be another's by now. */
static int send_signal(const struct top *top, int signal)
{
    struct quire_observe_process process;
    int fd = (int)syscall(SYS_pidfd_open, top->kill_pid, 0);

    if (fd < 0 && errno != ENOSYS)
        return -errno;
    int error = quire_observe_process(top->observe, top->kill_pid, QUIRE_OBSERVE_STAT, &process);
    if (error == 0 && process.start_ms != top->kill_start_ms)
        error = -ESRCH;
    if (error == 0)
        error = fd >= 0 ? (int)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0)
                        : kill(top->kill_pid, signal);
    if (error == -1)
        error = -errno;
    if (fd >= 0)
        close(fd);
    return error;
}

static void answer_kill(struct top *top, int key)
{
    top->prompt = TOP_NO_PROMPT;
    if (key != 'y' && key != 'Y' && key != 'k' && key != 'K') {
        say(top, "nothing was sent to %d", top->kill_pid);
        return;
    }
    bool is_hard = key == 'k' || key == 'K';
    int error = send_signal(top, is_hard ? SIGKILL : SIGTERM);
    if (error < 0)
        say(top, "cannot end %d: %s", top->kill_pid,
            error == -ESRCH ? "it has ended already" : strerror(-error));
    else
        say(top, "%s was sent to %d (%s)", is_hard ? "SIGKILL" : "SIGTERM", top->kill_pid,
            top->input);
}

static void answer_delay(struct top *top)
{
    uint64_t ms = figures_parse_seconds(top->input);

    top->prompt = TOP_NO_PROMPT;
    if (ms == 0)
        say(top, "'%s' is no number of seconds from 0.001 to 86400", top->input);
    else
        top->delay_ms = ms;
}

static void edit(struct top *top, int key)
{
    size_t n = strlen(top->input);

    if (key == SCREEN_BACKSPACE) {
        while (n > 0 && ((unsigned char)top->input[n - 1] & 0xc0) == 0x80)
            n--; /* the rest of a character */
        top->input[n > 0 ? n - 1 : 0] = '\0';
    } else if (key == 'U' - 64) {
        top->input[0] = '\0';
    } else if (key >= ' ' && key < 256 && n + 1 < sizeof top->input) {
        top->input[n] = (char)key;
        top->input[n + 1] = '\0';
    }
}

static void prompt_key(struct top *top, int key)
{
    bool is_filter = top->prompt == TOP_ASK_FILTER;

    if (top->prompt == TOP_ASK_KILL) {
        answer_kill(top, key);
    } else if (key == SCREEN_ESCAPE) {
        top->prompt = TOP_NO_PROMPT;
        if (is_filter)
            top_set_filter(top, "");
    } else if (key == SCREEN_ENTER) {
        if (is_filter)
            top->prompt = TOP_NO_PROMPT;
        else
            answer_delay(top);
    } else {
        edit(top, key);
        if (is_filter)
            top_set_filter(top, top->input);
    }
    top_arrange(top);
}

/* ---- keys that hold everywhere ---- */

static void show_help(struct top *top)
{
    top->page_before_help = top->page;
    top->page = TOP_HELP;
    top->help_first = 0;
}

static void quit(struct top *top)
{
    top->has_to_end = true;
}

static void pause_or_go(struct top *top)
{
    top->is_paused = !top->is_paused;
}

static void take_now(struct top *top)
{
    if (top_move(top, 1) < 0)
        say(top, "%s", feed_message(top->feed));
}

static void ask_delay(struct top *top)
{
    ask(top, TOP_ASK_DELAY, "");
}

/* ---- keys of the list ---- */

static void ask_filter(struct top *top)
{
    ask(top, TOP_ASK_FILTER, top->filter_text);
}

static void clear_filter(struct top *top)
{
    top_set_filter(top, "");
    top_arrange(top);
}

static void turn(struct top *top)
{
    top->order.reverse = !top->order.reverse;
    top_arrange(top);
}

static void tree(struct top *top)
{
    top->order.tree = !top->order.tree;
    top_arrange(top);
}

static void kernel_threads(struct top *top)
{
    top->order.all = !top->order.all;
    top_arrange(top);
}

/* A set may need what was not read: a new sample comes at once. */
static void next_set(struct top *top)
{
    top_use_set(top, top->set + 1);
    top_arrange(top);
    if (!top->feed->is_recorded)
        take_now(top);
}

static void sort_left(struct top *top)
{
    top_sort_beside(top, -1);
    top_arrange(top);
}

static void sort_right(struct top *top)
{
    top_sort_beside(top, 1);
    top_arrange(top);
}

static void sort_named(struct top *top, const char *column)
{
    if (!top_sort_by(top, column))
        say(top, "these columns have no '%s'; v shows others", column);
    top_arrange(top);
}

static void sort_rss(struct top *top)
{
    sort_named(top, "rss");
}

static void sort_cpu(struct top *top)
{
    sort_named(top, "cpu_percent");
}

static void sort_major(struct top *top)
{
    sort_named(top, "major_rate");
}

static void sort_pid(struct top *top)
{
    sort_named(top, "pid");
}

static void open_run(struct top *top)
{
    const struct quire_observe_process *process = top_selected(top);

    if (process == NULL)
        return;
    if (process->run <= 0) {
        say(top, "%d (%s) is in no run of Quire: `quire run' starts one", process->pid,
            process->name);
        return;
    }
    top->page = TOP_RUN;
    top_choose_run(top, (uint64_t)process->run);
}

static void up(struct top *top)
{
    top_select(top, (int64_t)top->selected - 1);
}

static void down(struct top *top)
{
    top_select(top, (int64_t)top->selected + 1);
}

static void page_up(struct top *top)
{
    top_select(top, (int64_t)top->selected - (int64_t)top->n_visible);
}

static void page_down(struct top *top)
{
    top_select(top, (int64_t)(top->selected + top->n_visible));
}

static void first(struct top *top)
{
    top_select(top, 0);
}

static void last(struct top *top)
{
    top_select(top, (int64_t)top->view.n);
}

/* ---- keys of the other pages ---- */

static void leave_run(struct top *top)
{
    top->page = TOP_MAIN;
    top_choose_run(top, 0);
}

static void leave_help(struct top *top)
{
    top->page = top->page_before_help;
}

static void help_up(struct top *top)
{
    top->help_first -= top->help_first > 0;
}

static void help_down(struct top *top)
{
    top->help_first++; /* the page bounds it */
}

static const struct binding {
    int key;
    void (*act)(struct top *top);
} everywhere[] = {{'q', quit},        {'Q', quit},      {SCREEN_F1 + 9, quit},
                  {'h', show_help},   {'?', show_help}, {SCREEN_F1, show_help},
                  {' ', pause_or_go}, {'d', ask_delay}, {'s', ask_delay},
                  {'r', take_now},    {0, NULL}},
  in_list[] = {{'/', ask_filter},
               {SCREEN_F1 + 2, ask_filter},
               {SCREEN_F1 + 3, ask_filter},
               {SCREEN_ESCAPE, clear_filter},
               {'t', tree},
               {SCREEN_F1 + 4, tree},
               {'<', sort_left},
               {'>', sort_right},
               {SCREEN_F1 + 5, sort_right},
               {'I', turn},
               {'R', turn},
               {'K', kernel_threads},
               {'v', next_set},
               {'\t', next_set},
               {'M', sort_rss},
               {'P', sort_cpu},
               {'F', sort_major},
               {'N', sort_pid},
               {'k', ask_kill},
               {SCREEN_F1 + 8, ask_kill},
               {SCREEN_ENTER, open_run},
               {SCREEN_UP, up},
               {SCREEN_DOWN, down},
               {SCREEN_PAGE_UP, page_up},
               {SCREEN_PAGE_DOWN, page_down},
               {SCREEN_HOME, first},
               {SCREEN_LAST, last},
               {'g', first},
               {'G', last},
               {0, NULL}},
  in_run[] = {{SCREEN_ESCAPE, leave_run},
              {SCREEN_ENTER, leave_run},
              {SCREEN_BACKSPACE, leave_run},
              {0, NULL}},
  in_help[] = {{SCREEN_UP, help_up},        {SCREEN_DOWN, help_down},   {'q', leave_help},
               {SCREEN_ESCAPE, leave_help}, {'h', leave_help},          {'?', leave_help},
               {SCREEN_F1, leave_help},     {SCREEN_ENTER, leave_help}, {0, NULL}};

static bool act_on(const struct binding *bindings, struct top *top, int key)
{
    for (; bindings->act != NULL; bindings++) {
        if (bindings->key == key) {
            bindings->act(top);
            return true;
        }
    }
    return false;
}

void top_key(struct top *top, int key)
{
    static const struct binding *const of_page[] = {
        [TOP_MAIN] = in_list, [TOP_RUN] = in_run, [TOP_HELP] = in_help};

    top->message[0] = '\0';
    if (top->prompt != TOP_NO_PROMPT) {
        prompt_key(top, key);
        return;
    }
    if (!act_on(of_page[top->page], top, key) && !time_key(top, key))
        act_on(everywhere, top, key);
}
