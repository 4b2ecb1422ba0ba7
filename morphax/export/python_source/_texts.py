"""Helper functions that the written files bring along, as text; a file has those that it uses."""

from morphax.data.gray_planes import FLOOR, UNIT

PATTERN = '''
def pattern(rows):
    """Return a pattern from its rows: # must be set, . must be unset, - does not matter."""
    return np.array([list(row) for row in rows.split()])
'''

EROSION = '''
def erosion(x, element, border=BORDER):
    """Set the pixels around which x is set on all of # of the element."""
    return framed(ndimage.binary_erosion, x, element == "#", border, border == "ignore")
'''

PATTERN_OF_SLICES = '''
def pattern(slices):
    """Return a pattern from its slices: # must be set, . must be unset, - does not matter."""
    return np.array([[list(row) for row in rows.split()] for rows in slices.split("|")])
'''

DILATION = '''
def dilation(x, element, border=BORDER):
    """Set the pixels around which x is set on one of # of the element, or more."""
    # SciPy turns the element round, and here it is not turned.
    return framed(ndimage.binary_dilation, x, np.flip(element) == "#", border, False)
'''

FRAMED = '''
def framed(function, x, element, border, value):
    """Run an operator of SciPy; beyond the frame lies a value, or the nearest pixel."""
    if border != "replicate":
        return function(x, element, border_value=int(value))
    reach = [side // 2 for side in element.shape]
    inside = tuple(slice(r, r + length) for r, length in zip(reach, x.shape))
    return function(np.pad(x, [(r, r) for r in reach], mode="edge"), element)[inside]
'''

OPENING = '''
def opening(x, element, border=BORDER):
    """Return the union of the translations of the element that fit into x."""
    return dilation(erosion(x, element, border), np.flip(element), border)
'''

CLOSING = '''
def closing(x, element, border=BORDER):
    """Return the complement of an opening of the complement, up to the frame."""
    return erosion(dilation(x, np.flip(element), border), element, border)
'''

HIT_OR_MISS = '''
def hit_or_miss(x, pattern, border=BORDER):
    """Set the pixels around which x is set on all of # and unset on all of the dots."""
    misses = np.where(pattern == ".", "#", "-")
    return erosion(x, pattern, border) & ~dilation(x, misses, border)
'''

VOTES = '''
def votes(*pairs):
    """Add up whole-number votes: the vote of each plane, where the plane is set."""
    return sum(vote * plane.astype(np.int32) for vote, plane in pairs)
'''

UNION = '''
def union(*planes):
    """Set the pixels that are set in one of the planes, or more."""
    return np.logical_or.reduce(planes)
'''

INTERSECTION = '''
def intersection(*planes):
    """Set the pixels that are set in all planes."""
    return np.logical_and.reduce(planes)
'''

GRAY_PLANES = f'''
def gray_planes(channel):
    """Return level sets of gray values and of local contrasts; whole numbers throughout."""
    channel = channel.astype(np.int64)
    planes = [channel >= np.quantile(channel, share, method="higher") for share in SHARES]
    if OFFSETS:
        n = OFFSET_SIDE**channel.ndim
        away = n * channel - box(channel, OFFSET_SIDE)  # n times the distance from the mean
        planes += [away >= n * offset for offset in OFFSETS]
    if CONTRASTS:
        n = CONTRAST_SIDE**channel.ndim
        away = n * channel - box(channel, CONTRAST_SIDE)
        spread = box(np.abs(away), CONTRAST_SIDE) // n
        planes += [{UNIT} * away // (spread + {FLOOR} * n) >= contrast for contrast in CONTRASTS]
    return planes


def box(values, side):
    """Add up the values of the square (or cube) around each pixel."""
    for axis in range(values.ndim):
        values = ndimage.correlate1d(values, np.ones(side), axis, mode="nearest")
    return values
'''
