/* Passes over a matrix as it is stored, each row or block widened in the cache; `compiled.py` calls them.

   What is not finite counts as zero. Some rows are added up in the precision of the sweep, the sums of those in double.
   The file includes itself once for each precision. */

#ifndef REAL

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define ANY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ANY_PROCESSOR
#endif
#define SIMD _Pragma("omp simd")
#define ROWS 256 /* that are added up in the precision of the sweep */

enum { BFLOAT16, FLOAT16, FLOAT32 };

typedef struct {
    const void *stored;
    int64_t kind, rows, columns;
} Matrix;

typedef struct {
    double fourths, low, high;
    int64_t left;
} Told;

#define least(x, y) ((x) < (y) ? (x) : (y))
#define most(x, y) ((x) > (y) ? (x) : (y))

static inline float number(uint32_t word) {
    float found;
    memcpy(&found, &word, sizeof found);
    return found;
}

static inline uint32_t cleaned(uint32_t word) { return (word & 0x7F800000u) == 0x7F800000u ? 0 : word; }

static inline uint32_t widened(uint32_t word) { /* 2^-112 times its number */
    return (word & 0x7C00u) == 0x7C00u ? 0 : (word & 0x8000u) << 16 | (word & 0x7FFFu) << 13;
}

#define REAL float
#define NAMED(name) name##32
#include "loops.c"
#undef REAL
#undef NAMED
#define REAL double
#define NAMED(name) name##64
#include "loops.c"
#undef REAL
#undef NAMED

/* Messages: products of a matrix and of its absolute values with states of `WIDTH` numbers, as blocks in the cache. */

#define WIDTH 32
#define HALF 16
#define AT_ONCE 8 /* units that are told together, in registers */
#define BLOCK 32  /* rows and columns of a block */

typedef float Half __attribute__((vector_size(4 * HALF), aligned(4)));

/* Add to `AT_ONCE` units, of which `told` are there, what `length` others say: `weight a + |weight| b`, where weights of
   one unit lie `apart` from those of the next, and those to one other `along`. */
static inline __attribute__((always_inline)) void tell(const float *plain, const float *size, int64_t apart,
                                                       int64_t along, int64_t length, const float *a, const float *b,
                                                       int64_t told, float *out) {
    Half sums[AT_ONCE][2] = {{{0}}};
    for (int64_t k = 0; k < length; k++) {
        Half a0 = *(const Half *)(a + k * WIDTH), a1 = *(const Half *)(a + k * WIDTH + HALF);
        Half b0 = *(const Half *)(b + k * WIDTH), b1 = *(const Half *)(b + k * WIDTH + HALF);
#pragma GCC unroll 8
        for (int u = 0; u < AT_ONCE; u++) {
            float weight = plain[u * apart + k * along], positive = size[u * apart + k * along];
            sums[u][0] += weight * a0;
            sums[u][1] += weight * a1;
            sums[u][0] += positive * b0;
            sums[u][1] += positive * b1;
        }
    }
    for (int64_t u = 0; u < told; u++) {
        *(Half *)(out + u * WIDTH) += sums[u][0];
        *(Half *)(out + u * WIDTH + HALF) += sums[u][1];
    }
}

/* Add to `out` what the rows of a matrix are told by states of its columns, or the columns by states of its rows. */
ANY_PROCESSOR void message(const Matrix *from, const float *a, const float *b, float *out, int64_t to_rows) {
    float plain[BLOCK * BLOCK], size[BLOCK * BLOCK];
    for (int64_t i = 0; i < from->rows; i += BLOCK) {
        int64_t rows = least(BLOCK, from->rows - i);
        for (int64_t j = 0; j < from->columns; j += BLOCK) {
            int64_t columns = least(BLOCK, from->columns - j);
            if (rows < BLOCK || columns < BLOCK) memset(plain, 0, sizeof plain);
            for (int64_t r = 0; r < rows; r++) widen32(from, i + r, j, columns, plain + r * BLOCK);
            SIMD for (int64_t k = 0; k < BLOCK * BLOCK; k++) size[k] = fabsf(plain[k]);
            int64_t told = to_rows ? rows : columns, length = to_rows ? columns : rows;
            int64_t apart = to_rows ? BLOCK : 1, along = to_rows ? 1 : BLOCK, first = to_rows ? i : j;
            int64_t heard = WIDTH * (to_rows ? j : i);
            for (int64_t u = 0; u < told; u += AT_ONCE)
                tell(plain + u * apart, size + u * apart, apart, along, length, a + heard, b + heard,
                     least(AT_ONCE, told - u), out + (first + u) * WIDTH);
        }
    }
}

#else

static inline __attribute__((always_inline)) void NAMED(widen)(const Matrix *from, int64_t i, int64_t start, int64_t numbers,
                                                               REAL *restrict row) {
    const uint16_t *narrow = (const uint16_t *)from->stored + i * from->columns + start;
    const uint32_t *wide = (const uint32_t *)from->stored + i * from->columns + start;
    if (from->kind == BFLOAT16) {
        SIMD for (int64_t j = 0; j < numbers; j++) row[j] = number(cleaned((uint32_t)narrow[j] << 16));
    } else if (from->kind == FLOAT16) {
        SIMD for (int64_t j = 0; j < numbers; j++) row[j] = number(widened(narrow[j])) * 0x1p112f;
    } else {
        SIMD for (int64_t j = 0; j < numbers; j++) row[j] = number(cleaned(wide[j]));
    }
}

/* Returns the bits by which numbers of one count differ. */
static inline __attribute__((always_inline)) uint32_t NAMED(count)(const Matrix *from, int64_t i, int64_t *counts) {
    const uint16_t *narrow = (const uint16_t *)from->stored + i * from->columns;
    const uint32_t *wide = (const uint32_t *)from->stored + i * from->columns;
    uint32_t left = 0;
    if (from->kind == FLOAT32) {
        for (int64_t j = 0; j < from->columns; j++) counts[wide[j] >> 16]++;
        _Pragma("omp simd reduction(| : left)") for (int64_t j = 0; j < from->columns; j++) left |= wide[j];
    } else {
        for (int64_t j = 0; j < from->columns; j++) counts[narrow[j]]++;
    }
    return left & 0xFFFFu;
}

static inline __attribute__((always_inline)) void NAMED(settle)(int64_t columns, REAL *room, double *added) {
    SIMD for (int64_t j = 0; j < columns; j++) added[j] += room[j];
    memset(room, 0, columns * sizeof(REAL));
}

/* Count numbers by their leading 16 bits. Write the sum and the sum of squares of each row to two `lines`. Add to three
   lines of `added` the rows times their sums, the rows times their norms, and the squares; to what is `told`, the sum of
   fourth powers, both ends, and the bits that were not counted. Rows go in pairs, an odd one with itself.
   `room` is for five rows. */
ANY_PROCESSOR void NAMED(survey)(const Matrix *from, int64_t *counts, REAL *lines, double *added, Told *told,
                                 REAL *room) {
    int64_t columns = from->columns, rows = from->rows;
    REAL *restrict first = room, *restrict second = room + columns, *restrict ones = room + 2 * columns;
    REAL *restrict norms = room + 3 * columns, *restrict energies = room + 4 * columns;
    REAL low = (REAL)told->low, high = (REAL)told->high;
    memset(ones, 0, 3 * columns * sizeof(REAL));
    for (int64_t i = 0; i < rows; i += 2) {
        int64_t pair = i + 1 < rows;
        REAL a = 0, b = 0, p = 0, q = 0, fourth = 0, known = (REAL)pair;
        told->left |= NAMED(count)(from, i, counts);
        if (pair) told->left |= NAMED(count)(from, i + 1, counts);
        NAMED(widen)(from, i, 0, columns, first);
        NAMED(widen)(from, i + pair, 0, columns, second);
        _Pragma("omp simd reduction(+ : a, b, p, q, fourth) reduction(min : low) reduction(max : high)")
        for (int64_t j = 0; j < columns; j++) {
            REAL x = first[j], y = known * second[j];
            a += x;
            b += y;
            p += x * x;
            q += y * y;
            fourth += x * x * x * x + y * y * y * y;
            low = least(low, least(x, second[j]));
            high = most(high, most(x, second[j]));
        }
        lines[i + pair] = b;
        lines[rows + i + pair] = q;
        lines[i] = a;
        lines[rows + i] = p;
        told->fourths += fourth;
        p = (REAL)sqrt((double)p);
        q = (REAL)sqrt((double)q);
        SIMD for (int64_t j = 0; j < columns; j++) {
            REAL x = first[j], y = known * second[j];
            ones[j] += a * x + b * y;
            norms[j] += p * x + q * y;
            energies[j] += x * x + y * y;
        }
        if (i % ROWS == ROWS - 2 || i + 2 >= rows) NAMED(settle)(3 * columns, ones, added);
    }
    told->low = low;
    told->high = high;
}

/* Add to three lines of `images` what three lines of `directions` are turned into by the matrix and its transpose.
   `room` is for four rows. */
ANY_PROCESSOR void NAMED(reflect)(const Matrix *from, const REAL *directions, double *images, REAL *room) {
    int64_t columns = from->columns;
    const REAL *u = directions, *v = directions + columns, *w = directions + 2 * columns;
    REAL *restrict row = room, *restrict x = room + columns, *restrict y = room + 2 * columns;
    REAL *restrict z = room + 3 * columns;
    memset(room, 0, 4 * columns * sizeof(REAL));
    for (int64_t i = 0; i < from->rows; i++) {
        REAL a = 0, b = 0, c = 0;
        NAMED(widen)(from, i, 0, columns, row);
        _Pragma("omp simd reduction(+ : a, b, c)") for (int64_t j = 0; j < columns; j++) {
            a += u[j] * row[j];
            b += v[j] * row[j];
            c += w[j] * row[j];
        }
        SIMD for (int64_t j = 0; j < columns; j++) {
            x[j] += a * row[j];
            y[j] += b * row[j];
            z[j] += c * row[j];
        }
        if (i % ROWS == ROWS - 1 || i + 1 >= from->rows) NAMED(settle)(3 * columns, x, images);
    }
}

#endif
