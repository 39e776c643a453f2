/* The hot loops of the CPU backend: one pass over memory each, at about the speed of reading it.

   library.py loads this file's library with ctypes, which releases the interpreter's lock during each call. Every
   function computes the same bits as the numpy code beside it, which is the reference and the fallback.

   A loop works on blocks of 64 entries, so that a block's comparisons are one 64-bit word of a packed mask: flat in C
   order, the lowest bit first, 1 = kept. A last short block is copied to a padded one. Each loop exists for several
   instruction sets: plain C, AVX2 and AVX-512; `pruning_levels` says which this processor has, and every function takes
   the one to use. The loops over groups are in groups.h. */

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

enum { LEVEL_PLAIN, LEVEL_AVX2, LEVEL_AVX512 };

/* Define functions with a macro of (TARGET, LEVEL, BITS) for each instruction set and width, and choose one of them. */
#ifdef X86
#define EACH_LEVEL(DEFINE, BITS) DEFINE(PLAIN, plain, BITS) DEFINE(AVX2, avx2, BITS) DEFINE(AVX512, avx512, BITS)
#define BY_LEVEL(LEVEL, NAME, BITS)                                                                                    \
    ((LEVEL) >= LEVEL_AVX512 ? NAME##_avx512_##BITS : (LEVEL) == LEVEL_AVX2 ? NAME##_avx2_##BITS : NAME##_plain_##BITS)
#else
#define EACH_LEVEL(DEFINE, BITS) DEFINE(PLAIN, plain, BITS)
#define BY_LEVEL(LEVEL, NAME, BITS) ((void)(LEVEL), NAME##_plain_##BITS)
#endif
#define EACH_WIDTH(DEFINE) DEFINE(8) DEFINE(16) DEFINE(32) DEFINE(64)
#define EACH(DEFINE) EACH_LEVEL(DEFINE, 8) EACH_LEVEL(DEFINE, 16) EACH_LEVEL(DEFINE, 32) EACH_LEVEL(DEFINE, 64)

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

#define COMPARE_PLAIN(BITS)                                                                                            \
    INLINE Compared compare_plain_##BITS(const entry_##BITS *entries, entry_##BITS magnitude, const Bracket *bracket)  \
    {                                                                                                                  \
        uint8_t at_least[64], at_most[64], nan[64];                                                                    \
        const entry_##BITS low = (entry_##BITS)bracket->low, high = (entry_##BITS)bracket->high;                       \
        const entry_##BITS number = (entry_##BITS)bracket->largest_number;                                             \
        for (int at = 0; at < 64; at++) {                                                                              \
            const entry_##BITS key = entries[at] & magnitude;                                                          \
            at_least[at] = key >= low;                                                                                 \
            at_most[at] = key <= high;                                                                                 \
            nan[at] = key > number;                                                                                    \
        }                                                                                                              \
        return (Compared){bits_of_bytes(at_least), bits_of_bytes(at_most), bits_of_bytes(nan)};                        \
    }

EACH_WIDTH(COMPARE_PLAIN)

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

/* ---- Collecting the entries of a bracket ------------------------------------------------------------------------ */

/* Entries are collected from CHUNK blocks at a time, while these are in the cache: those that `inside` marks, which has
   a word for each block. */
enum { CHUNK = 64 };

/* Append the positions and keys of the entries from `at` on that a word marks. */
#define COLLECT_WORD(AT, WORD)                                                                                         \
    for (uint64_t left = (WORD); left; left &= left - 1, positions++, keys++) {                                        \
        *positions = (uint32_t)((AT) + __builtin_ctzll(left));                                                         \
        *keys = entries[*positions] & magnitude;                                                                       \
    }

#define COLLECT(TARGET, LEVEL, BITS)                                                                                   \
    TARGET static void collect_##LEVEL##_##BITS(const entry_##BITS *entries, entry_##BITS magnitude, int64_t begin,    \
                                                const uint64_t inside[CHUNK], uint32_t *positions, entry_##BITS *keys) \
    {                                                                                                                  \
        for (int64_t block = 0; block < CHUNK; block++)                                                                \
            COLLECT_WORD(begin + 64 * block, inside[block])                                                            \
    }

#define COLLECT_PLAIN(BITS) COLLECT(PLAIN, plain, BITS)
EACH_WIDTH(COLLECT_PLAIN)

#ifdef X86
#define COLLECT_AVX2(BITS) COLLECT(AVX2, avx2, BITS)
EACH_WIDTH(COLLECT_AVX2)

/* Find the groups of 16 entries that have some inside: their marks, and their numbers in the upper half. It takes no
   branches; those of a loop over all groups would be mispredicted. */
AVX512 static int64_t marked_groups(const uint64_t inside[CHUNK], uint32_t marked[4 * CHUNK + 16])
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int64_t count = 0;
    for (int at = 0; at < 4 * CHUNK; at += 16) {
        const __m512i marks = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(inside + at / 4)));
        const __m512i numbers = _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(at)), 16);
        const __mmask16 any = _mm512_test_epi32_mask(marks, marks);
        _mm512_storeu_si512(marked + count, _mm512_maskz_compress_epi32(any, _mm512_or_si512(marks, numbers)));
        count += __builtin_popcount(any);
    }
    return count;
}

#define COLLECT_AVX512(BITS)                                                                                           \
    AVX512 static void collect_avx512_##BITS(const entry_##BITS *entries, entry_##BITS magnitude, int64_t begin,       \
                                             const uint64_t inside[CHUNK], uint32_t *positions, entry_##BITS *keys)    \
    {                                                                                                                  \
        uint32_t marked[4 * CHUNK + 16];                                                                               \
        const int64_t groups = marked_groups(inside, marked);                                                          \
        for (int64_t group = 0; group < groups; group++)                                                               \
            COLLECT_WORD(begin + 16 * (marked[group] >> 16), marked[group] & 0xFFFF)                                   \
    }

EACH_WIDTH(COLLECT_AVX512)
#endif

/* ---- Splitting magnitudes at a bracket -------------------------------------------------------------------------- */

enum { FETCHED_BYTES = 1024 }; /* how far ahead of its block a pass asks for memory */

/* Write into `kept` which unpruned entries have keys of `low` or more, and collect the ones within the bracket.

   A key is an entry's bits and `magnitude`. `kept` may be NULL, to count only. `mask`: the prior mask from the first
   entry on, or NULL. `positions` and `keys` have room for `room` numbers; they hold all that is inside if it is no
   more than that. */
#define SPLIT(TARGET, LEVEL, BITS)                                                                                     \
    TARGET static void split_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t count, uint64_t magnitude,          \
                                              const Bracket *bracket, const uint8_t *mask, uint8_t *kept,              \
                                              uint32_t *positions, entry_##BITS *keys, int64_t room, Found *found)     \
    {                                                                                                                  \
        int64_t kept_count = 0, inside_count = 0, found_count = 0;                                                     \
        uint64_t any_nan = 0, inside[CHUNK];                                                                           \
        uint##BITS##_t last[64] = {0};                                                                                 \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin, bytes_left = (entries_left + 7) / 8;                           \
            const entry_##BITS *block = entries + begin;                                                               \
            for (uint64_t line = 0; line < sizeof last; line += 64) /* the processor's own stops at each page */       \
                __builtin_prefetch((const char *)block + FETCHED_BYTES + line);                                        \
            uint64_t valid = mask ? load_word(mask + begin / 8, bytes_left) : ~0ull;                                   \
            if (entries_left < 64) {                                                                                   \
                memcpy(last, block, (size_t)entries_left * sizeof *block);                                             \
                block = last;                                                                                          \
                valid &= first_bits(entries_left);                                                                     \
            }                                                                                                          \
            const Compared compared = compare_##LEVEL##_##BITS(block, (entry_##BITS)magnitude, bracket);               \
            const uint64_t stays = compared.at_least & valid;                                                          \
            any_nan |= compared.nan & valid;                                                                           \
            if (kept)                                                                                                  \
                store_word(kept + begin / 8, bytes_left, stays);                                                       \
            kept_count += __builtin_popcountll(stays);                                                                 \
            const int64_t number = begin / 64 % CHUNK;                                                                 \
            inside[number] = stays & compared.at_most;                                                                 \
            found_count += __builtin_popcountll(inside[number]);                                                       \
            if (number + 1 < CHUNK && entries_left > 64)                                                               \
                continue;                                                                                              \
            if (found_count && inside_count + found_count <= room) {                                           \
                memset(inside + number + 1, 0, (size_t)(CHUNK - 1 - number) * sizeof *inside);                         \
                collect_##LEVEL##_##BITS(entries, (entry_##BITS)magnitude, begin - 64 * number, inside,                \
                                         positions + inside_count, keys + inside_count);                               \
            }                                                                                                          \
            inside_count += found_count;                                                                               \
            found_count = 0;                                                                                           \
        }                                                                                                              \
        *found = (Found){kept_count, inside_count, any_nan != 0};                                                      \
    }

EACH(SPLIT)

#define EXPORT_SPLIT(BITS)                                                                                             \
    EXPORT void pruning_split_##BITS(int level, const entry_##BITS *entries, int64_t count, uint64_t magnitude,        \
                                     const Bracket *bracket, const uint8_t *mask, uint8_t *kept, uint32_t *positions,  \
                                     entry_##BITS *keys, int64_t room, Found *found)                                   \
    {                                                                                                                  \
        BY_LEVEL(level, split, BITS)(entries, count, magnitude, bracket, mask, kept, positions, keys, room, found);    \
    }

EACH_WIDTH(EXPORT_SPLIT)

/* Clear the bits of collected entries with keys below `cut`, and of the first `quota` whose key it is; return how many
   these are. */
#define EXPORT_DROP(BITS)                                                                                              \
    EXPORT int64_t pruning_drop_##BITS(int level, const entry_##BITS *keys, const uint32_t *positions, int64_t count,  \
                                       uint64_t cut, int64_t quota, uint8_t *kept)                                     \
    {                                                                                                                  \
        (void)level;                                                                                                   \
        int64_t left = quota;                                                                                          \
        for (int64_t at = 0; at < count; at++) {                                                                       \
            const int at_cut = keys[at] == cut && left > 0;                                                            \
            left -= at_cut;                                                                                            \
            kept[positions[at] / 8] &= (uint8_t)~((at_cut | (keys[at] < cut)) << positions[at] % 8);                   \
        }                                                                                                              \
        return quota - left;                                                                                           \
    }

EACH_WIDTH(EXPORT_DROP)

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
#define SPLIT_RANDOM(TARGET, LEVEL, BITS)                                                                              \
    TARGET static void split_random_##LEVEL##_##BITS(uint64_t start, int64_t count, const Bracket *bracket,            \
                                                     const uint8_t *mask, uint8_t *kept, uint32_t *positions,          \
                                                     uint64_t *keys, int64_t room, Found *found)                       \
    {                                                                                                                  \
        int64_t kept_count = 0, inside_count = 0;                                                                      \
        uint64_t block[64];                                                                                            \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin, bytes_left = (entries_left + 7) / 8;                           \
            const uint64_t valid = (mask ? load_word(mask + begin / 8, bytes_left) : ~0ull) & first_bits(entries_left);\
            for (uint64_t at = 0; at < 64; at++)                                                                       \
                block[at] = mixed(start + ((uint64_t)begin + at) * GOLDEN);                                            \
            const Compared compared = compare_##LEVEL##_##BITS(block, ~0ull, bracket);                                 \
            const uint64_t stays = compared.at_least & valid;                                                          \
            uint64_t inside = stays & compared.at_most;                                                                \
            store_word(kept + begin / 8, bytes_left, stays);                                                           \
            kept_count += __builtin_popcountll(stays);                                                                 \
            const int64_t found_count = __builtin_popcountll(inside);                                                  \
            if (inside_count + found_count <= room)                                                            \
                for (int64_t number = inside_count; inside; inside &= inside - 1, number++) {                          \
                    const int at = __builtin_ctzll(inside);                                                            \
                    positions[number] = (uint32_t)(begin + at);                                                        \
                    keys[number] = block[at];                                                                          \
                }                                                                                                      \
            inside_count += found_count;                                                                               \
        }                                                                                                              \
        *found = (Found){kept_count, inside_count, 0};                                                                 \
    }

EACH_LEVEL(SPLIT_RANDOM, 64)

EXPORT void pruning_split_random(int level, uint64_t start, int64_t count, const Bracket *bracket, const uint8_t *mask,
                                 uint8_t *kept, uint32_t *positions, uint64_t *keys, int64_t room, Found *found)
{
    BY_LEVEL(level, split_random, 64)(start, count, bracket, mask, kept, positions, keys, room, found);
}

/* ---- Sampling, and keys by their rank --------------------------------------------------------------------------- */

/* Copy the keys of unpruned entries to `sample`, of one run of RUN in `stride` at random, or of all with stride 1.
   Return how many they are. The numpy code draws the same runs. */
enum { RUN = 16, AHEAD = 16 };

INLINE int64_t drawn(uint64_t seed, int64_t first, int64_t stride)
{
    return (int64_t)((mixed(seed + (uint64_t)first) >> 32) * (uint64_t)stride >> 32);
}

#define SAMPLE(TARGET, LEVEL, BITS)                                                                                    \
    TARGET static int64_t sample_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t count, entry_##BITS magnitude,  \
                                                  const uint8_t *mask, uint64_t seed, int64_t stride,                  \
                                                  entry_##BITS *sample)                                                \
    {                                                                                                                  \
        int64_t size = 0;                                                                                              \
        const int64_t runs = stride == 1 ? (count + RUN - 1) / RUN : count / RUN;                                      \
        for (int64_t first = 0; first < runs; first += stride) {                                                       \
            const int64_t later = first + AHEAD * stride, run = first + drawn(seed, first, stride);                    \
            if (later + stride <= runs) { /* runs are far apart: none of them is in the cache */                       \
                const int64_t next = RUN * (later + drawn(seed, later, stride));                                       \
                __builtin_prefetch(entries + next);                                                                    \
                __builtin_prefetch(mask ? mask + next / 8 : NULL);                                                     \
            }                                                                                                          \
            if (run >= runs)                                                                                           \
                continue;                                                                                              \
            const int64_t begin = RUN * run, length = count - begin < RUN ? count - begin : RUN;                       \
            if (!mask) {                                                                                               \
                for (int64_t at = 0; at < length; at++)                                                                \
                    sample[size + at] = entries[begin + at] & magnitude;                                               \
                size += length;                                                                                        \
                continue;                                                                                              \
            }                                                                                                          \
            uint64_t bits = load_word(mask + begin / 8, (length + 7) / 8) & first_bits(length);                        \
            for (int64_t at = 0; at < length; at++, bits >>= 1) { /* also where pruned: without branches */            \
                sample[size] = entries[begin + at] & magnitude;                                                        \
                size += bits & 1;                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        return size;                                                                                                   \
    }

EACH(SAMPLE)

#define EXPORT_SAMPLE(BITS)                                                                                            \
    EXPORT int64_t pruning_sample_##BITS(int level, const entry_##BITS *entries, int64_t count, uint64_t magnitude,    \
                                         const uint8_t *mask, uint64_t seed, int64_t stride, entry_##BITS *sample)     \
    {                                                                                                                  \
        return BY_LEVEL(level, sample, BITS)(entries, count, (entry_##BITS)magnitude, mask, seed, stride, sample);     \
    }

EACH_WIDTH(EXPORT_SAMPLE)

/* Return the key of rank `rank` (from 0) among `count` keys from `low` to `high`, and in `equal_before` how many equal
   keys are of smaller rank. Digit by digit from the top: linear whatever the keys are, which are overwritten. */
#define SELECT(TARGET, LEVEL, BITS)                                                                                    \
    TARGET static entry_##BITS select_##LEVEL##_##BITS(entry_##BITS *keys, int64_t count, int64_t rank, uint64_t low,  \
                                                       uint64_t high, int64_t *equal_before)                           \
    {                                                                                                                  \
        for (int64_t at = 0; at < count; at++)                                                                         \
            keys[at] = (entry_##BITS)(keys[at] - low);                                                                 \
        for (int shift = high > low ? 64 - __builtin_clzll(high - low) : 0; shift > 0 && count > 1;) {                 \
            const int digit_bits = shift < 8 ? shift : 8;                                                              \
            shift -= digit_bits;                                                                                       \
            const entry_##BITS digit_mask = (entry_##BITS)((1u << digit_bits) - 1);                                    \
            uint32_t even[256] = {0}, odd[256] = {0};                                                                  \
            int64_t at = 0;                                                                                            \
            for (; at + 2 <= count; at += 2) { /* two tables: equal digits in a row do not wait for each other */      \
                even[keys[at] >> shift & digit_mask]++;                                                                \
                odd[keys[at + 1] >> shift & digit_mask]++;                                                             \
            }                                                                                                          \
            if (at < count)                                                                                            \
                even[keys[at] >> shift & digit_mask]++;                                                                \
            entry_##BITS digit = 0;                                                                                    \
            while (rank >= (int64_t)even[digit] + odd[digit]) {                                                        \
                rank -= (int64_t)even[digit] + odd[digit];                                                             \
                digit++;                                                                                               \
            }                                                                                                          \
            int64_t same = 0;                                                                                          \
            for (at = 0; at < count; at++) {                                                                           \
                const entry_##BITS key = keys[at];                                                                     \
                keys[same] = key;                                                                                      \
                same += (entry_##BITS)(key >> shift & digit_mask) == digit;                                            \
            }                                                                                                          \
            count = same;                                                                                              \
        }                                                                                                              \
        *equal_before = rank;                                                                                          \
        return (entry_##BITS)(keys[0] + low);                                                                          \
    }

EACH(SELECT)

#define EXPORT_SELECT(BITS)                                                                                            \
    EXPORT uint64_t pruning_select_##BITS(int level, entry_##BITS *keys, int64_t count, int64_t rank, uint64_t low,    \
                                          uint64_t high, int64_t *equal_before)                                        \
    {                                                                                                                  \
        return BY_LEVEL(level, select, BITS)(keys, count, rank, low, high, equal_before);                              \
    }

EACH_WIDTH(EXPORT_SELECT)

/* ---- The least entries of one tensor ---------------------------------------------------------------------------- */

/* What became of a tensor: whether its cut was found, whether an entry is NaN, and the largest key that was pruned. */
typedef struct {
    int64_t is_settled, has_nan;
    uint64_t largest;
} Least;

INLINE int64_t root(int64_t square)
{
    int64_t found = 0;
    while (found * found < square)
        found++;
    return found;
}

/* Find the keys of ranks `first` and `last` of a sample. A sample of the sample says where to look for them.

   `highest`: none is larger. `scratch`, `copy`, `positions`: room for `room` numbers, more than the sample has. */
enum { THINNING = 33, LARGE_SAMPLE = 4096, DEVIATIONS = 5 };

#define RANKS(TARGET, LEVEL, BITS)                                                                                     \
    TARGET static void ranks_##LEVEL##_##BITS(const entry_##BITS *sample, int64_t size, int64_t first, int64_t last,   \
                                              uint64_t highest, entry_##BITS *scratch, entry_##BITS *copy,             \
                                              uint32_t *positions, int64_t room, Bracket *bracket)                     \
    {                                                                                                                  \
        int64_t below = 0, near = 0, few = 0, equal;                                                                   \
        Bracket around = {0, highest, ~0ull};                                                                          \
        if (size > LARGE_SAMPLE) {                                                                                     \
            for (int64_t at = 0; at < size; at += THINNING, few++)                                                     \
                copy[few] = scratch[few] = sample[at];                                                                 \
            const int64_t margin = 2 * root(few) + 1, low = first / THINNING - margin, high = last / THINNING + margin;\
            if (low >= 0 && high < few) {                                                                              \
                Found found;                                                                                           \
                                                                                                                       \
                around.low = select_##LEVEL##_##BITS(scratch, few, low, 0, highest, &equal);                           \
                around.high = select_##LEVEL##_##BITS(copy, few, high, 0, highest, &equal);                            \
                split_##LEVEL##_##BITS(sample, size, ~0ull, &around, NULL, NULL, positions, scratch, room, &found);    \
                below = size - found.kept;                                                                             \
                near = below <= first && last < below + found.inside ? found.inside : 0;                               \
            }                                                                                                          \
        }                                                                                                              \
        if (!near) {                                                                                                   \
            memcpy(scratch, sample, (size_t)size * sizeof *sample);                                                    \
            below = 0, near = size, around = (Bracket){0, highest, ~0ull};                                             \
        }                                                                                                              \
        memcpy(copy, scratch, (size_t)near * sizeof *copy);                                                            \
        bracket->low = select_##LEVEL##_##BITS(scratch, near, first - below, around.low, around.high, &equal);         \
        bracket->high = select_##LEVEL##_##BITS(copy, near, last - below, around.low, around.high, &equal);            \
    }

EACH(RANKS)

/* Keep all but the `to_prune` least of `unpruned` entries, among equals the first are pruned: as selection/entries.py
   does, with a sample, one pass, and the collected entries. It leaves off where many are equal or the sample misled.

   `positions`, `keys`, `scratch`: room for `room` numbers, at least twice the sample. */
#define LEAST(TARGET, LEVEL, BITS)                                                                                     \
    TARGET static void least_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t count, entry_##BITS magnitude,      \
                                              uint64_t largest_number, const uint8_t *mask,                            \
                                              int64_t unpruned, int64_t to_prune, uint64_t seed, int64_t stride,       \
                                              uint32_t *positions, entry_##BITS *keys, entry_##BITS *scratch,          \
                                              int64_t room, uint8_t *kept, Least *least)                               \
    {                                                                                                                  \
        entry_##BITS *sample = stride == 1 ? keys : scratch + room / 2;                                                \
        const int64_t size = sample_##LEVEL##_##BITS(entries, count, magnitude, mask, seed, stride, sample);           \
        const double part = (double)(to_prune - 1) / (double)unpruned;                                                 \
        const int64_t center = (int64_t)(part * (double)size);                                                         \
        int64_t first = to_prune - 1, last = first, equal, crowd = 0;                                                  \
        Bracket bracket = {0, magnitude, largest_number};                                                              \
        Found found;                                                                                                   \
        *least = (Least){0, 0, 0};                                                                                     \
        if (size == unpruned) {                                                                                        \
            bracket.low = bracket.high = select_##LEVEL##_##BITS(sample, size, first, 0, magnitude, &equal);           \
        } else {                                                                                                       \
            const int64_t margin = DEVIATIONS * root((int64_t)(part * (1 - part) * (double)size) + 1) + 1;             \
            first = center - margin, last = center + margin;                                                           \
            if (first < 0 || last >= size)                                                                             \
                return;                                                                                                \
            ranks_##LEVEL##_##BITS(sample, size, first, last, magnitude, scratch, keys, positions, room / 2, &bracket);\
            for (int64_t at = 0; at < size; at++)                                                                      \
                crowd += (sample[at] == bracket.low) + (sample[at] == bracket.high);                                   \
            if (crowd > 2 * margin)                                                                                    \
                return;                                                                                                \
        }                                                                                                              \
        split_##LEVEL##_##BITS(entries, count, magnitude, &bracket, mask, kept, positions, keys, room, &found);        \
        const int64_t rank = to_prune - (unpruned - found.kept) - 1;                                                   \
        least->has_nan = found.has_nan;                                                                                \
        if (found.has_nan || rank < 0 || rank >= found.inside || found.inside > room)                          \
            return;                                                                                                    \
        memcpy(scratch, keys, (size_t)found.inside * sizeof *keys);                                                    \
        least->is_settled = 1;                                                                                         \
        least->largest =                                                                                               \
            select_##LEVEL##_##BITS(scratch, found.inside, rank, bracket.low, bracket.high, &equal);                   \
        pruning_drop_##BITS(0, keys, positions, found.inside, least->largest, equal + 1, kept);                        \
    }

EACH(LEAST)

#define EXPORT_LEAST(BITS)                                                                                             \
    EXPORT void pruning_least_##BITS(int level, const entry_##BITS *entries, int64_t count, uint64_t magnitude,        \
                                     uint64_t largest_number, const uint8_t *mask, int64_t unpruned,                   \
                                     int64_t to_prune, uint64_t seed, int64_t stride, uint32_t *positions,             \
                                     entry_##BITS *keys, entry_##BITS *scratch, int64_t room, uint8_t *kept,           \
                                     Least *least)                                                                     \
    {                                                                                                                  \
        BY_LEVEL(level, least, BITS)(entries, count, (entry_##BITS)magnitude, largest_number, mask, unpruned,          \
                                     to_prune, seed, stride, positions, keys, scratch, room, kept, least);             \
    }

EACH_WIDTH(EXPORT_LEAST)

/* ---- Applying a mask -------------------------------------------------------------------------------------------- */

/* Write the entries that are kept, and all bits 0 (+0.0) for the others; `out` may be `entries`. `step` is 1, or 0 if
   `entries` are 64 for all blocks: a value that is written where the mask is 1. */
#define APPLY(TARGET, LEVEL, BITS)                                                                                     \
    TARGET static void apply_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t step, int64_t count,                \
                                              const uint8_t *mask, entry_##BITS *out)                                  \
    {                                                                                                                  \
        for (int64_t begin = 0; begin < count; begin += 64) {                                                          \
            const int64_t entries_left = count - begin < 64 ? count - begin : 64;                                      \
            const uint64_t word = load_word(mask + begin / 8, (entries_left + 7) / 8);                                 \
            const entry_##BITS *block = entries + begin * step;                                                        \
            if (entries == out && word == ~0ull)                                                                       \
                continue;                                                                                              \
            if (entries_left < 64) {                                                                                   \
                for (int64_t at = 0; at < entries_left; at++)                                                          \
                    out[begin + at] = (entry_##BITS)(block[at] & -(entry_##BITS)(word >> at & 1));                     \
                continue;                                                                                              \
            }                                                                                                          \
            apply_##LEVEL##_##BITS##_block(block, word, out + begin);                                                  \
        }                                                                                                              \
    }

#define APPLY_PLAIN_BLOCK(BITS)                                                                                        \
    INLINE void apply_plain_##BITS##_block(const entry_##BITS *entries, uint64_t word, entry_##BITS *out)              \
    {                                                                                                                  \
        for (int at = 0; at < 64; at++)                                                                                \
            out[at] = (entry_##BITS)(entries[at] & -(entry_##BITS)(word >> at & 1));                                   \
    }

EACH_WIDTH(APPLY_PLAIN_BLOCK)

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
#endif

EACH(APPLY)

#define EXPORT_APPLY(BITS)                                                                                             \
    EXPORT void pruning_apply_##BITS(int level, const entry_##BITS *entries, int64_t step, int64_t count,              \
                                     const uint8_t *mask, entry_##BITS *out)                                           \
    {                                                                                                                  \
        BY_LEVEL(level, apply, BITS)(entries, step, count, mask, out);                                                 \
    }

EACH_WIDTH(EXPORT_APPLY)

/* ---- Counting the entries that a mask keeps ---------------------------------------------------------------------- */

#define ONES(TARGET, LEVEL, BITS)                                                                                      \
    TARGET static int64_t ones_##LEVEL##_##BITS(const uint8_t *mask, int64_t bytes)                                    \
    {                                                                                                                  \
        int64_t count = 0;                                                                                             \
        for (int64_t at = 0; at < bytes; at += 8)                                                                      \
            count += __builtin_popcountll(load_word(mask + at, bytes - at));                                           \
        return count;                                                                                                  \
    }

EACH_LEVEL(ONES, 64)

EXPORT int64_t pruning_ones(int level, const uint8_t *mask, int64_t bytes)
{
    return BY_LEVEL(level, ones, 64)(mask, bytes);
}

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

typedef entry_16 entry_bf16;
#define SUMS(TARGET, LEVEL, DTYPE)                                                                                     \
    SUM(TARGET, entry_##DTYPE, sum_##LEVEL##_##DTYPE, value_of_##DTYPE, 0)                                             \
    SUM(TARGET, entry_##DTYPE, squares_##LEVEL##_##DTYPE, value_of_##DTYPE, 1)

EACH_LEVEL(SUMS, f32)
EACH_LEVEL(SUMS, f64)
EACH_LEVEL(SUMS, bf16)

#define EXPORT_SUMS(DTYPE)                                                                                             \
    EXPORT void pruning_sums_##DTYPE(int level, const entry_##DTYPE *entries, int64_t outer, int64_t channels,         \
                                     int64_t inner, int is_squared, double *sums)                                      \
    {                                                                                                                  \
        if (is_squared)                                                                                                \
            BY_LEVEL(level, squares, DTYPE)(entries, outer, channels, inner, sums);                                    \
        else                                                                                                           \
            BY_LEVEL(level, sum, DTYPE)(entries, outer, channels, inner, sums);                                        \
    }

EXPORT_SUMS(f32)
EXPORT_SUMS(f64)
EXPORT_SUMS(bf16)

#include "groups.h"
