#pragma once

#include <sys/types.h>

// Starting a child process in one go, with what posix_spawn(3) lacks: a signal for the child when
// its parent dies. Only async-signal-safe calls are made between fork and exec.

struct cprocess_request {
    const char *program;       // path of the file to run
    char *const *arguments;    // argv, ending with NULL
    char *const *environment;  // envp, ending with NULL
    int output;                // becomes standard output and standard error
    int death_signal;          // sent to the child when the calling thread ends; 0 for none
};

// Starts the child as the leader of a new session, with /dev/null as standard input, no other
// descriptor open, no signal blocked and every signal's action the default.
//
// Returns the child's process ID and sets *pidfd to a descriptor that becomes readable when the child
// ends, or returns a negative errno(3); a program that cannot be executed is such an error.
pid_t cprocess_spawn(const struct cprocess_request *request, int *pidfd);

// A counter to wake a poll(2) with: an eventfd(2), not blocking, closed on exec. Negative errno(3) on
// failure.
int cprocess_wake_descriptor(void);

// A pipe whose ends do not block and are closed on exec. Negative errno(3) on failure.
int cprocess_pipe(int ends[2]);

// Names the calling thread, for the operator's tools: 15 bytes at most.
void cprocess_name_thread(const char *name);

// Gives back the memory of code and constants that only the start needed: the pages stay in the page
// cache and come back by themselves where they are used again. Returns the bytes looked at.
size_t cprocess_release_program_pages(void);

// Gives back whole pages of the heaps of all threads that hold nothing. Returns 1 when there were any.
int cprocess_trim_heap(void);
