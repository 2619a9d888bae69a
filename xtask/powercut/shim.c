/*
 * Notes what a process does to the files below one folder, in the order in which it does it, so that a power cut can
 * be played afterwards: which bytes had been written, which of them had been synced, and what the process had said to
 * the outside by then. Loaded with LD_PRELOAD; Linux only.
 *
 *   POWERCUT_ROOT  the folder: an absolute path without links, without a slash at its end
 *   POWERCUT_LOG   the file that the notes are added to
 *
 * Nothing is changed or held back: every call reaches the system as it was made. A note is one record: a head of
 * fixed size, then a path, a second path, and bytes. `xtask/src/powercut/log.rs` reads them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
    OPENED = 1,   /* path; offset 1 if it was made by this, 2 for a folder */
    WRITTEN = 2,  /* offset, bytes */
    CUT = 3,      /* offset: the new length */
    SYNCING = 4,  /* offset: the thread whose sync begins */
    SYNCED = 5,   /* offset: the thread whose sync has come to its end */
    RENAMED = 6,  /* both paths */
    REMOVED = 7,  /* path */
    FOLDER = 8,   /* path of a folder that was made */
    SAID = 9,     /* the first bytes that go out through a socket */
    STRANGE = 10, /* path: something was done that the reader of this does not understand */
};

struct head {
    uint32_t kind;
    uint32_t path;
    uint32_t second;
    uint32_t bytes;
    uint64_t device;
    uint64_t inode;
    uint64_t offset;
};

/* Bytes of a message that are kept: enough for the head of a request. */
#define SAID_BYTES 2048
/* Files that a process may open below the folder. */
#define FILES 65536

struct file {
    uint64_t device;
    uint64_t inode;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int notes = -1;
static char root[PATH_MAX];
static size_t root_bytes;
static struct file files[FILES];
static size_t known;

__attribute__((constructor)) static void begin(void)
{
    const char *folder = getenv("POWERCUT_ROOT");
    const char *log = getenv("POWERCUT_LOG");
    if (!folder || !log || strlen(folder) >= sizeof root)
        return;
    strcpy(root, folder);
    root_bytes = strlen(root);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    notes = fcntl(fd, F_DUPFD_CLOEXEC, 500);
    syscall(SYS_close, fd);
}

/* A process whose doings can't be noted would make every later answer worthless. */
static void fail(const char *why)
{
    dprintf(2, "powercut shim: %s\n", why);
    abort();
}

static void note(struct head head, const char *path, const char *second, const void *bytes)
{
    struct iovec parts[4] = {
        {&head, sizeof head},
        {(void *)path, path ? strlen(path) : 0},
        {(void *)second, second ? strlen(second) : 0},
        {(void *)bytes, head.bytes},
    };
    head.path = (uint32_t)parts[1].iov_len;
    head.second = (uint32_t)parts[2].iov_len;
    ssize_t whole = (ssize_t)(sizeof head + head.path + head.second + head.bytes);
    if (syscall(SYS_writev, notes, parts, 4) != whole)
        fail("a note could not be written");
}

/* The absolute path that `path` means beside `folder`; 0 if it is not below the root. */
static int below(int folder, const char *path, char *whole)
{
    if (notes < 0 || !path)
        return 0;
    if (path[0] == '/') {
        if (strlen(path) >= PATH_MAX)
            return 0;
        strcpy(whole, path);
    } else {
        char link[64];
        if (folder == AT_FDCWD)
            strcpy(link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, whole, PATH_MAX - 1);
        if (length < 0 || (size_t)length + strlen(path) + 2 > PATH_MAX)
            return 0;
        whole[length] = '/';
        strcpy(whole + length + 1, path);
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/')
        whole[--length] = 0;
    return strncmp(whole, root, root_bytes) == 0 && (whole[root_bytes] == '/' || whole[root_bytes] == 0);
}

static void remember(const struct stat *stat)
{
    for (size_t i = 0; i < known; i++)
        if (files[i].device == stat->st_dev && files[i].inode == stat->st_ino)
            return;
    if (known == FILES)
        fail("too many files");
    files[known++] = (struct file){stat->st_dev, stat->st_ino};
}

/* Whether `fd` is a file below the root. Called with the turn held. */
static int ours(int fd, struct stat *stat)
{
    if (notes < 0 || fstat(fd, stat) != 0 || !(S_ISREG(stat->st_mode) || S_ISDIR(stat->st_mode)))
        return 0;
    for (size_t i = 0; i < known; i++)
        if (files[i].device == stat->st_dev && files[i].inode == stat->st_ino)
            return 1;
    return 0;
}

static struct head of(enum kind kind, const struct stat *stat, uint64_t offset)
{
    return (struct head){.kind = kind, .device = stat->st_dev, .inode = stat->st_ino, .offset = offset};
}

/* Opening */

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    char whole[PATH_MAX];
    if (!below(folder, path, whole))
        return (int)syscall(SYS_openat, folder, path, flags, mode);
    pthread_mutex_lock(&turn);
    struct stat before, after;
    int was = lstat(whole, &before) == 0;
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    int error = errno;
    if (fd >= 0 && fstat(fd, &after) == 0) {
        remember(&after);
        uint64_t how = S_ISDIR(after.st_mode) ? 2 : was ? 0 : 1;
        note(of(OPENED, &after, how), whole, NULL, NULL);
        if (was && (flags & O_TRUNC))
            note(of(CUT, &after, 0), NULL, NULL, NULL);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list rest)
{
    return (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
}

#define OPEN(name)                                       \
    int name(const char *path, int flags, ...)           \
    {                                                    \
        va_list rest;                                    \
        va_start(rest, flags);                           \
        mode_t mode = mode_of(flags, rest);              \
        va_end(rest);                                    \
        return open_at(AT_FDCWD, path, flags, mode);     \
    }
#define OPENAT(name)                                     \
    int name(int folder, const char *path, int flags, ...) \
    {                                                    \
        va_list rest;                                    \
        va_start(rest, flags);                           \
        mode_t mode = mode_of(flags, rest);              \
        va_end(rest);                                    \
        return open_at(folder, path, flags, mode);       \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* Writing */

/* What goes out may be answered by the other side before this returns, so it is noted before. */
static void said(int fd, const struct iovec *parts, int count)
{
    struct stat stat;
    if (notes < 0 || fstat(fd, &stat) != 0 || !S_ISSOCK(stat.st_mode))
        return;
    char bytes[SAID_BYTES];
    size_t length = 0;
    for (int i = 0; i < count && length < sizeof bytes; i++) {
        size_t take = parts[i].iov_len;
        if (take > sizeof bytes - length)
            take = sizeof bytes - length;
        memcpy(bytes + length, parts[i].iov_base, take);
        length += take;
    }
    struct head head = of(SAID, &stat, 0);
    head.bytes = (uint32_t)length;
    pthread_mutex_lock(&turn);
    note(head, NULL, NULL, bytes);
    pthread_mutex_unlock(&turn);
}

static void written(const struct stat *stat, uint64_t offset, const struct iovec *parts, size_t bytes)
{
    for (size_t i = 0; bytes > 0; i++) {
        size_t take = parts[i].iov_len < bytes ? parts[i].iov_len : bytes;
        struct head head = of(WRITTEN, stat, offset);
        head.bytes = (uint32_t)take;
        if (take > 0)
            note(head, NULL, NULL, parts[i].iov_base);
        offset += take;
        bytes -= take;
    }
}

static ssize_t write_all(int fd, const struct iovec *parts, int count)
{
    struct stat stat;
    said(fd, parts, count);
    pthread_mutex_lock(&turn);
    int noted = ours(fd, &stat);
    uint64_t offset = 0;
    if (noted)
        offset = (fcntl(fd, F_GETFL) & O_APPEND) ? (uint64_t)stat.st_size : (uint64_t)lseek(fd, 0, SEEK_CUR);
    if (!noted)
        pthread_mutex_unlock(&turn);
    ssize_t done = syscall(SYS_writev, fd, parts, count);
    int error = errno;
    if (noted) {
        if (done > 0)
            written(&stat, offset, parts, (size_t)done);
        pthread_mutex_unlock(&turn);
    }
    errno = error;
    return done;
}

static ssize_t write_at(int fd, const struct iovec *parts, int count, off_t offset)
{
    struct stat stat;
    pthread_mutex_lock(&turn);
    ssize_t done = syscall(SYS_pwritev, fd, parts, count, (long)offset, 0L);
    int error = errno;
    if (done > 0 && ours(fd, &stat))
        written(&stat, (uint64_t)offset, parts, (size_t)done);
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length)
{
    struct iovec part = {(void *)bytes, length};
    return write_all(fd, &part, 1);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return write_all(fd, parts, count);
}

#define PWRITE(name)                                                       \
    ssize_t name(int fd, const void *bytes, size_t length, off_t offset)   \
    {                                                                      \
        struct iovec part = {(void *)bytes, length};                       \
        return write_at(fd, &part, 1, offset);                             \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define PWRITEV(name)                                                      \
    ssize_t name(int fd, const struct iovec *parts, int count, off_t offset) \
    {                                                                      \
        return write_at(fd, parts, count, offset);                         \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

ssize_t sendto(int fd, const void *bytes, size_t length, int flags, const struct sockaddr *to, socklen_t size)
{
    struct iovec part = {(void *)bytes, length};
    said(fd, &part, 1);
    return syscall(SYS_sendto, fd, bytes, length, flags, to, size);
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    return sendto(fd, bytes, length, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    said(fd, message->msg_iov, (int)message->msg_iovlen);
    return syscall(SYS_sendmsg, fd, message, flags);
}

#define FTRUNCATE(name)                                                    \
    int name(int fd, off_t length)                                         \
    {                                                                      \
        struct stat stat;                                                  \
        pthread_mutex_lock(&turn);                                         \
        int done = (int)syscall(SYS_ftruncate, fd, length);                \
        int error = errno;                                                 \
        if (done == 0 && ours(fd, &stat))                                  \
            note(of(CUT, &stat, (uint64_t)length), NULL, NULL, NULL);      \
        pthread_mutex_unlock(&turn);                                       \
        errno = error;                                                     \
        return done;                                                       \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

/* Syncing */

static int sync_file(int fd, long call)
{
    struct stat stat;
    pthread_mutex_lock(&turn);
    int noted = ours(fd, &stat);
    uint64_t thread = (uint64_t)syscall(SYS_gettid);
    if (noted)
        note(of(SYNCING, &stat, thread), NULL, NULL, NULL);
    pthread_mutex_unlock(&turn);
    int done = (int)syscall(call, fd);
    int error = errno;
    if (noted && done == 0) {
        pthread_mutex_lock(&turn);
        note(of(SYNCED, &stat, thread), NULL, NULL, NULL);
        pthread_mutex_unlock(&turn);
    }
    errno = error;
    return done;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

/* Names */

static int rename_at(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    char first[PATH_MAX], second[PATH_MAX];
    int out = below(from_folder, from, first), in = below(to_folder, to, second);
    if (!out && !in)
        return (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    pthread_mutex_lock(&turn);
    int done = (int)syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int error = errno;
    if (done == 0) {
        enum kind kind = out && in && !(flags & ~1u) ? RENAMED : STRANGE;
        note((struct head){.kind = kind}, first, second, NULL);
    }
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return rename_at(from_folder, from, to_folder, to, 0);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
    return rename_at(from_folder, from, to_folder, to, flags);
}

static int remove_at(int folder, const char *path, int flags)
{
    char whole[PATH_MAX];
    if (!below(folder, path, whole))
        return (int)syscall(SYS_unlinkat, folder, path, flags);
    pthread_mutex_lock(&turn);
    int done = (int)syscall(SYS_unlinkat, folder, path, flags);
    int error = errno;
    if (done == 0)
        note((struct head){.kind = REMOVED}, whole, NULL, NULL);
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

int unlink(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    return remove_at(folder, path, flags);
}

int rmdir(const char *path)
{
    return remove_at(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int folder, const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    if (!below(folder, path, whole))
        return (int)syscall(SYS_mkdirat, folder, path, mode);
    pthread_mutex_lock(&turn);
    int done = (int)syscall(SYS_mkdirat, folder, path, mode);
    int error = errno;
    if (done == 0)
        note((struct head){.kind = FOLDER}, whole, NULL, NULL);
    pthread_mutex_unlock(&turn);
    errno = error;
    return done;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* What would write past the notes */

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    char whole[PATH_MAX];
    int done = (int)syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    if (done == 0 && below(to_folder, to, whole)) {
        pthread_mutex_lock(&turn);
        note((struct head){.kind = STRANGE}, whole, "link", NULL);
        pthread_mutex_unlock(&turn);
    }
    return done;
}

int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

#define FALLOCATE(name, ...)                                               \
    int name(__VA_ARGS__)                                                  \
    {                                                                      \
        struct stat stat;                                                  \
        pthread_mutex_lock(&turn);                                         \
        if (ours(fd, &stat))                                               \
            note(of(STRANGE, &stat, 0), #name, NULL, NULL);                \
        pthread_mutex_unlock(&turn);                                       \
        return (int)syscall(SYS_fallocate, fd, mode, offset, length);      \
    }
FALLOCATE(fallocate, int fd, int mode, off_t offset, off_t length)
FALLOCATE(fallocate64, int fd, int mode, off_t offset, off_t length)

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags)
{
    struct stat stat;
    pthread_mutex_lock(&turn);
    if (ours(to, &stat))
        note(of(STRANGE, &stat, 0), "copy_file_range", NULL, NULL);
    pthread_mutex_unlock(&turn);
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
}

/* SQLite maps the index of its log, which is made anew after a cut; anything else that is mapped to be written is
 * told by the reader, which knows the names. */
#define MMAP(name)                                                                    \
    void *name(void *at, size_t length, int protection, int flags, int fd, off_t offset) \
    {                                                                                 \
        struct stat stat;                                                             \
        if ((protection & PROT_WRITE) && (flags & MAP_SHARED) && fd >= 0) {           \
            pthread_mutex_lock(&turn);                                                \
            if (ours(fd, &stat))                                                      \
                note(of(STRANGE, &stat, 0), "mmap", NULL, NULL);                      \
            pthread_mutex_unlock(&turn);                                              \
        }                                                                             \
        return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);  \
    }
MMAP(mmap)
MMAP(mmap64)
