"""Templates of the C on bytes, which `_bytes` fills in.

An image is cut into eight *bands* of rows, one above the other. Bit g of a byte is a pixel of band
g, so that a byte holds eight pixels that are `band` rows apart, and a shift of the image is a shift
of an array. The bands are worked on in tiles: some rows and columns of all bands, with what windows
see around them. Loops over BLOCK bytes have a constant end: compilers make vector code of them.
"""

HEADER = """
/* Words of the workspace of `${name}_apply`. */
size_t ${name}_apply_words(size_t width, size_t height);

/* The network from bytes to bytes, the fastest way for images in memory: an image of height x width
   x ${NAME}_PLANES_IN bytes (0 is 0, anything else 1) becomes height x width x ${NAME}_PLANES_OUT
   bytes of 0 or 1. The three arrays must not overlap. */
void ${name}_apply(const uint8_t *image, size_t width, size_t height, uint8_t *result,
         uint64_t *workspace);
"""

# What `apply` is where the network is too large to be written as lines.
BY_WORDS = """
size_t ${name}_apply_words(size_t width, size_t height)
{
    return ($planes_in + $planes_out) * ${name}_plane_words(width, height) +
           ${name}_workspace_words(width, height);
}

void ${name}_apply(const uint8_t *image, size_t width, size_t height, uint8_t *result,
         uint64_t *workspace)
{
    uint64_t *const out = workspace + $planes_in * ${name}_plane_words(width, height);
    ${name}_pack(image, width, height, workspace);
    ${name}_run(workspace, out, width, height,
         out + $planes_out * ${name}_plane_words(width, height));
    ${name}_unpack(out, width, height, result);
}
"""

TILES = """
/* The network on bytes. Bit g of a byte is a pixel of band g of the image; see `${name}_apply`. */
#define BYTES 64 /* bytes of a row that are worked on together */
#define ROWS $rows /* of a tile, in each band */
#define COLUMNS $columns /* of a tile */
#define TOP $top /* rows above a tile that windows see */
#define LEFT $left /* columns left of a tile that windows see */
#define RIGHT $right /* columns right of it */
#define STRIDE $stride /* bytes of a row of a plane of a tile */
#define AREA $area /* bytes of a plane of a tile */

struct tile {
    size_t width, height, band; /* of the image; rows of a band */
    size_t top, left, rows, columns; /* place and size of the tile in each band */
    size_t above, before; /* TOP and LEFT: row 0 and column 0 of the tile */
    size_t span; /* columns with those that windows see */
};

/* Brings memory that is read or written soon into the cache. */
#if defined(__GNUC__)
#define FETCH(place, away, writes) \\
    __builtin_prefetch((const void *)((uintptr_t)(place) + (away)), writes)
#else
#define FETCH(place, away, writes) ((void)0)
#endif

/* The row of the image that row y of a tile is in band g, plus `above`. */
static size_t row_of(const struct tile *t, size_t g, size_t y) { return g * t->band + t->top + y; }
"""

# For networks that read their input.
PACK = """
/* BYTES bytes of a row of each band become bits. */
static void pack_block(const uint8_t *RESTRICT a, const uint8_t *RESTRICT b,
                       const uint8_t *RESTRICT c, const uint8_t *RESTRICT e,
                       const uint8_t *RESTRICT f, const uint8_t *RESTRICT g,
                       const uint8_t *RESTRICT h, const uint8_t *RESTRICT k, uint8_t *RESTRICT d)
{
    int i;
    for (i = 0; i < BYTES; ++i)
        d[i] = (uint8_t)((a[i$each] != 0) | (b[i$each] != 0) << 1 | (c[i$each] != 0) << 2 |
                         (e[i$each] != 0) << 3 | (f[i$each] != 0) << 4 | (g[i$each] != 0) << 5 |
                         (h[i$each] != 0) << 6 | (k[i$each] != 0) << 7);
}

/* The rows of a tile, from `top` above it to `bottom` below it; rows beyond the image are those of
   its edge. `image` is the first byte of a channel. */
static void pack_tile(const struct tile *t, const uint8_t *image, uint8_t *d, size_t top,
                      size_t bottom)
{
    const size_t first = t->left > t->before ? t->left - t->before : 0;
    const size_t end = t->left + t->columns + RIGHT;
    const size_t last = end < t->width ? end : t->width;
    size_t y, x, g;
    for (y = t->above - top; y < t->above + t->rows + bottom; ++y) {
        uint8_t *row = d + y * STRIDE + t->before + first - t->left;
        const uint8_t *b[8];
        for (g = 0; g < 8; ++g) {
            const size_t place = row_of(t, g, y);
            const size_t inside = place < t->above ? 0 : place - t->above;
            b[g] = image + (inside < t->height ? inside : t->height - 1) * t->width * $planes_in +
                   first * $planes_in;
        }
        for (x = first; x < last && t->width - x >= BYTES; x += BYTES, row += BYTES) {
            pack_block(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], row);
            for (g = 0; g < 8; ++g) {
                FETCH(b[g], t->width * $planes_in, 0);
                b[g] += BYTES * $planes_in;
            }
        }
        for (; x < last; ++x, ++row) {
            unsigned bits = 0;
            for (g = 0; g < 8; ++g, b[g - 1] += $planes_in)
                bits |= (unsigned)(*b[g] != 0) << g;
            *row = (uint8_t)bits;
        }
    }
}
"""

# For networks with windows.
FRAME = """
/* Fills the rows and columns beyond the image by 0 or 1, or by the nearest pixel (-1). */
static void frame_tile(const struct tile *t, uint8_t *d, size_t top, size_t bottom, int fill)
{
    const size_t begin = t->left < t->before ? t->before - t->left : 0;
    const size_t end = t->width - t->left + t->before;
    const size_t first = t->above - top, last = t->above + t->rows + bottom;
    size_t y, x, g;
    if (begin > 0 || end < t->span)
        for (y = first; y < last; ++y) {
            uint8_t *row = d + y * STRIDE;
            const uint8_t left = (uint8_t)(fill < 0 ? row[begin] : 255 * fill);
            const uint8_t right = (uint8_t)(fill < 0 ? row[end - 1] : 255 * fill);
            for (x = 0; x < begin; ++x)
                row[x] = left;
            for (x = end; x < t->span; ++x)
                row[x] = right;
        }
    for (g = 0; g < 8 && g * t->band < t->height; ++g)
        for (y = first; y < last; ++y) {
            const size_t place = row_of(t, g, y);
            const size_t inside = place < t->above ? t->above : t->height + t->above - 1;
            const unsigned bit = 1u << g;
            if (place >= t->above && place < t->height + t->above)
                continue;
            if (fill >= 0)
                for (x = 0; x < t->span; ++x)
                    d[y * STRIDE + x] =
                        (uint8_t)((d[y * STRIDE + x] & ~bit) | (fill ? bit : 0));
            else if (y + inside >= place + first && y + inside < place + last) {
                const uint8_t *nearest = d + (y + inside - place) * STRIDE;
                for (x = 0; x < t->span; ++x)
                    d[y * STRIDE + x] =
                        (uint8_t)((d[y * STRIDE + x] & ~bit) | (nearest[x] & bit));
            }
        }
}
"""

UNPACK = """
/* Bit `bit` of BYTES bytes, complemented by `flip`, becomes bytes of 0 or 1. */
static void unpack_block(const uint8_t *RESTRICT d, uint8_t *RESTRICT to, uint8_t bit, uint8_t flip)
{
    int i;
    for (i = 0; i < BYTES; ++i)
        to[i$each_out] = (uint8_t)(((d[i] ^ flip) & bit) != 0);
}

static void unpack_tile(const struct tile *t, const uint8_t *d, uint8_t *result, uint8_t flip)
{
    size_t y, x, g;
    for (y = 0; y < t->rows; ++y)
        for (g = 0; g < 8; ++g) {
            const uint8_t *row = d + y * STRIDE;
            const size_t place = row_of(t, g, y);
            uint8_t *to = result + (place * t->width + t->left) * $planes_out;
            if (place >= t->height)
                break;
            for (x = 0; t->columns - x >= BYTES; x += BYTES) {
                FETCH(to, (t->width + x) * $planes_out, 1);
                unpack_block(row + x, to + x * $planes_out, (uint8_t)(1u << g), flip);
            }
            for (; x < t->columns; ++x)
                to[x * $planes_out] = (uint8_t)((row[x] ^ flip) >> g & 1);
        }
}

/* The byte i of a plane, some rows and columns away. */
#define P(plane, row, column) p[(plane) * AREA + (row) * STRIDE + (column) + i]

/* A statement for blocks of all rows of a plane, from `top` above the tile to `bottom` below it: d
   is the block, p that of plane 0. */
#define EACH(plane, top, bottom, bytes, statement) \\
    for (y = TOP - (top); y < TOP + t->rows + (bottom); ++y) \\
        for (x = 0; x < t->span; x += (bytes)) { \\
            uint8_t *const p = planes + y * STRIDE + x, *const d = p + (plane) * AREA; \\
            statement; \\
        }
"""

# A join: `$lines` are statements of a loop over a block.
JOIN = """
static void plane$k(const uint8_t *RESTRICT p, uint8_t *RESTRICT d)
{
    int i;
$lines
}
"""

LOOP = """
    for (i = 0; i < $bytes; ++i)
$line
"""

# Votes are counted VOTES bytes at a time, by the adders and the width of `_votes`: the words of the
# same file bring them. T(k) is slot k of the scratch memory, slot 0 is zero.
VOTES = """
/* Votes: n[b * VOTES + i] is bit b of the counts of the pixels of byte i. */
#define T(k) t[(k) * VOTES + i]

/* n += eight planes of one weight; what has eight times that weight becomes the plane `carry`. */
static void add_eight(uint8_t *RESTRICT n, const uint8_t *RESTRICT a, const uint8_t *RESTRICT b,
                      const uint8_t *RESTRICT c, const uint8_t *RESTRICT d,
                      const uint8_t *RESTRICT e, const uint8_t *RESTRICT f,
                      const uint8_t *RESTRICT g, const uint8_t *RESTRICT h,
                      uint8_t *RESTRICT carry)
{
    int i;
    for (i = 0; i < VOTES; ++i) {
        uint8_t s = n[i], t = n[VOTES + i], u = n[2 * VOTES + i];
        ADD_EIGHT(uint8_t, s, t, u, a[i], b[i], c[i], d[i], e[i], f[i], g[i], h[i], carry[i])
        n[i] = s;
        n[VOTES + i] = t;
        n[2 * VOTES + i] = u;
    }
}
"""

MAPS = """
static void plane${k}_maps$part(const uint8_t *RESTRICT p, uint8_t *RESTRICT t)
{
    int i;
    for (i = 0; i < VOTES; ++i) {
$lines
    }
    (void)p;
}
"""

COUNTED = """
static void plane${k}_cuts(const uint8_t *RESTRICT n, uint8_t *RESTRICT d)
{
    int i;
    for (i = 0; i < VOTES; ++i) {
$cuts
    }
    (void)n;
}

static void plane$k(const uint8_t *p, uint8_t *d, uint8_t *t)
{
    uint8_t n[$bits * VOTES];
    memset(n, 0, sizeof n);
    memset(t, 0, VOTES);
$calls
    plane${k}_cuts(n, d);
}
"""

APPLY = """
static void apply_tile(const struct tile *t, const uint8_t *image, uint8_t *result,
                       uint8_t *planes, uint8_t *scratch)
{
    size_t y, x;
$calls
    (void)y;
    (void)x;
    (void)image;
    (void)scratch;
}

size_t ${name}_apply_words(size_t width, size_t height)
{
    (void)width;
    (void)height;
    return $words;
}

void ${name}_apply(const uint8_t *image, size_t width, size_t height, uint8_t *result,
         uint64_t *workspace)
{
    uint8_t *const planes = (uint8_t *)workspace + STRIDE;
    const size_t band = height / 8 + (height % 8 != 0);
    struct tile t;
    t.width = width;
    t.height = height;
    t.band = band;
    t.above = TOP;
    t.before = LEFT;
    if (width == 0 || height == 0)
        return;
    /* Tiles of nearly one size. */
    for (t.top = 0; t.top < band; t.top += t.rows) {
        const size_t tiles = (band - t.top + ROWS - 1) / ROWS;
        t.rows = (band - t.top + tiles - 1) / tiles;
        for (t.left = 0; t.left < width; t.left += t.columns) {
            const size_t parts = (width - t.left + COLUMNS - 1) / COLUMNS;
            t.columns = (width - t.left + parts - 1) / parts;
            t.span = LEFT + t.columns + RIGHT;
            apply_tile(&t, image, result, planes, planes + $planes * AREA + STRIDE);
        }
    }
}
"""
