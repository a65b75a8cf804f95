/* Passes over the rows of a matrix as it is stored, each row widened in the cache; `compiled.py` calls them.

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

#else

static inline __attribute__((always_inline)) void NAMED(widen)(const Matrix *from, int64_t i, REAL *restrict row) {
    const uint16_t *narrow = (const uint16_t *)from->stored + i * from->columns;
    const uint32_t *wide = (const uint32_t *)from->stored + i * from->columns;
    if (from->kind == BFLOAT16) {
        SIMD for (int64_t j = 0; j < from->columns; j++) row[j] = number(cleaned((uint32_t)narrow[j] << 16));
    } else if (from->kind == FLOAT16) {
        SIMD for (int64_t j = 0; j < from->columns; j++) row[j] = number(widened(narrow[j])) * 0x1p112f;
    } else {
        SIMD for (int64_t j = 0; j < from->columns; j++) row[j] = number(cleaned(wide[j]));
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
        NAMED(widen)(from, i, first);
        NAMED(widen)(from, i + pair, second);
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
        NAMED(widen)(from, i, row);
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
