"""Templates of the planes that are made of gray images, and of a program that reads PGM images.

They compute what `morphax.data.gray_planes` computes: level sets at quantiles, of the distance from
a local mean, and of a local contrast, in whole numbers. Sums over windows are updated from row to
row, so the memory grows with the width of an image, not with its height. Beyond the frame lies the
nearest pixel.
"""

HEADER = """
#define ${NAME}_CHANNELS $channels

/* Words of the workspace of `${name}_pack_gray`. */
size_t ${name}_gray_words(size_t width, size_t height);

/* A gray image of height x width x ${NAME}_CHANNELS values into words, for `${name}_run`. */
void ${name}_pack_gray(const uint16_t *image, size_t width, size_t height, uint64_t *in,
         uint64_t *workspace);
"""

LEVELS = """
#define LEVELS 65536 /* values of a gray image */

/* A row of a plane: bit x is whether value x reaches the cut. */
static void set_row(uint64_t *words, const int64_t *values, const int64_t *least, size_t width)
{
    size_t x, i;
    for (x = 0; x < width; x += 64) {
        const size_t n = width - x < 64 ? width - x : 64;
        uint64_t word = 0;
        for (i = 0; i < n; ++i)
            word |= (uint64_t)(values[x + i] >= least[x + i]) << i;
        *words++ = word;
    }
}
"""

QUANTILES = """
/* Planes of the values that reach a quantile of the image: a value of it, the higher one of two. */
static void pack_quantiles(const uint16_t *image, size_t width, size_t height, uint64_t *in,
                           int64_t *counts, int64_t *values)
{
    static const double shares[] = {$shares};
    const size_t row = ${name}_row_words(width), size = width * height;
    size_t k, y, x, i;
    memset(counts, 0, LEVELS * sizeof *counts);
    for (i = 0; i < size; ++i)
        ++counts[image[i * $channels]];
    for (k = 0; k < $many; ++k) {
        const double place = (double)(size - 1) * shares[k];
        size_t rank = (size_t)place, below = 0, cut = 0;
        if ((double)rank < place)
            ++rank;
        while (below + (size_t)counts[cut] <= rank)
            below += (size_t)counts[cut++];
        for (x = 0; x < width; ++x)
            values[width + x] = (int64_t)cut;
        for (y = 0; y < height; ++y, in += row) {
            for (x = 0; x < width; ++x)
                values[x] = image[(y * width + x) * $channels];
            set_row(in, values, values + width, width);
        }
    }
}
"""

# Sums over square windows: sums over the rows of each column, and then over columns.
BOX = """
/* Row y of an image, or the nearest one. */
static size_t nearest(size_t y, size_t away, size_t half, size_t height)
{
    const size_t below = y + away;
    return below < half ? 0 : below - half < height ? below - half : height - 1;
}

/* Adds a row of gray values to the sums of columns, or takes it away. */
static void add_gray(int64_t *columns, const uint16_t *image, size_t width, int64_t sign)
{
    size_t x;
    for (x = 0; x < width; ++x)
        columns[x] += sign * (int64_t)image[x * $channels];
}

/* Sums of 2 half + 1 columns around each one. */
static void add_columns(const int64_t *columns, int64_t *sums, size_t width, size_t half)
{
    int64_t sum = 0;
    size_t x;
    for (x = 0; x <= 2 * half; ++x)
        sum += columns[nearest(0, x, half, width)];
    for (x = 0; x < width; ++x) {
        sums[x] = sum;
        sum += columns[nearest(x, 2 * half + 1, half, width)] - columns[nearest(x, 0, half, width)];
    }
}

/* How far a row is from the means of its windows, n times; `columns` become those of the next. */
static void away_from_mean(const uint16_t *image, size_t width, size_t height, size_t y,
                           size_t half, int64_t *columns, int64_t *away)
{
    const int64_t n = (int64_t)((2 * half + 1) * (2 * half + 1));
    const size_t step = width * $channels;
    size_t x, k;
    if (y == 0) {
        memset(columns, 0, width * sizeof *columns);
        for (k = 0; k <= 2 * half; ++k)
            add_gray(columns, image + nearest(0, k, half, height) * step, width, 1);
    }
    add_columns(columns, away, width, half);
    for (x = 0; x < width; ++x)
        away[x] = n * (int64_t)image[y * step + x * $channels] - away[x];
    add_gray(columns, image + nearest(y, 2 * half + 1, half, height) * step, width, 1);
    add_gray(columns, image + nearest(y, 0, half, height) * step, width, -1);
}
"""

OFFSETS = """
/* Planes of the values that are at least an offset above the mean of their window. */
static void pack_offsets(const uint16_t *image, size_t width, size_t height, uint64_t *in,
                         int64_t *columns)
{
    static const int64_t offsets[] = {$offsets};
    int64_t *away = columns + width, *least = away + width;
    const size_t row = ${name}_row_words(width);
    size_t k, y, x;
    for (y = 0; y < height; ++y) {
        away_from_mean(image, width, height, y, $half, columns, away);
        for (k = 0; k < $many; ++k) {
            for (x = 0; x < width; ++x)
                least[x] = offsets[k] * $area;
            set_row(in + (k * height + y) * row, away, least, width);
        }
    }
}
"""

CONTRASTS = """
/* Adds the sizes of a row to the sums of columns, or takes them away. */
static void add_sizes(int64_t *columns, const int64_t *away, size_t width, int64_t sign)
{
    size_t x;
    for (x = 0; x < width; ++x)
        columns[x] += sign * (away[x] < 0 ? -away[x] : away[x]);
}

/* Planes of the contrasts that reach a cut: $unit times the distance from the mean, over the mean
   distance in the window. The rows of distances that a window sees are kept in `ring`. */
static void pack_contrasts(const uint16_t *image, size_t width, size_t height, uint64_t *in,
                           int64_t *columns)
{
    static const int64_t cuts[] = {$contrasts};
    int64_t *sizes = columns + width, *spread = sizes + width, *least = spread + width;
    int64_t *ring = least + width;
    const size_t row = ${name}_row_words(width), kept = 2 * $half + 2;
    size_t k, y, x, made = 0;
    memset(sizes, 0, width * sizeof *sizes);
    for (y = 0; y < height; ++y) {
        int64_t *away = ring + y % kept * width;
        for (; made < height && made <= y + $half + 1; ++made)
            away_from_mean(image, width, height, made, $half, columns, ring + made % kept * width);
        if (y == 0)
            for (k = 0; k <= 2 * $half; ++k)
                add_sizes(sizes, ring + nearest(0, k, $half, height) % kept * width, width, 1);
        add_columns(sizes, spread, width, $half);
        for (x = 0; x < width; ++x) {
            spread[x] = spread[x] / $area + $floor;
            ring[kept * width + x] = $unit * away[x];
        }
        for (k = 0; k < $many; ++k) {
            for (x = 0; x < width; ++x)
                least[x] = cuts[k] * spread[x];
            set_row(in + (k * height + y) * row, ring + kept * width, least, width);
        }
        add_sizes(sizes, ring + nearest(y, 2 * $half + 1, $half, height) % kept * width, width, 1);
        add_sizes(sizes, ring + nearest(y, 0, $half, height) % kept * width, width, -1);
    }
}
"""

PACK = """
size_t ${name}_gray_words(size_t width, size_t height)
{
    (void)height;
    return LEVELS + $rows * width;
}

void ${name}_pack_gray(const uint16_t *image, size_t width, size_t height, uint64_t *in,
         uint64_t *workspace)
{
    const size_t plane = ${name}_plane_words(width, height);
    int64_t *const work = (int64_t *)workspace;
    size_t channel;
    if (width == 0 || height == 0)
        return;
    for (channel = 0; channel < $channels; ++channel, ++image) {
$calls
    }
}
"""

# Reads PGM images as Netpbm does, raw (P5, one or two bytes a value) or plain (P2).
READ = r"""
/* Values of a row. */
static const char *read_row(uint16_t *values, size_t width, size_t largest, int plain)
{
    const char *error;
    size_t x, value;
    for (x = 0; x < width; ++x) {
        if (plain) {
            if ((error = read_size(&value, 1)) != NULL)
                return error;
        } else {
            int c = getchar(), low = largest > 255 ? getchar() : 0;
            if (c == EOF || low == EOF)
                return ENDS;
            value = largest > 255 ? (size_t)c * 256 + (size_t)low : (size_t)c;
        }
        if (value > largest)
            return "a PGM image holds a value above its largest one";
        values[x * $channels] = (uint16_t)value;
    }
    return NULL;
}

/* One channel; its size must be that of the channels before it. The first one allocates. */
static const char *read_pgm(uint16_t **image, size_t channel, size_t *width, size_t *height)
{
    const size_t most = ((size_t)-1 / 64 - 65536) / ($most + 64);
    size_t w, h, y, largest;
    const char *error;
    const int p = getchar(), kind = getchar();
    if (p != 'P' || (kind != '2' && kind != '5'))
        return "expected a PGM image, which begins with P5 or P2";
    if ((error = read_size(&w, 0)) != NULL || (error = read_size(&h, 0)) != NULL ||
        (error = read_size(&largest, 1)) != NULL)
        return error;
    if (largest == 0 || largest > 65535)
        return "the largest value of a PGM image is not from 1 to 65535";
    if (channel > 0 && (w != *width || h != *height))
        return "the $channels images of one result differ in size";
    if (w + 128 * $margin + 64 > most / (h + 2 * $rows))
        return TOO_LARGE;
    if (channel == 0)
        *image = (uint16_t *)calloc($channels * w * h, sizeof **image);
    if (!*image)
        return "out of memory";
    *width = w;
    *height = h;
    for (y = 0; y < h; ++y) {
        uint16_t *row = *image + y * w * $channels + channel;
        if ((error = read_row(row, w, largest, kind == '2')) != NULL)
            return error;
    }
    return NULL;
}

static const char *read_input(uint64_t **in, size_t *width, size_t *height)
{
    uint16_t *image = NULL;
    uint64_t *workspace = NULL;
    const char *error = NULL;
    size_t channel;
    for (channel = 0; channel < $channels && !error; ++channel)
        error = more() ? read_pgm(&image, channel, width, height)
                       : "expected $channels PGM images for each result";
    if (!error) {
        *in = (uint64_t *)malloc($planes_in * ${name}_plane_words(*width, *height) * sizeof **in);
        workspace = (uint64_t *)malloc(${name}_gray_words(*width, *height) * sizeof *workspace);
        if (!*in || !workspace)
            error = "out of memory";
    }
    if (!error)
        ${name}_pack_gray(image, *width, *height, *in, workspace);
    free(image);
    free(workspace);
    return error;
}
"""
