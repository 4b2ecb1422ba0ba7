"""Templates around the ops in the batch layout: header, packing, results, and `main`.

`$name` and `$NAME` are the prefix that the user chose; `L` is the number of lanes (words worked on
together), a constant when the C is compiled.
"""

# Declarations of all networks.
HEADER = """
#ifndef ${NAME}_LANES
#define ${NAME}_LANES $lanes \
/* words worked on together: the same number for all that includes this */
#endif
#define ${NAME}_IMAGES (64 * ${NAME}_LANES) /* images in one run */
#define ${NAME}_INPUT_BYTES $words_in /* of one image: a byte a pixel, channels last */
#define ${NAME}_INPUT_WORDS ((size_t)$words_in * ${NAME}_LANES)
#define ${NAME}_OUTPUT_WORDS ((size_t)$words_out * ${NAME}_LANES)
#define ${NAME}_WORKSPACE_WORDS \
    ((size_t)($words_in + $words_out + $scratch) * ${NAME}_LANES + 14)

/* ${NAME}_WORKSPACE_WORDS, for callers that cannot read this file. */
size_t ${name}_workspace_words(void);

/* Images of ${NAME}_INPUT_BYTES bytes each (0 is 0, anything else 1) into words; `count` of them,
   ${NAME}_IMAGES at most, the rest is filled with zeros. */
void ${name}_pack(const uint8_t *images, size_t count, uint64_t *in);

/* The network, on ${NAME}_IMAGES images. The three arrays must not overlap. */
void ${name}_run(const uint64_t *in, uint64_t *out, uint64_t *workspace);
"""

# Declarations of networks whose result is bits.
HEADER_BYTES = """
#define ${NAME}_OUTPUT_BYTES $words_out

/* The first `count` results, of ${NAME}_OUTPUT_BYTES bytes of 0 or 1 each, channels last. */
void ${name}_unpack(const uint64_t *out, size_t count, uint8_t *results);

/* All of the above, for any number of images. */
void ${name}_apply(const uint8_t *images, size_t count, uint8_t *results, uint64_t *workspace);
"""

# Declarations of networks whose result is counts.
HEADER_LABELS = """
#define ${NAME}_CLASSES $classes
#define ${NAME}_COUNT_BITS $bits

/* The first `count` rows of counts: counts[image * ${NAME}_CLASSES + class]. */
void ${name}_counts(const uint64_t *out, size_t count, int32_t *counts);

/* The first `count` labels: the class of the largest count, the lowest of them in case of a tie. */
void ${name}_labels(const uint64_t *out, size_t count, int32_t *labels);

/* Images in, labels out, for any number of images. */
void ${name}_classify(const uint8_t *images, size_t count, int32_t *labels, uint64_t *workspace);
"""

# Start of the source.
PRELUDE = """
#include "$name.h"

${stdio}#include <string.h>

$restrict

#define L ((size_t)${NAME}_LANES)

/* The lanes of a pixel are V words: one vector, where the compiler has vectors, or L integers. */
#if defined(__GNUC__) && ${NAME}_LANES <= 8 && (${NAME}_LANES & (${NAME}_LANES - 1)) == 0
typedef uint64_t vector __attribute__((vector_size(8 * ${NAME}_LANES), aligned(8), may_alias));
#define V ((size_t)1)
#else
typedef uint64_t vector;
#define V L
#endif

/* The next multiple of 64 bytes, from which vectors are read faster; 7 words on, at most. */
static uint64_t *aligned(uint64_t *words)
{
    return words + (64 - (uintptr_t)words % 64) % 64 / sizeof *words;
}

size_t ${name}_workspace_words(void) { return ${NAME}_WORKSPACE_WORDS; }
"""

# The network: a call for each op, in order.
RUN = """
void ${name}_run(const uint64_t *in, uint64_t *out, uint64_t *workspace)
{
    workspace = aligned(workspace);
$calls
}
"""

# Bytes to words, 64 pixels of 64 images at a time: a 64 x 64 transposition of bits in two steps.
# Eight images give one byte for each pixel (`part`), and eight such bytes give its word.
PACK = """
void ${name}_pack(const uint8_t *images, size_t count, uint64_t *in)
{
    uint8_t part[8][64]; /* part[g][j]: pixel start + j of images 8 g (lowest bit) to 8 g + 7 */
    uint64_t word[64];
    size_t lane, start, g, k, j;
    for (lane = 0; lane < L; ++lane)
        for (start = 0; start < $words_in; start += 64) {
            const size_t n = $words_in - start < 64 ? $words_in - start : 64;
            memset(part, 0, sizeof part);
            for (g = 0; g < 8; ++g)
                for (k = 8; k-- > 0;) {
                    const size_t image = lane * 64 + g * 8 + k;
                    if (image < count) {
                        const uint8_t *b = images + image * $words_in + start;
                        for (j = 0; j < n; ++j)
                            part[g][j] = (uint8_t)(part[g][j] + part[g][j] + (b[j] != 0));
                    }
                }
            for (j = 0; j < 64; ++j)
                word[j] = (uint64_t)part[0][j] | (uint64_t)part[1][j] << 8 |
                          (uint64_t)part[2][j] << 16 | (uint64_t)part[3][j] << 24 |
                          (uint64_t)part[4][j] << 32 | (uint64_t)part[5][j] << 40 |
                          (uint64_t)part[6][j] << 48 | (uint64_t)part[7][j] << 56;
            for (j = start; j < start + n; ++j)
                in[$place_in * L + lane] = word[j - start];
        }
}
"""

# Words to bytes, channels last: 64 pixels of 64 images at a time, as in `pack`.
UNPACK = """
void ${name}_unpack(const uint64_t *out, size_t count, uint8_t *results)
{
    uint8_t part[8][64]; /* part[g][j]: pixel start + j of images 8 g (lowest bit) to 8 g + 7 */
    size_t lane, start, image, g, j;
    for (lane = 0; lane < L && lane * 64 < count; ++lane)
        for (start = 0; start < $words_out; start += 64) {
            const size_t n = $words_out - start < 64 ? $words_out - start : 64;
            const size_t last = count - lane * 64 < 64 ? count - lane * 64 : 64;
            memset(part, 0, sizeof part);
            for (j = start; j < start + n; ++j) {
                const uint64_t word = out[$place_out * L + lane];
                for (g = 0; g < 8; ++g)
                    part[g][j - start] = (uint8_t)(word >> (8 * g) & 255);
            }
            for (image = 0; image < last; ++image) {
                const uint8_t *p = part[image / 8], bit = (uint8_t)(1u << image % 8);
                uint8_t *to = results + (lane * 64 + image) * $words_out + start;
                if (n == 64)
                    for (j = 0; j < 64; ++j)
                        to[j] = (uint8_t)((p[j] & bit) != 0);
                else
                    for (j = 0; j < n; ++j)
                        to[j] = (uint8_t)((p[j] & bit) != 0);
            }
        }
}
"""

# Bit-sliced counts to integers.
COUNTS = """
void ${name}_counts(const uint64_t *out, size_t count, int32_t *counts)
{
    size_t image, k, b;
    for (image = 0; image < count; ++image)
        for (k = 0; k < $classes; ++k) {
            int32_t n = 0;
            for (b = $bits; b-- > 0;)
                n = 2 * n + (int32_t)(out[(k * $bits + b) * L + image / 64] >> (image % 64) & 1);
            *counts++ = n;
        }
}
"""

# Class of the largest count, for all images of a lane at once: `more` has the bit of each image set
# whose count of class k is larger than `best`, compared from the lowest bit to the highest.
LABELS = """
void ${name}_labels(const uint64_t *out, size_t count, int32_t *labels)
{
    uint64_t best[$bits][L], label[$label_bits][L], more[L];
    size_t k, b, i, image;
    memcpy(best, out, sizeof best);
    memset(label, 0, sizeof label);
    for (k = 1; k < $classes; ++k) {
        const uint64_t *n = out + k * ($bits * L);
        for (i = 0; i < L; ++i)
            more[i] = 0;
        for (b = 0; b < $bits; ++b) /* whether the count is larger than the best so far */
            for (i = 0; i < L; ++i)
                more[i] = (n[b * L + i] & ~best[b][i]) | (more[i] & ~(n[b * L + i] ^ best[b][i]));
        for (b = 0; b < $bits; ++b)
            for (i = 0; i < L; ++i)
                best[b][i] ^= (best[b][i] ^ n[b * L + i]) & more[i];
        for (b = 0; b < $label_bits; ++b)
            for (i = 0; i < L; ++i)
                label[b][i] ^= (label[b][i] ^ ((uint64_t)0 - (uint64_t)(k >> b & 1))) & more[i];
    }
    for (image = 0; image < count; ++image) {
        int32_t which = 0;
        for (b = $label_bits; b-- > 0;)
            which = 2 * which + (int32_t)(label[b][image / 64] >> (image % 64) & 1);
        labels[image] = which;
    }
}
"""

# All of the above for any number of images, in portions of 64 L.
APPLY = """
void ${name}_$verb(const uint8_t *images, size_t count, $kind *$results, uint64_t *workspace)
{
    uint64_t *in = aligned(workspace), *out = in + ${NAME}_INPUT_WORDS;
    uint64_t *rest = out + ${NAME}_OUTPUT_WORDS;
    while (count > 0) {
        const size_t n = count < 64 * L ? count : 64 * L;
        ${name}_pack(images, n, in);
        ${name}_run(in, out, rest);
        ${name}_$then(out, n, $results);
        images += n * $words_in;
        $results += n$each;
        count -= n;
    }
}
"""

# A program that reads images from stdin and writes results to stdout. `calloc` also fails for sizes
# that no `size_t` holds.
MAIN = """
int main(void)
{
    uint8_t *images = (uint8_t *)calloc(${NAME}_IMAGES, ${NAME}_INPUT_BYTES);
    $kind *$results = ($kind *)calloc(${NAME}_IMAGES, sizeof *$results$each);
    uint64_t *workspace = (uint64_t *)calloc(${NAME}_WORKSPACE_WORDS, sizeof *workspace);
    const char *error = images && $results && workspace ? NULL : "out of memory";
    size_t bytes, count = ${NAME}_IMAGES;
$binary
    while (!error && count == ${NAME}_IMAGES) {
        bytes = fread(images, 1, (size_t)${NAME}_IMAGES * ${NAME}_INPUT_BYTES, stdin);
        count = bytes / ${NAME}_INPUT_BYTES;
        ${name}_$verb(images, count, $results, workspace);
$write
        if (ferror(stdin))
            error = "the images cannot be read";
        else if (bytes % ${NAME}_INPUT_BYTES != 0)
            error = "the last image is not complete";
        if (fflush(stdout) != 0 || ferror(stdout))
            error = "the results cannot be written";
    }
    free(images);
    free($results);
    free(workspace);
    if (error)
        fprintf(stderr, "$name: %s\\n", error);
    return error ? 1 : 0;
}
"""

# Output of `main`: a label on each line, or the bytes of the results.
WRITE_LABELS = """
        {
            size_t i;
            for (i = 0; i < count; ++i)
                printf("%ld\\n", (long)labels[i]);
        }
"""

WRITE_BYTES = "        fwrite(results, $words_out, count, stdout);"
