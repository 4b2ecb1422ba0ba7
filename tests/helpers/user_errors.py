"""Wrong options of the examples: told before any work, without a traceback."""

import re


def refused(main, options, message, tmp_path, capsys):
    """`main` ends with status 2, it says what matches `message`, and it has written nothing.

    DIR in `options` is `tmp_path`.
    """
    words = options.replace("DIR", str(tmp_path)).split()
    try:
        status = main([*words, "--out", str(tmp_path / "out")])
    except SystemExit as error:  # argparse
        status = error.code
    shown = capsys.readouterr().err
    assert status == 2
    assert re.search(message, shown)
    assert "Traceback" not in shown
    assert not (tmp_path / "out").exists()
