"""The manager: runs a pipeline over a graph and owns everything around the passes.

Before anything runs the contract of the whole pipeline is checked. After each pass stale facts are dropped, cached analyses
forgotten and the graph verified. A pass that fails, breaks the graph or its promise is a PassError with a reproducer.
"""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from edpc.errors import EdpcError, PassError, UsageError, VerifyError
from edpc.ir import Graph
from edpc.ir.collector import collector_paused
from edpc.ir.snapshot import Change, Snapshot, Step
from edpc.ir.verify import verify
from edpc.pipeline.base import Fact, Pass, PassContext
from edpc.pipeline.contract import INVISIBLE, after, check_contract, drop_facts, facts_in
from edpc.pipeline.reproducer import replay_flags, reproducer
from edpc.pipeline.text import Element, Fixpoint, parse_pipeline, passes_of, print_pipeline

ALL = "all"
CHANGED = "changed"


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)


@dataclass(frozen=True, kw_only=True)
class Instrumentation:
    """What happens around the passes; nothing of it changes the result.

    Attributes:
        verify: whether the graph is verified after each pass.
        kinds: the operator vocabulary, for the verifier; None where any kind may stand.
        print_before, print_after: names of passes around which the IR is printed; `all`, and after passes also `changed`.
        dump_to: folder for one numbered file per pass; None for none.
        write: where printed IR goes.
        flags: how `edpc-opt` is called to replay a failure, without the pipeline; None for the context's target and precision.
    """

    verify: bool = True
    kinds: frozenset[str] | None = None
    print_before: tuple[str, ...] = ()
    print_after: tuple[str, ...] = ()
    dump_to: Path | None = None
    write: Callable[[str], None] = _to_stderr
    flags: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class PassRun:
    """One run of one pass.

    Attributes:
        name: of the pass. changed: whether it changed anything.
        seconds: of the pass itself. verify_seconds: of the checks after it.
        operators, groups: how many the graph has afterwards.
    """

    name: str
    changed: bool
    seconds: float
    verify_seconds: float
    operators: int
    groups: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a pipeline did, pass by pass."""

    runs: tuple[PassRun, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all passes and the checks after them."""
        return sum(run.seconds + run.verify_seconds for run in self.runs)

    def table(self) -> str:
        """One line per pass and a total, times in milliseconds."""
        width = max([len(run.name) for run in self.runs], default=5)
        lines = [f"{'pass':{width}}  {'ms':>9}  {'verify ms':>9}  changed  operators  groups"]
        lines += [
            f"{run.name:{width}}  {run.seconds * 1e3:9.2f}  {run.verify_seconds * 1e3:9.2f}  "
            f"{'yes' if run.changed else 'no':>7}  {run.operators:9}  {run.groups:6}"
            for run in self.runs
        ]
        seconds, verifying = sum(run.seconds for run in self.runs), sum(run.verify_seconds for run in self.runs)
        return "\n".join([*lines, f"{'total':{width}}  {seconds * 1e3:9.2f}  {verifying * 1e3:9.2f}", ""])


def run_pipeline(
    graph: Graph,
    pipeline: str | Iterable[Element],
    ctx: PassContext | None = None,
    instrumentation: Instrumentation | None = None,
    have: frozenset[Fact] = frozenset(),
) -> Statistics:
    """The graph is as the pipeline leaves it, changed in place; answers what each pass did.

    Args:
        graph: from a frontend or a text; verified before the first pass.
        pipeline: its text or its elements.
        ctx: what the passes share; a fresh one without a target where it is None.
        instrumentation: verification, printing and dumping; the default verifies and prints nothing.
        have: facts that hold and leave no record in the graph; the others are found in it.

    Raises:
        UsageError: the pipeline does not parse or its contract does not hold; nothing has run. Or a pass raised it.
        ModelError: a pass raised it.
        VerifyError: the graph did not verify before anything ran.
        PassError: a pass failed, or left a graph that does not verify; carries a reproducer.
    """
    elements = parse_pipeline(pipeline) if isinstance(pipeline, str) else tuple(pipeline)
    with collector_paused():
        return _Run(graph, elements, ctx or PassContext(), instrumentation or Instrumentation(), have).run()


@dataclass
class _Run:
    """One pipeline under way; `last` is the graph as the pass before left it, verified where anything is."""

    graph: Graph
    elements: tuple[Element, ...]
    ctx: PassContext
    around: Instrumentation
    have: frozenset[Fact]
    runs: list[PassRun] = field(default_factory=list)
    last: Snapshot = field(init=False)

    def run(self) -> Statistics:
        self._check_names()
        self.have |= facts_in(self.graph)
        check_contract(self.elements, self.have)
        self.ctx.invalidate()
        if self.around.verify:
            verify(self.graph, self.around.kinds)
        self.last = Snapshot(self.graph)
        self._dump("input")
        for i, element in enumerate(self.elements):
            if isinstance(element, Fixpoint):
                self._settle(element, self.elements[i:])
            else:
                self._step(element, self.elements[i:])
        return Statistics(tuple(self.runs))

    def _settle(self, fixpoint: Fixpoint, rest: tuple[Element, ...]) -> None:
        for _ in range(fixpoint.max):
            before = self.last
            # Every pass runs, also after one that changed something.
            changed = [self._step(each, (*fixpoint.passes[i:], *rest)) for i, each in enumerate(fixpoint.passes)]
            if not any(changed):
                return
        what = f"{print_pipeline([fixpoint])} still changes the graph in its last round; mend what never settles, or raise max"
        raise self._failure(what, before, rest)

    def _step(self, each: Pass, rest: tuple[Element, ...]) -> bool:
        """Runs one pass; answers whether it changed anything."""
        around = self.around
        if {ALL, each.name} & set(around.print_before):
            self._print("before", each)
        before = self.last
        start = time.perf_counter()
        try:
            changed = each.run(self.graph, self.ctx)
        except (PassError, VerifyError) as error:
            raise self._failure(f"pass {each.name} failed: {error}", before, rest) from error
        except EdpcError:
            raise
        except Exception as error:
            raise self._failure(f"pass {each.name} failed: {_described(error)}", before, rest) from error
        ran = time.perf_counter()
        if changed:
            self.ctx.invalidate()
            remaining = after(each, self.have)
            drop_facts(self.graph, self.have - remaining)
            self.have = remaining
        else:
            self.have |= each.produces
        self.last = Snapshot(self.graph)
        if around.verify:
            self._verify(each, changed, before, rest)
        done = time.perf_counter()
        self.runs.append(PassRun(each.name, changed, ran - start, done - ran, len(self.graph), len(self.graph.groups)))
        if {ALL, each.name} & set(around.print_after) or (changed and CHANGED in around.print_after):
            self._print("after", each)
        self._dump(each.name)
        return changed

    def _verify(self, each: Pass, changed: bool, before: Snapshot, rest: tuple[Element, ...]) -> None:
        step = Step(before, self.last)
        if not changed and step.change is not Change.NOTHING:
            raise self._failure(f"pass {each.name} says that it changed nothing, and changed the graph", before, rest)
        try:
            verify(self.graph, self.around.kinds, step)
        except VerifyError as error:
            raise self._failure(f"pass {each.name} left an invalid graph: {error}", before, rest) from error
        missing = each.produces - INVISIBLE - facts_in(self.graph)
        for fact in sorted(missing):
            raise self._failure(f"pass {each.name} promises the fact {fact.value!r}, and the graph lacks it", before, rest)

    def _failure(self, what: str, before: Snapshot, rest: tuple[Element, ...]) -> PassError:
        flags = replay_flags(self.ctx) if self.around.flags is None else self.around.flags
        # A graph that was never verified may be beyond printing; that must not hide the failure.
        text = None
        with contextlib.suppress(Exception):
            text = reproducer(before.restore(), rest, flags, what)
        return PassError(what, text)

    def _check_names(self) -> None:
        names = list(dict.fromkeys(each.name for each in passes_of(self.elements)))
        for flag, given, words in (
            ("--print-ir-before", self.around.print_before, {ALL}),
            ("--print-ir-after", self.around.print_after, {ALL, CHANGED}),
        ):
            for name in given:
                if name not in words and name not in names:
                    close = get_close_matches(name, [*names, *words], 1)
                    hint = f"; did you mean {close[0]!r}?" if close else f"; it runs {', '.join(names) or 'nothing'}"
                    raise UsageError(f"{flag}: the pipeline does not run a pass {name!r}{hint}")

    def _print(self, when: str, each: Pass) -> None:
        from edpc.ir.text import print_graph  # only runs that print need the text form

        self.around.write(f"// ----- {when} {each.name} -----\n{print_graph(self.graph)}\n")

    def _dump(self, name: str) -> None:
        folder = self.around.dump_to
        if folder is None:
            return
        path = folder / f"{len(self.runs):02}-{name}.edp"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            from edpc.ir.text import print_graph

            path.write_text(print_graph(self.graph), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another folder for --dump-ir") from error


def _described(error: Exception) -> str:
    """The exception in one clause, with the innermost place in code."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"
