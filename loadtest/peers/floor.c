/* The kernel's floor: accepts, reads and writes fixed bytes without looking at what was asked.
 *
 *     floor PORT:OCTETS...
 *
 * Each port has one answer, 200 with so many octets, or 304 when they are none. Small answers are one write of one buffer, large
 * ones go out of a memfd with sendfile: what the cheapest server could do. One thread, epoll, for clients that do not pipeline.
 */
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
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS = 16, DESCRIPTORS = 1 << 16, EVENTS = 256, COPIED = 32 << 10 };

struct answer {
    char *head;
    size_t head_length;
    size_t body_length;
    int file; /* where the body is, or -1 when it follows the head in memory */
};

struct connection {
    const struct answer *answer;
    size_t sent; /* octets of the answer that are out */
    int sending;
};

static struct answer answers[PORTS];
static int listeners[PORTS];
static struct connection connections[DESCRIPTORS];

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void prepare(struct answer *answer, size_t octets) {
    const char *form = octets ? "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
                                "Cache-Control: max-age=86400\r\nAge: 1\r\nContent-Length: %zu\r\n\r\n"
                              : "HTTP/1.1 304 Not Modified\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
                                "Cache-Control: max-age=86400\r\nAge: 1\r\n\r\n";
    char head[512];
    answer->head_length = (size_t)snprintf(head, sizeof head, form, octets);
    answer->body_length = octets;
    answer->file = -1;
    int copied = octets <= COPIED;
    answer->head = malloc(answer->head_length + (copied ? octets : 0));
    if (!answer->head) die("malloc");
    memcpy(answer->head, head, answer->head_length);
    if (copied) {
        memset(answer->head + answer->head_length, 'f', octets);
        answer->head_length += octets;
        answer->body_length = 0;
        return;
    }
    answer->file = memfd_create("body", 0);
    if (answer->file < 0 || ftruncate(answer->file, (off_t)octets)) die("memfd");
    char *body = mmap(NULL, octets, PROT_READ | PROT_WRITE, MAP_SHARED, answer->file, 0);
    if (body == MAP_FAILED) die("mmap");
    memset(body, 'f', octets);
    munmap(body, octets);
}

static int listen_on(int port) {
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) die("listen");
    return fd;
}

/* Sends what the socket takes; 0 when the connection is of no use any more. */
static int send_on(int fd) {
    struct connection *connection = &connections[fd];
    const struct answer *answer = connection->answer;
    size_t whole = answer->head_length + answer->body_length;
    while (connection->sent < whole) {
        ssize_t took;
        if (connection->sent < answer->head_length) {
            int more = answer->body_length ? MSG_MORE : 0;
            took = send(fd, answer->head + connection->sent, answer->head_length - connection->sent, MSG_NOSIGNAL | more);
        } else {
            off_t from = (off_t)(connection->sent - answer->head_length);
            took = sendfile(fd, answer->file, &from, whole - connection->sent);
        }
        if (took < 0 && errno == EAGAIN) return 1;
        if (took <= 0) return 0;
        connection->sent += (size_t)took;
    }
    connection->sending = 0;
    return 1;
}

static int receive(int fd) {
    char request[4096];
    ssize_t got = read(fd, request, sizeof request);
    if (got < 0 && errno == EAGAIN) return 1;
    if (got <= 0) return 0;
    connections[fd].sent = 0;
    connections[fd].sending = 1;
    return send_on(fd);
}

static void take(int poll, int number) {
    for (;;) {
        int yes = 1, fd = accept4(listeners[number], NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return;
        if (fd >= DESCRIPTORS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        connections[fd] = (struct connection){.answer = &answers[number]};
        struct epoll_event wanted = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &wanted)) close(fd);
    }
}

int main(int count, char **ports) {
    int poll = epoll_create1(0);
    /* sendfile has no flag that spares us the signal of a connection that is gone. */
    signal(SIGPIPE, SIG_IGN);
    count--;
    if (poll < 0 || count < 1 || count > PORTS) die("floor PORT:OCTETS...");
    for (int number = 0; number < count; number++) {
        char *octets = strchr(ports[number + 1], ':');
        if (!octets) die("floor PORT:OCTETS...");
        prepare(&answers[number], strtoul(octets + 1, NULL, 10));
        listeners[number] = listen_on(atoi(ports[number + 1]));
        /* A negative number is a listener's place, so that one look tells them from connections. */
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = -1 - number};
        if (epoll_ctl(poll, EPOLL_CTL_ADD, listeners[number], &wanted)) die("epoll_ctl");
    }
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int n = 0; n < ready; n++) {
            int fd = events[n].data.fd;
            if (fd < 0) {
                take(poll, -1 - fd);
                continue;
            }
            int good = connections[fd].sending ? send_on(fd) : 1;
            if (good && !connections[fd].sending && events[n].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) good = receive(fd);
            if (!good) close(fd);
        }
    }
}
