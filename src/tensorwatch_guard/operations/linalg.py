"""Rows: linear algebra that looks whether a factorisation succeeded.

``_linalg_check_errors(info)`` is ``infos.any().item()`` (``BatchLinearAlgebra.cpp:1571``). ``*_ex`` variants
leave the looking to the caller. Which solver cuSOLVER or MAGMA runs, and what more it waits for on a side
stream, is not in this table.
"""

from __future__ import annotations

from typing import Final

from .model import Arguments, Keywords, Operation


def _checks(_args: Arguments, kwargs: Keywords) -> bool:
    return bool(kwargs.get("check_errors", False))


def _has_norms(args: Arguments, _kwargs: Keywords) -> bool:
    """``matrix_exp`` chooses its approximation by norms that are fetched (``mexp_impl`` in ``LinearAlgebra.cpp``);
    of matrices of one element it is ``exp``.
    """
    return bool(args[0].numel() > 0 and args[0].size(-1) > 1)


def _looks(name: str, *overloads: str, remark: str = "") -> Operation:
    return Operation(name, overloads=overloads, waits="always", implicit=True, remark=remark)


def _ex(name: str, *overloads: str) -> Operation:
    return Operation(
        name, overloads=overloads, waits=_checks, implicit=True, remark="only with check_errors=True"
    )


LINALG: Final[tuple[Operation, ...]] = (
    _looks(
        "torch.linalg.inv",
        "aten._linalg_check_errors.default",
        remark="also solve, cholesky, lu_factor, ldl_factor, inverse",
    ),
    _looks(
        "torch.linalg.eigh",
        "aten._linalg_eigh",
        remark="the check is inside; also eigvalsh, matrix norms, cond",
    ),
    _looks(
        "torch.linalg.eig",
        "aten.linalg_eig",
        "aten.linalg_eigvals",
        "aten._linalg_eigvals",
        remark=".to(CPU), isfinite().all().item()",
    ),
    _looks("torch.linalg.svd", "aten._linalg_svd", remark="also svdvals, pinv, matrix_rank"),
    _looks("torch.linalg.lstsq", "aten.linalg_lstsq", remark="the check, and rank.item()"),
    _looks("torch.cholesky", "aten.cholesky", remark="the old name checks inside the op"),
    _looks("torch.cholesky_inverse", "aten.cholesky_inverse", remark="the check is inside"),
    Operation(
        "torch.linalg.matrix_exp", overloads=("aten.linalg_matrix_exp",), waits=_has_norms, implicit=True
    ),
    _ex("torch.linalg.inv_ex", "aten.linalg_inv_ex"),
    _ex("torch.linalg.cholesky_ex", "aten.linalg_cholesky_ex"),
    _ex("torch.linalg.lu_factor_ex", "aten.linalg_lu_factor_ex"),
    _ex("torch.linalg.ldl_factor_ex", "aten.linalg_ldl_factor_ex"),
    _ex("torch.linalg.solve_ex", "aten._linalg_solve_ex", "aten.linalg_solve_ex"),
)
