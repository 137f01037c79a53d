/* stamp FILE: append the time of its own start, 8 bytes of nanoseconds since 1970, in one write. */

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec t;
	long long ns;
	int fd;

	clock_gettime(CLOCK_REALTIME, &t);
	if (argc != 2)
		return 2;
	ns = t.tv_sec * 1000000000LL + t.tv_nsec;
	fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0600);
	return write(fd, &ns, sizeof ns) != sizeof ns;
}
