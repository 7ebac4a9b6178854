"""Reports: what a guard found, as an immutable value, and its renderers. Collection knows nothing of this package.

``model`` is the value and its questions, ``schema`` the file, ``story`` and ``verdict`` what belongs together and what
matters most, one renderer a file (``formats`` lists them), ``merge`` and ``diff`` work on whole reports.
"""

from __future__ import annotations
