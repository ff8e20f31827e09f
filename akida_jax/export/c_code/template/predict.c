
int32_t @name@_predict(const int32_t *output)
{
    return (int32_t)(akida_largest(output, @name@_thresholds_out, @name@_steps_out,
                                   @NAME@_OUTPUT_SIZE)
                     / @NAME@_NEURONS_PER_CLASS);
}
