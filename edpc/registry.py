"""Where passes and targets are found, and nowhere else: entry points, the folders beside edpc, files that the user names.

An entry point of the group `edpc.passes` or `edpc.targets` names a package whose modules are scanned, or a module. A module of
passes defines subclasses of `Pass`; a module of targets defines `TARGET`. Modules whose name begins with an underscore are
private to their package. A thing called `some-name` is looked for in the module `some_name` first, so that looking up one
imports one.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import NoReturn, TypeVar

from edpc.errors import EdpcError, UsageError
from edpc.pipeline.base import Pass
from edpc.target import Target

T = TypeVar("T")

_PASSES = "edpc.passes"
_TARGETS = "edpc.targets"
_BUILTIN = {_PASSES: "passes", _TARGETS: "targets"}


def passes() -> dict[str, type[Pass]]:
    """Every registered pass by name, sorted; imports all modules of passes.

    Raises:
        UsageError: two passes share a name (both files are named), or a module cannot be imported.
    """
    return _all(_PASSES, _passes_of)


def targets() -> dict[str, Target]:
    """Every registered target by name, sorted; imports all modules of targets.

    Raises:
        UsageError: two targets share a name (both files are named), or a module cannot be imported.
    """
    return _all(_TARGETS, _targets_of)


def target_names() -> list[str]:
    """Names of the registered targets, sorted, as their modules spell them, and of the measured one where there is one.

    Imports none of them.
    """
    from edpc.measured import NAME, default_path

    names = {name.rpartition(".")[2].replace("_", "-") for name in _modules(_TARGETS)}
    return sorted(names | {NAME} if default_path().is_file() else names)


def find_pass(name: str, extra: Mapping[str, type[Pass]] | None = None) -> type[Pass]:
    """The pass of that name; its module alone is imported where it is called as the pass is.

    Args:
        name: as in a pipeline.
        extra: passes of files that the user named.

    Raises:
        UsageError: there is none (and which one may be meant), or two share the name.
    """
    extra = extra or {}
    try:
        registered: type[Pass] | None = _find(_PASSES, name, _passes_of)
    except KeyError:
        registered = None
    if name in extra:
        if registered is not None and registered is not extra[name]:
            _duplicate("passes", name, _file_of(registered.__module__), _file_of(extra[name].__module__))
        return extra[name]
    if registered is None:
        _unknown("pass", name, [*passes(), *extra, "fixpoint"], "see `edpc passes`")
    return registered


def find_target(name: str, sets: Sequence[str] = ()) -> Target:
    """The target of that name, or of the file where it ends in `.py` or `.json`, with constants and settings exchanged.

    Args:
        name: `h100`, or `./my_npu.py`, a module that defines `TARGET`, or `./host.json`, which `edpc calibrate` wrote; `cpu-host`
            is the one it wrote for this machine.
        sets: `KEY=VALUE` texts, see `apply_set`.

    Raises:
        UsageError: there is none (and which one may be meant), its file cannot be loaded, or a text of `sets` does not apply.
    """
    if name.endswith(".py"):
        target = _target_of_file(Path(name))
    elif name == "cpu-host" or name.endswith(".json"):
        target = _measured_target(name)
    else:
        try:
            target = _find(_TARGETS, name, _targets_of)
        except KeyError:
            _unknown("target", name, [*targets(), "cpu-host"], "see `edpc targets`, or give a file ./NAME.py")
    for text in sets:
        target = apply_set(target, text)
    return target


def load_passes(path: str | Path) -> dict[str, type[Pass]]:
    """The passes that a file defines, by name.

    Raises:
        UsageError: the file cannot be loaded or defines none; names file and line.
    """
    found = _passes_of(_load(Path(path)))
    if not found:
        raise UsageError(f"{path} defines no pass: a subclass of edpc.pipeline.base.Pass with a name and a run method")
    return found


def load_all_passes(paths: Iterable[str | Path]) -> dict[str, type[Pass]]:
    """The passes of all these files, by name.

    Raises:
        UsageError: as of `load_passes`, or two files define a pass of the same name.
    """
    found: dict[str, type[Pass]] = {}
    for path in paths:
        for name, each in load_passes(path).items():
            if name in found:
                _duplicate("passes", name, _file_of(found[name].__module__), _file_of(each.__module__))
            found[name] = each
    return found


def apply_set(target: Target, text: str) -> Target:
    """The target with one constant or setting exchanged.

    Args:
        target: the machine.
        text: `KEY=VALUE`; a key of `Target.quantities()` (`hbm.bandwidth=4.8TB/s`), the same with a memory named by its role
            (`dram.bandwidth`), or a setting (`launch=eager`).

    Raises:
        UsageError: the text is not of that form, the key is unknown (and which one may be meant), or the value does not fit.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (key and equals and value):
        raise UsageError(f"--set {text}: expected KEY=VALUE, as in hbm.bandwidth=4.8TB/s")
    if key in target.settings:
        return target.with_setting(key, value)
    name = constant_name(target, key)
    from edpc.units import parse_quantity

    unit = target.quantities()[name].unit
    number = parse_quantity(value, unit)
    # Cost models divide by rates and capacities.
    is_divisor = unit.endswith(("/s", "Hz")) or unit == "B"
    if number < 0.0 or (number == 0.0 and is_divisor):
        raise UsageError(f"--set {text}: {key} of target {target.name} must be {'above' if is_divisor else 'at least'} zero")
    return target.with_quantity(name, number, f"set by the user to {value}")


def constant_name(target: Target, key: str) -> str:
    """The name in `Target.quantities()` that a key of `--set` stands for; the key may name a memory by its role.

    Raises:
        UsageError: the target has no such constant; says which one may be meant.
    """
    quantities, aliases = target.quantities(), _roles(target)
    name = aliases.get(key, key)
    if name not in quantities:
        known = [*quantities, *aliases, *target.settings]
        _unknown(f"constant of target {target.name}", key, known, f"see `edpc targets {target.name}`")
    return name


def _roles(target: Target) -> dict[str, str]:
    """Constants of memories by role rather than name, where only one memory plays the role."""
    roles = [memory.role for memory in target.memories]
    return {
        f"{memory.role}.{part}": f"{memory.name}.{part}"
        for memory in target.memories
        if roles.count(memory.role) == 1
        for part in ("capacity", "bandwidth", "read_energy", "write_energy")
    }


# --- modules -------------------------------------------------------------------------------------------------


@cache
def _packages(group: str) -> tuple[str, ...]:
    """Names of the packages and modules that hold passes or targets: by entry point, then the folder beside edpc."""
    names = [point.value.partition(":")[0] for point in entry_points(group=group)]
    builtin = _BUILTIN[group]
    beside = Path(__file__).parents[1] / builtin
    if builtin not in names and (beside / "__init__.py").is_file():
        names.insert(0, builtin)
    return tuple(dict.fromkeys(names))


def _modules(group: str) -> Iterator[str]:
    """Full names of the modules to scan; packages are imported, their modules are not."""
    for name in _packages(group):
        package = _import(name)
        if not hasattr(package, "__path__"):
            yield name
            continue
        for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
            if not info.name.startswith("_"):
                yield f"{name}.{info.name}"


def _find(group: str, name: str, of: Callable[[ModuleType], dict[str, T]]) -> T:
    """The thing of that name, from the module called like it where there is one; a KeyError where there is none."""
    likely = _likely(group, name.replace("-", "_"))
    found = [(module, things[name]) for module in likely if name in (things := of(_import(module)))]
    if len(found) > 1:
        _duplicate(_BUILTIN[group], name, _file_of(found[0][0]), _file_of(found[1][0]))
    return found[0][1] if found else _all(group, of)[name]


def _likely(group: str, name: str) -> list[str]:
    """Of `_modules`, those that end in that name."""
    found = []
    for each in _packages(group):
        package, full = _import(each), f"{each}.{name}"
        if not hasattr(package, "__path__"):
            found += [each] if each.rpartition(".")[2] == name else []
        elif name.isidentifier() and not name.startswith("_") and (full in sys.modules or importlib.util.find_spec(full)):
            found.append(full)
    return found


def _all(group: str, of: Callable[[ModuleType], dict[str, T]]) -> dict[str, T]:
    found: dict[str, tuple[str, T]] = {}
    for module in _modules(group):
        for name, thing in of(_import(module)).items():
            if name in found:
                _duplicate(_BUILTIN[group], name, _file_of(found[name][0]), _file_of(module))
            found[name] = (module, thing)
    return {name: thing for name, (_, thing) in sorted(found.items())}


def _passes_of(module: ModuleType) -> dict[str, type[Pass]]:
    """Passes that the module itself defines."""
    own = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    classes = [each for each in own if issubclass(each, Pass) and not inspect.isabstract(each)]
    for each in classes:
        if not isinstance(getattr(each, "name", None), str):
            raise UsageError(f"{_file_of(module.__name__)}: pass {each.__name__} has no name")
    return {each.name: each for each in classes}


def _targets_of(module: ModuleType) -> dict[str, Target]:
    target = getattr(module, "TARGET", None)
    return {target.name: target} if isinstance(target, Target) else {}


def _target_of_file(path: Path) -> Target:
    found = getattr(_load(path), "TARGET", None)
    if not isinstance(found, Target):
        what = "no TARGET" if found is None else f"a TARGET that is a {type(found).__name__}"
        raise UsageError(f"{path} defines {what}; it must define TARGET = edpc.target.Target(...)")
    return found


def _measured_target(name: str) -> Target:
    from edpc.measured import NAME, default_path, host_target

    return host_target(find_target("cpu"), default_path() if name == NAME else Path(name))


def _import(name: str) -> ModuleType:
    return _guarded(lambda: importlib.import_module(name), name)


def _load(path: Path) -> ModuleType:
    """The module of a file, run anew."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    # A name of its own per path: dataclasses look their module up by name while the file still runs.
    name = f"edpc_file_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _guarded(lambda: loader.exec_module(module), str(path))
    return module


def _guarded(load: Callable[[], T], what: str) -> T:
    """What `load` answers; whatever goes wrong in the loaded code is one sentence with file and line."""
    try:
        return load()
    except SyntaxError as error:
        raise UsageError(f"{error.filename or what}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        if isinstance(error, EdpcError) and not isinstance(error, UsageError):
            raise
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        frames = [f for f in frames if f.filename != __file__]
        where = f"{frames[0].filename}:{frames[0].lineno}" if frames else what
        said = " ".join(str(error).split())
        raise UsageError(f"{where}: {type(error).__name__}{': ' if said else ''}{said}") from error


def _file_of(module: str) -> str:
    return getattr(sys.modules[module], "__file__", None) or module


def _duplicate(what: str, name: str, first: str, second: str) -> NoReturn:
    raise UsageError(f"two {what} are called {name!r}: {first} and {second}; rename one")


def _unknown(what: str, name: str, known: Iterable[str], see: str) -> NoReturn:
    close = get_close_matches(name, list(known), 1)
    raise UsageError(f"there is no {what} {name!r}; " + (f"did you mean {close[0]!r}?" if close else see))
