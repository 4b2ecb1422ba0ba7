"""Templates of the pixel layout, which `_pixels` fills in.

A plane is `height` rows of `words` words; bit x % 64 of word x / 64 of a row is its pixel x. Bits
beyond the width may hold anything until the end. `$name` and `$NAME` are the prefix that the user
chose, `$n` is the number of an op.
"""

from morphax.export.c_source._window_templates import PLANE_WORDS

# Declarations.
HEADER = """
#define ${NAME}_PLANES_IN $planes_in
#define ${NAME}_PLANES_OUT $planes_out

/* Words of one row, of one plane (of the input or output) and of the workspace. */
size_t ${name}_row_words(size_t width);
size_t ${name}_plane_words(size_t width, size_t height);
size_t ${name}_workspace_words(size_t width, size_t height);

/* An image of height x width x ${NAME}_PLANES_IN bytes (0 is 0, anything else 1) into words. */
void ${name}_pack(const uint8_t *image, size_t width, size_t height, uint64_t *in);

/* The network, on one image of any size. The three arrays must not overlap. Bits of `in` beyond the
   width do not matter; those of `out` are 0. */
void ${name}_run(const uint64_t *in, uint64_t *out, size_t width, size_t height,
         uint64_t *workspace);

/* The result, of height x width x ${NAME}_PLANES_OUT bytes of 0 or 1. */
void ${name}_unpack(const uint64_t *out, size_t width, size_t height, uint8_t *image);
"""

# Start of the source. The workspace holds the results of ops, one framed plane, and the four arrays
# of `dilate`, each with some words to spare, because shifted reads go one word too far.
PRELUDE = (
    """
#include "$name.h"

${stdio}#include <string.h>

$restrict

#define BLOCK 512 /* words of the rows that are worked on together: they stay in the first cache */
#define BAND $band /* rows that run through all ops together */
#define REACH $reach /* rows above and below that a row of the result depends on */

"""
    + PLANE_WORDS
    + """
size_t ${name}_workspace_words(size_t width, size_t height)
{
    const size_t framed = ${name}_row_words(width) + 2 * $margin;
    const size_t rows = height < BAND + 2 * REACH ? height : BAND + 2 * REACH;
    const size_t planes = $planes + (height > rows ? $planes_in + $planes_out : 0);
    return planes * ${name}_plane_words(width, rows) + (rows + 2 * $rows) * framed +
           4 * (BLOCK + framed) + 5 * (2 * $margin + 2);
}
"""
)

# The network: a call for each op, in order, on bands of rows, so that memory does not grow with the
# height. A band is read with REACH rows more on both sides: what lies beyond their edges changes
# these rows only, and they are left out of the result. Then the bits beyond the width are cleared.
RUN = """
static void run_rows(const uint64_t *in, uint64_t *out, size_t width, size_t height,
                     uint64_t *workspace)
{
    const size_t words = height * ${name}_row_words(width);
$calls
}

void ${name}_run(const uint64_t *in, uint64_t *out, size_t width, size_t height,
         uint64_t *workspace)
{
    const size_t row = ${name}_row_words(width), words = height * row;
    const uint64_t inside = ~(uint64_t)0 >> (63 - (width + 63) % 64);
    uint64_t *const band_in = workspace;
    uint64_t *const band_out = band_in + $planes_in * (BAND + 2 * REACH) * row;
    size_t y, p, i;
    if (words == 0)
        return;
    if (height <= BAND + 2 * REACH)
        run_rows(in, out, width, height, workspace);
    else
        for (y = 0; y < height; y += BAND) {
            const size_t above = y > REACH ? REACH : y;
            const size_t end = height - y > BAND + REACH ? y + BAND + REACH : height;
            const size_t kept = height - y > BAND ? BAND : height - y;
            const size_t part = (end - y + above) * row;
            for (p = 0; p < $planes_in; ++p)
                memcpy(band_in + p * part, in + p * words + (y - above) * row, part * sizeof *in);
            run_rows(band_in, band_out, width, end - y + above,
                     band_out + $planes_out * (BAND + 2 * REACH) * row);
            for (p = 0; p < $planes_out; ++p)
                memcpy(out + p * words + y * row, band_out + p * part + above * row,
                       kept * row * sizeof *out);
        }
    for (i = row - 1; i < $planes_out * words; i += row)
        out[i] &= inside;
}
"""

# A "complement": all words of all planes.
COMPLEMENT = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, size_t words)
{
    size_t i;
    for (i = 0; i < $planes * words; ++i)
        out[i] = ~x[i];
}
"""

# Helpers any_of and all_of: the OR or AND of any number of planes, one block of words each.
JOIN = """
/* d = the planes x + index[k] * unit joined by $sign, n words of them; four k at a time. */
static void ${what}_of(const uint64_t *RESTRICT x, uint64_t *RESTRICT d, const index_type *index,
                   size_t quads, size_t unit, size_t n, uint64_t flip)
{
    size_t i;
    for (i = 0; i < n; ++i)
        d[i] = $start;
    for (; quads > 0; --quads, index += 4) {
        const uint64_t *a = x + index[0] * unit, *b = x + index[1] * unit;
        const uint64_t *c = x + index[2] * unit, *e = x + index[3] * unit;
        for (i = 0; i < n; ++i)
            d[i] $sign= a[i] $sign b[i] $sign c[i] $sign e[i];
    }
    for (i = 0; i < n; ++i)
        d[i] ^= flip;
}
"""

# A "combine" op by tables. For each run of neurons of one kind and size: `index` walks over the
# planes they read, `plane` over the planes they write, in blocks of words that stay in the cache.
COMBINE_TABLE = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, size_t words)
{
    const index_type *index = op${n}_index, *plane = op${n}_plane;
    size_t r, k, w;
    /* A run: neurons, quads of each, 1 for intersections + 2 for complemented ones. */
    for (r = 0; r < $runs; ++r) {
        const uint32_t *run = op${n}_runs[r];
        const uint64_t flip = (uint64_t)0 - (uint64_t)(run[2] >> 1);
        for (k = 0; k < run[0]; ++k, ++plane, index += (size_t)4 * run[1]) {
            uint64_t *d = out + *plane * words;
            for (w = 0; w < words; w += BLOCK) {
                const size_t n = words - w < BLOCK ? words - w : BLOCK;
                if (run[2] & 1)
                    all_of(x + w, d + w, index, run[1], words, n, flip);
                else
                    any_of(x + w, d + w, index, run[1], words, n, flip);
            }
        }
    }
}
"""

# A "combine" of few members: one line for each neuron, in one loop over all words of a plane.
COMBINE_LINES = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, size_t words)
{
    size_t i;
$unused    for (i = 0; i < words; ++i) {
$lines
    }
}
"""

# A "spatial" op: a loop over a table of windows, which frames a plane where it changes.
SPATIAL = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, size_t width, size_t height,
         uint64_t *RESTRICT pad)
{
    const size_t words = (width + 63) / 64, area = words * height;
    uint64_t *scratch = pad + (height + 2 * $rows) * (words + 2 * $margin) + 2 * $margin + 2;
    const uint16_t *code = op${n}_code;
    size_t k;
    /* A window: plane read, erosion, plane written, complemented, groups, length of their code. */
    for (k = 0; k < $count; ++k) {
        const uint32_t *window = ${windows}[k];
        const uint64_t flip = (uint64_t)0 - (uint64_t)window[1];
        if (k == 0 || window[0] != ${windows}[k - 1][0] || window[1] != ${windows}[k - 1][1])
            frame(x + window[0] * area, pad, width, height, $rows, $margin, $nearest, $fill, flip);
        dilate(pad, out + window[2] * area, words, height, $margin, code, window[4],
               (uint64_t)0 - (uint64_t)window[3], scratch);
        code += window[5];
    }
}
"""

# Bytes to words and back, a plane at a time; bytes have the channels last. Eight pixels are one
# number, of which compilers make one load or store: a multiplication moves the bits of its bytes
# side by side, or copies eight bits into each of its bytes.
PACK = """
#define EACH_BYTE(b) ((uint64_t)(b) * (((uint64_t)0x01010101 << 32) | 0x01010101))

/* Eight pixels as eight bits. */
static uint64_t eight_bits(const uint8_t *b)
{
    const uint64_t v = (uint64_t)b[0] | (uint64_t)b[$planes_in] << 8 |
                       (uint64_t)b[2 * $planes_in] << 16 | (uint64_t)b[3 * $planes_in] << 24 |
                       (uint64_t)b[4 * $planes_in] << 32 | (uint64_t)b[5 * $planes_in] << 40 |
                       (uint64_t)b[6 * $planes_in] << 48 | (uint64_t)b[7 * $planes_in] << 56;
    const uint64_t set = ((v & EACH_BYTE(0x7F)) + EACH_BYTE(0x7F)) | v; /* bit 7 of each byte */
    return (set >> 7 & EACH_BYTE(1)) * (((uint64_t)0x01020408 << 32) | 0x10204080) >> 56;
}

/* Eight bits as eight pixels. */
static void eight_bytes(uint64_t bits, uint8_t *b)
{
    const uint64_t each = EACH_BYTE(bits) & (((uint64_t)0x80402010 << 32) | 0x08040201);
    const uint64_t v = (each + EACH_BYTE(0x7F)) >> 7 & EACH_BYTE(1);
    b[0] = (uint8_t)v;
    b[$planes_out] = (uint8_t)(v >> 8);
    b[2 * $planes_out] = (uint8_t)(v >> 16);
    b[3 * $planes_out] = (uint8_t)(v >> 24);
    b[4 * $planes_out] = (uint8_t)(v >> 32);
    b[5 * $planes_out] = (uint8_t)(v >> 40);
    b[6 * $planes_out] = (uint8_t)(v >> 48);
    b[7 * $planes_out] = (uint8_t)(v >> 56);
}

void ${name}_pack(const uint8_t *image, size_t width, size_t height, uint64_t *in)
{
    size_t o, y, x, i;
    for (o = 0; o < $planes_in; ++o)
        for (y = 0; y < height; ++y) {
            const uint8_t *b = image + y * width * $planes_in + o;
            for (x = 0; x < width; x += 64) {
                const size_t n = width - x < 64 ? width - x : 64;
                uint64_t word = 0;
                for (i = 0; i + 8 <= n; i += 8, b += 8 * $planes_in)
                    word |= eight_bits(b) << i;
                for (; i < n; ++i, b += $planes_in)
                    word |= (uint64_t)(*b != 0) << i;
                *in++ = word;
            }
        }
}

void ${name}_unpack(const uint64_t *out, size_t width, size_t height, uint8_t *image)
{
    const size_t row = ${name}_row_words(width);
    size_t o, y, x;
    for (o = 0; o < $planes_out; ++o)
        for (y = 0; y < height; ++y, out += row) {
            uint8_t *b = image + y * width * $planes_out + o;
            for (x = 0; x + 8 <= width; x += 8, b += 8 * $planes_out)
                eight_bytes(out[x / 64] >> (x % 64) & 0xFF, b);
            for (; x < width; ++x, b += $planes_out)
                *b = (uint8_t)(out[x / 64] >> (x % 64) & 1);
        }
}
"""
