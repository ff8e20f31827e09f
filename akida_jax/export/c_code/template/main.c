/* Runs the sample that came with the model, or inputs from a file, and prints the outputs.
 *
 *   @name@_main            the sample; fails if its output is not what akida-jax computed
 *   @name@_main FILE       every input of the file, one byte a level, one input behind another
 *
 * -DAKIDA_NO_FILES leaves files out, for machines that have none.
 */
#include <stdio.h>

#include "@name@.h"
#include "@name@_sample.h"

static int32_t output[@NAME@_OUTPUT_SIZE];

static int run(const uint8_t *input)
{
    const int fault = @name@_run(input, output);
    unsigned i;

    if (fault != 0) {
        printf("refused: %d\n", fault);
        return fault;
    }
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++)
        printf("%ld%c", (long)output[i], i + 1 < @NAME@_OUTPUT_SIZE ? ' ' : '\n');
#if @NAME@_CLASSES
    printf("class %ld\n", (long)@name@_predict(output));
#endif
    return 0;
}

#ifndef AKIDA_NO_FILES
static int run_file(const char *path)
{
    static uint8_t input[@NAME@_INPUT_SIZE];
    FILE *file = fopen(path, "rb");
    size_t n;

    if (file == NULL) {
        printf("%s cannot be opened\n", path);
        return 1;
    }
    while ((n = fread(input, 1, sizeof input, file)) == sizeof input)
        if (run(input) != 0)
            break;
    fclose(file);
    if (n != 0)
        printf("%s does not hold whole inputs of %d levels up to %d\n", path,
               @NAME@_INPUT_SIZE, @NAME@_INPUT_MAX);
    return n != 0;
}
#endif

int main(int argc, char **argv)
{
    unsigned i, wrong = 0;

#ifndef AKIDA_NO_FILES
    if (argc > 1)
        return run_file(argv[1]);
#endif
    (void)argc;
    (void)argv;
    if (run(@name@_sample) != 0)
        return 1;
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++)
        wrong += output[i] != @name@_sample_output[i];
    printf(wrong ? "%u of its values are wrong\n" : "as akida-jax computed\n", wrong);
    return wrong != 0;
}
