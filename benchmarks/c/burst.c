/* burst inherit|capture WIDTH COUNT SLOT_NS PROGRAM [ARG]...
 *
 * Wait for SLOT_NS (nanoseconds since 1970; 0: no wait), then run PROGRAM COUNT times, WIDTH at a time, each started
 * as soon as a seat is free. "capture" reads what each one prints through a pipe of its own, to the end, and drops it.
 * Prints the nanoseconds from the first start to the last.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include "spawn.h"

#define MAX_WIDTH 256

static long long first_ns, last_ns;

static pid_t start_stamped(char **argv, int output_fd)
{
	last_ns = clock_ns(CLOCK_MONOTONIC);
	if (first_ns == 0)
		first_ns = last_ns;
	return start(argv, output_fd, 0);
}

static void reap(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "the command failed with wait status %d\n", status);
		exit(1);
	}
}

static void run_inherited(int width, int count, char **argv)
{
	int started = 0, ended = 0;

	while (ended < count) {
		while (started < count && started - ended < width) {
			start_stamped(argv, -1);
			started++;
		}
		reap(-1);
		ended++;
	}
}

static void start_captured(char **argv, struct pollfd *seat, pid_t *pid)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		die("pipe2");
	*pid = start_stamped(argv, ends[1]);
	close(ends[1]);
	seat->fd = ends[0];
	seat->events = POLLIN;
}

static void run_captured(int width, int count, char **argv)
{
	static char buffer[65536];
	struct pollfd seats[MAX_WIDTH];
	pid_t pids[MAX_WIDTH];
	int started = 0, ended = 0;

	for (int i = 0; i < width; i++) {
		seats[i].fd = -1;
		if (started < count) {
			start_captured(argv, &seats[i], &pids[i]);
			started++;
		}
	}
	while (ended < count) {
		if (poll(seats, width, -1) < 0)
			die("poll");
		for (int i = 0; i < width; i++) {
			if (seats[i].fd < 0 || seats[i].revents == 0)
				continue;
			if (read(seats[i].fd, buffer, sizeof buffer) > 0)
				continue;
			close(seats[i].fd);
			seats[i].fd = -1;
			reap(pids[i]);
			ended++;
			if (started < count) {
				start_captured(argv, &seats[i], &pids[i]);
				started++;
			}
		}
	}
}

int main(int argc, char **argv)
{
	int width, count;
	long long slot_ns;

	if (argc < 6)
		return 2;
	width = atoi(argv[2]);
	count = atoi(argv[3]);
	slot_ns = atoll(argv[4]);
	if (width < 1 || width > MAX_WIDTH || count < 1)
		return 2;
	if (slot_ns > 0) {
		struct timespec slot = { slot_ns / SECOND_NS, slot_ns % SECOND_NS };
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &slot, NULL);
	}
	if (strcmp(argv[1], "capture") == 0)
		run_captured(width, count, argv + 5);
	else
		run_inherited(width, count, argv + 5);
	printf("%lld\n", last_ns - first_ns);
	return 0;
}
