"""A plan in words."""

from __future__ import annotations

from models.data.findings import few
from models.training.plan.curriculum import Curriculum
from models.training.plan.decisions import Decisions
from models.training.plan.planning import Plan, Request
from models.training.plan.survey import Survey


def description(request: Request, planned: Plan, decided: Decisions) -> list[str]:
    """Say what a plan does, and what it follows from; nothing for generated pages."""
    survey, recipe = decided.survey, planned.recipe
    if not request.labelled_images:
        return []
    known = f"new to the model: {few(survey.new_classes)}" if survey.new_classes else "all known to the model"
    lines = [f"{survey.images} images to learn from; classes {known}"]
    if survey.feature_shift is not None:
        likeness = "unlike them: all of the model learns" if survey.far else "like them: fine-tuning"
        lines.append(
            f"features of the images are {survey.feature_shift:.2f} standard deviations from those that the model "
            f"learnt on, {likeness}"
        )
    lines.append(
        f"plan: {recipe.steps} steps of {recipe.batch_size} images ({passes(planned, survey):.3g} passes) with "
        f"{recipe.optimizer} at {recipe.learning_rate:g}, the backbone at {recipe.backbone_rate:g}"
        f"{sizes(recipe.stages)}"
    )
    if planned.refinement is not None:
        lines.append(f"then {planned.refinement.steps} steps of the box refinement")
    if decided.seconds is not None:
        minutes = round(decided.seconds / 60)
        lines.append(f"about {minutes} minutes on this machine" if minutes > 1 else "about a minute on this machine")
    return lines + [f"warning: {line}" for line in survey.warnings()]


def passes(planned: Plan, survey: Survey) -> float:
    """Passes of a run over its images."""
    return planned.recipe.steps * planned.recipe.batch_size / (survey.images or 1)


def sizes(stages: Curriculum | None) -> str:
    """Image sizes of a run, in words."""
    if stages is None:
        return ""
    ranges = [f"{low} to {high}" for low, high in (stage.shortest_sides for stage in stages.stages)]
    return f"; shortest sides {', then '.join(ranges)} pixels"
