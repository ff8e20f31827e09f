
static const akida_learner learner = {
@learner@
};

/* Fails to compile if a neuron is laid out otherwise in the runtime. */
typedef char neuron_as_planned[sizeof(akida_neuron) == 12 ? 1 : -1];

static struct {
    uint32_t is_ready, n_neurons;
    akida_neuron neurons[@NAME@_OUTPUT_SIZE];
    uint32_t weights[@NAME@_OUTPUT_SIZE * @NAME@_WORDS];
    uint32_t scratch[3 * @NAME@_WORDS];
    uint32_t spikes[@NAME@_WORDS];
} learned;

typedef char learned_as_planned[sizeof learned == @NAME@_LEARNING_BYTES ? 1 : -1];

static akida_learning view(void)
{
    const akida_learning learning = {learned.n_neurons, learned.neurons, learned.weights,
                                     learned.scratch};

    return learning;
}

static void add_neurons(uint32_t n)
{
    akida_learning learning = view();

    akida_add_neurons(&learner, &learning, n);
    learned.n_neurons = learning.n_neurons;
}

void @name@_forget(void)
{
    learned.is_ready = 1;
@first@
}

static void prepare(void)
{
    if (!learned.is_ready)
        @name@_forget();
}

/* Run the layers and pack what spikes. Return 0 or why not. */
static int sense(const uint8_t *input, uint32_t *n_spikes)
{
    const uint8_t *levels;
    const int fault = akida_run(&network, &places, input, NULL, &levels);

    if (fault == 0)
        *n_spikes = akida_pack(&learner, levels, learned.spikes);
    return fault;
}

int @name@_run(const uint8_t *input, int32_t *output)
{
    akida_learning learning;
    uint32_t n_spikes, i;
    int fault;

    prepare();
    learning = view();
    if (output == NULL)
        return @NAME@_NO_ARRAY;
    fault = sense(input, &n_spikes);
    if (fault != 0)
        return fault;
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++)
        output[i] = 0;
    akida_recall(&learner, &learning, learned.spikes, output);
    return 0;
}

int32_t @name@_predict(const int32_t *output)
{
    uint32_t best = 0, i;

    for (i = 1; i < @NAME@_OUTPUT_SIZE; i++)
        if (output[i] > output[best])
            best = i;
    return output[best] > 0 ? (int32_t)(best / @NAME@_NEURONS_PER_CLASS) : -1;
}

int32_t @name@_learn(const uint8_t *input, int32_t label)
{
    akida_learning learning;
    uint32_t n_spikes;

    prepare();
    if (label < -1 || label >= (int32_t)(learned.n_neurons / @NAME@_NEURONS_PER_CLASS))
        return @NAME@_BAD_LABEL;
    if (sense(input, &n_spikes) != 0)
        return @NAME@_BAD_INPUT;
    if (n_spikes == 0)
        return @NAME@_NO_SPIKES;
    learning = view();
    return akida_learn(&learner, &learning, learned.spikes, label);
}

int32_t @name@_add_classes(int32_t n)
{
    int32_t first;

    prepare();
    first = (int32_t)(learned.n_neurons / @NAME@_NEURONS_PER_CLASS);
    if (n < 1 || n > @NAME@_MOST_CLASSES - first)
        return @NAME@_NO_ROOM;
    add_neurons((uint32_t)n * @NAME@_NEURONS_PER_CLASS);
    return first;
}

void @name@_get_state(@name@_state *state)
{
    uint32_t i, j;

    prepare();
    state->n_neurons = learned.n_neurons;
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++) {
        state->neurons[i].plasticity = learned.neurons[i].plasticity;
        state->neurons[i].learned = learned.neurons[i].learned;
        state->neurons[i].threshold = learned.neurons[i].threshold;
        for (j = 0; j < @NAME@_WORDS; j++)
            state->weights[i][j] = learned.weights[i * @NAME@_WORDS + j];
    }
}

int @name@_set_state(const @name@_state *state)
{
    uint32_t i, j;

    if (state->n_neurons == 0 || state->n_neurons > @NAME@_OUTPUT_SIZE ||
        state->n_neurons % @NAME@_NEURONS_PER_CLASS != 0)
        return @NAME@_BAD_STATE;
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++)
        if (state->neurons[i].threshold < 0)
            return @NAME@_BAD_STATE;
    learned.is_ready = 1;
    learned.n_neurons = state->n_neurons;
    for (i = 0; i < @NAME@_OUTPUT_SIZE; i++) {
        learned.neurons[i].plasticity = state->neurons[i].plasticity;
        learned.neurons[i].learned = state->neurons[i].learned;
        learned.neurons[i].threshold = state->neurons[i].threshold;
        for (j = 0; j < @NAME@_WORDS; j++)
            learned.weights[i * @NAME@_WORDS + j] = state->weights[i][j];
    }
    return 0;
}
