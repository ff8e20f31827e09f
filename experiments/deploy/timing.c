/* Prints nanoseconds of processor time per inference.
 *
 *   timing FILE TIMES      every input of the file so many times
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

int main(int argc, char **argv)
{
    static int32_t output[NET_OUTPUT_SIZE];
    FILE *file = argc == 3 ? fopen(argv[1], "rb") : NULL;
    struct timespec start, end;
    uint8_t *inputs;
    long n, times, i;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0)
        return 1;
    n = ftell(file) / NET_INPUT_SIZE;
    times = atol(argv[2]);
    inputs = malloc((size_t)n * NET_INPUT_SIZE);
    rewind(file);
    if (inputs == NULL || fread(inputs, NET_INPUT_SIZE, (size_t)n, file) != (size_t)n)
        return 1;
    fclose(file);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (i = 0; i < n * times; i++)
        if (net_run(inputs + i % n * NET_INPUT_SIZE, output) != 0)
            return 1;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    printf("%.1f\n", ((double)(end.tv_sec - start.tv_sec) * 1e9
                      + (double)(end.tv_nsec - start.tv_nsec)) / (double)(n * times));
    free(inputs);
    return 0;
}
