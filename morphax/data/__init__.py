"""Binary images to learn from: generated, from TFDS without TensorFlow, or a folder of pairs."""

from morphax.data._diskorect import diskorect as diskorect
from morphax.data._noisti import noisti as noisti
from morphax.data._ruled import ruled_pages as ruled_pages
from morphax.data._solids import solids as solids
from morphax.data.bounds import WindowBounds as WindowBounds
from morphax.data.bounds import window_bounds as window_bounds
from morphax.data.gray_planes import GrayPlanes as GrayPlanes
from morphax.data.images import find_images as find_images
from morphax.data.images import load_image as load_image
from morphax.data.images import save_mask as save_mask
from morphax.data.nuclei import draw_nuclei as draw_nuclei
from morphax.data.nuclei import load_nuclei as load_nuclei
from morphax.data.pair_checks import check_pairs as check_pairs
from morphax.data.pairs import Pairs as Pairs
from morphax.data.pairs import crops as crops
from morphax.data.pairs import load_pairs as load_pairs
from morphax.data.pairs import save_pairs as save_pairs
from morphax.data.targets import OPERATIONS as OPERATIONS
from morphax.data.targets import target as target
from morphax.data.tfds import binary_images as binary_images
from morphax.data.tfds import load as load
from morphax.data.tfds import tfds_source as tfds_source
from morphax.data.volumes import find_volumes as find_volumes
from morphax.data.volumes import load_volume as load_volume
from morphax.data.volumes import save_volume as save_volume
