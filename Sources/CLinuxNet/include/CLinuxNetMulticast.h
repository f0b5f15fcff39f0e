#pragma once

#include <net/if.h>
#include <stdint.h>

/// One address of one network interface.
struct clinuxnet_interface_address {
    char name[IF_NAMESIZE];
    uint32_t index;
    /// The interface's IFF_ flags.
    uint32_t flags;
    /// AF_INET or AF_INET6.
    int32_t family;
    /// 4 or 16 bytes in network order.
    uint8_t address[16];
    /// Length of the network's prefix in bits.
    uint32_t prefix_length;
    /// Whether the interface is a port of a bridge, which hears everything for it.
    uint8_t is_bridge_port;
};

/// Fills `entries` with the addresses of all interfaces, at most `capacity` of them.
/// Returns how many there are in all, or a negative errno.
int clinuxnet_interface_addresses(struct clinuxnet_interface_address *entries, int capacity);

/// Opens a UDP socket that hears the multicast `group` (4 or 16 bytes, by `family`) at `port` on the
/// interface of that index and name alone, and sends to it with TTL 255 and the packets looped back
/// to other processes. It is bound to the group's address, so packets to this machine's own addresses
/// stay with whoever else serves the port. Returns the descriptor, non-blocking, or a negative errno.
int clinuxnet_multicast_socket(int family, const uint8_t *group, uint16_t port, uint32_t index, const char *name);

/// Opens a netlink socket that says when links and addresses change. Returns the descriptor,
/// non-blocking, or a negative errno.
int clinuxnet_interface_monitor(void);
