"""The service as a Ray Serve application: each replica runs the same app around a Detector of its own.

`serve deploy deploy/ray/serve.yaml` calls `build` with the file's `args`. The ACT_DETR_* settings come from the
environment: the `env_vars` of the application's `runtime_env`. Requests are batched inside a replica, by
the service's own batcher; Ray spreads them over replicas, scales these, and replaces those that die.
"""

# Without postponed annotations: Ray reads that of `build` to make its argument.

import asyncio
from typing import Any, Final, Self

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from deploy.ray.metrics_port import MetricsPort
from service.errors import NotReady
from service.settings import Settings, load_settings

_ROOM_FOR_PROBES: Final = 16
"""Requests that a replica takes beyond those that the app admits, so that the app refuses them."""
_WAITING_AT_PROXY: Final = 16
"""Requests that wait in a proxy while every replica is full: few, as their deadlines do not run yet."""
_LAST_ANSWERS_SECONDS: Final = 15
"""Time that Ray grants a replica that stops, beyond the longest that the app may take."""


class Arguments(BaseModel):
    """The `args` of the application in the configuration: Ray needs them, the app does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_replicas: int = Field(1, ge=1, description="Minimum of replicas; they start at once.")
    max_replicas: int = Field(1, ge=1, description="Maximum of replicas: with `gpus: 1`, the cluster's GPUs.")
    gpus: float = Field(0, ge=0, description="GPUs of a replica: 1, or 0 to run on the CPU.")
    cpus: float = Field(1, gt=0, description="Cores of a replica; on a CPU, the model's threads.")
    target_ongoing_requests: float = Field(
        2, gt=0, description="Target of requests in progress in a replica: about two batches."
    )
    upscale_delay_s: float = Field(10, ge=0, description="How long there are more before replicas are added.")
    downscale_delay_s: float = Field(300, ge=0, description="How long there are fewer before replicas are stopped.")
    metrics_host: str = Field("127.0.0.1", description="Address of the replicas' metrics ports.")
    metrics_port: int = Field(
        9200, ge=1, le=65000, description="First of these ports; a replica takes the first free one."
    )
    metrics_targets: str = Field("", description="Folder for files with the ports, for Prometheus; empty: none.")

    @model_validator(mode="after")
    def _min_is_at_most_max(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is greater than max_replicas")
        return self


@serve.deployment(name="Detector")
@serve.ingress()
class Replica:
    """One process with a Detector on a device of its own. Ray calls the methods in this order."""

    app: FastAPI
    """What `__serve_build_asgi_app__` returned; Ray runs its lifespan, which drains at the end."""

    def __init__(self, arguments: Arguments) -> None:
        """Load the model. Any error of the settings or the model fails the deployment."""
        from service.__main__ import configure_process, load_configured_detector

        self._arguments = arguments
        self._settings = settings = load_settings()
        configure_process(settings)
        self._detector = load_configured_detector(settings)
        self._metrics_port: MetricsPort | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app, and serve its metrics on a port of their own: the proxy picks a replica at random."""
        from service.app import create_app

        app = create_app(self._settings, self._detector)
        ours = self._arguments
        self._metrics_port = MetricsPort(
            app.state.service.metrics.registry, ours.metrics_host, ours.metrics_port, ours.metrics_targets
        )
        return app

    async def check_health(self) -> None:
        """Wait until the model is warm, then check the device. Raises RuntimeError when only a new replica helps.

        Ray sends no request before the first check has returned, and replaces the replica after three that raise.
        """
        readiness = self.app.state.service.readiness
        while isinstance(await readiness.ready(), NotReady):
            await asyncio.sleep(0.1)
        reason = await readiness.dead()
        if reason is not None:
            raise RuntimeError(str(reason))

    def __del__(self) -> None:
        """Close the metrics port: the app has been shut down."""
        port = getattr(self, "_metrics_port", None)
        if port is not None:
            port.close()


def build(arguments: Arguments) -> serve.Application:
    """Return the application. Raises BadSettings when the environment has a setting that is not allowed."""
    deployment: serve.Deployment = Replica  # the decorators make it one
    return deployment.options(**options(arguments, load_settings())).bind(arguments)


def options(arguments: Arguments, settings: Settings) -> dict[str, Any]:
    """Return the deployment's options, which follow from the app's own limits."""
    return {
        "ray_actor_options": {"num_cpus": arguments.cpus, "num_gpus": arguments.gpus},
        "autoscaling_config": AutoscalingConfig(
            min_replicas=arguments.min_replicas,
            max_replicas=arguments.max_replicas,
            target_ongoing_requests=arguments.target_ongoing_requests,
            upscale_delay_s=arguments.upscale_delay_s,
            downscale_delay_s=arguments.downscale_delay_s,
        ),
        "max_ongoing_requests": settings.max_inflight + _ROOM_FOR_PROBES,
        "max_queued_requests": _WAITING_AT_PROXY,
        "backpressure_config": BackpressureConfig(status_code=429, retry_after_s=1),
        "health_check_period_s": 2,  # a replica whose device died refuses fast, and so draws requests: find it soon
        "health_check_timeout_s": 30,  # the device's own time to answer is 10 s
        "graceful_shutdown_wait_loop_s": 0.5,
        "graceful_shutdown_timeout_s": max(settings.drain_seconds, settings.deadline_ms / 1e3) + _LAST_ANSWERS_SECONDS,
    }
