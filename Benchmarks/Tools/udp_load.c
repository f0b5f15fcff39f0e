// Sends datagrams at a steady rate, and counts them at the other end.
//
//     udp_load receive ADDRESS PORT SECONDS             prints how many arrived, when SECONDS or SIGTERM end it
//     udp_load send ADDRESS PORT SIZE RATE SECONDS      prints how many were sent, and "segmented" or "single"
//
// RATE is in datagrams a second; 0 sends as fast as it goes. The sender hands the kernel whole batches with
// UDP_SEGMENT where that works and the datagrams are large, else with sendmmsg(2).
// Built by Tests/EndToEnd/bench/tools.py.
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BATCH = 48, LARGEST = 1400, BUFFER = 32 << 20 };

static volatile sig_atomic_t stopped;

static void stop(int number) {
    (void)number;
    stopped = 1;
}

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_socket(const char *host, const char *port, struct addrinfo **address) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST};
    if (getaddrinfo(host, port, &hints, address)) return -1;
    int size = BUFFER, channel = socket((*address)->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (channel >= 0) {
        setsockopt(channel, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        setsockopt(channel, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    }
    return channel;
}

static int receive(int channel, double limit) {
    static uint8_t data[BATCH][2048];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    uint64_t count = 0;
    double end = seconds() + limit;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data[i], sizeof data[i]};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    printf("ready\n");
    fflush(stdout);
    while (!stopped && seconds() < end) {
        struct pollfd readable = {.fd = channel, .events = POLLIN};
        if (poll(&readable, 1, 100) <= 0) continue;
        int got = recvmmsg(channel, messages, BATCH, MSG_DONTWAIT, NULL);
        if (got > 0) count += (uint64_t)got;
    }
    printf("%llu\n", (unsigned long long)count);
    return 0;
}

static int send_all(int channel, size_t size, double rate, double limit) {
    static uint8_t data[BATCH * LARGEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int segment = (int)size, off = 0, segmented = size >= 512;
    int many = segmented ? (int)(60000 / size) : BATCH;
    if (many > BATCH) many = BATCH;
    if (segmented && setsockopt(channel, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment)) segmented = 0;
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data + (size_t)i * size, size};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    uint64_t count = 0;
    double begin = seconds(), time;
    while (!stopped && (time = seconds() - begin) < limit) {
        int wanted = many;
        if (rate > 0) {
            double behind = rate * time - (double)count;
            if (behind < 1) {
                usleep(200);
                continue;
            }
            if (behind < wanted) wanted = (int)behind;
        }
        if (segmented) {
            if (send(channel, data, (size_t)wanted * size, 0) >= 0) {
                count += (uint64_t)wanted;
            } else if (count == 0 && errno != ENOBUFS && errno != EAGAIN) {
                segmented = 0;
                setsockopt(channel, SOL_UDP, UDP_SEGMENT, &off, sizeof off);
            }
        } else {
            int sent = sendmmsg(channel, messages, (unsigned)wanted, 0);
            if (sent > 0) count += (uint64_t)sent;
        }
    }
    printf("%llu %s %.6f\n", (unsigned long long)count, segmented ? "segmented" : "single", seconds() - begin);
    return 0;
}

int main(int count, char **arguments) {
    struct addrinfo *address = NULL;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    if (count < 5) return 64;
    int channel = open_socket(arguments[2], arguments[3], &address);
    if (channel < 0) return 1;
    if (!strcmp(arguments[1], "receive")) {
        if (bind(channel, address->ai_addr, address->ai_addrlen)) {
            perror("bind");
            return 1;
        }
        return receive(channel, strtod(arguments[4], NULL));
    }
    size_t size = count == 7 ? strtoul(arguments[4], NULL, 10) : 0;
    if (strcmp(arguments[1], "send") || size < 1 || size > LARGEST) return 64;
    if (connect(channel, address->ai_addr, address->ai_addrlen)) {
        perror("connect");
        return 1;
    }
    return send_all(channel, size, strtod(arguments[5], NULL), strtod(arguments[6], NULL));
}
