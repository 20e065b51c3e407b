"""Graceful degradation: images that would be late are detected in more cheaply, as the ladder says."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from models.detector import Detector
from models.preprocess import resized_for
from service.detection_options import DetectionOptions
from service.rungs import Rung, RungTimes, measure_rungs
from service.scheduling.costs import CostModel
from service.scheduling.ladder import Ladder, applied_rung, useful_rungs


@dataclass(frozen=True, slots=True)
class Step:
    """An image at a rung: the options that it is detected with there.

    `shares` has its time at every rung, in any unit: only ratios count. `rung` is None, and there are no shares, where
    the ladder has no say in the image. `note` says what the rung means, for people; empty at rung 0.
    """

    options: DetectionOptions
    rung: int | None = None
    shares: tuple[float, ...] = ()
    note: str = ""


class Degradation:
    """Applies the ladder to images of requests that leave attention, size and tiles to the service.

    `rungs` are those below rung 0. `costs` predicts what an image takes at the rung that it was prepared for, and the
    ratios that were measured side by side at the start what it would take at the others: times with load and without
    are never compared.
    """

    def __init__(self, detector: Detector, rungs: Sequence[Rung], ladder: Ladder, costs: CostModel) -> None:
        self.rungs = (Rung(), *rungs)
        self.ladder = ladder
        self.times: RungTimes | None = None
        self._detector = detector
        self._costs = costs

    def measure(self) -> None:
        """Measure what the rungs take, by the calling thread: the one that predicts. Before, nothing is degraded."""
        self.times = measure_rungs(self._detector, self.rungs)

    def present(self, height: int, width: int, options: DetectionOptions) -> Step:
        """Return an image of `height` x `width` pixels at the present rung, or at the one above that is as fast."""
        if not options.may_be_cheaper or self.times is None:
            return Step(options)
        resized_height, resized_width = resized_for(self._detector.config, height, width)
        shares = self.times.at(resized_height * resized_width)
        return self._step(applied_rung(useful_rungs(shares), self.ladder.rung), shares, options)

    def choose(
        self, present: Step, key: Hashable, pixels: Sequence[int], elapsed: float, patience: float = math.inf
    ) -> Step:
        """Return the image at the rung at which it is in time, `elapsed` seconds after its arrival; count its load.

        `patience` are the seconds until its deadline. `key` and `pixels` are those of its tasks at the present rung, as
        the cost model knows them. One without a rung stays as it is.
        """
        seconds = sum(self._costs.predict(key, each) for each in pixels)
        if present.rung is None:
            self.ladder.count(seconds)
            return present
        unit = seconds / present.shares[present.rung]
        rung = self.ladder.choose([unit * share for share in present.shares], elapsed, patience)
        return self._step(rung, present.shares, present.options)

    def _step(self, rung: int, shares: tuple[float, ...], options: DetectionOptions) -> Step:
        if rung == 0:
            return Step(options, 0, shares)
        chosen = self.rungs[rung]
        cheaper = replace(options, attention=chosen.attention, reason="auto")
        if chosen.size is not None:
            cheaper = replace(cheaper, size=chosen.size)
        saved = 1 - shares[rung] / shares[0]
        note = (
            f"rung {rung} of the ladder ({chosen}), to answer within {1e3 * self.ladder.target:g} ms under load; "
            f"it was measured to save {saved:.0%} of the time"
        )
        return Step(cheaper, rung, shares, note)
