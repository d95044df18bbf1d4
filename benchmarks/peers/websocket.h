/* The server's side of a WebSocket (RFC 6455), as far as a chat in C needs it. */
#include <stddef.h>
#include <sys/types.h>

#define WEBSOCKET_HEAD 10    /* the most bytes of the head of a frame that a server sends */
#define WEBSOCKET_ANSWER 256 /* the most bytes of the answer to an opening request */

enum { WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2, WEBSOCKET_CLOSE = 8, WEBSOCKET_PING = 9, WEBSOCKET_PONG = 10 };

struct frame {
    int opcode;
    char *payload; /* without the mask */
    size_t size;
};

/* Writes the answer to an opening request. Returns its size; 0 if the request is not complete, -1 if
 * it asks for no WebSocket. `taken` is the size of the request. */
ssize_t websocket_answer(const char *request, size_t size, char *answer, size_t *taken);

/* Takes a frame off the beginning of the data, and removes its mask there. Returns the bytes taken; 0
 * if it is not complete, -1 if it is not a whole message or control frame with a mask. */
ssize_t websocket_take(char *data, size_t size, struct frame *frame);

/* Writes the head of a frame. Returns its size. */
size_t websocket_head(char *out, int opcode, size_t size);
