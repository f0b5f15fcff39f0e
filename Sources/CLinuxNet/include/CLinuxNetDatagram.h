#pragma once

// UDP sockets with segmentation offload: thin calls around sendmsg(2) and recvmsg(2), whose control
// messages Swift cannot build. Each returns a count, a descriptor or 0, or the negative error number.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// An address and port. IPv4 addresses are IPv4-mapped (RFC 4291 2.5.5.2).
struct clinuxnet_endpoint {
    // The 16 bytes of the address as they stand in memory, network order.
    uint64_t first, second;
    // The interface of a link-local address, else 0.
    uint32_t scope;
    // Host byte order.
    uint16_t port;
};

// Opens a non-blocking socket on `port` of every address, IPv6 with IPv4 where the kernel has IPv6, with
// `buffer_bytes` of room each way, UDP_GRO, and no fragmentation of what it sends.
int clinuxnet_udp_open(uint16_t port, int buffer_bytes);

// The port of the socket, in host byte order.
int clinuxnet_udp_port(int fd);

// Whether the socket takes IPv4 addresses alone, as on a machine without IPv6.
bool clinuxnet_udp_is_ipv4(int fd);

// Sends `count` bytes in datagrams of `segment` bytes each, the last one of what is left: one call of the
// kernel where `segment` is smaller than `count`. Returns `count`.
long clinuxnet_udp_send(
    int fd, bool is_ipv4, const struct clinuxnet_endpoint *to, const void *bytes, size_t count, uint16_t segment);

// Receives one datagram, or several of one sender that the kernel has put together: all of `*segment` bytes but
// for the last. Returns the count of bytes.
long clinuxnet_udp_receive(int fd, void *bytes, size_t capacity, struct clinuxnet_endpoint *from, uint16_t *segment);

// Waits until `first`, `second` (-1: none) or `wake_fd` can be read. Returns 1 if `first` can be read, plus 2 if
// `second` can. What was written to `wake_fd` is taken out of it.
int clinuxnet_wait_readable(int first, int second, int wake_fd);

// Whether the processor computes AES itself.
int clinuxnet_has_aes(void);
