"""Templates of planes and of windows on rows of words, for images and for the slices of volumes.

A plane is `height` rows of `words` words, as in `_pixels_templates`; around it, a frame holds what
windows see beyond it.
"""

# Sizes of a row and of a plane in words.
PLANE_WORDS = """\
size_t ${name}_row_words(size_t width) { return width / 64 + (width % 64 != 0); }

size_t ${name}_plane_words(size_t width, size_t height)
{
    return height * ${name}_row_words(width);
}
"""

# Helpers of "spatial" ops. `frame` copies a plane with pixels around it. `dilate` runs the code of
# a window on blocks of rows: for each group of columns it joins the rows into `t`, doubles the
# width of a run in `u` and `v` until all its columns are joined, and adds it to the result `d`.
# `$source` and `$row` say where the rows are: in one plane, or in the slices of a volume.
# `join` and `add` shift by r pixels: the upper bits of a word, and the lower bits of the next one.
WINDOWS = """
/* The plane x ^ flip with `rows` rows around it and `margin` words left and right, filled with
   `fill` or with the nearest pixel. */
static void frame(const uint64_t *RESTRICT x, uint64_t *RESTRICT pad, size_t width, size_t height,
                  size_t rows, size_t margin, int replicate, uint64_t fill, uint64_t flip)
{
    const size_t words = (width + 63) / 64, stride = words + 2 * margin;
    const uint64_t inside = ~(uint64_t)0 >> (63 - (width + 63) % 64);
    size_t y, i;
    for (y = 0; y < height + 2 * rows; ++y, pad += stride) {
        const size_t above = y < rows ? 0 : y - rows;
        const uint64_t *row = x + (above < height ? above : height - 1) * words;
        uint64_t left = fill, right = fill;
        if (!replicate && (y < rows || above >= height)) {
            for (i = 0; i < stride; ++i)
                pad[i] = fill;
            continue;
        }
        if (replicate) {
            left = (uint64_t)0 - ((row[0] ^ flip) & 1);
            right = (uint64_t)0 - ((row[words - 1] ^ flip) >> ((width - 1) % 64) & 1);
        }
        for (i = 0; i < words; ++i)
            pad[margin + i] = row[i] ^ flip;
        pad[margin + words - 1] = (pad[margin + words - 1] & inside) | (right & ~inside);
        for (i = 0; i < margin; ++i) {
            pad[i] = left;
            pad[margin + words + i] = right;
        }
    }
    for (i = 0; i < 2 * margin + 2; ++i)
        pad[i] = 0; /* read, never used */
}

/* d = e | the words s moved by r < 64 pixels; d is no part of the two others. */
static void join(uint64_t *RESTRICT d, const uint64_t *e, const uint64_t *s, size_t n, unsigned r)
{
    size_t i;
    if (r == 0)
        for (i = 0; i < n; ++i)
            d[i] = e[i] | s[i];
    else
        for (i = 0; i < n; ++i)
            d[i] = e[i] | s[i] >> r | s[i + 1] << (64 - r);
}

/* d |= the words s moved by r < 64 pixels. */
static void add(uint64_t *RESTRICT d, const uint64_t *RESTRICT s, size_t n, unsigned r)
{
    size_t i;
    if (r == 0)
        for (i = 0; i < n; ++i)
            d[i] |= s[i];
    else
        for (i = 0; i < n; ++i)
            d[i] |= s[i] >> r | s[i + 1] << (64 - r);
}

/* t = e | a | b, where e may be t. */
static void merge(uint64_t *RESTRICT t, const uint64_t *e, const uint64_t *RESTRICT a,
                  const uint64_t *RESTRICT b, size_t n)
{
    size_t i;
    if (e == t)
        for (i = 0; i < n; ++i)
            t[i] |= a[i] | b[i];
    else
        for (i = 0; i < n; ++i)
            t[i] = e[i] | a[i] | b[i];
}

/* A dilation. `code`: for each group of columns that hold the same rows, 1 if its rows contain
   those of the group before, the number of its further rows and these rows, the number of runs and
   (first column, columns) of each; rows and columns from the corner of the framed plane. */
#define ROW(k) ($row)
static void dilate($source, uint64_t *out, size_t words, size_t height, size_t margin,
                   const uint16_t *code, size_t groups, uint64_t flip, uint64_t *scratch)
{
    const size_t stride = words + 2 * margin, slack = 2 * margin + 2;
    const size_t rows = stride < BLOCK ? BLOCK / stride : 1;
    size_t y, i, j, g;
    for (y = 0; y < height; y += rows) {
        const size_t count = height - y < rows ? height - y : rows, n = count * stride;
        uint64_t *d = scratch, *t = d + n, *u = t + n + slack, *v = u + n + slack;
        const uint64_t *column = t;
        const uint16_t *c = code;
        memset(d, 0, n * sizeof *d);
        for (g = 0; g < groups; ++g) {
            const uint16_t *row = c + 2, *const end = row + c[1];
            if (!c[0]) {
                column = ROW(row[0]);
                ++row;
            }
            for (; row < end; row += 2) { /* two at a time; the last one may come twice */
                merge(t, column, ROW(row[0]), ROW(row[row + 1 < end]), n + slack);
                column = t;
            }
            c = end;
            for (j = *c++; j > 0; --j, c += 2) {
                const uint64_t *run = column;
                size_t covered = 1;
                while (covered < c[1]) { /* twice as many columns, until all are there */
                    const size_t step = covered < c[1] - covered ? covered : c[1] - covered;
                    uint64_t *next = run == u ? v : u;
                    join(next, run, run + step / 64, n + slack - step / 64 - 1, step % 64);
                    for (i = n + slack - step / 64 - 1; i < n + slack; ++i)
                        next[i] = run[i];
                    run = next;
                    covered += step;
                }
                add(d, run + c[0] / 64, n, c[0] % 64);
            }
        }
        for (i = 0; i < count; ++i, out += words)
            for (j = 0; j < words; ++j)
                out[j] = d[i * stride + j] ^ flip;
    }
}
"""
