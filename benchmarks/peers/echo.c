/* An echo in C with epoll: the least that the kernel lets one cost. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512

/* What the peer has not taken; while there is any, the peer is not read. */
struct peer {
    int fd;
    char *unsent;
    size_t start, size;
};

static int epoll, listener;
static char inbox[256 * 1024];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void watch(struct peer *p, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = p};
    epoll_ctl(epoll, EPOLL_CTL_MOD, p->fd, &event);
}

static void lose(struct peer *p) {
    close(p->fd);
    free(p->unsent);
    free(p);
}

static void readable(struct peer *p) {
    ssize_t n = recv(p->fd, inbox, sizeof inbox, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) lose(p);
        return;
    }
    ssize_t sent = send(p->fd, inbox, (size_t)n, MSG_NOSIGNAL);
    if (sent == n) return;
    if (sent < 0 && errno != EAGAIN) return;
    if (sent < 0) sent = 0;
    p->size = (size_t)(n - sent);
    p->start = 0;
    p->unsent = malloc(p->size);
    if (!p->unsent) die("memory");
    memcpy(p->unsent, inbox + sent, p->size);
    watch(p, EPOLLOUT);
}

static void writable(struct peer *p) {
    ssize_t sent = send(p->fd, p->unsent + p->start, p->size - p->start, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        lose(p);
        return;
    }
    if (sent > 0) p->start += (size_t)sent;
    if (p->start < p->size) return;
    free(p->unsent);
    p->unsent = NULL;
    watch(p, EPOLLIN);
}

static void accept_some(void) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct peer *p = calloc(1, sizeof *p);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = p};
        if (!p) die("memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        p->fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(void) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    signal(SIGPIPE, SIG_IGN);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) die("listen");
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event)) die("epoll");
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *p = events[i].data.ptr;
            if (!p)
                accept_some();
            else if (events[i].events & EPOLLOUT)
                writable(p);
            else
                readable(p);
        }
    }
}
