/* Members who wait for the ack of a message before they send the next. JSON form. */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"

static char *line;
static uint64_t next_number = 1, acked;
static long heard_count, waiting;

static void ask(struct conn *c) {
    waiting++;
    conn_write(c, line, message_write(line, c, now_ns(), next_number++, true));
}

static void start(void) {
    opt.json = true;
    line = malloc((size_t)opt.size + 256);
    if (!line) die("memory");
}

static void opened(struct conn *c) {
    char hello[128];
    conn_write(c, hello, hello_write(hello, c));
    ask(c);
}

static void found(struct conn *c, uint64_t at, uint64_t number) {
    (void)number;
    waiting--;
    if (phase == MEASURING) {
        acked++;
        latency_add(now_ns() - at);
    }
    if (phase == OPENING) heard_count++;
    if (phase == WARMING || phase == MEASURING) ask(c);
}

static void received(struct conn *c, const char *data, size_t size) {
    stamps_find(c, '=', data, size, STAMP, found);
}

static bool ready(uint64_t now) {
    (void)now;
    return heard_count == opt.connections;
}

static void go(void) {
    for (long i = 0; i < opt.senders; i++)
        for (long k = 0; k < opt.depth; k++) ask(&conns[i]);
}

static void tick(uint64_t now) { (void)now; }

static bool finished(void) { return waiting == 0; }

static void report(void) {
    latency_report();
    printf("\"done\": %llu, \"missing\": %ld, ", (unsigned long long)acked, waiting);
}

const struct work acked_work = {
    .name = "acked", .start = start, .opened = opened, .received = received, .ready = ready,
    .go = go, .tick = tick, .finished = finished, .report = report,
};
