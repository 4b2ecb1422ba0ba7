"""Training of any model: runs on data in memory or in a stream, checkpoints, several devices.

`fitting` has `fit` and `fit_stream`; `loop` has `drive`, the loop of every run; `options` has
`RunOptions`: log, progress, checkpoint and time limit. `steps` makes training steps and
evaluations; `checkpoint` saves states; `compile_cache` keeps compiled programs on disk;
`distributed` lays data and banks out over devices; `transforms` has Optax transforms for neurons.
"""

from morphax._files import json_text as json_text
from morphax.training.compile_cache import keep_compiled as keep_compiled
from morphax.training.fitting import fit as fit
from morphax.training.fitting import fit_stream as fit_stream
from morphax.training.loop import Run as Run
from morphax.training.loop import TrainState as TrainState
from morphax.training.loop import append_jsonl as append_jsonl
from morphax.training.loop import drive as drive
from morphax.training.options import Record as Record
from morphax.training.options import RunOptions as RunOptions
from morphax.training.steps import Apply as Apply
from morphax.training.steps import Chunk as Chunk
from morphax.training.steps import Data as Data
from morphax.training.steps import Evaluate as Evaluate
from morphax.training.steps import Loss as Loss
from morphax.training.steps import as_unit as as_unit
from morphax.training.steps import is_symmetric as is_symmetric
from morphax.training.steps import make_chunk as make_chunk
from morphax.training.steps import make_evaluate as make_evaluate
from morphax.training.steps import make_step as make_step
