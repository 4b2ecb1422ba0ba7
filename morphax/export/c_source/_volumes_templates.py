"""Templates of the C of volumes, which `_volumes` fills in; the others are those of images.

A step of the stream takes one slice. `number` is that of the step, and what runs b slices behind
works on slice number - b. A plane with a frame has FRAMED words; a ring is those of the slices that
a window sees, in which slice z has the place z modulo their number.
"""

from morphax.export.c_source._window_templates import PLANE_WORDS

# Declarations.
HEADER = """
#define ${NAME}_PLANES_IN $planes_in
#define ${NAME}_PLANES_OUT $planes_out
#define ${NAME}_DELAY $delay /* slices that the result is behind the input in a stream of slices */

/* Words of one row, of one plane of a slice (of the input or output), and of the workspace of
   `${name}_step`. They do not depend on the number of slices. */
size_t ${name}_row_words(size_t width);
size_t ${name}_plane_words(size_t width, size_t height);
size_t ${name}_workspace_words(size_t width, size_t height);

/* A slice of height x width x ${NAME}_PLANES_IN bytes (0 is 0, anything else 1) into words. */
void ${name}_pack(const uint8_t *image, size_t width, size_t height, uint64_t *in);

/* The network on a stream of slices. Step `number` (0, 1, and so on) reads slice `number` from
   `in`. If the result has a slice number - ${NAME}_DELAY, it is written to `out`, and 1 is
   returned; otherwise 0 is returned. `depth` is the number of slices of the volume. Steps depth to
   depth + ${NAME}_DELAY - 1 do not read `in`. Before, `depth` may be any number larger than
   `number`, such as (size_t)-1, if it is not known yet. The arrays must not overlap, and the
   workspace stays as it is from step to step. Bits of `in` beyond the width do not matter; those
   of `out` are 0. */
int ${name}_step(const uint64_t *in, uint64_t *out, size_t number, size_t width, size_t height,
         size_t depth, uint64_t *workspace);

/* A slice of the result, of height x width x ${NAME}_PLANES_OUT bytes of 0 or 1. */
void ${name}_unpack(const uint64_t *out, size_t width, size_t height, uint8_t *image);

/* Words of the workspace of `${name}_apply`. */
size_t ${name}_apply_words(size_t width, size_t height);

/* The network from bytes to bytes, for volumes in memory: a volume of depth x height x width x
   ${NAME}_PLANES_IN bytes (0 is 0, anything else 1) becomes depth x height x width x
   ${NAME}_PLANES_OUT bytes of 0 or 1. The three arrays must not overlap. */
void ${name}_apply(const uint8_t *volume, size_t width, size_t height, size_t depth,
         uint8_t *result, uint64_t *workspace);
"""

# Start of the source. The workspace holds slices of results, two planes for what lies beyond the
# volume, the rings of windows, and the four arrays of `dilate`.
PRELUDE = (
    """
#include "$name.h"

${stdio}#include <string.h>

$restrict

#define BLOCK 512 /* words of the rows that are worked on together: they stay in the first cache */

"""
    + PLANE_WORDS
    + """
/* Words of a plane with the largest frame that a window needs. */
static size_t framed_words(size_t width, size_t height)
{
    return (height + 2 * $rows) * (${name}_row_words(width) + 2 * $margin) + 2 * $margin + 2;
}

size_t ${name}_workspace_words(size_t width, size_t height)
{
    return $planes * ${name}_plane_words(width, height) +
           (2 + $slots) * framed_words(width, height) +
           4 * (BLOCK + ${name}_row_words(width) + 2 * $margin) + 3 * (2 * $margin + 2);
}

/* A step, and where the planes with frames are. */
struct step {
    size_t number, width, height, depth;
    size_t words, framed; /* of a plane, and of one with its frame */
    const uint64_t *beyond; /* a plane of zeros, and one of ones */
    uint64_t *rings, *scratch;
};

/* Whether there is a slice so many slices behind. */
static int has(const struct step *s, size_t behind)
{
    return s->number >= behind && s->number - behind < s->depth;
}
"""
)

# For networks with windows.
SLICE_OF = """
/* Slice j of those that a window sees at slice z, the first of which lies `before` z. */
static const uint64_t *slice_of(const struct step *s, const uint64_t *ring, size_t z, size_t j,
                                size_t before, size_t side, int nearest, uint32_t ones)
{
    size_t place = z + j;
    if (place < before || place - before >= s->depth) {
        if (!nearest)
            return s->beyond + ones * s->framed;
        place = place < before ? before : before + s->depth - 1;
    }
    return ring + (place - before) % side * s->framed;
}
"""

# A "spatial" op: a slice comes into the rings, one for each plane and for complements. Then the
# windows run on the slice in the middle, if it is there.
SPATIAL = """
static void op$n(const uint64_t *RESTRICT x, uint64_t *RESTRICT out, const struct step *s)
{
    uint64_t *const rings = s->rings + $place * s->framed;
    const size_t newest = (s->number - $taken) % $side;
    const uint16_t *code = op${n}_code;
    const uint64_t *slices[$side];
    size_t k, j;
    /* A ring: plane read, complemented (for erosions), what lies beyond. */
    for (k = 0; has(s, $taken) && k < $rings; ++k) {
        const uint32_t *ring = op${n}_rings[k];
        frame(x + ring[0] * s->words, rings + (k * $side + newest) * s->framed, s->width, s->height,
              $rows, $margin, $nearest, (uint64_t)0 - (uint64_t)ring[2],
              (uint64_t)0 - (uint64_t)ring[1]);
    }
    /* A window: ring, plane written, complemented, groups, length of their code. */
    for (k = 0; has(s, $behind) && k < $count; ++k) {
        const uint32_t *window = op${n}_windows[k];
        for (j = 0; j < $side; ++j)
            slices[j] = slice_of(s, rings + window[0] * $side * s->framed, s->number - $behind, j,
                                 $before, $side, $nearest, op${n}_rings[window[0]][2]);
        dilate(slices, 2 * $rows + 1, out + window[1] * s->words, (s->width + 63) / 64, s->height,
               $margin, code, window[3], (uint64_t)0 - (uint64_t)window[2], s->scratch);
        code += window[4];
    }
}
"""

# The network: a call for each op, in order. Then the bits beyond the width are cleared.
STEP = """
int ${name}_step(const uint64_t *in, uint64_t *out, size_t number, size_t width, size_t height,
         size_t depth, uint64_t *workspace)
{
    const size_t row = ${name}_row_words(width), words = height * row;
    const size_t framed = framed_words(width, height);
    const uint64_t inside = ~(uint64_t)0 >> (63 - (width + 63) % 64);
    uint64_t *const beyond = workspace + $planes * words;
    struct step s;
    size_t i;
    s.number = number;
    s.width = width;
    s.height = height;
    s.depth = depth;
    s.words = words;
    s.framed = framed;
    s.beyond = beyond;
    s.rings = beyond + 2 * framed;
    s.scratch = s.rings + $slots * framed;
    if (words == 0)
        return 0;
    for (i = 0; number == 0 && i < framed; ++i) {
        beyond[i] = 0;
        beyond[framed + i] = ~(uint64_t)0;
    }
$calls
    if (!has(&s, $delay))
        return 0;
    for (i = row - 1; i < $planes_out * words; i += row)
        out[i] &= inside;
    return 1;
}
"""

APPLY = """
size_t ${name}_apply_words(size_t width, size_t height)
{
    return ($planes_in + $planes_out) * ${name}_plane_words(width, height) +
           ${name}_workspace_words(width, height);
}

void ${name}_apply(const uint8_t *volume, size_t width, size_t height, size_t depth,
         uint8_t *result, uint64_t *workspace)
{
    const size_t words = ${name}_plane_words(width, height);
    uint64_t *const in = workspace, *const out = in + $planes_in * words;
    size_t number;
    for (number = 0; words > 0 && number < depth + $delay; ++number) {
        if (number < depth)
            ${name}_pack(volume + number * height * width * $planes_in, width, height, in);
        if (${name}_step(in, out, number, width, height, depth, out + $planes_out * words))
            ${name}_unpack(out, width, height,
                   result + (number - $delay) * height * width * $planes_out);
    }
}
"""

# For `main`: reads slices, writes those of the result as soon as they are known.
FILTER = r"""
/* The first slice says how large the others are. */
static const char *first_slice(uint64_t **in, uint64_t **out, uint64_t **workspace, size_t *width,
                               size_t *height)
{
    const char *error = read_input(in, width, height);
    if (error)
        return error;
    *out = (uint64_t *)malloc($planes_out * ${name}_plane_words(*width, *height) * sizeof **out);
    *workspace = (uint64_t *)malloc(${name}_workspace_words(*width, *height) * sizeof **workspace);
    return *out && *workspace ? NULL : "out of memory";
}

/* The result of the volume whose slices are the images of the input. */
static const char *filter(void)
{
    uint64_t *in = NULL, *out = NULL, *workspace = NULL;
    size_t width = 0, height = 0, depth = (size_t)-1, number, plane;
    const char *error = NULL;
    for (number = 0; !error && (number < depth || number < depth + $delay); ++number) {
        if (number < depth && !more())
            depth = number;
        else if (number == 0)
            error = first_slice(&in, &out, &workspace, &width, &height);
        else if (number < depth)
            error = read_input(&in, &width, &height);
        if (error || !${name}_step(in, out, number, width, height, depth, workspace))
            continue;
        for (plane = 0; plane < $planes_out; ++plane)
            write_pbm(out + plane * ${name}_plane_words(width, height), width, height);
    }
    free(in);
    free(out);
    free(workspace);
    return error;
}
"""
