"""What a server tells its operator: lines of JSON on standard error, and metrics for Prometheus."""

import json
import logging
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from ganforge.errors import printable

LOGGER = logging.getLogger("ganforge.server")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Telemetry:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = self._counter("requests", "Answered requests.", "endpoint", "status")
        self._images = self._counter(
            "images", "Images decoded from latents: generate, text, interpolate, arithmetic.", "model"
        )
        self._seconds = Histogram(
            "ganforge_request_seconds",
            "From the first byte of a request to the end of its answer.",
            ["endpoint"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self._batch = Histogram(
            "ganforge_batch_requests",
            "Requests that were decoded together.",
            ["model"],
            registry=self.registry,
            buckets=SIZES,
        )
        self.in_progress = Gauge(
            "ganforge_in_progress", "Requests that wait or run.", ["model"], registry=self.registry
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"ganforge_{name}", text, labels, registry=self.registry)

    def decoded(self, model: str, images: int, calls: int) -> None:
        """Count a forward pass."""
        self._images.labels(model).inc(images)
        self._batch.labels(model).observe(calls)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(endpoint, str(status)).inc()
        self._seconds.labels(endpoint).observe(seconds)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Lines(logging.Formatter):
    """A record as one line of JSON; what a client sent is escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": printable(record.getMessage()),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log(event: str, **fields: Any) -> None:
    """A line of the log: what happened, and its fields."""
    LOGGER.info("%s", event, extra={"fields": fields})


def start_logging() -> None:
    """Lines of this server, and what uvicorn warns of, go to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    for logger, level in ((LOGGER, logging.INFO), (logging.getLogger("uvicorn"), logging.WARNING)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
