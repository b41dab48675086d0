"""Where things are and which model is used: all that differs between deployments.

Values come from a file, from the environment and from the command line; see
`ponder.settings_sources`. Here is what each one means and what it may be.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    JsonValue,
    Secret,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from catalog.images.addresses import Network
from ponder.finetuning.promotion import PromotionConfig
from ponder.places import Places
from ponder.ranking.promotion import RankerPromotionConfig
from ponder.registry import REGISTRY
from ponder.setting_values import (
    ApiKeySetting,
    brokers,
    budget,
    keyless,
    masked,
    names,
    networks,
    set_of_features,
)
from recall.index_kinds import IndexType
from recall.validation_config import ValidationConfig


class Settings(Places, BaseSettings):
    """One deployment. Without any setting, everything is embedded and lies in `./.ponder`.

    Made from arguments alone; `ponder.settings_sources.load_settings` also reads the file and the
    environment. Neither its text nor an error of it holds a secret.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        env_prefix="PONDER_",
        env_ignore_empty=True,
        env_nested_delimiter="__",
    )

    lake_options: dict[str, Secret[str]] = {}
    """Storage options of an object store as deltalake names them: keys, endpoint, region. Secret.
    In a variable a JSON object."""

    landings_from: AwareDatetime | None = None
    """Whatever landed before this moment is one landing to the features, known from when it
    happened on. Set it when a log of the past was imported in several parts; one import, and what
    lands from day to day, needs none."""

    milvus_token: SecretStr = SecretStr("")
    """`user:password` or an API key of the Milvus server. Secret."""

    feature_set: Annotated[str, AfterValidator(set_of_features)] = "default"
    """Groups of [features](features.md#sets) that are exported, that rankers read and that the
    service makes, with commas between: of context, collaborative, match, feedback, swing, clusters,
    behaviour and codes, `default` for the first four, `all` for all."""

    centre_profiles: bool = True
    """Whether what a history is searched by has the mean of all vectors taken off, as of the
    version's last validation; see [serving.md](serving.md#centred-profiles)."""

    index_type: IndexType = "auto"
    """How a Milvus server indexes the vectors of a new collection. `auto`: the first of `HNSW`,
    `HNSW_SQ`, `IVF_SQ8` and `DISKANN` that the server has and that fits into `index_memory_gib`
    twice; see [scale.md](scale.md#kinds-of-index)."""

    index_m: int = Field(default=16, ge=2, le=2_048)
    """`HNSW`, `HNSW_SQ`: links of a vector. More cost memory and find more."""

    index_ef_construction: int = Field(default=200, ge=8, le=32_768)
    """`HNSW`, `HNSW_SQ`: vectors looked at while one is linked. More cost time and find more."""

    index_ef: int = Field(default=512, ge=1, le=32_768)
    """`HNSW`, `HNSW_SQ`: vectors looked at by a search, or four times as many as it asks for where
    that is more. More cost time and find more."""

    index_nprobe: int = Field(default=64, ge=1, le=1_024)
    """`IVF_SQ8`, `IVF_RABITQ`: lists, of at most 1,024 in a segment, that a search looks into. More
    cost time and find more."""

    search_timeout_s: float = Field(default=5.0, gt=0)
    """What one query asks of Milvus, all calls together, may take so many seconds."""

    index_timeout_s: float = Field(default=300.0, gt=0)
    """A call of Milvus that no query waits for, such as one of `ponder index`, may take so many
    seconds."""

    index_memory_gib: float = Field(default=0.0, ge=0)
    """Memory that the Milvus server has for collections; by it `index_type` `auto` chooses, and
    `ponder reembed` refuses what would not fit. 0: not known, and with Milvus Lite what this
    machine has free."""

    validation: ValidationConfig = ValidationConfig()
    """What a version's collection must reach before it goes live. In a file a table, in a variable
    a JSON object, or a variable for each threshold, e.g. `PONDER_VALIDATION__MIN_RECALL`."""

    judged_queries: str = ""
    """A `queries.jsonl` with known answers that a validation asks; empty: that in `data`, where
    there is one."""

    kafka: Annotated[str, AfterValidator(brokers)] = ""
    """Brokers, e.g. `kafka-1:9092,kafka-2:9092`, without passwords; empty: there is no Kafka, items
    come from folders."""

    kafka_item_topic: str = Field(default="items", min_length=1)
    """Topic of the items' messages."""

    kafka_event_topic: str = Field(default="events", min_length=1)
    """Topic of the users' actions."""

    kafka_group: str = Field(default="ponder", min_length=1)
    """Consumer group of the landing. Two deployments on one cluster need two groups, or each takes
    half of the partitions away from the other."""

    kafka_security: dict[str, Secret[JsonValue]] = {}
    """Passed through to kafka-python: `security_protocol`, `sasl_mechanism`, `ssl_cafile`...
    Secret. In a variable a JSON object."""

    item_decoder: str = ""
    """Function that makes fields of an item topic's message, as `module:function`, e.g.
    `shop.avro:decode_item`; empty: messages are JSON."""

    event_decoder: str = ""
    """The same for the event topic."""

    media_allow: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(networks)] = ()
    """Networks that images, clips and sounds may be fetched from although they are not of the
    public internet, e.g. `10.0.0.0/8,fd00::/8`."""

    media_buckets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(names)] = ()
    """Buckets that `s3:` images, clips and sounds may be fetched from, with the keys of
    `lake_options`, e.g. `shop-images,press`."""

    max_clip_bytes: int = Field(default=50_000_000, ge=1, le=2_000_000_000)
    """Bytes of a clip that is landed; a larger one is refused."""

    max_clip_s: float = Field(default=300.0, gt=0, le=86_400)
    """Seconds that a clip may last."""

    max_clip_pixels: int = Field(default=9_000_000, ge=1, le=36_000_000)
    """Pixels that a frame of a clip may have."""

    clip_decoding_s: float = Field(default=20.0, gt=0, le=120)
    """Seconds after which decoding a clip that is landed is given up."""

    max_audio_bytes: int = Field(default=50_000_000, ge=1, le=2_000_000_000)
    """Bytes of a sound that is landed; a larger one is refused."""

    max_audio_s: float = Field(default=600.0, gt=0, le=86_400)
    """Seconds that a sound may last."""

    max_audio_channels: int = Field(default=6, ge=1, le=64)
    """Channels that a sound may have."""

    max_audio_hz: int = Field(default=96_000, ge=4_000, le=768_000)
    """Samples a second that a channel of a sound may have."""

    audio_decoding_s: float = Field(default=20.0, gt=0, le=120)
    """Seconds after which decoding a sound that is landed is given up."""

    data: str = ""
    """Folder that the DAG `nightly` lands when there is no Kafka."""

    model: str = "nano"
    """Embedder: `nano`, `small`, a folder, or a hub id such as `Qwen/Qwen3-VL-4B-Instruct`; with
    `st:` before a folder or hub id, any sentence-transformers model; `registry:` and a fine-tuned
    version's name, or `registry:champion`, which follows the champion."""

    device: str = "cpu"
    """Torch device of the embedder: `cpu`, `cuda`, `cuda:1`..."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the embedder's weights are loaded as: `float32`, `bfloat16`, or `auto`, the first on a
    CPU and the second elsewhere. Vectors of the two are of two versions, so machines that serve one
    catalogue from unlike devices must be told the same."""

    policy: Literal["auto", "always", "never"] = "auto"
    """Whether the embedder reasons: `auto` (the gate decides), `always` or `never`."""

    query_budget: Annotated[str, AfterValidator(budget)] = ""
    """What reasoning about queries may cost: a share of them, `30%`, or a mean time, `5ms`; the
    gate's theta is read off what `ponder embedder report` measured. Empty: the version's own
    theta. Only policy `auto` looks at it."""

    item_budget: Annotated[str, AfterValidator(budget)] = ""
    """The same of items. The theta that it gives is part of the vectors' version."""

    reasoner: str = "self"
    """Who writes the rationales: `self`, the embedder; `model:` and a folder or hub id, a local
    Qwen-VL model; `openai:` and a model's name, the endpoint at `reasoner_url`."""

    reasoner_url: str = ""
    """Base URL of an OpenAI-compatible endpoint, e.g. `http://vllm:8000/v1`."""

    reasoner_key: SecretStr = SecretStr("")
    """API key of the endpoint, sent as a bearer token. Secret."""

    reasoner_max_tokens: int = Field(default=512, ge=1)
    """A reasoner other than the embedder may generate so many tokens an input."""

    reasoner_timeout_s: float = Field(default=60.0, gt=0)
    """One request to the endpoint may take so many seconds."""

    reasoner_concurrency: int = Field(default=8, ge=1)
    """Requests to the endpoint at a time."""

    shard_size: int = Field(default=512, ge=1)
    """Items that one embedding task takes, or more where `max_shards` demands it."""

    max_shards: int = Field(default=1_000, ge=1)
    """Embedding tasks of one night; shards grow before they become more. Airflow maps no more than
    its `max_map_length` (1,024), and thousands of mapped tasks slow a scheduler down."""

    commit_every_s: float = Field(default=120.0, gt=0)
    """Seconds after which a task that embeds writes what it has done, and one that trains brings
    its state to `artifacts`; a killed one loses no more than that."""

    history_items: int = Field(default=1_000, ge=1)
    """Items of a user that the service remembers: the newest that were liked, as many that were
    acted upon otherwise, and as many that were shown."""

    keep_served_features: bool = False
    """Whether the service keeps the features of what it recommends, as it computed them, for
    `ponder features export --as-served`: some 500 bytes an item."""

    keep_runs_days: int = Field(default=90, ge=1)
    """Days after which the DAG `maintenance` removes the folder of a fine-tune that nobody has
    written to. What it registered stays."""

    owner: str = "ponder"
    """Whom Airflow names as the owner of the DAGs' tasks. Like the two of the GPU below, the DAGs
    read it from the environment alone."""

    gpu_queue: str = ""
    """Queue that tasks of the embedder are put into, for Celery workers that have a GPU; empty:
    that of all tasks. Read from the environment alone."""

    gpu_executor_config: dict[str, JsonValue] = {}
    """What Airflow's executor is told of tasks of the embedder, e.g. `{"pod_template_file":
    "/opt/gpu-pod.yaml"}` for Kubernetes. Read from the environment alone, as a JSON object."""

    alert_webhook: SecretStr = SecretStr("")
    """Address that is told of failed tasks and late runs: `{"text": ...}` by POST, as Slack's
    incoming webhooks take it; empty: nobody is told. Secret."""

    airflow_database: SecretStr = SecretStr("")
    """Address of Airflow's own database, for the DAG `maintenance` to keep it small; empty: that of
    Airflow's configuration file. Secret."""

    api_keys: dict[str, ApiKeySetting] = {}
    """Who may ask the service, by names that its log shows; `ponder key` makes one. Empty: whoever
    reaches it, and it listens on this machine alone. In a file a table for each, in a variable a
    JSON object."""

    access_log: bool = True
    """Whether `ponder serve` writes a line of JSON for each request to standard error: method,
    route, status, time, version and name of the key, and nothing of what was asked."""

    log_format: Literal["text", "json"] = "text"
    """What the command line logs to standard error: `text` for people, or `json`, an object a line
    with the ids of run, task, shard and version."""

    metrics_folder: str = ""
    """Folder that node exporter's textfile collector reads, for metrics of steps; empty: none are
    written."""

    metrics_gateway: str = ""
    """Address of a Prometheus push gateway that steps push their metrics to, e.g.
    `http://pushgateway:9091`; empty: they push to none."""

    trace_endpoint: str = ""
    """OpenTelemetry collector that takes spans over HTTP, e.g. `http://collector:4318`; empty:
    nothing is traced. Needs the extra `tracing`."""

    max_waiting: int = Field(default=256, ge=1)
    """Texts and images that may wait for the service's encoder; further ones are answered 429."""

    promotion: PromotionConfig = PromotionConfig()
    """What a fine-tuned version must reach to become the champion. In a file a table, in a variable
    a JSON object, or a variable for each threshold, e.g. `PONDER_PROMOTION__MAX_LOSS`."""

    ranker_promotion: RankerPromotionConfig = RankerPromotionConfig()
    """What a newly trained ranker must reach to take the champion's place, as of `promotion`, e.g.
    `PONDER_RANKER_PROMOTION__MIN_REQUESTS`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the arguments alone: what is made in code does not depend on who runs it."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_endpoint(self) -> Self:
        for name, option in self.lake_options.items():
            if "endpoint" in name.lower():
                keyless(option.get_secret_value())
        return self

    @model_validator(mode="after")
    def _check_webhook(self) -> Self:
        address = self.alert_webhook.get_secret_value()
        if address and not address.startswith(("http://", "https://")):
            raise ValueError("alert_webhook must be an http or https address")
        return self

    @model_validator(mode="after")
    def _check_reasoner(self) -> Self:
        kind = self.reasoner.partition(":")[0]
        if kind not in ("self", "model", "openai") or (kind == "self") != (self.reasoner == "self"):
            raise ValueError(
                "reasoner must be self, model:FOLDER_OR_HUB_ID or openai:MODEL, "
                f"got {self.reasoner!r}"
            )
        if kind == "openai" and not self.reasoner_url:
            raise ValueError("reasoner_url must be set with an openai: reasoner, got none")
        if self.model.startswith("st:") and kind != "self":
            raise ValueError(
                f"a sentence-transformers model reads no rationales, got reasoner {self.reasoner!r}"
                f" with model {self.model!r}"
            )
        return self

    def replace(self, **changes: Any) -> "Settings":
        """Return these settings with some changed, checked anew.

        Raises:
            ValueError: they do not go together.
        """
        return Settings(**{name: getattr(self, name) for name in SETTINGS} | changes)

    def shown(self) -> dict[str, Any]:
        """Return every setting as it may be shown, secrets masked."""
        return {name: masked(getattr(self, name)) for name in SETTINGS}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self.shown().items()

    @property
    def finetune_base(self) -> str:
        """What a fine-tune starts from unless told otherwise."""
        champion = self.registry.champion()
        return self.model if champion is None else f"{REGISTRY}{champion}"


SETTINGS = tuple(Settings.model_fields)
"""Their names, in order."""

SECRETS = (
    *("lake_options", "milvus_token", "kafka_security", "reasoner_key"),
    *("alert_webhook", "airflow_database"),
)
"""The names of those that are never shown."""
