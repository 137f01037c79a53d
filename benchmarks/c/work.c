/* work CPU_MS SLEEP_MS MEGABYTES FILE: take memory, burn CPU time, sleep; then append the time to FILE. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	size_t bytes;
	long long ns, cpu_ns;
	struct timespec rest;
	char *memory;
	int fd;

	if (argc != 5)
		return 2;
	bytes = (size_t)atol(argv[3]) << 20;
	memory = malloc(bytes ? bytes : 1);
	if (!memory)
		return 3;
	memset(memory, 1, bytes);
	cpu_ns = atol(argv[1]) * 1000000LL;
	while (read_clock(CLOCK_PROCESS_CPUTIME_ID) < cpu_ns)
		;
	rest.tv_sec = atol(argv[2]) / 1000;
	rest.tv_nsec = atol(argv[2]) % 1000 * 1000000L;
	nanosleep(&rest, 0);
	ns = read_clock(CLOCK_REALTIME);
	fd = open(argv[4], O_WRONLY | O_APPEND | O_CREAT, 0600);
	return write(fd, &ns, sizeof ns) != sizeof ns || memory[bytes / 2] != (bytes ? 1 : memory[0]);
}
