"""Who needs a base: runs that have not ended, and models whose bytes are here."""

from __future__ import annotations

from gtftd.ctl.target import Target


def needs(target: Target, digest: str) -> list[str]:
    """Each as a person names it. A state that was never trained in has none."""
    from gtftd.ctl.model_open import registry_of
    from gtftd.jobs import unended_runs

    if not target.state_dir.is_dir():
        return []
    specs = [spec for folder in unended_runs(target.state_dir) if (spec := folder.try_spec()) is not None]
    found = [f"the run {spec.run}" for spec in specs if spec.base_digest == digest]
    if not (target.state_dir / "state.db").exists():
        return found
    with registry_of(target).reading() as reading:
        models = [model for model in reading.models() if model.base_digest == digest and model.artifact_path]
    return found + [f"the model {model.name}" for model in models]
