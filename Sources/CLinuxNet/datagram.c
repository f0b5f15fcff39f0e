#define _GNU_SOURCE
#include "CLinuxNetDatagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

static int configure(int fd, int family, int buffer_bytes) {
    int on = 1, discover = IP_PMTUDISC_DO, discover6 = IPV6_PMTUDISC_DO;
    // Forcing goes beyond the system's limit, which is for programs that are not root.
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer_bytes, sizeof buffer_bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof buffer_bytes);
    if (setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover) < 0) return -errno;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &discover6, sizeof discover6) < 0)
        return -errno;
    // Without it datagrams come one by one.
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    return 0;
}

static int open_family(int family, uint16_t port, int buffer_bytes) {
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int off = 0, result = 0;
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) result = -errno;
    if (result == 0) result = configure(fd, family, buffer_bytes);
    if (result == 0) {
        int bound = family == AF_INET6 ? bind(fd, (struct sockaddr *)&six, sizeof six)
                                       : bind(fd, (struct sockaddr *)&four, sizeof four);
        if (bound < 0) result = -errno;
    }
    if (result < 0) {
        close(fd);
        return result;
    }
    return fd;
}

int clinuxnet_udp_open(uint16_t port, int buffer_bytes) {
    int fd = open_family(AF_INET6, port, buffer_bytes);
    return fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL ? open_family(AF_INET, port, buffer_bytes) : fd;
}

static int family_of(int fd) {
    int domain = AF_INET6;
    socklen_t length = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    return domain;
}

int clinuxnet_udp_port(int fd) {
    struct sockaddr_in6 address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) return -errno;
    // The port stands at the same place in both families.
    return ntohs(address.sin6_port);
}

bool clinuxnet_udp_is_ipv4(int fd) {
    int domain = AF_INET6;
    socklen_t length = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length);
    return domain == AF_INET;
}

long clinuxnet_udp_send(
    int fd, bool is_ipv4, const struct clinuxnet_endpoint *to, const void *bytes, size_t count, uint16_t segment) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(to->port), .sin6_scope_id = to->scope};
    memcpy(&six.sin6_addr, to, 16);
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(to->port)};
    memcpy(&four.sin_addr, (const char *)to + 12, 4);
    struct iovec vector = {.iov_base = (void *)bytes, .iov_len = count};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof segment)];
    } control;
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
    if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr) && is_ipv4) {
        message.msg_name = &four;
        message.msg_namelen = sizeof four;
    } else {
        message.msg_name = &six;
        message.msg_namelen = sizeof six;
    }
    if (segment < count) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof segment);
        memcpy(CMSG_DATA(header), &segment, sizeof segment);
    }
    for (;;) {
        ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) return sent;
        if (errno != EINTR) return -errno;
    }
}

long clinuxnet_udp_receive(int fd, void *bytes, size_t capacity, struct clinuxnet_endpoint *from, uint16_t *segment) {
    struct sockaddr_in6 address;
    struct iovec vector = {.iov_base = bytes, .iov_len = capacity};
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int)) * 2];
    } control;
    struct msghdr message = {
        .msg_name = &address, .msg_namelen = sizeof address, .msg_iov = &vector, .msg_iovlen = 1,
        .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t count;
    do count = recvmsg(fd, &message, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR);
    if (count < 0) return -errno;
    memset(from, 0, sizeof *from);
    if (address.sin6_family == AF_INET6) {
        memcpy(from, &address.sin6_addr, 16);
        from->scope = address.sin6_scope_id;
    } else {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
        memset((char *)from + 10, 0xff, 2);
        memcpy((char *)from + 12, &four->sin_addr, 4);
    }
    from->port = ntohs(address.sin6_port);
    int size = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
        if (header->cmsg_level == IPPROTO_UDP && header->cmsg_type == UDP_GRO)
            memcpy(&size, CMSG_DATA(header), sizeof size);
    *segment = size > 0 && size < count ? (uint16_t)size : (uint16_t)count;
    return count;
}

int clinuxnet_wait_readable(int first, int second, int wake_fd) {
    struct pollfd descriptors[3] = {
        {.fd = first, .events = POLLIN}, {.fd = second, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};
    // Errors count as readable: reading tells which.
    if (poll(descriptors, 3, -1) <= 0) return 0;
    if (descriptors[2].revents != 0) {
        uint64_t count;
        ssize_t ignored = read(wake_fd, &count, sizeof count);
        (void)ignored;
    }
    return (descriptors[0].revents != 0) | (descriptors[1].revents != 0) << 1;
}

int clinuxnet_has_aes(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul");
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & (1 << 3)) != 0;
#else
    return 0;
#endif
}
