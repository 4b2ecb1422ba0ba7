"""Template of the C program around a network in the pixel layout: PBM images in and out.

It reads PBM as Netpbm does, raw (P4) or plain (P1), any number of images one after the other, with
comments anywhere in a header, and writes raw PBM. Rows of P4 are bytes with the leftmost pixel in
the highest bit; `reversed` turns each byte, as the leftmost pixel is the lowest bit in a word.
"""

# Functions that fail return the reason, a text, or NULL. `read_size` refuses what does
# not fit in an int, as Netpbm does, `read_pbm` what has more words than `size_t` counts.
READ = r"""
static const char ENDS[] = "the input ends within a $kind image";
static const char TOO_LARGE[] = "the image is too large";

/* A character of the input. A comment, from # to the end of the line, is read as that end. */
static int character(void)
{
    int c = getchar();
    if (c == '#')
        do
            c = getchar();
        while (c != '\n' && c != '\r' && c != EOF);
    return c;
}

static int after_blanks(void)
{
    int c;
    do
        c = character();
    while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
    return c;
}

/* A width or height, or a value of a plain image, and the one character that ends it. */
static const char *read_size(size_t *size, int value)
{
    size_t n = 0;
    int c = after_blanks();
    if (c == EOF)
        return ENDS;
    if (c < '0' || c > '9')
        return value ? "a $kind image holds something else than numbers"
                     : "the header of a $kind image holds something else than its $header";
    for (; c >= '0' && c <= '9'; c = character()) {
        if (n > (2147483647 - 9) / 10)
            return TOO_LARGE;
        n = 10 * n + (size_t)(c - '0');
    }
    *size = n;
    if (c == EOF && !value)
        return ENDS;
    return n == 0 && !value ? "the width or height of an image is 0" : NULL;
}

/* The order of the bits of a byte, reversed. */
static uint64_t reversed(uint64_t b)
{
    b = (b & 0xF0) >> 4 | (b & 0x0F) << 4;
    b = (b & 0xCC) >> 2 | (b & 0x33) << 2;
    return (b & 0xAA) >> 1 | (b & 0x55) << 1;
}

/* Whether there is another image. */
static int more(void)
{
    int c;
    do
        c = getchar();
    while (c == ' ' || (c >= '\t' && c <= '\r'));
    return c != EOF && ungetc(c, stdin) != EOF;
}
"""

# Reads one image for each input plane.
READ_PBM = r"""
/* The pixels of a row. */
static const char *read_row(uint64_t *words, size_t width, int plain)
{
    size_t x;
    int c;
    for (x = 0; x < width; x += plain ? 1 : 8) {
        c = plain ? after_blanks() : getchar();
        if (c == EOF)
            return ENDS;
        if (plain && c != '0' && c != '1')
            return "a plain PBM image (P1) holds something else than 0 and 1";
        if (x % 64 == 0)
            words[x / 64] = 0;
        words[x / 64] |= (plain ? (uint64_t)(c == '1') : reversed((uint64_t)c)) << (x % 64);
    }
    return NULL;
}

/* One plane; its size must be that of the planes before it. If `in` is NULL, it is allocated. */
static const char *read_pbm(uint64_t **in, size_t plane, size_t *width, size_t *height)
{
    const size_t most = ((size_t)-1 / 64 - 65536) / $most;
    size_t w, h, row, y;
    const char *error;
    const int p = getchar(), kind = getchar();
    if (p != 'P' || (kind != '1' && kind != '4'))
        return "expected a PBM image, which begins with P4 or P1";
    if ((error = read_size(&w, 0)) != NULL || (error = read_size(&h, 0)) != NULL)
        return error;
    if (*in && (w != *width || h != *height))
        return "$same differ in size";
    row = ${name}_row_words(w);
    if (row + 2 * $margin > most / (h + 2 * $rows))
        return TOO_LARGE;
    if (!*in)
        *in = (uint64_t *)malloc($planes_in * row * h * sizeof **in);
    if (!*in)
        return "out of memory";
    *width = w;
    *height = h;
    for (y = 0; y < h; ++y)
        if ((error = read_row(*in + (plane * h + y) * row, w, kind == '1')) != NULL)
            return error;
    return NULL;
}

static const char *read_input(uint64_t **in, size_t *width, size_t *height)
{
    const char *error = NULL;
    size_t plane;
    for (plane = 0; plane < $planes_in && !error; ++plane)
        error = more() ? read_pbm(in, plane, width, height)
                       : "expected $planes_in PBM images for each $group";
    return error;
}
"""

# Writes one image for each output plane.
WRITE_PBM = r"""
static void write_pbm(const uint64_t *plane, size_t width, size_t height)
{
    const size_t row = ${name}_row_words(width);
    size_t x, y;
    printf("P4\n%lu %lu\n", (unsigned long)width, (unsigned long)height);
    for (y = 0; y < height; ++y, plane += row)
        for (x = 0; x < width; x += 8)
            putchar((int)reversed(plane[x / 64] >> (x % 64) & 0xFF));
}
"""

# Runs the network on what `read_input` reads.
FILTER = r"""
/* Results of all images of the input, until one cannot be read. */
static const char *filter(void)
{
    while (more()) {
        uint64_t *in = NULL, *out = NULL, *workspace = NULL;
        size_t width = 0, height = 0, plane, words;
        const char *error = read_input(&in, &width, &height);
        words = ${name}_plane_words(width, height);
        if (!error) {
            out = (uint64_t *)malloc($planes_out * words * sizeof *out);
            workspace =
                (uint64_t *)malloc(${name}_workspace_words(width, height) * sizeof *workspace);
            if (!out || !workspace)
                error = "out of memory";
        }
        if (!error) {
            ${name}_run(in, out, width, height, workspace);
            for (plane = 0; plane < $planes_out; ++plane)
                write_pbm(out + plane * words, width, height);
        }
        free(in);
        free(out);
        free(workspace);
        if (error)
            return error;
    }
    return NULL;
}
"""

MAIN = r"""
int main(void)
{
    const char *error;
$binary
    error = filter();
    if (ferror(stdin))
        error = "the input cannot be read";
    if (fflush(stdout) != 0 || ferror(stdout))
        error = "the results cannot be written";
    if (error)
        fprintf(stderr, "$name: %s\n", error);
    return error ? 1 : 0;
}
"""
