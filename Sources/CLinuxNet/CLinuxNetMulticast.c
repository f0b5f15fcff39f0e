#define _GNU_SOURCE
#include "CLinuxNetMulticast.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

static uint32_t prefix_length(const uint8_t *mask, size_t size) {
    uint32_t bits = 0;
    for (size_t i = 0; i < size; i++) bits += (uint32_t)__builtin_popcount(mask[i]);
    return bits;
}

static uint8_t is_bridge_port(const char *name) {
    char path[64];
    int length = snprintf(path, sizeof path, "/sys/class/net/%s/brport", name);
    return length > 0 && (size_t)length < sizeof path && access(path, F_OK) == 0;
}

int clinuxnet_interface_addresses(struct clinuxnet_interface_address *entries, int capacity) {
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) != 0) return -errno;
    int count = 0;
    for (struct ifaddrs *item = list; item != NULL; item = item->ifa_next) {
        if (item->ifa_addr == NULL || item->ifa_name == NULL) continue;
        int family = item->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        if (count < capacity) {
            struct clinuxnet_interface_address *entry = &entries[count];
            memset(entry, 0, sizeof *entry);
            snprintf(entry->name, sizeof entry->name, "%s", item->ifa_name);
            entry->index = if_nametoindex(item->ifa_name);
            entry->flags = item->ifa_flags;
            entry->family = family;
            if (family == AF_INET) {
                memcpy(entry->address, &((struct sockaddr_in *)item->ifa_addr)->sin_addr, 4);
                if (item->ifa_netmask != NULL)
                    entry->prefix_length =
                        prefix_length((uint8_t *)&((struct sockaddr_in *)item->ifa_netmask)->sin_addr, 4);
            } else {
                memcpy(entry->address, &((struct sockaddr_in6 *)item->ifa_addr)->sin6_addr, 16);
                if (item->ifa_netmask != NULL)
                    entry->prefix_length =
                        prefix_length((uint8_t *)&((struct sockaddr_in6 *)item->ifa_netmask)->sin6_addr, 16);
            }
            entry->is_bridge_port = is_bridge_port(item->ifa_name);
        }
        count++;
    }
    freeifaddrs(list);
    return count;
}

static int set_option(int descriptor, int level, int option, int value) {
    return setsockopt(descriptor, level, option, &value, sizeof value);
}

static int configure_v4(int descriptor, const uint8_t *group, uint16_t port, uint32_t index) {
    struct ip_mreqn membership = {.imr_ifindex = (int)index};
    memcpy(&membership.imr_multiaddr, group, 4);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&address.sin_addr, group, 4);
    // Old kernels lack MULTICAST_ALL; the binding to the device keeps other links' packets out.
    (void)set_option(descriptor, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IP, IP_MULTICAST_TTL, 255) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IP, IP_TTL, 255) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IP, IP_MULTICAST_LOOP, 1) != 0) return -1;
    if (setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &membership, sizeof membership) != 0) return -1;
    return setsockopt(descriptor, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership);
}

static int configure_v6(int descriptor, const uint8_t *group, uint16_t port, uint32_t index) {
    struct ipv6_mreq membership = {.ipv6mr_interface = index};
    memcpy(&membership.ipv6mr_multiaddr, group, 16);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = index};
    memcpy(&address.sin6_addr, group, 16);
    (void)set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0);
    if (set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 1) != 0) return -1;
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 255) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1) != 0) return -1;
    if (set_option(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)index) != 0) return -1;
    return setsockopt(descriptor, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &membership, sizeof membership);
}

int clinuxnet_multicast_socket(int family, const uint8_t *group, uint16_t port, uint32_t index, const char *name) {
    if (family != AF_INET && family != AF_INET6) return -EAFNOSUPPORT;
    int descriptor = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (descriptor < 0) return -errno;
    int result = set_option(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0) result = set_option(descriptor, SOL_SOCKET, SO_REUSEPORT, 1);
    if (result == 0) result = setsockopt(descriptor, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name));
    if (result == 0)
        result = family == AF_INET ? configure_v4(descriptor, group, port, index)
                                   : configure_v6(descriptor, group, port, index);
    if (result != 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}

int clinuxnet_interface_monitor(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -errno;
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR};
    if (bind(descriptor, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = errno;
        close(descriptor);
        return -error;
    }
    return descriptor;
}
