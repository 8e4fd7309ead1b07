"""Values → curves, histograms, and plots of them as SVG text.

Callers may rely on: equal values give equal bytes; a plot asks for no network, keeps its words as text, has a name for
screen readers, and takes its colours from the page's style sheet (`--ink`, `--arm-0` and so on), so that it follows a
dark scheme; ids inside a plot begin with its name, so that several plots fit on one page.
"""

from __future__ import annotations

import html
import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bakeoff.errors import OutsideError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 200
"""Points of a curve at most: more could not be seen."""

BINS = 24
_WIDE = 200.0
"""From this ratio of both ends on, a logarithmic axis has a mark a decade."""

ARMS = 6
"""Colours that the style sheet has."""

# Colours that stand for names of the style sheet until the plot is drawn; matplotlib takes nothing else.
_INK = "#010203"
_GRID = "#010204"
_ARMS = tuple(f"#0102{index + 16:02x}" for index in range(ARMS))
_NAMES = {_INK: "ink", _GRID: "grid", **{colour: f"arm-{index}" for index, colour in enumerate(_ARMS)}}

_STYLE: Any = {
    "svg.fonttype": "none",  # words stay words: they can be searched, and take the page's font
    "text.parse_math": False,
    "svg.hashsalt": "bakeoff",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True, slots=True)
class Series:
    """A line of points (x, y); *arm* chooses the colour."""

    arm: int
    points: Sequence[tuple[float, float]]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure with its interval; None: not measured."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the empirical distribution of *values* as points (value, share at or below it), at most `POINTS`."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if n == 0:
        return []
    chosen = np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(int))
    return [(round(float(ordered[index]), 4), round((int(index) + 1) / n, 5)) for index in chosen]


def edges(groups: Sequence[Sequence[float]]) -> list[float]:
    """Return bin edges that hold the values of all *groups*, so that their histograms can be laid over each other."""
    every = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups]) if groups else np.array([])
    if every.size == 0:
        return []
    low, high = float(every.min()), float(every.max())
    return [float(edge) for edge in np.linspace(low, high if high > low else low + 1.0, BINS + 1)]


def shares(values: Sequence[float], at: Sequence[float]) -> list[float] | None:
    """Return the share of *values* in each bin between the edges *at*; None without values."""
    if not values:
        return None
    counts, _ = np.histogram(np.asarray(values, dtype=np.float64), bins=np.asarray(at))
    return [round(float(count) / len(values), 6) for count in counts]


def steps(heights: Sequence[float], at: Sequence[float]) -> list[tuple[float, float]]:
    """Return the outline of a histogram as points."""
    inner = [
        point
        for height, left, right in zip(heights, at, at[1:], strict=False)
        for point in ((left, height), (right, height))
    ]
    return [(at[0], 0.0), *inner, (at[-1], 0.0)]


def lines(
    name: str, about: str, series: Sequence[Series], *, labels: tuple[str, str], log: bool = False, cap: bool = False
) -> str:
    """Return a plot of *series* as SVG text; *about* is said to who can't see it.

    *labels* are those of both axes, *log* makes the x axis logarithmic, *cap* ends the y axis at 1.
    """

    def draw(axes: Axes) -> None:
        for item in series:
            xs, ys = zip(*item.points, strict=True)
            style = "--" if item.dashed else "-"
            axes.plot(xs, ys, style, color=_ARMS[item.arm % ARMS], linewidth=1.6)
        if log:
            _logarithmic(axes)
        axes.set_ylim(bottom=0.0, top=1.02 if cap else None)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])

    return _svg(name, about, draw, size=(4.0, 2.5), left=0.65)


def _logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, with a few marks in plain figures: at 1, 2 and 5, or over a wide range at 1 only."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    marks = (1.0, 2.0, 5.0) if high / low < _WIDE else (1.0,)
    axes.xaxis.set_major_locator(LogLocator(subs=marks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))


def bars(name: str, about: str, stages: Sequence[str], arms: Sequence[Sequence[float | None]], *, label: str) -> str:
    """Return a plot of shares by stage, a bar for each of *arms*, as SVG text; None has no bar."""

    def draw(axes: Axes) -> None:
        thick = 0.8 / max(len(arms), 1)
        for index, values in enumerate(arms):
            places = [place + thick * (index - (len(arms) - 1) / 2) for place in range(len(stages))]
            axes.barh(places, [value or 0.0 for value in values], height=thick * 0.92, color=_ARMS[index % ARMS])
        axes.set_yticks(range(len(stages)), stages)
        axes.invert_yaxis()
        axes.set_xlim(0.0, 1.0)
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")

    size = (5.4, 0.7 + len(stages) * (0.22 + 0.14 * len(arms)))
    return _svg(name, about, draw, size=size, left=_room(stages))


def intervals(name: str, about: str, found: Sequence[Bar], *, label: str, arm: int) -> str:
    """Return a plot of differences with their intervals, a row each, as SVG text."""

    def draw(axes: Axes) -> None:
        axes.axvline(0.0, color=_INK, linewidth=1.0)
        for row, item in enumerate(found):
            if item.value is None:
                continue
            axes.plot([item.value], [row], "o", color=_ARMS[arm % ARMS], markersize=5)
            if item.low is not None and item.high is not None:
                axes.plot([item.low, item.high], [row, row], "-", color=_ARMS[arm % ARMS], linewidth=2.0)
        axes.set_yticks(range(len(found)), [item.name for item in found])
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.grid(visible=False, axis="y")

    size = (5.4, 0.8 + 0.26 * len(found))
    return _svg(name, about, draw, size=size, left=_room([item.name for item in found]))


def _room(names: Sequence[str]) -> float:
    """Return the inches that *names* need beside a plot; the page's font may be wider than the one at hand here."""
    return 0.25 + 0.075 * max(map(len, names), default=0)


def require() -> None:
    """Raise OutsideError, with what to install, where the parts that draw and fill pages are missing."""
    _quiet()
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as error:
        raise OutsideError(
            f"a page needs {error.name}, which is not installed", hint="pip install 'bakeoff[report]'"
        ) from error
    del jinja2, mpl


def _quiet() -> None:
    """Keep matplotlib's news (a font cache that is built) to itself: stderr is our own narration."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


@contextmanager
def _style() -> Iterator[None]:
    """Draw with matplotlib's own defaults and ours, whatever a matplotlibrc of this machine says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _svg(name: str, about: str, draw: Callable[[Axes], None], *, size: tuple[float, float], left: float) -> str:
    """Draw one plot of *size* inches with *left* of them beside it; measured margins would double the time it takes."""
    _quiet()
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = io.StringIO()
    with _style():
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0.0)
        width, height = size
        axes = figure.add_axes((left / width, 0.5 / height, 1 - (left + 0.15) / width, 1 - 0.6 / height))
        axes.patch.set_alpha(0.0)
        draw(axes)
        figure.savefig(out, format="svg", metadata=_NO_METADATA)
    return _inline(name, about, out.getvalue())


_NO_METADATA: Mapping[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}


def _inline(name: str, about: str, drawn: str) -> str:
    """Return an SVG file as a part of a page: no prologue, its own ids, colours of the style sheet, a spoken name."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace('xlink:href="#', f'href="#{name}-')
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)  # the page's own
    for colour, known in _NAMES.items():
        body = body.replace(colour, f"var(--{known})")
    head, rest = body.split(">", 1)
    (box,) = re.findall(r'viewBox="[^"]+"', head)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img" aria-label="{html.escape(about)}">{rest}'.strip()


_PAPER = ("#1c2024", "#d9dee3", "#0067a8", "#c24e00", "#00795a", "#a84c86", "#8a6a00", "#4b61c9")
"""Ink, grid and arms of the light style sheet, for files that have none."""
_DPI = 144


def picture(title: str, series: Sequence[Series], names: Sequence[str], *, labels: tuple[str, str]) -> bytes:
    """Return a PNG of *series*, each with its name, shares from 0 to 1 by y; for a file that stands alone."""
    _quiet()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plain = dict(zip(_NAMES, _PAPER, strict=True))
    out = io.BytesIO()
    with _style():
        import matplotlib as mpl

        mpl.rcParams.update({key: plain.get(value, value) for key, value in _STYLE.items() if isinstance(value, str)})
        figure = Figure(figsize=(8.0, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for item, name in zip(series, names, strict=True):
            xs, ys = zip(*item.points, strict=True)
            style = "--" if item.dashed else "-"
            axes.plot(xs, ys, style, color=plain[_ARMS[item.arm % ARMS]], linewidth=1.8, label=name)
        axes.set_ylim(0.0, 1.02)
        axes.set_title(title)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False)
        figure.savefig(out, format="png", dpi=_DPI, metadata={"Software": None})
    return out.getvalue()
