/* SPDX-License-Identifier: Apache-2.0 */
/*
 * screen: see screen.h.
 *
 *   closed ──open()──> in use ──close(), an asked-for end──> closed
 *                       │  ^
 *                  ^Z   v  │ fg
 *                      stopped        the terminal is as it was meanwhile
 *
 * Invariants
 *   S1  while in use, all signals that are handled are blocked but in ppoll(2): handlers only note
 *       them, and everything is done by wait()
 *   S2  a signal that ends the process at once (SIGSEGV and its like) restores the terminal with
 *       what tcsetattr(3) and write(2) can do, which are safe in a handler; ncurses is not
 */
#include "cli/screen.h"

#include <curses.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#undef columns /* of term.h, which has macros for all that a terminal can do */
#undef lines

#define ESCAPE_MS 25 /* that a lone ESC is waited upon */
#define LINE_BYTES 4096

static struct {
    SCREEN *terminal;
    bool is_open, has_colours;
    struct termios original;
    char leave[256]; /* what the terminal is sent at the end */
    size_t n_leave;
    sigset_t blocked, before;
} state;

static volatile sig_atomic_t noted_end, noted_size, noted_stop, noted_continue;

static void note(int signal)
{
    if (signal == SIGWINCH)
        noted_size = 1;
    else if (signal == SIGTSTP)
        noted_stop = 1;
    else if (signal == SIGCONT)
        noted_continue = 1;
    else
        noted_end = signal;
}

static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP, SIGCONT};
static const int fatal[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
#define N_OF(array) (sizeof array / sizeof array[0])

static void die_restored(int signal)
{
    (void)!write(STDOUT_FILENO, state.leave, state.n_leave);
    tcsetattr(STDIN_FILENO, TCSANOW, &state.original);
    raise(signal); /* SA_RESETHAND: now it has its usual effect */
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = note};

    sigemptyset(&state.blocked);
    for (size_t i = 0; i < N_OF(handled); i++) {
        sigaddset(&state.blocked, handled[i]);
        sigaction(handled[i], &action, NULL);
    }
    sigprocmask(SIG_BLOCK, &state.blocked, &state.before);
    action = (struct sigaction){.sa_handler = die_restored, .sa_flags = SA_RESETHAND | SA_NODEFER};
    for (size_t i = 0; i < N_OF(fatal); i++)
        sigaction(fatal[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void add_leave(const char *capability)
{
    size_t n = capability != NULL && capability != (char *)-1 ? strlen(capability) : 0;

    if (n > 0 && state.n_leave + n < sizeof state.leave) {
        memcpy(state.leave + state.n_leave, capability, n);
        state.n_leave += n;
    }
}

/* For S2: colours off, cursor on, keypad off, the screen that was there before. */
static void prepare_leave(void)
{
    state.n_leave = 0;
    add_leave(tigetstr("sgr0"));
    add_leave(tigetstr("cnorm"));
    add_leave(tigetstr("rmkx"));
    add_leave(tigetstr("rmcup"));
    add_leave("\r\n");
}

static void start_colours(void)
{
    state.has_colours = has_colors() && start_color() == OK && use_default_colors() == OK;
    if (!state.has_colours)
        return;
    init_pair(SCREEN_GOOD, COLOR_GREEN, -1);
    init_pair(SCREEN_NOTE, COLOR_CYAN, -1);
    init_pair(SCREEN_WARN, COLOR_YELLOW, -1);
    init_pair(SCREEN_BAD, COLOR_RED, -1);
}

static void close_screen(void)
{
    if (!state.is_open)
        return;
    state.is_open = false;
    endwin();
    delscreen(state.terminal);
    tcsetattr(STDIN_FILENO, TCSANOW, &state.original);
    for (size_t i = 0; i < N_OF(handled); i++)
        signal(handled[i], handled[i] == SIGCONT || handled[i] == SIGWINCH ? SIG_DFL : SIG_IGN);
    sigprocmask(SIG_SETMASK, &state.before, NULL);
    for (size_t i = 0; i < N_OF(handled); i++)
        signal(handled[i], SIG_DFL);
}

static const char *refuse(void)
{
    static char message[256];
    const char *name = getenv("TERM");

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return "standard input and output are no terminal";
    if (name == NULL || name[0] == '\0')
        return "TERM is not set, so it is not known what the terminal can do";
    int found = 0;
    if (setupterm(name, STDOUT_FILENO, &found) != OK) {
        snprintf(message, sizeof message, "the terminal '%.64s' (TERM) is not known here", name);
        return message;
    }
    const char *move = tigetstr("cup");
    if (move == NULL || move == (const char *)-1) {
        snprintf(message, sizeof message, "the terminal '%.64s' (TERM) can't move its cursor",
                 name);
        return message;
    }
    return NULL;
}

static const char *open_screen(void)
{
    setlocale(LC_CTYPE, "");
    const char *problem = refuse();
    if (problem != NULL)
        return problem;
    if (tcgetattr(STDIN_FILENO, &state.original) != 0)
        return strerror(errno);
    state.terminal = newterm(NULL, stdout, stdin);
    if (state.terminal == NULL)
        return "the terminal can't be used";
    state.is_open = true;
    prepare_leave();
    catch_signals();
    atexit(close_screen);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(ESCAPE_MS);
    curs_set(0);
    start_colours();
    return NULL;
}

static void get_size(unsigned *n_rows, unsigned *n_columns)
{
    int rows, columns;

    getmaxyx(stdscr, rows, columns);
    *n_rows = rows > 0 ? (unsigned)rows : 0;
    *n_columns = columns > 0 ? (unsigned)columns : 0;
}

static void erase_screen(void)
{
    erase();
}

static chtype attributes_of(enum screen_style style)
{
    switch (style) {
    case SCREEN_BOLD:
        return A_BOLD;
    case SCREEN_DIM:
        return A_DIM;
    case SCREEN_HEADING:
    case SCREEN_SELECTED:
        return A_REVERSE;
    case SCREEN_GOOD:
    case SCREEN_NOTE:
    case SCREEN_WARN:
    case SCREEN_BAD:
        return state.has_colours ? (chtype)COLOR_PAIR(style) : style == SCREEN_BAD ? A_BOLD : 0;
    default:
        return 0;
    }
}

/* The text in so many columns; bytes that are no characters, or that move the cursor, as '?'. */
static size_t fit(const char *text, unsigned width, char line[LINE_BYTES])
{
    mbstate_t decoder = {0};
    size_t n = 0, left = strlen(text);
    unsigned used = 0;

    while (left > 0 && used < width && n + MB_LEN_MAX + width < LINE_BYTES) {
        wchar_t character;
        size_t length = mbrtowc(&character, text, left, &decoder);
        int columns = length == (size_t)-1 || length == (size_t)-2 ? -1 : wcwidth(character);
        if (columns < 0) {
            decoder = (mbstate_t){0};
            length = 1;
            columns = 1;
            line[n++] = '?';
        } else if (used + (unsigned)columns > width) {
            break;
        } else {
            memcpy(line + n, text, length);
            n += length;
        }
        used += (unsigned)columns;
        text += length;
        left -= length;
    }
    for (; used < width && n + 1 < LINE_BYTES; used++)
        line[n++] = ' ';
    return n;
}

static void put(unsigned row, unsigned column, unsigned width, enum screen_style style,
                const char *text)
{
    char line[LINE_BYTES];
    unsigned n_rows, n_columns;

    get_size(&n_rows, &n_columns);
    if (row >= n_rows || column >= n_columns)
        return;
    width = width < n_columns - column ? width : n_columns - column;
    size_t n = fit(text, width, line);
    attrset((int)attributes_of(style));
    mvaddnstr((int)row, (int)column, line, (int)n);
    attrset(A_NORMAL);
}

static void show(void)
{
    refresh();
}

static void show_cursor(unsigned row, unsigned column, bool is_visible)
{
    if (is_visible)
        move((int)row, (int)column);
    curs_set(is_visible ? 1 : 0);
}

/* ^Z: stops with the terminal as it was, and goes on when it is continued. */
static void stop(void)
{
    sigset_t only;

    endwin();
    signal(SIGTSTP, SIG_DFL);
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    raise(SIGTSTP); /* pending until it is let in */
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    /* stopped here */
    sigprocmask(SIG_BLOCK, &only, NULL);
    struct sigaction action = {.sa_handler = note};
    sigaction(SIGTSTP, &action, NULL);
    noted_continue = 1;
}

/* What the signals of a wait have asked for; SCREEN_NONE: nothing. */
static int obey(void)
{
    struct winsize size;

    if (noted_end)
        return SCREEN_END;
    if (noted_stop) {
        noted_stop = 0;
        stop();
    }
    if (!noted_size && !noted_continue)
        return SCREEN_NONE;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
    if (noted_continue) {
        reset_prog_mode(); /* the shell had the terminal meanwhile */
        clearok(stdscr, TRUE);
    }
    noted_size = noted_continue = 0;
    return SCREEN_RESIZED;
}

static int key_of(int key)
{
    static const struct {
        int curses, ours;
    } keys[] = {{KEY_UP, SCREEN_UP},
                {KEY_DOWN, SCREEN_DOWN},
                {KEY_LEFT, SCREEN_LEFT},
                {KEY_RIGHT, SCREEN_RIGHT},
                {KEY_PPAGE, SCREEN_PAGE_UP},
                {KEY_NPAGE, SCREEN_PAGE_DOWN},
                {KEY_HOME, SCREEN_HOME},
                {KEY_END, SCREEN_LAST},
                {KEY_ENTER, SCREEN_ENTER},
                {'\r', SCREEN_ENTER},
                {'\n', SCREEN_ENTER},
                {27, SCREEN_ESCAPE},
                {KEY_BACKSPACE, SCREEN_BACKSPACE},
                {127, SCREEN_BACKSPACE},
                {8, SCREEN_BACKSPACE},
                {KEY_RESIZE, SCREEN_RESIZED}};

    for (size_t i = 0; i < N_OF(keys); i++)
        if (keys[i].curses == key)
            return keys[i].ours;
    if (key >= KEY_F(1) && key <= KEY_F(12))
        return SCREEN_F1 + key - KEY_F(1);
    return key < 256 ? key : SCREEN_OTHER;
}

static int wait_for_key(int timeout_ms)
{
    struct timespec limit = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int key = getch(); /* what was typed ahead */

    if (key != ERR)
        return key_of(key);
    int n = ppoll(&input, 1, timeout_ms >= 0 ? &limit : NULL, &state.before);
    int asked = obey();
    if (asked != SCREEN_NONE)
        return asked;
    if (n <= 0)
        return SCREEN_NONE;
    key = getch();
    if (key == ERR) /* ready, and nothing to read: the terminal is gone */
        return (input.revents & (POLLHUP | POLLERR | POLLNVAL)) ? SCREEN_END : SCREEN_NONE;
    return key_of(key);
}

extern const struct screen quire_screen;

__attribute__((visibility("default"))) const struct screen quire_screen = {
    .open = open_screen,
    .close = close_screen,
    .size = get_size,
    .erase = erase_screen,
    .put = put,
    .show = show,
    .show_cursor = show_cursor,
    .wait = wait_for_key,
};
