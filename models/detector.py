"""The detector: images in, detections out. The only face of the model that the service sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.attention.auto import AutoAttention, ChosenAttention
from models.attention.layer_inputs import AttentionInputs
from models.attention_config import AttentionConfig
from models.config import DetrConfig
from models.detections import AttentionReport, Detections, LayerClusters, Prediction
from models.detr.canvas import canvas_size
from models.detr.detr import Detr, DetrOutput, Features
from models.detr.encoder import Encoded
from models.detr.mask_head import Segmentable
from models.device import choose_device, on_device, on_host
from models.images import ImageBatch, PackedTokens
from models.masks.masks import Masks
from models.measurement.kept_times import auto_attention
from models.networks.interruptible import interruptible
from models.networks.network import Family, Network, NoMaskHead, exact_gflops
from models.networks.own import OwnNetwork
from models.postprocess import detected_queries, read_detections
from models.precision import Precision, automatic_precision
from models.preprocess import PreparedImage, normalise, prepare
from models.tiles.merging import merged
from models.tiles.tiling import Tiling, parse_tiles
from models.weights import ForeignModel, Progress, load_strict, resolve


class DeviceOutOfMemory(RuntimeError):
    """The device has no room for this batch; a smaller one may fit."""


class Detector:
    """A DETR ready to run: weights loaded, batch norm folded, on its device.

    `preprocess` may be called from any thread, `predict` on a GPU from one at a time. `network` is what runs, in
    `dtype` on `device`; it is never trained. `auto` is what `auto_attention` chooses by, None until something has
    measured it. `commit` is that of a model of the Hugging Face hub.
    """

    def __init__(self, network: Detr | Network, device: str = "cpu", precision: Precision = "fp32") -> None:
        module = network if isinstance(network, Detr) else network.module
        self.parameters = sum(parameter.numel() for parameter in module.parameters())  # before norms are folded
        self.network: Network = OwnNetwork(network) if isinstance(network, Detr) else network
        self.config: DetrConfig = self.network.config
        self.name = self.config.name
        self.labels = tuple(label for label in self.config.labels if label is not None)
        self.device = device
        self.precision: Precision = precision
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.auto: AutoAttention | None = None
        self.commit: str | None = None
        self.network.make_ready(torch.device(device), self.dtype)

    @property
    def family(self) -> Family:
        """What kind of network it is, and which attention modes apply."""
        return self.network.family

    @property
    def detr(self) -> Detr:
        """The network itself, for code that looks inside. Raises ValueError where it is not our own."""
        if isinstance(self.network, OwnNetwork):
            return self.network.detr
        raise ValueError(
            f"{self.name} ({self.family.name}) is run by {self.family.engine}; this needs a model that act-detr runs "
            "itself: DETR or Table Transformer with a ResNet"
        )

    def detect(
        self,
        image: NDArray[np.uint8],
        attention: AttentionConfig | None = None,
        threshold: float = 0.0,
        size: int | None = None,
        tiles: str | None = None,
        masks: bool = False,
    ) -> Prediction:
        """Detect in one uint8 RGB image [H, W, 3]; by exact attention by default.

        `threshold` in 0..1: see `predict`. `size`: see `preprocess`. `tiles` are `ROWSxCOLUMNS` or `auto`
        (`models.tiles`): each is detected in like an image, one after another, and its overlapping boxes are dropped by
        the model's `nms` before all are merged. `masks`: see `predict`. Raises ValueError for any other tiles, and for
        masks of tiles.
        """
        chosen = attention or AttentionConfig.exact()
        if tiles is None:
            return self.predict([self.preprocess(image, size)], chosen, [threshold], masks)[0]
        if masks:
            raise ValueError("tiles and masks cannot be combined: parts of a mask from several tiles are not joined")
        config = self.config.resized_to(size or self.config.shortest_side)
        tiling = Tiling.of(image.shape[0], image.shape[1], parse_tiles(tiles), config)
        prepared = (self.preprocess(tile, size) for tile in tiling.cut(image))
        return merged(tiling, [self.predict([one], chosen, [threshold])[0] for one in prepared], self.config.nms)

    def preprocess(self, image: NDArray[np.uint8], size: int | None = None) -> PreparedImage:
        """Resize one uint8 RGB image [H, W, 3], to the model's own shortest side or to one of `size` pixels.

        The longest side keeps its proportion to the shortest. For a GPU the pixels lie in pinned memory. Raises
        ValueError for any other image, and for a size that is not among the model's `DetrConfig.sides`: `with_sizes`
        gives a detector for those.
        """
        least, largest = self.config.sides
        if size is not None and not least <= size <= largest:
            raise ValueError(f"{self.name} takes sizes of {least} to {largest} pixels, not {size}")
        config = self.config if size is None else self.config.resized_to(size)
        return prepare(image, config, pinned=self.device.startswith("cuda"))

    @torch.inference_mode()
    def predict(
        self,
        images: Sequence[PreparedImage],
        attention: AttentionConfig,
        thresholds: Sequence[float] | None = None,
        masks: bool | Sequence[bool] = False,
    ) -> list[Prediction]:
        """Detect in images of any sizes, in order. What one image gets does not depend on the others.

        `thresholds` has an entry per image, in 0..1: detections of a lower score are left out, and not refined.
        Without thresholds, there is a detection for every query.

        `masks` says of all images, or of each, whether detections get masks: those of at least the threshold, each
        mask in pixels of the original image.

        On a CPU the images run one after another: a batch would be no faster there, and its matrix products
        would round differently with every batch size. So an image's result is the same bit for bit.

        Raises DeviceOutOfMemory, AttentionNotApplicable where the network cannot attend so, and NoMaskHead.
        """
        min_scores = [0.0] * len(images) if thresholds is None else thresholds
        masked = [masks] * len(images) if isinstance(masks, bool) else masks
        if any(masked) and self.mask_refusal is not None:
            raise NoMaskHead(self.mask_refusal)
        inputs = list(zip(images, min_scores, masked, strict=True))
        batches = [inputs] if inputs and self.device.startswith("cuda") else [[one] for one in inputs]
        with self.noticing_out_of_memory(len(images)):
            return [prediction for batch in batches for prediction in self._predict_together(batch, attention)]

    @torch.inference_mode()
    def outputs(
        self,
        images: Sequence[PreparedImage],
        attention: AttentionConfig,
        thresholds: Sequence[float] | None = None,
        masks: bool = False,
    ) -> DetrOutput:
        """What the device computes for one batch, on the device; arguments as in `predict`. Waits for no result.

        With `masks`, it holds what masks are made of, and no masks yet.
        """
        self.family.check(attention)
        return self.network.attend(self.network.features(self._batch(images), masks), attention, thresholds)

    @torch.inference_mode()
    def shared_features(self, image: PreparedImage) -> Any:
        """What of one image `network.attend` can take with any attention, any number of times."""
        return self.network.features(self._batch([image]))

    @torch.inference_mode()
    def features(self, image: PreparedImage) -> Features:
        """Normalise one image and run the backbone: what `detr` makes encoder tokens and refined boxes from."""
        return self.detr.features(self._batch([image]))

    @torch.inference_mode()
    def encoder_tokens(self, image: PreparedImage) -> PackedTokens:
        """Return the tokens that enter the encoder for one image."""
        return self.detr.tokens(self._batch([image]))

    @torch.inference_mode()
    def layer_inputs(self, image: PreparedImage, attention: AttentionConfig, layer: int) -> AttentionInputs:
        """What an encoder layer attends with when `predict` detects in one image: all before it is computed alike.

        Nothing after it is computed. Raises DeviceOutOfMemory, AttentionNotApplicable where the network cannot attend
        so, and ValueError where its encoder has no such layer.
        """
        self.family.check(attention)
        with self.noticing_out_of_memory(1):
            return self.network.layer_inputs(self._batch([image]), attention, layer)

    def grid(self, image: PreparedImage) -> tuple[int, int] | None:
        """Rows and columns in which the encoder's tokens cover an image, row by row; None where they are no grid."""
        return self.network.grid(image.pixels.shape[1], image.pixels.shape[2])

    def read(self, logits: Tensor, boxes_cxcywh: Tensor, image: PreparedImage) -> Detections:
        """Detections of one image from what the network gave for it, on the CPU: see `read_detections`."""
        return read_detections(logits, boxes_cxcywh, image, self.config.labels, self.family.scoring)

    @property
    def mask_refusal(self) -> str | None:
        """Say why the model gives no masks; None where it gives them, being a DETR for segmentation with its head."""
        if self.network.mask_head is not None:
            return None
        return (
            f"{self.name} gives no masks: a DETR for segmentation does, whose weights hold a mask head, such as "
            "facebook/detr-resnet-50-panoptic"
        )

    def with_sizes(self, shortest_side: int, longest_side: int | None = None) -> Detector:
        """Return a detector with the same network that resizes images to other sides, in pixels, and to no others.

        Without `longest_side` the two keep their proportion. The sides need not be among those of the training.
        """
        if not self.family.other_sizes:
            raise ValueError(f"{self.name} ({self.family.name}) takes images of its own size only")
        config = self.config.resized_to(shortest_side)
        resized = copy.copy(self)
        resized.config = replace(
            config,
            longest_side=longest_side or config.longest_side,
            trained_sides=None,
            resizing=config.resizing and config.resizing.by_sides(),
        )
        resized.auto = None
        return resized

    def without_box_refinement(self) -> Detector:
        """Return a detector with the same weights that leaves boxes as the decoder gives them.

        Raises ValueError where the model has no box refinement.
        """
        if self.config.box_refinement is None:
            raise ValueError(f"{self.name} has no box refinement to leave out")
        unrefined = copy.copy(self)
        unrefined.config = replace(self.config, box_refinement=None)
        detr = copy.deepcopy(self.detr)
        detr.config = unrefined.config
        detr.box_refinement = None
        unrefined.network = OwnNetwork(detr)
        return unrefined

    def interruptible(self, stop: Callable[[], bool]) -> Detector:
        """Return a detector with the same weights whose `predict` raises Interrupted soon after `stop()` is true.

        `models.networks.interruptible` says how soon. This detector remains as it is, and no slower.
        """
        other = copy.copy(self)
        other.network = interruptible(self.network, stop)
        return other

    def tokens(self, image: PreparedImage) -> int:
        """How many tokens the encoder makes of an image."""
        return self.network.tokens(image.pixels.shape[1], image.pixels.shape[2])

    def measure_attention(self, cache_dir: Path | None = None) -> AutoAttention:
        """Time the attention that `auto` chooses from, by the calling thread; it has to be the one that predicts.

        Times of an earlier measurement that are kept in `cache_dir`, by default the user's cache folder, are taken as
        they are. Nothing is measured where the model vouches for no approximate attention, or where none applies.
        """
        self.auto = auto_attention(self.config, torch.device(self.device), self.dtype, cache_dir)
        return self.auto

    def auto_attention(self, tokens: int) -> ChosenAttention:
        """Return the cheapest attention for an image of `tokens` tokens, and why; the first call may measure."""
        if not self.family.clusters:
            return ChosenAttention(AttentionConfig.exact(), f"auto: {self.family.note or 'no other attention applies'}")
        return (self.auto or self.measure_attention()).choose(tokens)

    def warm_up(self) -> int:
        """Run exact attention and every other once, as far as they apply: the first caller does not pay for set-up.

        Returns in how many squares of the model's shortest side it detected.
        """
        blank = np.full((self.config.shortest_side, self.config.shortest_side, 3), 255, np.uint8)
        attentions = [one for one in self.config.default_attentions if one.mode in self.family.modes]
        for attention in attentions:
            self.detect(blank, attention)
        return len(attentions)

    def check(self) -> None:
        """Raise RuntimeError when the device no longer computes."""
        if float(torch.ones(2, device=self.device).sum()) != 2:
            raise RuntimeError(f"{self.device} computes wrongly")

    def memory_bytes(self) -> int:
        """Bytes allocated on the device; 0 on a CPU."""
        return torch.cuda.memory_allocated(self.device) if self.device.startswith("cuda") else 0

    def memory_limit_bytes(self) -> int:
        """Bytes that the device has in all; 0 on a CPU, which has none of its own."""
        return torch.cuda.mem_get_info(self.device)[1] if self.device.startswith("cuda") else 0

    @contextmanager
    def noticing_out_of_memory(self, images: int) -> Iterator[None]:
        """Raise DeviceOutOfMemory where the device has no room for what is computed inside."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise DeviceOutOfMemory(f"{images} images do not fit on {self.device}") from error

    def _batch(self, images: Sequence[PreparedImage]) -> ImageBatch:
        device = torch.device(self.device)
        pixels = ImageBatch.from_images([image.pixels.to(device, non_blocking=True) for image in images])
        stacks = (normalise(stack, self.config).to(self.dtype) for stack in pixels.stacks)
        return ImageBatch(tuple(stacks), pixels.order)

    def _predict_together(
        self, inputs: Sequence[tuple[PreparedImage, float, bool]], attention: AttentionConfig
    ) -> list[Prediction]:
        images, thresholds, masked = zip(*inputs, strict=True)
        output = self.outputs(images, attention, thresholds, any(masked))
        results = (output.logits, output.boxes_cxcywh, output.encoded.cluster_counts)
        logits, boxes, *counts = on_host(*(result for result in results if result is not None))
        by_image = zip(logits, boxes, images, thresholds, strict=True)
        found = [self.read(logits, boxes, image).select(threshold) for logits, boxes, image, threshold in by_image]
        for i in range(len(found)):
            if masked[i]:
                found[i] = self._with_masks(found[i], logits[i], output.segmentable[i], images[i])
        reports = self._reports(output.encoded, counts[0] if counts else None, attention)
        return [Prediction(detections, report) for detections, report in zip(found, reports, strict=True)]

    def _with_masks(
        self, best: Detections, logits: Tensor, segmentable: Segmentable, image: PreparedImage
    ) -> Detections:
        """The best detections of an image with masks, which the device makes for their queries only."""
        head = self.network.mask_head
        if head is None:
            raise RuntimeError(f"{self.name} has no mask head")  # `predict` has checked it
        queries = detected_queries(logits, self.config.labels, self.family.scoring)[: len(best)]
        (probabilities,) = on_host(head(segmentable, on_device(queries, torch.device(self.device))).sigmoid())
        height, width = image.pixels.shape[1:]
        canvas = canvas_size(height, width, self.config)
        rows, columns = probabilities.shape[1:]
        shown = (rows * height / canvas[0], columns * width / canvas[1])
        masks = Masks(probabilities.numpy(), shown, image.original_height, image.original_width)
        return replace(best, masks=masks)

    def _reports(self, encoded: Encoded, counts: Tensor | None, attention: AttentionConfig) -> list[AttentionReport]:
        """The encoder's account of every image; counts int64 [B, layers, H], on the CPU."""
        images = len(encoded.tokens.lengths)
        merged = encoded.merged_lengths or [None] * images
        by_image = [None] * images if counts is None else counts.tolist()
        return [self._report(attention, *one) for one in zip(encoded.tokens.lengths, by_image, merged, strict=True)]

    def _report(
        self, attention: AttentionConfig, tokens: int, counts: Sequence[Sequence[int]] | None, merged: int | None
    ) -> AttentionReport:
        """The encoder's account of one image, with clusters by layer and head, of `merged` tokens if any were."""
        exact = exact_gflops(self.network, tokens).encoder
        by_layer = [0] * self.config.encoder_layers if counts is None else [sum(heads) for heads in counts]
        clusters = tuple(
            LayerClusters(layer, sum(heads) / len(heads), min(heads), max(heads))
            for layer, heads in enumerate(counts or ())
        )
        nothing_saved = counts is None and merged is None
        ran = exact if nothing_saved else self.network.gflops(attention, tokens, by_layer, None, merged).encoder
        return AttentionReport(attention, tokens, clusters, ran, exact, merged)


def load_detector(
    model: str = "pages-small",
    *,
    device: str = "auto",
    precision: str = "auto",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Detector:
    """Load a detector by name, by path to a checkpoint file or to a folder that `transformers` saved, or by `org/name`.

    `org/name` or `org/name@revision` is a repository of the Hugging Face hub, where no path of that name exists.

    `device`: auto (the first GPU if there is one), cpu, cuda or cuda:N. `precision`: fp32 (results are reproducible),
    bf16, or auto (see `automatic_precision`). Published weights are downloaded once into `cache_dir`, repositories into
    the hub's own cache; `progress` is called with the bytes so far and in all.

    Raises ValueError for an unknown device or precision, WeightsError for weights that cannot be loaded.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be auto, fp32 or bf16, not {precision!r}")
    device = choose_device(device)
    network, commit = _load_network(model, cache_dir, progress)
    chosen = automatic_precision(torch.device(device)) if precision == "auto" else cast("Precision", precision)
    detector = Detector(network, device, chosen)
    detector.commit = commit
    return detector


def _load_network(model: str, cache_dir: Path | None, progress: Progress | None) -> tuple[Network, str | None]:
    """Load a model into our own network, or have transformers make it where only that can run it.

    Second is the commit of a model of the Hugging Face hub.
    """
    try:
        loaded = resolve(model, cache_dir=cache_dir, progress=progress)
    except ForeignModel as foreign:
        from models.networks.transformers_folder import load_foreign  # transformers takes seconds to import

        return load_foreign(foreign), foreign.commit
    detr = Detr(loaded.config)
    load_strict(detr, loaded.state_dict)
    return OwnNetwork(detr, loaded.mask_head), loaded.commit
