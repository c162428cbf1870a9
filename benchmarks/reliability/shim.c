/* A disk that fails or hangs, for tests: cc -shared -fPIC -o shim.so shim.c -ldl, and LD_PRELOAD=./shim.so.
 *
 * STAGGER_SHIM is CALL:PART:SKIP:TIMES:WHAT. The calls CALL (read, write, or sync: fsync and fdatasync) on files whose path holds PART
 * fail with WHAT (EIO, ENOSPC, EDQUOT) or hang (hang), after the first SKIP of them, TIMES times; 0 is for ever. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long met;

static int strikes(const char *call, int fd) {
    const char *plan = getenv("STAGGER_SHIM");
    char wanted[16], part[128], what[16], link[64], path[4096];
    long skip, times;
    if (!plan || sscanf(plan, "%15[^:]:%127[^:]:%ld:%ld:%15s", wanted, part, &skip, &times, what) != 5)
        return 0;
    if (strcmp(wanted, call) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, part))
        return 0;
    long number = atomic_fetch_add(&met, 1);
    if (number < skip || (times > 0 && number >= skip + times))
        return 0;
    if (strcmp(what, "hang") == 0)
        for (;;)
            pause();
    errno = strcmp(what, "ENOSPC") == 0 ? ENOSPC : strcmp(what, "EDQUOT") == 0 ? EDQUOT : EIO;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    return strikes("write", fd) ? -1 : real(fd, bytes, length);
}

ssize_t read(int fd, void *bytes, size_t length) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "read");
    return strikes("read", fd) ? -1 : real(fd, bytes, length);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fsync");
    return strikes("sync", fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "fdatasync");
    return strikes("sync", fd) ? -1 : real(fd);
}
