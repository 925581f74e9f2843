/* Runs a program and makes some of its system calls fail, wait or kill it.
 *
 *   inject RULE... -- PROGRAM ARGS...
 *
 * A RULE is `key=value,key=value,...`:
 *   call=NAME    open, stat, statfs, list, read, write, sync, rename, unlink, mkdir, truncate, lock (flock), record_lock
 *                (locks of fcntl), map (mmap of a file); each with its variants
 *   path=TEXT    only calls on paths that contain TEXT (of a rename: the old or the new one)
 *   errno=NAME   fail with EACCES, EIO, ESTALE, ENOSPC, EDQUOT, EROFS, EPERM, ELOOP, ETIMEDOUT, EXDEV, ENOENT, ...
 *   delay=MS     let the call go after so many milliseconds
 *   kill=1       kill the program with SIGKILL in the place of the call
 *   after=N      let the first N matching calls go
 *   count=N      act on N matching calls, then no more (default: on all)
 *   min=BYTES    of read and write: only calls that ask for at least so many bytes
 *   while=FILE   only while FILE exists
 * The first rule that matches acts. With INJECT_LOG=FILE each call that was acted on is one line there.
 *
 * It sees every call of every thread, also those that do not go through the C library (seccomp user notification,
 * Linux 5.6 and newer, no privileges needed). It does not see io_uring and stores into mapped memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "this architecture is not known here"
#endif

/* where a call has its path: a descriptor, a path, a folder's descriptor and a path; twice of each for a rename; the
 * descriptor behind four other arguments */
enum form { FD, PATH, AT, PATH_PATH, AT_AT, FIFTH_FD };

struct call {
    const char *family;
    long number;
    enum form form;
    int size; /* which argument is the number of bytes, 0: none */
};

static const struct call calls[] = {
#ifdef __NR_open
    {"open", __NR_open, PATH, 0},
    {"stat", __NR_stat, PATH, 0},
    {"stat", __NR_lstat, PATH, 0},
    {"rename", __NR_rename, PATH_PATH, 0},
    {"unlink", __NR_unlink, PATH, 0},
    {"unlink", __NR_rmdir, PATH, 0},
    {"mkdir", __NR_mkdir, PATH, 0},
    {"stat", __NR_access, PATH, 0},
    {"stat", __NR_readlink, PATH, 0},
    {"rename", __NR_renameat, AT_AT, 0},
#endif
    {"open", __NR_openat, AT, 0},
    {"open", __NR_openat2, AT, 0},
    {"stat", __NR_newfstatat, AT, 0},
    {"stat", __NR_statx, AT, 0},
    {"stat", __NR_faccessat, AT, 0},
#ifdef __NR_faccessat2
    {"stat", __NR_faccessat2, AT, 0},
#endif
    {"stat", __NR_readlinkat, AT, 0},
    {"stat", __NR_fstat, FD, 0},
    {"statfs", __NR_statfs, PATH, 0},
    {"list", __NR_getdents64, FD, 0},
    {"read", __NR_read, FD, 2},
    {"read", __NR_pread64, FD, 2},
    {"write", __NR_write, FD, 2},
    {"write", __NR_pwrite64, FD, 2},
    {"write", __NR_writev, FD, 0},
    {"write", __NR_pwritev, FD, 0},
    {"sync", __NR_fsync, FD, 0},
    {"sync", __NR_fdatasync, FD, 0},
    {"sync", __NR_syncfs, FD, 0},
    {"truncate", __NR_ftruncate, FD, 0},
    {"rename", __NR_renameat2, AT_AT, 0},
    {"unlink", __NR_unlinkat, AT, 0},
    {"mkdir", __NR_mkdirat, AT, 0},
    {"lock", __NR_flock, FD, 0},
    {"record_lock", __NR_fcntl, FD, 0},
    {"map", __NR_mmap, FIFTH_FD, 0},
};
enum { CALLS = sizeof calls / sizeof *calls, RULES = 16, WAITING = 256 };

static const struct { const char *name; int number; } errors[] = {
    {"EACCES", EACCES}, {"EIO", EIO},         {"ESTALE", ESTALE}, {"ENOSPC", ENOSPC},       {"EDQUOT", EDQUOT},
    {"EROFS", EROFS},   {"EPERM", EPERM},     {"ELOOP", ELOOP},   {"ETIMEDOUT", ETIMEDOUT}, {"EXDEV", EXDEV},
    {"ENOENT", ENOENT}, {"ENOTDIR", ENOTDIR}, {"EBUSY", EBUSY},   {"ENOLCK", ENOLCK},       {"EINVAL", EINVAL},
    {"ENODEV", ENODEV}, {"EMFILE", EMFILE},   {"ENOTCONN", ENOTCONN}, {"ENAMETOOLONG", ENAMETOOLONG},
};

struct rule {
    const char *family, *path, *only_while;
    int error, kill, used;
    long delay, after, count;
    unsigned long long min;
};

static struct rule rules[RULES];
static int rule_count;

static void fail(const char *what) {
    fprintf(stderr, "inject: %s\n", what);
    exit(125);
}

static void parse(char *text) {
    if (rule_count == RULES) fail("too many rules");
    struct rule *rule = &rules[rule_count++];
    rule->count = -1;
    for (char *part = strtok(text, ","); part; part = strtok(NULL, ",")) {
        char *value = strchr(part, '=');
        if (!value) fail("a rule is key=value,key=value");
        *value++ = 0;
        if (!strcmp(part, "call")) rule->family = value;
        else if (!strcmp(part, "path")) rule->path = value;
        else if (!strcmp(part, "while")) rule->only_while = value;
        else if (!strcmp(part, "kill")) rule->kill = 1;
        else if (!strcmp(part, "delay")) rule->delay = atol(value);
        else if (!strcmp(part, "after")) rule->after = atol(value);
        else if (!strcmp(part, "count")) rule->count = atol(value);
        else if (!strcmp(part, "min")) rule->min = strtoull(value, NULL, 10);
        else if (!strcmp(part, "errno")) {
            for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
                if (!strcmp(errors[i].name, value)) rule->error = errors[i].number;
            if (!rule->error) fail("an unknown error");
        } else fail("an unknown key");
    }
    if (!rule->family) fail("a rule without call=");
    int known = 0;
    for (int i = 0; i < CALLS; i++) known |= !strcmp(calls[i].family, rule->family);
    if (!known) fail("an unknown call");
}

/* The text at an address of another process. */
static void remote_text(pid_t pid, unsigned long address, char *out, size_t size) {
    *out = 0;
    size_t have = 0;
    while (have + 1 < size) {
        size_t want = 256 - ((address + have) & 255); /* never over the end of a page */
        if (want > size - 1 - have) want = size - 1 - have;
        struct iovec here = {out + have, want}, there = {(void *)(address + have), want};
        ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
        if (got <= 0) break;
        if (memchr(out + have, 0, got)) return;
        have += got;
    }
    out[have] = 0;
}

static void link_text(const char *path, char *out, size_t size) {
    ssize_t got = readlink(path, out, size - 1);
    out[got < 0 ? 0 : got] = 0;
}

static void descriptor_path(pid_t pid, int fd, char *out, size_t size) {
    char link[64];
    if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/%d/cwd", pid);
    else snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, fd);
    link_text(link, out, size);
}

static void path_at(pid_t pid, int folder, unsigned long address, char *out, size_t size) {
    char text[4096], base[4096];
    remote_text(pid, address, text, sizeof text);
    if (*text == '/') {
        snprintf(out, size, "%s", text);
    } else {
        descriptor_path(pid, folder, base, sizeof base);
        snprintf(out, size, *text ? "%s/%s" : "%s", base, text);
    }
}

static void paths_of(const struct call *call, const struct seccomp_notif *notice, char *one, char *two, size_t size) {
    const __u64 *args = notice->data.args;
    *one = *two = 0;
    switch (call->form) {
    case FD: descriptor_path(notice->pid, (int)args[0], one, size); break;
    case FIFTH_FD: descriptor_path(notice->pid, (int)args[4], one, size); break;
    case PATH: path_at(notice->pid, AT_FDCWD, args[0], one, size); break;
    case AT: path_at(notice->pid, (int)args[0], args[1], one, size); break;
    case PATH_PATH:
        path_at(notice->pid, AT_FDCWD, args[0], one, size);
        path_at(notice->pid, AT_FDCWD, args[1], two, size);
        break;
    case AT_AT:
        path_at(notice->pid, (int)args[0], args[1], one, size);
        path_at(notice->pid, (int)args[2], args[3], two, size);
        break;
    }
}

static const struct call *call_of(long number) {
    for (int i = 0; i < CALLS; i++)
        if (calls[i].number == number) return &calls[i];
    return NULL;
}

/* Whether a call of fcntl is about a lock. */
static int is_lock(const struct seccomp_notif *notice) {
    int command = (int)notice->data.args[1];
    return command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

/* The rule that acts on this call, or NULL. */
static struct rule *rule_for(const struct call *call, const struct seccomp_notif *notice, const char *one, const char *two) {
    if (call->number == __NR_fcntl && !is_lock(notice)) return NULL;
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->family, call->family)) continue;
        if (rule->path && !strstr(one, rule->path) && !strstr(two, rule->path)) continue;
        if (rule->min && (!call->size || notice->data.args[call->size] < rule->min)) continue;
        if (rule->only_while && access(rule->only_while, F_OK)) continue;
        if (rule->after > 0) { rule->after--; continue; }
        if (rule->count == 0) continue;
        if (rule->count > 0) rule->count--;
        rule->used++;
        return rule;
    }
    return NULL;
}

static int filter(void) {
    struct sock_filter code[CALLS + 10];
    int n = 0, wanted[CALLS], count = 0;
    for (int i = 0; i < CALLS; i++)
        for (int r = 0; r < rule_count; r++)
            if (!strcmp(rules[r].family, calls[i].family)) { wanted[count++] = i; break; }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, count + 5);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < count; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[wanted[i]].number, count + 4 - i, 0);
    /* prctl(PR_SET_DUMPABLE) succeeds and does nothing: it would hide the paths from an injector without privileges */
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_prctl, 0, 3);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PR_SET_DUMPABLE, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_fprog program = {n, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* The child: hands the listener to the parent and becomes the program. */
static void become(int socket, char **argv) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int listener = filter();
    if (listener < 0) _exit(126);
    char space[CMSG_SPACE(sizeof listener)] = {0}, byte = 0;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof listener);
    memcpy(CMSG_DATA(header), &listener, sizeof listener);
    if (sendmsg(socket, &message, 0) < 0) _exit(126);
    close(listener);
    close(socket);
    execvp(*argv, argv);
    _exit(127);
}

static int receive(int socket) {
    int listener = -1;
    char space[CMSG_SPACE(sizeof listener)], byte;
    struct iovec data = {&byte, 1};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (recvmsg(socket, &message, 0) <= 0 || !CMSG_FIRSTHDR(&message)) return -1;
    memcpy(&listener, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof listener);
    return listener;
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void respond(int listener, __u64 id, int error) {
    struct seccomp_notif_resp answer = {.id = id};
    if (error) answer.error = -error;
    else answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

struct waiting { __u64 id; long until; int error; };
static struct waiting waiting[WAITING];
static int waiting_count;

/* Lets the calls go whose time has come; returns how long to sleep at most. */
static int release(int listener) {
    long soonest = -1, time = now();
    for (int i = 0; i < waiting_count;) {
        if (waiting[i].until <= time) {
            respond(listener, waiting[i].id, waiting[i].error);
            waiting[i] = waiting[--waiting_count];
        } else {
            long left = waiting[i].until - time;
            if (soonest < 0 || left < soonest) soonest = left;
            i++;
        }
    }
    return soonest;
}

static pid_t program;

/* A signal for this process is meant for the program. */
static void pass_on(int number) {
    kill(program, number);
}

int main(int argc, char **argv) {
    int first = 1;
    while (first < argc && strcmp(argv[first], "--")) parse(argv[first++]);
    if (first + 1 >= argc || !rule_count) fail("usage: inject RULE... -- PROGRAM ARGS...");
    int sockets[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets)) fail("no socket pair");
    pid_t child = fork();
    if (!child) become(sockets[1], argv + first + 1);
    close(sockets[1]);
    int listener = receive(sockets[0]);
    if (listener < 0) {
        waitpid(child, NULL, 0);
        fail("the kernel allows no seccomp user notification here");
    }
    program = child;
    signal(SIGINT, pass_on);
    signal(SIGTERM, pass_on);
    signal(SIGHUP, pass_on);
    const char *log_path = getenv("INJECT_LOG");
    FILE *log = log_path ? fopen(log_path, "a") : NULL;
    for (;;) {
        struct pollfd poll_fd = {listener, POLLIN, 0};
        int ready = poll(&poll_fd, 1, release(listener));
        if (ready < 0) continue;
        if (ready == 0) continue;
        if (!(poll_fd.revents & POLLIN)) break;
        struct seccomp_notif notice;
        memset(&notice, 0, sizeof notice);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice)) continue;
        const struct call *call = call_of(notice.data.nr);
        char one[8192], two[8192];
        paths_of(call, &notice, one, two, sizeof one);
        struct rule *rule = rule_for(call, &notice, one, two);
        if (rule && log) {
            fprintf(log, *two ? "%s %s -> %s\n" : "%s %s\n", call->family, one, two);
            fflush(log);
        }
        if (!rule) respond(listener, notice.id, 0);
        else if (rule->kill) kill(child, SIGKILL);
        else if (rule->delay && waiting_count < WAITING)
            waiting[waiting_count++] = (struct waiting){notice.id, now() + rule->delay, rule->error};
        else respond(listener, notice.id, rule->error);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) {
        signal(WTERMSIG(status), SIG_DFL);
        kill(getpid(), WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}
