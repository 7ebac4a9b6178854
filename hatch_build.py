"""Build hook: puts the activation line (``tensorwatch_guard.pth``) beside the package, where Python reads it at start.

Both kinds of wheel get it, the ordinary one and the editable one; hatchling keeps their extra files in two places.
"""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ACTIVATION = "tensorwatch_guard.pth"


class ActivationLine(BuildHookInterface[Any]):
    """Adds the one line file that starts a guard where ``TENSORWATCH_GUARD`` is set, and does nothing elsewhere."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        where = "force_include_editable" if version == "editable" else "force_include"
        build_data[where][os.path.join(self.root, "src", ACTIVATION)] = ACTIVATION
