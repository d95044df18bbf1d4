/* One connection: connect, TLS, the opening of a WebSocket, read, write; nothing blocks. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define SOURCES 100 /* addresses to connect from: 28,000 ports a minute are few for one of them */

static char inbox[256 * 1024];

#ifndef NO_TLS
static SSL_CTX *context;

/* OpenSSL calls this when a ticket has come; in TLS 1.3 that is after the handshake. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct conn *c = SSL_get_app_data(ssl);
    if (c->session) SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

void conn_start(void) {
    if (!opt.tls) return;
    context = SSL_CTX_new(TLS_client_method());
    if (!context) fail("no TLS context");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* the peers' certificate is made for the run */
    if (opt.resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_session);
    }
}

static void tls_begin(struct conn *c) {
    c->ssl = SSL_new(context);
    if (!c->ssl) fail("no TLS connection");
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    if (opt.resume && c->session) SSL_set_session(c->ssl, c->session);
    SSL_set_connect_state(c->ssl);
}

/* The bytes done, 0 if it must wait, -1 at the end of the connection. */
static ssize_t tls_result(struct conn *c, int result) {
    if (result > 0) return result;
    int error = SSL_get_error(c->ssl, result);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t tls_handshake(struct conn *c) {
    ssize_t result = tls_result(c, SSL_do_handshake(c->ssl));
    if (result > 0 && SSL_session_reused(c->ssl)) resumed_count++;
    return result;
}

static ssize_t tls_read(struct conn *c, char *to, size_t size) {
    return tls_result(c, SSL_read(c->ssl, to, (int)size));
}

static ssize_t tls_write(struct conn *c, const char *from, size_t size) {
    return tls_result(c, SSL_write(c->ssl, from, (int)size));
}

static void tls_end(struct conn *c) {
    if (c->state == CONN_OPEN) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    c->ssl = NULL;
}
#else
void conn_start(void) {
    if (opt.tls) fail("compiled without OpenSSL");
}
static void tls_begin(struct conn *c) { (void)c; }
static ssize_t tls_handshake(struct conn *c) { (void)c; return -1; }
static ssize_t tls_read(struct conn *c, char *to, size_t size) { (void)c, (void)to, (void)size; return -1; }
static ssize_t tls_write(struct conn *c, const char *from, size_t size) { (void)c, (void)from, (void)size; return -1; }
static void tls_end(struct conn *c) { (void)c; }
#endif

static void watch(struct conn *c, uint32_t events) {
    if (c->interest != events) loop_watch(c, events, false);
}

void conn_open(struct conn *c) {
    static uint32_t source;
    int on = 1;
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (work->reopens) {
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source++ % SOURCES);
        if (bind(c->fd, (struct sockaddr *)&here, sizeof here)) die("bind");
    }
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons((uint16_t)opt.port);
    c->opened_at = now_ns();
    c->state = CONN_CONNECTING;
    c->carried = 0;
    c->received = 0;
    if (connect(c->fd, (struct sockaddr *)&there, sizeof there) && errno != EINPROGRESS) die("connect");
    loop_watch(c, EPOLLOUT, true);
}

void conn_close(struct conn *c) {
    if (c->state == CONN_CLOSED) return;
    if (c->state == CONN_OPEN) open_count--;
    if (c->ssl) tls_end(c);
    close(c->fd);
    free(c->unsent);
    free(c->websocket);
    c->unsent = NULL;
    c->websocket = NULL;
    c->state = CONN_CLOSED;
}

static void lost(struct conn *c) {
    if (c->state == CONN_OPEN)
        lost_count++;
    else
        failed_count++;
    conn_close(c);
}

static void opened(struct conn *c) {
    c->state = CONN_OPEN;
    open_count++;
    established_count++;
    watch(c, EPOLLIN);
    work->opened(c);
}

/* The connection is there. A WebSocket has to be asked for on it. */
static void reached(struct conn *c) {
    char request[512];
    if (!opt.websocket) {
        opened(c);
        return;
    }
    c->state = CONN_UPGRADING;
    watch(c, EPOLLIN);
    conn_write_bytes(c, request, websocket_request(request));
}

static void handshake(struct conn *c) {
    ssize_t result = tls_handshake(c);
    if (result > 0)
        reached(c);
    else if (result < 0)
        lost(c);
    else
        watch(c, EPOLLIN); /* a hello always fits into an empty socket, so it waits for the server */
}

static void connected(struct conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        lost(c);
    } else if (opt.tls) {
        tls_begin(c);
        c->state = CONN_HANDSHAKING;
        handshake(c);
    } else {
        reached(c);
    }
}

static ssize_t read_some(struct conn *c) {
    if (c->ssl) return tls_read(c, inbox, sizeof inbox);
    ssize_t n = recv(c->fd, inbox, sizeof inbox, 0);
    if (n > 0) return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static ssize_t write_some(struct conn *c, const char *data, size_t size) {
    if (c->ssl) return tls_write(c, data, size);
    ssize_t n = send(c->fd, data, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static void received(struct conn *c, const char *data, size_t size) {
    if (c->state == CONN_UPGRADING) {
        if (!websocket_answered(c, data, size, &data, &size)) return;
        opened(c);
    }
    if (opt.websocket)
        websocket_received(c, data, size);
    else
        work->received(c, data, size);
}

static void readable(struct conn *c) {
    for (;;) {
        ssize_t n = read_some(c);
        if (n < 0) lost(c);
        if (n <= 0) return;
        received(c, inbox, (size_t)n);
        /* A plain socket says so if it has more; OpenSSL keeps what it has read. */
        if (c->state < CONN_UPGRADING || !c->ssl) return;
    }
}

static void writable(struct conn *c) {
    ssize_t n = write_some(c, c->unsent + c->unsent_sent, c->unsent_size - c->unsent_sent);
    if (n < 0) {
        lost(c);
        return;
    }
    c->unsent_sent += (size_t)n;
    if (c->unsent_sent < c->unsent_size) return;
    free(c->unsent);
    c->unsent = NULL;
    watch(c, EPOLLIN);
}

void conn_write(struct conn *c, const char *data, size_t size) {
    if (opt.websocket)
        websocket_write(c, data, size);
    else
        conn_write_bytes(c, data, size);
}

void conn_write_bytes(struct conn *c, const char *data, size_t size) {
    if (c->state < CONN_UPGRADING) return;
    size_t sent = 0;
    while (sent < size && !c->unsent) {
        ssize_t n = write_some(c, data + sent, size - sent);
        if (n < 0) return; /* the next read says that the connection is lost */
        if (n == 0) break;
        sent += (size_t)n;
    }
    if (sent == size) return;
    size_t before = c->unsent ? c->unsent_size : 0;
    if (!before) c->unsent_sent = 0;
    c->unsent = realloc(c->unsent, before + size - sent);
    if (!c->unsent) die("memory");
    memcpy(c->unsent + before, data + sent, size - sent);
    c->unsent_size = before + size - sent;
    watch(c, EPOLLIN | EPOLLOUT);
}

void conn_event(struct conn *c, uint32_t events) {
    if (c->state == CONN_CONNECTING)
        connected(c);
    else if (c->state == CONN_HANDSHAKING)
        handshake(c);
    else if (c->state != CONN_CLOSED) {
        if (events & ~(uint32_t)EPOLLOUT) readable(c);
        if (c->state >= CONN_UPGRADING && c->unsent && (events & EPOLLOUT)) writable(c);
    }
}
