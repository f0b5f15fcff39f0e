#define _GNU_SOURCE
#include "CProcess.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static int release_segments(struct dl_phdr_info *info, size_t size, void *released) {
    (void)size;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[index];
        // A writable segment holds relocated pointers and variables, which exist nowhere else.
        if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W)) continue;
        uintptr_t start = (info->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + segment->p_vaddr + segment->p_filesz) & ~(page - 1);
        if (end > start && madvise((void *)start, end - start, MADV_DONTNEED) == 0) {
            *(size_t *)released += end - start;
        }
    }
    return 0;
}

size_t cprocess_release_program_pages(void) {
    size_t released = 0;
    dl_iterate_phdr(release_segments, &released);
    return released;
}

int cprocess_trim_heap(void) { return malloc_trim(0); }
