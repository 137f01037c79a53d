/* Lets one program's wall clock be wrong by as many nanoseconds as the first eight bytes of the file
 * TASKMAN_TEST_CLOCK say, from one reading to the next. Clocks of elapsed time are as they are. That the clock
 * was set wakes nobody, as it would on a real machine. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define LATEST (9223372036LL * SECOND)

static const volatile long long *offset;
static char is_wall[4096]; /* by the descriptor of a timer */

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TASKMAN_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset = page;
}

static void move(struct timespec *at, long long by) {
    __int128 sum = (__int128)at->tv_sec * SECOND + at->tv_nsec + by;
    if (sum < 1) sum = 1;
    if (sum > LATEST) sum = LATEST;
    at->tv_sec = sum / SECOND;
    at->tv_nsec = sum % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, clock, at);
    if (!result && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(at, *offset);
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int timerfd_create(int clock, int flags) {
    int fd = syscall(SYS_timerfd_create, clock, flags);
    if (fd >= 0 && fd < (int)sizeof is_wall) is_wall[fd] = clock == CLOCK_REALTIME;
    return fd;
}

int timerfd_settime(int fd, int flags, const struct itimerspec *set, struct itimerspec *old) {
    struct itimerspec moved = *set;
    int is_set = set->it_value.tv_sec || set->it_value.tv_nsec;
    if (offset && is_set && flags & TFD_TIMER_ABSTIME && fd >= 0 && fd < (int)sizeof is_wall && is_wall[fd])
        move(&moved.it_value, -*offset);
    return syscall(SYS_timerfd_settime, fd, flags, &moved, old);
}
