
/* Return the class of an output of @name@_run: that of its largest
 * (potential - threshold) / step; of equals the first. */
int32_t @name@_predict(const int32_t *output);
