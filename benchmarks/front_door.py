"""What does a new user get who installs morphax and types five commands, on real pairs?

    python benchmarks/front_door.py [--data FOLDER] [--sets jung staff dibco drive] [--minutes 5]
        [--out DIR] [--smoke]

In an empty folder: a new virtual environment, `pip install` of this repository with the extra
"data", and for each set of pairs (FOLDER/SET/train|test/input|target|mask; by default
MORPHAX_DATA/pairs) `morphax learn`, `evaluate`, `apply`, `export --to python` and `export --to c`
with their defaults. The exported Python and the compiled C program then read the test images, and
every pixel is compared with the masks of `apply`. Seconds are those of whole processes. Writes
`front_door.json`, with what the terminal showed, after each set, and `.md`; rows of other sets that
the file has stay. `--smoke` takes the pairs of `morphax demo`, and this environment instead of a
new one.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _lib import common
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = (
    *("set", "learn", "evaluate", "apply", "error", "f1", "images", "pixels"),
    *("python_different", "c_different"),
)
RUN_PYTHON = """
import runpy, sys
from pathlib import Path
import numpy as np
from PIL import Image
operator = runpy.run_path(sys.argv[1])["operator"]
for path in sorted(Path(sys.argv[2]).iterdir()):
    image = np.asarray(Image.open(path))
    image = image > 127 if sys.argv[4] == "bits" else image
    np.save(Path(sys.argv[3]) / f"{path.stem}.npy", operator(image))
"""


class Terminal:
    """Run commands in a folder, and keep what they print and how long they take."""

    def __init__(self, place: Path, bin_: Path) -> None:
        self.place, self.bin, self.text = place, bin_, ""
        hidden = {"PYTHONPATH", "MORPHAX_DATA", "JAX_COMPILATION_CACHE_DIR"}
        self.environment = {k: v for k, v in os.environ.items() if k not in hidden}
        path = os.pathsep.join([str(bin_), os.environ.get("PATH", "")])
        self.environment |= {"PATH": path} | (
            {} if bin_ != current() else {"PYTHONPATH": str(ROOT)}
        )

    def type(self, command: str, *, shown: bool = True) -> tuple[float, int]:
        """Run a line in a shell; return its seconds and its exit code."""
        start = time.perf_counter()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.place,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.perf_counter() - start
        if shown:
            # In a terminal, lines of what is being done are written over each other.
            lines = [line for line in done.stdout.splitlines() if not line.endswith("s left")]
            self.text += "\n".join([f"$ {command}", *lines, ""])
        elif done.returncode:
            raise SystemExit(f"{command}: {done.stdout}")
        return round(seconds, 1), done.returncode


def current() -> Path:
    """Return the folder of the programs of this environment."""
    return Path(sys.executable).parent


def try_set(name: str, terminal: Terminal, minutes: float | None) -> dict[str, Any]:
    """Type the commands for one set, and compare every pixel; return the row."""
    place, more = terminal.place, "" if minutes is None else f" --minutes {minutes:g}"
    row: dict[str, Any] = {"set": name}
    row["learn"], _ = terminal.type(f"morphax learn {name} -o {name}-model{more}")
    row["evaluate"], _ = terminal.type(f"morphax evaluate {name}-model {name}")
    images = f"{name}/test/input"
    row["apply"], _ = terminal.type(f"morphax apply {name}-model {images} -o {name}-masks")
    terminal.type(f"morphax explain {name}-model --pick simplest | head -n 4")
    terminal.type(f"morphax export {name}-model --to python -o {name}.py")
    _, refused = terminal.type(f"morphax export {name}-model --to c -o {name}-c")
    last = terminal.text.split(f"evaluate {name}-model")[1].split("all pixels")[1].split()
    row |= {"error": float(last[0]) / 100, "f1": float(last[4])}

    paths = sorted((place / images).iterdir())
    masks = {
        path.stem: np.asarray(Image.open(place / f"{name}-masks/{path.stem}.png")) for path in paths
    }
    masks = {stem: mask > 127 for stem, mask in masks.items()}
    inputs = {path.stem: np.asarray(Image.open(path)) for path in paths}
    gray = any(len(np.unique(image)) > 2 for image in inputs.values())
    row |= {"images": len(paths), "pixels": sum(mask.size for mask in masks.values())}
    (place / f"{name}-python").mkdir()
    (place / "run.py").write_text(RUN_PYTHON)
    kind = "levels" if gray else "bits"
    terminal.type(f"python run.py {name}.py {images} {name}-python {kind}", shown=False)
    answers = {stem: np.load(place / f"{name}-python/{stem}.npy") for stem in masks}
    row["python_different"] = sum(int((answers[stem] != masks[stem]).sum()) for stem in masks)
    row["c_different"] = None
    if not refused:
        terminal.type(f"cc -O2 -o {name}-program {name}-c/*.c", shown=False)
        row["c_different"] = 0
        for stem, image in inputs.items():
            # A bit that is set in a PBM is black.
            Image.fromarray(image if gray else image <= 127).save(place / "in.pnm")
            terminal.type(f"./{name}-program < in.pnm > out.pbm", shown=False)
            answer = ~np.asarray(Image.open(place / "out.pbm"))
            row["c_different"] += int((answer != masks[stem]).sum())
    return row


def others(path: Path, sets: list[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the rows of other sets that a file has, and what the terminal showed."""
    if not path.exists():
        return [], {}
    document = json.loads(path.read_text())
    rows = [row for row in document["results"] if row["set"] not in sets]
    return rows, {row["set"]: document["metadata"]["screens"][row["set"]] for row in rows}


def main() -> None:
    """Run it."""
    parser = common.options_parser(__doc__, smoke="the pairs of `morphax demo`, for seconds")
    parser.add_argument("--data", type=Path, help="folder of the sets")
    parser.add_argument("--sets", nargs="+", default=["jung", "staff", "dibco", "drive"])
    parser.add_argument("--minutes", type=float, help="of each `learn`; its default without")
    options = parser.parse_args()
    about = common.metadata("front_door", unit="s", reference="", smoke=options.smoke)
    rows, screens = others(options.out / "front_door.json", options.sets)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        if options.smoke:
            terminal = Terminal(place, current())
            terminal.type("python -m morphax demo demo")
            options.sets, options.minutes = ["demo"], 0.05
        else:
            source = options.data or Path(os.environ["MORPHAX_DATA"]) / "pairs"
            for name in options.sets:
                shutil.copytree(source / name, place / name)
            terminal = Terminal(place, place / ".venv/bin")
            base = getattr(sys, "_base_executable", sys.executable)
            install = f'"{base}" -m venv .venv && .venv/bin/pip install -q "{ROOT}[data]"'
            about["install_seconds"], _ = terminal.type(install, shown=False)
        for name in options.sets:
            terminal.text = ""
            rows.append({**try_set(name, terminal, options.minutes), **common.row_metadata(about)})
            screens[name] = terminal.text.replace(str(place), "")
            about["screens"] = screens
            text = common.write_table(options.out / "front_door.json", about, rows, COLUMNS)
    print(text)


if __name__ == "__main__":
    main()
