// Loaded before valgrind's guest (LD_PRELOAD): pidfd_open, which valgrind 3.19 does not know, as a pipe whose reading
// end becomes readable when the process ends. That is all that the agent wants of it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct watched {
    pid_t process;
    int end;
};

static void *wait_for(void *argument) {
    struct watched *watched = argument;
    siginfo_t ignored;
    waitid(P_PID, (id_t)watched->process, &ignored, WEXITED | WNOWAIT);
    close(watched->end);
    free(watched);
    return NULL;
}

static long open_process(pid_t process) {
    int ends[2];
    struct watched *watched = malloc(sizeof *watched);
    if (watched == NULL || pipe2(ends, O_CLOEXEC) != 0) {
        free(watched);
        return -1;
    }
    *watched = (struct watched){process, ends[1]};
    pthread_t thread;
    if (pthread_create(&thread, NULL, wait_for, watched) != 0) {
        close(ends[0]);
        close(ends[1]);
        free(watched);
        return -1;
    }
    pthread_detach(thread);
    return ends[0];
}

long syscall(long number, ...) {
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int index = 0; index < 6; index++) arguments[index] = va_arg(list, long);
    va_end(list);
    if (number == SYS_pidfd_open) return open_process((pid_t)arguments[0]);
    static long (*next)(long, ...);
    if (next == NULL) *(void **)&next = dlsym(RTLD_NEXT, "syscall");
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
