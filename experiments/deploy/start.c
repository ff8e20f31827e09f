/* Starts a program on a Cortex-M of QEMU's board mps2-an385 or mps2-an386.
 *
 * -DARGUMENT='"FILE"' is what main finds in argv[1]. Files and standard output are those of the
 * host, by semihosting (--specs=rdimon.specs). */
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

extern uint32_t stack_end, bss_start, bss_end;
void initialise_monitor_handles(void);
int main(int argc, char **argv);

/* newlib asks for them; there is nothing to do. */
void _init(void);
void _fini(void);
void _init(void) {}
void _fini(void) {}

void start(void);
void start(void)
{
    static char program[] = "main";
#ifdef ARGUMENT
    static char argument[] = ARGUMENT;
    char *argv[] = {program, argument, NULL};
#else
    char *argv[] = {program, NULL};
#endif
    uint32_t *word;
    int code;

    for (word = &bss_start; word < &bss_end; word++)
        *word = 0;
    initialise_monitor_handles();
    code = main((int)(sizeof argv / sizeof argv[0]) - 1, argv);
    fflush(NULL);
    _exit(code);
}

static void fail(void)
{
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {&stack_end, {start, fail, fail, fail, fail, fail}};
