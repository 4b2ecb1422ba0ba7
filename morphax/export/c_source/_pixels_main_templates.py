"""Template of the C program around a network in the pixel layout: PBM images in and out.

PBM (P4) rows are bytes with the leftmost pixel in the highest bit; `reversed` turns each byte, as
the leftmost pixel is the lowest bit in a word.
"""

# Reads one image for each input plane, runs the network, writes one image for each output plane.
MAIN = r"""
static int failed(const char *why)
{
    fprintf(stderr, "$name: %s\n", why);
    return 1;
}

/* A number of the header of a PBM file; blanks and comments are skipped. 0: there is none. */
static size_t number(void)
{
    size_t n = 0;
    int c = getchar();
    while (c == '#' || c == ' ' || (c >= '\t' && c <= '\r')) {
        if (c == '#')
            while (c != '\n' && c != EOF)
                c = getchar();
        c = getchar();
    }
    for (; c >= '0' && c <= '9' && n <= 1000000; c = getchar())
        n = 10 * n + (size_t)(c - '0');
    return c == ' ' || (c >= '\t' && c <= '\r') ? n : 0;
}

static uint64_t reversed(uint64_t b)
{
    b = (b & 0xF0) >> 4 | (b & 0x0F) << 4;
    b = (b & 0xCC) >> 2 | (b & 0x33) << 2;
    return (b & 0xAA) >> 1 | (b & 0x55) << 1;
}

/* One plane; its size must be that of the planes before it. 1: read, 0: the end, -1: no image. */
static int read_pbm(uint64_t **in, size_t plane, size_t *width, size_t *height)
{
    int c = getchar();
    size_t w, h, row, x, y;
    while (c == ' ' || (c >= '\t' && c <= '\r'))
        c = getchar();
    if (c == EOF)
        return 0;
    if (c != 'P' || getchar() != '4')
        return -1;
    w = number();
    h = number();
    if (w == 0 || h == 0 || w > 1000000 || h > 1000000 || (plane && (w != *width || h != *height)))
        return -1;
    row = ${name}_row_words(w);
    if (plane == 0) {
        if (row * h > SIZE_MAX / 64 / $most)
            return -1;
        *in = (uint64_t *)malloc($planes_in * row * h * sizeof **in);
        if (!*in)
            return -1;
    }
    *width = w;
    *height = h;
    for (y = 0; y < h; ++y) {
        uint64_t *words = *in + (plane * h + y) * row;
        memset(words, 0, row * sizeof *words);
        for (x = 0; x < (w + 7) / 8; ++x) {
            if ((c = getchar()) == EOF)
                return -1;
            words[x / 8] |= reversed((uint64_t)c) << (x % 8 * 8);
        }
    }
    return 1;
}

int main(void)
{
$binary
    for (;;) {
        uint64_t *in = NULL, *out, *workspace;
        size_t width = 0, height = 0, plane, row, x, y;
        for (plane = 0; plane < $planes_in; ++plane) {
            const int found = read_pbm(&in, plane, &width, &height);
            if (found == 0 && plane == 0)
                return fflush(stdout) || ferror(stdout) ? failed("cannot write") : 0;
            if (found != 1) {
                free(in);
                return failed("expected whole P4 images of one size, $planes_in for each result");
            }
        }
        row = ${name}_row_words(width);
        out = (uint64_t *)malloc($planes_out * row * height * sizeof *out);
        workspace = (uint64_t *)malloc(${name}_workspace_words(width, height) * sizeof *workspace);
        if (!out || !workspace) {
            free(in);
            free(out);
            free(workspace);
            return failed("not enough memory");
        }
        ${name}_run(in, out, width, height, workspace);
        for (plane = 0; plane < $planes_out; ++plane) {
            printf("P4\n%lu %lu\n", (unsigned long)width, (unsigned long)height);
            for (y = 0; y < height; ++y)
                for (x = 0; x < (width + 7) / 8; ++x) {
                    const uint64_t word = out[(plane * height + y) * row + x / 8];
                    putchar((int)reversed(word >> (x % 8 * 8) & 0xFF));
                }
        }
        free(in);
        free(out);
        free(workspace);
    }
}
"""
