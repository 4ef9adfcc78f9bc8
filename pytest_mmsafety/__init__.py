"""pytest-mmsafety: gates multimodal checkpoints on safety, with error bars.

Public names are imported from their modules: ``pytest_mmsafety.targets`` (Request, Target),
``pytest_mmsafety.judges`` (Judge, Verdict), ``pytest_mmsafety.cases`` (Case), ``pytest_mmsafety.run``
(Run, load_run), ``pytest_mmsafety.gates`` (evaluate_gates), ``pytest_mmsafety.policies`` (read_policy).
"""
