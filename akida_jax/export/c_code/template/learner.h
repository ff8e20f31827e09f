
/* Return the class of an output of @name@_run: that of the neuron with the highest potential; of
 * equals the first; -1 if all are 0. */
int32_t @name@_predict(const int32_t *output);

/* What the functions below return if they did nothing. */
#define @NAME@_NONE_LEARNS (-1)
#define @NAME@_BAD_INPUT (-2)
#define @NAME@_BAD_LABEL (-3)
#define @NAME@_NO_SPIKES (-4)
#define @NAME@_NO_ROOM (-5)
#define @NAME@_BAD_STATE (-6)

/* Learn one input of a class; -1: the class is not known. Return the neuron that learned it,
 * or @NAME@_NONE_LEARNS if the one that won has no plasticity left, or why not. */
int32_t @name@_learn(const uint8_t *input, int32_t label);

/* Add classes that nothing is known of. Return the first one's label, or @NAME@_NO_ROOM. */
int32_t @name@_add_classes(int32_t n);

/* Everything that learning changes. Copy it to keep it, copy it back to go on from there. */
typedef struct {
    uint32_t n_neurons;
    struct {
        uint32_t plasticity;   /* 16 fraction bits */
        uint32_t learned;      /* samples */
        int32_t threshold;     /* 0: it has never learned */
    } neurons[@NAME@_OUTPUT_SIZE];
    uint32_t weights[@NAME@_OUTPUT_SIZE][@NAME@_WORDS];
} @name@_state;

void @name@_get_state(@name@_state *state);

/* Return 0, or @NAME@_BAD_STATE for a number of neurons or a threshold that cannot be: then nothing
   is done. */
int @name@_set_state(const @name@_state *state);

/* Go back to what was known when this file was written. */
void @name@_forget(void);
