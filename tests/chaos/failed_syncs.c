/* Loaded before libc: while a file exists, the disk fails each sync of a write-ahead log. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    const char *flag = getenv("ANTISTROPHE_TEST_FAILED_SYNCS");
    char link[64], path[4096];
    if (flag == NULL || access(flag, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 4 || memcmp(path + length - 4, "-wal", 4) != 0) return 0;
    errno = EIO;
    return 1;
}

#define REAL(name) ((int (*)(int))dlsym(RTLD_NEXT, name))

int fsync(int fd) { return fails(fd) ? -1 : REAL("fsync")(fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : REAL("fdatasync")(fd); }
