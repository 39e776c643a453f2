/* The hot loops of the CPU backend: one pass over memory each, at about the speed of reading it.

   compiled.py loads this file's library with ctypes, which releases the interpreter's lock during each call. Every
   function computes the same bits as the numpy code beside it, which is the reference and the fallback.

   A loop works on blocks of 64 entries, so that a block's comparisons are one 64-bit word of a packed mask: flat in C
   order, the lowest bit first, 1 = kept. A last short block is copied to a padded one. Each loop exists for several
   instruction sets: plain C, AVX2 and AVX-512; `pruning_levels` says which this processor has, and every function takes
   the one to use. */

#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__)
#include <immintrin.h>
#define X86 1
#define AVX2 __attribute__((target("avx2,fma,f16c,bmi,bmi2,popcnt,lzcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c,bmi,bmi2,popcnt,lzcnt")))
#endif
#define PLAIN

enum { LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVX512, LEVELS };

/* Return the highest level that this processor has. */
EXPORT int pruning_levels(void)
{
#ifdef X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return LEVEL_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return LEVEL_AVX2;
#endif
    return LEVEL_PLAIN;
}

/* Entries in memory: tensors of a file may begin at any byte. */
#define UNALIGNED __attribute__((aligned(1), may_alias))
typedef uint8_t entry_8;
typedef uint16_t UNALIGNED entry_16;
typedef uint32_t UNALIGNED entry_32;
typedef uint64_t UNALIGNED entry_64;
typedef float UNALIGNED entry_f32;
typedef double UNALIGNED entry_f64;

/* What one pass found: unpruned entries with keys of `low` or more, those in the bracket, and whether one is NaN. */
typedef struct {
    int64_t kept, inside, has_nan;
} Found;

/* A bracket of keys, both ends included, and the largest key that is not NaN. */
typedef struct {
    uint64_t low, high, largest_number;
} Bracket;

/* Bits of 64 comparisons: with `low`, with `high`, and with the largest number. */
typedef struct {
    uint64_t at_least, at_most, nan;
} Compared;

/* Load and store the word of a packed mask that begins at a byte, the lowest byte first; the last one may be short. */
INLINE uint64_t load_word(const uint8_t *bits, int64_t bytes)
{
    uint64_t word = 0;
    if (bytes >= 8) {
        memcpy(&word, bits, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        return word;
    }
    for (int64_t at = 0; at < bytes; at++)
        word |= (uint64_t)bits[at] << (8 * at);
    return word;
}

INLINE void store_word(uint8_t *bits, int64_t bytes, uint64_t word)
{
    if (bytes >= 8) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        word = __builtin_bswap64(word);
#endif
        memcpy(bits, &word, 8);
        return;
    }
    for (int64_t at = 0; at < bytes; at++)
        bits[at] = (uint8_t)(word >> (8 * at));
}

INLINE uint64_t first_bits(int64_t count) { return count >= 64 ? ~0ull : (1ull << count) - 1; }

/* ---- Comparing 64 keys ----------------------------------------------------------------------------------------- */

/* Eight bytes of 0 or 1 to eight bits, the first byte to the lowest: the product moves each to the top byte. */
INLINE uint64_t bits_of_bytes(const uint8_t flags[64])
{
    uint64_t word = 0;
    for (int at = 0; at < 64; at += 8) {
        uint64_t eight = 0;
        for (int byte = 0; byte < 8; byte++)
            eight |= (uint64_t)flags[at + byte] << (8 * byte);
        word |= (eight * 0x0102040810204080ull >> 56) << at;
    }
    return word;
}

#define COMPARE_PLAIN(TYPE, NAME)                                                                                      \
    INLINE Compared NAME(const TYPE *entries, TYPE magnitude, const Bracket *bracket)                                  \
    {                                                                                                                  \
        uint8_t at_least[64], at_most[64], nan[64];                                                                    \
        const TYPE low = (TYPE)bracket->low, high = (TYPE)bracket->high, number = (TYPE)bracket->largest_number;       \
        for (int at = 0; at < 64; at++) {                                                                              \
            const TYPE key = entries[at] & magnitude;                                                                  \
            at_least[at] = key >= low;                                                                                 \
            at_most[at] = key <= high;                                                                                 \
            nan[at] = key > number;                                                                                    \
        }                                                                                                              \
        return (Compared){bits_of_bytes(at_least), bits_of_bytes(at_most), bits_of_bytes(nan)};                        \
    }

COMPARE_PLAIN(entry_8, compare_plain_8)
COMPARE_PLAIN(entry_16, compare_plain_16)
COMPARE_PLAIN(entry_32, compare_plain_32)
COMPARE_PLAIN(entry_64, compare_plain_64)

#ifdef X86
/* Without unsigned comparisons in AVX2, both sides are moved by the sign bit and compared as signed integers. */
#define COMPARE_AVX2(TYPE, NAME, SET1, GREATER, LANES, MOVEMASK, SIGN)                                                 \
    AVX2 INLINE Compared NAME(const TYPE *entries, TYPE magnitude, const Bracket *bracket)                             \
    {                                                                                                                  \
        const __m256i all = SET1(magnitude), sign = SET1(SIGN);                                                        \
        const __m256i low = _mm256_xor_si256(SET1((TYPE)bracket->low), sign);                                          \
        const __m256i high = _mm256_xor_si256(SET1((TYPE)bracket->high), sign);                                        \
        const __m256i number = _mm256_xor_si256(SET1((TYPE)bracket->largest_number), sign);                            \
        uint64_t below = 0, above = 0, nan = 0;                                                                        \
        for (int at = 0; at < 64; at += LANES) {                                                                       \
            const __m256i loaded = _mm256_loadu_si256((const __m256i *)(entries + at));                                \
            const __m256i key = _mm256_xor_si256(_mm256_and_si256(loaded, all), sign);                                 \
            below |= (uint64_t)MOVEMASK(GREATER(low, key)) << at;                                                      \
            above |= (uint64_t)MOVEMASK(GREATER(key, high)) << at;                                                     \
            nan |= (uint64_t)MOVEMASK(GREATER(key, number)) << at;                                                     \
        }                                                                                                              \
        return (Compared){~below, ~above, nan};                                                                        \
    }

AVX2 INLINE uint32_t mask_8(__m256i flags) { return (uint32_t)_mm256_movemask_epi8(flags); }
AVX2 INLINE uint32_t mask_16(__m256i flags)
{
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(flags), _mm256_extracti128_si256(flags, 1));
    return (uint32_t)_mm_movemask_epi8(bytes);
}
AVX2 INLINE uint32_t mask_32(__m256i flags) { return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(flags)); }
AVX2 INLINE uint32_t mask_64(__m256i flags) { return (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(flags)); }

COMPARE_AVX2(entry_8, compare_avx2_8, _mm256_set1_epi8, _mm256_cmpgt_epi8, 32, mask_8, (char)0x80)
COMPARE_AVX2(entry_16, compare_avx2_16, _mm256_set1_epi16, _mm256_cmpgt_epi16, 16, mask_16, (short)0x8000)
COMPARE_AVX2(entry_32, compare_avx2_32, _mm256_set1_epi32, _mm256_cmpgt_epi32, 8, mask_32, (int)0x80000000)
COMPARE_AVX2(entry_64, compare_avx2_64, _mm256_set1_epi64x, _mm256_cmpgt_epi64, 4, mask_64, INT64_MIN)

#define COMPARE_AVX512(BITS, LANES, SET1)                                                                              \
    AVX512 INLINE Compared compare_avx512_##BITS(const entry_##BITS *entries, entry_##BITS magnitude,                  \
                                                 const Bracket *bracket)                                               \
    {                                                                                                                  \
        const __m512i all = SET1(magnitude), low = SET1((entry_##BITS)bracket->low);                                   \
        const __m512i high = SET1((entry_##BITS)bracket->high);                                                        \
        const __m512i number = SET1((entry_##BITS)bracket->largest_number);                                            \
        uint64_t at_least = 0, at_most = 0, nan = 0;                                                                   \
        for (int at = 0; at < 64; at += LANES) {                                                                       \
            const __m512i key = _mm512_and_si512(_mm512_loadu_si512(entries + at), all);                               \
            at_least |= (uint64_t)_mm512_cmpge_epu##BITS##_mask(key, low) << at;                                       \
            at_most |= (uint64_t)_mm512_cmple_epu##BITS##_mask(key, high) << at;                                       \
            nan |= (uint64_t)_mm512_cmpgt_epu##BITS##_mask(key, number) << at;                                         \
        }                                                                                                              \
        return (Compared){at_least, at_most, nan};                                                                     \
    }

COMPARE_AVX512(8, 64, _mm512_set1_epi8)
COMPARE_AVX512(16, 32, _mm512_set1_epi16)
COMPARE_AVX512(32, 16, _mm512_set1_epi32)
COMPARE_AVX512(64, 8, _mm512_set1_epi64)
#endif

/* ---- Splitting magnitudes at a bracket -------------------------------------------------------------------------- */

/* Write into `kept` which unpruned entries have keys of `low` or more, and collect the ones within the bracket.

   A key is an entry's bits and `magnitude`. `kept` may be NULL, to count only. `mask`: the prior mask from the first entry on, or NULL. `positions` and
   `keys`: room for `count` numbers, or both NULL to count only. */
#define SPLIT(TARGET, TYPE, NAME, COMPARE)                                                                             \
    TARGET static void NAME(const TYPE *entries, int64_t count, uint64_t magnitude, const Bracket *bracket,            \
                            const uint8_t *mask, uint8_t *kept, uint32_t *positions, TYPE *keys, Found *found)         \
    {                                                                                                                  \
        int64_t kept_count = 0, inside_count = 0;                                                                      \
        uint64_t any_nan = 0;                                                                                          \
        TYPE last[64] = {0};                                                                                           \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin, bytes_left = (entries_left + 7) / 8;                           \
            const TYPE *block = entries + begin;                                                                       \
            uint64_t valid = mask ? load_word(mask + begin / 8, bytes_left) : ~0ull;                                   \
            if (entries_left < 64) {                                                                                   \
                memcpy(last, block, (size_t)entries_left * sizeof(TYPE));                                              \
                block = last;                                                                                          \
                valid &= first_bits(entries_left);                                                                     \
            }                                                                                                          \
            const Compared compared = COMPARE(block, (TYPE)magnitude, bracket);                                        \
            const uint64_t stays = compared.at_least & valid;                                                          \
            uint64_t inside = stays & compared.at_most;                                                                \
            any_nan |= compared.nan & valid;                                                                           \
            if (kept)                                                                                                  \
                store_word(kept + begin / 8, bytes_left, stays);                                                       \
            kept_count += __builtin_popcountll(stays);                                                                 \
            if (!positions) {                                                                                          \
                inside_count += __builtin_popcountll(inside);                                                          \
                continue;                                                                                              \
            }                                                                                                          \
            for (; inside; inside &= inside - 1) {                                                                     \
                const int at = __builtin_ctzll(inside);                                                                \
                positions[inside_count] = (uint32_t)(begin + at);                                                      \
                keys[inside_count++] = block[at] & (TYPE)magnitude;                                                    \
            }                                                                                                          \
        }                                                                                                              \
        *found = (Found){kept_count, inside_count, any_nan != 0};                                                      \
    }

SPLIT(PLAIN, entry_8, split_plain_8, compare_plain_8)
SPLIT(PLAIN, entry_16, split_plain_16, compare_plain_16)
SPLIT(PLAIN, entry_32, split_plain_32, compare_plain_32)
SPLIT(PLAIN, entry_64, split_plain_64, compare_plain_64)
#ifdef X86
SPLIT(AVX2, entry_8, split_avx2_8, compare_avx2_8)
SPLIT(AVX2, entry_16, split_avx2_16, compare_avx2_16)
SPLIT(AVX2, entry_32, split_avx2_32, compare_avx2_32)
SPLIT(AVX2, entry_64, split_avx2_64, compare_avx2_64)
SPLIT(AVX512, entry_8, split_avx512_8, compare_avx512_8)
SPLIT(AVX512, entry_16, split_avx512_16, compare_avx512_16)
SPLIT(AVX512, entry_32, split_avx512_32, compare_avx512_32)
SPLIT(AVX512, entry_64, split_avx512_64, compare_avx512_64)
#define BY_LEVEL(LEVEL, NAME, BITS)                                                                                    \
    ((LEVEL) >= LEVEL_AVX512 ? NAME##_avx512_##BITS : (LEVEL) == LEVEL_AVX2 ? NAME##_avx2_##BITS : NAME##_plain_##BITS)
#else
#define BY_LEVEL(LEVEL, NAME, BITS) NAME##_plain_##BITS
#endif

#define EXPORT_SPLIT(BITS)                                                                                             \
    EXPORT void pruning_split_##BITS(int level, const entry_##BITS *entries, int64_t count, uint64_t magnitude,        \
                                     const Bracket *bracket, const uint8_t *mask, uint8_t *kept, uint32_t *positions,  \
                                     entry_##BITS *keys, Found *found)                                                 \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        BY_LEVEL(level, split, BITS)(entries, count, magnitude, bracket, mask, kept, positions, keys, found);          \
    }

EXPORT_SPLIT(8)
EXPORT_SPLIT(16)
EXPORT_SPLIT(32)
EXPORT_SPLIT(64)

/* Clear the bits of collected entries with keys below `cut`, and of the first `quota` whose key it is. */
#define EXPORT_DROP(BITS)                                                                                              \
    EXPORT void pruning_drop_##BITS(int level, const entry_##BITS *keys, const uint32_t *positions, int64_t count,     \
                                    uint64_t cut, int64_t quota, uint8_t *kept)                                        \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        for (int64_t at = 0; at < count; at++) {                                                                       \
            const int at_cut = keys[at] == cut && quota > 0;                                                           \
            quota -= at_cut;                                                                                           \
            kept[positions[at] / 8] &= (uint8_t)~((at_cut | (keys[at] < cut)) << positions[at] % 8);                   \
        }                                                                                                              \
    }

EXPORT_DROP(8)
EXPORT_DROP(16)
EXPORT_DROP(32)
EXPORT_DROP(64)

/* ---- Splitting random scores ------------------------------------------------------------------------------------ */

/* splitmix64's finalizer, as random_keys.py defines it. */
INLINE uint64_t mixed(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
    return value ^ (value >> 31);
}

#define GOLDEN 0x9E3779B97F4A7C15ull

/* The same as SPLIT for keys mixed(start + index * GOLDEN), which are computed 64 at a time and compared in the cache.
   The loop over 64 keys is plain C, which the compiler vectorizes for the instruction set. */
#define SPLIT_RANDOM(TARGET, NAME, COMPARE)                                                                            \
    TARGET static void NAME(uint64_t start, int64_t count, const Bracket *bracket, const uint8_t *mask, uint8_t *kept, \
                            uint32_t *positions, uint64_t *keys, Found *found)                                         \
    {                                                                                                                  \
        int64_t kept_count = 0, inside_count = 0;                                                                      \
        uint64_t block[64];                                                                                            \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin, bytes_left = (entries_left + 7) / 8;                           \
            const uint64_t valid = (mask ? load_word(mask + begin / 8, bytes_left) : ~0ull) & first_bits(entries_left);\
            for (uint64_t at = 0; at < 64; at++)                                                                       \
                block[at] = mixed(start + ((uint64_t)begin + at) * GOLDEN);                                            \
            const Compared compared = COMPARE(block, ~0ull, bracket);                                                  \
            const uint64_t stays = compared.at_least & valid;                                                          \
            store_word(kept + begin / 8, bytes_left, stays);                                                           \
            kept_count += __builtin_popcountll(stays);                                                                 \
            for (uint64_t inside = stays & compared.at_most; inside; inside &= inside - 1) {                           \
                const int at = __builtin_ctzll(inside);                                                                \
                if (positions) {                                                                                       \
                    positions[inside_count] = (uint32_t)(begin + at);                                                  \
                    keys[inside_count] = block[at];                                                                    \
                }                                                                                                      \
                inside_count++;                                                                                        \
            }                                                                                                          \
        }                                                                                                              \
        *found = (Found){kept_count, inside_count, 0};                                                                 \
    }

SPLIT_RANDOM(PLAIN, split_random_plain_64, compare_plain_64)
#ifdef X86
SPLIT_RANDOM(AVX2, split_random_avx2_64, compare_avx2_64)
SPLIT_RANDOM(AVX512, split_random_avx512_64, compare_avx512_64)
#endif

EXPORT void pruning_split_random(int level, uint64_t start, int64_t count, const Bracket *bracket, const uint8_t *mask,
                                 uint8_t *kept, uint32_t *positions, uint64_t *keys, Found *found)
{
    (void)level;
    BY_LEVEL(level, split_random, 64)(start, count, bracket, mask, kept, positions, keys, found);
}

/* ---- Applying a mask -------------------------------------------------------------------------------------------- */

/* Write the entries that are kept, and all bits 0 (+0.0) for the others; `out` may be `entries`. `step` is 1, or 0 if
   `entries` are 64 for all blocks: a value that is written where the mask is 1. */
#define APPLY(TARGET, TYPE, NAME)                                                                                      \
    TARGET static void NAME(const TYPE *entries, int64_t step, int64_t count, const uint8_t *mask, TYPE *out)          \
    {                                                                                                                  \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin < 64 ? count - begin : 64;                                      \
            const uint64_t word = load_word(mask + begin / 8, (entries_left + 7) / 8);                                 \
            const TYPE *block = entries + begin * step;                                                                \
            if (entries == out && word == ~0ull)                                                                       \
                continue;                                                                                              \
            if (entries_left < 64) {                                                                                   \
                for (int64_t at = 0; at < entries_left; at++)                                                          \
                    out[begin + at] = (TYPE)(block[at] & -(TYPE)(word >> at & 1));                                     \
                continue;                                                                                              \
            }                                                                                                          \
            NAME##_block(block, word, out + begin);                                                                    \
        }                                                                                                              \
    }

#define APPLY_PLAIN_BLOCK(TYPE, NAME)                                                                                  \
    INLINE void NAME##_block(const TYPE *entries, uint64_t word, TYPE *out)                                            \
    {                                                                                                                  \
        for (int at = 0; at < 64; at++)                                                                                \
            out[at] = (TYPE)(entries[at] & -(TYPE)(word >> at & 1));                                                   \
    }

APPLY_PLAIN_BLOCK(entry_8, apply_plain_8)
APPLY_PLAIN_BLOCK(entry_16, apply_plain_16)
APPLY_PLAIN_BLOCK(entry_32, apply_plain_32)
APPLY_PLAIN_BLOCK(entry_64, apply_plain_64)
APPLY(PLAIN, entry_8, apply_plain_8)
APPLY(PLAIN, entry_16, apply_plain_16)
APPLY(PLAIN, entry_32, apply_plain_32)
APPLY(PLAIN, entry_64, apply_plain_64)

#ifdef X86
/* Each lane takes its bit of the word: all lanes hold some of its bytes, and test one bit each. */
#define APPLY_AVX2_BLOCK(TYPE, NAME, LANES, SET1, EQUAL, CHOSEN)                                                       \
    AVX2 INLINE void NAME##_block(const TYPE *entries, uint64_t word, TYPE *out)                                       \
    {                                                                                                                  \
        for (int at = 0; at < 64; at += LANES) {                                                                       \
            const __m256i bit = CHOSEN, part = SET1((TYPE)(word >> at));                                               \
            const __m256i kept = EQUAL(_mm256_and_si256(part, bit), bit);                                              \
            const __m256i loaded = _mm256_loadu_si256((const __m256i *)(entries + at));                                \
            _mm256_storeu_si256((__m256i *)(out + at), _mm256_and_si256(loaded, kept));                                \
        }                                                                                                              \
    }

#define BITS_16 _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, -32768)
#define BITS_32 _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128)
#define BITS_64 _mm256_setr_epi64x(1, 2, 4, 8)
APPLY_AVX2_BLOCK(entry_16, apply_avx2_16, 16, _mm256_set1_epi16, _mm256_cmpeq_epi16, BITS_16)
APPLY_AVX2_BLOCK(entry_32, apply_avx2_32, 8, _mm256_set1_epi32, _mm256_cmpeq_epi32, BITS_32)
APPLY_AVX2_BLOCK(entry_64, apply_avx2_64, 4, _mm256_set1_epi64x, _mm256_cmpeq_epi64, BITS_64)
AVX2 INLINE void apply_avx2_8_block(const uint8_t *entries, uint64_t word, uint8_t *out)
{
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    const __m256i byte = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    for (int at = 0; at < 64; at += 32) {
        const __m256i part = _mm256_shuffle_epi8(_mm256_set1_epi32((int)(word >> at)), byte);
        const __m256i kept = _mm256_cmpeq_epi8(_mm256_and_si256(part, bit), bit);
        const __m256i loaded = _mm256_loadu_si256((const __m256i *)(entries + at));
        _mm256_storeu_si256((__m256i *)(out + at), _mm256_and_si256(loaded, kept));
    }
}
APPLY(AVX2, entry_8, apply_avx2_8)
APPLY(AVX2, entry_16, apply_avx2_16)
APPLY(AVX2, entry_32, apply_avx2_32)
APPLY(AVX2, entry_64, apply_avx2_64)

#define APPLY_AVX512_BLOCK(BITS, LANES)                                                                                \
    AVX512 INLINE void apply_avx512_##BITS##_block(const entry_##BITS *entries, uint64_t word, entry_##BITS *out)      \
    {                                                                                                                  \
        for (int at = 0; at < 64; at += LANES)                                                                         \
            _mm512_storeu_si512(out + at, _mm512_maskz_mov_epi##BITS((__mmask##LANES)(word >> at),                     \
                                                                     _mm512_loadu_si512(entries + at)));               \
    }

APPLY_AVX512_BLOCK(8, 64)
APPLY_AVX512_BLOCK(16, 32)
APPLY_AVX512_BLOCK(32, 16)
APPLY_AVX512_BLOCK(64, 8)
APPLY(AVX512, entry_8, apply_avx512_8)
APPLY(AVX512, entry_16, apply_avx512_16)
APPLY(AVX512, entry_32, apply_avx512_32)
APPLY(AVX512, entry_64, apply_avx512_64)
#endif

#define EXPORT_APPLY(BITS)                                                                                             \
    EXPORT void pruning_apply_##BITS(int level, const entry_##BITS *entries, int64_t step, int64_t count,              \
                                     const uint8_t *mask,                                                              \
                                     entry_##BITS *out)                                                                \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        BY_LEVEL(level, apply, BITS)(entries, step, count, mask, out);                                                 \
    }

EXPORT_APPLY(8)
EXPORT_APPLY(16)
EXPORT_APPLY(32)
EXPORT_APPLY(64)

/* ---- Norms of channels ------------------------------------------------------------------------------------------ */

INLINE double value_of_f32(float entry) { return entry; }
INLINE double value_of_f64(double entry) { return entry; }
INLINE double value_of_bf16(entry_16 entry)
{
    const uint32_t bits = (uint32_t)entry << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define TERM(VALUE, IS_SQUARED) ((IS_SQUARED) ? (VALUE) * (VALUE) : __builtin_fabs(VALUE))

/* Add |x| or x^2 of entries [outer, channels, inner] to the sums of their channels, in fp64. The order of additions is
   not numpy's: selection/channels.py sums again, exactly, wherever the order could decide. */
#define SUM(TARGET, TYPE, NAME, VALUE_OF, IS_SQUARED)                                                                  \
    TARGET static void NAME(const TYPE *entries, int64_t outer, int64_t channels, int64_t inner, double *sums)         \
    {                                                                                                                  \
        for (int64_t row = 0; row < outer; row++, entries += channels * inner) {                                       \
            if (inner == 1) {                                                                                          \
                for (int64_t channel = 0; channel < channels; channel++) {                                             \
                    const double value = VALUE_OF(entries[channel]);                                                   \
                    sums[channel] += TERM(value, IS_SQUARED);                                                          \
                }                                                                                                      \
                continue;                                                                                              \
            }                                                                                                          \
            for (int64_t channel = 0; channel < channels; channel++) {                                                 \
                const TYPE *span = entries + channel * inner;                                                          \
                double lanes[32] = {0}, total = 0.0;                                                                   \
                int64_t at = 0;                                                                                        \
                for (; at + 32 <= inner; at += 32)                                                                     \
                    for (int lane = 0; lane < 32; lane++) {                                                            \
                        const double value = VALUE_OF(span[at + lane]);                                                \
                        lanes[lane] += TERM(value, IS_SQUARED);                                                        \
                    }                                                                                                  \
                for (; at < inner; at++) {                                                                             \
                    const double value = VALUE_OF(span[at]);                                                           \
                    total += TERM(value, IS_SQUARED);                                                                  \
                }                                                                                                      \
                for (int lane = 0; lane < 32; lane++)                                                                  \
                    total += lanes[lane];                                                                              \
                sums[channel] += total;                                                                                \
            }                                                                                                          \
        }                                                                                                              \
    }

#define SUMS(TARGET, TYPE, NAME, LEVEL)                                                                                \
    SUM(TARGET, TYPE, sum_##LEVEL##_##NAME, value_of_##NAME, 0)                                                        \
    SUM(TARGET, TYPE, squares_##LEVEL##_##NAME, value_of_##NAME, 1)

SUMS(PLAIN, entry_f32, f32, plain)
SUMS(PLAIN, entry_f64, f64, plain)
SUMS(PLAIN, entry_16, bf16, plain)
#ifdef X86
SUMS(AVX2, entry_f32, f32, avx2)
SUMS(AVX2, entry_f64, f64, avx2)
SUMS(AVX2, entry_16, bf16, avx2)
SUMS(AVX512, entry_f32, f32, avx512)
SUMS(AVX512, entry_f64, f64, avx512)
SUMS(AVX512, entry_16, bf16, avx512)
#endif

#define EXPORT_SUMS(TYPE, NAME)                                                                                        \
    EXPORT void pruning_sums_##NAME(int level, const TYPE *entries, int64_t outer, int64_t channels, int64_t inner,    \
                                    int is_squared, double *sums)                                                      \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        if (is_squared)                                                                                                \
            BY_LEVEL(level, squares, NAME)(entries, outer, channels, inner, sums);                                     \
        else                                                                                                           \
            BY_LEVEL(level, sum, NAME)(entries, outer, channels, inner, sums);                                         \
    }

EXPORT_SUMS(entry_f32, f32)
EXPORT_SUMS(entry_f64, f64)
EXPORT_SUMS(entry_16, bf16)

/* ---- The least entries of short groups --------------------------------------------------------------------------- */

/* Keep all but the least entries of each group of `size` consecutive ones, among equals the first are pruned.

   64 groups are ranked at once, one lane each: an entry's rank is the number of unpruned entries of its group that are
   pruned before it. `counts[n]` says how many of a group's n unpruned entries to prune. Loops over lanes are plain C,
   which the compiler vectorizes. `largest`: the largest pruned key; `largest_number`: keys above it are NaN. */
enum { TILE = 64, LONGEST = 32 };

#define GROUPS(TARGET, TYPE, ENTRY, NAME)                                                                              \
    TARGET INLINE int64_t NAME##_of(const int64_t size, const ENTRY *entries, int64_t groups, TYPE magnitude,          \
                                    TYPE largest_number, const uint8_t *counts, const uint8_t *mask, uint8_t *kept,    \
                                    uint64_t *largest)                                                                 \
    {                                                                                                                  \
        TYPE keys[LONGEST][TILE], valid[LONGEST][TILE], ranks[LONGEST][TILE], count[TILE], tile[LONGEST * TILE];       \
        TYPE most[TILE] = {0}, highest[TILE] = {0};                                                                    \
        uint8_t flags[LONGEST * TILE];                                                                                 \
        for (int64_t first = 0; first < groups; first += TILE) {                                                       \
            const int64_t lanes = groups - first < TILE ? groups - first : TILE;                                       \
            const int64_t bits = lanes * size, bytes = (bits + 7) / 8;                                                 \
            if (lanes < TILE)                                                                                          \
                memset(tile, 0, sizeof tile);                                                                          \
            memcpy(tile, entries + first * size, (size_t)bits * sizeof(TYPE));                                         \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++)                                                                \
                    keys[at][lane] = tile[lane * size + at] & magnitude;                                               \
            for (int64_t begin = 0; begin < TILE * size; begin += 64) {                                                \
                const int64_t bytes_left = bytes - begin / 8 > 0 ? bytes - begin / 8 : 0;                              \
                uint64_t word = mask ? load_word(mask + first * size / 8 + begin / 8, bytes_left) : ~0ull;             \
                word &= bits > begin ? first_bits(bits - begin) : 0;                                                   \
                for (int at = 0; at < 64; at++)                                                                        \
                    flags[begin + at] = word >> at & 1;                                                                \
            }                                                                                                          \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++)                                                                \
                    valid[at][lane] = flags[lane * size + at];                                                         \
            memset(ranks, 0, (size_t)size * sizeof ranks[0]);                                                          \
            memset(count, 0, sizeof count);                                                                            \
            for (int64_t later = 0; later < size; later++)                                                             \
                for (int64_t earlier = 0; earlier < later; earlier++)                                                  \
                    for (int lane = 0; lane < TILE; lane++) {                                                          \
                        const TYPE is_before = keys[earlier][lane] <= keys[later][lane];                               \
                        ranks[later][lane] += is_before & valid[earlier][lane];                                        \
                        ranks[earlier][lane] += (is_before ^ 1) & valid[later][lane];                                  \
                    }                                                                                                  \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++)                                                                \
                    count[lane] += valid[at][lane];                                                                    \
            for (int lane = 0; lane < TILE; lane++)                                                                    \
                count[lane] = counts[count[lane]];                                                                     \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++) {                                                              \
                    const TYPE is_valid = valid[at][lane], is_pruned = is_valid & (ranks[at][lane] < count[lane]);     \
                    const TYPE pruned_key = is_pruned ? keys[at][lane] : 0, valid_key = is_valid ? keys[at][lane] : 0; \
                    most[lane] = pruned_key > most[lane] ? pruned_key : most[lane];                                    \
                    highest[lane] = valid_key > highest[lane] ? valid_key : highest[lane];                             \
                    valid[at][lane] = is_valid & (is_pruned ^ 1);                                                      \
                }                                                                                                      \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++)                                                                \
                    flags[lane * size + at] = (uint8_t)valid[at][lane];                                                \
            for (int64_t begin = 0; begin < bits; begin += 64)                                                         \
                store_word(kept + first * size / 8 + begin / 8, bytes - begin / 8, bits_of_bytes(flags + begin));      \
        }                                                                                                              \
        TYPE all_most = 0, all_highest = 0;                                                                            \
        for (int lane = 0; lane < TILE; lane++) {                                                                      \
            all_most = most[lane] > all_most ? most[lane] : all_most;                                                  \
            all_highest = highest[lane] > all_highest ? highest[lane] : all_highest;                                   \
        }                                                                                                              \
        *largest = all_most;                                                                                           \
        return all_highest > largest_number;                                                                           \
    }                                                                                                                  \
    TARGET static int64_t NAME(const ENTRY *entries, int64_t groups, int64_t size, TYPE magnitude, TYPE largest_number,\
                               const uint8_t *counts, const uint8_t *mask, uint8_t *kept, uint64_t *largest)           \
    {                                                                                                                  \
        if (size == 4) /* known to the compiler, the rows and columns of a tile become shuffles */                     \
            return NAME##_of(4, entries, groups, magnitude, largest_number, counts, mask, kept, largest);              \
        if (size == 8)                                                                                                 \
            return NAME##_of(8, entries, groups, magnitude, largest_number, counts, mask, kept, largest);              \
        return NAME##_of(size, entries, groups, magnitude, largest_number, counts, mask, kept, largest);               \
    }

#define GROUPS_OF(TARGET, LEVEL)                                                                                       \
    GROUPS(TARGET, uint8_t, entry_8, groups_##LEVEL##_8)                                                               \
    GROUPS(TARGET, uint16_t, entry_16, groups_##LEVEL##_16)                                                            \
    GROUPS(TARGET, uint32_t, entry_32, groups_##LEVEL##_32)                                                            \
    GROUPS(TARGET, uint64_t, entry_64, groups_##LEVEL##_64)

GROUPS_OF(PLAIN, plain)
#ifdef X86
GROUPS_OF(AVX2, avx2)
GROUPS_OF(AVX512, avx512)
#endif

/* ---- The least entries of groups of 4 ---------------------------------------------------------------------------- */

#ifdef X86
/* GROUPS for 32-bit keys in fours without a mask, such as 2:4, in registers. Each key is compared with the other three of
   its group, which lane rotations bring beside it: before it are smaller ones, and equal ones that come earlier. An entry
   is kept if at least `count` others are before it. */
#define FOURS(TARGET, NAME)                                                                                            \
    TARGET static int64_t NAME(const entry_32 *entries, int64_t groups, uint32_t magnitude, uint32_t largest_number,   \
                               int count, uint8_t *kept, uint64_t *largest)                                            \
    {                                                                                                                  \
        entry_32 last[64] = {0};                                                                                       \
        NAME##_state state = NAME##_begin();                                                                           \
        for (int64_t begin = 0; begin < 4 * groups; begin += 64) {                                                     \
            const int64_t left = 4 * groups - begin;                                                                   \
            const entry_32 *block = entries + begin;                                                                   \
            if (left < 64) {                                                                                           \
                memset(last, 0, sizeof last);                                                                          \
                memcpy(last, block, (size_t)left * sizeof(entry_32));                                                  \
                block = last;                                                                                          \
            }                                                                                                          \
            const uint64_t word = NAME##_block(block, magnitude, count, &state) & first_bits(left);                    \
            store_word(kept + begin / 8, (left + 7) / 8, word);                                                        \
        }                                                                                                              \
        uint32_t most[16] = {0}, highest[16] = {0};                                                                    \
        NAME##_end(&state, most, highest);                                                                             \
        uint32_t all_most = 0, all_highest = 0;                                                                        \
        for (int lane = 0; lane < 16; lane++) {                                                                        \
            all_most = most[lane] > all_most ? most[lane] : all_most;                                                  \
            all_highest = highest[lane] > all_highest ? highest[lane] : all_highest;                                   \
        }                                                                                                              \
        *largest = all_most;                                                                                           \
        return all_highest > largest_number;                                                                           \
    }

/* Which entries are kept, from whether each of the three others is before it. */
#define KEPT_OF_FOUR(COUNT, ONE, TWO, THREE, ALL)                                                                      \
    ((COUNT) == 0 ? (ALL)                                                                                              \
     : (COUNT) == 1 ? ((ONE) | (TWO) | (THREE))                                                                        \
     : (COUNT) == 2 ? (((ONE) & (TWO)) | ((THREE) & ((ONE) | (TWO))))                                                  \
     : (COUNT) == 3 ? ((ONE) & (TWO) & (THREE))                                                                        \
                    : (ALL) ^ (ALL))

typedef struct {
    __m512i most, highest;
} fours_avx512_state;

AVX512 INLINE fours_avx512_state fours_avx512_begin(void)
{
    return (fours_avx512_state){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

AVX512 INLINE void fours_avx512_end(const fours_avx512_state *state, uint32_t *most, uint32_t *highest)
{
    _mm512_storeu_si512(most, state->most);
    _mm512_storeu_si512(highest, state->highest);
}

/* Lanes of `others` that are before those of `keys`; `earlier`: lanes whose other comes earlier in the group. */
AVX512 INLINE uint32_t before_avx512(__m512i others, __m512i keys, __mmask16 earlier)
{
    return (uint32_t)(_mm512_mask_cmplt_epu32_mask((__mmask16)~earlier, others, keys) |
                      _mm512_mask_cmple_epu32_mask(earlier, others, keys));
}

AVX512 INLINE uint64_t fours_avx512_block(const entry_32 *entries, uint32_t magnitude, int count,
                                          fours_avx512_state *state)
{
    const __m512i all = _mm512_set1_epi32((int)magnitude);
    uint64_t word = 0;
    for (int at = 0; at < 64; at += 16) {
        const __m512i keys = _mm512_and_si512(_mm512_loadu_si512(entries + at), all);
        const uint32_t one = before_avx512(_mm512_shuffle_epi32(keys, 0x39), keys, 0x8888);
        const uint32_t two = before_avx512(_mm512_shuffle_epi32(keys, 0x4E), keys, 0xCCCC);
        const uint32_t three = before_avx512(_mm512_shuffle_epi32(keys, 0x93), keys, 0xEEEE);
        const uint32_t stays = KEPT_OF_FOUR(count, one, two, three, 0xFFFFu);
        state->most = _mm512_mask_max_epu32(state->most, (__mmask16)~stays, state->most, keys);
        state->highest = _mm512_max_epu32(state->highest, keys);
        word |= (uint64_t)stays << at;
    }
    return word;
}

FOURS(AVX512, fours_avx512)

typedef struct {
    __m256i most, highest;
} fours_avx2_state;

AVX2 INLINE fours_avx2_state fours_avx2_begin(void)
{
    return (fours_avx2_state){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

AVX2 INLINE void fours_avx2_end(const fours_avx2_state *state, uint32_t *most, uint32_t *highest)
{
    _mm256_storeu_si256((__m256i *)most, state->most);
    _mm256_storeu_si256((__m256i *)highest, state->highest);
}

/* As before_avx512; keys are moved by the sign bit, since AVX2 compares signed integers only. */
AVX2 INLINE uint32_t before_avx2(__m256i others, __m256i keys, __m256i earlier)
{
    const __m256i less = _mm256_cmpgt_epi32(keys, others), more = _mm256_cmpgt_epi32(others, keys);
    return mask_32(_mm256_blendv_epi8(less, _mm256_xor_si256(more, _mm256_set1_epi32(-1)), earlier));
}

AVX2 INLINE uint64_t fours_avx2_block(const entry_32 *entries, uint32_t magnitude, int count, fours_avx2_state *state)
{
    const __m256i all = _mm256_set1_epi32((int)magnitude), sign = _mm256_set1_epi32((int)0x80000000);
    const __m256i fourth = _mm256_setr_epi32(0, 0, 0, -1, 0, 0, 0, -1), half = _mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1);
    const __m256i not_first = _mm256_setr_epi32(0, -1, -1, -1, 0, -1, -1, -1), bits = BITS_32;
    uint64_t word = 0;
    for (int at = 0; at < 64; at += 8) {
        const __m256i loaded = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)(entries + at)), all);
        const __m256i keys = _mm256_xor_si256(loaded, sign);
        const uint32_t one = before_avx2(_mm256_shuffle_epi32(keys, 0x39), keys, fourth);
        const uint32_t two = before_avx2(_mm256_shuffle_epi32(keys, 0x4E), keys, half);
        const uint32_t three = before_avx2(_mm256_shuffle_epi32(keys, 0x93), keys, not_first);
        const uint32_t stays = KEPT_OF_FOUR(count, one, two, three, 0xFFu);
        const __m256i kept = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)stays), bits), bits);
        state->most = _mm256_max_epu32(state->most, _mm256_andnot_si256(kept, loaded));
        state->highest = _mm256_max_epu32(state->highest, loaded);
        word |= (uint64_t)stays << at;
    }
    return word;
}

FOURS(AVX2, fours_avx2)

/* Return the loop for fours of 32-bit keys of an instruction set; NULL if it has none. */
typedef int64_t (*Fours)(const entry_32 *, int64_t, uint32_t, uint32_t, int, uint8_t *, uint64_t *);
INLINE Fours fours_32(int level)
{
    return level >= LEVEL_AVX512 ? fours_avx512 : level == LEVEL_AVX2 ? fours_avx2 : NULL;
}
#endif

#define FOURS_8(...)
#define FOURS_16(...)
#define FOURS_64(...)
#ifdef X86
#define FOURS_32(LEVEL, ENTRIES, GROUPS, SIZE, MAGNITUDE, NUMBER, COUNTS, MASK, KEPT, LARGEST)                                 \
    if ((SIZE) == 4 && !(MASK) && fours_32(LEVEL))                                                                     \
        return (int)fours_32(LEVEL)(ENTRIES, GROUPS, (uint32_t)(MAGNITUDE), (uint32_t)(NUMBER), (COUNTS)[4], KEPT, LARGEST);
#else
#define FOURS_32(...)
#endif

#define EXPORT_GROUPS(BITS)                                                                                            \
    EXPORT int pruning_groups_##BITS(int level, const entry_##BITS *entries, int64_t groups, int64_t size,             \
                                     uint64_t magnitude, uint64_t largest_number, const uint8_t *counts,               \
                                     const uint8_t *mask, uint8_t *kept, uint64_t *largest)                            \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        FOURS_##BITS(level, entries, groups, size, magnitude, largest_number, counts, mask, kept, largest)             \
        return (int)BY_LEVEL(level, groups, BITS)(entries, groups, size, (uint##BITS##_t)magnitude,                    \
                                                  (uint##BITS##_t)largest_number, counts, mask, kept, largest);        \
    }

EXPORT_GROUPS(8)
EXPORT_GROUPS(16)
EXPORT_GROUPS(32)
EXPORT_GROUPS(64)

/* ---- The least entries of long groups ---------------------------------------------------------------------------- */

/* Return the key of rank `rank` (from 0) among `count` keys, which are overwritten, and in `equal_before` how many keys
   equal to it are of smaller rank. Digit by digit from the top, of `bits` bits in all: linear whatever the keys are. */
#define RADIX_SELECT(TARGET, TYPE, NAME)                                                                               \
    TARGET static TYPE NAME(TYPE *keys, int64_t count, int64_t rank, int bits, int64_t *equal_before)                  \
    {                                                                                                                  \
        for (int shift = bits; shift > 0 && count > 1;) {                                                              \
            const int digit_bits = shift < 8 ? shift : 8;                                                              \
            shift -= digit_bits;                                                                                       \
            const TYPE digit_mask = (TYPE)((1u << digit_bits) - 1);                                                    \
            uint32_t even[256] = {0}, odd[256] = {0};                                                                  \
            int64_t at = 0;                                                                                            \
            for (; at + 2 <= count; at += 2) { /* two tables: equal digits in a row do not wait for each other */      \
                even[keys[at] >> shift & digit_mask]++;                                                                \
                odd[keys[at + 1] >> shift & digit_mask]++;                                                             \
            }                                                                                                          \
            if (at < count)                                                                                            \
                even[keys[at] >> shift & digit_mask]++;                                                                \
            TYPE digit = 0;                                                                                            \
            while (rank >= (int64_t)even[digit] + odd[digit]) {                                                        \
                rank -= (int64_t)even[digit] + odd[digit];                                                             \
                digit++;                                                                                               \
            }                                                                                                          \
            int64_t same = 0;                                                                                          \
            for (at = 0; at < count; at++) {                                                                           \
                const TYPE key = keys[at];                                                                             \
                keys[same] = key;                                                                                      \
                same += (TYPE)(key >> shift & digit_mask) == digit;                                                    \
            }                                                                                                          \
            count = same;                                                                                              \
        }                                                                                                              \
        *equal_before = rank;                                                                                          \
        return keys[0];                                                                                                \
    }

/* Appends words of bits to a packed mask, of which a row may begin within a byte. */
typedef struct {
    uint8_t *bits;
    uint64_t pending;
    int count;
} Writer;

INLINE void append(Writer *writer, uint64_t word, int64_t bits)
{
    writer->pending |= word << writer->count;
    if (writer->count + bits < 64) {
        writer->count += (int)bits;
        return;
    }
    store_word(writer->bits, 8, writer->pending);
    writer->bits += 8;
    writer->pending = writer->count ? word >> (64 - writer->count) : 0;
    writer->count += (int)bits - 64;
}

/* Return up to 64 bits of a mask from any bit on; those beyond its last byte are 0. */
INLINE uint64_t bits_from(const uint8_t *mask, int64_t bit, int64_t all_bytes)
{
    const int64_t byte = bit / 8;
    const int shift = (int)(bit % 8);
    const uint64_t word = load_word(mask + byte, all_bytes - byte) >> shift;
    return shift && byte + 8 < all_bytes ? word | (uint64_t)mask[byte + 8] << (64 - shift) : word;
}

/* Keep all but the `counts[row]` least entries of each row of `size` consecutive ones; of equal ones the first go.

   `scratch`: room for `size` keys. `largest` and `largest_number` as in GROUPS; `bits`: of the longest key. */
#define ROWS(TARGET, TYPE, ENTRY, BITS, LEVEL)                                                                         \
    RADIX_SELECT(TARGET, TYPE, radix_select_##LEVEL##_##BITS)                                                          \
    TARGET static int64_t rows_##LEVEL##_##BITS(const ENTRY *entries, int64_t rows, int64_t size, TYPE magnitude,      \
                                                TYPE largest_number, int bits, const int64_t *counts,                  \
                                                const uint8_t *mask, uint8_t *kept, TYPE *scratch, uint64_t *largest)  \
    {                                                                                                                  \
        const int64_t all_bytes = (rows * size + 7) / 8;                                                               \
        Writer writer = {kept, 0, 0};                                                                                  \
        TYPE most = 0, highest = 0;                                                                                    \
        for (int64_t row = 0; row < rows; row++) {                                                                     \
            const ENTRY *source = entries + row * size;                                                                \
            int64_t candidates = 0;                                                                                    \
            if (mask)                                                                                                  \
                for (int64_t begin = 0; begin < size; begin += 64) {                                                   \
                    const int64_t left = size - begin;                                                                 \
                    uint64_t valid = bits_from(mask, row * size + begin, all_bytes) & first_bits(left);                \
                    for (; valid; valid &= valid - 1)                                                                  \
                        scratch[candidates++] = source[begin + __builtin_ctzll(valid)] & magnitude;                    \
                }                                                                                                      \
            else                                                                                                       \
                for (; candidates < size; candidates++)                                                                \
                    scratch[candidates] = source[candidates] & magnitude;                                              \
            for (int64_t at = 0; at < candidates; at++)                                                                \
                highest = scratch[at] > highest ? scratch[at] : highest;                                               \
            int64_t equal_before = -1; /* how many keys equal to the cut are pruned, less one */                       \
            TYPE cut = 0;                                                                                              \
            if (counts[row] > 0) {                                                                                     \
                cut = radix_select_##LEVEL##_##BITS(scratch, candidates, counts[row] - 1, bits, &equal_before);        \
                most = cut > most ? cut : most;                                                                        \
            }                                                                                                          \
            int64_t quota = equal_before + 1;                                                                          \
            const Bracket bracket = {cut, cut, largest_number};                                                        \
            for (int64_t begin = 0; begin < size; begin += 64) {                                                       \
                const int64_t left = size - begin;                                                                     \
                ENTRY last[64];                                                                                        \
                const ENTRY *block = source + begin;                                                                   \
                if (left < 64) {                                                                                       \
                    memset(last, 0, sizeof last);                                                                      \
                    memcpy(last, block, (size_t)left * sizeof(ENTRY));                                                 \
                    block = last;                                                                                      \
                }                                                                                                      \
                const Compared compared = compare_##LEVEL##_##BITS(block, magnitude, &bracket);                        \
                const uint64_t prior = mask ? bits_from(mask, row * size + begin, all_bytes) : ~0ull;                  \
                const uint64_t valid = prior & first_bits(left);                                                       \
                uint64_t stays = compared.at_least & valid, equal = stays & compared.at_most;                          \
                for (; equal && quota > 0; equal &= equal - 1, quota--)                                                \
                    stays &= ~(equal & -equal);                                                                        \
                append(&writer, stays, left < 64 ? left : 64);                                                         \
            }                                                                                                          \
        }                                                                                                              \
        store_word(writer.bits, (writer.count + 7) / 8, writer.pending);                                               \
        *largest = most;                                                                                               \
        return highest > largest_number;                                                                               \
    }

#define ROWS_OF(TARGET, LEVEL)                                                                                         \
    ROWS(TARGET, uint8_t, entry_8, 8, LEVEL)                                                                           \
    ROWS(TARGET, uint16_t, entry_16, 16, LEVEL)                                                                        \
    ROWS(TARGET, uint32_t, entry_32, 32, LEVEL)                                                                        \
    ROWS(TARGET, uint64_t, entry_64, 64, LEVEL)

ROWS_OF(PLAIN, plain)
#ifdef X86
ROWS_OF(AVX2, avx2)
ROWS_OF(AVX512, avx512)
#endif

#define EXPORT_ROWS(BITS)                                                                                              \
    EXPORT int pruning_rows_##BITS(int level, const entry_##BITS *entries, int64_t rows, int64_t size,                 \
                                   uint64_t magnitude, uint64_t largest_number, int bits, const int64_t *counts,       \
                                   const uint8_t *mask, uint8_t *kept, uint##BITS##_t *scratch, uint64_t *largest)     \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        return (int)BY_LEVEL(level, rows, BITS)(entries, rows, size, (uint##BITS##_t)magnitude,                        \
                                                (uint##BITS##_t)largest_number, bits, counts, mask, kept, scratch,     \
                                                largest);                                                              \
    }

EXPORT_ROWS(8)
EXPORT_ROWS(16)
EXPORT_ROWS(32)
EXPORT_ROWS(64)
