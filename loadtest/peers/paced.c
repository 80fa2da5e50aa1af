/* An open loop: requests leave when they are due, whatever became of those before them.
 *
 *     paced PORT CONNECTIONS RATE SECONDS PATH OCTETS
 *
 * Each latency counts from when its request was due, so one that waited for a connection to be free has waited. The loop never sleeps: a
 * client that must be woken first measures itself. Prints JSON with microseconds, and what the client itself was late by. Any answer
 * but 200 with so many octets ends it with code 1. The first half second is not counted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 4096, EVENTS = 256, HEAD = 8192 };

struct connection {
    int fd;
    uint64_t due;
    size_t head_length; /* of the answer, what came of it */
    long left;          /* octets of the body still to come, or -1 before the head's end */
    char head[HEAD + 1];
};

static struct connection connections[CONNECTIONS];
static int idle[CONNECTIONS], idle_count;
static char request[1024];
static size_t request_length;
static long octets;
static uint64_t *latencies, *delays; /* nanoseconds */
static size_t latency_count, delay_count;

static void die(const char *what) {
    fprintf(stderr, "paced: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void join(struct connection *connection, int port) {
    int yes = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

static void ask(struct connection *connection, uint64_t due) {
    connection->due = due;
    connection->head_length = 0;
    connection->left = -1;
    /* Smaller than any socket's buffer, which is empty: it goes whole. */
    if (send(connection->fd, request, request_length, MSG_NOSIGNAL) != (ssize_t)request_length) die("send");
}

static void read_head(struct connection *connection) {
    connection->head[connection->head_length] = 0;
    char *end = strstr(connection->head, "\r\n\r\n");
    errno = 0;
    if (!end) {
        if (connection->head_length == HEAD) die("a head without an end");
        return;
    }
    char *length = strcasestr(connection->head, "\r\nContent-Length:");
    if (strncmp(connection->head, "HTTP/1.1 200", 12) || !length || length > end || atol(length + 17) != octets)
        die("not a whole 200");
    connection->left = octets - (long)(connection->head_length - (size_t)(end + 4 - connection->head));
}

/* Takes what came; 1 when the answer is whole. */
static int receive(struct connection *connection) {
    static char body[1 << 16];
    while (connection->left) {
        int in_head = connection->left < 0;
        char *to = in_head ? connection->head + connection->head_length : body;
        size_t room = in_head ? HEAD - connection->head_length : sizeof body;
        ssize_t got = recv(connection->fd, to, room, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN) return 0;
        if (got <= 0) die("closed in the middle");
        if (in_head) {
            connection->head_length += (size_t)got;
            read_head(connection);
        } else {
            connection->left -= got;
        }
        if (connection->left < -1) die("more than one answer");
    }
    return 1;
}

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double at(const uint64_t *sorted, size_t count, double share) {
    return count ? (double)sorted[(size_t)(share * (double)(count - 1))] / 1e3 : 0;
}

int main(int count, char **words) {
    if (count != 7) die("paced PORT CONNECTIONS RATE SECONDS PATH OCTETS");
    int port = atoi(words[1]), many = atoi(words[2]);
    double rate = atof(words[3]), seconds = atof(words[4]);
    octets = atol(words[6]);
    if (many < 1 || many > CONNECTIONS || rate < 1 || seconds <= 0) die("a number out of its range");
    request_length = (size_t)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", words[5], port);
    uint64_t all = (uint64_t)(rate * (seconds + 0.5)), skipped = (uint64_t)(rate * 0.5);
    latencies = malloc(sizeof *latencies * (all + 1));
    delays = malloc(sizeof *delays * (all + 1));
    int poll = epoll_create1(0);
    if (!latencies || !delays || poll < 0 || request_length >= sizeof request) die("no room");
    for (int n = 0; n < many; n++) {
        join(&connections[n], port);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = n};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[n].fd, &wanted)) die("epoll_ctl");
        idle[idle_count++] = n;
    }
    uint64_t begun = now(), asked = 0, answered = 0, patience = (uint64_t)((seconds + 10) * 1e9);
    while (answered < all) {
        uint64_t time = now();
        if (time - begun > patience) {
            errno = 0;
            die("the proxy falls behind the rate for more than 9 s");
        }
        /* A request that had to wait for a connection is not late by the client's doing. */
        int waited = idle_count == 0;
        while (asked < all && idle_count) {
            uint64_t due = begun + (uint64_t)((double)asked * 1e9 / rate);
            if (due > time) break;
            ask(&connections[idle[--idle_count]], due);
            if (!waited && asked >= skipped) delays[delay_count++] = time - due;
            asked++;
            waited |= idle_count == 0;
            time = now();
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, 0);
        for (int n = 0; n < ready; n++) {
            int place = events[n].data.fd;
            if (!receive(&connections[place])) continue;
            uint64_t counted = begun + (uint64_t)((double)skipped * 1e9 / rate);
            if (connections[place].due >= counted) latencies[latency_count++] = now() - connections[place].due;
            idle[idle_count++] = place;
            answered++;
        }
    }
    qsort(latencies, latency_count, sizeof *latencies, compare);
    qsort(delays, delay_count, sizeof *delays, compare);
    printf("{\"requests\":%zu,\"p50\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"most\":%.1f,\"client_p99\":%.1f,\"client_p99.9\":%.1f}\n", latency_count,
           at(latencies, latency_count, 0.5), at(latencies, latency_count, 0.99), at(latencies, latency_count, 0.999),
           at(latencies, latency_count, 1), at(delays, delay_count, 0.99), at(delays, delay_count, 0.999));
    return 0;
}
