/* Options, the table of works, the report. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

struct options opt = {.connections = 1, .in_flight = 32, .size = 100, .rooms = 1, .depth = 1,
                      .warmup = 1, .seconds = 3, .drain = 5};
const struct work *work;
struct conn *conns;
long open_count, lost_count, failed_count, established_count, resumed_count;

static const struct work *const works[] = {&broadcast_work, &echo_work, &connects_work, &acked_work, &idle_work};

void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

void die(const char *what) {
    fprintf(stderr, "%s: ", what);
    fail(strerror(errno));
}

static bool set(const char *name, const char *value) {
#define IS(field) (strcmp(name, #field) == 0)
    if IS(port) opt.port = atoi(value);
    else if IS(connections) opt.connections = atol(value);
    else if IS(in_flight) opt.in_flight = atol(value);
    else if IS(rate) opt.rate = atof(value);
    else if IS(size) opt.size = atol(value);
    else if IS(rooms) opt.rooms = atol(value);
    else if IS(senders) opt.senders = atol(value);
    else if IS(depth) opt.depth = atol(value);
    else if IS(warmup) opt.warmup = atof(value);
    else if IS(seconds) opt.seconds = atof(value);
    else if IS(drain) opt.drain = atof(value);
    else if IS(json) opt.json = atoi(value) != 0;
    else if IS(tls) opt.tls = atoi(value) != 0;
    else if IS(resume) opt.resume = atoi(value) != 0;
    else if IS(websocket) opt.websocket = atoi(value) != 0;
    else return false;
    return true;
}

static void read_options(int argc, char **argv) {
    if (argc < 2) fail("usage: load WORK port=N [connections=N] [rate=N] ...");
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(argv[1], works[i]->name) == 0) work = works[i];
    if (!work) fail("no such work");
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals) fail("an option is name=value");
        *equals = 0;
        if (!set(argv[i], equals + 1)) fail("no such option");
    }
    if (opt.size < STAMP || opt.connections < 1 || opt.rooms < 1 || opt.depth < 1) fail("a value is too small");
    if (opt.websocket) opt.json = true; /* a frame has one JSON object */
    if (opt.senders < 1 || opt.senders > opt.connections) opt.senders = opt.connections;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    read_options(argc, argv);
    started_at = now_ns();
    conns = calloc((size_t)opt.connections, sizeof *conns);
    if (!conns) die("memory");
    for (long i = 0; i < opt.connections; i++) conns[i].index = (uint32_t)i;
    conn_start();
    work->start();
    run();
    printf("{");
    work->report();
    printf("\"lost\": %ld, \"failed\": %ld, \"established\": %ld, \"resumed\": %ld}\n", lost_count, failed_count,
           established_count, resumed_count);
    return 0;
}
