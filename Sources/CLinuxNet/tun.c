#define _GNU_SOURCE
#include "CLinuxNetTun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

int clinuxnet_tun_open(void) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int clinuxnet_tun_attach(int fd, const char *name) {
    struct ifreq request;
    if (strlen(name) == 0 || strlen(name) >= sizeof request.ifr_name) return -EINVAL;
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, name);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    return ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : 0;
}

int clinuxnet_tun_set_persistent(int fd, int persistent) {
    return ioctl(fd, TUNSETPERSIST, (unsigned long)persistent) < 0 ? -errno : 0;
}

int clinuxnet_tun_set_offload(int fd, unsigned offloads) {
    return ioctl(fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}

int clinuxnet_tun_set_header_format(int fd) {
    int length = 10;
    if (ioctl(fd, TUNSETVNETHDRSZ, &length) < 0) return -errno;
    int little_endian = 1;
    return ioctl(fd, TUNSETVNETLE, &little_endian) < 0 ? -errno : 0;
}

int clinuxnet_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void clinuxnet_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

int clinuxnet_enter_namespace(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    int result = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
    close(fd);
    return result;
}
