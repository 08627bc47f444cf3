"""What a run tells Prometheus, through the endpoint that Ray has on the driver's node (`mvcap[cluster]`).

The driver counts, which hears of every committed shard exactly once; counters of workers would be as many
series as there are processes, and vanish with them. There is no histogram, because Ray (2.60) exports its
sum from the middles of the buckets.
"""

from ray.util.metrics import Counter

from mvcap.commits import CAPTION, StageName
from pipelines.stages import Observer, ShardReport


class MeteredObserver:
    """Passes everything on, and counts what is committed."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        by_stage = ("stage",)
        self._shards = Counter("mvcap_shards", "Shards committed.", by_stage)
        self._seconds = Counter(
            "mvcap_shard_seconds", "Seconds that workers spent on these shards.", by_stage
        )
        self._views = Counter("mvcap_views", "Views committed: rendered or imported, captioned.", by_stage)
        self._bytes = Counter("mvcap_bytes", "Bytes of the files committed.", by_stage)
        self._failures = Counter("mvcap_failures", "Objects and views rejected.", ("stage", "reason"))

    def advance(self, stage: StageName, records: int) -> None:
        self._observer.advance(stage, records)

    def finish(self, report: ShardReport) -> None:
        self._observer.finish(report)
        if report.stage == CAPTION and report.busy_s is None:
            return  # views that became data without captions
        stage: dict[str, str] = {"stage": report.stage}
        self._shards.inc(tags=stage)
        for counter, amount in (
            (self._seconds, report.seconds),
            (self._views, report.rows),
            (self._bytes, report.bytes),
        ):
            if amount:
                counter.inc(amount, tags=stage)
        for reason, count in report.reasons.items():
            self._failures.inc(count, tags={**stage, "reason": reason})
