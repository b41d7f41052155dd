"""MLflow (host): a database in the run directory, or a tracking server."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from curriculum_rec.errors import OptionError
from curriculum_rec.flat_options import flat
from curriculum_rec.tracking.contract import OpenTracker, Status, TrackedRun, require
from curriculum_rec.tracking.rows import plain_name

MOST_METRICS, MOST_PARAMS, LONGEST_PARAM = 500, 100, 500
"""How much goes in one request; MLflow takes 1,000 metrics and 100 parameters, and old ones of it 500 letters."""

SEND_SECONDS = 5.0
STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class MLflow:
    """Logs to MLflow: options as parameters, numbers as metrics, ``@`` in names written as ``_at_``.

    Metrics of MLflow only grow. A run that goes on is continued under its run id, and of every metric the steps that
    are there already are not sent again.

    Args:
        uri: Where runs are kept, such as ``sqlite:///FILE`` or a server's address; None takes the environment's
            ``MLFLOW_TRACKING_URI``, or else ``tracking/mlflow.db`` of the run directory. Passwords and tokens come
            from MLflow's own variables of the environment.
        experiment: Name of the experiment that the run joins.
    """

    uri: str | None = None
    experiment: str = "curriculum_rec"

    def __post_init__(self) -> None:
        require("mlflow", "mlflow")
        if self.uri is not None and urlsplit(self.uri).password:
            raise OptionError(
                "tracking.mlflow.uri holds a password, which would be written into config.yaml: leave it out and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment, or MLFLOW_TRACKING_URI"
            )

    def begin(self, run: TrackedRun) -> OpenTracker:
        """Create a run, or go on with the one that is known."""
        # A mirror of a local file should not report to anybody else, unless a person has decided so.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient  # noqa: PLC0415 - an optional package

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run.folder.absolute() / 'mlflow.db'}"
        if uri.startswith(f"sqlite:///{run.folder.absolute()}/"):
            run.folder.mkdir(exist_ok=True)
        client = MlflowClient(tracking_uri=uri)
        place = uri.rpartition("@")[2]  # the environment's address may hold a password
        if run.known.get("uri") == place:
            opened = _Open(client, run.known["run_id"], {"uri": place, "run_id": run.known["run_id"]}, resumed=True)
            client.update_run(opened.run_id, status="RUNNING")
            return opened
        run_id = client.create_run(self._experiment_id(client), run_name=run.name).info.run_id
        _log_options(client, run_id, run.config)
        return _Open(client, run_id, {"uri": place, "run_id": run_id})

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.experiment)
        return client.create_experiment(self.experiment) if found is None else found.experiment_id


@dataclass
class _Open:
    client: Any
    run_id: str
    identity: Mapping[str, str]
    resumed: bool = False
    _last: dict[str, int] = field(default_factory=dict)
    _waiting: list[Any] = field(default_factory=list)
    _sent: float = field(default_factory=time.monotonic)

    def row(self, event: str, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric  # noqa: PLC0415 - an optional package

        now = int(time.time() * 1000)
        for name, value in values.items():
            key = plain_name(name)
            if step > self._last_step(key):
                self._waiting.append(Metric(key, value, now, step))
        if len(self._waiting) >= MOST_METRICS or time.monotonic() - self._sent > SEND_SECONDS:
            self._send()

    def end(self, status: Status) -> None:
        self._send()
        self.client.set_terminated(self.run_id, STATUS[status])

    def _last_step(self, key: str) -> int:
        """Ask once which step of a metric is the last that an earlier process has sent."""
        if not self.resumed:
            return -1
        if key not in self._last:
            there = self.client.get_metric_history(self.run_id, key)
            self._last[key] = max((metric.step for metric in there), default=-1)
        return self._last[key]

    def _send(self) -> None:
        for begin in range(0, len(self._waiting), MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=self._waiting[begin : begin + MOST_METRICS])
        self._waiting, self._sent = [], time.monotonic()


def _log_options(client: Any, run_id: str, config: Mapping[str, Any]) -> None:
    from mlflow.entities import Param  # noqa: PLC0415 - an optional package

    options = [Param(plain_name(name), value[:LONGEST_PARAM]) for name, value in flat(config).items()]
    for begin in range(0, len(options), MOST_PARAMS):
        client.log_batch(run_id, params=options[begin : begin + MOST_PARAMS])
