"""Rows: data moves between devices, is built from host data, memory comes to be shared or is exchanged."""

from __future__ import annotations

from typing import Final

from .copies import copy_each, copy_from, copy_into, lifted, to_copy
from .model import Operation

IN_PLACE: Final = (
    "__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__imod__", "__ipow__",
    "__iand__", "__ior__", "__ixor__", "fill_", "zero_", "add_", "sub_", "mul_", "div_", "pow_", "neg_", "abs_", "sqrt_",
    "exp_", "log_", "clamp_", "clip_", "round_", "floor_", "ceil_", "lerp_", "addcmul_", "addcdiv_", "copysign_",
    "logical_not_", "bitwise_not_", "normal_", "uniform_", "random_", "bernoulli_", "exponential_", "masked_fill_",
    "masked_scatter_", "index_fill_", "index_copy_", "index_add_", "index_put_", "put_", "scatter_", "scatter_add_",
    "fill_diagonal_", "tril_", "triu_", "nan_to_num_",
)  # fmt: skip
"""Methods of tensors by which a staging buffer is filled again."""

MOVES: Final[tuple[Operation, ...]] = (
    Operation("Tensor.cpu", "move", ("torch:Tensor.cpu",)),
    Operation("Tensor.cuda", "move", ("torch:Tensor.cuda",)),
    Operation("Tensor.xpu", "move", ("torch:Tensor.xpu",)),
    Operation("Tensor.to", "move", ("torch:Tensor.to",), ("aten._to_copy",), moves=to_copy),
    Operation("Tensor.type", "move", ("torch:Tensor.type",)),
    Operation("Tensor.type_as", "move", ("torch:Tensor.type_as",)),
    Operation("Tensor.copy_", "move", ("torch:Tensor.copy_",), ("aten.copy_",), moves=copy_into),
    Operation("torch._foreach_copy_", overloads=("aten._foreach_copy_",), moves=copy_each),
    Operation(
        "Tensor.copy_",
        overloads=("aten._copy_from", "aten._copy_from_and_resize"),
        moves=copy_from,
        remark="not CUDA",
    ),
    Operation("Tensor.__setitem__", "assign", ("torch:Tensor.__setitem__",), implicit=True),
    Operation(
        "a call in place",
        "write",
        tuple(f"torch:Tensor.{name}" for name in IN_PLACE),
        remark="put in place with the first copy from host memory that does not block",
    ),
    Operation("Tensor.pin_memory", "move", ("torch:Tensor.pin_memory",)),
    Operation("Module.to", "module", ("torch.nn:Module.to",), absorbs=True),
    Operation("Module.cpu", "module", ("torch.nn:Module.cpu",), absorbs=True),
    Operation("Module.cuda", "module", ("torch.nn:Module.cuda",), absorbs=True),
    Operation("Module.xpu", "module", ("torch.nn:Module.xpu",), absorbs=True),
    Operation("Module.load_state_dict", "module", ("torch.nn:Module.load_state_dict",), absorbs=True),
)

BUILDS: Final[tuple[Operation, ...]] = (
    Operation(
        "torch.tensor",
        "build",
        ("torch:tensor",),
        ("aten.lift_fresh",),
        moves=lifted,
        remark="the copy runs with the Python key excluded; also asarray, new_tensor and x[[0, 1]]",
    ),
    Operation("torch.as_tensor", "build", ("torch:as_tensor",)),
    Operation("torch.asarray", "build", ("torch:asarray",)),
    Operation("Tensor.new_tensor", "build", ("torch:Tensor.new_tensor",)),
    Operation(
        "torch.Tensor",
        "build",
        ("torch:Tensor.__new__",),
        remark="shares float32 arrays although it looks like a copy",
    ),
)

SHARES: Final[tuple[Operation, ...]] = (
    Operation("Tensor.numpy", "share", ("torch:Tensor.numpy",), absorbs=True),
    Operation("Tensor.__array__", "share", ("torch:Tensor.__array__",), implicit=True, absorbs=True),
    Operation("Tensor.__dlpack__", "share", ("torch:Tensor.__dlpack__",), absorbs=True),
    Operation("torch.from_numpy", "share", ("torch:from_numpy",)),
    Operation("torch.frombuffer", "share", ("torch:frombuffer",)),
    Operation(
        "torch.from_dlpack", "share", ("torch:from_dlpack", "torch.utils.dlpack:from_dlpack"), absorbs=True
    ),
    Operation("torch.utils.dlpack.to_dlpack", "share", ("torch:to_dlpack", "torch.utils.dlpack:to_dlpack")),
)

STATES: Final[tuple[Operation, ...]] = (
    Operation(
        "Module.state_dict",
        "state",
        ("torch.nn:Module.state_dict",),
        absorbs=True,
        remark="its tensors are the live parameters",
    ),
    Operation("torch.save", "save", ("torch:save", "torch.serialization:save"), absorbs=True),
    Operation("torch.load", "load", ("torch:load", "torch.serialization:load"), absorbs=True),
)

RELOCATIONS: Final[tuple[Operation, ...]] = (
    Operation("Tensor.share_memory_", "relocate", ("torch:Tensor.share_memory_",), absorbs=True),
    Operation("Module.share_memory", "relocate", ("torch.nn:Module.share_memory",), absorbs=True),
    Operation(
        "Queue.put",
        "relocate",
        ("multiprocessing.queues:Queue.put", "multiprocessing.queues:SimpleQueue.put"),
        absorbs=True,
        remark="the queue's own thread pickles later: told here, where the user stands",
    ),
    Operation("Tensor.resize_", "relocate", ("torch:Tensor.resize_",)),
    Operation("UntypedStorage.resize_", "relocate", ("torch:UntypedStorage.resize_",)),
    Operation(
        "UntypedStorage.share_memory_",
        "relocate",
        (
            "torch:UntypedStorage.share_memory_",
            "torch:UntypedStorage._share_fd_cpu_",
            "torch:UntypedStorage._share_filename_cpu_",
        ),
        absorbs=True,
        remark="torch.multiprocessing's queues and pickles share a storage by the last two",
    ),
)
