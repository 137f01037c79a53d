/* Prints how Debian's cron reads a crontab: a JSON object a line. Usage: reading user|system FILE
 * See make.sh for what it is linked with; unescape.inc and feed.inc are cut out of do_command.c.
 */
#define MAIN_PROGRAM
#include "cron.h"
#include <string.h>

static char *problem;

static void keep(msg) char *msg; { problem = msg; }

static void text(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = *s;
		if (c == '"' || c == '\\') printf("\\%c", c);
		else if (c < 32 || c == 127) printf("\\u%04x", c);
		else putchar(c);
	}
	putchar('"');
}

static void bits(const char *name, bitstr_t *set, int low, int count)
{
	int i, first = 1;
	printf(", \"%s\": [", name);
	for (i = 0; i < count; i++)
		if (bit_test(set, i)) {
			printf("%s%d", first ? "" : ", ", i + low);
			first = 0;
		}
	printf("]");
}

static void variables(const char *name, char **envp)
{
	int first = 1;
	printf(", \"%s\": {", name);
	for (; *envp; envp++) {
		char *eq = strchr(*envp, '=');
		char key[MAX_ENVSTR];
		snprintf(key, sizeof key, "%.*s", (int)(eq - *envp), *envp);
		if (!first) printf(", ");
		first = 0;
		text(key); printf(": "); text(eq + 1);
	}
	printf("}");
}

static char *unescape(entry *e)
{
	register char *input_data;
#include "unescape.inc"
	return input_data;
}

static void feed(char *input_data, FILE *out)
{
	register int need_newline = FALSE;
	register int escaped = FALSE;
	register int ch;
#include "feed.inc"
}

static void print_entry(entry *e, char **envp, int line)
{
	struct passwd *pw = getpwuid(e->uid);
	char *input, *fed = NULL;
	size_t size = 0;
	FILE *out;

	printf("{\"line\": %d", line);
	if (e->flags & WHEN_REBOOT) printf(", \"reboot\": true");
	bits("minute", e->minute, FIRST_MINUTE, MINUTE_COUNT);
	bits("hour", e->hour, FIRST_HOUR, HOUR_COUNT);
	bits("dom", e->dom, FIRST_DOM, DOM_COUNT);
	bits("month", e->month, FIRST_MONTH, MONTH_COUNT);
	bits("dow", e->dow, FIRST_DOW, DOW_COUNT - 1);
	printf(", \"and\": %s", (e->flags & (DOM_STAR | DOW_STAR)) ? "true" : "false");
	printf(", \"wildcard\": %s", (e->flags & (MIN_STAR | HR_STAR)) ? "true" : "false");
	printf(", \"user\": "); text(pw->pw_name);
	printf(", \"raw\": "); text(e->cmd);
	input = unescape(e);
	printf(", \"command\": "); text(e->cmd);
	if (*input) {
		out = open_memstream(&fed, &size);
		feed(input, out);
		fclose(out);
		printf(", \"stdin\": "); text(fed);
	} else
		printf(", \"stdin\": null");
	variables("env", envp);
	variables("full_env", e->envp);
	printf("}\n");
}

int main(int argc, char **argv)
{
	char envstr[MAX_ENVSTR];
	FILE *file = fopen(argv[2], "r");
	struct passwd *pw = strcmp(argv[1], "user") ? NULL : getpwuid(getuid());
	char **envp = env_init();
	entry *e;
	int status, line;

	ProgramName = argv[0];
	Set_LineNum(1)
	do {
		memset(envstr, 0, sizeof envstr);
		status = load_env(envstr, file);
		if (status == ERR && envstr[0])
			printf("{\"line\": %d, \"error\": \"missing newline\"}\n", LineNumber);
		if (status == TRUE)
			envp = env_set(envp, envstr);
		if (status == FALSE) {
			problem = NULL;
			/* The line that load_entry will begin with. */
			skip_comments(file);
			line = LineNumber;
			e = load_entry(file, keep, pw, envp);
			if (e)
				print_entry(e, envp, line);
			else
				printf("{\"line\": %d, \"error\": \"%s\"}\n", line, problem ? problem : "?");
			/* load_entry leaves the rest of a bad line behind. */
			while (!e && LineNumber == line && get_char(file) != EOF)
				;
		}
	} while (status >= OK);
	return 0;
}
