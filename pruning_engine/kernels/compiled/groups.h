/* The least entries of each of many groups: part of kernels.c, which includes it.

   Groups of consecutive entries compete within themselves: short ones are ranked many at a time, rows of a matrix one
   by one with a selection of their own. */

/* ---- The least entries of short groups --------------------------------------------------------------------------- */

/* Keep all but the least entries of each group of `size` consecutive ones, among equals the first are pruned.

   64 groups are ranked at once, one lane each: an entry's rank is the number of unpruned entries of its group that are
   pruned before it. `counts[n]` says how many of a group's n unpruned entries to prune. Loops over lanes are plain C,
   which the compiler vectorizes. `largest`: the largest pruned key; `largest_number`: keys above it are NaN. */
enum { TILE = 64, LONGEST = 32 };

#define GROUP_ARGUMENTS entries, groups, magnitude, largest_number, counts, mask, kept, largest
#define GROUPS(TARGET, LEVEL, BITS)                                                                                    \
    TARGET INLINE int64_t groups_of_##LEVEL##_##BITS(const int64_t size, const entry_##BITS *entries, int64_t groups,  \
                                                     uint##BITS##_t magnitude, uint##BITS##_t largest_number,          \
                                                     const uint8_t *counts, const uint8_t *mask, uint8_t *kept,        \
                                                     uint64_t *largest)                                                \
    {                                                                                                                  \
        uint##BITS##_t keys[LONGEST][TILE], valid[LONGEST][TILE], ranks[LONGEST][TILE], count[TILE];                   \
        uint##BITS##_t tile[LONGEST * TILE];                                                                           \
        uint##BITS##_t most[TILE] = {0}, highest[TILE] = {0};                                                          \
        uint8_t flags[LONGEST * TILE];                                                                                 \
        for (int64_t first = 0; first < groups; first += TILE) {                                                       \
            const int64_t lanes = groups - first < TILE ? groups - first : TILE;                                       \
            const int64_t bits = lanes * size, bytes = (bits + 7) / 8;                                                 \
            if (lanes < TILE)                                                                                          \
                memset(tile, 0, sizeof tile);                                                                          \
            memcpy(tile, entries + first * size, (size_t)bits * sizeof(uint##BITS##_t));                               \
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
                        const uint##BITS##_t is_before = keys[earlier][lane] <= keys[later][lane];                     \
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
                    const uint##BITS##_t is_valid = valid[at][lane], key = is_valid ? keys[at][lane] : 0;              \
                    const uint##BITS##_t is_pruned = is_valid & (ranks[at][lane] < count[lane]);                       \
                    const uint##BITS##_t pruned_key = is_pruned ? key : 0;                                             \
                    most[lane] = pruned_key > most[lane] ? pruned_key : most[lane];                                    \
                    highest[lane] = key > highest[lane] ? key : highest[lane];                                         \
                    valid[at][lane] = is_valid & (is_pruned ^ 1);                                                      \
                }                                                                                                      \
            for (int64_t at = 0; at < size; at++)                                                                      \
                for (int lane = 0; lane < TILE; lane++)                                                                \
                    flags[lane * size + at] = (uint8_t)valid[at][lane];                                                \
            for (int64_t begin = 0; begin < bits; begin += 64)                                                         \
                store_word(kept + first * size / 8 + begin / 8, bytes - begin / 8, bits_of_bytes(flags + begin));      \
        }                                                                                                              \
        uint##BITS##_t all_most = 0, all_highest = 0;                                                                  \
        for (int lane = 0; lane < TILE; lane++) {                                                                      \
            all_most = most[lane] > all_most ? most[lane] : all_most;                                                  \
            all_highest = highest[lane] > all_highest ? highest[lane] : all_highest;                                   \
        }                                                                                                              \
        *largest = all_most;                                                                                           \
        return all_highest > largest_number;                                                                           \
    }                                                                                                                  \
    TARGET static int64_t groups_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t groups, int64_t size,           \
                                                  uint##BITS##_t magnitude, uint##BITS##_t largest_number,             \
                                                  const uint8_t *counts, const uint8_t *mask, uint8_t *kept,           \
                                                  uint64_t *largest)                                                   \
    {                                                                                                                  \
        return size == 4   ? groups_of_##LEVEL##_##BITS(4, GROUP_ARGUMENTS) /* a known size allows for shuffles */     \
               : size == 8 ? groups_of_##LEVEL##_##BITS(8, GROUP_ARGUMENTS)                                            \
                           : groups_of_##LEVEL##_##BITS(size, GROUP_ARGUMENTS);                                        \
    }

EACH(GROUPS)

/* ---- The least entries of groups of 4 ---------------------------------------------------------------------------- */

#ifdef X86
/* GROUPS for 32-bit keys in fours without a mask, such as 2:4, in registers. Each key is compared with the other three
   of its group, which lane rotations bring beside it: before it are smaller ones, and equal ones that come earlier. An
   entry is kept if at least `count` others are before it. */
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
    const __m256i fourth = _mm256_setr_epi32(0, 0, 0, -1, 0, 0, 0, -1);
    const __m256i half = _mm256_setr_epi32(0, 0, -1, -1, 0, 0, -1, -1);
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
#define FOURS_32(LEVEL, ENTRIES, GROUPS, SIZE, MAGNITUDE, NUMBER, COUNTS, MASK, KEPT, LARGEST)                         \
    if ((SIZE) == 4 && !(MASK) && fours_32(LEVEL))                                                                     \
        return (int)fours_32(LEVEL)(ENTRIES, GROUPS, (uint32_t)(MAGNITUDE), (uint32_t)(NUMBER), (COUNTS)[4], KEPT,     \
                                    LARGEST);
#else
#define FOURS_32(...)
#endif

#define EXPORT_GROUPS(BITS)                                                                                            \
    EXPORT int pruning_groups_##BITS(int level, const entry_##BITS *entries, int64_t groups, int64_t size,             \
                                     uint64_t magnitude, uint64_t largest_number, const uint8_t *counts,               \
                                     const uint8_t *mask, uint8_t *kept, uint64_t *largest)                            \
    {                                                                                                                  \
        FOURS_##BITS(level, entries, groups, size, magnitude, largest_number, counts, mask, kept, largest)             \
        return (int)BY_LEVEL(level, groups, BITS)(entries, groups, size, (uint##BITS##_t)magnitude,                    \
                                                  (uint##BITS##_t)largest_number, counts, mask, kept, largest);        \
    }

EACH_WIDTH(EXPORT_GROUPS)

/* ---- The least entries of long groups ---------------------------------------------------------------------------- */

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

   `scratch`: room for `size` keys. `largest` and `largest_number` as in GROUPS. */
#define ROWS(TARGET, LEVEL, BITS)                                                                                      \
    TARGET static int64_t rows_##LEVEL##_##BITS(const entry_##BITS *entries, int64_t rows, int64_t size,               \
                                                entry_##BITS magnitude, entry_##BITS largest_number,                   \
                                                const int64_t *counts, const uint8_t *mask, uint8_t *kept,             \
                                                entry_##BITS *scratch, uint64_t *largest)                              \
    {                                                                                                                  \
        const int64_t all_bytes = (rows * size + 7) / 8;                                                               \
        Writer writer = {kept, 0, 0};                                                                                  \
        entry_##BITS most = 0, highest = 0;                                                                            \
        for (int64_t row = 0; row < rows; row++) {                                                                     \
            const entry_##BITS *source = entries + row * size;                                                         \
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
            entry_##BITS cut = 0;                                                                                      \
            if (counts[row] > 0) {                                                                                     \
                cut = select_##LEVEL##_##BITS(scratch, candidates, counts[row] - 1, 0, magnitude, &equal_before);      \
                most = cut > most ? cut : most;                                                                        \
            }                                                                                                          \
            int64_t quota = equal_before + 1;                                                                          \
            const Bracket bracket = {cut, cut, largest_number};                                                        \
            for (int64_t begin = 0; begin < size; begin += 64) {                                                       \
                const int64_t left = size - begin;                                                                     \
                entry_##BITS last[64];                                                                                 \
                const entry_##BITS *block = source + begin;                                                            \
                if (left < 64) {                                                                                       \
                    memset(last, 0, sizeof last);                                                                      \
                    memcpy(last, block, (size_t)left * sizeof(entry_##BITS));                                          \
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

EACH(ROWS)

#define EXPORT_ROWS(BITS)                                                                                              \
    EXPORT int pruning_rows_##BITS(int level, const entry_##BITS *entries, int64_t rows, int64_t size,                 \
                                   uint64_t magnitude, uint64_t largest_number, const int64_t *counts,                 \
                                   const uint8_t *mask, uint8_t *kept, entry_##BITS *scratch, uint64_t *largest)       \
    {                                                                                                                  \
        return (int)BY_LEVEL(level, rows, BITS)(entries, rows, size, (uint##BITS##_t)magnitude,                        \
                                                (uint##BITS##_t)largest_number, counts, mask, kept, scratch,           \
                                                largest);                                                              \
    }

EACH_WIDTH(EXPORT_ROWS)
