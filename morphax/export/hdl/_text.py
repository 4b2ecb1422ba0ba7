"""Text shared by both Verilog writers: names, expressions, comments, and the module around them.

A plane or pixel is a *literal*, an int: 0 and 1 are the constants, `2 n` is net n (n >= 1), and
`2 n + 1` is the complement of net n. Complements, selections and moves cost nothing, because they
are only other literals.
"""

import os
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from morphax import _checks, _files
from morphax.program import Program, build
from morphax.program.validate import check_images, check_program

Model = tuple[Callable[[Any, Any], Any], Any, Sequence[int]]
"""Arguments of `morphax.program.build`: (apply, binary_params, input_shape)."""

FALSE, TRUE = 0, 1
_INFIX = 4  # operands of `a & b`; more become a reduction `&{...}`, which parsers do not nest
_WIDTH = 100

# Keywords of IEEE 1364-2005, and of IEEE 1800-2017, by which most tools read .v files.
_WORDS = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup
    coverpoint cross deassign default defparam design disable dist do edge else end endcase
    endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface
    endmodule endpackage endprimitive endprogram endproperty endsequence endspecify endtable
    endtask enum event eventually expect export extends extern final first_match for force foreach
    forever fork forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins
    illegal_bins implements implies import incdir include initial inout input inside instance int
    integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype
    new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter
    pmos posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real
    realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1
    s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal
    showcancelled signed small soft solve specify specparam static string strong strong0 strong1
    struct super supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout
    time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef
    union unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait
    wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor"""
KEYWORDS = frozenset(_WORDS.split())


def checked_name(name: str, text: str) -> str:
    """Check that a name can name a module, and return it.

    Args:
        name: name that the user chose.
        text: body of the module; nothing in it may have the same name.

    Returns:
        `name`.

    Raises:
        ValueError: if the name is no Verilog identifier, is a keyword, or is used in the body.
    """
    legal = isinstance(name, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]{0,1023}", name)
    _checks.require(bool(legal), "name", "a Verilog identifier ([A-Za-z_][A-Za-z0-9_$]*)", name)
    _checks.require(name not in KEYWORDS, "name", "no keyword of (System)Verilog", name)
    # Comments hold paths of the user, which may contain the name.
    code = re.sub(r"//.*", "", text)
    _checks.require(
        name not in re.findall(r"[A-Za-z_][A-Za-z0-9_$]*", code),
        "name",
        "a name that the module does not use inside",
        name,
    )
    return name


def finish(
    name: str | None,
    header: Sequence[str],
    body: Sequence[str],
    path: str | os.PathLike[str] | None,
) -> str:
    """Assemble a module, and write it to a file, completely or not at all.

    Args:
        name: name of the module; None for the name of the file, or "model" without a file.
        header: lines of the comment before the module.
        body: lines from the port list to the last statement.
        path: the file; None to write none.

    Returns:
        The text of the module.

    Raises:
        ValueError: if the name cannot name the module.
        OSError: if the file cannot be written.
    """
    if name is None:
        name = "model" if path is None else Path(path).stem
    inside = "\n".join(body)
    # A name that is used inside would be declared twice.
    checked_name(name, inside)
    top = "\n".join(f"// {line}".rstrip() for line in header)
    text = f"{top}\n\nmodule {name} {inside}\nendmodule\n"
    if path is not None:
        _files.write(path, text.encode("ascii"))
    return text


def program_of(program: Program | Model) -> Program:
    """Build a program if a model is given, and check it.

    Args:
        program: a program, or the arguments of `morphax.program.build`.

    Returns:
        The program.

    Raises:
        ValueError: if the program cannot be built or cannot run, or is one of rows or volumes.
    """
    if not isinstance(program, Program):
        program = build(*program)
    check_program(program)
    check_images(program, "Verilog")
    return program


def comment(text: str) -> str:
    """Make text that comes from the user safe in a comment of one line, such as a path.

    Example:
        >>> comment("layers/0")
        'layers/0'
    """
    # A line break would end the comment, and the file is ASCII.
    return re.sub(r"[^ -~]", "?", text)[:200]


def joined(terms: Sequence[str], *, erosion: bool, complement: bool) -> str:
    """Write the intersection or union of terms as an expression.

    Args:
        terms: one-bit expressions that bind tighter than `&`, one or more.
        erosion: True for the intersection, False for the union.
        complement: True to complement it.

    Returns:
        An expression.

    Example:
        >>> joined(["a", "~b"], erosion=True, complement=True)
        '~(a & ~b)'
    """
    sign = "&" if erosion else "|"
    if len(terms) == 1:
        return f"~({terms[0]})" if complement else terms[0]
    # A long chain of infix operators nests as deep as it has terms; a reduction is flat.
    infix, listed = f" {sign} ".join(terms), ", ".join(terms)
    text = infix if len(terms) <= _INFIX else f"{sign}{{{listed}}}"
    return f"~({text})" if complement else text


def statement(text: str, *, indent: int = 2) -> str:
    """Wrap one statement to lines of at most about 100 characters.

    Example:
        >>> statement("assign y = a;")
        '  assign y = a;'
    """
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 4),
        break_long_words=False,
        break_on_hyphens=False,
    )


def input_port(name: str, size: int, used: set[int]) -> list[str]:
    """Declare an input vector, with comments that silence linters if some bits are not used.

    Args:
        name: name of the port.
        size: number of bits.
        used: numbers of the bits that the module reads.

    Returns:
        Lines of a port list, with a comma at the end of the port.

    Example:
        >>> input_port("x", 2, {0, 1})
        ['  input wire [1:0] x,']
    """
    # Unused bits stay in the port, so that its width is that of the network's input.
    port = f"  input wire [{size - 1}:0] {name},"
    if len(used) == size:
        return [port]
    return [
        f"  // {size - len(used)} of these {size} bits do not matter to the network",
        "  /* verilator lint_off UNUSED */",
        port,
        "  /* verilator lint_on UNUSED */",
    ]
