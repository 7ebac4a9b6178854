"""Which rule speaks of a finding: a table that is read from top to bottom, the first row that fits wins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ..words import Kind

Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """``ops``: patterns on the operation's name, as for file names, separated by spaces; empty fits all."""

    rule: str
    kind: Kind
    ops: str = ""
    when: Callable[[Details], bool] | None = None
    implicit: bool | None = None

    def fits(self, kind: str, op: str, implicit: bool, details: Details) -> bool:
        if kind != self.kind or self.implicit not in (None, implicit):
            return False
        if self.when is not None and not self.when(details):
            return False
        return not self.ops or any(fnmatchcase(op, pattern) for pattern in self.ops.split())


def _said(*words: str) -> Callable[[Details], bool]:
    """The exception's message holds one of these words of PyTorch 2.13 or NumPy 2.4, in lower case."""
    lowered = tuple(word.lower() for word in words)
    return lambda details: any(word in str(details.get("message", "")).lower() for word in lowered)


def _type(name: str, certain: bool | None = None) -> Callable[[Details], bool]:
    return lambda details: details.get("type") == name and certain in (None, details.get("certain", True))


def _writer(name: str) -> Callable[[Details], bool]:
    return lambda details: details.get("writer") == name


def _direction(name: str) -> Callable[[Details], bool]:
    return lambda details: details.get("direction") == name


def _shares(source: str) -> Callable[[Details], bool]:
    return lambda details: str(details.get("direction", "")).startswith(source)


def _only_traced(details: Details) -> bool:
    """Only the driver's call-back saw the wait: nothing in the user's code explains it."""
    seen_by = details.get("seen_by")
    return seen_by == "trace" or (isinstance(seen_by, list | tuple) and list(seen_by) == ["trace"])


def _background(details: Details) -> bool:
    return bool(details.get("non_blocking")) and not details.get("blocking", True)


def _stuck(details: Details) -> bool:
    return bool(details.get("non_blocking")) and bool(details.get("blocking"))


ROWS: Final[tuple[Row, ...]] = (
    Row("TWG104", "transfer", "Module.to Module.cpu Module.cuda Module.xpu"),
    Row("TWG110", "transfer", "Module.load_state_dict"),
    Row("TWG103", "transfer", "", _direction("d2d")),
    Row("TWG106", "transfer", "", _stuck),
    Row("TWG108", "transfer", "", _background),
    Row("TWG107", "transfer", "Tensor.__getitem__ Tensor.__setitem__ torch.where"),
    Row(
        "TWG105",
        "transfer",
        "torch.tensor torch.as_tensor torch.asarray Tensor.new_tensor torch.Tensor",
        _direction("h2d"),
    ),
    Row("TWG102", "transfer", "", _direction("d2h")),
    Row("TWG101", "transfer"),
    Row("TWG221", "sync", "*Event.synchronize"),
    Row("TWG220", "sync", "*.synchronize"),
    Row("TWG211", "sync", "Tensor.item", implicit=True),
    Row("TWG201", "sync", "Tensor.item Tensor.tolist Tensor.__float__ Tensor.__int__ Tensor.__complex__"),
    Row("TWG202", "sync", "Tensor.__bool__ torch.is_nonzero"),
    Row("TWG203", "sync", "Tensor.__repr__ Tensor.__format__ Tensor.__str__"),
    Row("TWG205", "sync", "Tensor.__contains__"),
    Row("TWG207", "sync", "Tensor.__setitem__"),
    Row(
        "TWG206",
        "sync",
        "Tensor.__getitem__ torch.masked_select torch.nonzero torch.argwhere torch.where torch.unique* "
        "torch.bincount torch.histc torch.repeat_interleave torch.mode torch.combinations torch.nested.* "
        "Tensor.to_sparse* Tensor.coalesce *one_hot",
    ),
    Row(
        "TWG204",
        "sync",
        "Tensor.__index__ Tensor.masked_fill Tensor.index_fill torch.linspace torch.logspace torch.normal",
    ),
    Row("TWG208", "sync", "torch.equal torch.allclose"),
    Row("TWG211", "sync", "torch.linalg.matrix_exp torch.cholesky_inverse torch.isin torch.segment_reduce"),
    Row("TWG209", "sync", "torch.linalg.* torch.cholesky torch.inverse"),
    Row("TWG210", "sync", "*ctc_loss* *quant*"),
    Row("TWG211", "sync", "", _only_traced),
    Row("TWG200", "sync"),
    Row("TWG231", "read"),
    Row("TWG306", "alias", "", lambda details: bool(details.get("severed"))),
    Row("TWG305", "alias", "Module.state_dict Module.load_state_dict"),
    Row("TWG304", "alias", "*dlpack* torch.frombuffer *.frombuffer"),
    Row("TWG303", "alias", "torch.Tensor torch.FloatTensor torch.as_tensor torch.asarray torch.*Tensor"),
    Row("TWG301", "alias", "", _shares("tensor")),
    Row("TWG304", "alias", "", _shares("buffer")),
    Row("TWG302", "alias"),
    Row("TWG401", "mutation", "", _writer("numpy")),
    Row("TWG402", "mutation", "", _writer("torch")),
    Row("TWG403", "mutation"),
    Row("TWG502", "hazard", "", _type("stale-gradient", certain=False)),
    Row("TWG501", "hazard", "", _type("stale-gradient")),
    Row("TWG503", "hazard", "", _type("dangling-alias")),
    Row("TWG505", "hazard", "", _type("async-copy", certain=False)),
    Row("TWG504", "hazard", "", _type("async-copy")),
    Row("TWG506", "hazard", "", _type("followed-state")),
    Row("TWG509", "hazard"),
    Row("TWG602", "refusal", "", _said("requires grad", "require gradients", "tensor.detach()")),
    Row(
        "TWG607",
        "refusal",
        "",
        _said("layout tensor", "to_dense", "conjugate bit", "negative bit", "nested", "have storage"),
    ),
    Row("TWG601", "refusal", "", _said("device type tensor to numpy", "tensor.cpu()", "host memory first")),
    Row(
        "TWG603",
        "refusal",
        "",
        _said("elements cannot be converted", "one element", "single element", "is ambiguous"),
    ),
    Row("TWG604", "refusal", "", _said("strides")),
    Row("TWG606", "refusal", "", _said("avoid copy", "can't alias", "cannot alias", "copy=false")),
    Row(
        "TWG605",
        "refusal",
        "",
        _said("scalartype", "np.ndarray of type", "byte order", "unsupported dtype"),
    ),
    Row("TWG609", "refusal"),
)
