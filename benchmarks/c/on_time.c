/* on_time [-s] FIRST_NS STEP_NS COUNT PROGRAM [ARG]...
 *
 * Start PROGRAM COUNT times: at FIRST_NS (nanoseconds since 1970) and every STEP_NS from there, each after a wait on
 * an absolute timerfd, and reap it. -s: each in a session of its own.
 */

#include <stdint.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "spawn.h"

int main(int argc, char **argv)
{
	long long slot_ns, step_ns;
	int timer, count, own_session = argc > 1 && !strcmp(argv[1], "-s");

	argc -= own_session;
	argv += own_session;
	if (argc < 5)
		return 2;
	slot_ns = atoll(argv[1]);
	step_ns = atoll(argv[2]);
	count = atoi(argv[3]);
	timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC);
	if (timer < 0)
		die("timerfd_create");
	for (int i = 0; i < count; i++, slot_ns += step_ns) {
		struct itimerspec slot = { .it_value = { slot_ns / SECOND_NS, slot_ns % SECOND_NS } };
		uint64_t expirations;
		pid_t pid;

		if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &slot, NULL) < 0)
			die("timerfd_settime");
		if (read(timer, &expirations, sizeof expirations) != sizeof expirations)
			die("read");
		pid = start(argv + 4, -1, own_session);
		if (waitpid(pid, NULL, 0) < 0)
			die("waitpid");
	}
	return 0;
}
