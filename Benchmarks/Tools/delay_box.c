// A wire with a length: joins two network interfaces, and passes every frame on MICROSECONDS later.
//
//     delay_box INTERFACE_1 INTERFACE_2 MICROSECONDS
//
// Frames are taken and given whole with their virtio-net header, so offloads of the two ends go through and one
// system call moves up to 64 KiB. One thread for each direction, with a queue of 64 MiB; what does not fit is
// dropped and counted. Ends with SIGTERM, then prints what it passed and dropped.
// Built by Tests/EndToEnd/bench/tools.py.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE = 64 << 20, LARGEST = 70000, HEADER = 16, BATCH = 32 };

static volatile sig_atomic_t stopped;
static uint64_t delay;

struct direction {
    int from, to;
    uint8_t *queue;         // records of {due, length} and the frame; a record never wraps
    size_t head, tail, end; // read at head, write at tail; `end` is where the records before a wrap stop
    uint64_t passed, dropped;
    pthread_t thread;
};

struct record {
    uint64_t due;
    uint64_t length;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int open_interface(const char *name) {
    int on = 1, size = 32 << 20, channel = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
    address.sll_ifindex = (int)if_nametoindex(name);
    if (channel < 0 || !address.sll_ifindex || setsockopt(channel, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) ||
        setsockopt(channel, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on) ||
        setsockopt(channel, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) ||
        setsockopt(channel, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) ||
        bind(channel, (struct sockaddr *)&address, sizeof address)) {
        perror(name);
        exit(1);
    }
    return channel;
}

// Where a record of LARGEST bytes fits, or NULL when the queue is full.
static uint8_t *room(struct direction *d) {
    const size_t need = HEADER + LARGEST;
    if (d->tail >= d->head) {
        if (QUEUE - d->tail >= need) return d->queue + d->tail;
        if (d->head <= need) return NULL;
        d->end = d->tail;
        d->tail = 0;
        return d->queue;
    }
    return d->head - d->tail > need ? d->queue + d->tail : NULL;
}

static struct record *first(struct direction *d) {
    if (d->head > d->tail && d->head == d->end) d->head = 0;
    return d->head == d->tail ? NULL : (struct record *)(d->queue + d->head);
}

static int take(struct direction *d) {
    static __thread uint8_t waste[LARGEST];
    uint8_t *place = room(d);
    ssize_t length = recv(d->from, place ? place + HEADER : waste, LARGEST, MSG_DONTWAIT);
    if (length <= 0) return 0;
    if (!place) {
        d->dropped++;
        return 1;
    }
    struct record record = {now() + delay, (uint64_t)length};
    memcpy(place, &record, sizeof record);
    d->tail += (HEADER + (size_t)length + 7) & ~(size_t)7;
    return 1;
}

static void *run(void *argument) {
    struct direction *d = argument;
    while (!stopped) {
        struct record *record;
        for (int i = 0; i < BATCH && take(d); i++) continue;
        uint64_t time = now();
        while ((record = first(d)) && record->due <= time) {
            if (send(d->to, (uint8_t *)record + HEADER, record->length, 0) < 0) d->dropped++;
            else d->passed++;
            d->head += (HEADER + record->length + 7) & ~(size_t)7;
        }
        uint64_t wait = 200000000;
        if (record) wait = record->due - time < wait ? record->due - time : wait;
        struct pollfd readable = {.fd = d->from, .events = POLLIN};
        struct timespec timeout = {.tv_sec = 0, .tv_nsec = (long)wait};
        ppoll(&readable, 1, &timeout, NULL);
    }
    return NULL;
}

static void stop(int number) {
    (void)number;
    stopped = 1;
}

int main(int count, char **arguments) {
    if (count != 4) return 64;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    delay = strtoull(arguments[3], NULL, 10) * 1000;
    int ends[2] = {open_interface(arguments[1]), open_interface(arguments[2])};
    struct direction directions[2];
    memset(directions, 0, sizeof directions);
    for (int i = 0; i < 2; i++) {
        struct direction *d = &directions[i];
        d->from = ends[i];
        d->to = ends[1 - i];
        d->queue = mmap(NULL, QUEUE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (d->queue == MAP_FAILED || pthread_create(&d->thread, NULL, run, d)) return 1;
    }
    for (int i = 0; i < 2; i++) pthread_join(directions[i].thread, NULL);
    for (int i = 0; i < 2; i++)
        printf("passed %llu dropped %llu\n", (unsigned long long)directions[i].passed,
               (unsigned long long)directions[i].dropped);
    return 0;
}
