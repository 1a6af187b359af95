/* Kernels of the plan that the runtime's tests build: a bigram model of VOCABULARY ids on SAMPLES x SEQUENCE tokens. */
#include <math.h>
#include <stdint.h>

enum { VOCABULARY = 8, SEQUENCE = 4, SAMPLES = 2, TOKENS = SEQUENCE * SAMPLES };

static void expand(const int64_t *ids, float *onehot, int tokens) {
  for (int i = 0; i < tokens; ++i)
    for (int v = 0; v < VOCABULARY; ++v)
      onehot[i * VOCABULARY + v] = ids[i] == v;
}

/* ids [TOKENS], onehot [TOKENS, VOCABULARY]; one workgroup per token */
void tiny_onehot(void *const *a, int64_t workgroup) {
  expand((const int64_t *)a[0] + workgroup, (float *)a[1] + workgroup * VOCABULARY, 1);
}

void tiny_onehot_predict(void *const *a, int64_t workgroup) { expand(a[0], a[1], SEQUENCE); }

static float softmax_row(float *row, int64_t label) {
  float largest = row[0], sum = 0, loss;
  for (int v = 1; v < VOCABULARY; ++v)
    largest = fmaxf(largest, row[v]);
  for (int v = 0; v < VOCABULARY; ++v)
    sum += expf(row[v] - largest);
  loss = logf(sum) + largest - (label >= 0 ? row[label] : 0);
  for (int v = 0; v < VOCABULARY; ++v)
    row[v] = label < 0 ? 0 : (expf(row[v] - largest) / sum - (v == label)) / TOKENS;
  return label < 0 ? 0 : loss / TOKENS;
}

/* logits [TOKENS, VOCABULARY] becomes its gradient, labels [TOKENS], loss sum [1] */
void tiny_loss(void *const *a, int64_t workgroup) {
  for (int i = 0; i < TOKENS; ++i)
    *(float *)a[2] += softmax_row((float *)a[0] + i * VOCABULARY, ((const int64_t *)a[1])[i]);
}

/* weight, momentum, gradient [VOCABULARY, VOCABULARY], loss sum, step, lr; outputs loss, grad_norm, lr.
   Two micro-batches to a step. */
void tiny_update(void *const *a, int64_t workgroup) {
  float *weight = a[0], *momentum = a[1], *gradient = a[2], *sum = a[3];
  float lr = *(const float *)a[5], norm = 0;
  for (int i = 0; i < VOCABULARY * VOCABULARY; ++i) {
    float g = gradient[i] / 2;
    norm += g * g;
    momentum[i] = 0.9f * momentum[i] + g;
    weight[i] -= lr * momentum[i];
    gradient[i] = 0;
  }
  *(float *)a[6] = *sum / 2;
  *(float *)a[7] = sqrtf(norm);
  *(float *)a[8] = lr;
  *sum = 0;
  ++*(int64_t *)a[4];
}

/* logits, labels; outputs loss sum and weight */
void tiny_evaluate(void *const *a, int64_t workgroup) {
  const int64_t *labels = a[1];
  float loss = 0, row[VOCABULARY];
  for (int i = 0; i < TOKENS; ++i) {
    for (int v = 0; v < VOCABULARY; ++v)
      row[v] = ((const float *)a[0])[i * VOCABULARY + v];
    loss += softmax_row(row, labels[i]) * TOKENS;
  }
  *(float *)a[2] = loss;
  *(float *)a[3] = TOKENS;
}
