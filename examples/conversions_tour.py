"""A tour of the conversions between tensors, arrays and Python numbers: what shares memory, what copies, what waits.

Run it alone to see each rule of `docs/conversions.md` proven, or under the guard to see the findings it causes:

    python examples/conversions_tour.py
    python -m tensorwatch_guard run examples/conversions_tour.py
    python -m tensorwatch_guard run --simulate cuda examples/conversions_tour.py    # the device's rules without a GPU

A comment ``# rule N`` stands on the line that rule N of the table speaks of, ``# write N`` on a write that shows it.
"""

from __future__ import annotations

import numpy as np
import torch


def told(rule: int, sentence: str, holds: bool) -> None:
    """Print one rule with what was seen; stop where it does not hold."""
    print(f"{rule:>3}  {sentence}")
    if not holds:
        raise SystemExit(f"rule {rule} does not hold with torch {torch.__version__}, numpy {np.__version__}")


def same_memory(array: np.ndarray, tensor: torch.Tensor) -> bool:
    """Whether both begin at the same address."""
    return int(array.__array_interface__["data"][0]) == tensor.data_ptr()


def refused(rule: int, kind: type[Exception], error: Exception | None) -> None:
    """Print a refusal with PyTorch's own words."""
    words = str(error).splitlines()[0][:90] if error else "nothing was raised"
    told(rule, f"{kind.__name__}: {words}", isinstance(error, kind))


def tensor_to_array() -> None:
    """Rules 1 to 6: from a tensor to an array."""
    print("From a tensor to an array")
    tensor = torch.tensor([1.0, 2.0, 3.0])
    array = tensor.numpy()  # rule 1
    array[0] = 100.0  # write 1
    told(1, "t.numpy() of a CPU tensor shares: the tensor follows", tensor.tolist() == [100.0, 2.0, 3.0])

    own = tensor.numpy().copy()  # rule 2
    own[1] = -1.0
    told(2, "t.numpy().copy() has memory of its own", tensor.tolist() == [100.0, 2.0, 3.0])

    cloned = tensor.clone()
    apart = cloned.numpy()  # rule 3
    apart[2] = 7.0  # write 3
    told(3, "t.clone().numpy() shares with the clone only", cloned[2].item() == 7.0 and tensor[2].item() == 3.0)

    view = np.asarray(tensor)  # rule 4
    told(4, "np.asarray(t) shares as .numpy() does", same_memory(view, tensor))

    wide = np.asarray(tensor, dtype=np.float64)  # rule 5
    told(5, "np.asarray(t, dtype=another) copies", not np.shares_memory(wide, view))

    half = torch.ones(2, dtype=torch.bfloat16)
    error: Exception | None = None
    try:
        half.numpy()  # rule 6
    except TypeError as caught:
        error = caught
    refused(6, TypeError, error)


def tensors_with_gradients() -> None:
    """Rules 7 to 9: tensors that need a gradient."""
    print("Tensors that need a gradient")
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    error: Exception | None = None
    try:
        weight.numpy()  # rule 7
    except RuntimeError as caught:
        error = caught
    refused(7, RuntimeError, error)

    values = weight.detach().numpy()  # rule 8
    values[0] = 5.0  # write 8
    told(8, "w.detach().numpy() shares the parameter's own memory", weight[0].item() == 5.0)

    kept = weight.detach().clone().numpy()  # rule 9
    told(9, "w.detach().clone().numpy() is a snapshot", not same_memory(kept, weight))


def array_to_tensor() -> None:
    """Rules 10 to 16: from an array to a tensor."""
    print("From an array to a tensor")
    double = np.array([1.0, 2.0, 3.0])
    shared = torch.from_numpy(double)  # rule 10
    double[0] = 100.0  # write 10
    follows = shared[0].item() == 100.0
    told(10, "torch.from_numpy(a) shares, and float64 stays float64", follows and shared.dtype == torch.float64)

    copied = torch.tensor(double, dtype=torch.float32)  # rule 11
    told(11, "torch.tensor(a, dtype=...) copies and takes a dtype", copied.dtype == torch.float32)

    same = torch.as_tensor(double)  # rule 12
    told(12, "torch.as_tensor(a) shares where dtype and device fit", same_memory(double, same))

    other = torch.as_tensor(double, dtype=torch.float32)  # rule 13
    told(13, "torch.as_tensor(a, dtype=another) copies", not same_memory(double, other))

    single = np.ones(3, dtype=np.float32)
    looks_copied = torch.Tensor(single)  # rule 14
    single[1] = 7.0  # write 14
    told(14, "torch.Tensor(a) of a float32 array shares, whatever it looks like", looks_copied[1].item() == 7.0)

    constructed = torch.Tensor(double)  # rule 15
    told(15, "torch.Tensor(a) of a float64 array copies, to float32", constructed.dtype == torch.float32)

    error: Exception | None = None
    try:
        torch.from_numpy(double[::-1])  # rule 16
    except ValueError as caught:
        error = caught
    refused(16, ValueError, error)


def scalars() -> None:
    """Rules 17 to 23: from a tensor to Python numbers."""
    print("From a tensor to Python numbers")
    scalar = torch.tensor(3.5)
    told(17, "t.item() reads one element", scalar.item() == 3.5)  # rule 17

    boxed = torch.tensor([[5.0]])
    told(18, "t.item() wants one element, of any shape: [[5.]] too", boxed.item() == 5.0)  # rule 18

    numbers = float(boxed), int(boxed), bool(boxed)  # rule 19
    told(19, "float(t), int(t), bool(t) read implicitly, and so does `if t:`", numbers == (5.0, 5, True))

    many = torch.tensor([1.0, 2.0, 3.0])
    error: Exception | None = None
    try:
        many.item()  # rule 20
    except RuntimeError as caught:
        error = caught
    refused(20, RuntimeError, error)
    told(21, "reduce first, or take the list: t.sum().item(), t.tolist()", many.sum().item() == 6.0)  # rule 21

    loss = (torch.ones(1, requires_grad=True) * 2).sum()
    value = loss.detach().item()  # rule 22
    told(22, "a scalar that needs a gradient can be read; .detach() says so openly", value == 2.0)

    losses = [scalar * number for number in range(4)]
    curve = torch.stack(losses).tolist()  # rule 23
    told(23, "one read of a stack instead of one for each", curve == [0.0, 3.5, 7.0, 10.5])


def devices() -> None:
    """Rules 24 to 30: tensors on a device."""
    print("Tensors on a device")
    device = torch.device("cuda")
    host = np.ones(4, dtype=np.float32)
    placed = torch.from_numpy(host).to(device)  # rule 24
    told(24, "torch.from_numpy(a).to(device) is a copy", placed.device.type == "cuda")

    error: Exception | None = None
    try:
        placed.numpy()  # rule 25
    except TypeError as caught:
        error = caught
    refused(25, TypeError, error)

    fetched = placed.cpu()  # rule 26
    array = fetched.numpy()
    array[0] = 9.0  # write 26
    told(26, "d.cpu().numpy() is a copy of the device's values", fetched[0].item() == 9.0)

    total = placed.sum()
    told(27, "reading a device scalar makes the host wait", total.item() == 4.0)  # rule 27

    number = total.cpu().item()  # rule 28
    told(28, "d.cpu().item() waits as much as d.item()", number == 4.0)

    positive = bool(total > 0)  # rule 29
    told(29, "float(d), bool(d), `if d:` and print(d) wait as well", positive)

    values = torch.stack([total, total * 2, total * 3]).tolist()  # rule 30
    told(30, "one read of a stack waits once", values == [4.0, 8.0, 12.0])


def main() -> None:
    """Walk through all rules that can be shown on this machine."""
    tensor_to_array()
    tensors_with_gradients()
    array_to_tensor()
    scalars()
    if torch.cuda.is_available():
        devices()
    else:
        print("Tensors on a device: none here; `tensorwatch-guard run --simulate cuda` shows rules 24 to 30")


if __name__ == "__main__":
    main()
