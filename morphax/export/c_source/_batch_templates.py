"""Templates of the ops in the batch layout, which `_batch` fills in.

`L` is the number of lanes (words worked on together), a constant when the C is compiled. A word
`(plane * H + row) * W + column` of a signal is L lanes, so that its first lane is at that number
times L. `$n` is the number of an op.
"""

# Type of the entries of index tables: as small as they allow.
INDEX = "typedef $kind index_type;"

# A "complement": all words of all planes.
COMPLEMENT = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    size_t i;
    for (i = 0; i < $words * L; ++i)
        out[i] = ~x[i];
}
"""

# A "constant": one byte for each pixel becomes a word of 64 equal bits in each lane.
CONSTANT = """
static void op$n(uint64_t *out)
{
    size_t w, i;
    for (w = 0; w < $words; ++w)
        for (i = 0; i < L; ++i)
            *out++ = (uint64_t)0 - (uint64_t)op${n}_bits[w];
}
"""

# Helper of "select" and "rearrange" ops of many pieces.
MOVE = """
/* Word (or plane) moves[k][1] becomes word moves[k][0]; `unit` words each. */
static void move(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, const uint32_t (*moves)[2],
                 size_t count, size_t unit)
{
    size_t k;
    for (k = 0; k < count; ++k)
        memcpy(out + moves[k][0] * unit, x + moves[k][1] * unit, unit * sizeof *out);
}
"""

# Helpers any_N and all_N: the OR or AND of any number of operands. N pixels are kept in registers
# while the index list is read, four operands in each step.
JOIN = """
/* d = the words x + index[k] * unit joined by $sign, $chunk pixels of them; four k at a time. */
static void ${how}_$chunk(const uint64_t *RESTRICT x, uint64_t *RESTRICT d, const index_type *index,
                  size_t quads, size_t unit, uint64_t flip)
{
    uint64_t t[$chunk * L];
    size_t i;
    for (i = 0; i < $chunk * L; ++i)
        t[i] = $start;
    for (; quads > 0; --quads, index += 4) {
        const uint64_t *a = x + index[0] * unit, *b = x + index[1] * unit;
        const uint64_t *c = x + index[2] * unit, *e = x + index[3] * unit;
        for (i = 0; i < $chunk * L; ++i)
            t[i] $sign= a[i] $sign b[i] $sign c[i] $sign e[i];
    }
    for (i = 0; i < $chunk * L; ++i)
        d[i] = t[i] ^ flip;
}
"""

# A "combine" of few members: one line for each neuron, in one loop over all words of a plane.
COMBINE_LINES = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    size_t i;
$unused    for (i = 0; i < $words * L; ++i) {
$lines
    }
}
"""

# Helper of "spatial" ops: a copy of a plane with pixels around it, so that windows need no bounds
# checks.
FRAME = """
/* pad = x ^ flip with rows and columns around it, of `fill` or of the nearest pixel. */
static void frame(const uint64_t *RESTRICT x, uint64_t *RESTRICT pad, size_t height, size_t width,
                  size_t rows, size_t columns, int replicate, uint64_t fill, uint64_t flip)
{
    const size_t stride = (width + 2 * columns) * L, last = (width - 1) * L;
    size_t y, i;
    for (y = 0; y < height + 2 * rows; ++y, pad += stride) {
        const size_t above = y < rows ? 0 : y - rows;
        const uint64_t *row = x + (above < height ? above : height - 1) * width * L;
        if (!replicate && (y < rows || above >= height)) {
            for (i = 0; i < stride; ++i)
                pad[i] = fill;
            continue;
        }
        for (i = 0; i < width * L; ++i)
            pad[columns * L + i] = row[i] ^ flip;
        for (i = 0; i < columns * L; ++i) {
            pad[i] = replicate ? row[i % L] ^ flip : fill;
            pad[(columns + width) * L + i] = replicate ? row[last + i % L] ^ flip : fill;
        }
    }
}
"""

# A "spatial" op of few pixels: FRAMED where the framed plane changes, WINDOW for each neuron.
SPATIAL_LINES = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, uint64_t *RESTRICT pad)
{
    size_t y, i;
$lines
}
"""

FRAMED = """
    frame(x + $x * L, pad, $height, $width, $rows, $columns, $replicate, $fill, $flip);
"""

# One neuron: `p` is the row of the framed plane above the pixel, `$line` the OR of its pixels.
WINDOW = """
    for (y = 0; y < $height; ++y) {
        const uint64_t *p = pad + y * ($stride * L);
        uint64_t *d = out + ($o + y * $width) * L;
$unused        for (i = 0; i < $width * L; ++i)
$line
    }
"""

# A "spatial" op of many pixels: a loop over a table of windows, whose pixels are in an index list.
SPATIAL_TABLE = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, uint64_t *RESTRICT pad)
{
    const index_type *index = op${n}_index;
    size_t k, y, w;
    /* A window: plane read, erosion, plane written, complemented, quads. */
    for (k = 0; k < $count; ++k) {
        const uint32_t *window = ${windows}[k];
        const uint64_t flip = (uint64_t)0 - (uint64_t)window[1];
        if (k == 0 || window[0] != ${windows}[k - 1][0] || window[1] != ${windows}[k - 1][1])
            frame(x + window[0] * ($area * L), pad, $height, $width, $rows, $columns, $replicate,
                  $fill, flip);
        for (y = 0; y < $height; ++y)
            for (w = 0; w < $width * L; w += $chunk * L)
                any_$chunk(pad + y * ($stride * L) + w,
                      out + window[2] * ($area * L) + y * ($width * L) + w, index, window[4], L,
                      (uint64_t)0 - (uint64_t)window[3]);
        index += (size_t)4 * window[4];
    }
}
"""

# A "union_pool": for each output pixel the OR over its window.
POOL = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    size_t o, y, column, a, b, i;
    for (o = 0; o < $planes; ++o, x += $height * $width * L)
        for (y = 0; y < $out_height; ++y)
            for (column = 0; column < $out_width; ++column, out += L) {
                for (i = 0; i < L; ++i)
                    out[i] = 0;
                for (a = 0; a < $rows; ++a)
                    for (b = 0; b < $columns; ++b) {
                        const uint64_t *p =
                            x + ((y * $down + a) * $width + column * $across + b) * L;
                        for (i = 0; i < L; ++i)
                            out[i] |= p[i];
                    }
            }
}
"""

# A "group_sum": for each class the loops COUNT_EIGHT and COUNT_ONE over the words to count. Plane b
# of a class holds bit b of the counts.
COUNT = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    size_t k, j, i;
    memset(out, 0, $classes * $bits * L * sizeof *out);
    for (k = 0; k < $classes; ++k) {
        uint64_t *RESTRICT n = out + k * ($bits * L);
$lines
    }
}
"""

# Helper of counts of many words.
ADD_WORDS = """
/* The bits s0, s1, s2 of a count += word i of eight planes; see ADD_EIGHT. */
#define ADD_WORDS(y, carry) \\
    ADD_EIGHT(uint64_t, s0, s1, s2, (y)[i], (y)[L + i], (y)[2 * L + i], (y)[3 * L + i], \\
              (y)[4 * L + i], (y)[5 * L + i], (y)[6 * L + i], (y)[7 * L + i], carry)
"""

# Sixty-four words at once: eight carries of weight 8 are added in the same way, and only their one
# carry of weight 64 ripples through the bits above.
COUNT_SIXTY_FOUR = """
        for (j = 0; j < $sixty_fours; j += 64, x += 64 * L)
            for (i = 0; i < L; ++i) {
                uint64_t c, c0, c1, c2, c3, c4, c5, c6, c7, $names;
                $load
                ADD_WORDS(x, c0)
                ADD_WORDS(x + 8 * L, c1)
                ADD_WORDS(x + 16 * L, c2)
                ADD_WORDS(x + 24 * L, c3)
                ADD_WORDS(x + 32 * L, c4)
                ADD_WORDS(x + 40 * L, c5)
                ADD_WORDS(x + 48 * L, c6)
                ADD_WORDS(x + 56 * L, c7)
                ADD_EIGHT(uint64_t, s3, s4, s5, c0, c1, c2, c3, c4, c5, c6, c7, c)
                $ripple_sixty_fours
                $store
            }
"""

# Seven full adders make one carry of weight 8 from eight words and the three lowest bits.
COUNT_EIGHT = """
        for (j = $sixty_fours; j < $eights; j += 8, x += 8 * L)
            for (i = 0; i < L; ++i) {
                uint64_t c, $names;
                $load
                ADD_WORDS(x, c)
                $ripple_eights
                $store
            }
"""

# Adds the words that are left one by one.
COUNT_ONE = """
        for (j = $eights; j < $per; ++j, x += L)
            for (i = 0; i < L; ++i) {
                uint64_t c = x[i], $names;
                $load
                $ripple
                $store
            }
"""
