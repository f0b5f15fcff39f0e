#pragma once

// TUN devices: thin calls around ioctl(2), whose request codes Swift cannot import. Each returns 0
// or a file descriptor, or the negative error number; none decides anything.

#include <stdint.h>

// What TUNSETOFFLOAD takes; named here because older kernel headers lack the last ones.
enum {
    CLINUXNET_TUN_OFFLOAD_CHECKSUM = 0x01,
    CLINUXNET_TUN_OFFLOAD_TSO4 = 0x02,
    CLINUXNET_TUN_OFFLOAD_USO4 = 0x20,
    CLINUXNET_TUN_OFFLOAD_USO6 = 0x40,
};

// Opens /dev/net/tun, non-blocking and close-on-exec.
int clinuxnet_tun_open(void);

// Attaches `fd` to the TUN device `name` (made when it is missing): IFF_TUN, IFF_NO_PI and
// IFF_VNET_HDR.
int clinuxnet_tun_attach(int fd, const char *name);

// Keeps the device when the last descriptor is closed, or not.
int clinuxnet_tun_set_persistent(int fd, int persistent);

// Says which offloads this end takes in the packets that it reads.
int clinuxnet_tun_set_offload(int fd, unsigned offloads);

// Sets the length of the virtio-net header to 10 bytes and its integers to little-endian.
int clinuxnet_tun_set_header_format(int fd);

// Makes a non-blocking eventfd, to wake a thread that waits for a descriptor.
int clinuxnet_eventfd(void);

// Names the calling thread, in at most 15 bytes, for debuggers and top(1).
void clinuxnet_name_thread(const char *name);

// Moves the calling thread into the network namespace that `path` names; for tests.
int clinuxnet_enter_namespace(const char *path);
