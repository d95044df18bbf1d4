/* epoll, the timer, and the phases of a run. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define EVENTS 256 /* a turn: few enough that a message is sent at the time it is due */
#define TICK 10000000l   /* ns */
#define SHORTEST 200000l /* ns; messages of higher rates go in small bunches */

enum phase phase = OPENING;
uint64_t started_at, go_at, begin_at, end_at;
static int epoll, timer;
static long opened_so_far;

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

void loop_watch(struct conn *c, uint32_t events, bool first) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    c->interest = events;
    if (epoll_ctl(epoll, first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event)) die("epoll_ctl");
}

static void watch_file(int fd, int *tag) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

/* A whole number of periods to a message, so that one is due when the timer fires; not over 10 ms. */
static void set_timer(uint64_t from) {
    long every = TICK;
    if (opt.rate > 0) {
        long gap = (long)((double)SECOND / opt.rate);
        every = gap / (gap / TICK + 1);
        if (every < SHORTEST) every = SHORTEST;
    }
    uint64_t first = from + (uint64_t)every;
    struct itimerspec spec = {.it_interval.tv_nsec = every,
                              .it_value = {(time_t)(first / SECOND), (long)(first % SECOND)}};
    if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL)) die("timerfd");
}

static void start_timer(void) {
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) die("timerfd");
    watch_file(timer, &timer);
    set_timer(now_ns());
}

static void say(const char *word) {
    puts(word);
    fflush(stdout);
}

static void open_more(void) {
    /* Those that were opened and are neither open nor over are on their way. */
    while (opened_so_far < opt.connections &&
           opened_so_far - open_count - lost_count - failed_count < opt.in_flight)
        conn_open(&conns[opened_so_far++]);
}

static void go(void) {
    go_at = now_ns();
    begin_at = go_at + (uint64_t)(opt.warmup * 1e9);
    end_at = begin_at + (uint64_t)(opt.seconds * 1e9);
    set_timer(go_at);
    phase = WARMING;
    work->go();
}

static void advance(void) {
    uint64_t now = now_ns();
    if (phase == OPENING) {
        if (!work->reopens) open_more();
        if (failed_count + lost_count && !work->reopens) fail("a connection was refused or closed too early");
        if (work->reopens || (open_count == opt.connections && work->ready(now))) {
            phase = HOLDING;
            say("connected");
        }
    }
    if (phase == WARMING && now >= begin_at) {
        phase = MEASURING;
        say("begin");
    }
    if (phase == MEASURING && now >= end_at) {
        phase = DRAINING;
        say("end");
    }
    if (phase == WARMING || phase == MEASURING) work->tick(now);
    if (phase == DRAINING && (work->finished() || now >= end_at + (uint64_t)(opt.drain * 1e9))) phase = DONE;
}

static void heard_from_above(void) {
    char line[64];
    ssize_t n = read(0, line, sizeof line);
    if (n <= 0) fail("standard input has ended"); /* whoever started this is gone */
    if (phase == HOLDING) go();
}

void run(void) {
    struct epoll_event events[EVENTS];
    static int input;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) die("epoll");
    start_timer();
    watch_file(0, &input);
    while (phase != DONE) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        if (count < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < count; i++) {
            uint64_t expired;
            if (events[i].data.ptr == &timer) {
                if (read(timer, &expired, sizeof expired) < 0 && errno != EAGAIN) die("timer");
            } else if (events[i].data.ptr == &input) {
                heard_from_above();
            } else {
                conn_event(events[i].data.ptr, events[i].events);
            }
        }
        advance();
    }
}
