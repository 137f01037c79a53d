/* How the C floors start a process: vfork and execv, nothing else. */

#ifndef SPAWN_H
#define SPAWN_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000LL

static inline void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline long long clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * SECOND_NS + t.tv_nsec;
}

/* Start argv with output_fd as its standard output and error, or with ours if that is -1; in a session of its own or in
 * ours. */
static inline pid_t start(char **argv, int output_fd, int own_session)
{
	pid_t pid = vfork();

	if (pid == 0) {
		if (own_session)
			setsid();
		if (output_fd >= 0) {
			dup2(output_fd, 1);
			dup2(output_fd, 2);
		}
		execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		die("vfork");
	return pid;
}

#endif
