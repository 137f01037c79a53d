/* pace FIRST_NS STEP_NS COUNT FILE
 *
 * At FIRST_NS (nanoseconds since 1970) and every STEP_NS from there, COUNT times, do the same piece of arithmetic, and
 * append to FILE how long it took, 8 bytes of nanoseconds. It uses no memory and makes no system call meanwhile: what
 * takes longer, a slower machine takes, as a virtual one whose processor its host gives to somebody else.
 */

#include <fcntl.h>
#include <stdint.h>
#include <sys/timerfd.h>

#include "spawn.h"

#define WORK 60000

int main(int argc, char **argv)
{
	volatile unsigned value = 1;
	long long moment_ns, step_ns;
	int timer, count, fd;

	if (argc != 5)
		return 2;
	moment_ns = atoll(argv[1]);
	step_ns = atoll(argv[2]);
	count = atoi(argv[3]);
	fd = open(argv[4], O_WRONLY | O_APPEND | O_CREAT, 0600);
	timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	if (fd < 0 || timer < 0)
		die("pace");
	for (int i = 0; i < count; i++, moment_ns += step_ns) {
		struct itimerspec moment = { .it_value = { moment_ns / SECOND_NS, moment_ns % SECOND_NS } };
		long long began_ns, took_ns;
		uint64_t expirations;

		if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &moment, NULL) < 0)
			die("timerfd_settime");
		if (read(timer, &expirations, sizeof expirations) != sizeof expirations)
			die("read");
		began_ns = clock_ns(CLOCK_MONOTONIC);
		for (int j = 0; j < WORK; j++)
			value = value * 1103515245 + 12345;
		took_ns = clock_ns(CLOCK_MONOTONIC) - began_ns;
		if (write(fd, &took_ns, sizeof took_ns) != sizeof took_ns)
			die("write");
	}
	return 0;
}
