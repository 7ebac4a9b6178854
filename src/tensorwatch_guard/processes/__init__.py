"""Many processes, one report: what a guard's children are told, how they report, and how their parts come together.

``family`` is what children are told, ``child`` what they do, ``household`` what their parent does, ``parts`` the files
between them, ``siblings`` the ranks that no parent of ours has started.
"""
