#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Tells the parent why there will be no program, and ends.
static void give_up(int report) {
    int code = errno;
    ssize_t ignored = write(report, &code, sizeof code);
    (void)ignored;
    _exit(127);
}

static void become(const struct cprocess_request *request, int report, pid_t parent) {
    if (request->death_signal != 0) {
        if (prctl(PR_SET_PDEATHSIG, request->death_signal) != 0) give_up(report);
        // The parent may have died before the kernel knew that we care.
        if (getppid() != parent) _exit(127);
    }
    if (setsid() < 0) give_up(report);

    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    // Fails for SIGKILL, SIGSTOP and the two that the C library keeps, which are as they should be.
    for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    if (sigprocmask(SIG_SETMASK, &none, NULL) != 0) give_up(report);

    // The report is moved out of the way first, to where no redirection can hit it.
    int moved = fcntl(report, F_DUPFD_CLOEXEC, 4);
    if (moved < 0) give_up(report);
    report = moved;
    int output = fcntl(request->output, F_DUPFD_CLOEXEC, 4);
    if (output < 0) give_up(report);
    int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0) give_up(report);
    if (dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0) give_up(report);
    // Everything else goes with exec: marking keeps the report usable until then.
    if (syscall(SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */) != 0) {
        if (errno != ENOSYS && errno != EINVAL) give_up(report);
        // Before Linux 5.11.
        int limit = (int)sysconf(_SC_OPEN_MAX);
        for (int descriptor = 3; descriptor < limit; descriptor++) {
            if (descriptor != report) close(descriptor);
        }
    }
    execve(request->program, request->arguments, request->environment);
    give_up(report);
}

pid_t cprocess_spawn(const struct cprocess_request *request, int *pidfd) {
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) return -errno;

    // No handler of ours may run in the child, whose memory is a copy.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0) {
        become(request, report[1], parent);
        _exit(127);
    }
    int failure = child < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(report[1]);

    if (failure == 0) {
        int code = 0;
        ssize_t got;
        do {
            got = read(report[0], &code, sizeof code);
        } while (got < 0 && errno == EINTR);
        if (got > 0) failure = got == (ssize_t)sizeof code ? code : EIO;
        if (failure == 0) {
            *pidfd = (int)syscall(SYS_pidfd_open, child, 0);
            if (*pidfd < 0) {
                failure = errno;
                kill(child, SIGKILL);
            }
        }
        if (failure != 0) waitpid(child, NULL, 0);
    }
    close(report[0]);
    return failure == 0 ? child : -failure;
}

int cprocess_wake_descriptor(void) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return descriptor < 0 ? -errno : descriptor;
}

int cprocess_pipe(int ends[2]) {
    return pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0 ? -errno : 0;
}

void cprocess_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}
