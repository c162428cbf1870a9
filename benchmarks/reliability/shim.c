/* A disk that fails or hangs, for tests: cc -shared -fPIC -o shim.so shim.c -ldl, and LD_PRELOAD=./shim.so.
 *
 * STAGGER_SHIM is CALL:PART:SKIP:TIMES:WHAT. The calls CALL (read, write, or sync: fsync and fdatasync) on files whose path holds PART
 * fail with WHAT (EIO, ENOSPC, EDQUOT, EROFS) or hang (hang), after the first SKIP of them, TIMES times; 0 is for ever. CALL change is
 * every call that a file system which is read-only refuses: writes, and opening to write, making, renaming and removing by a path. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_long met;

static int strikes_path(const char *call, const char *path) {
    const char *plan = getenv("STAGGER_SHIM");
    char wanted[16], part[128], what[16];
    long skip, times;
    if (!plan || sscanf(plan, "%15[^:]:%127[^:]:%ld:%ld:%15s", wanted, part, &skip, &times, what) != 5)
        return 0;
    if (strcmp(wanted, call) != 0 || !strstr(path, part))
        return 0;
    long number = atomic_fetch_add(&met, 1);
    if (number < skip || (times > 0 && number >= skip + times))
        return 0;
    if (strcmp(what, "hang") == 0)
        for (;;)
            pause();
    errno = strcmp(what, "ENOSPC") == 0 ? ENOSPC : strcmp(what, "EDQUOT") == 0 ? EDQUOT : strcmp(what, "EROFS") == 0 ? EROFS : EIO;
    return 1;
}

static int strikes(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strikes_path(call, path);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    return strikes("write", fd) || strikes("change", fd) ? -1 : real(fd, bytes, length);
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

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return changes(flags) && strikes_path("change", path) ? -1 : real(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return strikes_path("change", path) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return strikes_path("change", from) ? -1 : real(from, to);
}

int unlink(const char *path) {
    REAL(unlink);
    return strikes_path("change", path) ? -1 : real(path);
}

int rmdir(const char *path) {
    REAL(rmdir);
    return strikes_path("change", path) ? -1 : real(path);
}

int unlinkat(int folder, const char *name, int flags) {
    REAL(unlinkat);
    return (folder == AT_FDCWD ? strikes_path("change", name) : strikes("change", folder)) ? -1 : real(folder, name, flags);
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    return strikes("change", fd) ? -1 : real(fd, length);
}
