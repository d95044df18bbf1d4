/* Every connection sends a request, awaits the same bytes, and sends the next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define PERIOD 251 /* a prime: bytes lost or doubled anywhere change what follows */

static char *pattern;
static uint64_t answered, wrong;
static long heard_count, waiting;

static void ask(struct conn *c) {
    c->requested_at = now_ns();
    c->received = 0;
    c->request++;
    waiting++;
    conn_write(c, pattern + c->request % PERIOD, (size_t)opt.size);
}

static void start(void) {
    pattern = malloc((size_t)opt.size + PERIOD);
    if (!pattern) die("memory");
    for (long i = 0; i < opt.size + PERIOD; i++) pattern[i] = (char)(i % PERIOD);
}

static void received(struct conn *c, const char *data, size_t size) {
    const char *request = pattern + c->request % PERIOD;
    uint64_t end = c->received + size;
    if (end > (uint64_t)opt.size || memcmp(request + c->received, data, size) != 0) {
        wrong++;
        conn_close(c);
        return;
    }
    c->received = end;
    if (end < (uint64_t)opt.size) return;
    waiting--;
    if (phase == MEASURING) {
        answered++;
        latency_add(now_ns() - c->requested_at);
    }
    if (phase == OPENING) heard_count++;
    if (phase == WARMING || phase == MEASURING) ask(c);
}

static bool ready(uint64_t now) {
    (void)now;
    return heard_count == opt.connections;
}

static void go(void) {
    for (long i = 0; i < opt.connections; i++) ask(&conns[i]);
}

static void tick(uint64_t now) { (void)now; }

static bool finished(void) { return waiting == 0; }

static void report(void) {
    latency_report();
    printf("\"done\": %llu, \"missing\": %ld, \"wrong\": %llu, ", (unsigned long long)answered, waiting,
           (unsigned long long)wrong);
}

const struct work echo_work = {
    .name = "echo", .start = start, .opened = ask, .received = received, .ready = ready,
    .go = go, .tick = tick, .finished = finished, .report = report,
};
