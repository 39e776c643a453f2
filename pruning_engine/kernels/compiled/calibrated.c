/* The hot loops of pruning with statistics (pruning_engine/methods), over fp32 matrices in C order.

   statistics_kernels.py loads this file's library with ctypes, which releases the interpreter's lock during each call. Rows do
   not depend on each other: callers give rows to threads. Each loop exists for several instruction sets, as in kernels.c.
   ISO C keeps products and sums apart (no fused operations), so that swaps are those of numpy to the bit. */

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#define AVX2 __attribute__((target("avx2,fma,bmi,bmi2,popcnt,lzcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,bmi,bmi2,popcnt,lzcnt")))
#endif

enum { LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVX512 };

/* Define an exported function `pruning_NAME` that calls the INLINE function `NAME` as compiled for a level. */
#ifdef X86
#define BY_LEVEL(TYPE, NAME, PARAMETERS, ...)                                                                          \
    AVX512 static TYPE NAME##_avx512 PARAMETERS { return NAME(__VA_ARGS__); }                                          \
    AVX2 static TYPE NAME##_avx2 PARAMETERS { return NAME(__VA_ARGS__); }                                              \
    static TYPE NAME##_plain PARAMETERS { return NAME(__VA_ARGS__); }                                                  \
    EXPORT TYPE pruning_##NAME PARAMETERS                                                                              \
    {                                                                                                                  \
        return level == LEVEL_AVX512 ? NAME##_avx512(__VA_ARGS__)                                                      \
               : level == LEVEL_AVX2 ? NAME##_avx2(__VA_ARGS__)                                                        \
                                     : NAME##_plain(__VA_ARGS__);                                                      \
    }
#else
#define BY_LEVEL(TYPE, NAME, PARAMETERS, ...)                                                                          \
    EXPORT TYPE pruning_##NAME PARAMETERS { return NAME(__VA_ARGS__); }
#endif

/* A matrix in memory: where it begins, and how many entries after a row the next one begins. */
typedef struct {
    float *entries;
    int64_t step;
} Matrix;

typedef struct {
    uint8_t *entries;
    int64_t step;
} Mask;

/* ---- Elimination (sparsegpt.py) ---------------------------------------------------------------------------------- */

/* Prune one entry of a row of weights: the entries to its right make up for its error, which is returned. */
INLINE float eliminate_entry(float *weight, const float *upper, int64_t column, int64_t columns)
{
    const float error = weight[column] / upper[column];
    for (int64_t right = column + 1; right < columns; right++)
        weight[right] -= error * upper[right];
    weight[column] = 0;
    return error;
}

/* Prune `rows` rows of some columns where `keep` is 0. `upper`: the columns' rows and columns of U. */
INLINE int64_t eliminate(int level, int64_t rows, int64_t columns, const Matrix *weight, const Matrix *upper,
                         const Mask *keep, const Matrix *errors)
{
    (void)level;
    for (int64_t row = 0; row < rows; row++) {
        float *entries = weight->entries + row * weight->step, *wrong = errors->entries + row * errors->step;
        const uint8_t *kept = keep->entries + row * keep->step;
        for (int64_t column = 0; column < columns; column++)
            wrong[column] =
                kept[column] ? 0 : eliminate_entry(entries, upper->entries + column * upper->step, column, columns);
    }
    return 0;
}

/* The same, where at most n of each m columns are kept: those of the largest scores among those that `keep` has, which
   is changed. A group is decided on when the columns before it are pruned. Columns after the last group stay. */
INLINE int64_t eliminate_groups(int level, int64_t rows, int64_t columns, int64_t n, int64_t m, const Matrix *weight,
                                const Matrix *upper, const Mask *keep, const Matrix *errors)
{
    (void)level;
    for (int64_t row = 0; row < rows; row++) {
        float *entries = weight->entries + row * weight->step, *wrong = errors->entries + row * errors->step;
        uint8_t *kept = keep->entries + row * keep->step;
        for (int64_t begin = 0; begin < columns; begin += m) {
            const int64_t end = begin + m <= columns ? begin + m : columns;
            int64_t left = 0;
            float scores[64];
            for (int64_t column = begin; column < end; column++) {
                const float scaled = entries[column] / upper->entries[column * upper->step + column];
                scores[column - begin] = scaled * scaled;
                left += kept[column];
            }
            for (left -= end - begin == m ? n : left; left > 0; left--) {
                int64_t least = -1;
                for (int64_t column = begin; column < end; column++)
                    if (kept[column] && (least < 0 || scores[column - begin] < scores[least - begin]))
                        least = column;
                kept[least] = 0;
            }
            for (int64_t column = begin; column < end; column++)
                wrong[column] =
                    kept[column] ? 0 : eliminate_entry(entries, upper->entries + column * upper->step, column, columns);
        }
    }
    return 0;
}

BY_LEVEL(int64_t, eliminate,
         (int level, int64_t rows, int64_t columns, const Matrix *weight, const Matrix *upper, const Mask *keep,
          const Matrix *errors),
         level, rows, columns, weight, upper, keep, errors)
BY_LEVEL(int64_t, eliminate_groups,
         (int level, int64_t rows, int64_t columns, int64_t n, int64_t m, const Matrix *weight, const Matrix *upper,
          const Mask *keep, const Matrix *errors),
         level, rows, columns, n, m, weight, upper, keep, errors)

/* ---- Conjugate gradients (refit.py) ------------------------------------------------------------------------------ */

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));

/* Return the sum of the products of equal entries: 256 at a time in fp32, these sums in fp64. */
INLINE double dot(const float *one, const float *other, int64_t count)
{
    double total = 0;
    int64_t at = 0;
    for (; at + 256 <= count; at += 256) {
        Lanes sums = {0};
        for (int64_t next = at; next < at + 256; next += 16)
            sums += *(const Lanes *)(one + next) * *(const Lanes *)(other + next);
        for (int lane = 0; lane < 16; lane++)
            total += sums[lane];
    }
    for (; at < count; at++)
        total += (double)one[at] * other[at];
    return total;
}

/* What a step works on: arrays (rows, columns) unless said otherwise. */
typedef struct {
    const uint8_t *keep;
    const float *inverse_diagonal; /* (columns,) */
    float *image;                  /* direction · H, then what the preconditioner takes from the residual; changed */
    float *direction, *residual, *solution;
    double *products; /* (rows,): residual · preconditioned residual */
    double *enough;   /* (rows,): where products are no larger a row is done */
    double *change;   /* (rows,): of the loss without damping, so far */
} Conjugates;

/* Move each row that is not done along its direction; return how many moved. */
INLINE int64_t conjugate_advance(int level, int64_t rows, int64_t columns, float damping, const Conjugates *state)
{
    (void)level;
    int64_t active = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (!(state->products[row] > state->enough[row]))
            continue;
        const uint8_t *keep = state->keep + row * columns;
        float *image = state->image + row * columns, *direction = state->direction + row * columns;
        float *residual = state->residual + row * columns, *solution = state->solution + row * columns;
        for (int64_t at = 0; at < columns; at++)
            image[at] = (keep[at] ? image[at] : 0) + damping * direction[at];
        const double curvature = dot(direction, image, columns);
        if (!(curvature > 0)) {
            state->enough[row] = state->products[row];
            continue;
        }
        const double step = state->products[row] / curvature;
        state->change[row] += step * step * (curvature - damping * dot(direction, direction, columns)) -
                              2 * step * (dot(direction, residual, columns) + damping * dot(direction, solution, columns));
        const float length = (float)step;
        for (int64_t at = 0; at < columns; at++) {
            solution[at] += length * direction[at];
            residual[at] -= length * image[at];
        }
        active++;
    }
    return active;
}

/* Turn each row that is not done to its next direction. `image`: what the preconditioner takes from the residual. */
INLINE int64_t conjugate_turn(int level, int64_t rows, int64_t columns, const Conjugates *state)
{
    (void)level;
    for (int64_t row = 0; row < rows; row++) {
        if (!(state->products[row] > state->enough[row]))
            continue;
        const uint8_t *keep = state->keep + row * columns;
        const float *inverse = state->inverse_diagonal, *residual = state->residual + row * columns;
        float *image = state->image + row * columns, *direction = state->direction + row * columns;
        for (int64_t at = 0; at < columns; at++)
            image[at] = keep[at] ? (residual[at] - image[at]) * inverse[at] : 0;
        const double products = dot(residual, image, columns);
        const float ratio = (float)(products / state->products[row]);
        for (int64_t at = 0; at < columns; at++)
            direction[at] = image[at] + ratio * direction[at];
        state->products[row] = products;
    }
    return 0;
}

BY_LEVEL(int64_t, conjugate_advance,
         (int level, int64_t rows, int64_t columns, float damping, const Conjugates *state), level, rows, columns,
         damping, state)
BY_LEVEL(int64_t, conjugate_turn, (int level, int64_t rows, int64_t columns, const Conjugates *state), level, rows,
         columns, state)

/* ---- Swaps (swaps.py) -------------------------------------------------------------------------------------------- */

/* Round matrix · rows' scale · columns' scale to whole numbers of at most `limit`, ties to even. */
INLINE int64_t integers(int level, int64_t rows, int64_t columns, const Matrix *matrix, const double *row_scales,
                        const double *column_scales, double limit, double *out)
{
    (void)level;
    const double shift = 6755399441055744.0; /* 1.5 · 2⁵²: has no bits for a fraction */
    for (int64_t row = 0; row < rows; row++)
        for (int64_t column = 0; column < columns; column++) {
            double value = matrix->entries[row * matrix->step + column] * row_scales[row] * column_scales[column];
            value = value < -limit ? -limit : value > limit ? limit : value;
            out[row * columns + column] = (value + shift) - shift;
        }
    return 0;
}

BY_LEVEL(int64_t, integers,
         (int level, int64_t rows, int64_t columns, const Matrix *matrix, const double *row_scales,
          const double *column_scales, double limit, double *out),
         level, rows, columns, matrix, row_scales, column_scales, limit, out)

/* One row on the way. Arrays are padded to whole blocks of 16 columns. */
typedef struct {
    int64_t columns, blocks;
    const float *weight;
    float *image;    /* c = H r, where r is what is pruned of the row */
    float *squares;  /* w² H_jj */
    float *twice;    /* 2 w where kept, -2 w elsewhere: squares + twice · image is what a change of j costs */
    float *roots;    /* |w| sqrt(H_jj) */
    float *values;   /* room for the costs */
    uint16_t *kept, *allowed; /* bits */
} Row;

enum { ROOM = 512 };

/* Some entries by their places, in ascending order, and what changing each costs. */
typedef struct {
    int count;
    int32_t places[ROOM + 16];
    float costs[ROOM + 16];
    float limit, margin;
} Candidates;

typedef struct {
    float change;
    int64_t pruned, restored;
} Pair;

static const float LEAST_GAIN = 1e-5f;
/* |H_pu| <= sqrt(H_pp H_uu) bounds each change from below; this much room for sums in fp32, on both sides. */
static const float BOUND = 2.004f, ROUNDING = 4e-6f;

INLINE float bound(float cost, float gain, float roots)
{
    return (cost + gain) - BOUND * roots - ROUNDING * (fabsf(cost) + fabsf(gain));
}

/* Take a pair if it is better than the best so far, or as good and earlier. */
INLINE void try_pair(Pair *best, int64_t pruned, int64_t restored, float cost, float gain, float cross)
{
    const float change = (cost + gain) - cross, size = (fabsf(cost) + fabsf(gain)) + fabsf(cross);
    if (!(change < -LEAST_GAIN * size) || change > best->change)
        return;
    if (change == best->change && (pruned > best->pruned || (pruned == best->pruned && restored > best->restored)))
        return;
    *best = (Pair){change, pruned, restored};
}

/* Return the value of rank `rank` (from 0) of some values, which are moved. */
static float nth_least(float *values, int64_t count, int64_t rank)
{
    int64_t low = 0, high = count - 1;
    while (low < high) {
        const float pivot = values[low + (high - low) / 2];
        int64_t left = low, right = high;
        while (left <= right) {
            while (values[left] < pivot)
                left++;
            while (values[right] > pivot)
                right--;
            if (left <= right) {
                const float value = values[left];
                values[left++] = values[right];
                values[right--] = value;
            }
        }
        if (rank <= right)
            high = right;
        else if (rank >= left)
            low = left;
        else
            break;
    }
    return values[rank];
}

INLINE int is_among(const uint16_t *among, int64_t place) { return among[place / 16] >> (place % 16) & 1; }

INLINE float cost_of(const Row *row, int64_t place)
{
    return row->squares[place] + row->twice[place] * row->image[place];
}

/* Find the `most` least costs by selection; of equal ones the first. */
static void select_candidates(const Row *row, const uint16_t *among, int64_t most, Candidates *found)
{
    int64_t available = 0, equal = most;
    for (int64_t place = 0; place < row->columns; place++)
        if (is_among(among, place))
            row->values[available++] = cost_of(row, place);
    float limit = INFINITY;
    if (available > most) {
        limit = nth_least(row->values, available, most - 1);
        for (int64_t at = 0; at < available; at++)
            equal -= row->values[at] < limit;
    }
    found->count = 0;
    for (int64_t place = 0; place < row->columns && found->count < most; place++) {
        if (!is_among(among, place))
            continue;
        const float cost = cost_of(row, place);
        if (cost > limit || (cost == limit && available > most && equal-- <= 0))
            continue;
        found->places[found->count] = (int32_t)place;
        found->costs[found->count++] = cost;
    }
    found->limit = limit;
}

/* Collect what is within the limit, ROOM entries or a few more. */
INLINE void collect(const Row *row, const uint16_t *among, Candidates *found)
{
    found->count = 0;
    for (int64_t block = 0; block < row->blocks && found->count < ROOM; block++)
        for (uint32_t left = among[block]; left; left &= left - 1) {
            const int64_t place = block * 16 + __builtin_ctz(left);
            const float cost = cost_of(row, place);
            found->places[found->count] = (int32_t)place;
            found->costs[found->count] = cost;
            found->count += cost <= found->limit;
        }
}

#ifdef X86
AVX512 static void collect_avx512(const Row *row, const uint16_t *among, Candidates *found)
{
    const __m512 limit = _mm512_set1_ps(found->limit);
    __m512i places = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int count = 0;
    for (int64_t block = 0; block < row->blocks && count < ROOM; block++) {
        const __m512 twice = _mm512_loadu_ps(row->twice + 16 * block), image = _mm512_loadu_ps(row->image + 16 * block);
        const __m512 costs = _mm512_add_ps(_mm512_loadu_ps(row->squares + 16 * block), _mm512_mul_ps(twice, image));
        const __mmask16 within = _mm512_mask_cmp_ps_mask(among[block], costs, limit, _CMP_LE_OQ);
        if (within) {
            _mm512_storeu_ps(found->costs + count, _mm512_maskz_compress_ps(within, costs));
            _mm512_storeu_si512(found->places + count, _mm512_maskz_compress_epi32(within, places));
            count += __builtin_popcount(within);
        }
        places = _mm512_add_epi32(places, _mm512_set1_epi32(16));
    }
    found->count = count;
}
#endif

/* Leave the `wanted` least of more that were collected; of equal ones the first. */
static void cut_candidates(const Row *row, int wanted, Candidates *found)
{
    memcpy(row->values, found->costs, (size_t)found->count * sizeof(float));
    const float cut = nth_least(row->values, found->count, wanted - 1);
    int equal = wanted, left = 0;
    for (int at = 0; at < found->count; at++)
        equal -= found->costs[at] < cut;
    for (int at = 0; at < found->count; at++) {
        const float cost = found->costs[at];
        found->costs[left] = cost;
        found->places[left] = found->places[at];
        left += cost < cut || (cost == cut && equal-- > 0);
    }
    found->count = wanted;
}

/* Find the `most` least costs of `available` entries; of equal ones the first.

   They are collected by a limit, which is a little above the cost of the last one that was found the time before; if it
   has become too low or too high, others are tried, and at last the entries are sorted out by selection. */
INLINE void find_candidates(int level, const Row *row, const uint16_t *among, int64_t most, int64_t available,
                            Candidates *found)
{
    const int wanted = (int)(most < available ? most : available);
    float low = -INFINITY, high = INFINITY;
    for (int turn = 0;; turn++) {
#ifdef X86
        if (level == LEVEL_AVX512)
            collect_avx512(row, among, found);
        else
#endif
            collect(row, among, found);
        if (found->count >= wanted && found->count < ROOM)
            break;
        if (turn == 8 || !(found->margin > 0) || !(fabsf(found->limit) < INFINITY)) {
            select_candidates(row, among, most, found);
            break;
        }
        found->margin *= found->count < wanted ? 1.5f : 0.7f;
        if (found->count < wanted)
            low = found->limit;
        else
            high = found->limit;
        found->limit = !(high < INFINITY)   ? low + found->margin * (float)(1 << turn)
                       : !(low > -INFINITY) ? high - found->margin * (float)(1 << turn)
                                            : low + (high - low) / 2;
    }
    if (found->count > 4 * wanted)
        found->margin *= 0.8f;
    if (found->count > wanted)
        cut_candidates(row, wanted, found);
    float most_costly = -INFINITY, least_costly = INFINITY;
    for (int at = 0; at < found->count; at++) {
        most_costly = found->costs[at] > most_costly ? found->costs[at] : most_costly;
        least_costly = found->costs[at] < least_costly ? found->costs[at] : least_costly;
    }
    if (!(found->margin > 0))
        found->margin = (most_costly - least_costly) / 16;
    found->limit = available > most ? most_costly + found->margin : INFINITY;
}

enum { MOST_SLOTS = 256 };

/* Candidates of one kind in slots, which they keep as long as they are candidates: an unused slot has infinite cost. */
typedef struct {
    int count; /* of the candidates in ascending order of their places */
    int32_t ordered[MOST_SLOTS], slot_of[MOST_SLOTS];
    int32_t places[MOST_SLOTS];
    float costs[MOST_SLOTS], weights[MOST_SLOTS];
    int fresh_count;
    int32_t fresh[MOST_SLOTS]; /* slots with another candidate than before */
} Slots;

/* Assign slots to candidates; those without one take the slots that others left. */
INLINE void assign_slots(const Row *row, int size, const Candidates *found, Slots *slots)
{
    uint8_t is_used[MOST_SLOTS] = {0};
    int32_t ordered[MOST_SLOTS], slot_of[MOST_SLOTS];
    for (int at = 0, before = 0; at < found->count; at++) {
        while (before < slots->count && slots->ordered[before] < found->places[at])
            before++;
        const int same = before < slots->count && slots->ordered[before] == found->places[at];
        ordered[at] = found->places[at];
        slot_of[at] = same ? slots->slot_of[before] : -1;
        if (same)
            is_used[slots->slot_of[before]] = 1;
    }
    slots->fresh_count = 0;
    for (int at = 0, slot = 0; at < found->count; at++) {
        if (slot_of[at] < 0) {
            while (is_used[slot])
                slot++;
            is_used[slot] = 1;
            slot_of[at] = slot;
            slots->fresh[slots->fresh_count++] = slot;
        }
        slots->places[slot_of[at]] = ordered[at];
        slots->costs[slot_of[at]] = found->costs[at];
        slots->weights[slot_of[at]] = row->weight[ordered[at]];
    }
    for (int slot = 0; slot < size; slot++)
        if (!is_used[slot])
            slots->costs[slot] = INFINITY;
    slots->count = found->count;
    memcpy(slots->ordered, ordered, (size_t)found->count * sizeof(int32_t));
    memcpy(slots->slot_of, slot_of, (size_t)found->count * sizeof(int32_t));
}

/* Read the entries of H that new pairs need: reading them is slow, because each is in a line of memory of its own. */
INLINE void read_pairs(const float *matrix, int64_t columns, int size, const Slots *to_prune, const Slots *to_restore,
                       float *pairs)
{
    for (int at = 0; at < to_prune->fresh_count; at++) {
        const int slot = to_prune->fresh[at];
        const float *others = matrix + to_prune->places[slot] * columns;
        for (int other = 0; other < size; other++)
            pairs[slot * size + other] = others[to_restore->places[other]];
    }
    for (int at = 0; at < to_restore->fresh_count; at++) {
        const int slot = to_restore->fresh[at];
        for (int other = 0; other < size; other++)
            pairs[other * size + slot] = matrix[to_prune->places[other] * columns + to_restore->places[slot]];
    }
}

/* Return the best of all pairs. `pairs` (size, size): H_pu of the slots; `size` is a multiple of 16. */
INLINE Pair best_pair(int size, const Slots *to_prune, const Slots *to_restore, const float *pairs)
{
    Pair best = {0, 0, 0};
    for (int slot = 0; slot < size; slot++) {
        const float cost = to_prune->costs[slot], twice = 2 * to_prune->weights[slot], amount = fabsf(cost);
        if (!(cost < INFINITY))
            continue;
        for (int begin = 0; begin < size; begin += 16) {
            float crosses[16];
            int32_t is_good = 0;
            for (int lane = 0; lane < 16; lane++) {
                const float gain = to_restore->costs[begin + lane];
                const float cross = twice * to_restore->weights[begin + lane] * pairs[slot * size + begin + lane];
                const float change = (cost + gain) - cross, sum = (amount + fabsf(gain)) + fabsf(cross);
                crosses[lane] = cross;
                is_good |= (change < -LEAST_GAIN * sum) & (change <= best.change);
            }
            for (int lane = 0; is_good && lane < 16; lane++)
                try_pair(&best, to_prune->places[slot], to_restore->places[begin + lane], cost,
                         to_restore->costs[begin + lane], crosses[lane]);
        }
    }
    return best;
}

/* Return the best pair within a group of m columns. `tiles` (groups, m, m): the groups' rows and columns of H. */
INLINE Pair best_pair_in_groups(const Row *row, const float *tiles, int64_t m)
{
    Pair best = {0, 0, 0};
    for (int64_t place = 0; place < row->columns; place++)
        row->values[place] = cost_of(row, place);
    for (int64_t begin = 0; begin + m <= row->columns; begin += m) {
        float cost = INFINITY, gain = INFINITY, root = 0;
        for (int64_t place = begin; place < begin + m; place++) {
            const float value = row->values[place];
            cost = is_among(row->kept, place) && value < cost ? value : cost;
            gain = is_among(row->allowed, place) && value < gain ? value : gain;
            root = row->roots[place] > root ? row->roots[place] : root;
        }
        if (!(cost < INFINITY && gain < INFINITY) || bound(cost, gain, root * root) > best.change)
            continue;
        for (int64_t pruned = begin; pruned < begin + m; pruned++)
            for (int64_t restored = begin; is_among(row->kept, pruned) && restored < begin + m; restored++)
                if (is_among(row->allowed, restored))
                    try_pair(&best, pruned, restored, row->values[pruned], row->values[restored],
                             2 * row->weight[pruned] * row->weight[restored] *
                                 tiles[begin * m + (pruned - begin) * m + restored - begin]);
    }
    return best;
}

INLINE void swap_pair(Row *row, const float *matrix, const Pair *pair)
{
    const float *pruned = matrix + pair->pruned * row->columns, *restored = matrix + pair->restored * row->columns;
    const float more = row->weight[pair->pruned], less = row->weight[pair->restored];
    for (int64_t place = 0; place < row->columns; place++)
        row->image[place] += more * pruned[place] - less * restored[place];
    row->kept[pair->pruned / 16] ^= (uint16_t)(1 << pair->pruned % 16);
    row->allowed[pair->pruned / 16] |= (uint16_t)(1 << pair->pruned % 16);
    row->kept[pair->restored / 16] |= (uint16_t)(1 << pair->restored % 16);
    row->allowed[pair->restored / 16] ^= (uint16_t)(1 << pair->restored % 16);
    row->twice[pair->pruned] = -row->twice[pair->pruned];
    row->twice[pair->restored] = -row->twice[pair->restored];
}

/* What all rows share. */
typedef struct {
    int64_t columns, steps, candidates, group; /* group: 0 for none */
    const float *matrix, *diagonal;
    const float *roots; /* of the diagonal */
    const float *tiles; /* with a group: see best_pair_in_groups */
} Problem;

/* Swap entries of one row; return how often. `pairs`: room for H of all pairs. */
INLINE int64_t swap_row(int level, const Problem *problem, Row *row, float *pairs)
{
    const int size = (int)((problem->candidates + 15) / 16 * 16);
    Slots prune_slots = {.count = 0}, restore_slots = {.count = 0};
    Candidates to_prune = {.margin = 0, .limit = -INFINITY}, to_restore = {.margin = 0, .limit = -INFINITY};
    int64_t kept = 0, allowed = 0, swaps = 0;
    for (int64_t block = 0; block < row->blocks; block++) {
        kept += __builtin_popcount(row->kept[block]);
        allowed += __builtin_popcount(row->allowed[block]);
    }
    for (; swaps < problem->steps; swaps++) {
        Pair best;
        if (problem->group) {
            best = best_pair_in_groups(row, problem->tiles, problem->group);
        } else {
            find_candidates(level, row, row->kept, problem->candidates, kept, &to_prune);
            find_candidates(level, row, row->allowed, problem->candidates, allowed, &to_restore);
            assign_slots(row, size, &to_prune, &prune_slots);
            assign_slots(row, size, &to_restore, &restore_slots);
            read_pairs(problem->matrix, problem->columns, size, &prune_slots, &restore_slots, pairs);
            best = best_pair(size, &prune_slots, &restore_slots, pairs);
        }
        if (!(best.change < 0))
            break;
        swap_pair(row, problem->matrix, &best);
    }
    return swaps;
}

/* Set the bits of 16 columns from their bytes of 0 and 1. */
INLINE void pack_bits(const uint8_t *bytes, int64_t columns, uint16_t *bits)
{
    memset(bits, 0, (size_t)((columns + 15) / 16) * sizeof(uint16_t));
    for (int64_t place = 0; place < columns; place++)
        bits[place / 16] |= (uint16_t)((bytes[place] != 0) << place % 16);
}

/* Swap entries of `rows` rows; `keep` (rows, columns) of 0 and 1 is changed. `allowed`: what may be restored.

   `images` (rows, columns): H r of each row. `scratch`: zeros for 6 rows of floats padded to 16 columns, and for as many pairs as there are
   candidates of both kinds, padded to 16.
   Return how many swaps were done. */
INLINE int64_t swap_rows(int level, int64_t rows, const Problem *problem, const float *weights, uint8_t *keep,
                         const uint8_t *allowed, const float *images, float *scratch)
{
    const int64_t columns = problem->columns, blocks = (columns + 15) / 16, padded = 16 * blocks;
    uint16_t *bits = (uint16_t *)(scratch + 5 * padded);
    Row row = {columns,
               blocks,
               weights,
               scratch,
               scratch + padded,
               scratch + 2 * padded,
               scratch + 3 * padded,
               scratch + 4 * padded,
               bits,
               bits + blocks};
    int64_t swaps = 0;
    for (int64_t at = 0; at < rows; at++) {
        row.weight = weights + at * columns;
        memcpy(row.image, images + at * columns, (size_t)columns * sizeof(float));
        pack_bits(keep + at * columns, columns, row.kept);
        pack_bits(allowed + at * columns, columns, row.allowed);
        for (int64_t place = 0; place < columns; place++) {
            row.squares[place] = row.weight[place] * row.weight[place] * problem->diagonal[place];
            row.roots[place] = fabsf(row.weight[place]) * problem->roots[place];
            row.twice[place] = keep[at * columns + place] ? 2 * row.weight[place] : -2 * row.weight[place];
        }
        swaps += swap_row(level, problem, &row, scratch + 6 * padded);
        for (int64_t place = 0; place < columns; place++)
            keep[at * columns + place] = (uint8_t)is_among(row.kept, place);
    }
    return swaps;
}

BY_LEVEL(int64_t, swap_rows,
         (int level, int64_t rows, const Problem *problem, const float *weights, uint8_t *keep, const uint8_t *allowed,
          const float *images, float *scratch),
         level, rows, problem, weights, keep, allowed, images, scratch)
