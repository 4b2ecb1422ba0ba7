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
# while the index list is read, four operands in each step. Named results of a fixed number, not a
# loop over all words of a plane, for compilers keep only those in registers.
JOIN = """
/* to = the words from index[k] * L on joined by $sign, $chunk pixels of them; four k at a time. */
static void ${how}_$chunk(const uint64_t *RESTRICT words, uint64_t *RESTRICT to,
                  const index_type *index, size_t quads, int complement)
{
    const vector *x = (const vector *)words;
    vector *d = (vector *)to, t[$chunk * V];
    size_t i;
    if (quads == 0) {
        memset(to, complement ? $complemented : $start, $chunk * L * sizeof *to);
        return;
    }
    for (i = 0; i < $chunk * V; ++i)
        t[i] = x[index[0] * V + i];
    for (; quads > 0; --quads, index += 4) {
        const vector *a = x + index[0] * V, *b = x + index[1] * V;
        const vector *c = x + index[2] * V, *e = x + index[3] * V;
        for (i = 0; i < $chunk * V; ++i)
            t[i] $sign= a[i] $sign b[i] $sign c[i] $sign e[i];
    }
    if (complement)
        for (i = 0; i < $chunk * V; ++i)
            d[i] = ~t[i];
    else
        for (i = 0; i < $chunk * V; ++i)
            d[i] = t[i];
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

# A "combine" op by tables. For each run of neurons of one kind and size: `index` walks over the
# words that they read, `plane` over the planes that they write. All neurons read the same few
# pixels before the next few are worked on: these stay in the first cache.
COMBINE_TABLE = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    size_t r, k, w;
    for (w = 0; w < $words * L; w += $chunk * L) {
        const index_type *index = op${n}_index, *plane = op${n}_plane;
        /* A run: neurons, quads of each, 1 for intersections + 2 for complemented ones. */
        for (r = 0; r < $runs; ++r) {
            const uint32_t *run = op${n}_runs[r];
            const int complement = (int)(run[2] >> 1);
            for (k = 0; k < run[0]; ++k, ++plane, index += (size_t)4 * run[1]) {
                uint64_t *d = out + *plane * ($words * L) + w;
                if (run[2] & 1)
                    all_$chunk(x + w, d, index, run[1], complement);
                else
                    any_$chunk(x + w, d, index, run[1], complement);
            }
        }
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
                      out + window[2] * ($area * L) + y * ($width * L) + w, index, window[4],
                      (int)window[3]);
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

# A "group_sum": for each class and each bit of the votes, `sizes` is the number of words that have
# it. Plane b of a class holds bit b of the counts.
COUNT = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out)
{
    const index_type *index = op${n}_index;
    size_t k, b;
    memset(out, 0, $classes * $bits * L * sizeof *out);
    for (k = 0; k < $classes; ++k)
        for (b = 0; b < $weights; ++b) {
            const size_t count = op${n}_sizes[k][b];
            vector *n = (vector *)out + (k * $bits + b) * V;
            add_words((const vector *)x, n, index, count, $bits - b);
            index += count;
        }
}
"""

# Helper of counts, a carry-save adder: about five operations for each word. Sixty-four words are
# added at once: eight carries of weight 8 are added like the words, and only their one carry of
# weight 64 ripples through the bits above. Then eight at once, then one.
ADD_WORDS = """
/* The bits s0, s1, s2 of a count += the words of eight indices; see ADD_EIGHT. */
#define ADD_WORDS(j, carry) \\
    ADD_EIGHT(vector, s0, s1, s2, x[(j)[0] * V + i], x[(j)[1] * V + i], x[(j)[2] * V + i], \\
              x[(j)[3] * V + i], x[(j)[4] * V + i], x[(j)[5] * V + i], x[(j)[6] * V + i], \\
              x[(j)[7] * V + i], carry)

/* The counts n, of `bits` bits, += *carry, which has the weight of bit `first`. */
static void ripple(vector *n, const vector *carry, size_t first, size_t bits)
{
    vector c = *carry;
    for (; first < bits; ++first) {
        const vector e = n[first * V] & c;
        n[first * V] ^= c;
        c = e;
    }
}

/* The counts n, of `bits` bits, += the words x + index[0] * V, ..., `count` of them. */
static void add_words(const vector *x, vector *n, const index_type *index, size_t count,
                      size_t bits)
{
    const size_t many = count / 64 * 64, some = count / 8 * 8;
    size_t i, j;
    for (i = 0; i < V; ++i, ++n) {
        vector c, c0, c1, c2, c3, c4, c5, c6, c7, s0 = n[0], s1 = n[0], s2 = n[0];
        if (some > 0) { /* then there are four bits or more */
            s1 = n[V];
            s2 = n[2 * V];
        }
        if (many > 0) { /* then there are seven bits or more */
            vector s3 = n[3 * V], s4 = n[4 * V], s5 = n[5 * V];
            for (j = 0; j < many; j += 64) {
                ADD_WORDS(index + j, c0)
                ADD_WORDS(index + j + 8, c1)
                ADD_WORDS(index + j + 16, c2)
                ADD_WORDS(index + j + 24, c3)
                ADD_WORDS(index + j + 32, c4)
                ADD_WORDS(index + j + 40, c5)
                ADD_WORDS(index + j + 48, c6)
                ADD_WORDS(index + j + 56, c7)
                ADD_EIGHT(vector, s3, s4, s5, c0, c1, c2, c3, c4, c5, c6, c7, c)
                ripple(n, &c, 6, bits);
            }
            n[3 * V] = s3;
            n[4 * V] = s4;
            n[5 * V] = s5;
        }
        for (j = many; j < some; j += 8) {
            ADD_WORDS(index + j, c)
            ripple(n, &c, 3, bits);
        }
        if (some > 0) {
            n[0] = s0;
            n[V] = s1;
            n[2 * V] = s2;
        }
        for (j = some; j < count; ++j)
            ripple(n, x + index[j] * V + i, 0, bits);
    }
}
"""
