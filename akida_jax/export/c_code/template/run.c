
int @name@_run(const uint8_t *input, int32_t *output)
{
    if (output == NULL)
        return @NAME@_NO_ARRAY;
    return akida_run(&network, &places, input, output, NULL);
}
