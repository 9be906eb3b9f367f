// CLIF by hand: the job of the generated kernels, for `cpp_twin.py`.
//
//   u = decay v + x,  s = u >= threshold,  m' = m sigmoid(u / tau) + s,
//   v' = u - s (threshold + sigmoid(m'))
//
// over [steps, size] float32. Only x is kept for the way back, which runs each block forward again.
// Loops over one row of a block a time step are what compilers find vectors in; -ffast-math lets
// them contract, reassociate and approximate divisions. The rectangle surrogate has width 1.

#include <cmath>
#include <cstdint>
#include <cstring>

#ifndef BLOCK
#define BLOCK 256
#endif

namespace {

constexpr int MOST_STEPS = 64;

struct Parameters {
    float decay, inverse_tau, threshold;
};

// A rational function that is good to 2e-7; expf of the C library, and a polynomial for 2^x, are
// slower with every compiler and width that was tried.
inline float sigmoid(float x) {
    float z = x * x;
    z = std::fmin(z, 275.56f);
    float p = 1.4139198751631032e-11f;
    p = p * z + 8.352378149233516e-08f;
    p = p * z + 5.53322511528748e-05f;
    p = p * z + 0.008386951748017294f;
    p = p * z + 0.24999998919052754f;
    float q = 3.212727320184367e-09f;
    q = q * z + 5.251859258999642e-06f;
    q = q * z + 0.0016281001936536725f;
    q = q * z + 0.11688109614141293f;
    q = q * z + 1.0f;
    return std::fmin(std::fmax(p * x / q, -0.5f), 0.5f) + 0.5f;
}

// A loop: after memset GCC 12 sees control flow in the loops that follow, and finds no vectors.
inline void clear(float *v, float *m) {
    for (int j = 0; j < BLOCK; j++) {
        v[j] = 0.0f;
        m[j] = 0.0f;
    }
}

}  // namespace

extern "C" {

// size is a multiple of BLOCK, steps at most MOST_STEPS.
void clif_forward(int64_t steps, int64_t size, const float *__restrict x, float *__restrict out,
                  float *__restrict v_final, float *__restrict m_final, const Parameters *given) {
    const Parameters p = *given;
    alignas(64) float v[BLOCK], m[BLOCK];
    for (int64_t start = 0; start < size; start += BLOCK) {
        clear(v, m);
        for (int64_t t = 0; t < steps; t++) {
            const float *__restrict x_t = x + t * size + start;
            float *__restrict out_t = out + t * size + start;
            for (int j = 0; j < BLOCK; j++) {
                const float u = p.decay * v[j] + x_t[j];
                const float s = u >= p.threshold ? 1.0f : 0.0f;
                const float next = m[j] * sigmoid(u * p.inverse_tau) + s;
                v[j] = u - s * (p.threshold + sigmoid(next));
                m[j] = next;
                out_t[j] = s;
            }
        }
        std::memcpy(v_final + start, v, sizeof v);
        std::memcpy(m_final + start, m, sizeof m);
    }
}

void clif_backward(int64_t steps, int64_t size, const float *__restrict x,
                   const float *__restrict g_out, float *__restrict g_x, const Parameters *given) {
    const Parameters p = *given;
    alignas(64) float v[BLOCK], m[BLOCK];
    alignas(64) static thread_local float us[MOST_STEPS][BLOCK], ms[MOST_STEPS][BLOCK],
        decays[MOST_STEPS][BLOCK], resets[MOST_STEPS][BLOCK];
    for (int64_t start = 0; start < size; start += BLOCK) {
        clear(v, m);
        for (int64_t t = 0; t < steps; t++) {
            const float *__restrict x_t = x + t * size + start;
            float *__restrict u_t = us[t], *__restrict m_t = ms[t];
            float *__restrict decay_t = decays[t], *__restrict reset_t = resets[t];
            for (int j = 0; j < BLOCK; j++) {
                const float u = p.decay * v[j] + x_t[j];
                const float s = u >= p.threshold ? 1.0f : 0.0f;
                const float decay = sigmoid(u * p.inverse_tau);
                const float next = m[j] * decay + s;
                const float reset = sigmoid(next);
                u_t[j] = u;
                m_t[j] = m[j];
                decay_t[j] = decay;
                reset_t[j] = reset;
                v[j] = u - s * (p.threshold + reset);
                m[j] = next;
            }
        }
        // From here on v and m hold the gradients that are carried back.
        clear(v, m);
        for (int64_t t = steps - 1; t >= 0; t--) {
            const float *__restrict g_t = g_out + t * size + start;
            float *__restrict g_x_t = g_x + t * size + start;
            const float *__restrict u_t = us[t], *__restrict m_t = ms[t];
            const float *__restrict decay_t = decays[t], *__restrict reset_t = resets[t];
            for (int j = 0; j < BLOCK; j++) {
                const float u = u_t[j], decay = decay_t[j], reset = reset_t[j], g_v = v[j];
                const float s = u >= p.threshold ? 1.0f : 0.0f;
                const float g_m = m[j] - g_v * s * reset * (1.0f - reset);
                const float g_s = g_t[j] - g_v * (p.threshold + reset) + g_m;
                const float window = std::fabs(u - p.threshold) <= 0.5f ? 1.0f : 0.0f;
                const float g_u = g_v + g_m * m_t[j] * decay * (1.0f - decay) * p.inverse_tau +
                                  g_s * window;
                m[j] = g_m * decay;
                v[j] = g_u * p.decay;
                g_x_t[j] = g_u;
            }
        }
    }
}
}
